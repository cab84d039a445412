"""Implicit differentiation against the exact Hessian solve, closed forms and unrolling."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from softwood.core import InputError
from softwood.gradients import (
    ConjugateGradient,
    ExactSolve,
    ImplicitFixedPoint,
    ImplicitMinimum,
    Neumann,
    hypergradient,
)


@pytest.fixture(scope="module")
def tuned():
    """A logistic regression on digits with one decay for each of its 640 weights, trained to its minimum."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16.0), torch.tensor(y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    fit, held = order[:600], order[600:1200]

    def training(w, h):
        return functional.cross_entropy(x[fit] @ w, y[fit]) + (h.exp() * w.square()).sum() / 2

    def validation(w, h):
        return functional.cross_entropy(x[held] @ w, y[held])

    h = torch.full((64, 10), -6.0, dtype=torch.float64)
    w = torch.zeros(64, 10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w], max_iter=800, tolerance_grad=1e-10, history_size=50, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = training(w, h)
        loss.backward()
        return loss

    optimizer.step(closure)
    return training, validation, w.detach(), h


def cosine(a, b):
    return float(functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def test_hypergradients_of_640_decays_against_the_exact_hessian(tuned):
    training, validation, w, h = tuned
    exact = hypergradient(validation, training, w, h, linear=ExactSolve())
    assert exact.residual < 1e-9
    assert exact.stationarity < 1e-3
    by_cg = hypergradient(validation, training, w, h, linear=ConjugateGradient(20))
    assert cosine(by_cg.gradients[0], exact.gradients[0]) >= 0.999
    steps = (0, 5, 20, 100)
    found = [hypergradient(validation, training, w, h, linear=Neumann(k)) for k in steps]
    near = [cosine(part.gradients[0], exact.gradients[0]) for part in found]
    assert near == sorted(near)
    assert near[0] < 0.8 < near[-1]
    residuals = [part.residual for part in found]
    assert residuals == sorted(residuals, reverse=True)


def test_the_hypergradient_is_that_of_training_again(tuned):
    """Ridge regression, whose minimiser has a closed form that autograd goes through."""
    generator = torch.Generator().manual_seed(1)
    x, y, far, seen = (torch.randn(n, *s, dtype=torch.float64, generator=generator) for n, s in
                       ((30, (4,)), (30, ()), (20, (4,)), (20, ())))  # fmt: skip
    h = torch.randn(4, dtype=torch.float64, generator=generator).requires_grad_()

    def training(w, h):
        return (x @ w - y).square().sum() + (h.exp() * w**2).sum()

    def validation(w, h):
        return (far @ w - seen).square().sum() + 0.1 * h.sum()

    def solve(h):
        return torch.linalg.solve(x.T @ x + torch.diag(h.exp()), x.T @ y)

    (truth,) = torch.autograd.grad(validation(solve(h), h), h)
    for linear in (ExactSolve(), ConjugateGradient(), Neumann(3000)):
        found = hypergradient(validation, training, solve(h).detach(), h, linear=linear)
        torch.testing.assert_close(found.gradients[0], truth, rtol=1e-6, atol=1e-9)
        wrapped = ImplicitMinimum(training, linear).wrap(lambda h: solve(h.detach()))
        w = wrapped(h)
        torch.testing.assert_close(w, solve(h))
        (again,) = torch.autograd.grad(validation(w, h), h)
        torch.testing.assert_close(again, truth, rtol=1e-6, atol=1e-9)
    away = hypergradient(validation, training, solve(h).detach() + 1.0, h)
    assert away.stationarity > 0.1  # it says so where the weights are no minimum


def test_several_tensors_and_hyperparameters_that_enter_nothing():
    w = [torch.tensor([1.0]), torch.tensor([2.0])]
    h = [torch.tensor([1.0]), torch.tensor([5.0])]

    def training(w, h):
        return (w[0] - h[0]).square().sum() + (w[1] - 2).square().sum()

    found = hypergradient(lambda w, h: (w[0] + w[1]).sum(), training, w, h)
    assert [g.item() for g in found.gradients] == pytest.approx([1.0, 0.0])
    with pytest.raises(InputError, match="no hyperparameter"):
        hypergradient(lambda w, h: w.sum(), lambda w, h: w.square().sum() + 0 * h.detach(), w[0], h[0])


@pytest.mark.parametrize("linear", [ExactSolve(), ConjugateGradient(40), Neumann(200, 1.0)], ids=str)
def test_a_fixed_point_has_the_gradient_of_its_unrolling(linear):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 5, dtype=torch.float64, generator=generator) * 0.25

    def step_map(w, h):
        return torch.tanh(w @ matrix.T + h)

    def iterate(h):
        w = torch.zeros_like(h)
        for _ in range(200):
            w = step_map(w, h)
        return w

    h = torch.randn(3, 5, dtype=torch.float64, generator=generator).requires_grad_()
    upstream = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    (truth,) = torch.autograd.grad(iterate(h), h, upstream)

    def solver(h):
        with torch.no_grad():
            return iterate(h)

    w = ImplicitFixedPoint(step_map, linear).wrap(solver)(h)
    assert torch.equal(w, iterate(h.detach()))
    torch.testing.assert_close(torch.autograd.grad(w, h, upstream)[0], truth, rtol=1e-7, atol=1e-9)
    with torch.no_grad():
        assert ImplicitFixedPoint(step_map).wrap(solver)(h).requires_grad is False


def test_linear_solvers_take_damping_and_stop_where_the_matrix_is_not_positive():
    matrix = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    b = torch.tensor([1.0, -1.0], dtype=torch.float64)
    truth = torch.linalg.solve(matrix + 0.5 * torch.eye(2, dtype=torch.float64), b)
    for solver in (ConjugateGradient(damping=0.5), ExactSolve(damping=0.5)):
        torch.testing.assert_close(solver.solve(lambda v: matrix @ v, b), truth)
    assert torch.isfinite(ConjugateGradient().solve(lambda v: -v, b)).all()
    assert ConjugateGradient().solve(lambda v: matrix @ v, 0 * b).tolist() == [0.0, 0.0]
    assert torch.isfinite(Neumann(3).solve(lambda v: 0 * v, b)).all()
