"""Spanning trees: directed from a root (arborescences), and undirected. The matrix-tree theorem."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from softwood.core import InputError, capability
from softwood.kernels import best_arborescences
from softwood.ops._structured import NEVER, Plus, Structure, pulled


def tree_total(arcs: Tensor, single_root: bool = False) -> Tensor:
    r"""Return the log of the summed weight of all arborescences from node 0.

    That is a determinant (matrix-tree theorem). It is taken by eliminating node after node, keeping each diagonal as
    the sum of its column, so that nothing is ever subtracted: exact in log space at any temperature, where an LU
    decomposition loses everything to cancellation.

    Args:
        arcs: ``[..., n + 1, n]`` log-weights (head, dependent), row 0 the root.
        single_root: count only trees in which the root has one dependent: the part of first order in the weights of
            the root, so that the other nodes are eliminated among themselves.
    """
    n = arcs.shape[-1]
    total = torch.zeros_like(arcs[..., 0, :1].sum(-1))
    for k in range(n - 1, -1, -1):
        column, row = arcs[..., : k + 1, k], arcs[..., k + 1, :k]
        pivot = torch.logsumexp(column[..., 1:] if single_root and k > 0 else column, -1)
        total = total + pivot
        through = column.unsqueeze(-1) + (row - pivot.unsqueeze(-1)).unsqueeze(-2)
        # torch.logaddexp has no finite second derivative where its arguments are far apart
        arcs = torch.logsumexp(torch.stack([arcs[..., : k + 1, :k], through]), 0)
        loops = torch.eye(k + 1, k, dtype=torch.bool, device=arcs.device).roll(1, 0)
        arcs = arcs.masked_fill(loops, NEVER)
    return total


def sample_heads(arcs: Tensor, single_root: bool, generator: torch.Generator | None) -> Tensor:
    """Return heads, int64 ``[..., n]`` (0 the root), drawn one after the other, each given those before it."""
    n = arcs.shape[-1]
    rows = torch.arange(arcs.shape[-2], device=arcs.device)
    floor = _floor(arcs, arcs > NEVER / 2)[0]
    for d in range(n):
        total, pullback = pulled(lambda a: tree_total(a, single_root), arcs)
        share = pullback(torch.ones_like(total))[0][..., d].clamp_min(0)
        noise = torch.empty_like(share).exponential_(generator=generator)
        drawn = (share / noise.clamp_min(torch.finfo(share.dtype).tiny)).argmax(-1)
        other = rows != drawn.unsqueeze(-1)
        arcs = torch.cat(
            [arcs[..., :d], torch.where(other, floor[..., 0], arcs[..., d]).unsqueeze(-1), arcs[..., d + 1 :]], -1
        )
    return arcs.argmax(-2)


@torch.library.custom_op("softwood::best_arborescence", mutates_args=())
def _best(arcs: Tensor) -> Tensor:
    """Return the heads of the best arborescence, int64 ``[..., n]``; through the host."""
    n = arcs.shape[-1]
    score = torch.nn.functional.pad(arcs.detach(), (1, 0)).double().reshape(-1, n + 1, n + 1)
    heads = best_arborescences(score.cpu().contiguous().numpy())[:, 1:]
    return torch.from_numpy(heads.copy()).to(arcs.device).reshape(*arcs.shape[:-2], n)


@_best.register_fake
def _(arcs: Tensor) -> Tensor:
    return arcs.new_empty((*arcs.shape[:-2], arcs.shape[-1]), dtype=torch.int64)


def _square(scores: Tensor) -> None:
    if scores.ndim < 2 or scores.shape[-1] != scores.shape[-2] or scores.shape[-1] == 0:
        raise InputError(
            "scores are not of the pairs of a graph", got=tuple(scores.shape), allowed="[..., n, n] with n >= 1",
            fix="give one score for each pair of nodes",
        )  # fmt: skip


def _floor(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Return a score so low that a tree with it loses to any tree without, and the least allowed score.

    It is finite and near the others: beside -1e30, a float64 holds no other score.
    """
    n = scores.shape[-1]
    big = torch.finfo(scores.dtype).max
    some = allowed.any(-1, keepdim=True).any(-2, keepdim=True)
    most = torch.where(some, scores.masked_fill(~allowed, -big).amax((-1, -2), keepdim=True), 0.0)
    least = torch.where(some, scores.masked_fill(~allowed, big).amin((-1, -2), keepdim=True), 0.0)
    return least - n * (most - least) - 1000 - n * n, least


