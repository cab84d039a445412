"""Quantiles and trimmed means from soft sorted values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.ops._axes import full_precision, mask_last, move_last
from softwood.ops._sort import sort


def _soft_places(
    x: Tensor, dim: int, relax: Any, temperature: float | Tensor, hard: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return sorted values ``[..., n]`` in the dtype in which we compute, and how many are present ``[..., 1]``."""
    data, present = move_last(x, dim), mask_last(mask, x, dim)
    values = sort(data, relax=relax, temperature=temperature, hard=hard, mask=present)[0]
    whole = torch.full((1,) * values.ndim, values.shape[-1], device=x.device)
    return values, whole if present is None else present.sum(-1, keepdim=True)


def _finish(answer: Tensor, count: Tensor, x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """Return ``answer [..., 1]`` in x's dtype, NaN where nothing is present, with or without the axis."""
    answer = torch.where(count > 0, answer, torch.nan).to(x.dtype).movedim(-1, dim)
    return answer if keepdim else answer.squeeze(dim)


@capability("operation", cost="as sort: O(n log n) time, O(n) memory with the default")
@full_precision
def quantile(
    x: Tensor,
    q: float | Tensor,
    dim: int = -1,
    keepdim: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return soft quantiles along an axis: the soft ``torch.quantile``.

    With soft sorted values s it is :math:`(1 - w) s_j + w s_{j+1}` at :math:`q (n - 1) = j + w`.

    Args:
        x: floating, any shape of one axis or more.
        q: a number in [0, 1], or a tensor ``[m]`` of such.
        dim: the axis.
        keepdim: keep it, with size 1.
        relax: as in ``sort``.
        temperature: :math:`\tau > 0`, in the units that ``sort`` states for the relaxation.
        hard: exact quantiles forward, the soft gradient backward.
        mask: bool, True where an entry is present. Where none is, and on an empty axis, the answer is NaN.

    Returns:
        x's dtype; for a tensor q an axis ``m`` in front, as torch has it.

    Raises:
        InputError: q is out of range; or as ``sort``.

    Example:
        >>> quantile(torch.tensor([4.0, 1.0, 2.0, 3.0]), 0.25)
        tensor(1.7500)

    Limit: as :math:`\tau \to 0`, ``torch.quantile``.

    Cost: as ``sort``: O(n log n) time, O(n) memory with the default.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    if isinstance(q, Tensor):
        if q.ndim > 1:
            raise InputError("q has too many axes", got=f"shape {tuple(q.shape)}", allowed="a number, or one axis",
                             fix="pass q.flatten()")  # fmt: skip
        levels = [torch.where((q >= 0) & (q <= 1), q, torch.nan)[..., None]] if q.ndim == 0 else list(q.unsqueeze(-1))
        levels = [torch.where((one >= 0) & (one <= 1), one, torch.nan) for one in levels]
    else:
        levels = [torch.tensor(check_number("q", q, low=0.0, high=1.0), device=x.device, dtype=torch.float64)]
    values, count = _soft_places(x, dim, relax, temperature, hard, mask)
    answers = []
    for level in levels:
        if values.shape[-1] == 0:
            answer = values.new_full((*values.shape[:-1], 1), torch.nan)
        else:
            place = (level.to(torch.float64) * (count - 1).clamp_min(0)).expand(*values.shape[:-1], 1)
            low = torch.where(place.isnan(), 0.0, place).floor().long()
            share = (place - low).to(values.dtype)
            both = [values.gather(-1, at.clamp_max(values.shape[-1] - 1)) for at in (low, low + 1)]
            # the next place counts for nothing where there is none, or where it is not reached
            answer = both[0] + torch.where(share > 0, share * (both[1] - both[0]), 0.0 * share)
        answers.append(_finish(answer, count, x, dim, keepdim))
    return torch.stack(answers) if isinstance(q, Tensor) and q.ndim == 1 else answers[0]


@capability("operation", cost="as sort: O(n log n) time, O(n) memory with the default")
def median(
    x: Tensor,
    dim: int = -1,
    keepdim: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the soft median along an axis: of an even number of entries the mean of the two in the middle.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        keepdim: keep it, with size 1.
        relax: as in ``sort``.
        temperature: :math:`\tau > 0`, in the units that ``sort`` states for the relaxation.
        hard: the exact median forward, the soft gradient backward.
        mask: bool, True where an entry is present.

    Raises:
        InputError: as ``sort``.

    Example:
        >>> median(torch.tensor([4.0, 1.0, 2.0, 30.0]), temperature=0.01)
        tensor(3.)

    Limit: as :math:`\tau \to 0`, ``numpy.median``.

    Cost: as ``sort``.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    return quantile(x, 0.5, dim, keepdim, relax=relax, temperature=temperature, hard=hard, mask=mask)


@capability("operation", cost="as sort: O(n log n) time, O(n) memory with the default")
@full_precision
def trimmed_mean(
    x: Tensor,
    proportion: float,
    dim: int = -1,
    keepdim: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the mean of what is left when the lowest and the highest entries are cut off, softly.

    It is the mean of soft sorted values from place :math:`\lfloor p n \rfloor` to as far from the other end.

    Args:
        x: floating, any shape of one axis or more.
        proportion: p, how many to cut off at each end, in [0, 0.5).
        dim: the axis.
        keepdim: keep it, with size 1.
        relax: as in ``sort``.
        temperature: :math:`\tau > 0`, in the units that ``sort`` states for the relaxation.
        hard: the exact value forward, the soft gradient backward.
        mask: bool, True where an entry is present.

    Raises:
        InputError: ``proportion`` is not in [0, 0.5); or as ``sort``.

    Example:
        >>> trimmed_mean(torch.tensor([9.0, 1.0, 2.0, 3.0]), 0.25)
        tensor(2.5000)

    Limit: as :math:`\tau \to 0`, ``scipy.stats.trim_mean``.

    Cost: as ``sort``.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    check_number("proportion", proportion, low=0.0, high=math.nextafter(0.5, 0))
    values, count = _soft_places(x, dim, relax, temperature, hard, mask)
    cut = (proportion * count.double()).floor().long()
    place = torch.arange(values.shape[-1], device=x.device)
    kept = (place >= cut) & (place < count - cut)
    answer = torch.where(kept, values, 0.0).sum(-1, keepdim=True) / (count - 2 * cut).clamp_min(1)
    return _finish(answer, count, x, dim, keepdim)
