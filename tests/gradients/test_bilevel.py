"""Hyperparameters in turns with weights, against closed forms."""

from __future__ import annotations

import pytest
import torch

from softwood.core import InputError
from softwood.gradients import BilevelTrainer, ConjugateGradient, stationarity


def ridge():
    generator = torch.Generator().manual_seed(0)
    x, y, far, seen = (torch.randn(n, *s, dtype=torch.float64, generator=generator) for n, s in
                       ((30, (4,)), (30, ()), (20, (4,)), (20, ())))  # fmt: skip

    def training(w, h):
        return (x @ w - y).square().sum() + (h.exp() * w**2).sum()

    def validation(w, h):
        return (far @ w - seen).square().sum()

    def solve(h):
        return torch.linalg.solve(x.T @ x + torch.diag(h.exp()), x.T @ y)

    return training, validation, solve


@pytest.mark.parametrize(
    ("optimizer", "steps"), [(None, 2), (lambda w: torch.optim.SGD(w, 0.002, momentum=0.5), 150)], ids=["lbfgs", "sgd"]
)
def test_the_hyperparameters_reach_the_optimum_of_the_closed_form(optimizer, steps):
    training, validation, solve = ridge()
    w, h = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    trainer = BilevelTrainer(training, validation, w, h, weight_optimizer=optimizer, inner_steps=steps)
    found = trainer.run(60)
    torch.testing.assert_close(w.detach(), solve(h).detach(), rtol=1e-3, atol=1e-4)

    free = torch.zeros(4, dtype=torch.float64, requires_grad=True)  # the same steps, through the closed form
    adam = torch.optim.Adam([free], lr=0.1)
    for one in found:
        loss = validation(solve(free), free)
        assert one.validation == pytest.approx(float(loss.detach()), rel=1e-2)
        adam.zero_grad()
        loss.backward()
        adam.step()
    torch.testing.assert_close(h.detach(), free.detach(), rtol=1e-2, atol=1e-2)
    assert found[-1].validation < found[0].validation
    assert max(one.residual for one in found) < 1e-6
    assert found[-1].stationarity < 0.01


def test_several_tensors_and_too_few_steps_are_seen():
    training, validation, _ = ridge()
    w = [torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)]
    h = [torch.zeros(4, dtype=torch.float64)]

    def joined(loss):
        return lambda w, h: loss(torch.cat(w), h[0])

    trainer = BilevelTrainer(
        joined(training), joined(validation), w, h, inner_steps=1, linear=ConjugateGradient(8),
        weight_optimizer=lambda w: torch.optim.SGD(w, 1e-4),
    )  # fmt: skip
    assert trainer.round().stationarity > 0.1
    assert stationarity(joined(training), w, h).distance > 1
    assert all(tensor.abs().sum() > 0 for tensor in (*w, *h))


def test_the_distance_to_the_minimum_of_a_quadratic_is_exact():
    training, _, solve = ridge()
    h = torch.zeros(4, dtype=torch.float64)
    best = solve(h)
    away = best + torch.tensor([0.1, -0.2, 0.0, 0.3]).double()
    found = stationarity(training, away, h)
    assert found.distance == pytest.approx(float((away - best).norm() / away.norm()))
    assert found.gap == pytest.approx(float(training(away, h) - training(best, h)))
    assert stationarity(training, best, h).distance < 1e-9


def test_what_cannot_be_changed_in_place_is_refused():
    w = torch.zeros(2, requires_grad=True)
    with pytest.raises(InputError, match="in place"):
        BilevelTrainer(lambda w, h: w.sum(), lambda w, h: w.sum(), w * 2, torch.zeros(1))
    with pytest.raises(InputError, match="inner_steps"):
        BilevelTrainer(lambda w, h: w.sum(), lambda w, h: w.sum(), w, torch.zeros(1), inner_steps=0)
