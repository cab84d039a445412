"""Choices and projections as layers: samples in training, limits, what they become."""

import torch
from torch import nn

import softwood as sw
from softwood.layers import BirkhoffProjection, Gate, Matching, OneHot, RelaxedCategorical, SimplexProjection, TopKMask
from softwood.ops import assignment


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_categorical_layer_samples_in_training_only():
    logits = draw(5).expand(4000, 5)
    layer = RelaxedCategorical(5, hard=True, generator=torch.Generator().manual_seed(0))
    drawn = layer(logits)
    assert ((drawn == 0) | (drawn == 1)).all()
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), atol=0.04, rtol=0)
    layer.eval()
    torch.testing.assert_close(layer(logits), (logits / 0.5).softmax(-1))
    sparse = RelaxedCategorical(5, relax="sparsemax", temperature=0.3)
    assert torch.equal(sparse(logits), sparse(logits))


def test_a_network_with_choices_is_calibrated_and_hardened():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), RelaxedCategorical(6), nn.Linear(6, 4), SimplexProjection())
    x = draw(50, 3)
    found = sw.calibrate(model, x, softness=0.1)
    assert found.keys() == {"1", "3"}
    hard = sw.harden(model).model
    assert isinstance(hard[1], OneHot)
    assert isinstance(hard[3], OneHot)
    for module in (model[1], model[3]):
        module.temperature.fill_(1e-6)
    torch.testing.assert_close(model.eval()(x), hard(x))


def test_a_matching_layer_tends_to_the_best_assignment():
    scores = draw(6, 5, 5)
    for relax in ("birkhoff", "sinkhorn"):
        layer = BirkhoffProjection(5, relax=relax, temperature=0.002)
        torch.testing.assert_close(layer(scores), layer.harden()(scores), atol=0.02, rtol=0)
    torch.testing.assert_close(Matching()(scores), assignment(scores, hard=True))


def test_hard_modules_do_what_they_say():
    x = draw(4, 6)
    assert TopKMask(2)(x).sum(-1).tolist() == [2] * 4
    assert (x * TopKMask(2)(x)).sum(-1).tolist() == x.topk(2).values.sum(-1).tolist()
    gate = Gate(torch.tensor([True, False, True, False, False, True]))
    assert gate.size() == 3
    assert torch.equal(gate(x)[:, [1, 3, 4]], torch.zeros(4, 3))
    assert torch.equal(gate(x)[:, [0, 2, 5]], x[:, [0, 2, 5]])
    assert repr(TopKMask(2)) == "TopKMask(k=2)"
