"""What the losses over lists share: axes, masks and weights; soft and exact counts; means of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, check_choice
from softwood.gradients import straight_through
from softwood.ops._axes import as_rows, from_rows, mask_last, move_last, temperature_last
from softwood.ops._lapsum import laplace_sums

REDUCTIONS = ("mean", "none")


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
    ranks have it. A NaN makes its row NaN.

    Args:
        x: ``[..., n]``.
        weight: ``[..., n]``, >= 0.
        temperature: > 0, or ``[..., 1]``.
        hard: count exactly.
    """
    if not hard:
        rows = as_rows(x / temperature)
        return from_rows(laplace_sums(rows, rows, as_rows(weight), 0), x)
    found, order = x.sort(-1)
    found = found.contiguous()
    running = torch.nn.functional.pad(weight.gather(-1, order).cumsum(-1), (1, 0))
    low, high = (running.gather(-1, torch.searchsorted(found, found, right=right)) for right in (False, True))
    below = torch.zeros_like(x).scatter(-1, order, 0.5 * (low + high))
    return below.masked_fill(x.isnan().any(-1, keepdim=True), torch.nan)


def descending_rank(lists: Lists, weight: Tensor, hard: bool) -> Tensor:
    """Return 1 plus the weight above each entry, ties by half, for weights that are 1 or 0."""
    above = weight_below(-lists.scores, weight, lists.temperature, hard)
    return above + 0.5 * weight + 1.0 - weight