def _on_floor(scores: Tensor, allowed: Tensor, arcs: Tensor | int) -> tuple[Tensor, Tensor]:
    """Return scores with forbidden ones at the floor, and what the total of trees with ``arcs`` arcs exceeds."""
    allowed = allowed | scores.isnan()  # NaN is no forbidden arc: it has to reach the answer
    floor, least = _floor(scores, allowed)
    return torch.where(allowed, scores, floor), arcs * least[..., 0, 0] - 500


@capability(
    "operation",
    cost="O(n^3) time in n steps; O(n^2) memory, O(n^3) with a gradient",
    example=lambda: (torch.randn(2, 4, 4),),
)
class Arborescence(Structure):
    r"""Trees directed away from a root: a head for each of n nodes (non-projective dependency trees).

    :math:`p(T) \propto \exp\big(\tfrac1\tau \sum_d s_{h_d, d}\big)`, where the diagonal holds the score of a node as
    root. Sums over all trees by the matrix-tree theorem, in float64 and without cancellation at any temperature.

    Args:
        scores: ``[..., n, n]`` (head, dependent), on the diagonal the score of being a root; -inf forbids.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        single_root: is exactly one root allowed, or several?
        mask: bool ``[..., n]``, True where a node is present. An absent node is its own head, at no cost; with
            ``single_root`` node 0 has to be present.

    Limit: as :math:`\tau \to 0` the marginals tend to the best tree, where it is unique. The best tree is found on
    the host (Chu-Liu and Edmonds), which on CUDA copies the scores.

    Raises:
        InputError: scores are not ``[..., n, n]``.

    Example:
        >>> scores = torch.tensor([[2.0, 3.0, 0.0], [0.0, 0.0, 3.0], [4.0, 0.0, 0.0]])
        >>> Arborescence(scores).argmax()  # node 0 is the root (its own head), 0 -> 1 -> 2
        tensor([0, 0, 1])

    Cost: O(n^3) time in n steps; O(n^2) memory, O(n^3) with a gradient.

    Source: Koo et al. 2007; Smith and Smith 2007; elimination without subtraction: Grassmann, Taksar and Heyman 1985.
    """

    _dims = (2,)

    def __init__(
        self,
        scores: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        single_root: bool = True,
        mask: Tensor | None = None,
    ) -> None:
        _square(scores)
        self._single = single_root
        super().__init__((scores.double(),), temperature)
        self._dtype = scores.dtype
        self._mask = mask
        allowed = self._scores[0] > NEVER / 2
        if mask is not None:
            allowed = allowed & mask.unsqueeze(-1) & mask.unsqueeze(-2)
        arcs = scores.shape[-1] if mask is None else mask.sum(-1)
        floored, self._least = _on_floor(self._scores[0], allowed, arcs)
        self._scores = (floored,)

    def _arcs(self, scores: Tensor) -> Tensor:
        n = scores.shape[-1]
        diagonal = torch.eye(n, dtype=torch.bool, device=scores.device)
        root = scores.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
        arcs = torch.cat([root, scores.masked_fill(diagonal, NEVER)], -2)
        if self._mask is not None:
            # an absent node hangs at weight 1 from the root or, where that may have one dependent only, from node 0
            free = one_hot(torch.tensor(int(self._single), device=scores.device), n + 1).bool().unsqueeze(-1)
            absent = torch.where(free, 0.0, NEVER).to(arcs.dtype)
            arcs = torch.where(self._mask.unsqueeze(-2), arcs, absent)
        return arcs

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        return tree_total(self._arcs(scores[0]), self._single)

    def _best(self) -> tuple[Tensor, ...]:
        scores = self._scores[0].detach()
        arcs = self._arcs(scores)
        if self._single:  # a second root costs more than any tree can gain
            weight = (scores.amax((-1, -2)) - scores.amin((-1, -2)) + 1) * scores.shape[-1]
            first = torch.arange(arcs.shape[-2], device=arcs.device).unsqueeze(-1) == 0
            arcs = torch.where(first, arcs - weight[..., None, None], arcs)
        return self._from_heads(_best(arcs))

    def _draw(self, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        return self._from_heads(sample_heads(self._arcs(self._scores[0].detach()), self._single, generator))

    def _from_heads(self, heads: Tensor) -> tuple[Tensor, ...]:
        """Return the indicator of heads among the root (0) and the nodes (1 to n)."""
        own = torch.arange(heads.shape[-1], device=heads.device)
        return self._indicators(torch.where(heads == 0, own, heads - 1))

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        chosen = one_hot(structure, structure.shape[-1]).transpose(-1, -2)
        if self._mask is not None:
            chosen = chosen * self._mask.unsqueeze(-2)
        return (chosen.to(self._scores[0].dtype),)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        chosen = indicators[0]
        own = torch.arange(chosen.shape[-1], device=chosen.device)
        return torch.where(chosen.sum(-2) > 0.5, chosen.argmax(-2), own)


@capability(
    "operation",
    cost="O(n^3) time in n steps; O(n^2) memory, O(n^3) with a gradient",
    example=lambda: (torch.randn(2, 4, 4),),
)
class SpanningTree(Structure):
    r"""Undirected spanning trees of n nodes.

    :math:`p(T) \propto \exp\big(\tfrac1\tau \sum_{\{i, j\} \in T} s_{ij}\big)`; the minimum spanning tree has scores
    minus the lengths. Sums over all trees by the matrix-tree theorem, in float64.

    Args:
        scores: ``[..., n, n]``; the mean of (i, j) and (j, i) counts, the diagonal does not; -inf forbids.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., n]``, True where a node is present; node 0 has to be.

    Limit: as :math:`\tau \to 0` the marginals tend to the edges of the best tree, where it is unique. Structures are
    symmetric 0/1 matrices.

    Raises:
        InputError: scores are not ``[..., n, n]``.

    Example:
        >>> scores = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]])
        >>> SpanningTree(scores).argmax()
        tensor([[0, 1, 0],
                [1, 0, 1],
                [0, 1, 0]])

    Cost: O(n^3) time in n steps; O(n^2) memory, O(n^3) with a gradient.

    Source: Kirchhoff 1847; Prim 1957.
    """

    _dims = (2,)

    def __init__(
        self,
        scores: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        _square(scores)
        self._mask = mask
        super().__init__((scores.double(),), temperature)
        self._dtype = scores.dtype
        mean = 0.5 * (self._scores[0] + self._scores[0].transpose(-1, -2))
        allowed = (mean > NEVER / 2) & ~torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
        if mask is not None:
            allowed = allowed & mask.unsqueeze(-1) & mask.unsqueeze(-2)
        arcs = scores.shape[-1] - 1 if mask is None else mask.sum(-1) - 1
        floored, self._least = _on_floor(mean, allowed, arcs)
        self._scores = (floored,)

    def _arcs(self, scores: Tensor) -> Tensor:
        n = scores.shape[-1]
        arcs = scores.masked_fill(torch.eye(n, dtype=torch.bool, device=scores.device), NEVER)[..., 1:]
        if self._mask is not None:
            first = torch.arange(n, device=scores.device).unsqueeze(-1) == 0
            absent = torch.where(first, 0.0, NEVER).to(arcs.dtype)
            arcs = torch.where(self._mask[..., 1:].unsqueeze(-2), arcs, absent)
        return arcs

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        return tree_total(self._arcs(scores[0]))

    def _all_marginals(self, hard: bool) -> tuple[Tensor, ...]:
        # each edge was directed away from node 0: its probability is that of both directions
        return tuple(m + m.transpose(-1, -2) for m in super()._all_marginals(hard))

    def _best(self) -> tuple[Tensor, ...]:
        # Prim from node 0: n - 1 times the best arc from a node inside to one outside
        arcs = torch.nn.functional.pad(self._arcs(self._scores[0].detach()), (1, 0), value=-torch.inf)
        n = arcs.shape[-1]
        inside = one_hot(torch.zeros(arcs.shape[:-2], dtype=torch.int64, device=arcs.device), n).bool()
        chosen = torch.zeros_like(arcs)
        for _ in range(n - 1):
            open_arcs = arcs.masked_fill(~inside.unsqueeze(-1) | inside.unsqueeze(-2), -torch.inf)
            best = one_hot(open_arcs.flatten(-2).argmax(-1), n * n).reshape(arcs.shape)
            chosen = chosen + best
            inside = inside | best.sum(-2).bool()
        return (self._present(chosen),)

    def _draw(self, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        heads = sample_heads(self._arcs(self._scores[0].detach()), False, generator)
        chosen = one_hot(heads, self._scores[0].shape[-1]).transpose(-1, -2).to(self._scores[0].dtype)
        return (self._present(torch.nn.functional.pad(chosen, (1, 0))),)

    def _present(self, chosen: Tensor) -> Tensor:
        return chosen if self._mask is None else chosen * self._mask.unsqueeze(-2)

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        return (structure.triu(1).to(self._scores[0].dtype),)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        chosen = indicators[0]
        return (chosen + chosen.transpose(-1, -2)).round().long()
