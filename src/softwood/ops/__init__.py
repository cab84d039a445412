"""Relaxed operations: pure functions on tensors that look like the torch functions that they replace.

All take ``relax=`` (a name, or the dataclass it stands for), ``temperature=`` (> 0, in units of x unless the docstring
says otherwise; a number, or a tensor of size 1 along the axis), ``hard=`` (the discrete value forward, the relaxed
gradient backward) and ``mask=`` (True where an entry is present). Any axis, any batch axes. float16 and bfloat16 are
computed in float32, under autocast too; values come back in x's dtype, ranks and counts in float32 at least. A NaN
makes the answers of its row NaN. Indices come back as a lazy ``SoftPermutation`` or ``SoftSelection``.
"""

from softwood.ops._argmax import Argmax, Entmax, LogSumExp, PNorm, Softmax, argmax, argmin, max, min, one_hot
from softwood.ops._compare import eq, ge, gt, isclose, le, lt
from softwood.ops._elementwise import abs, ceil, clamp, floor, heaviside, quantize, relu, round, sign
from softwood.ops._histogram import histogram, nearest_neighbour, soft_argmax
from softwood.ops._isotonic import Isotonic
from softwood.ops._lapsum import LapSum
from softwood.ops._logic import all, and_, any, count, implies, majority, not_, or_, xor
from softwood.ops._networks import Network, NetworkPermutation
from softwood.ops._pairwise import NeuralSort, Pairwise, SoftSort
from softwood.ops._quantile import median, quantile, trimmed_mean
from softwood.ops._rank import dense_rank, percentile_rank, rank
from softwood.ops._sample import (
    concrete_log_prob,
    gumbel_softmax,
    hard_concrete,
    hard_concrete_probability,
    sample_bernoulli,
)
from softwood.ops._sample_graphs import sample_graph, sample_tree
from softwood.ops._sample_sets import gumbel_sinkhorn, plackett_luce_log_prob, sample_permutation, sample_subset
from softwood.ops._select import gather, index_select, lookup, scatter, slice, soft_if, take_along_dim, where
from softwood.ops._selection import DensePermutation, DenseSelection, SoftPermutation, SoftSelection
from softwood.ops._simplex import entmax, entmax15, softmax, sparsemax
from softwood.ops._sort import argsort, sort
from softwood.ops._structured_chain import LinearChain
from softwood.ops._structured_paths import Alignment, DagPath
from softwood.ops._structured_projective import ProjectiveTree
from softwood.ops._structured_subsets import Knapsack, KSubset
from softwood.ops._structured_trees import Arborescence, SpanningTree
from softwood.ops._topk import Halving, topk
from softwood.ops._topk_mask import Budget, Permutahedron, Threshold, Transport, topk_mask
from softwood.ops._transport import assignment, sinkhorn
from softwood.ops._transport_fast import FactoredPlan, LinePlan, low_rank_transport, transport_1d

__all__ = [
    "Alignment",
    "Arborescence",
    "Argmax",
    "Budget",
    "DagPath",
    "DensePermutation",
    "DenseSelection",
    "Entmax",
    "FactoredPlan",
    "Halving",
    "Isotonic",
    "KSubset",
    "Knapsack",
    "LapSum",
    "LinePlan",
    "LinearChain",
    "LogSumExp",
    "Network",
    "NetworkPermutation",
    "NeuralSort",
    "PNorm",
    "Pairwise",
    "Permutahedron",
    "ProjectiveTree",
    "SoftPermutation",
    "SoftSelection",
    "SoftSort",
    "Softmax",
    "SpanningTree",
    "Threshold",
    "Transport",
    "abs",
    "all",
    "and_",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "assignment",
    "ceil",
    "clamp",
    "concrete_log_prob",
    "count",
    "dense_rank",
    "entmax",
    "entmax15",
    "eq",
    "floor",
    "gather",
    "ge",
    "gt",
    "gumbel_sinkhorn",
    "gumbel_softmax",
    "hard_concrete",
    "hard_concrete_probability",
    "heaviside",
    "histogram",
    "implies",
    "index_select",
    "isclose",
    "le",
    "lookup",
    "low_rank_transport",
    "lt",
    "majority",
    "max",
    "median",
    "min",
    "nearest_neighbour",
    "not_",
    "one_hot",
    "or_",
    "percentile_rank",
    "plackett_luce_log_prob",
    "quantile",
    "quantize",
    "rank",
    "relu",
    "round",
    "sample_bernoulli",
    "sample_graph",
    "sample_permutation",
    "sample_subset",
    "sample_tree",
    "scatter",
    "sign",
    "sinkhorn",
    "slice",
    "soft_argmax",
    "soft_if",
    "softmax",
    "sort",
    "sparsemax",
    "take_along_dim",
    "topk",
    "topk_mask",
    "transport_1d",
    "trimmed_mean",
    "where",
    "xor",
]
