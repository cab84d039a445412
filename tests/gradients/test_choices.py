"""Choice estimators: unbiased ones against enumeration, biased ones in order, and all of them in scale."""

from __future__ import annotations

import pytest
import torch

from softwood.core import InputError
from softwood.gradients import (
    REBAR,
    RELAX,
    ChoiceEstimator,
    ControlVariate,
    DisARM,
    Enumeration,
    GumbelSoftmax,
    MovingBaseline,
    ReinMax,
    Relaxation,
    ScoreFunction,
    StraightThrough,
    UnorderedSet,
)

UNBIASED = [
    pytest.param(ScoreFunction("none"), 1, id="plain"),
    pytest.param(ScoreFunction(MovingBaseline(0.9)), 1, id="moving"),
    pytest.param(ScoreFunction(), 4, id="leave-one-out"),
    pytest.param(REBAR(), 1, id="rebar"),
    pytest.param(REBAR(0.2, 0.5), 2, id="rebar-cold"),
    pytest.param(RELAX(ControlVariate(strength=0.7)), 1, id="relax"),
    pytest.param(UnorderedSet(batch_ndim=1), 2, id="set-2"),
    pytest.param(UnorderedSet(batch_ndim=1), 4, id="set-4"),
]
PATHWISE = [
    StraightThrough("softmax"),
    StraightThrough("identity"),
    StraightThrough("clipped"),
    StraightThrough("gapped"),
    ReinMax(),
    GumbelSoftmax(0.5),
    GumbelSoftmax(0.5, hard=True),
    GumbelSoftmax(0.5, hard=True, rao=4),
    GumbelSoftmax(0.5, backward_temperature=1.0),
    Relaxation(0.5),
]
ALL = [*(param.values[0] for param in UNBIASED), *PATHWISE, Enumeration(batch_ndim=1)]


def weighted(z):
    return z[..., 0, 0] * 3 + z[..., 1, 1]


@pytest.mark.parametrize(("estimator", "n_samples"), UNBIASED)
def test_unbiased_estimators_agree_with_enumeration(estimator, n_samples, problem, estimated):
    logits, loss_fn, truth = problem
    found = estimated(estimator, loss_fn, logits, n_samples, repeats=6000)
    assert estimator.unbiased
    assert found.excess(truth) < 3
    # the test sees a factor: 20 % off would not have passed
    assert found.excess(1.2 * truth) > 3 or found.variance > 20


def test_enumeration_is_exact_and_takes_a_batch(problem):
    logits, loss_fn, truth = problem
    leaf = logits.clone().requires_grad_()
    single = torch.autograd.grad(Enumeration().estimate(loss_fn, leaf), leaf)[0]
    torch.testing.assert_close(single, truth)
    batch = torch.stack([logits, logits.flip(0)]).requires_grad_()
    first = torch.autograd.grad(Enumeration(batch_ndim=1).estimate(loss_fn, batch).sum(), batch)[0][0]
    torch.testing.assert_close(first, truth)
    with pytest.raises(InputError, match="too many outcomes"):
        Enumeration(limit=100).estimate(loss_fn, leaf)


def test_the_bias_of_gumbel_softmax_falls_and_its_variance_rises_as_it_cools(problem, estimated):
    logits, loss_fn, truth = problem
    found = [estimated(GumbelSoftmax(tau), loss_fn, logits, repeats=100_000) for tau in (1.0, 0.5, 0.1)]
    bias = [part.bias(truth) for part in found]
    assert bias[0] > bias[1] > bias[2]
    assert found[0].variance < found[1].variance < found[2].variance
    assert all(part.excess(truth) > 3 for part in found)  # each of the three is biased beyond noise


def test_variance_falls_as_each_paper_says(problem, estimated):
    logits, loss_fn, _ = problem

    def variance(estimator, n_samples=1):
        return estimated(estimator, loss_fn, logits, n_samples).variance

    plain = variance(ScoreFunction("none"), 4)
    assert variance(ScoreFunction(), 4) < 0.8 * plain
    assert variance(UnorderedSet(batch_ndim=1), 4) < variance(ScoreFunction(), 4)
    assert variance(REBAR()) < 0.7 * variance(ScoreFunction("none"))
    hard = variance(GumbelSoftmax(0.5, hard=True))
    assert variance(GumbelSoftmax(0.5, hard=True, rao=10)) < 0.75 * hard


