"""Sorting networks: monotone gradients, softening errors, what they become in a network."""

import pytest
import torch
from torch import nn

import softwood as sw
from softwood.layers import Sort, SortingNetwork

MONOTONE = ("cauchy", "reciprocal", "optimal")


def inputs(n, seed=0):
    return torch.randn(200, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobians(layer, x):
    return torch.func.vmap(torch.func.jacrev(layer))(x)


@pytest.mark.parametrize("n", [5, 8])
@pytest.mark.parametrize("layout", ["bitonic", "odd-even"])
def test_monotone_swaps_have_no_falling_output_and_logistic_ones_do(n, layout):
    for strength in (1, 4, 16):
        for swap in MONOTONE:
            layer = SortingNetwork(swap, layout=layout, temperature=1 / strength).double()
            assert (jacobians(layer, inputs(n)) >= -1e-12).all()
            exact = SortingNetwork(swap, layout=layout, temperature=1 / strength, error_free=True).double()
            assert (jacobians(exact, inputs(n)) >= -1e-12).all()
    logistic = SortingNetwork("logistic", layout=layout, temperature=0.25).double()
    assert (jacobians(logistic, inputs(n)) < -1e-12).double().mean() >= 0.1


def test_errors_are_ordered_at_equal_slope_and_error_free_networks_have_none():
    x = inputs(5)
    errors = {swap: SortingNetwork(swap, temperature=1 / 16).double().softening_error(x).mean() for swap in MONOTONE}
    assert errors["optimal"] <= errors["cauchy"] <= errors["reciprocal"]
    for swap in (*MONOTONE, "logistic"):
        assert SortingNetwork(swap, error_free=True).double().softening_error(inputs(16)).max() <= 1e-12


def test_a_network_that_sorts_is_calibrated_and_hardened():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 7), SortingNetwork(descending=True), nn.Linear(7, 2))
    x = torch.randn(40, 3)
    found = sw.calibrate(model, x, softness=0.1)
    gaps = model[0](x).sort(-1).values.diff(dim=-1)
    assert found["1"] == pytest.approx(0.1 * gaps.median().item(), rel=0.02)
    hard = sw.harden(model).model
    assert isinstance(hard[1], Sort)
    model[1].temperature.fill_(1e-7)
    torch.testing.assert_close(model(x), hard(x), atol=1e-4, rtol=1e-4)
    p = model[1].permutation(x[:, :3]).dense()
    torch.testing.assert_close(p.sum(-1), torch.ones(40, 3), atol=1e-4, rtol=0)
