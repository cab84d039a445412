"""Samples of subsets and orders against enumerated probabilities."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from softwood.core import InputError
from softwood.ops import gumbel_sinkhorn, plackett_luce_log_prob, sample_permutation, sample_subset

MANY = 20_000


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_frequencies(frequency, probability, count):
    error = (probability * (1 - probability) / count).sqrt().clamp_min(1 / count)
    assert ((frequency - probability).abs() < 4.5 * error).all()


def test_plackett_luce_is_drawing_without_replacement():
    scores = draw(4)
    weights = scores.exp()
    total = 0.0
    for order in itertools.permutations(range(4), 3):
        left, by_hand = weights.sum(), 1.0
        for item in order:
            by_hand, left = by_hand * weights[item] / left, left - weights[item]
        found = plackett_luce_log_prob(scores, torch.tensor(order)).exp()
        torch.testing.assert_close(found, by_hand)
        total += found
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))
    many, orders = draw(5, 2, seed=1), torch.tensor([[0, 2], [1, 3], [2, 0]])
    across = plackett_luce_log_prob(many, orders, 0)
    torch.testing.assert_close(across[1], plackett_luce_log_prob(many[:, 1], orders[:, 1]))
    present = torch.tensor([True, False, True])
    masked = plackett_luce_log_prob(torch.tensor([0.0, 9.0, 0.0]), torch.tensor([0]), mask=present)
    torch.testing.assert_close(masked.exp(), torch.tensor(0.5))
    assert gradcheck(lambda s: plackett_luce_log_prob(s, torch.tensor([2, 0])), scores.requires_grad_())


def test_hard_orders_follow_plackett_luce():
    scores = draw(3)
    orders = sample_permutation(scores.expand(MANY, 3), generator=seeded()).hard()
    for order in itertools.permutations(range(3)):
        wanted = torch.tensor(order)
        frequency = (orders == wanted).all(-1).double().mean()
        assert_frequencies(frequency, plackett_luce_log_prob(scores, wanted).exp(), MANY)


def test_hard_subsets_have_the_first_k_of_such_an_order():
    logits = draw(5)
    picked = sample_subset(logits.expand(MANY, 5), 2, hard=True, generator=seeded())
    assert (picked.sum(-1) == 2).all()
    for pair in itertools.combinations(range(5), 2):
        p = sum(plackett_luce_log_prob(logits, torch.tensor(o)).exp() for o in itertools.permutations(pair))
        assert_frequencies(picked[:, pair].prod(-1).mean(), p, MANY)


def test_soft_samples_tend_to_the_hard_ones_at_the_same_noise():
    scores, noise = draw(6, 5), draw(6, 5, seed=1)
    hard = sample_subset(scores, 2, noise=noise, hard=True)
    torch.testing.assert_close(sample_subset(scores, 2, noise=noise, temperature=1e-5), hard)
    torch.testing.assert_close(sample_subset(scores, 2, noise=noise).sum(-1), torch.full((6,), 2.0).double())
    order = sample_permutation(scores, noise=noise, temperature=1e-5)
    assert torch.equal(order.hard(), (scores + noise).argsort(-1, descending=True))
    torch.testing.assert_close(order.apply(scores + noise), (scores + noise).sort(-1, descending=True).values)
    square, noise = draw(3, 4, 4), draw(3, 4, 4, seed=1)
    hard = gumbel_sinkhorn(square, noise=noise, hard=True)
    assert (hard.sum(-1) == 1).all()
    torch.testing.assert_close(gumbel_sinkhorn(square, noise=noise, temperature=1e-3), hard, atol=1e-4, rtol=0)


def test_gradients_at_fixed_noise():
    scores, noise = draw(2, 4).requires_grad_(), draw(2, 4, seed=1)
    assert gradcheck(lambda s: sample_subset(s, 2, noise=noise, temperature=0.7), scores)
    assert gradcheck(lambda s: sample_permutation(s, noise=noise, temperature=0.7).apply(noise), scores)
    square, noise = draw(3, 3).requires_grad_(), draw(3, 3, seed=1)
    assert gradcheck(lambda s: gumbel_sinkhorn(s, noise=noise, tolerance=1e-12), square)


@pytest.mark.parametrize("hard", [False, True])
def test_masks_types_and_axes(hard):
    logits, noise = draw(4, 6).float(), draw(4, 6, seed=1).float()
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0, 3:] = False
    found = sample_subset(logits, 2, noise=noise, mask=mask, hard=hard)
    assert found[0, 3:].sum() == 0
    torch.testing.assert_close(found[0, :3], sample_subset(logits[0, :3], 2, noise=noise[0, :3], hard=hard))
    across = sample_subset(logits.T, 2, 0, noise=noise.T, mask=mask.T, hard=hard)
    torch.testing.assert_close(across.T, found)
    assert sample_subset(logits.half(), 2, hard=hard).dtype == torch.float16
    assert gumbel_sinkhorn(logits[:, :4].bfloat16(), hard=hard).dtype == torch.bfloat16
    with pytest.raises(InputError, match="noise"):
        sample_subset(logits, 2, noise=torch.zeros(7))
