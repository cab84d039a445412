"""What the losses over lists share: axes, masks and weights; soft and exact counts; means of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, check_choice
from softwood.gradients import straight_through
from softwood.ops._axes import mask_last, move_last, temperature_last

REDUCTIONS = ("mean", "none")
_NONE = -1e30  # logarithm of a weight of 0; finite, so that differences are


@dataclass(frozen=True)
class Lists:
    """Scores, targets and weights ``[..., n]`` with the list last; absent items have weight 0 and score 0."""

    scores: Tensor
    target: Tensor
    weight: Tensor
    present: Tensor
    temperature: float | Tensor


def as_lists(
    scores: Tensor,
    target: Tensor,
    dim: int,
    temperature: float | Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
) -> Lists:
    """Return the arguments of a loss with the list as last axis, in float32 at least.

    Raises:
        InputError: shapes do not fit.
    """
    if target.shape != scores.shape:
        raise InputError("target does not fit the scores", got=tuple(target.shape), allowed=tuple(scores.shape),
                         fix="give one target for each score")  # fmt: skip
    s = move_last(scores, dim)
    y = target.movedim(dim, -1).to(s.dtype)
    present = mask_last(mask, scores, dim)
    present = torch.ones_like(s, dtype=torch.bool) if present is None else present
    w = torch.ones_like(s) if weight is None else weight.expand(scores.shape).movedim(dim, -1).to(s.dtype)
    # what is absent may hold anything, NaN too
    s, y, w = (torch.where(present, part, 0.0) for part in (s, y, w))
    return Lists(s, y, w, present, temperature_last(temperature, s))


def reduced(rows: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """Return the mean over the rows that count, or all rows (0 where a row does not count)."""
    check_choice("reduction", reduction, REDUCTIONS)
    rows = torch.where(counts, rows, 0.0)
    return rows if reduction == "none" else rows.sum() / counts.sum().clamp_min(1)


def hard_or_soft(value: Callable[[bool], Tensor], hard: bool) -> Tensor:
    """Return ``value(False)``, or the exact ``value(True)`` with its gradient."""
    soft = value(False)
    return straight_through(value(True), soft) if hard else soft


def divided(a: Tensor, b: Tensor) -> Tensor:
    """Return a / b, and 0 without a gradient where b is 0."""
    some = b != 0
    return torch.where(some, a / torch.where(some, b, 1.0), 0.0)


def weight_below(x: Tensor, weight: Tensor, temperature: float | Tensor, hard: bool) -> Tensor:
    r"""Return the weight of what is below each entry, ties (and the entry itself) by half, in O(n log n).

    :math:`\sum_j w_j F((x_i - x_j) / \tau)` with F the distribution function of the Laplace distribution, as LapSum
    ranks have it: sums of exponentials from the left and from the right of the sorted values.

    Args:
        x: ``[..., n]``.
        weight: ``[..., n]``, >= 0.
        temperature: > 0, or ``[..., 1]``.
        hard: count exactly.
    """
    ordered, order = x.sort(-1)
    w = weight.gather(-1, order)
    before = w.cumsum(-1) - w
    if hard:
        ordered = ordered.contiguous()
        running = torch.nn.functional.pad(w.cumsum(-1), (1, 0))
        low = running.gather(-1, torch.searchsorted(ordered, ordered))
        high = running.gather(-1, torch.searchsorted(ordered, ordered, right=True))
        found = 0.5 * (low + high)
    else:
        z = ordered / temperature
        log_w = torch.where(w > 0, torch.where(w > 0, w, 1.0).log(), _NONE)
        left = (torch.logcumsumexp(z + log_w, -1) - z).exp() - w
        right = (torch.logcumsumexp((log_w - z).flip(-1), -1).flip(-1) + z).exp()
        found = before - 0.5 * left + 0.5 * right
    return torch.zeros_like(found).scatter(-1, order, found)


def descending_rank(lists: Lists, weight: Tensor, hard: bool) -> Tensor:
    """Return 1 plus the weight above each entry, ties by half, for weights that are 1 or 0."""
    above = weight_below(-lists.scores, weight, lists.temperature, hard)
    return above + 0.5 * weight + 1.0 - weight
