"""Reference gradients, and how far they are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from softwood.gradients._measure import Truth
from softwood.gradients._perturbed import Perturbed
from softwood.gradients._score_function import Enumeration, ScoreFunction

Fn = Callable[[Tensor], Tensor]
_MOST_OUTCOMES = 100_000
_MOST_NUMBERS = 2_000_000
_MOST_COORDINATES = 256
_DIRECTIONS = 48


def expectation_truth(loss_fn: Fn, logits: Tensor, batch_ndim: int, seed: int) -> Truth:
    """Return the gradient of the expected loss: by enumeration, or by leave-one-out with its covariance."""
    choices = math.prod(logits.shape[batch_ndim:-1])
    outcomes = logits.shape[-1] ** choices
    if outcomes <= _MOST_OUTCOMES and outcomes * logits.numel() <= 25 * _MOST_NUMBERS:
        leaf = logits.clone().requires_grad_()
        expected = Enumeration(batch_ndim, _MOST_OUTCOMES).estimate(loss_fn, leaf)
        gradient = torch.autograd.grad(expected.sum(), leaf)[0].flatten().cpu().double()
        detail = f"enumeration of all {outcomes:,} outcomes, exact"
        return Truth(
            gradient, torch.zeros(len(gradient), len(gradient), dtype=torch.float64), None, "enumeration", detail
        )
    generator = torch.Generator(logits.device).manual_seed(seed)
    samples, repeats = 16, max(200, min(4000, 100 * _MOST_NUMBERS // (16 * logits.numel())))
    chunk = max(1, min(repeats, _MOST_NUMBERS // (samples * logits.numel())))
    parts = []
    for size in [chunk] * (repeats // chunk):
        leaf = logits.expand(size, *logits.shape).clone().requires_grad_()
        loss = ScoreFunction().estimate(as_samples(loss_fn, logits.ndim), leaf, n_samples=samples, generator=generator)
        parts.append(torch.autograd.grad(loss.sum(), leaf)[0].flatten(1).cpu().double())
    detail = (
        f"leave-one-out with {samples * sum(map(len, parts)):,} samples, as there are too many outcomes "
        f"({logits.shape[-1]} ** {choices}) to enumerate"
    )
    return _from_samples(torch.cat(parts), "leave-one-out", detail)


def as_samples(loss_fn: Fn, ndim: int) -> Fn:
    """Return a loss function to which repeats are more samples, so that it need not know of their axis."""

    def flat(choices: Tensor) -> Tensor:
        lead = choices.shape[: choices.ndim - ndim]
        found = loss_fn(choices.reshape(-1, *choices.shape[choices.ndim - ndim :]))
        return found.reshape(*lead, *found.shape[1:])

    return flat


def differences_truth(fn: Fn, x: Tensor, seed: int, warnings: list[str]) -> Truth | None:
    """Return differences of the function at two steps if they agree, else None and a word on why.

    Above a number of coordinates they are taken along random orthonormal directions.
    """
    fine = x.double()
    try:
        exact = _asked(fn, fine[None]).dtype == torch.float64
    except RuntimeError:  # weights in another precision
        exact = False
    at = fine if exact else x
    size = float(x.abs().max()) or 1.0
    step = size * (1e-4 if exact else 1e-2)
    n = x.numel()
    directions = None
    moves = torch.eye(n, dtype=at.dtype, device=x.device)
    if n > _MOST_COORDINATES:
        random = torch.randn(n, _DIRECTIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        directions = torch.linalg.qr(random).Q.T.contiguous()
        moves = directions.to(at)

    def slope(h: float) -> Tensor:
        moved = h * moves.reshape(-1, *x.shape)
        return torch.cat([
            (_asked(fn, at + part) - _asked(fn, at - part)).cpu().double() / (2 * h)
            for part in torch.split(moved, max(1, _MOST_NUMBERS // n))
        ])  # fmt: skip

    wide, narrow = slope(step), slope(step / 2)
    # both errors are of second order, so the difference of the two is three times that of the narrow one
    error = (wide - narrow).abs() / 3
    norm = float(narrow.norm())
    if not bool(narrow.isfinite().all()):
        warnings.append("differences are not finite near x")
        return None
    if norm == 0:
        warnings.append("the function is constant around x, or has steps: its own gradient is 0")
        return None
    if float(error.norm()) > 0.05 * norm:
        warnings.append("differences do not converge: there is a kink, a jump or noise near x")
        return None
    best = narrow + (narrow - wide) / 3
    covariance = torch.diag(error.square())
    detail = f"central differences with step {step / 2:.2g}, error {float(error.norm()) / norm:.1e} of the gradient"
    if directions is None:
        return Truth(best, covariance, None, "finite differences", f"finite differences: {detail}")
    return Truth(best, covariance, directions, "directional differences",
                 f"directional differences along {len(directions)} random directions of {n:,}: {detail}")  # fmt: skip


def smoothed_truth(fn: Fn, x: Tensor, sigma: float, seed: int) -> Truth:
    """Return the gradient of the function's mean under Gaussian noise, with its covariance."""
    generator = torch.Generator(x.device).manual_seed(seed)
    samples, repeats = 64, max(100, min(1000, 20 * _MOST_NUMBERS // (64 * x.numel())))
    around = Perturbed(sigma, samples, sampling="antithetic", dims=x.ndim)
    parts = []
    for _ in range(repeats):
        leaf = x.clone().requires_grad_()
        value = around.wrap(lambda at: _asked(fn, at), generator=generator)(leaf)
        parts.append(torch.autograd.grad(value, leaf)[0].flatten().cpu().double())
    return _from_samples(
        torch.stack(parts), "smoothed",
        f"gradient of the mean under Gaussian noise of width {sigma:.3g}, by leave-one-out with {samples * repeats:,} "
        "samples: not that of the function itself",
    )  # fmt: skip


@torch.no_grad()
def _asked(fn: Fn, x: Tensor) -> Tensor:
    return fn(x).detach()


def _from_samples(samples: Tensor, kind: str, detail: str) -> Truth:
    n = samples.shape[1]
    covariance = torch.cov(samples.T).reshape(n, n) / len(samples)
    mean = samples.mean(0)
    error = math.sqrt(float(covariance.trace())) / max(float(mean.norm()), 1e-300)
    return Truth(mean, covariance, None, kind, f"{detail}; standard error {100 * error:.2g} % of the gradient")
