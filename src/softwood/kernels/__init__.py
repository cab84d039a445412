"""Kernels: numba loops, arrays in and out, without torch.

``leaf_indices`` walks hard trees of any shape; ``dense_leaf_indices`` walks complete trees on bin codes;
``best_splits`` is the exact node search behind growing and polishing a tree. Each is compiled on first use and
cached on disk; none holds the interpreter lock.
"""

from softwood.kernels._dense import dense_leaf_indices
from softwood.kernels._splits import best_splits, grow_level_costs
from softwood.kernels._traverse import leaf_indices

__all__ = ["best_splits", "dense_leaf_indices", "grow_level_costs", "leaf_indices"]
