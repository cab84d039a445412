"""Transport that never forms n x m: on the line, and through a few anchors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.ops._structured import working
from softwood.ops._transport import sinkhorn


class LinePlan(NamedTuple):
    """An optimal plan on the line: piece p takes ``mass[p]`` from point ``source[p]`` to point ``target[p]``.

    Example:
        >>> LinePlan(torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]), torch.tensor(0.0)).mass
        tensor([1.])
    """

    source: Tensor
    """int64 ``[..., n + m]``."""
    target: Tensor
    """int64 ``[..., n + m]``."""
    mass: Tensor
    """``[..., n + m]``; some are 0."""
    cost: Tensor
    """``[...]``."""


def _masses(a: Tensor | None, points: Tensor) -> Tensor:
    """Return masses that sum to 1, in the shape of the points."""
    if a is None:
        return torch.full_like(points, 1.0 / max(points.shape[-1], 1))
    if a.shape[-1] != points.shape[-1]:
        raise InputError(
            "masses do not fit the points", got=a.shape[-1], allowed=f"{points.shape[-1]} masses",
            fix="give one to each point",
        )  # fmt: skip
    a = a.to(points.dtype).expand(points.shape)
    return a / a.sum(-1, keepdim=True)


@capability(
    "operation",
    cost="O((n + m) log(n + m)) time, O(n + m) memory",
    example=lambda: (torch.randn(2, 3), torch.randn(2, 4)),
)
def transport_1d(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    power: float = 2.0,
) -> LinePlan:
    r"""Return the optimal transport between points on the line, exactly.

    :math:`W_p^p = \int_0^1 |F_x^{-1}(q) - F_y^{-1}(q)|^p \, dq` for p >= 1: the points meet in order. The gradient
    of the cost by points and masses is exact where no two points of a side coincide.

    Args:
        x: ``[..., n]``.
        y: ``[..., m]``, the same batch axes.
        a: masses >= 0 of x, brought to sum 1; equal by default. Mass 0 leaves a point out.
        b: masses >= 0 of y, brought to sum 1; equal by default.
        power: p >= 1.

    Raises:
        InputError: p < 1, a side has no point, or masses do not fit.

    Limit: nothing is relaxed; there is no temperature.

    Example:
        >>> transport_1d(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 2.0]), power=1.0).cost
        tensor(2.)

    Cost: O((n + m) log(n + m)) time, O(n + m) memory.

    Source: Villani 2003, section 2.2.
    """
    power = check_number("power", power, low=1)
    if x.shape[-1] == 0 or y.shape[-1] == 0:
        raise InputError("a side has no point", got=(x.shape, y.shape), allowed="n >= 1, m >= 1", fix="leave it out")
    x, y = working(x), working(y)
    a, b = _masses(a, x), _masses(b, y)
    x_sorted, x_order = x.sort(-1)
    y_sorted, y_order = y.sort(-1)
    end_x, end_y = a.gather(-1, x_order).cumsum(-1), b.gather(-1, y_order).cumsum(-1)
    ends = torch.cat([end_x, end_y], -1).sort(-1).values
    starts = torch.cat([torch.zeros_like(ends[..., :1]), ends[..., :-1]], -1)
    mass = ends - starts
    middle = (0.5 * (starts + ends)).detach()
    i = torch.searchsorted(end_x.detach().contiguous(), middle).clamp(max=x.shape[-1] - 1)
    j = torch.searchsorted(end_y.detach().contiguous(), middle).clamp(max=y.shape[-1] - 1)
    gap = (x_sorted.gather(-1, i) - y_sorted.gather(-1, j)).abs()
    cost = (mass * gap**power).sum(-1)
    return LinePlan(x_order.gather(-1, i), y_order.gather(-1, j), mass, cost)


class FactoredPlan(NamedTuple):
    """A transport plan of rank r: ``source @ diag(1 / weight) @ target.T``, never formed.

    Example:
        >>> one = torch.ones(1, 1)
        >>> FactoredPlan(one, one, torch.ones(1), one).apply(torch.tensor([[3.0]]))
        tensor([[3.]])
    """

    source: Tensor
    """``[..., n, r]``, how much of each point of x goes through each anchor."""
    target: Tensor
    """``[..., m, r]``, how much of each point of y comes through each anchor."""
    weight: Tensor
    """``[..., r]``, how much goes through each anchor."""
    anchors: Tensor
    """``[..., r, d]``."""

    def apply(self, values: Tensor) -> Tensor:
        """Return the plan times values ``[..., m, c]``, in O((n + m) r c)."""
        through = self.target.transpose(-1, -2) @ values
        return self.source @ (through / self.weight.unsqueeze(-1))

    def dense(self) -> Tensor:
        """Return the plan ``[..., n, m]``."""
        return (self.source / self.weight.unsqueeze(-2)) @ self.target.transpose(-1, -2)

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared distance that mass travels under the plan, in O((n + m) r d)."""
        inner = (x * self.apply(y)).sum((-1, -2))
        return (
            (self.source.sum(-1) * (x * x).sum(-1)).sum(-1)
            + (self.target.sum(-1) * (y * y).sum(-1)).sum(-1)
            - 2 * inner
        )


