"""Paths: monotone alignments of two sequences, and paths through a graph without cycles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from softwood.core import InputError, capability
from softwood.ops._structured import NEVER, Plus, Structure, skewed


@capability(
    "operation",
    cost="O(n m) time in n + m steps, O(n m) memory",
    example=lambda: (torch.randn(2, 3, 4),),
)
class Alignment(Structure):
    r"""Monotone alignments: paths through a grid from its first cell to its last.

    A path goes down, right, or diagonally, one cell at a time; its score is the sum of its cells. With scores
    minus the distances of two sequences, :math:`-\tau \log Z` is soft-DTW and the best path is DTW's.

    Args:
        scores: ``[..., n, m]``, higher is better; -inf forbids a cell.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., n, m]``, True in the rectangle that is present; the path ends in its last corner.
        diagonal: are diagonal moves allowed?

    Limit: as :math:`\tau \to 0` the marginals tend to the cells of the best path, where it is unique.

    Raises:
        InputError: the grid has no cell.

    Example:
        >>> distance = (torch.tensor([0.0, 0.5, 2.0])[:, None] - torch.tensor([0.0, 2.0])) ** 2
        >>> Alignment(-distance).argmax()
        tensor([[1, 0],
                [1, 0],
                [0, 1]])

    Cost: O(n m) time in n + m steps, O(n m) memory.

    Source: Cuturi and Blondel 2017 (soft-DTW).
    """

    _dims = (2,)

    def __init__(
        self,
        scores: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        mask: Tensor | None = None,
        diagonal: bool = True,
    ) -> None:
        if 0 in scores.shape[-2:]:
            raise InputError(
                "a grid without cells has no path", got=tuple(scores.shape), allowed="n >= 1, m >= 1",
                fix="leave such pairs out, or mask them",
            )  # fmt: skip
        self._diagonal = diagonal
        super().__init__((scores,), temperature)
        self._last: Tensor | None = None
        if mask is not None:
            mask = mask.expand(scores.shape)
            self._scores = (self._scores[0].masked_fill(~mask, NEVER),)
            n, m = mask.any(-1).sum(-1), mask.any(-2).sum(-1)
            self._last = torch.stack([(n - 1).clamp_min(0), (n + m - 2).clamp_min(0), (n * m == 0).long()])

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        cells = skewed(scores[0])
        before = torch.full_like(cells[..., 0], NEVER)
        now = cells[..., 0]
        columns = [now]
        for d in range(1, cells.shape[-1]):
            down = pad(now[..., :-1], (1, 0), value=NEVER)
            ways = [now, down, pad(before[..., :-1], (1, 0), value=NEVER)]
            step = plus(torch.stack(ways if self._diagonal else ways[:2], -1), -1)
            before, now = now, (step + cells[..., d]).clamp(min=NEVER)
            columns.append(now)
        if self._last is None:
            return now[..., -1]
        i, d, empty = self._last
        table = torch.stack(columns, -1).flatten(-2)
        found = table.gather(-1, (i * len(columns) + d).unsqueeze(-1)).squeeze(-1)
        return torch.where(empty.bool(), 0.0, found)

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        return (structure,)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        return indicators[0].round().long()


@capability(
    "operation",
    cost="O(n^2) time in n steps, O(n^2) memory",
    example=lambda: (torch.randn(2, 4, 4),),
)
class DagPath(Structure):
    r"""Paths from the first node to the last through a graph whose edges go from lower to higher numbers.

    The score of a path is the sum of its edges; the shortest path has scores minus the lengths.

    Args:
        scores: ``[..., n, n]`` of edges (from, to); only entries above the diagonal count; -inf where there is no
            edge.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.

    Limit: as :math:`\tau \to 0` the marginals tend to the edges of the best path, where it is unique.

    Raises:
        InputError: there is no node.

    Example:
        >>> length = torch.tensor([[0.0, 1.0, 5.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        >>> DagPath(-length).argmax()
        tensor([[0, 1, 0],
                [0, 0, 1],
                [0, 0, 0]])

    Cost: O(n^2) time in n steps, O(n^2) memory.

    Source: Mensch and Blondel 2018 (differentiable dynamic programming).
    """

    _dims = (2,)

    def __init__(self, scores: Tensor, *, temperature: float | Tensor = 1.0) -> None:
        if scores.shape[-1] == 0 or scores.shape[-1] != scores.shape[-2]:
            raise InputError(
                "scores are not of the edges of a graph", got=tuple(scores.shape), allowed="[..., n, n] with n >= 1",
                fix="give one score for each pair of nodes",
            )  # fmt: skip
        super().__init__((scores,), temperature)

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        edges = scores[0]
        reached = [torch.zeros_like(edges[..., 0, 0])]
        for j in range(1, edges.shape[-1]):
            ways = torch.stack(reached, -1) + edges[..., :j, j]
            reached.append(plus(ways, -1).clamp(min=NEVER))
        return reached[-1]

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        return (structure,)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        return indicators[0].round().long()
