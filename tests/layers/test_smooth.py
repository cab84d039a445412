"""Smooth activations: equal to numeric convolution, within their certified error, and back to what they were."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import softwood as sw
from softwood.core import InputError
from softwood.layers import SAU, PiecewiseLinear, SmoothActivation, smooth, smooth_activation_

DENSITIES = {
    "gaussian": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "laplace": lambda z: math.exp(-abs(z)) / 2,
    "logistic": lambda z: math.exp(-abs(z)) / (1 + math.exp(-abs(z))) ** 2,
    "uniform": lambda z: 0.5 * (abs(z) <= 1),
}
kernels = pytest.mark.parametrize("kernel", DENSITIES)
KNOTS, SLOPES, START = [-1.0, 0.2, 2.0], [0.1, -0.5, 1.0, 0.0], 0.3


@kernels
def test_it_is_the_convolution_with_the_kernel(kernel):
    hard = PiecewiseLinear(KNOTS, SLOPES, START).double()
    soft = SmoothActivation(KNOTS, SLOPES, START, kernel=kernel, temperature=0.3).double()
    for x in (-1.2, -0.3, 0.2, 1.7, 4.0):
        limits = 1 if kernel == "uniform" else 40
        breaks = [(x - knot) / 0.3 for knot in KNOTS if abs((x - knot) / 0.3) < limits]

        def integrand(z, x=x):
            return DENSITIES[kernel](z) * hard(torch.tensor(x - 0.3 * z, dtype=torch.float64)).item()

        value, _ = quad(integrand, -limits, limits, points=[0, *breaks], limit=400)
        assert soft(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(value, abs=1e-6)


@kernels
def test_it_is_never_further_away_than_it_says(kernel):
    hard = PiecewiseLinear(KNOTS, SLOPES, START).double()
    x = torch.linspace(-3, 4, 5001, dtype=torch.float64)
    before = math.inf
    for temperature in (0.3, 0.1, 1e-3):
        soft = SmoothActivation(KNOTS, SLOPES, START, kernel=kernel, temperature=temperature).double()
        error = (soft(x) - hard(x)).abs().max().item()
        assert error <= soft.sup_error() < before
        before = soft.sup_error()
    relu = smooth(nn.ReLU(), kernel=kernel, temperature=0.1).double()
    assert (relu(x) - x.relu()).abs().max().item() <= relu.sup_error()
    assert relu(torch.zeros(1).double()).item() == pytest.approx(relu.sup_error(), abs=1e-7)


@kernels
def test_gradients_also_at_the_knots(kernel):
    soft = SmoothActivation(KNOTS, SLOPES, kernel=kernel, temperature=0.3).double()
    x = torch.tensor([-1.0, 0.2, 0.0, 0.21, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(soft, x)
    if kernel != "uniform":
        assert gradgradcheck(soft, x)


def test_sau_is_the_formula_of_the_paper_and_its_error_is_known():
    x = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    for slope, n in ((0.15, 5), (0.0, 20), (-0.3, 20000), (0.15, 20000)):
        sau = SAU(slope, temperature=1 / n).double()
        a = sau.slope.item()
        formula = (1 + a) / 2 * x + (1 - a) / 2 * (
            x * torch.erf(n * x / math.sqrt(2)) + math.sqrt(2 / math.pi) / n * torch.exp(-(n * n) * x * x / 2)
        )
        torch.testing.assert_close(sau(x), formula, atol=2e-8 * n / 5, rtol=1e-6)
        error = (sau(x) - sau.harden()(x)).abs().max().item()
        assert error == pytest.approx((1 - a) / (n * math.sqrt(2 * math.pi)), abs=1e-6)
        assert error == pytest.approx(sau.sup_error(), abs=1e-6)


def test_sau_learns_its_slope_and_width_and_survives_huge_inputs():
    sau = SAU(temperature=0.4, learn_width=True).double()
    x = torch.tensor([-1.0, 0.0, 0.3], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, a, w: torch.func.functional_call(sau, {"slope": a, "log_width": w}, (x,)),
                     (x, sau.slope, sau.log_width))  # fmt: skip
    cold = SAU(temperature=1 / 20000)
    x = torch.tensor([-1e30, -1.0, 0.0, 1e-5, 1.0, 1e30], requires_grad=True)
    gradient = torch.autograd.grad(cold(x).sum(), x)[0]
    torch.testing.assert_close(gradient[[0, 2, -1]], torch.tensor([0.15, 0.575, 1.0]))
    assert torch.isfinite(cold(x)).all()
    assert cold(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(0.2), nn.ReLU6(), nn.Hardtanh(-0.5, 2.0), nn.Hardsigmoid(),
               PiecewiseLinear([0.0, 1.0], [0.0, 2.0, 0.0], 0.5)]  # fmt: skip


@pytest.mark.parametrize("module", ACTIVATIONS, ids=lambda m: type(m).__name__)
def test_activations_of_torch_come_back_as_they_were(module):
    x = torch.linspace(-5, 8, 100)
    soft = smooth(module, temperature=1e-5)
    torch.testing.assert_close(soft(x), module(x), atol=1e-4, rtol=1e-5)
    assert type(soft.harden()) is type(module)
    torch.testing.assert_close(soft.harden()(x), module(x))
    general = SmoothActivation(soft.knots.tolist(), soft.slopes.tolist(), float(soft.start)).harden()
    torch.testing.assert_close(general(x), module(x))


def test_a_network_is_smoothed_calibrated_annealed_and_hardened():
    shared = nn.ReLU()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), shared, nn.Linear(8, 8), shared, nn.ReLU6(), nn.Linear(8, 1))
    x = torch.randn(100, 4)
    exact = model(x)
    weights = {name: p.clone() for name, p in model.named_parameters()}
    soft = smooth_activation_(model)
    assert soft is model
    assert model[1] is model[3]
    found = sw.calibrate(model, x, softness=0.1)
    assert set(found) == {"1", "4"}
    assert 0 < (model(x) - exact).abs().max() < 1
    sw.Annealer.geometric(model, 1.0, 1e-6, 2).step()
    torch.testing.assert_close(model(x), exact, atol=1e-4, rtol=1e-4)
    hard = sw.harden(model).model
    assert [type(m) for m in hard] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.ReLU6, nn.Linear]
    torch.testing.assert_close(hard(x), exact)
    assert all(torch.equal(p, weights[name]) for name, p in hard.named_parameters())
    assert isinstance(smooth_activation_(nn.ReLU()), SmoothActivation)


def test_the_smooth_network_has_curvature_across_the_kink():
    x = torch.zeros(1, requires_grad=True)
    for module, curved in ((SAU(temperature=0.1), True), (nn.LeakyReLU(0.15), False)):
        first = torch.autograd.grad(module(x).sum(), x, create_graph=True)[0]
        second = (
            torch.autograd.grad(first.sum(), x, allow_unused=True, materialize_grads=True)[0]
            if first.requires_grad
            else torch.zeros(1)
        )
        assert (second.abs() > 1).item() is curved


def test_what_is_not_piecewise_linear_is_refused():
    with pytest.raises(InputError, match="piecewise"):
        smooth(nn.GELU())
    with pytest.raises(InputError, match="knots"):
        SmoothActivation([1.0, 0.0], [0.0, 1.0, 2.0])
    with pytest.raises(InputError, match="kernel"):
        SmoothActivation([0.0], [0.0, 1.0], kernel="gauss")
    assert np.isfinite(SmoothActivation([0.0], [0.0, 1.0]).sup_error())


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "logistic", "uniform"])
def test_far_from_the_knots_it_is_the_activation(kernel):
    x = torch.tensor([-torch.inf, -1e30, -1e8, -1e5, 1e5, 1e7, 1e8, 1e30, torch.inf])
    for hard in (nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.LeakyReLU()):
        soft = smooth(hard, kernel=kernel, temperature=0.1)
        torch.testing.assert_close(soft(x), hard(x), rtol=1e-6, atol=1e-6)
        described = PiecewiseLinear(soft.knots, soft.slopes, float(soft.start))
        torch.testing.assert_close(described(x), hard(x), rtol=1e-6, atol=1e-6)
    assert smooth(nn.ReLU6(), kernel=kernel)(torch.tensor([torch.nan])).isnan().all()