def _squared_distance(x: Tensor, z: Tensor) -> Tensor:
    return (x * x).sum(-1).unsqueeze(-1) + (z * z).sum(-1).unsqueeze(-2) - 2 * x @ z.transpose(-1, -2)


@capability(
    "operation",
    cost="O((n + m) r d) time a round and iteration, O((n + m) r) memory",
    example=lambda: (torch.randn(6, 2), torch.randn(7, 2), 3),
)
def low_rank_transport(
    x: Tensor,
    y: Tensor,
    rank: int,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.1,
    rounds: int = 10,
    iterations: int = 1000,
    tolerance: float = 1e-5,
    generator: torch.Generator | None = None,
) -> FactoredPlan:
    r"""Return a transport plan between clouds of points that goes through r anchors.

    Mass goes from x to anchors z by Sinkhorn, from there to y by Sinkhorn, squared Euclidean costs; then each anchor
    moves to the mean of what goes through it, ``rounds`` times, and both plans are taken once more. The marginals are
    a and b. The gradient is that of the last two plans; anchors are constants.

    Args:
        x: ``[..., n, d]``.
        y: ``[..., m, d]``.
        rank: r, from 1 to n + m.
        a: masses >= 0 of x, brought to sum 1; equal by default.
        b: masses >= 0 of y, brought to sum 1; equal by default.
        temperature: :math:`\tau > 0`, a squared distance.
        rounds: moves of the anchors.
        iterations: of the last two Sinkhorns, at most; 20 in each round.
        tolerance: of the last two Sinkhorns.
        generator: of the draw of the first anchors among the points.

    Raises:
        InputError: a parameter is out of range, or masses do not fit.

    Limit: as :math:`\tau \to 0` each point goes through few anchors; with r as large as n the plan is the best one.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> plan = low_rank_transport(x, x + 1, 2, generator=torch.Generator().manual_seed(0))
        >>> (plan.dense() @ torch.ones(4)).round(decimals=3)
        tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Cost: O((n + m) r d) time a round and iteration, O((n + m) r) memory.

    Source: Forrow et al. 2019 (factored couplings).
    """
    n, m = x.shape[-2], y.shape[-2]
    rank = check_number("rank", rank, low=1, high=max(n + m, 1), integer=True)
    rounds = check_number("rounds", rounds, low=0, integer=True)
    x, y = working(x), working(y)
    a, b = _masses(a, x[..., 0]), _masses(b, y[..., 0])
    options: dict[str, Any] = {"temperature": temperature, "iterations": iterations, "tolerance": tolerance}
    rough: dict[str, Any] = {"temperature": temperature, "iterations": 20, "backward": "unrolled"}
    points = torch.cat([x, y], -2).detach()
    picked = torch.randperm(n + m, generator=generator, device=None if generator is None else generator.device)
    anchors = points[..., picked[:rank].to(points.device), :]
    weight = torch.full_like(anchors[..., 0], 1.0 / rank)
    for _ in range(rounds):
        with torch.no_grad():
            source = sinkhorn(-_squared_distance(x, anchors), a, weight, **rough)
            target = sinkhorn(-_squared_distance(y, anchors), b, weight, **rough)
            both = source.transpose(-1, -2) @ x + target.transpose(-1, -2) @ y
            anchors = both / (2 * weight.unsqueeze(-1))
    source = sinkhorn(-_squared_distance(x, anchors), a, weight, **options)
    target = sinkhorn(-_squared_distance(y, anchors), b, weight, **options)
    return FactoredPlan(source, target, weight, anchors)
