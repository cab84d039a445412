"""Gates of k of n: learned, sampled, hardened."""

import pytest
import torch
from torch import nn

import softwood as sw
from softwood.core import InputError
from softwood.layers import CappedSimplexProjection, Gate, SubsetLayer
from softwood.ops import topk_mask


def test_a_gate_finds_the_inputs_that_matter_and_ships_them():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, generator=generator)
    y = x[:, [2]] - 2 * x[:, [5]]
    torch.manual_seed(0)
    model = nn.Sequential(SubsetLayer(8, 2, temperature=0.3, generator=generator), nn.Linear(8, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimiser.step()
    hard = sw.harden(model, budget=2).model
    assert isinstance(hard[0], Gate)
    assert hard[0].keep.nonzero().flatten().tolist() == [2, 5]
    assert hard[0].size() == 2


def test_sampled_gates_keep_k_and_evaluation_does_not_sample():
    layer = SubsetLayer(6, 3, sample=True, hard=True, generator=torch.Generator().manual_seed(0))
    x = torch.ones(6)
    kept = torch.stack([layer(x) for _ in range(20)])
    assert ((kept == 0) | (kept == 1)).all()
    assert (kept.sum(-1) == 3).all()
    assert len(kept.unique(dim=0)) > 1
    kept.sum(0)[0].backward()
    assert layer.scores.grad.abs().sum() > 0
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_the_capped_projection_is_the_nearest_point():
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = CappedSimplexProjection(7, 3, temperature=0.8).double()
    p = layer(x)
    torch.testing.assert_close(p.sum(-1), torch.full((5,), 3.0, dtype=torch.float64))
    assert ((p >= 0) & (p <= 1)).all()
    # no move of weight from one entry to another brings it nearer to x / tau
    z = x / layer.temperature
    for i in range(7):
        for j in range(7):
            room = torch.minimum(p[:, i], 1 - p[:, j]) > 1e-9
            assert (((z[:, j] - p[:, j]) - (z[:, i] - p[:, i]) < 1e-6) | ~room).all()
    torch.testing.assert_close(layer.harden()(x), topk_mask(x, 3, hard=True))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="k "):
        SubsetLayer(3, 4)
    with pytest.raises(InputError, match="scores"):
        SubsetLayer(3, 2, scores=torch.zeros(2))
