"""Smooth steps and their integrals: what elementwise operations and comparisons are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softwood.core import check_choice, check_number

STEPS = ("sigmoid", "gaussian", "c0", "c1", "c2")


def scaled_by(x: Tensor, temperature: float | Tensor) -> tuple[Tensor, float | Tensor]:
    """Return x / temperature and the temperature, in the dtype in which we compute; not > 0 becomes NaN."""
    raised = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if isinstance(temperature, Tensor):
        temperature = torch.where(temperature > 0, temperature, torch.nan).to(raised.dtype)
    elif not torch.compiler.is_compiling():
        temperature = check_number("temperature", temperature, low=1e-12)
    return raised / temperature, temperature


def smooth_step(u: Tensor, relax: str) -> Tensor:
    """Return H(u), which rises from 0 to 1 around 0; the polynomials do so between -1/2 and 1/2."""
    check_choice("relax", relax, STEPS)
    if relax == "sigmoid":
        return u.sigmoid()
    if relax == "gaussian":
        return torch.special.ndtr(u)
    t = (u + 0.5).clamp(0.0, 1.0)
    if relax == "c0":
        return t
    return t * t * (3.0 - 2.0 * t) if relax == "c1" else t * t * t * (t * (6.0 * t - 15.0) + 10.0)


def smooth_ramp(u: Tensor, relax: str) -> Tensor:
    """Return the integral of ``smooth_step`` up to u: a smooth relu."""
    check_choice("relax", relax, STEPS)
    if relax == "sigmoid":
        return torch.nn.functional.softplus(u)
    if relax == "gaussian":
        near = u.clamp(-40.0, 40.0)  # beyond, the density is 0 in any dtype, and infinity times it would be NaN
        return torch.relu(u) + (near * torch.special.ndtr(near) - torch.relu(near)) + _density(near)
    t = (u + 0.5).clamp(0.0, 1.0)
    rest = torch.relu(u - 0.5)
    if relax == "c0":
        return 0.5 * t * t + rest
    if relax == "c1":
        return t * t * t * (1.0 - 0.5 * t) + rest
    return t * t * t * t * (t * (t - 3.0) + 2.5) + rest


def _density(u: Tensor) -> Tensor:
    return (-0.5 * u * u).exp() / math.sqrt(2.0 * math.pi)
