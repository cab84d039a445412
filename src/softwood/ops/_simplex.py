"""Maps onto the simplex: softmax and its sparse relatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.kernels import simplex_pullback_rows, simplex_rows
from softwood.ops._axes import full_precision, mask_last, move_back, move_last, over_temperature, temperature_last
from softwood.ops._bridge import array, kernel_operator, over_rows


def _rates(x: Tensor, alpha: float | Tensor) -> np.ndarray:
    """Return q = 1 / (alpha - 1) for each row."""
    if isinstance(alpha, Tensor):
        return 1.0 / (array(alpha) - 1.0)
    return np.full(len(x), 1.0 / (alpha - 1.0))


def _kernel(x: Tensor, alpha: float | Tensor) -> Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.numel():
        over_rows(simplex_rows, x.numel(), array(x), _rates(x, alpha), array(out))
    return out


def _pullback(p: Tensor, grad: Tensor, alpha: float | Tensor) -> Tensor:
    out = torch.empty_like(p, memory_format=torch.contiguous_format)
    if p.numel():
        over_rows(simplex_pullback_rows, p.numel(), array(p), array(grad), _rates(p, alpha), array(out))
    return out


def _column(alpha: float | Tensor, x: Tensor) -> float | Tensor:
    return alpha.to(x.dtype).unsqueeze(-1) if isinstance(alpha, Tensor) else alpha


def _batched(x: Tensor, alpha: float | Tensor) -> Tensor:
    """Bisect for the threshold of each row; a division at the end takes the sum to 1."""
    rate = 1.0 / (_column(alpha, x) - 1.0)
    top = x.amax(-1, keepdim=True)
    shifted = torch.where(top == -math.inf, x, (x - top) / rate)
    low, width = torch.full_like(top, -1.0), 1.0
    for _ in range(torch.finfo(x.dtype).bits):
        width = width / 2
        inside = (shifted - (low + width)).clamp_min(0).pow(rate).sum(-1, keepdim=True) >= 1
        low = torch.where(inside, low + width, low)
    p = (shifted - low).clamp_min(0).pow(rate)
    p = torch.where(top == -math.inf, 0.0, p / p.sum(-1, keepdim=True))
    return torch.where(x.isnan().any(-1, keepdim=True) | (top == math.inf), math.nan, p)


def _slope(p: Tensor, alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivative of each p by its own shifted value, and the sum of these (1 where it is 0)."""
    present = p != 0
    slope = torch.where(present, torch.where(present, p, 1.0).pow(2.0 - _column(alpha, p)), 0.0)
    whole = slope.sum(-1, keepdim=True)
    return slope, torch.where(whole == 0, 1.0, whole)


def _batched_pullback(p: Tensor, grad: Tensor, alpha: float | Tensor) -> Tensor:
    slope, whole = _slope(p, alpha)
    return slope * (grad - (grad * slope).sum(-1, keepdim=True) / whole)


def _by_alpha(p: Tensor, grad: Tensor, alpha: Tensor) -> Tensor:
    slope, whole = _slope(p, alpha)
    lift = alpha.to(p.dtype).unsqueeze(-1) - 1.0
    free = p / lift.square() - p * torch.where(p != 0, p, 1.0).log() / lift
    return (grad * (free - slope * (free.sum(-1, keepdim=True) / whole))).sum(-1).to(alpha.dtype)