def test_rao_blackwell_keeps_the_bias(problem, estimated):
    logits, loss_fn, _ = problem
    plain = estimated(GumbelSoftmax(0.5, hard=True), loss_fn, logits, repeats=20_000)
    rao = estimated(GumbelSoftmax(0.5, hard=True, rao=5), loss_fn, logits, repeats=20_000, seed=1)
    difference = (plain.mean - rao.mean).square().sum()
    noise = plain.covariance + rao.covariance
    assert difference < noise.trace() + 3 * (2 * noise.square().sum()).sqrt()


# ---------------------------------------------------------------- scale


@pytest.mark.parametrize(
    ("estimator", "n_samples"), [*UNBIASED, (StraightThrough("softmax"), 1), (ReinMax(), 1)], ids=str
)
def test_the_scale_is_right_where_the_loss_is_the_choice_itself(estimator, n_samples, estimated):
    logits = torch.tensor([[0.3, -0.5], [1.0, 0.0]], dtype=torch.float64)
    slope = torch.softmax(logits, -1).prod(-1)
    truth = torch.stack([3 * slope[0] * torch.tensor([1, -1]), slope[1] * torch.tensor([-1, 1])])
    repeats = 4000 if isinstance(estimator, UnorderedSet) else 20_000
    found = estimated(estimator, weighted, logits, n_samples, repeats)
    assert found.excess(truth) < 3
    assert found.excess(1.1 * truth) > 3
    assert found.excess(0.9 * truth) > 3


def test_the_identity_slope_hands_the_gradient_on_and_the_clipped_one_stops_it_outside():
    logits = torch.tensor([[0.5, -3.0]], requires_grad=True)
    upstream = torch.tensor([[2.0, 5.0]])
    for slope, expected in (("identity", [[2.0, 5.0]]), ("clipped", [[2.0, 0.0]])):
        (found,) = torch.autograd.grad(StraightThrough(slope).sample(logits), logits, upstream)
        assert found.tolist() == expected


