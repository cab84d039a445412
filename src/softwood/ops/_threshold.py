"""Soft steps of each row that add up to k: one operator under every mask of k items."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from softwood.kernels import EXPONENTIAL, LAPLACE, LOGISTIC, threshold_rows
from softwood.ops._bridge import array, kernel_operator, over_rows


def step(u: Tensor, kind: int, power: float) -> Tensor:
    """Return F(u), from 0 to 1; see ``kernels.threshold_rows`` for the kinds."""
    if kind == LOGISTIC:
        return u.sigmoid()
    if kind == LAPLACE:
        small = 0.5 * (-u.abs()).exp()
        return torch.where(u < 0, small, 1.0 - small)
    if kind == EXPONENTIAL:
        return u.clamp_max(0.0).exp()
    return (u / power).clamp(0.0, 1.0).pow(power)


def _slope(p: Tensor, kind: int, power: float) -> Tensor:
    """Return F' where F is p."""
    if kind == LOGISTIC:
        return p * (1.0 - p)
    if kind == LAPLACE:
        return torch.minimum(p, 1.0 - p)
    inside = (p > 0.0) & (p < 1.0)
    if kind == EXPONENTIAL:
        return torch.where(inside, p, 0.0)
    return torch.where(inside, torch.where(inside, p, 0.5).pow(1.0 - 1.0 / power), 0.0)


def _kernel(x: Tensor, k: Tensor, kind: int, power: float) -> tuple[Tensor, Tensor]:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    tau = torch.empty(len(x), dtype=torch.float64)
    over_rows(threshold_rows, x.numel(), array(x), array(k), kind, power, array(out), array(tau))
    return out, tau


def _batched(x: Tensor, k: Tensor, kind: int, power: float) -> tuple[Tensor, Tensor]:
    """Bisect between the smallest and the largest value, widened by what a step needs to fall to 1e-30."""
    z, left = x.double(), (k - (x == math.inf).sum(-1)).unsqueeze(-1)
    finite = z.abs() < math.inf
    size = finite.sum(-1, keepdim=True)
    low = torch.where(finite, z, math.inf).amin(-1, keepdim=True) - power - 70.0
    high = torch.where(finite, z, -math.inf).amax(-1, keepdim=True) + 70.0
    inner = torch.where(finite, z, -math.inf)
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = step(inner - middle, kind, power).sum(-1, keepdim=True) >= left
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    tau = 0.5 * (low + high)
    tau = torch.where(left <= 0, math.inf, torch.where(left >= size, -math.inf, tau))
    tau = torch.where((left < 0) | left.isnan() | z.isnan().any(-1, keepdim=True), math.nan, tau)
    plain = step(torch.where(finite, z, 0.0) - tau, kind, power)
    out = torch.where(finite, plain, torch.where(z == math.inf, 1.0, 0.0))
    return torch.where(tau.isnan(), math.nan, out).to(x.dtype), tau.squeeze(-1)


def _fake(x: Tensor, k: Tensor, kind: int, power: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(x.shape[0], dtype=torch.float64)


def _setup(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[0])
    ctx.kind, ctx.power = inputs[2:]


def _backward(ctx: Any, by_p: Tensor, by_tau: Tensor) -> tuple[Tensor, Tensor, None, None]:
    (p,) = ctx.saved_tensors
    slope = _slope(p, ctx.kind, ctx.power)
    whole = slope.sum(-1, keepdim=True)
    # where every step is exactly 0 or 1, nothing moves
    mean = ((by_p * slope).sum(-1, keepdim=True) - by_tau.to(p.dtype).unsqueeze(-1)) / torch.where(whole == 0, 1, whole)
    mean = torch.where(whole == 0, 0.0, mean)
    return slope * (by_p - mean), mean.squeeze(-1).double(), None, None


_threshold = kernel_operator(
    "threshold(Tensor x, Tensor k, int kind, float power) -> (Tensor, Tensor)",
    _kernel, batched=_batched, fake=_fake, backward=_backward, setup=_setup,
)  # fmt: skip


def steps_to(z: Tensor, k: float | Tensor, kind: int, power: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return soft steps of the last axis that add up to k, ``[..., n]``, and their threshold, float64 ``[...]``.

    Args:
        z: ``[..., n]``, in units of the temperature.
        k: a number, or a tensor that broadcasts with ``[...]``.
        kind: of ``kernels.threshold_rows``.
        power: its q.
    """
    batch = z.shape[:-1]
    counts = k.double() if isinstance(k, Tensor) else torch.tensor(k, dtype=torch.float64, device=z.device)
    rows = z.reshape(math.prod(batch), z.shape[-1])
    out, tau = _threshold(rows, counts.expand(batch).reshape(-1), kind, power)
    return out.reshape(z.shape), tau.reshape(batch)
