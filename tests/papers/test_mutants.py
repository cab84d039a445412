"""A check that cannot fail shows nothing: with its method broken on purpose, a bar has to be missed."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from softwood.gradients import ExactSolve, GumbelSoftmax, Neumann, hypergradient
from softwood.layers import SAU, convert_to_selective
from softwood.losses import confusion_loss, neural_ndcg_loss
from softwood.ops import Network
from softwood.papers import check_here


def only_convolutions(model):
    """Stand for ``convert_to_selective``: the trap, as neighbours go on holding the same tensors."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            convert_to_selective(module)
    return model


class PenaltyByGradient(torch.optim.SGD):
    """Stand for ``ProxSGD``: the subgradient of the penalty, which is what the paper warns of."""

    def __init__(self, params, lr, *, strength):
        super().__init__(params, lr)
        self.strength = strength

    def step(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.grad += self.strength * parameter.detach().sign()
        super().step()


def equal_weights(*estimates):
    """Stand for ``inverse_variance_mix``: the plain mean, which the exploding estimator rules."""
    return torch.stack([part.mean(0) for part in estimates]).mean(0), torch.ones(len(estimates))


def hard_chances(market, score):
    """Stand for the smoothed chances: the trap, as autograd through the hard market sees the payment alone."""
    return market.rule.chances(score.detach())


def identity_for_hessian(*losses_and_tensors, linear):
    """Stand for ``hypergradient``: the Hessian taken for the identity, passed off as implicit differentiation."""
    exact = isinstance(linear, ExactSolve)
    return hypergradient(*losses_and_tensors, linear=linear if exact else Neumann(0, 1.0))


def without_gradient(estimator, fn, *, generator=None):
    """Stand for ``Perturbed.wrap``: the hard choice, with a gradient of 0."""
    return lambda scores: fn(scores.detach()) + 0 * scores


def straight_relu(x):
    """Stand for ``relu``: its value with the derivative of the identity, which is wrong below 0."""
    return x + (torch.relu(x) - x).detach()


def saturated(probability, target, metric, **how):
    """Stand for ``confusion_loss``: the trap of an amplifier so large that nothing has a gradient."""
    return confusion_loss(probability, target, metric, **{**how, "temperature": 1e-9})


def padding_counts(scores, target, *, mask=None, **how):
    """Stand for ``neural_ndcg_loss``: the trap, as what is padded takes places in the list."""
    return neural_ndcg_loss(scores, target, **how)


# id: (what is broken, what stands in its place, the size at which that has to be seen)
MUTANTS = {
    "ad-float-correctness": ("softwood.papers.ops._ad_float_correctness:_relu", straight_relu, "smoke"),
    "anyloss": ("softwood.decisions._metric:confusion_loss", saturated, "smoke"),
    "neural-ndcg": ("softwood.papers.ops._neural_ndcg:neural_ndcg_loss", padding_counts, "smoke"),
    "error-free-swap": (
        "softwood.papers.ops._error_free_swap:Network",
        lambda swap, error_free=False: Network(swap),
        "smoke",
    ),
    "gumbel-softmax": (
        "softwood.papers.ops._gumbel_softmax:GumbelSoftmax",
        lambda t=1.0, **how: GumbelSoftmax(0.05 / t, **how),
        "smoke",
    ),
    "ift-hyper": ("softwood.papers.ops._ift_hyper:hypergradient", identity_for_hessian, "smoke"),
    "monotonic-sortnet": (
        "softwood.papers.ops._monotonic_sortnet:Network",
        lambda swap, layout: Network("logistic", layout),
        "smoke",
    ),
    "gradient-chaos": ("softwood.papers.ops._gradient_chaos:inverse_variance_mix", equal_weights, "smoke"),
    "nonsmooth-gd": ("softwood.papers.ops._nonsmooth_gd:ProxSGD", PenaltyByGradient, "smoke"),
    "ensemble-selection": ("softwood.gradients._perturbed:Perturbed.wrap", without_gradient, "smoke"),
    "smooth-markets": ("softwood.decisions._auctions:SmoothedMechanism.chances", hard_chances, "smoke"),
    "sau": (
        "softwood.papers.ops._sau:SAU",
        lambda slope, temperature, **how: SAU(slope, temperature=2 * temperature, **how),
        "smoke",
    ),
    "selective-memory": ("softwood.papers.ops._selective_memory:convert_to_selective", only_convolutions, "smoke"),
}
CASES = [pytest.param(id, marks=[pytest.mark.slow] if MUTANTS[id][2] != "smoke" else [], id=id) for id in MUTANTS]


@pytest.mark.parametrize("id", CASES)
def test_a_broken_method_misses_a_bar(id, monkeypatch):
    target, replacement, size = MUTANTS[id]
    module, _, attribute = target.partition(":")
    owner, _, name = attribute.rpartition(".")
    module = importlib.import_module(module)
    monkeypatch.setattr(getattr(module, owner) if owner else module, name, replacement)
    found = check_here(id, size, 0)
    assert [bar["says"] for bar in found["evidence"]["bars"] if not bar["holds"]]
