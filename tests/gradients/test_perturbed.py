"""Perturbed solvers: closed forms, scale on the identity, and solvers from scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from softwood.core import InputError
from softwood.gradients import (
    IMLE,
    SPSA,
    AdaptiveStep,
    Blackbox,
    FiniteDifferences,
    FunctionEstimator,
    IdentityProjection,
    Perturbed,
    SumOfGamma,
    fenchel_young_loss,
    per_instance,
    spo_plus_loss,
)


def largest(scores):
    return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)


def top_two(scores):
    return torch.zeros_like(scores).scatter(-1, scores.topk(2, -1).indices, 1.0)


def assignment(scores):
    rows, columns = linear_sum_assignment(scores, maximize=True)
    plan = np.zeros_like(scores)
    plan[rows, columns] = 1.0
    return plan


assign = per_instance(assignment, dims=2)
SIDE = 3


def shortest_path(scores):
    """Return the cells of the cheapest way through a grid, costs -scores > 0, steps right and down."""
    cost, weights = np.maximum(-scores, 1e-6), np.zeros((SIDE * SIDE, SIDE * SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            for r, c in ((row + 1, column), (row, column + 1)):
                if r < SIDE and c < SIDE:
                    weights[row * SIDE + column, r * SIDE + c] = cost[r, c]
    _, before = dijkstra(csr_matrix(weights), indices=0, return_predecessors=True)
    path, at = np.zeros(SIDE * SIDE), SIDE * SIDE - 1
    while at >= 0:
        path[at], at = 1.0, before[at]
    return path.reshape(SIDE, SIDE)


path = per_instance(shortest_path, dims=2)
SOLVERS = {
    "largest": (largest, 1, torch.tensor([0.4, 0.1, -0.3, 0.2])),
    "top-k": (top_two, 1, torch.tensor([0.4, 0.1, -0.3, 0.2])),
    "assignment": (assign, 2, torch.tensor([[1.0, 0.8, 0.1], [0.9, 1.0, 0.3], [0.2, 0.5, 0.7]])),
    "path": (path, 2, -torch.tensor([[1.0, 2.0, 1.0], [1.5, 1.8, 1.2], [2.0, 1.1, 1.0]])),
}
AROUND_SOLVERS = [Perturbed(0.5), IMLE(), Blackbox(), IdentityProjection()]


def gradients(estimator, fn, x, upstream, repeats, seed=0):
    """Return one vector-Jacobian product for each repeat."""
    many = x.expand(repeats, *x.shape).clone().requires_grad_()
    y = estimator.wrap(fn, generator=torch.Generator().manual_seed(seed))(many)
    return torch.autograd.grad(y, many, upstream.expand(y.shape))[0]


# ---------------------------------------------------------------- closed forms and scale


@pytest.mark.parametrize("sampling", ["independent", "antithetic", "quasi-random"])
@pytest.mark.parametrize("baseline", [True, False])
def test_gumbel_perturbed_argmax_is_softmax_in_value_and_jacobian(sampling, baseline, moments):
    x = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
    upstream = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    p = (x / 0.7).softmax(-1)
    truth = (torch.diag(p) - torch.outer(p, p)) @ upstream / 0.7
    estimator = Perturbed(0.7, 8, noise="gumbel", sampling=sampling, baseline=baseline)
    repeats = 1000 if sampling == "quasi-random" else 8000
    if sampling == "quasi-random":  # one scrambling for each call, so that repeats are independent
        parts = [gradients(estimator, largest, x, upstream, 1, seed) for seed in range(repeats)]
        found = moments(torch.cat(parts))
    else:
        found = moments(gradients(estimator, largest, x, upstream, repeats))
        value = estimator.wrap(largest)(x.expand(repeats, 3))
        torch.testing.assert_close(value.mean(0), p, rtol=0, atol=3.5 * 0.5 / (8 * repeats) ** 0.5)
    assert found.excess(truth) < 3
    assert found.excess(1.3 * truth) > 3


@pytest.mark.parametrize("noise", ["gaussian", "gumbel"])
@pytest.mark.parametrize("sampling", ["independent", "antithetic", "quasi-random"])
def test_around_the_identity_the_jacobian_is_the_identity(noise, sampling, moments):
    x = torch.tensor([2.0, -1.0], dtype=torch.float64)
    upstream = torch.tensor([1.0, 3.0], dtype=torch.float64)
    estimator = Perturbed(0.3, 16, noise=noise, sampling=sampling)
    parts = [gradients(estimator, lambda s: s, x, upstream, 1, seed) for seed in range(1500)]
    found = moments(torch.cat(parts))
    assert found.excess(upstream) < 3
    assert found.excess(1.1 * upstream) > 3


@pytest.mark.parametrize(
    "estimator",
    [
        Blackbox(2.0),
        IMLE(0.7, n_samples=3),
        IMLE(0.7, symmetric=True),
        IMLE(AdaptiveStep()),
        IMLE(3.0, noise=SumOfGamma(2)),
        IdentityProjection("none"),
        FiniteDifferences(),
    ],
    ids=str,
)
def test_around_the_identity_these_are_exact(estimator):
    x = torch.tensor([[2.0, -1.0, 4.0]], dtype=torch.float64)
    upstream = torch.tensor([1.0, 3.0, -2.0], dtype=torch.float64)
    found = gradients(estimator, lambda s: s.detach(), x[0], upstream, 2)
    torch.testing.assert_close(found, upstream.expand(2, 3), rtol=1e-9, atol=1e-9)


def test_spsa_around_the_identity_is_unbiased(moments):
    x = torch.tensor([2.0, -1.0, 4.0], dtype=torch.float64)
    upstream = torch.tensor([1.0, 3.0, -2.0], dtype=torch.float64)
    found = moments(gradients(SPSA(0.1), lambda s: s.detach(), x, upstream, 8000))
    assert found.excess(upstream) < 3
    assert found.excess(1.1 * upstream) > 3


def test_the_projection_takes_off_what_cannot_change_the_solution():
    x = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    upstream = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    found = gradients(IdentityProjection(), largest, x, upstream, 1)[0]
    assert abs(float(found.sum())) < 1e-12
    assert abs(float(found @ (x - x.mean()))) < 1e-12
    shifted = gradients(IdentityProjection(), largest, 5 * x + 7, upstream, 1)[0]
    torch.testing.assert_close(5 * shifted, found)


def test_antithetic_and_quasi_random_noise_and_a_baseline_lower_the_variance(moments):
    x = torch.tensor([0.3, 0.1, 0.0, 0.2], dtype=torch.float64)
    upstream = torch.tensor([5.0, 6.0, 4.0, 5.5], dtype=torch.float64)  # a large common part

    def variance(**settings):
        parts = [gradients(Perturbed(0.5, 16, **settings), largest, x, upstream, 1, seed) for seed in range(300)]
        return moments(torch.cat(parts)).variance

    plain = variance(baseline=False)
    assert variance() < 0.2 * plain
    assert variance(baseline=False, sampling="antithetic") < 0.2 * plain
    assert variance(sampling="quasi-random") < 0.9 * variance()


# ---------------------------------------------------------------- solvers


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("estimator", AROUND_SOLVERS, ids=lambda e: type(e).__name__)
def test_every_estimator_stands_around_every_solver(name, estimator):
    solver, dims, scores = SOLVERS[name]
    settings = {field: getattr(estimator, field) for field in estimator.__dataclass_fields__}
    around = type(estimator)(**{**settings, "dims": dims})
    assert isinstance(around, FunctionEstimator)
    batch = torch.stack([scores, scores.flip(-1)]).requires_grad_()
    answer = around.wrap(solver, generator=torch.Generator().manual_seed(0))(batch)
    assert answer.shape == batch.shape
    (found,) = torch.autograd.grad((answer * torch.linspace(0, 1, batch[0].numel()).view_as(scores)).sum(), batch)
    assert torch.isfinite(found).all()
    hard = type(estimator) in (Blackbox, IdentityProjection)
    assert not hard or torch.equal(answer.detach(), solver(batch.detach()))
    with torch.no_grad():
        assert around.wrap(solver)(batch).shape == batch.shape


@pytest.mark.parametrize("name", SOLVERS)
def test_the_perturbed_gradient_is_the_derivative_of_the_perturbed_value(name, moments):
    """Finite differences of the smoothed value at the same noise, many samples, along one direction."""
    solver, dims, scores = SOLVERS[name]
    scores = scores.double()
    upstream = torch.linspace(-1, 1, scores.numel(), dtype=torch.float64).view_as(scores)
    many, step = 3000, 0.2
    found = moments(gradients(Perturbed(1.0, many // 100, dims=dims), solver, scores, upstream, 100))
    direction = torch.zeros_like(scores).flatten().index_fill(0, torch.tensor([1]), 1.0).view_as(scores)
    noise = torch.randn(many, *scores.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sides = [solver(scores + sign * step * direction + noise) for sign in (1, -1)]
    differences = ((sides[0] - sides[1]) * upstream).flatten(1).sum(1) / (2 * step)
    noise_of_both = (found.covariance[1, 1] + differences.var() / many).sqrt()
    assert abs(float(found.mean[1] - differences.mean())) < 3.5 * float(noise_of_both) + 0.02


def test_learning_scores_from_solutions_finds_them_again():
    """The scores of an assignment, learned from its solution alone, by the Fenchel-Young loss and by SPO+."""
    true = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    target = assign(true)
    around = Perturbed(0.5, dims=2)
    losses = {
        "fenchel-young": lambda s: fenchel_young_loss(assign, s, target, around),
        "spo+": lambda s: spo_plus_loss(assign, s, true, dims=2),
        "blackbox": lambda s: (Blackbox(5.0, dims=2).wrap(assign)(s) - target).square().sum(),
        "imle": lambda s: (IMLE(5.0, scale=0.1, dims=2).wrap(assign)(s) - target).square().sum(),
        "perturbed": lambda s: (around.wrap(assign)(s) - target).square().sum(),
    }
    for name, loss in losses.items():
        scores = torch.eye(3).mul(0.5).requires_grad_()
        assert not torch.equal(assign(scores), target)
        optimizer = torch.optim.SGD([scores], lr=0.2)
        for _ in range(60):
            optimizer.zero_grad()
            loss(scores).backward()
            optimizer.step()
        assert torch.equal(assign(scores), target), name


def test_the_fenchel_young_gradient_is_the_smoothed_solution_less_the_target():
    scores = torch.tensor([[0.2, 0.1, 0.5]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    around = Perturbed(0.3, 1000)
    loss = fenchel_young_loss(largest, scores, target, around, generator=torch.Generator().manual_seed(0))
    value = around.wrap(largest, generator=torch.Generator().manual_seed(0))(scores)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), scores)[0], value.detach() - target)
    gumbel = fenchel_young_loss(largest, scores, target, Perturbed(1.0, 200_000, noise="gumbel"))
    cross_entropy = scores.logsumexp(-1) - scores[:, 0] + 0.5772156649  # the mean of a Gumbel variable
    torch.testing.assert_close(gumbel, cross_entropy, rtol=0, atol=3.5 * 1.3 / 200_000**0.5)


def test_spo_plus_is_convex_bounds_the_regret_and_is_zero_where_right():
    generator = torch.Generator().manual_seed(0)
    true, a, b = (torch.randn(200, 5, dtype=torch.float64, generator=generator) for _ in range(3))
    regret = (true * (largest(true) - largest(a))).sum(-1)
    assert (spo_plus_loss(largest, a, true) >= regret - 1e-12).all()
    assert spo_plus_loss(largest, true, true).abs().max() < 1e-12
    middle = spo_plus_loss(largest, (a + b) / 2, true)
    assert (middle <= (spo_plus_loss(largest, a, true) + spo_plus_loss(largest, b, true)) / 2 + 1e-12).all()
    leaf = a.clone().requires_grad_()
    (found,) = torch.autograd.grad(spo_plus_loss(largest, leaf, true).sum(), leaf)
    torch.testing.assert_close(found, 2 * (largest(2 * a - true) - largest(true)))


# ---------------------------------------------------------------- steps, hard values, errors


def test_the_adaptive_step_grows_where_the_gradient_is_zero_and_shrinks_where_it_is_not():
    for spread, grows in ((1e3, True), (1e-9, False)):
        step = AdaptiveStep(start=1e-3 if grows else 1e3)
        scores = (torch.arange(4.0) * spread).requires_grad_()
        solution = IMLE(step, noise="none").wrap(largest)
        for _ in range(30):
            torch.autograd.grad(solution(scores) @ torch.tensor([0.0, -1.0, 2.0, 3.0]), scores)
        assert (step.alpha > 1e-3) if grows else (step.alpha < 1e3)
    other = AdaptiveStep()
    other.load_state_dict(step.state_dict())
    assert other.alpha == step.alpha


def test_a_hard_value_keeps_the_perturbed_gradient():
    x = torch.tensor([0.3, 0.1], requires_grad=True)
    parts = [Perturbed(hard=h).wrap(largest, generator=torch.Generator().manual_seed(0))(x) for h in (True, False)]
    assert parts[0].tolist() == [1.0, 0.0]
    assert torch.equal(*(torch.autograd.grad(part[0], x)[0] for part in parts))


def test_sum_of_gamma_noise_sums_to_gumbel():
    draws = SumOfGamma(3, terms=200).draw(torch.zeros(3, dtype=torch.float64), 10_000, None).sum(-1)
    assert float(draws.mean()) == pytest.approx(0.5772, abs=3.5 * 1.2825 / 100)
    assert float(draws.std()) == pytest.approx(1.2825, rel=0.05)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="even number"):
        Perturbed(n_samples=3, sampling="antithetic")
    with pytest.raises(InputError, match="gaussian"):
        Perturbed(noise="normal")
    with pytest.raises(InputError, match="per_instance"):
        Perturbed().wrap(lambda s: s.sum())(torch.zeros(2))
    with pytest.raises(InputError, match="another shape"):
        Blackbox().wrap(lambda s: s[..., :1])(torch.zeros(2))
    with pytest.raises(InputError, match="2 axes"):
        Perturbed(dims=2).wrap(largest)(torch.zeros(2))
    with pytest.raises(InputError, match="equal shapes"):
        spo_plus_loss(largest, torch.zeros(2), torch.zeros(3))
    with pytest.raises(InputError, match="quasi-random"):
        Perturbed(sampling="quasi-random").wrap(largest)(torch.zeros(30_000))
    with pytest.raises(InputError, match="dims"):
        per_instance(np.sort, dims=-1)
