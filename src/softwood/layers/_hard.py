"""What soft layers become: plain modules without a temperature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from softwood.ops._transport import hard_assignment


class OneHot(nn.Module):
    """The one-hot of the largest entry along the last axis, in its type; the first of equal ones.

    Example:
        >>> OneHot()(torch.tensor([0.1, 0.9, 0.3]))
        tensor([0., 1., 0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the one-hot."""
        return torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0) if x.shape[-1] else x


class TopKMask(nn.Module):
    """1 at the k largest entries along the last axis and 0 elsewhere; the first of equal ones.

    Args:
        k: how many; all where there are fewer.

    Example:
        >>> TopKMask(2)(torch.tensor([0.1, 0.9, 0.3]))
        tensor([0., 1., 1.])
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask."""
        first = x.argsort(dim=-1, descending=True, stable=True)[..., : self.k]
        return torch.zeros_like(x).scatter(-1, first, 1.0)

    def extra_repr(self) -> str:
        """Return what ``print`` shows."""
        return f"k={self.k}"


class Gate(nn.Module):
    """Inputs that are kept or set to 0, once and for all.

    Args:
        keep: bool ``[in_features]``.

    Example:
        >>> Gate(torch.tensor([True, False]))(torch.tensor([3.0, 4.0]))
        tensor([3., 0.])
    """

    keep: Tensor

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return x where kept, else 0."""
        return torch.where(self.keep.bool(), x, 0.0)

    def size(self) -> int:
        """Return how many inputs are kept, the units of a budget."""
        return int(self.keep.sum())


class Sort(nn.Module):
    """The values in order, along the last axis.

    Args:
        descending: largest first.

    Example:
        >>> Sort()(torch.tensor([3.0, 1.0, 2.0]))
        tensor([1., 2., 3.])
    """

    def __init__(self, descending: bool = False) -> None:
        super().__init__()
        self.descending = descending

    def forward(self, x: Tensor) -> Tensor:
        """Return the sorted values."""
        return x.sort(dim=-1, descending=self.descending).values

    def extra_repr(self) -> str:
        """Return what ``print`` shows."""
        return f"descending={self.descending}"


class Matching(nn.Module):
    """The permutation matrix of the best assignment of rows to columns (Hungarian method, on the host).

    Example:
        >>> Matching()(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
        tensor([[1., 0.],
                [0., 1.]])
    """

    def forward(self, scores: Tensor) -> Tensor:
        """Return the 0/1 matrix."""
        return hard_assignment(scores.detach(), scores > -torch.inf)


class PiecewiseLinear(nn.Module):
    """A continuous piecewise-linear function, applied to each entry.

    Args:
        knots: ``[m]``, ascending.
        slopes: ``[m + 1]``, of the pieces from left to right.
        start: value at the first knot.

    Example:
        >>> PiecewiseLinear([0.0, 1.0], [0.0, 1.0, 0.0])(torch.tensor([-1.0, 0.5, 3.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """

    knots: Tensor
    slopes: Tensor
    start: Tensor

    def __init__(self, knots: Any, slopes: Any, start: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("knots", torch.as_tensor(knots, dtype=torch.float32).clone())
        self.register_buffer("slopes", torch.as_tensor(slopes, dtype=torch.float32).clone())
        self.register_buffer("start", torch.as_tensor(start, dtype=torch.float32).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the value of each entry."""
        knots, slopes = self.knots.to(x.dtype), self.slopes.to(x.dtype)
        inner, outside = split_pieces(x, knots[0], knots[-1], slopes)
        parts = (inner.unsqueeze(-1) - knots).relu() * slopes.diff()
        return self.start.to(x.dtype) + slopes[0] * (inner - knots[0]) + parts.sum(-1) + outside


def split_pieces(x: Tensor, low: Tensor, high: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return x held between low and high, and how much the outer two pieces add beyond.

    Ramps that grow with x without bound, and are to cancel, would leave nothing right of a large x.

    Example:
        >>> split_pieces(torch.tensor([-3.0, 9.0]), torch.tensor(0.0), torch.tensor(6.0), torch.tensor([0.5, 1.0, 0.0]))
        (tensor([0., 6.]), tensor([-1.5000,  0.0000]))
    """
    left, right = (low - x).relu(), (x - high).relu()
    # a flat piece stays flat out to infinity
    left, right = (torch.where(slope == 0, 0.0, slope * far) for slope, far in ((slopes[0], left), (slopes[-1], right)))
    return x.clamp(low, high), right - left
