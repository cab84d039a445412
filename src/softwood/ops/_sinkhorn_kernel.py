"""Sinkhorn's potentials and their implicit derivative, as two custom operators."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from softwood.core import SoftwoodWarning
from softwood.ops._structured import NEVER

_STEP = 10  # iterations between two looks at the error, which on CUDA wait for the device


def rows_then_columns(scores: Tensor, log_a: Tensor, log_b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return potentials after one iteration: rows fit, then columns fit."""
    f = log_a - torch.logsumexp(scores + g.unsqueeze(-2), -1)
    return f, log_b - torch.logsumexp(scores + f.unsqueeze(-1), -2)


def _row_error(scores: Tensor, log_a: Tensor, f: Tensor, g: Tensor) -> Tensor:
    """Return the distance of row sums from a as a share of all mass, ``[..., 1]``; 0 where it is NaN."""
    rows = (scores + f.unsqueeze(-1) + g.unsqueeze(-2)).exp().sum(-1)
    mass = log_a.exp().sum(-1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    return ((rows - log_a.exp()).abs().sum(-1, keepdim=True) / mass).nan_to_num(0.0)


@torch.library.custom_op("softwood::sinkhorn_potentials", mutates_args=())
def sinkhorn_potentials(
    scores: Tensor, log_a: Tensor, log_b: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return f ``[..., n]`` and g ``[..., m]`` with ``exp(scores + f + g)`` of row sums a and column sums b.

    Begins at a high temperature and halves it (epsilon scaling), so that cold problems start near their end. Between
    two looks at the error a Newton step is tried, and kept where it helps. All in float64.
    """
    dtype = scores.dtype
    if scores.numel() == 0:
        return torch.zeros_like(log_a), torch.zeros_like(log_b)
    scores, log_a, log_b = scores.double(), log_a.double(), log_b.double()
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    allowed = scores > NEVER / 2
    spread = float(scores.masked_fill(~allowed, -torch.inf).amax() - scores.masked_fill(~allowed, torch.inf).amin())
    stages = max(0, math.ceil(math.log2(max(spread, 1.0) / 10))) if math.isfinite(spread) else 0
    for stage in range(stages, 0, -1):
        for _ in range(_STEP):
            f, g = rows_then_columns(scores / 2**stage, log_a, log_b, g)
        g = 2 * g
    worst = math.inf
    for done in range(0, iterations, _STEP):
        for _ in range(min(_STEP, iterations - done)):
            f, g = rows_then_columns(scores, log_a, log_b, g)
        error = _row_error(scores, log_a, f, g)
        worst = float(error.max())
        if worst <= tolerance:
            break
        plan = (scores + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()
        _, step = solve(plan, log_a.exp() - plan.sum(-1), log_b.exp() - plan.sum(-2))
        for length in (1.0, 0.5, 0.1):
            f_new, g_new = rows_then_columns(scores, log_a, log_b, g + length * step)
            error_new = _row_error(scores, log_a, f_new, g_new)
            better = error_new < error
            f, g = torch.where(better, f_new, f), torch.where(better, g_new, g)
            error = torch.where(better, error_new, error)
            if bool(better.all()):
                break
    if worst > tolerance:
        worst = float(_row_error(scores, log_a, f, g).max())
    if worst > tolerance:
        warnings.warn(
            f"sinkhorn stopped after {iterations} iterations with row sums off by {worst:.1e} of the mass; "
            "to fix: raise temperature, iterations or tolerance",
            SoftwoodWarning,
            stacklevel=2,
        )
    return f.to(dtype), g.to(dtype)


@sinkhorn_potentials.register_fake
def _(scores: Tensor, log_a: Tensor, log_b: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(log_a), torch.empty_like(log_b)


def solve(plan: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the least (u, v) with :math:`\sum_j P_{ij} (u_i + v_j) = p_i`, :math:`\sum_i P_{ij} (u_i + v_j) = q_j`.

    Conjugate gradients on the smaller system that is left when u is eliminated, in memory O(n m).
    """
    a, b = plan.sum(-1), plan.sum(-2)
    tiny = torch.finfo(plan.dtype).tiny
    root_a = torch.where(a > 0, a.clamp_min(tiny).rsqrt(), 0.0)
    root_b = torch.where(b > 0, b.clamp_min(tiny).rsqrt(), 0.0)
    k = plan * root_a.unsqueeze(-1) * root_b.unsqueeze(-2)
    # the system has the solution (1, -1) for 0: right-hand sides are taken where it can be solved
    n, m = plan.shape[-2:]
    shift = ((p.sum(-1) - q.sum(-1)) / max(n + m, 1)).unsqueeze(-1)
    p, q = p - shift, q + shift
    p, q = p * root_a, q * root_b
    residual = q - (k.transpose(-1, -2) @ p.unsqueeze(-1)).squeeze(-1)
    x, direction = torch.zeros_like(residual), residual
    power = (residual * residual).sum(-1, keepdim=True)
    enough = power * torch.finfo(plan.dtype).eps ** 2 + tiny
    for done in range(2 * m + 10):
        if done % _STEP == 0 and not bool((power > enough).any()):
            break
        through = direction - (k.transpose(-1, -2) @ (k @ direction.unsqueeze(-1))).squeeze(-1)
        curve = (direction * through).sum(-1, keepdim=True)
        usable = (power > enough) & (
            curve > torch.finfo(plan.dtype).eps * (direction * direction).sum(-1, keepdim=True)
        )
        step = torch.where(usable, power / torch.where(usable, curve, 1.0), 0.0)
        x, residual = x + step * direction, residual - step * through
        before, power = power, (residual * residual).sum(-1, keepdim=True)
        power = torch.where(usable, power, 0.0)
        direction = residual + torch.where(usable, power / torch.where(usable, before, 1.0), 0.0) * direction
    v = x * root_b
    u = (p - (k @ x.unsqueeze(-1)).squeeze(-1)) * root_a
    shift = ((u.sum(-1) - v.sum(-1)) / max(n + m, 1)).unsqueeze(-1)
    return u - shift, v + shift


transport_solve = torch.library.custom_op("softwood::transport_solve", solve, mutates_args=())


@transport_solve.register_fake
def _(plan: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(p), torch.empty_like(q)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], *output)


def _potentials_backward(ctx: Any, f_bar: Tensor, g_bar: Tensor) -> tuple[Tensor | None, ...]:
    scores, f, g = ctx.saved_tensors
    plan = (scores + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()
    u, v = transport_solve(plan, f_bar, g_bar)
    return -plan * (u.unsqueeze(-1) + v.unsqueeze(-2)), plan.sum(-1) * u, plan.sum(-2) * v, None, None


def _solve_backward(ctx: Any, u_bar: Tensor, v_bar: Tensor) -> tuple[Tensor, ...]:
    plan, u, v = ctx.saved_tensors
    p, q = transport_solve(plan, u_bar, v_bar)
    return -(p.unsqueeze(-1) + q.unsqueeze(-2)) * (u.unsqueeze(-1) + v.unsqueeze(-2)), p, q


sinkhorn_potentials.register_autograd(_potentials_backward, setup_context=_save)
transport_solve.register_autograd(_solve_backward, setup_context=_save)


def vmapped(operator: Any) -> Any:
    """Return the rule under vmap: the mapped axis becomes one more batch axis."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, tuple[int, int]]:
        moved = [
            arg if not isinstance(arg, Tensor)
            else arg.expand(info.batch_size, *arg.shape) if dim is None
            else arg.movedim(dim, 0)
            for arg, dim in zip(args, in_dims, strict=True)
        ]  # fmt: skip
        return operator(*moved), (0, 0)

    return rule


sinkhorn_potentials.register_vmap(vmapped(sinkhorn_potentials))
transport_solve.register_vmap(vmapped(transport_solve))
