"""Kinks: exact hits, the bound against enumeration on a grid of numbers, and one-sided derivatives."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.gradients import kink_report, one_sided


def test_hits_are_counted_and_a_missing_or_shared_bias_is_seen():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2, bias=False), nn.Hardtanh())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    report = kink_report(model.train(), torch.ones(5, 2))
    first, second = report.layers
    assert (first.units, first.kinks, first.hits, first.own_bias) == (3, 1, 5, True)
    assert (second.units, second.kinks, second.own_bias) == (2, 2, False)
    assert report.covered is False
    assert "NO BIAS" in str(report)
    assert report.bound == pytest.approx(7 / 2**32, rel=0.01)
    assert model.training
    assert not model[1]._forward_pre_hooks
    shared = nn.Sequential(nn.Conv1d(1, 1, 2), nn.ReLU())
    assert kink_report(shared, torch.ones(1, 1, 5)).covered is False
    with pytest.raises(InputError, match="bfloat16"):
        kink_report(model, torch.ones(1, 2), dtype="float8")


def test_the_bound_holds_and_is_tight_on_a_grid_of_parameters():
    """All weights and biases of one neuron on 17 points: non-differentiable settings, and wrong derivatives."""
    grid = torch.linspace(-2, 2, 17, dtype=torch.float64)
    without, settings, wrong = 0, 0, 0
    for weight, bias in itertools.product(grid, grid):

        def fn(p):
            return torch.relu(p[0] * 1.0 + p[1])

        found = one_sided(fn, torch.stack([weight, bias]))
        kink = bool(((found.high - found.low) > 1e-4).any())
        without += kink
        wrong += not bool(found.inside.all())
        settings += 1
    assert settings == 289
    assert without / settings == pytest.approx(1 / 17)  # one neuron, one kink, 17 numbers
    assert wrong == 0


def test_cancelling_kinks_that_share_a_parameter_are_caught():
    def fn(x):
        return (torch.relu(x) - torch.relu(-x)).sum()

    x = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    found = one_sided(fn, x)
    assert found.inside.tolist() == [False, True, True]
    torch.testing.assert_close(found.low, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(found.high, torch.ones(3, dtype=torch.float64))


def test_smooth_functions_and_honest_kinks_pass():
    x = torch.tensor([0.0, 0.3, -2.0], dtype=torch.float64)
    assert one_sided(lambda x: (x.abs() + x**3).sum(), x).inside.all()
    assert one_sided(lambda x: x.sin().prod(), x).inside.all()
    assert one_sided(lambda x: x.detach().floor().sum(), x + 0.1).inside.all()
    wrong = one_sided(lambda x: (2 * x - x.detach()).sum(), x)
    assert not wrong.inside.any()
    with pytest.raises(InputError, match="one number"):
        one_sided(lambda x: x, x)