def test_the_gapped_slope_puts_the_drawn_class_first_by_the_gap():
    logits = torch.tensor([0.0, 1.0, -4.0], dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(3)
    drawn = StraightThrough("gapped").sample(logits, generator=generator)
    k = int(drawn.argmax())
    order = {0: [1.0, 0.0, -4.0], 1: [0.0, 1.0, -4.0], 2: [0.0, 0.0, 1.0]}[k]  # others at most 1 - gap
    q = torch.tensor(order, dtype=torch.float64).softmax(-1)
    expected = torch.diag(q) - torch.outer(q, q)
    rows = [torch.autograd.grad(drawn[i], logits, retain_graph=True)[0] for i in range(3)]
    torch.testing.assert_close(torch.stack(rows), expected)


def test_reinmax_is_exact_for_a_quadratic_loss_of_one_choice():
    """The mean over the samples, weighted by their probabilities, is the true gradient."""
    logits = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss_fn(z):
        return torch.einsum("...i,ij,...j->...", z, matrix, z)

    leaf = logits.clone().requires_grad_()
    truth = torch.autograd.grad(Enumeration().estimate(loss_fn, leaf), leaf)[0]
    for estimator, exact in ((ReinMax(), True), (StraightThrough("softmax"), False)):
        mean, seen = torch.zeros(5, dtype=torch.float64), set()
        generator = torch.Generator().manual_seed(0)
        while len(seen) < 5:
            z = estimator.sample(leaf, generator=generator)
            k = int(z.argmax())
            if k not in seen:
                seen.add(k)
                mean += logits.softmax(-1)[k] * torch.autograd.grad(loss_fn(z), leaf)[0]
        assert torch.allclose(mean, truth) is exact


# ---------------------------------------------------------------- binary, sets, control variates


@pytest.mark.parametrize(("group", "n_samples"), [(2, 2), (2, 4), (4, 4), (5, 10)])
def test_antithetic_binary_estimators_are_unbiased_and_beat_leave_one_out(group, n_samples, estimated):
    # probabilities on both sides of a half, as the rarer class is the one that is drawn
    logits = torch.tensor([[0.0, 0.4], [1.5, 0.0], [0.0, 2.0], [0.1, 0.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)

    def loss_fn(z):
        return (z[..., 1] @ weight - 1).square()

    leaf = logits.clone().requires_grad_()
    truth = torch.autograd.grad(Enumeration().estimate(loss_fn, leaf), leaf)[0]
    found = estimated(DisARM(group), loss_fn, logits, n_samples, repeats=20_000)
    assert found.excess(truth) < 3
    assert found.excess(1.05 * truth) > 3
    assert found.variance < estimated(ScoreFunction(), loss_fn, logits, n_samples, repeats=20_000).variance


def test_disarm_says_what_it_takes():
    with pytest.raises(InputError, match="2 classes"):
        DisARM().estimate(lambda z: z[..., 0], torch.zeros(3), n_samples=2)
    with pytest.raises(InputError, match="multiple of 4"):
        DisARM(4).estimate(lambda z: z[..., 0], torch.zeros(2), n_samples=6)


def test_a_set_of_all_outcomes_is_enumeration_and_impossible_ones_weigh_nothing(problem):
    logits, loss_fn, _ = problem
    two = logits[:, :2].clone().requires_grad_()
    fill = torch.zeros(3, 4, dtype=torch.float64)

    def padded(z):
        return loss_fn(torch.cat([z, fill.expand(*z.shape[:-1], 4)], -1))

    truth = torch.autograd.grad(Enumeration().estimate(padded, two), two)[0]
    everything = UnorderedSet().estimate(padded, two, n_samples=8)
    torch.testing.assert_close(torch.autograd.grad(everything, two)[0], truth)
    torch.testing.assert_close(everything, Enumeration().estimate(padded, two))
    barred = torch.tensor([0.0, 1.0, float("-inf")], dtype=torch.float64, requires_grad=True)
    found = UnorderedSet().estimate(lambda z: z @ torch.tensor([1.0, 5.0, 1e6]).double(), barred, n_samples=3)
    torch.testing.assert_close(found.item(), (1 + 5 * 2.718281828459045) / 3.718281828459045)


def test_a_set_never_holds_an_outcome_twice():
    seen = []
    UnorderedSet().estimate(lambda z: seen.append(z) or z[..., 0, 0], torch.zeros(2, 3), n_samples=9)
    assert len({tuple(z.flatten().tolist()) for z in seen[0]}) == 9


def test_relax_learns_a_strength_that_lowers_the_variance(problem, estimated):
    logits, loss_fn, _ = problem
    control = ControlVariate(strength=-1.0)  # starts worse than none
    estimator = RELAX(control)
    before = estimated(estimator, loss_fn, logits).variance
    optimizer = torch.optim.Adam(control.parameters(), lr=0.05)
    for seed in range(60):
        optimizer.zero_grad()
        leaf = logits.clone().requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        estimator.estimate(loss_fn, leaf, n_samples=50, generator=generator).backward()
        optimizer.step()
    assert control.strength > 0
    assert estimated(estimator, loss_fn, logits).variance < 0.5 * before


def test_the_gradient_by_the_control_variate_is_that_of_the_squared_estimate(problem):
    logits, loss_fn, _ = problem
    control = ControlVariate().double()

    def squared(strength):
        with torch.no_grad():
            control.strength.fill_(strength)
        leaf = logits.clone().requires_grad_()
        generator = torch.Generator().manual_seed(5)
        loss = RELAX(control).estimate(loss_fn, leaf, n_samples=3, generator=generator)
        return torch.autograd.grad(loss, [leaf, control.strength])

    (_, slope), step = squared(0.6), 1e-5
    high, low = (squared(0.6 + d)[0].square().sum() for d in (step, -step))
    torch.testing.assert_close(slope, (high - low) / (2 * step), rtol=1e-5, atol=1e-8)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_batch_and_generator(estimator, dtype):
    assert isinstance(estimator, ChoiceEstimator)
    logits = torch.randn(5, 2, 3).to(dtype).requires_grad_()
    if isinstance(getattr(estimator, "control", None), torch.nn.Module):
        estimator.control.to(dtype)

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        loss = estimator.estimate(weighted, logits, n_samples=4, generator=generator)
        return loss, torch.autograd.grad(loss.sum(), logits)[0]

    loss, gradient = run(0)
    assert loss.shape == (5,)
    assert gradient.dtype == dtype
    assert torch.isfinite(gradient).all()
    if not isinstance(getattr(estimator, "baseline", None), MovingBaseline):
        torch.testing.assert_close(run(0)[1], gradient, rtol=0, atol=0)
    with torch.no_grad():
        assert estimator.estimate(weighted, logits, n_samples=4).shape == (5,)


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_a_class_that_cannot_be_drawn_makes_nothing_nan(estimator):
    if isinstance(getattr(estimator, "control", None), torch.nn.Module):
        estimator.control.to(torch.float32)
    logits = torch.tensor([[[0.0, 1.0, float("-inf")], [float("-inf"), 0.0, 80.0]]], requires_grad=True)
    (found,) = torch.autograd.grad(estimator.estimate(weighted, logits, n_samples=4).sum(), logits)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("estimator", [*ALL, DisARM()], ids=str)
def test_a_row_with_nan_gives_nan_and_leaves_the_others_alone(estimator):
    logits = torch.zeros(2, 2, 2)
    logits[0, 1, 0] = float("nan")
    loss = estimator.estimate(lambda z: z.square().sum((-1, -2)), logits.requires_grad_(), n_samples=2)
    assert loss.isnan().tolist() == [True, False]


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_gradients_by_the_rest_of_the_loss_flow_as_usual(estimator):
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([[[9.0, -90.0], [-90.0, 9.0]]], dtype=torch.float64, requires_grad=True)
    if isinstance(getattr(estimator, "control", None), torch.nn.Module):
        estimator.control.to(torch.float64)
    loss = estimator.estimate(lambda z: scale * weighted(z), logits, n_samples=4)
    torch.testing.assert_close(loss, torch.tensor([8.0], dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), scale)[0].item(), 4.0, rtol=1e-3, atol=0)


@pytest.mark.parametrize("estimator", PATHWISE, ids=str)
def test_samples_lie_on_the_simplex_and_hard_ones_follow_the_logits(estimator):
    logits = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).expand(20_000, 3)
    z = estimator.sample(logits, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.sum(-1), torch.ones(20_000, dtype=torch.float64))
    if not isinstance(estimator, Relaxation):
        share = torch.nn.functional.one_hot(z.argmax(-1), 3).double().mean(0)
        torch.testing.assert_close(share, logits[0].softmax(-1), rtol=0, atol=3.5 * 0.5 / 20_000**0.5)


def test_the_score_function_asks_for_values_only_and_the_moving_baseline_is_saved():
    baseline = MovingBaseline(0.5)
    logits = torch.zeros(2, requires_grad=True)
    ScoreFunction(baseline).estimate(lambda z: z.detach()[..., 0] * 0 + 7, logits, n_samples=2).backward()
    assert logits.grad is not None
    other = MovingBaseline(0.5)
    other.load_state_dict(baseline.state_dict())
    assert other.mean().item() == pytest.approx(7.0)
    logits.grad = None
    ScoreFunction(other).estimate(lambda z: z.detach()[..., 0] * 0 + 7, logits, n_samples=2).backward()
    assert logits.grad.abs().max() == 0  # the loss is what was expected


def test_bad_input_is_named():
    with pytest.raises(InputError, match="floating tensor"):
        ScoreFunction().estimate(lambda z: z, torch.tensor([1, 2]))
    with pytest.raises(InputError, match="another shape"):
        ScoreFunction().estimate(lambda z: z, torch.zeros(3, 2))
    with pytest.raises(InputError, match="leave-one-out"):
        ScoreFunction().estimate(lambda z: z[..., 0], torch.zeros(2), n_samples=1)
    with pytest.raises(InputError, match="hard=True"):
        GumbelSoftmax(rao=3)
    with pytest.raises(InputError, match="softmax"):
        StraightThrough("soft")
    with pytest.raises(InputError, match="temperature"):
        GumbelSoftmax(0.0)
    with pytest.raises(InputError, match="2 to 4"):
        UnorderedSet().estimate(lambda z: z[..., 0, 0], torch.zeros(2, 2), n_samples=5)