def _setup(ctx: Any, inputs: tuple[Tensor, float | Tensor], output: Tensor) -> None:
    ctx.save_for_backward(output, *(one for one in inputs[1:] if isinstance(one, Tensor)))
    ctx.alpha = None if isinstance(inputs[1], Tensor) else inputs[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    p, *rest = ctx.saved_tensors
    alpha = rest[0] if rest else ctx.alpha
    by_x = by_alpha = None
    if ctx.needs_input_grad[0]:
        if torch.is_grad_enabled():  # a second derivative is on its way
            by_x = _batched_pullback(p, grad, alpha)
        else:
            by_x = (_simplex_each_pullback if rest else _simplex_pullback)(p, grad, alpha)
    if ctx.needs_input_grad[1]:
        by_alpha = _by_alpha(p, grad, alpha)
    return by_x, by_alpha


def _like(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


# one alpha for all rows, or one for each
_simplex = kernel_operator(
    "simplex(Tensor x, float alpha) -> Tensor",
    _kernel, batched=_batched, fake=_like, backward=_backward, setup=_setup,
)  # fmt: skip
_simplex_each = kernel_operator(
    "simplex_each(Tensor x, Tensor alpha) -> Tensor",
    _kernel, batched=_batched, fake=_like, backward=_backward, setup=_setup,
)  # fmt: skip
_simplex_pullback = kernel_operator(
    "simplex_pullback(Tensor p, Tensor grad, float alpha) -> Tensor",
    _pullback, batched=_batched_pullback, fake=_like,
)  # fmt: skip
_simplex_each_pullback = kernel_operator(
    "simplex_each_pullback(Tensor p, Tensor grad, Tensor alpha) -> Tensor",
    _pullback, batched=_batched_pullback, fake=_like,
)  # fmt: skip


def scaled(x: Tensor, dim: int, temperature: float | Tensor, mask: Tensor | None) -> Tensor:
    """Return x / temperature with axis ``dim`` last, -inf where nothing is present, without a gradient there."""
    z = move_last(x, dim)
    present = mask_last(mask, x, dim)
    divisor = temperature_last(temperature, z)
    z = z if not isinstance(divisor, Tensor) and divisor == 1.0 else over_temperature(z, divisor)
    return z if present is None else z.masked_fill(~present, -math.inf)


def entmax_last(z: Tensor, alpha: float | Tensor) -> Tensor:
    """Return alpha-entmax over the last axis; alpha is a number or ``[..., 1]``."""
    if not z.numel():
        return z
    rows = z.reshape(-1, z.shape[-1])
    if not isinstance(alpha, Tensor):
        return _simplex(rows, alpha).reshape(z.shape)
    alpha = torch.where(alpha > 1, alpha, torch.nan).double()
    return _simplex_each(rows, alpha.expand(*z.shape[:-1], 1).reshape(-1)).reshape(z.shape)


def softmax_last(z: Tensor) -> Tensor:
    """Return softmax over the last axis, 0 where z is -inf, also where nothing else is there."""
    absent = z == -math.inf
    return z.masked_fill(absent, torch.finfo(z.dtype).min).softmax(-1).masked_fill(absent, 0.0)


@capability("operation", cost="O(n) time and memory")
@full_precision
def softmax(x: Tensor, dim: int = -1, *, temperature: float | Tensor = 1.0, mask: Tensor | None = None) -> Tensor:
    r"""Return the softmax of ``x``: the point of the simplex that maximises the inner product plus entropy.

    .. math:: p = \operatorname{argmax}_{p \in \Delta} \langle p, x / T \rangle - \sum_i p_i \log p_i,
              \qquad p_i = e^{x_i / T} / \textstyle\sum_j e^{x_j / T} .

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        temperature: T > 0, in units of x.
        mask: bool, True where an entry is present. Absent entries get weight 0 and no gradient; where none is present
            all weights are 0.

    Raises:
        InputError: x is not floating, or an argument does not fit it.

    Example:
        >>> softmax(torch.tensor([0.0, 1.0]), temperature=1e-3).tolist()
        [0.0, 1.0]

    Limit: as T goes to 0, one-hot at the largest value; ties share equally.

    Cost: O(n) time and memory.

    Source: Bridle, "Training Stochastic Model Recognition Algorithms as Networks", 1990.
    """
    return move_back(softmax_last(scaled(x, dim, temperature, mask)), dim, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def sparsemax(x: Tensor, dim: int = -1, *, temperature: float | Tensor = 1.0, mask: Tensor | None = None) -> Tensor:
    r"""Return the point of the simplex that is nearest to ``x / temperature``: many weights are exactly 0.

    .. math:: p = \operatorname{argmin}_{p \in \Delta} \lVert p - x / T \rVert^2,
              \qquad p_i = (x_i / T - \tau)_+ .

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        temperature: T > 0, in units of x. Values more than T below the largest have weight 0.
        mask: bool, True where an entry is present. Absent entries get weight 0 and no gradient; where none is present
            all weights are 0.

    Raises:
        InputError: x is not floating, or an argument does not fit it.

    Example:
        >>> sparsemax(torch.tensor([1.0, 0.5, -2.0])).tolist()
        [0.75, 0.25, 0.0]

    Limit: one-hot as soon as T is at most the lead of the largest value; ties share equally.

    Cost: O(n) time and memory; no sort.

    Source: Martins and Astudillo, "From Softmax to Sparsemax", 2016.
    """
    return move_back(entmax_last(scaled(x, dim, temperature, mask), 2.0), dim, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def entmax15(x: Tensor, dim: int = -1, *, temperature: float | Tensor = 1.0, mask: Tensor | None = None) -> Tensor:
    r"""Return 1.5-entmax of ``x``: between softmax and sparsemax, sparse and smooth.

    .. math:: p_i = (x_i / 2T - \tau)_+^2, \qquad \textstyle\sum_i p_i = 1 .

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        temperature: T > 0, in units of x. Values more than 2 T below the largest have weight 0.
        mask: bool, True where an entry is present. Absent entries get weight 0 and no gradient; where none is present
            all weights are 0.

    Raises:
        InputError: x is not floating, or an argument does not fit it.

    Example:
        >>> entmax15(torch.tensor([2.0, 0.0, 0.0])).tolist()
        [1.0, 0.0, 0.0]

    Limit: one-hot as soon as 2 T is at most the lead of the largest value; ties share equally.

    Cost: O(n) time and memory; no sort.

    Source: Peters, Niculae and Martins, "Sparse Sequence-to-Sequence Models", 2019.
    """
    return move_back(entmax_last(scaled(x, dim, temperature, mask), 1.5), dim, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def entmax(
    x: Tensor,
    dim: int = -1,
    *,
    alpha: float | Tensor = 1.5,
    temperature: float | Tensor = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return alpha-entmax of ``x``, with exact gradients by x, by the temperature and by alpha.

    .. math:: p_i = \bigl( (\alpha - 1) x_i / T - \tau \bigr)_+^{1 / (\alpha - 1)}, \qquad \textstyle\sum_i p_i = 1 .

    It maximises :math:`\langle p, x / T \rangle` plus the Tsallis entropy
    :math:`\sum_i (p_i - p_i^\alpha) / (\alpha (\alpha - 1))`. The limit 1 is softmax, 1.5 is ``entmax15``, 2 is
    ``sparsemax``. The p-norm map, which maximises :math:`\langle y, x / T \rangle - \lVert y \rVert_p^p / p` over the
    simplex, is this map with alpha = p and a temperature p - 1 times as large.

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        alpha: > 1; a number, or a tensor that broadcasts with x and is of size 1 along the axis (one for each head of
            an attention, say), which may be learned. Where it is not > 1 the answer is NaN.
        temperature: T > 0, in units of x.
        mask: bool, True where an entry is present. Absent entries get weight 0 and no gradient; where none is present
            all weights are 0.

    Raises:
        InputError: x is not floating, or an argument does not fit it.

    Example:
        >>> entmax(torch.tensor([1.0, 0.5, -2.0]), alpha=2.0).tolist()
        [0.75, 0.25, 0.0]

    Limit: one-hot as soon as T / (alpha - 1) is at most the lead of the largest value; ties share equally.

    Cost: O(n) time and memory a Newton step, about 10 of them on the values that may have weight; no sort.

    Source: Peters, Niculae and Martins, "Sparse Sequence-to-Sequence Models", 2019; the gradient by alpha is that of
    Correia, Niculae and Martins, "Adaptively Sparse Transformers", 2019.
    """
    z = scaled(x, dim, temperature, mask)
    if isinstance(alpha, Tensor):
        alpha = alpha if alpha.ndim == 0 else alpha.expand(*alpha.shape).movedim(dim, -1)
    elif not torch.compiler.is_compiling():
        alpha = check_number("alpha", alpha, low=1.0 + 1e-6)
    return move_back(entmax_last(z, alpha), dim, x.dtype)
