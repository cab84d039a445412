"""The nearest doubly stochastic matrix, with its implicit derivative."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from softwood.core import SoftwoodWarning
from softwood.ops._sinkhorn_kernel import solve, transport_solve, vmapped

_ROUNDS = 5  # alternating projections between two Newton steps


def _threshold(x: Tensor) -> Tensor:
    """Return u with ``relu(x + u)`` of sum 1 along the last axis: the projection on the simplex."""
    ordered = x.sort(-1, descending=True).values
    place = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    candidates = (1 - ordered.cumsum(-1)) / place
    inside = ordered + candidates > 0
    last = inside.sum(-1, keepdim=True).clamp_min(1) - 1
    return candidates.gather(-1, last).squeeze(-1)


def _error(scores: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return the largest distance of a row sum from 1, ``[..., 1]``; 0 where it is NaN."""
    plan = (scores + u.unsqueeze(-1) + v.unsqueeze(-2)).relu()
    return (plan.sum(-1) - 1).abs().amax(-1, keepdim=True).nan_to_num(0.0)


@torch.library.custom_op("softwood::birkhoff_potentials", mutates_args=())
def birkhoff_potentials(scores: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return u, v ``[..., n]`` with ``relu(scores + u + v)`` doubly stochastic: the nearest such matrix.

    Begins warm and halves the temperature. Rows and columns are projected in turn (ascent in the dual); in between, a
    Newton step on the support is tried, and kept where it helps. All in float64.
    """
    dtype = scores.dtype
    scores = scores.double()
    u, v = torch.zeros_like(scores[..., 0]), torch.zeros_like(scores[..., 0])
    worst = 0.0 if scores.numel() == 0 else math.inf
    spread = float(scores.amax() - scores.amin()) if worst else 0.0
    for stage in range(math.ceil(math.log2(max(spread, 1.0))) if math.isfinite(spread) else 0, 0, -1):
        for _ in range(_ROUNDS):
            u = _threshold(scores / 2**stage + v.unsqueeze(-2))
            v = _threshold((scores / 2**stage).mT + u.unsqueeze(-2))
        v = 2 * v
    for _ in range(0, iterations if worst else 0, _ROUNDS):
        for _ in range(_ROUNDS):
            u = _threshold(scores + v.unsqueeze(-2))
            v = _threshold(scores.mT + u.unsqueeze(-2))
        error = _error(scores, u, v)
        worst = float(error.max())
        if worst <= tolerance:
            break
        plan = (scores + u.unsqueeze(-1) + v.unsqueeze(-2)).relu()
        step_u, _ = solve((plan > 0).to(plan.dtype), 1 - plan.sum(-1), 1 - plan.sum(-2))
        for length in (1.0, 0.5, 0.1):
            v_new = _threshold(scores.mT + (u + length * step_u).unsqueeze(-2))
            u_new = _threshold(scores + v_new.unsqueeze(-2))
            v_new = _threshold(scores.mT + u_new.unsqueeze(-2))
            error_new = _error(scores, u_new, v_new)
            better = error_new < error
            u, v = torch.where(better, u_new, u), torch.where(better, v_new, v)
            error = torch.where(better, error_new, error)
            if bool(better.all()):
                break
    if worst > tolerance and float(_error(scores, u, v).max()) > tolerance:
        warnings.warn(
            f"the projection on doubly stochastic matrices stopped after {iterations} iterations with row sums off by "
            f"{worst:.1e}; to fix: raise temperature, iterations or tolerance",
            SoftwoodWarning,
            stacklevel=2,
        )
    return u.to(dtype), v.to(dtype)


@birkhoff_potentials.register_fake
def _(scores: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(scores[..., 0]), torch.empty_like(scores[..., 0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], *output)


def _backward(ctx: Any, u_bar: Tensor, v_bar: Tensor) -> tuple[Tensor | None, ...]:
    scores, u, v = ctx.saved_tensors
    support = (scores + u.unsqueeze(-1) + v.unsqueeze(-2) > 0).to(scores.dtype)
    x, y = transport_solve(support, u_bar, v_bar)
    return -support * (x.unsqueeze(-1) + y.unsqueeze(-2)), None, None


birkhoff_potentials.register_autograd(_backward, setup_context=_save)
birkhoff_potentials.register_vmap(vmapped(birkhoff_potentials))
