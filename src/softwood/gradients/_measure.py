"""Bias, variance and cost of gradient estimates, with the noise of the measurement taken into account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.gradients._report import EstimatorRow

_MOST_NUMBERS = 4_000_000  # of choices in one chunk: 32 MB in float64
_NORMAL = 1.959964  # 97.5 % quantile


@dataclass(frozen=True)
class Truth:
    """A reference gradient and how well it is known.

    Args:
        gradient: flat, float64; along ``directions`` where there are any.
        covariance: of its entries, zero where it is exact.
        directions: ``[m, n]``, orthonormal, or None for the coordinates themselves.
        kind: how it was found.
        detail: in words.
        device: where the problem lives; the truth itself is kept on the CPU.
    """

    gradient: Tensor
    covariance: Tensor
    directions: Tensor | None
    kind: str
    detail: str
    device: torch.device | str = "cpu"

    def seen(self, gradients: Tensor) -> Tensor:
        """Return estimates ``[r, n]`` as the truth sees them."""
        return gradients if self.directions is None else gradients @ self.directions.T


class Counter:
    """Counts the instances that a function is asked about."""

    def __init__(self, fn: Callable[[Tensor], Tensor], instance_ndim: int) -> None:
        self.fn, self.ndim, self.count = fn, instance_ndim, 0

    def __call__(self, x: Tensor) -> Tensor:
        """Ask the function."""
        self.count += math.prod(x.shape[: x.ndim - self.ndim])
        return self.fn(x)


def measure(
    name: str, draw: Callable[[int, torch.Generator], Tensor], counter: Counter, truth: Truth, *, repeats: int,
    numbers: int, unbiased: bool, seed: int,
) -> EstimatorRow:  # fmt: skip
    """Return what an estimator does on one problem.

    Args:
        name: of the row.
        draw: from a number r and a generator to r independent estimates ``[r, n]``.
        counter: counts the calls that ``draw`` makes.
        truth: what it is compared with.
        repeats: how many estimates.
        numbers: that one estimate holds in memory at once; it sets the size of a chunk.
        unbiased: what the estimator claims.
        seed: of the generator.
    """
    generator = torch.Generator(truth.device).manual_seed(seed)
    chunk = max(1, min(repeats, _MOST_NUMBERS // max(numbers, 1)))
    parts: list[Tensor] = []
    done, counter.count = 0, 0
    begun = time.perf_counter()
    try:
        while done < repeats:
            size = min(chunk, repeats - done)
            parts.append(truth.seen(draw(size, generator).detach().cpu().double()))
            done += size
    except Exception as error:  # what fails on this problem is a finding, not a fault of the measurement
        says = str(getattr(error, "what", None) or error or type(error).__name__)
        return _failed(name, unbiased, " ".join(says.split())[:160])
    seconds = (time.perf_counter() - begun) / repeats
    return _row(name, torch.cat(parts), truth, unbiased, counter.count / repeats, seconds)


def _failed(name: str, unbiased: bool, failure: str) -> EstimatorRow:
    none = math.nan
    return EstimatorRow(name, unbiased, none, none, none, none, none, none, none, failure)


def _row(name: str, found: Tensor, truth: Truth, unbiased: bool, calls: float, seconds: float) -> EstimatorRow:
    finite = found.isfinite().all(-1)
    share = float(finite.double().mean())
    if share < 1:
        return _failed(name, unbiased, f"not finite in {100 * (1 - share):.2g} % of the estimates")
    if not bool(found.any()):
        return _failed(name, unbiased, "the gradient is zero")
    size = float(truth.gradient.norm())
    repeats = len(found)
    mean = found.mean(0)
    spread = torch.zeros_like(truth.covariance) if repeats < 2 else torch.cov(found.T).reshape(truth.covariance.shape)
    noise = spread / repeats + truth.covariance
    difference = mean - truth.gradient
    # |difference|^2 holds the noise as well: its mean is taken off, its spread gives the interval
    square = float(difference @ difference - noise.trace())
    error = math.sqrt(float(4 * difference @ noise @ difference + 2 * noise.square().sum()))
    low, high = (math.sqrt(max(square + side * _NORMAL * error, 0.0)) / size for side in (-1, 1))
    cosine = float(torch.nn.functional.cosine_similarity(mean, truth.gradient, dim=0))
    variance = float(spread.trace()) / size**2
    failure = ""
    if unbiased and square > 2.5 * error and square > (1e-5 * size) ** 2:  # 5 s.e. in one dimension
        failure = "claims no bias but has some here: the loss is random, or its tails are too heavy"
    bias = math.sqrt(max(square, 0.0)) / size
    return EstimatorRow(name, unbiased, bias, low, high, variance, cosine, calls, seconds, failure)
