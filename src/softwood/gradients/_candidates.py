"""Which estimators apply to a problem, at their usual settings."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from softwood.gradients._blackbox import IMLE, Blackbox, IdentityProjection
from softwood.gradients._control_variate import REBAR, RELAX
from softwood.gradients._differences import SPSA, FiniteDifferences
from softwood.gradients._disarm import DisARM
from softwood.gradients._gumbel import GumbelSoftmax, Relaxation
from softwood.gradients._perturbed import Perturbed
from softwood.gradients._protocol import ChoiceEstimator, FunctionEstimator
from softwood.gradients._score_function import Enumeration, MovingBaseline, ScoreFunction
from softwood.gradients._smoothing import InverseVarianceMix
from softwood.gradients._straight_through import ReinMax, StraightThrough
from softwood.gradients._unordered import UnorderedSet

Fn = Callable[[Tensor], Tensor]
Estimator = ChoiceEstimator | FunctionEstimator | None
Candidate = Estimator | tuple[ChoiceEstimator, int]


def choice_candidates(logits: Tensor, batch_ndim: int) -> dict[str, Candidate]:
    """Return every choice estimator that applies to the logits, with its number of samples.

    One more batch axis is in front when they are measured: that of the repeats.
    """
    outcomes = logits.shape[-1] ** math.prod(logits.shape[batch_ndim:-1])
    found: dict[str, Candidate] = {
        "softmax relaxation": (Relaxation(), 1),
        "Gumbel-softmax 1": (GumbelSoftmax(1.0), 1),
        "Gumbel-softmax 0.5": (GumbelSoftmax(0.5), 1),
        "Gumbel-softmax 0.1": (GumbelSoftmax(0.1), 1),
        "Gumbel-softmax 0.5, backward 1": (GumbelSoftmax(0.5, backward_temperature=1.0), 1),
        "ST identity": (StraightThrough("identity"), 1),
        "ST clipped": (StraightThrough("clipped"), 1),
        "ST softmax": (StraightThrough("softmax"), 1),
        "ST gapped": (StraightThrough("gapped"), 1),
        "ST Gumbel-softmax 0.5": (GumbelSoftmax(0.5, hard=True), 1),
        "Rao-Blackwell ST-GS 0.5": (GumbelSoftmax(0.5, hard=True, rao=16), 1),
        "ReinMax": (ReinMax(), 1),
        "score function": (ScoreFunction("none"), 1),
        "score function, moving mean": (ScoreFunction(MovingBaseline(0.9)), 1),
        "leave-one-out 4": (ScoreFunction(), 4),
        "REBAR 0.5": (REBAR(), 1),
        "RELAX": (RELAX(), 1),
    }
    if logits.shape[-1] == 2:
        found |= {"DisARM": (DisARM(), 2), "ARMS 4": (DisARM(4), 4)}
    if outcomes >= 4:
        found["unordered set 4"] = (UnorderedSet(batch_ndim + 1), 4)
    if outcomes <= 1000:
        found["enumeration"] = (Enumeration(batch_ndim + 1), 1)
    return found


def numbers_held(estimator: ChoiceEstimator, n_samples: int, logits: Tensor, batch_ndim: int) -> int:
    """Return about how many numbers one estimate holds in memory at once."""
    if isinstance(estimator, Enumeration):
        return logits.numel() * int(logits.shape[-1] ** math.prod(logits.shape[batch_ndim:-1]))
    if isinstance(estimator, UnorderedSet):
        return logits.numel() * n_samples + 250 * n_samples**2 * math.prod(logits.shape[:batch_ndim])
    return logits.numel() * n_samples * (1 + getattr(estimator, "rao", 0))


def function_candidates(sigma: float, x: Tensor, dims: int, around_solver: bool) -> dict[str, Candidate]:
    """Return every function estimator that applies; None is plain autograd."""
    if around_solver:
        return {
            "perturbed": Perturbed(sigma, dims=dims),
            "perturbed, antithetic": Perturbed(sigma, sampling="antithetic", dims=dims),
            "implicit MLE": IMLE(scale=sigma, dims=dims),
            "implicit MLE, symmetric": IMLE(scale=sigma, symmetric=True, dims=dims),
            "blackbox": Blackbox(dims=dims),
            "identity, standardised": IdentityProjection(dims=dims),
            "identity, centred": IdentityProjection("centre", dims=dims),
        }
    found: dict[str, Candidate] = {
        "autograd": None,
        "evolution strategies 16": Perturbed(sigma, 16, sampling="antithetic", dims=x.ndim),
        "evolution strategies, narrow": Perturbed(sigma / 10, 16, sampling="antithetic", dims=x.ndim),
        "SPSA 1": SPSA(sigma / 10, dims=x.ndim),
        "SPSA 8": SPSA(sigma / 10, 8, dims=x.ndim),
        "inverse-variance mix": InverseVarianceMix(sigma, 16, dims=x.ndim),
    }
    if x.numel() <= 64:
        found["finite differences"] = FiniteDifferences(sigma / 100, dims=x.ndim)
    return found


def warm_up(estimator: ChoiceEstimator, loss_fn: Fn, logits: Tensor, seed: int, steps: int = 100) -> None:
    """Let what learns inside an estimator learn for a while, so that it is measured as it works in training."""
    generator = torch.Generator(logits.device).manual_seed(seed)
    if isinstance(estimator, RELAX):
        control = estimator.control.to(logits)
        optimizer = torch.optim.Adam(control.parameters(), lr=0.02)
        for _ in range(steps):
            optimizer.zero_grad()
            leaf = logits.clone().requires_grad_()
            try:
                estimator.estimate(loss_fn, leaf, n_samples=16, generator=generator).sum().backward()  # type: ignore[no-untyped-call]
            except Exception:  # the same will happen, and be told, when it is measured
                return
            optimizer.step()
    elif isinstance(estimator, ScoreFunction) and isinstance(estimator.baseline, MovingBaseline):
        with torch.no_grad():
            for _ in range(steps):
                estimator.estimate(loss_fn, logits, n_samples=4, generator=generator)
