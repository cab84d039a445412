"""Kernels: numba loops, arrays in and out, without torch.

``leaf_indices`` and ``path_nodes`` walk hard trees of any shape, ``raw_scores`` adds up their leaves;
``dense_leaf_indices`` walks complete trees on bin codes. ``grow``, ``polish`` and ``kick`` are the exact node search
behind CART, alternating optimisation and its random restarts. Each is compiled on first use and cached on disk; none
holds the interpreter lock. ``simplex_rows`` and ``threshold_rows`` are sparse simplex maps and soft top-k masks.
"""

from softwood.kernels._arborescence import best_arborescences
from softwood.kernels._boost import boosted_leaves, grow_boosted, scatter_leaves, sum_leaves
from softwood.kernels._deal import deal
from softwood.kernels._dense import MISSING, dense_leaf_indices
from softwood.kernels._isotonic import block_sums, permutahedron_kl, permutahedron_l2
from softwood.kernels._lapsum import laplace_quantiles, laplace_sums
from softwood.kernels._network import network_layers, network_pullback_rows, network_rows
from softwood.kernels._order import sort_rows
from softwood.kernels._polish import grow, kick, leaf_statistics, leaf_values, polish, tree_cost
from softwood.kernels._quantile import group_quantiles
from softwood.kernels._score import Packed, pack, raw_scores
from softwood.kernels._shap import Paths, leaf_paths, node_covers, shapley_values
from softwood.kernels._simplex import simplex_pullback_rows, simplex_rows
from softwood.kernels._splits import ENTROPY, ERROR, SQUARED, Problem, best_splits, leaf_cost
from softwood.kernels._threshold import EXPONENTIAL, LAPLACE, LOGISTIC, POWER, threshold_rows
from softwood.kernels._traverse import leaf_indices, path_nodes

__all__ = [
    "ENTROPY",
    "ERROR",
    "EXPONENTIAL",
    "LAPLACE",
    "LOGISTIC",
    "MISSING",
    "POWER",
    "SQUARED",
    "Packed",
    "Paths",
    "Problem",
    "best_arborescences",
    "best_splits",
    "block_sums",
    "boosted_leaves",
    "deal",
    "dense_leaf_indices",
    "group_quantiles",
    "grow",
    "grow_boosted",
    "kick",
    "laplace_quantiles",
    "laplace_sums",
    "leaf_cost",
    "leaf_indices",
    "leaf_paths",
    "leaf_statistics",
    "leaf_values",
    "network_layers",
    "network_pullback_rows",
    "network_rows",
    "node_covers",
    "pack",
    "path_nodes",
    "permutahedron_kl",
    "permutahedron_l2",
    "polish",
    "raw_scores",
    "scatter_leaves",
    "shapley_values",
    "simplex_pullback_rows",
    "simplex_rows",
    "sort_rows",
    "sum_leaves",
    "threshold_rows",
    "tree_cost",
]
