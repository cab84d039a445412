"""A small problem with known gradient, and the mean and covariance of an estimate."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of the mean of independent estimates ``[repeats, n]``."""

    mean: torch.Tensor
    covariance: torch.Tensor
    variance: float  # of one estimate, summed over its entries

    def excess(self, truth: torch.Tensor) -> float:
        """Return |mean - truth|^2 above what noise makes of it, in its standard deviations: normal if unbiased."""
        distance = (self.mean - truth.flatten()).square().sum()
        if self.variance < 1e-20:
            return 0.0 if distance < 1e-20 else float("inf")
        return float((distance - self.covariance.trace()) / (2 * self.covariance.square().sum()).sqrt())

    def bias(self, truth: torch.Tensor) -> float:
        """Return the relative bias, the part that is noise taken off."""
        truth = truth.flatten()
        square = (self.mean - truth).square().sum() - self.covariance.trace()
        return float(square.clamp_min(0).sqrt() / truth.norm())


def moments_of(samples: torch.Tensor) -> Moments:
    samples = samples.flatten(1).double()
    n = samples.shape[1]
    return Moments(samples.mean(0), torch.cov(samples.T).reshape(n, n) / len(samples), float(samples.var(0).sum()))


@pytest.fixture
def moments():
    return moments_of


def gradients_of(estimator, loss_fn, logits, n_samples, repeats, seed=0):
    many = logits.expand(repeats, *logits.shape).clone().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    surrogate = estimator.estimate(loss_fn, many, n_samples=n_samples, generator=generator)
    assert surrogate.shape == (repeats,)
    return torch.autograd.grad(surrogate.sum(), many)[0]


@pytest.fixture
def estimated():
    """Return moments of ``repeats`` estimates, drawn as one batch."""

    def run(estimator, loss_fn, logits, n_samples=1, repeats=4000, seed=0):
        return moments_of(gradients_of(estimator, loss_fn, logits, n_samples, repeats, seed))

    return run


@pytest.fixture
def problem():
    """Three choices of six classes and a nonlinear loss: logits, loss, gradient by enumeration."""
    noise = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, generator=noise, dtype=torch.float64)
    inner = torch.randn(18, 8, generator=noise, dtype=torch.float64)
    outer = torch.randn(8, generator=noise, dtype=torch.float64)

    def loss_fn(z):
        return (torch.tanh(z.flatten(-2) @ inner) @ outer).square()

    index = torch.cartesian_prod(*[torch.arange(6)] * 3)
    every = torch.nn.functional.one_hot(index, 6).double()
    leaf = logits.clone().requires_grad_()
    joint = (leaf.log_softmax(-1) * every).sum((-1, -2)).exp()
    truth = torch.autograd.grad((joint * loss_fn(every)).sum(), leaf)[0]
    return logits, loss_fn, truth
