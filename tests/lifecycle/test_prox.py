"""Proximal operators against a minimiser that knows nothing of them, and the optimizers that use them."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from softwood.core import InputError
from softwood.lifecycle import ProxAdam, ProxSGD, prox_group, prox_l0, prox_l1

PENALTIES = {
    "l1": (prox_l1, lambda u, t: (t * u.abs()).sum()),
    "l0": (prox_l0, lambda u, t: (t * (u != 0)).sum()),
    "group": (prox_group, lambda u, t: (t * u.norm(dim=1, keepdim=True)).mean(1).sum()),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_no_other_point_is_better(name):
    prox, penalty = PENALTIES[name]
    generator = torch.Generator().manual_seed(0)
    for scale in (0.3, 1.0, 3.0):
        x = scale * torch.randn(4, 3, dtype=torch.float64, generator=generator)
        t = torch.rand(4, 1, dtype=torch.float64, generator=generator).expand(4, 3)
        best = prox(x, t)

        def cost(u, x=x, t=t):
            return float((u - x).square().sum() / 2 + penalty(u, t))

        moves = [torch.randn(4, 3, dtype=torch.float64, generator=generator) * s for s in (1e-3, 0.1, 1.0) * 50]
        others = [best + move for move in moves] + [
            best * (torch.rand(4, 3, generator=generator) > 0.5) for _ in "x" * 50
        ]
        assert cost(best) <= min(map(cost, [*others, x, 0 * x])) + 1e-12
        torch.testing.assert_close(prox(x, 0.0), x)


def test_groups_in_a_metric_are_scipys_minimum_and_agree_with_the_closed_form():
    x, t = torch.tensor([[3.0, -2.0, 0.5]]).double(), torch.tensor([[1.0, 0.2, 2.0]]).double()
    found = prox_group(x, t)

    def cost(u):
        u = torch.tensor(u).double()
        return float(((u - x[0]).square() / t[0]).sum() / 2 + u.norm())

    best = minimize(cost, x[0].numpy(), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 9000})
    torch.testing.assert_close(found[0], torch.tensor(best.x), atol=1e-5, rtol=0)
    torch.testing.assert_close(prox_group(x, torch.full_like(x, 0.7)), prox_group(x, 0.7))
    assert prox_group(x, t * 20).tolist() == [[0.0, 0.0, 0.0]]
    assert prox_group(torch.zeros(2, 3), torch.ones(2, 3)).tolist() == [[0.0] * 3] * 2
    columns = prox_group(x.T, t.T, dim=1)
    torch.testing.assert_close(columns.T, found)


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (ProxSGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (ProxAdam, torch.optim.Adam, {"lr": 0.01}),
    ],
)
def test_without_a_penalty_they_are_torchs_optimizers(ours, theirs, options):
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    models = [nn.Linear(3, 1) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, kind in zip(models, (ours, theirs), strict=True):
        optimizer = kind(model.parameters(), **options)
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    for mine, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [ProxSGD, ProxAdam])
def test_they_find_the_lasso_whose_conditions_hold(kind):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(60, 20, generator=generator, dtype=torch.float64)
    b = a[:, :3].sum(1)
    w = torch.zeros(20, dtype=torch.float64, requires_grad=True)
    optimizer = kind([w], lr=0.02, strength=0.3)
    for _ in range(3000):
        optimizer.zero_grad()
        ((a @ w - b).square().mean() / 2).backward()
        optimizer.step()
    slope = a.T @ (a @ w.detach() - b) / 60
    on = w.detach() != 0
    assert int(on.sum()) == 3
    torch.testing.assert_close(slope[on], -0.3 * w.detach()[on].sign(), atol=2e-3, rtol=0)
    assert bool((slope[~on].abs() <= 0.3).all())


def test_groups_options_and_the_state_survive_a_save():
    model = nn.Linear(4, 3)
    groups = [{"params": [model.weight], "strength": 50.0}, {"params": [model.bias]}]
    optimizer = ProxAdam(groups, lr=0.01, penalty="group")
    bias = model.bias.detach().clone()
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    assert not model.weight.any()  # whole rows
    assert not torch.equal(model.bias, bias)
    assert model.bias.all()
    twin = ProxAdam([{"params": [model.weight]}, {"params": [model.bias]}], lr=0.5)
    twin.load_state_dict(optimizer.state_dict())
    assert twin.param_groups[0]["strength"] == 50.0
    assert twin.state[model.bias]["steps"] == 30
    halved = ProxSGD([model.bias], lr=0.1, penalty=lambda x, threshold: x / (1 + threshold), strength=10.0)
    model.bias.grad.zero_()
    before = model.bias.detach().clone()
    assert halved.step(lambda: 7) == 7
    torch.testing.assert_close(model.bias.detach(), before / 2)


@pytest.mark.parametrize("bad", [{"penalty": "l2"}, {"strength": -1.0}, {"lr": -0.1}])
@pytest.mark.parametrize("kind", [ProxSGD, ProxAdam])
def test_what_cannot_be_is_refused(kind, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        kind([torch.zeros(1, requires_grad=True)], **{"lr": 0.1, **bad})


def test_sparse_gradients_are_refused_by_name():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match="sparse"):
        ProxSGD(table.parameters(), lr=0.1).step()
