"""The projection on doubly stochastic matrices against a general solver."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.autograd import gradcheck

from softwood.core import InputError, SoftwoodWarning
from softwood.ops import assignment


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_nearest_doubly_stochastic_matrix():
    scores = draw(4, 4, 4)
    plans = assignment(scores, relax="birkhoff", temperature=0.8, tolerance=1e-9)
    sums = [{"type": "eq", "fun": lambda p, i=i, axis=axis: p.reshape(4, 4).sum(axis)[i] - 1}
            for axis in (0, 1) for i in range(4)]  # fmt: skip
    for s, plan in zip(scores / 0.8, plans, strict=True):
        found = minimize(lambda p, s=s: ((p - s.numpy().ravel()) ** 2).sum(), np.full(16, 0.25), bounds=[(0, 1)] * 16,
                         constraints=sums[:-1], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
        np.testing.assert_allclose(plan.numpy().ravel(), found.x, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_rows_and_columns_add_up_and_cold_ones_are_the_best_assignment(n):
    scores = draw(5, n, n, seed=n)
    plan = assignment(scores, relax="birkhoff", temperature=1.0, tolerance=1e-10)
    torch.testing.assert_close(plan.sum(-1), torch.ones(5, n, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(-2), torch.ones(5, n, dtype=torch.float64))
    cold = assignment(scores, relax="birkhoff", temperature=1e-3)
    torch.testing.assert_close(cold, assignment(scores, hard=True), atol=1e-6, rtol=0)
    if n == 20:
        assert (plan == 0).double().mean() > 0.5


def test_the_implicit_gradient():
    scores = draw(4, 4).requires_grad_()
    for temperature in (0.5, 2.0):
        assert gradcheck(
            lambda s, t=temperature: assignment(s, relax="birkhoff", temperature=t, tolerance=1e-13), scores
        )
    hard, soft = (
        torch.autograd.grad((assignment(scores, relax="birkhoff", hard=h) * draw(4, 4, seed=1)).sum(), scores)[0]
        for h in (True, False)
    )
    torch.testing.assert_close(hard, soft)


def test_what_it_cannot_do_is_said():
    with pytest.raises(InputError, match="rows as columns"):
        assignment(draw(2, 3), relax="birkhoff")
    with pytest.raises(InputError, match="relax"):
        assignment(draw(3, 3), relax="birkhof")
    with pytest.warns(SoftwoodWarning, match="doubly stochastic"):
        assignment(draw(30, 30), relax="birkhoff", iterations=5, tolerance=0.0)
    assert assignment(torch.zeros(0, 3, 3), relax="birkhoff").shape == (0, 3, 3)
