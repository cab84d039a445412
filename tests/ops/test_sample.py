"""Relaxed samples: distribution of the hard ones, limit, gradient at fixed noise, masks, seeds."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import RelaxedOneHotCategorical

from softwood.core import InputError
from softwood.ops import (
    concrete_log_prob,
    gumbel_softmax,
    hard_concrete,
    hard_concrete_probability,
    sample_bernoulli,
    sample_graph,
    sample_tree,
)

MANY = 20_000


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_frequencies(frequency, probability, count):
    error = (probability * (1 - probability) / count).sqrt().clamp_min(1 / count)
    assert ((frequency - probability).abs() < 4.5 * error).all()


def test_hard_categorical_samples_follow_the_softmax_at_any_temperature():
    logits = draw(5)
    for temperature in (0.1, 5.0):
        y = gumbel_softmax(logits.expand(MANY, 5), temperature=temperature, hard=True, generator=seeded())
        assert ((y == 0) | (y == 1)).all()
        assert_frequencies(y.mean(0), logits.softmax(0), MANY)


def test_a_sample_is_the_softmax_of_noisy_logits():
    logits, noise = draw(4, 5), draw(4, 5, seed=1)
    y = gumbel_softmax(logits, temperature=0.3, noise=noise)
    torch.testing.assert_close(y, ((logits + noise) / 0.3).softmax(-1))
    cold = gumbel_softmax(logits, temperature=1e-6, noise=noise)
    torch.testing.assert_close(cold, gumbel_softmax(logits, noise=noise, hard=True))
    across = gumbel_softmax(logits, 0, temperature=0.3, noise=noise)
    torch.testing.assert_close(across, ((logits + noise) / 0.3).softmax(0))


@pytest.mark.parametrize("sample", [gumbel_softmax, sample_bernoulli, hard_concrete])
def test_gradients_at_fixed_noise_and_the_hard_ones_are_theirs(sample):
    logits, noise = draw(3, 4).requires_grad_(), 0.3 * draw(3, 4, seed=1)
    temperature = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, t: sample(x, temperature=t, noise=noise), (logits, temperature))
    gradients = [
        torch.autograd.grad((sample(logits, noise=noise, hard=hard) * draw(3, 4, seed=2)).sum(), logits)[0]
        for hard in (False, True)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("sample", [gumbel_softmax, sample_bernoulli, hard_concrete])
def test_masks_types_seeds_and_bad_numbers(sample):
    logits = draw(3, 4).float()
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    logits[1, 1] = torch.nan  # absent
    leaf = logits.clone().requires_grad_()
    for hard in (False, True):
        y = sample(leaf, mask=mask, hard=hard, generator=seeded())
        assert (y[~mask] == 0).all()
        assert torch.isfinite(y).all()
        gradient = torch.autograd.grad((y * y.detach()).sum(), leaf)[0]
        assert gradient[~mask].nan_to_num(9).abs().sum() in (0, 9)
    assert torch.equal(sample(logits[0], generator=seeded(3)), sample(logits[0], generator=seeded(3)))
    assert not torch.equal(sample(logits[0], generator=seeded(3)), sample(logits[0], generator=seeded(4)))
    assert sample(logits)[1].isnan().any()
    for dtype in (torch.float16, torch.bfloat16):
        low = sample(logits[0].to(dtype), noise=torch.zeros(4))
        assert low.dtype == dtype
        torch.testing.assert_close(low.float(), sample(logits[0], noise=torch.zeros(4)), atol=0.02, rtol=0.02)
    assert sample(torch.zeros(0, 4)).shape == (0, 4)
    assert sample(torch.zeros(2, 0)).shape == (2, 0)
    with pytest.raises(InputError, match="noise"):
        sample(logits[0], noise=torch.zeros(5))


def test_noise_is_never_infinite():
    y = gumbel_softmax(torch.zeros(2_000_000, dtype=torch.float16), generator=seeded())
    assert torch.isfinite(y).all()


def test_the_density_of_a_relaxed_sample_is_that_of_torch():
    logits = draw(6, 4)
    for temperature in (0.4, 2.0):
        theirs = RelaxedOneHotCategorical(torch.tensor(temperature, dtype=torch.float64), logits=logits)
        y = gumbel_softmax(logits, temperature=temperature, generator=seeded())
        torch.testing.assert_close(concrete_log_prob(y, logits, temperature=temperature), theirs.log_prob(y))
    y = y.T
    torch.testing.assert_close(concrete_log_prob(y, logits.T, 0, temperature=2.0), theirs.log_prob(y.T))
    assert gradcheck(lambda x, z: concrete_log_prob(z, x), (logits.requires_grad_(), theirs.sample().requires_grad_()))


def test_bernoulli_samples_and_gates_have_their_probabilities():
    logits = torch.tensor([-2.0, 0.0, 1.0]).double()
    y = sample_bernoulli(logits.expand(MANY, 3), hard=True, generator=seeded())
    assert_frequencies(y.mean(0), logits.sigmoid(), MANY)
    gates = hard_concrete(logits.expand(MANY, 3), generator=seeded())
    assert_frequencies((gates != 0).double().mean(0), hard_concrete_probability(logits), MANY)
    assert (gates == 1).any()
    hot = torch.tensor([0.3, -0.2]).double()
    cold = hard_concrete(hot, temperature=1e-6, noise=torch.zeros(2))
    assert cold.tolist() == [1, 0] == hard_concrete(hot, noise=torch.zeros(2), hard=True).tolist()


@pytest.mark.parametrize("kind", ["arborescence", "projective", "spanning"])
def test_sampled_trees_are_trees_and_differentiable(kind):
    scores, noise = draw(50, 5, 5), draw(50, 5, 5, seed=1)
    hard = sample_tree(scores, kind=kind, noise=noise, hard=True)
    if kind == "spanning":
        assert (hard.sum((-1, -2)) == 8).all()
        assert torch.equal(hard, hard.mT)
        reach = (torch.eye(5) + hard).matrix_power(5)
        assert (reach > 0).all()
    else:
        assert torch.equal(hard.sum(-2), torch.ones(50, 5, dtype=torch.float64))
        assert torch.equal(hard.diagonal(dim1=-2, dim2=-1).sum(-1), torch.ones(50, dtype=torch.float64))
        climb = (hard - torch.diag_embed(hard.diagonal(dim1=-2, dim2=-1))).matrix_power(5)
        assert (climb == 0).all()  # no cycle
    cold = sample_tree(scores, kind=kind, noise=noise, temperature=1e-5)
    torch.testing.assert_close(cold, hard)
    small = scores[0, :4, :4].clone().requires_grad_()
    assert gradcheck(lambda s: sample_tree(s, kind=kind, noise=noise[0, :4, :4]), small)
    with pytest.raises(InputError, match="kind"):
        sample_tree(scores, kind="binary")


def test_sampled_graphs_have_their_edges_and_no_cycles_where_ordered():
    logits = draw(4, 4)
    many = sample_graph(logits.expand(MANY, 4, 4), directed=True, hard=True, generator=seeded())
    off = ~torch.eye(4, dtype=torch.bool)
    assert_frequencies(many.mean(0)[off], logits.sigmoid()[off], MANY)
    assert (many.diagonal(dim1=-2, dim2=-1) == 0).all()
    both = sample_graph(logits.expand(100, 4, 4), hard=True, generator=seeded())
    assert torch.equal(both, both.mT)
    upper = torch.triu(torch.ones(4, 4), 1).bool()
    assert_frequencies(
        sample_graph(logits.expand(MANY, 4, 4), hard=True, generator=seeded()).mean(0)[upper],
        logits.sigmoid()[upper],
        MANY,
    )
    dag = sample_graph(logits.expand(100, 4, 4) + 1, order=draw(100, 4, seed=2), hard=True, generator=seeded())
    assert dag.sum() > 50
    assert (dag.matrix_power(4) == 0).all()
    noise = draw(4, 4, seed=5)
    arguments = logits.clone().requires_grad_(), draw(4, seed=3).requires_grad_()
    assert gradcheck(lambda x, o: sample_graph(x, order=o, noise=noise), arguments)
    cold = sample_graph(logits, order=draw(4, seed=3), noise=noise, temperature=1e-6)
    torch.testing.assert_close(cold, sample_graph(logits, order=draw(4, seed=3), noise=noise, hard=True))
    masked = sample_graph(logits, mask=torch.tensor([True, True, False, True]), generator=seeded())
    assert masked[2].abs().sum() + masked[:, 2].abs().sum() == 0
    assert math.isclose(masked.sum().item(), masked.triu().sum().item() * 2)
