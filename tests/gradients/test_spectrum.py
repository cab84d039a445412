"""Lyapunov exponents with known values, and verdicts on chaotic and stable systems."""

from __future__ import annotations

import math

import pytest
import torch

from softwood.core import InputError
from softwood.gradients import lyapunov, unroll_report


def logistic(rate):
    return lambda x: rate * x * (1 - x)


def starts(n=200):
    return 0.05 + 0.9 * torch.rand(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_exponent_of_the_logistic_map_at_4_is_the_logarithm_of_2():
    found = lyapunov(logistic(4.0), starts(), steps=500)
    assert found.shape == (200, 1)
    assert float(found.mean()) == pytest.approx(math.log(2), rel=0.05)


def test_a_linear_map_has_the_logarithms_of_its_singular_directions():
    matrix = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.9, 0.3], [0.0, 0.0, 1.2]], dtype=torch.float64)
    found = lyapunov(lambda x: x @ matrix.T, torch.ones(1, 3, dtype=torch.float64), steps=400, k=3)
    expected = torch.tensor([[1.2, 0.9, 0.5]], dtype=torch.float64).log()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def henon(x):
    return torch.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1)


def test_the_exponents_of_the_henon_map_sum_to_its_constant_contraction():
    x = torch.tensor([[0.1, 0.1], [0.2, 0.0], [-0.1, 0.2]], dtype=torch.float64)
    found = lyapunov(henon, x, steps=2000, k=2)
    torch.testing.assert_close(found.sum(-1), torch.full((3,), math.log(0.3), dtype=torch.float64))
    assert float(found[:, 0].mean()) == pytest.approx(0.419, rel=0.05)


def network(gain, n=64):
    weight = gain / n**0.5 * torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return lambda x: torch.tanh(x @ weight.T)


@pytest.mark.parametrize(
    ("step", "n", "verdict"),
    [
        (logistic(3.9), 1, "chaotic"),
        (henon, 2, "chaotic"),
        (network(1.6), 64, "chaotic"),
        (logistic(3.2), 1, "stable"),
        (lambda x: 0.5 * torch.sin(x), 3, "stable"),
        (network(0.8), 64, "stable"),
    ],
    ids=["logistic-3.9", "henon", "network-1.6", "logistic-3.2", "sine", "network-0.8"],
)
def test_the_verdict_is_right(step, n, verdict):
    generator = torch.Generator().manual_seed(0)
    scale = {1: 0.9, 2: 0.1}.get(n, 1.0)
    x = 0.05 + scale * torch.rand(50, n, dtype=torch.float64, generator=generator)
    report = unroll_report(step, x, horizons=(2, 5), steps=300, sigma=0.01)
    assert report.verdict == verdict
    assert verdict in str(report)


def test_gradients_of_a_chaotic_map_explode_and_those_of_evolution_strategies_do_not():
    report = unroll_report(logistic(3.9), starts(2000), horizons=(5, 10, 20, 40), sigma=0.01, steps=200)
    small, *_, huge = report.by_path
    # exp(35 * exponent) from the first horizon to the last, and heavier tails than that
    assert huge > small * math.exp(35 * report.exponent)
    assert small < 100
    assert max(report.by_score) < 100
    assert "From" in report.advice
    settled = starts(2000)
    for _ in range(100):  # few starts lie near points that never settle, and their gradients would be all that is seen
        settled = logistic(3.2)(settled)
    calm = unroll_report(logistic(3.2), settled, horizons=(5, 10, 20, 40), sigma=0.01, steps=200)
    assert max(calm.by_path) < 2
    assert "Back-propagate" in calm.advice or "less variance" in calm.advice


def test_bad_input_is_named():
    with pytest.raises(InputError, match="runs away"):
        lyapunov(lambda x: 2 * x + 1e300, torch.ones(1, dtype=torch.float64), steps=2000)
    with pytest.raises(InputError, match="k is out of range"):
        lyapunov(logistic(3.9), starts(3), k=2)
    with pytest.raises(InputError, match="b >= 2"):
        unroll_report(logistic(3.9), torch.ones(1, 1))
    with pytest.raises(InputError, match="floating"):
        lyapunov(logistic(3.9), torch.tensor([1]))
