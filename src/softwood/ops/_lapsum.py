"""LapSum: sorting, ranking and permuting by a sum of Laplace distribution functions, O(n log n)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.kernels import laplace_quantiles as _quantiles_kernel
from softwood.kernels import laplace_sums as _sums_kernel
from softwood.ops._axes import as_rows, from_rows, over_temperature
from softwood.ops._bridge import array, kernel_operator, over_rows, sort_cpu
from softwood.ops._selection import SoftPermutation


# ------------------------------------------------------------------ sums
def _sums_cpu(q: Tensor, x: Tensor, v: Tensor, kind: int) -> Tensor:
    points, places = sort_cpu(q), sort_cpu(x)
    out = np.empty(q.shape, array(q).dtype)
    over_rows(_sums_kernel, q.numel() + x.numel(), *map(array, (*points, *places)), array(v), kind, out)
    return torch.from_numpy(out)


def _sums_batched(q: Tensor, x: Tensor, v: Tensor, kind: int) -> Tensor:
    found, order = x.double().sort(-1)
    weights, at = v.double().gather(-1, order), q.double().contiguous()
    n = x.shape[-1]
    if n == 0:
        return torch.zeros_like(q)
    before, upto = (torch.searchsorted(found.contiguous(), at, right=right) for right in (False, True))
    total = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
    below, equal = total.gather(-1, before), total.gather(-1, upto) - total.gather(-1, before)
    left, right = torch.zeros_like(at), torch.zeros_like(at)
    for sign in (1.0, -1.0):  # logarithms of positive and of negative weights, so that nothing overflows
        log = (sign * weights).clamp_min(0).log()
        up = (log + found).logcumsumexp(-1).gather(-1, (before - 1).clamp_min(0)) - at
        down = (log - found).flip(-1).logcumsumexp(-1).flip(-1).gather(-1, upto.clamp_max(n - 1)) + at
        left = left + sign * torch.where((before > 0) & ~up.isnan(), up.exp(), 0.0)
        right = right + sign * torch.where((upto < n) & ~down.isnan(), down.exp(), 0.0)
    answers = (below + 0.5 * (equal + right - left), 0.5 * (left + equal + right), 0.5 * (right - left))
    spoilt = (x.isnan().any(-1) | q.isnan().any(-1)).unsqueeze(-1)
    return answers[kind].masked_fill(spoilt, torch.nan).to(q.dtype)


def _sums_keep(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, ctx.kind = inputs
    ctx.save_for_backward(*tensors)


def _sums_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    q, x, v = ctx.saved_tensors
    of_q, of_x, of_v = ctx.needs_input_grad[:3]
    slope = 1 if ctx.kind != 1 else 2  # almost everywhere the second derivative of the density is the density
    to_q = gradient * laplace_sums(q, x, v, slope) if of_q else None
    to_x, to_v = None, None
    if of_x:  # the density is even, its derivative odd
        to_x = (-1.0 if slope == 1 else 1.0) * v * laplace_sums(x, q, gradient, slope)
    if of_v:
        back = laplace_sums(x, q, gradient, ctx.kind)
        to_v = (gradient.sum(-1, keepdim=True) - back, back, -back)[ctx.kind]
    return to_q, to_x, to_v, None


# The sums of v_i phi(q_k - x_i) over i, for q [rows, m] and x, v [rows, n], as the kernel says; any order of both.
# Its derivatives are sums of the same kind with q and x exchanged, so that they exist to any order.
laplace_sums = kernel_operator(
    "laplace_sums(Tensor q, Tensor x, Tensor v, int kind) -> Tensor",
    _sums_cpu,
    batched=_sums_batched,
    fake=lambda q, *rest: torch.empty_like(q, memory_format=torch.contiguous_format),
    backward=_sums_backward,
    setup=_sums_keep,
)


# ------------------------------------------------------------------ their inverse
def _quantiles_cpu(t: Tensor, x: Tensor, v: Tensor) -> Tensor:
    out = np.empty(t.shape, array(x).dtype)
    over_rows(_quantiles_kernel, t.numel() + x.numel(), array(t), *map(array, sort_cpu(x)), array(v), out)
    return torch.from_numpy(out)


def _quantiles_batched(t: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """Between two neighbours the equation is c = g sinh(b - m); the logarithms of all sums are at hand."""
    finite = x.isfinite()
    data, order = torch.where(finite, x, 0.0).double().sort(-1)
    weights = torch.where(finite, v, 0.0).double().gather(-1, order)
    below = torch.where(x == -torch.inf, v, 0.0).sum(-1, keepdim=True).double()
    whole, target = weights.sum(-1, keepdim=True), t.double() - below
    left = torch.nn.functional.pad((weights.log() + data).logcumsumexp(-1), (1, 0), value=-torch.inf)
    right = (weights.log() - data).flip(-1).logcumsumexp(-1).flip(-1)
    right = torch.nn.functional.pad(right, (0, 1), value=-torch.inf)
    after = torch.searchsorted(_sums_batched(data, data, weights, 0), target.contiguous(), right=True)
    count = torch.nn.functional.pad(weights.cumsum(-1), (1, 0)).gather(-1, after)
    left, right, c = left.gather(-1, after), right.gather(-1, after), target - count
    log = c.abs().log() - 0.5 * (left + right)  # of |c| / g
    away = torch.where(log > 30, log + math.log(2), log.clamp_max(30).exp().asinh()) * c.sign()
    answer = torch.where(c == 0, 0.0, away) + 0.5 * (left - right)
    answer = torch.where(left == -torch.inf, (2 * target).log() - right, answer)
    answer = torch.where(right == -torch.inf, left - (2 * (whole - target)).log(), answer)
    answer = torch.where(target <= 0, -torch.inf, torch.where(target >= whole, torch.inf, answer))
    return answer.masked_fill(x.isnan().any(-1, keepdim=True), torch.nan).to(x.dtype)


def _quantiles_keep(ctx: Any, inputs: Any, output: Any) -> None:
    _, x, v = inputs
    ctx.save_for_backward(output, x, v)


def _quantiles_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    b, x, v = ctx.saved_tensors
    # in double: between two far neighbours the density is tiny, and only its share counts
    b, data, weights = b.double(), x.double(), v.double()
    within = b.isfinite()
    density = laplace_sums(torch.where(within, b, 0.0), data, weights, 1)
    share = torch.where(within, gradient.double() / density.clamp_min(1e-300), 0.0)
    to_t, to_x, to_v = share, None, None
    if ctx.needs_input_grad[1]:
        to_x = (weights * laplace_sums(data, torch.where(within, b, 0.0), share, 1)).to(x.dtype)
    if ctx.needs_input_grad[2]:
        to_v = (laplace_sums(data, torch.where(within, b, 0.0), share, 0) - share.sum(-1, keepdim=True)).to(v.dtype)
    return to_t.to(gradient.dtype), to_x, to_v


# The b with sum_i v_i F(b - x_i) = t_k, for rising t [rows, m] and x, v [rows, n]: implicit derivatives of any order.
laplace_quantiles = kernel_operator(
    "laplace_quantiles(Tensor t, Tensor x, Tensor v) -> Tensor",
    _quantiles_cpu,
    batched=_quantiles_batched,
    fake=lambda t, x, v: torch.empty_like(t, dtype=x.dtype, memory_format=torch.contiguous_format),
    backward=_quantiles_backward,
    setup=_quantiles_keep,
)


# ------------------------------------------------------------------ what sort and rank call
class LaplacePermutation(SoftPermutation):
    """Differences of smoothed ranks: P_ki = F(b_k - x_i) - F(b_(k-1) - x_i), where the smoothed ranks of b_k are k.

    Rows and columns sum to 1.

    Args:
        x: ``[*batch, n]`` over the temperature; absent entries hold 0.
        weights: ``[*batch, n]``, 1 where an entry is present, else 0.
        order: int64 ``[*batch, n]``, the hard order.
        descending: largest first.
        shape: as in ``SoftSelection``, and so are the next two.
        dim: the axis.
        straight: exact forward.
    """

    def __init__(
        self, x: Tensor, weights: Tensor, order: Tensor, descending: bool, *, shape: tuple[int, ...], dim: int,
        straight: bool,
    ) -> None:  # fmt: skip
        super().__init__(shape, dim, straight)
        self._x = x
        self._weights = weights
        self._order = order
        self._sign = -1.0 if descending else 1.0

    def _edges(self, data: Tensor, weights: Tensor) -> Tensor:
        """Return b_1 to b_(n-1), ``[rows, n - 1]``."""
        targets = torch.arange(data.shape[-1], device=data.device, dtype=data.dtype)[1:].expand(len(data), -1)
        return laplace_quantiles(targets, data, weights)

    def _parts(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return edges, x, weights and values, all ``[rows, n]`` with a row for each feature."""
        data, weights = as_rows(self._sign * self._x), as_rows(self._weights)
        edges = self._edges(data, weights)
        features = values.shape[-2]
        many = (one.repeat_interleave(features, 0) for one in (edges, data, weights))
        dtype = torch.promote_types(values.dtype, data.dtype)
        edges, data, weights = (one.to(dtype) for one in many)
        return edges, data, weights, as_rows(values).to(dtype)

    def _product(self, values: Tensor) -> Tensor:
        edges, data, weights, rows = self._parts(values)
        rows = torch.where(weights > 0, rows, 0.0)
        below = laplace_sums(edges, data, rows, 0)
        whole = rows.sum(-1, keepdim=True)
        steps = torch.cat([below, whole], -1).diff(dim=-1, prepend=torch.zeros_like(whole))
        return steps[:, : rows.shape[-1]].reshape(values.shape)  # of none, there is no step either

    def _transpose_product(self, values: Tensor) -> Tensor:
        edges, data, weights, rows = self._parts(values)
        place = torch.arange(rows.shape[-1], device=rows.device)
        rows = torch.where(place < weights.sum(-1, keepdim=True), rows, 0.0)
        steps = rows.diff(dim=-1)
        above = steps.sum(-1, keepdim=True) - laplace_sums(data, edges, steps, 0)
        return torch.where(weights > 0, rows[:, -1:] - above, 0.0).reshape(values.shape)

    def _matrix(self) -> Tensor:
        data, weights = as_rows(self._sign * self._x), as_rows(self._weights)
        away = self._edges(data, weights).unsqueeze(-1) - data.unsqueeze(-2)
        tail = 0.5 * torch.exp(-away.abs())
        below = torch.where(away > 0, 1 - tail, tail)
        ends = torch.zeros_like(data).unsqueeze(-2)
        matrix = torch.cat([ends, below, ends + 1], -2).diff(dim=-2) * weights.unsqueeze(-2)
        return matrix.reshape(*self._x.shape, self._x.shape[-1])

    def hard(self) -> Tensor:
        """Return the order, int64 ``[*batch, n]``."""
        return self._order


