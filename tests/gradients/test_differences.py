"""Differences and smoothing of black boxes: closed forms, scale, variance, and the mix of two estimators."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from torch.nn import functional

from softwood.core import InputError
from softwood.gradients import (
    SPSA,
    FiniteDifferences,
    InverseVarianceMix,
    LocalSPSA,
    Perturbed,
    PiecewiseLinear,
    Smoothing,
    inverse_variance_mix,
)


def vjp(estimator, fn, x, upstream, seed=0):
    leaf = x.clone().requires_grad_()
    y = estimator.wrap(fn, generator=torch.Generator().manual_seed(seed))(leaf)
    return torch.autograd.grad(y, leaf, upstream.expand(y.shape))[0]


def cubic(x):
    return torch.stack([(x**3).sum((-1, -2)), x[..., 0, 0] * x[..., 1, 1]], -1)


def test_finite_differences_match_autograd_for_any_batch_instance_and_answer():
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    upstream = torch.tensor([1.0, -3.0], dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (truth,) = torch.autograd.grad(cubic(leaf), leaf, upstream.expand(3, 2))
    found = vjp(FiniteDifferences(1e-5, dims=2), lambda x: cubic(x).detach(), x, upstream)
    torch.testing.assert_close(found, truth, rtol=1e-7, atol=1e-8)


def test_spsa_of_a_quadratic_is_unbiased_with_a_step_for_each_parameter(moments):
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

    def fn(x):
        return torch.einsum("...i,ij,...j->...", x, matrix, x).detach()

    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    step = torch.tensor([0.1, 0.03], dtype=torch.float64)
    found = moments(vjp(SPSA(step), fn, x.expand(6000, 2), torch.ones(1, dtype=torch.float64)))
    assert found.excess(2 * matrix @ x) < 3
    assert found.excess(2.2 * matrix @ x) > 3


@pytest.mark.parametrize("layout", ["dense", "sparse", "function"])
def test_local_spsa_takes_the_noise_of_other_parameters_off(layout, moments):
    n = 20
    weight = torch.eye(n, dtype=torch.float64) + torch.eye(n, dtype=torch.float64).roll(1, 0)
    support = {"dense": weight, "sparse": weight.to_sparse(), "function": lambda x: weight.to_sparse()}[layout]

    def fn(x):
        return (x.detach() @ weight.T).square()

    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    truth = 2 * weight.T @ (weight @ x)
    upstream = torch.ones(n, dtype=torch.float64)
    local = moments(torch.stack([vjp(LocalSPSA(support, 1e-3), fn, x, upstream, seed) for seed in range(600)]))
    whole = moments(torch.stack([vjp(SPSA(1e-3), fn, x, upstream, seed) for seed in range(600)]))
    assert local.excess(truth) < 3
    assert local.excess(1.2 * truth) > 3
    assert local.variance < 0.2 * whole.variance


def test_contributors_after_a_move_count_as_well():
    def fn(x):  # one pixel, touched only once the parameter has moved past a half
        return (x > 0.5).to(x.dtype)

    def contributors(x):
        return (x > 0.5).to(x.dtype).reshape(1, 1)

    x = torch.tensor([0.4], dtype=torch.float64)
    found = vjp(LocalSPSA(contributors, 0.2), fn, x, torch.ones(1, dtype=torch.float64))
    assert found.item() == pytest.approx(1 / 0.4)


# ---------------------------------------------------------------- smoothing

CLOSED = {
    "relu": torch.relu,
    "functional relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "hardsigmoid": functional.hardsigmoid,
    "abs": torch.abs,
    "sign": torch.sign,
    "steps": PiecewiseLinear((-1.0, 0.5), (0.5, -2.0), (1.0, -0.3), offset=0.2, slope=0.1),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_equal_the_convolution_and_their_derivative(name):
    fn, sigma = CLOSED[name], 0.7
    x = torch.tensor([-1.2, -0.1, 0.0, 0.4, 2.0], dtype=torch.float64, requires_grad=True)
    smooth = Smoothing(sigma).wrap(fn)

    def convolved(at):
        def integrand(z):
            value = float(fn(torch.tensor(at + sigma * z, dtype=torch.float64)))
            return value * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        breaks = sorted((t - at) / sigma for t in (-3.0, -1.0, 0.0, 0.5, 1.0, 3.0, 6.0))
        inside = [b for b in breaks if -9 < b < 9]
        ends = [-9.0, *inside, 9.0]
        return sum(quad(integrand, a, b)[0] for a, b in itertools.pairwise(ends))

    expected = torch.tensor([convolved(at) for at in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(smooth(x), expected, rtol=0, atol=1e-7)
    assert torch.autograd.gradcheck(smooth, (x,))
    assert torch.autograd.gradgradcheck(smooth, (x,))


def test_smoothing_tends_to_the_function_and_samples_what_has_no_closed_form(moments):
    x = torch.tensor([-0.5, 0.3], dtype=torch.float64)
    torch.testing.assert_close(Smoothing(1e-6).wrap(torch.relu)(x), torch.relu(x))

    def floor(x):
        return torch.floor(x).sum(-1)

    found = moments(vjp(Smoothing(0.4, 8), floor, x.expand(6000, 2), torch.ones(1, dtype=torch.float64)))
    steps = torch.arange(-9.0, 10.0, dtype=torch.float64)
    density = torch.exp(-(((x[:, None] - steps) / 0.4) ** 2) / 2) / (0.4 * math.sqrt(2 * math.pi))
    assert found.excess(density.sum(1)) < 3
    assert found.excess(1.2 * density.sum(1)) > 3


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0])
def test_the_bias_of_smoothing_is_of_second_order(sigma, moments):
    """The smoothed gradient of x^3 is 3 x^2 + 3 sigma^2: by confidence interval at three widths."""
    x = torch.full((20_000, 1), 0.5, dtype=torch.float64)
    around = Perturbed(sigma, 4, sampling="antithetic")
    found = moments(vjp(around, lambda x: (x**3).sum(-1), x, torch.ones(1, dtype=torch.float64)))
    assert found.excess(torch.tensor([0.75 + 3 * sigma**2], dtype=torch.float64)) < 3


# ---------------------------------------------------------------- the mix


def logistic_map(x, steps, rate=3.9):
    for _ in range(steps):
        x = rate * x * (1 - x)
    return x


@pytest.mark.parametrize("steps", [5, 10, 20, 40])
def test_the_mix_is_hardly_worse_than_the_better_of_its_two_at_any_horizon(steps):
    torch.manual_seed(0)
    sigma, repeats, n = 0.05, 400, 50
    start = torch.full((repeats, 1), 0.3, dtype=torch.float64)
    z = torch.randn(n, repeats, 1, dtype=torch.float64)
    leaf = (start + sigma * z).clamp(0.01, 0.99).requires_grad_()
    y = logistic_map(leaf, steps).squeeze(-1)
    (by_path,) = torch.autograd.grad(y.sum(), leaf)
    found = y.detach()
    by_score = ((found - found.mean(0)) * n / (n - 1)).unsqueeze(-1) * z / sigma
    mixed, weights = inverse_variance_mix(by_path, by_score)
    torch.testing.assert_close(weights.sum(0), torch.ones(repeats, dtype=torch.float64))
    best = min(float(by_path.mean(0).var()), float(by_score.mean(0).var()))
    assert float(mixed.var()) <= 1.1 * best


def test_the_mix_takes_the_finite_one_and_the_exact_one():
    noisy = torch.randn(10, 3)
    broken = noisy.clone()
    broken[4, 1] = float("inf")
    mix, weights = inverse_variance_mix(broken, noisy)
    assert weights.tolist() == [0.0, 1.0]
    torch.testing.assert_close(mix, noisy.mean(0))
    assert inverse_variance_mix(broken, broken)[0].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(InputError, match="samples"):
        inverse_variance_mix(noisy[:1])


def test_the_wrapped_mix_estimates_the_smoothed_gradient(moments):
    x = torch.tensor([0.3, -0.8], dtype=torch.float64)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    estimator = InverseVarianceMix(0.5, 64)
    leaf = x.expand(1000, 2).clone().requires_grad_()
    loss = estimator.wrap(lambda x: scale * (x**3).sum(-1))(leaf)
    by_x, by_scale = torch.autograd.grad(loss.sum(), (leaf, scale))
    found = moments(by_x)
    truth = 2 * (3 * x**2 + 3 * 0.25)
    assert found.bias(truth) < 0.05
    assert found.excess(1.2 * truth) > 3
    assert float(by_scale) == pytest.approx(float((x**3 + 3 * x * 0.25).sum() * 1000), rel=0.05)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="entries above 0"):
        SPSA(torch.tensor([0.1, 0.0]))
    with pytest.raises(InputError, match="outputs, parameters"):
        vjp(LocalSPSA(torch.eye(3)), lambda x: x.detach(), torch.zeros(2), torch.ones(2))
    with pytest.raises(InputError, match="as many of each"):
        PiecewiseLinear((0.0,), (), (1.0,))
    with pytest.raises(InputError, match="one number for each instance"):
        InverseVarianceMix().wrap(lambda x: x)(torch.zeros(2))
    with pytest.raises(InputError, match="sigma"):
        Smoothing(-1.0)
