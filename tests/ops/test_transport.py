"""Plans and assignments against linear programmes and enumeration; implicit against unrolled gradients."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import wasserstein_distance
from torch.autograd import gradcheck, gradgradcheck

from softwood.core import InputError, SoftwoodWarning
from softwood.ops import assignment, low_rank_transport, sinkhorn, transport_1d


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masses(*shape, seed=0):
    return draw(*shape, seed=seed).softmax(-1)


def exact_plan(cost, a, b):
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    found = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    return found.x.reshape(n, m), found.fun


def test_a_plan_has_the_masses_and_satisfies_the_optimum():
    scores, a, b = draw(2, 5, 4), masses(2, 5, seed=1), masses(4, seed=2)
    plan = sinkhorn(scores, a, b, temperature=0.3, tolerance=1e-12)
    torch.testing.assert_close(plan.sum(-1), a)
    torch.testing.assert_close(plan.sum(-2), b.expand(2, 4))
    # log P - S / tau is a sum of a row and a column part
    rest = plan.log() - scores / 0.3
    mixed = rest[..., :1, :1] + rest - rest[..., :1, :] - rest[..., :, :1]
    torch.testing.assert_close(mixed, torch.zeros_like(mixed), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_a_cold_plan_is_the_one_of_the_linear_programme(shape):
    cost, a, b = draw(*shape) ** 2, masses(shape[0], seed=1), masses(shape[1], seed=2)
    plan = sinkhorn(-cost, a, b, temperature=2e-3, iterations=100_000, tolerance=1e-9)
    best, value = exact_plan(cost.numpy(), a.numpy(), b.numpy())
    assert (plan * cost).sum().item() == pytest.approx(value, abs=2e-3)
    np.testing.assert_allclose(plan.numpy(), best, atol=1e-3)


def test_both_gradients_are_right_and_the_same():
    scores, a, b = draw(3, 4).requires_grad_(), masses(3, seed=1).requires_grad_(), masses(4, seed=2).requires_grad_()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def plan(scores, a, b, temperature, backward="implicit"):
        b = b / b.sum() * a.sum()  # moved apart, the masses would have no plan
        return sinkhorn(scores, a, b, temperature=temperature, tolerance=1e-13, iterations=400, backward=backward)

    assert gradcheck(plan, (scores, a, b, temperature))
    assert gradgradcheck(lambda s: plan(s, a.detach(), b.detach(), 0.5), (scores,), atol=1e-4)
    gradients = [
        torch.autograd.grad((plan(scores, a, b, temperature, way) * draw(3, 4, seed=4)).sum(), [scores, a, b])
        for way in ("implicit", "unrolled")
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)


def test_the_implicit_gradient_survives_cold_plans():
    for temperature in (0.05, 0.005):
        scores = draw(6, 6).requires_grad_()
        plan = assignment(scores, temperature=temperature, tolerance=1e-9, iterations=50_000)
        gradient = torch.autograd.grad((plan * draw(6, 6, seed=1)).sum(), scores)[0]
        assert torch.isfinite(gradient).all()
        # moving a whole row or column moves nothing
        torch.testing.assert_close(gradient.sum(0), torch.zeros(6, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 1), (1, 4)])
def test_assignments_tend_to_the_hungarian_method(shape):
    scores = draw(*shape)
    rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    best = torch.zeros(shape, dtype=torch.float64)
    best[rows, columns] = 1
    assert torch.equal(assignment(scores, hard=True), best)
    soft = assignment(scores, temperature=0.01, iterations=20_000)
    torch.testing.assert_close(soft, best, atol=1e-3, rtol=0)
    warm = assignment(scores, temperature=1.0)
    short = warm.sum(0 if shape[0] > shape[1] else 1)
    torch.testing.assert_close(short, torch.ones_like(short), atol=1e-5, rtol=0)
    torch.testing.assert_close(warm.sum(), torch.tensor(float(min(shape)), dtype=torch.float64), atol=1e-5, rtol=0)
    assert (warm.sum(0) <= 1 + 1e-5).all()
    assert (warm.sum(1) <= 1 + 1e-5).all()


def test_a_warm_assignment_of_three_maximises_score_and_entropy():
    scores = draw(3, 3)
    plan = assignment(scores, temperature=0.7, tolerance=1e-12)
    value = (plan * scores).sum() - 0.7 * (plan * plan.log()).sum()
    for first, second in itertools.combinations(itertools.permutations(range(3)), 2):
        step = 1e-3 * (torch.eye(3, dtype=torch.float64)[list(first)] - torch.eye(3, dtype=torch.float64)[list(second)])
        for moved in (plan + step, plan - step):
            if (moved > 0).all():
                assert (moved * scores).sum() - 0.7 * (moved * moved.log()).sum() < value


def test_hard_assignments_have_the_soft_gradient():
    scores = draw(2, 3, 4).requires_grad_()
    gradients = [
        torch.autograd.grad((assignment(scores, temperature=0.5, hard=hard) * draw(2, 3, 4, seed=2)).sum(), scores)[0]
        for hard in (False, True)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0.01


@pytest.mark.parametrize("hard", [False, True])
def test_masked_pairs_are_as_if_they_were_not_there(hard):
    scores = draw(2, 4, 5)
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[0, :3, :4] = True
    mask[1] = True
    scores[0, 3] = scores[0, :, 4] = 1e8
    found = assignment(scores, mask=mask, hard=hard, temperature=0.5)
    torch.testing.assert_close(found[0, :3, :4], assignment(scores[0, :3, :4], hard=hard, temperature=0.5))
    torch.testing.assert_close(found[1], assignment(scores[1], hard=hard, temperature=0.5))
    assert found[0, 3].abs().sum() + found[0, :, 4].abs().sum() == 0
    leaf = scores.clone().requires_grad_()
    answer = assignment(leaf, mask=mask, hard=hard, temperature=0.5) * draw(2, 4, 5, seed=3)
    gradient = torch.autograd.grad(answer.sum(), leaf)[0]
    assert gradient[~mask].abs().sum() == 0
    assert torch.isfinite(gradient).all()


def test_not_a_number_stays_in_its_member_and_types_stay():
    scores = draw(2, 3, 3).float()
    scores[0, 1, 1] = torch.nan
    for hard in (False, True):
        answer = assignment(scores, hard=hard)
        assert answer[0].isnan().any()
        torch.testing.assert_close(answer[1], assignment(scores[1], hard=hard))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert sinkhorn(scores[1].to(dtype)).dtype == dtype
        assert assignment(scores[1].to(dtype)).dtype == dtype
    assert assignment(torch.zeros(2, 0, 3)).shape == (2, 0, 3)
    assert assignment(torch.zeros(0, 3, 3), hard=True).shape == (0, 3, 3)


def test_too_few_iterations_are_said():
    with pytest.warns(SoftwoodWarning, match="iterations"):
        sinkhorn(draw(40, 40), temperature=0.01, iterations=10, tolerance=0.0)
    with pytest.raises(InputError, match="backward"):
        sinkhorn(draw(2, 2), backward="explicit")


def test_the_operators_pass_opcheck_and_vmap():
    from softwood.ops._sinkhorn_kernel import sinkhorn_potentials, transport_solve

    scores, log_a, log_b = draw(2, 3, 4).requires_grad_(), masses(2, 3).log(), masses(2, 4).log()
    torch.library.opcheck(sinkhorn_potentials, (scores, log_a, log_b, 100, 1e-9))
    plan = sinkhorn(scores.detach()).requires_grad_()
    torch.library.opcheck(transport_solve, (plan, draw(2, 3), draw(2, 4)))
    alone = torch.stack([sinkhorn(s, tolerance=1e-12) for s in scores])
    torch.testing.assert_close(torch.func.vmap(lambda s: sinkhorn(s, tolerance=1e-12))(scores), alone)


def test_the_memory_of_the_implicit_gradient_does_not_grow_with_iterations():
    scores = draw(20, 30).requires_grad_()
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    for tolerance in (1.0, 1e-12):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            sinkhorn(scores, temperature=0.3, tolerance=tolerance)
    half = len(saved) // 2
    assert sum(saved[:half]) == sum(saved[half:]) < 6 * scores.numel()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_transport_on_the_line_is_the_linear_programme(power):
    x, y, a, b = draw(2, 5), draw(2, 4, seed=1), masses(2, 5, seed=2), masses(2, 4, seed=3)
    plan = transport_1d(x, y, a, b, power=power)
    for i in range(2):
        cost = (x[i, :, None] - y[i]).abs() ** power
        _, value = exact_plan(cost.numpy(), a[i].numpy(), b[i].numpy())
        assert plan.cost[i].item() == pytest.approx(value, abs=1e-9)
        dense = torch.zeros(5, 4, dtype=torch.float64).index_put(
            (plan.source[i], plan.target[i]), plan.mass[i], accumulate=True
        )
        torch.testing.assert_close(dense.sum(1), a[i])
        torch.testing.assert_close(dense.sum(0), b[i])
    assert wasserstein_distance(x[0], y[0]) == pytest.approx(transport_1d(x[0], y[0], power=1.0).cost.item())


def test_the_gradient_of_transport_on_the_line():
    inputs = [draw(5), draw(4, seed=1), masses(5, seed=2), masses(4, seed=3)]
    assert gradcheck(lambda *i: transport_1d(*i).cost, [i.requires_grad_() for i in inputs])
    with pytest.raises(InputError, match="masses"):
        transport_1d(draw(3), draw(3), masses(2))
    with pytest.raises(InputError, match="power"):
        transport_1d(draw(3), draw(3), power=0.5)


def test_low_rank_plans_have_the_masses_and_approach_the_best_cost():
    x, y = draw(40, 2), draw(50, 2, seed=1) + 3
    a, b = masses(40, seed=2), masses(50, seed=3)
    _, best = exact_plan(torch.cdist(x, y).square().numpy(), a.numpy(), b.numpy())
    costs = []
    for rank in (1, 8, 30):
        plan = low_rank_transport(x, y, rank, a, b, temperature=0.3, generator=torch.Generator().manual_seed(0))
        dense = plan.dense()
        torch.testing.assert_close(dense.sum(0), b, atol=1e-4, rtol=0)
        torch.testing.assert_close(dense.sum(1), a, atol=1e-4, rtol=0)
        torch.testing.assert_close(plan.apply(y), dense @ y)
        costs.append(plan.cost(x, y).item())
        assert costs[-1] == pytest.approx((dense * torch.cdist(x, y).square()).sum().item())
    assert costs[0] > costs[1] > costs[2] > best
    assert costs[2] < 1.15 * best
    leaf = x.clone().requires_grad_()
    plan = low_rank_transport(leaf, y, 3, generator=torch.Generator().manual_seed(0), temperature=1.0)
    assert torch.autograd.grad(plan.cost(leaf, y), leaf)[0].abs().sum() > 0