@dataclass(frozen=True)
class LapSum:
    """Smoothed ranks by a sum of Laplace distribution functions, and their inverse (Struski et al., 2025).

    In ``topk_mask``: steps of the Laplace distribution at the threshold at which they add up to k.

    Example:
        >>> LapSum()
        LapSum()
    """

    def sort(
        self, x: Tensor, temperature: float | Tensor, descending: bool, mask: Tensor | None, frame: dict[str, Any]
    ) -> tuple[Tensor, SoftPermutation]:
        """Return the values ``[..., n]`` and the permutation of ``x [..., n]``."""
        n = x.shape[-1]
        scaled, weights = present_last(over_temperature(x, temperature), mask)
        order = order_last(x, mask, descending)
        data = as_rows(-scaled if descending else scaled)
        targets = torch.arange(n, device=x.device, dtype=data.dtype) + 0.5
        values = from_rows(laplace_quantiles(targets.expand(data.shape), data, as_rows(weights)), x)
        finite = values.isfinite()  # infinity times a temperature has the derivative NaN
        values = torch.where(finite, torch.where(finite, values, 0.0) * temperature, values)
        values = -values if descending else values
        if mask is not None:
            values = torch.where(torch.arange(n, device=x.device) < mask.sum(-1, keepdim=True), values, 0.0)
            values = values.masked_fill((mask & x.isnan()).any(-1, keepdim=True), torch.nan)
        return values, LaplacePermutation(scaled, weights, order, descending, **frame)

    def rank(self, x: Tensor, temperature: float | Tensor, mask: Tensor | None) -> Tensor:
        """Return the ranks ``[..., n]``, from 1 for the smallest, of ``x [..., n]``."""
        scaled, weights = present_last(over_temperature(x, temperature), mask)
        data = as_rows(scaled)
        ranks = from_rows(laplace_sums(data, data, as_rows(weights), 0), x) + 0.5
        return ranks if mask is None else ranks.masked_fill(~mask, 0.0)


def present_last(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return ``x`` with 0 where an entry is absent, and weights 1 and 0.

    Example:
        >>> present_last(torch.tensor([3.0, 4.0]), torch.tensor([True, False]))
        (tensor([3., 0.]), tensor([1., 0.]))
    """
    if mask is None:
        return x, torch.ones_like(x, requires_grad=False)
    return x.masked_fill(~mask, 0.0), mask.to(x.dtype)


def order_last(x: Tensor, mask: Tensor | None, descending: bool) -> Tensor:
    """Return the hard order, the absent last.

    Example:
        >>> order_last(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, False, True]), True)
        tensor([0, 2, 1])
    """
    order = x.detach().argsort(dim=-1, descending=descending, stable=True)
    if mask is None:
        return order
    return order.gather(-1, (~mask).gather(-1, order).to(torch.int8).argsort(dim=-1, stable=True))
