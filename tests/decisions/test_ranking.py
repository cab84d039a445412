"""The ranking learner: lists in any order and of any length, exact NDCG, losses that swap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import ndcg_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from softwood.core import InputError
from softwood.decisions import RankingLearner


def lists(n=60, seed=0):
    """Return lists of 3 to 12 items, whose relevance is that of the first column within the list."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 13, n)
    groups = np.repeat(np.arange(n), lengths)
    x = rng.normal(size=(len(groups), 4)) + 3 * rng.normal(size=(n, 1))[groups]
    within = x[:, 0] - np.array([x[groups == g, 1].mean() for g in groups])
    return x, np.digitize(within, [-1.5, 0.0, 1.5]), groups


@parametrize_with_checks([RankingLearner(max_iter=10)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("loss", ["ndcg", "neural_ndcg"])
def test_it_learns_an_order_within_lists(loss):
    x, y, groups = lists()
    model = RankingLearner(loss, max_iter=150).fit(x, y, groups=groups)
    x, y, groups = lists(seed=1)
    assert model.score(x, y, groups=groups) > 0.9
    assert RankingLearner(max_iter=0).fit(x, y, groups=groups).score(x, y, groups=groups) < 0.9


def test_the_order_of_rows_and_the_names_of_lists_do_not_matter():
    x, y, groups = lists()
    shuffled = np.random.default_rng(0).permutation(len(x))
    model = RankingLearner(max_iter=20, batch_size=1000)
    straight = model.fit(x, y, groups=groups).predict(x)
    names = np.array([f"list {g:03d}" for g in groups])
    mixed = model.fit(x[shuffled], y[shuffled], groups=names[shuffled]).predict(x)
    np.testing.assert_allclose(straight, mixed, atol=1e-8)
    assert model.score(x, y, groups=groups) == pytest.approx(model.score(x[shuffled], y[shuffled], names[shuffled]))


def test_ranks_and_the_score_are_those_of_each_list():
    x, y, groups = lists()
    model = RankingLearner(k=4, max_iter=5).fit(x, y, groups=groups)
    scores, ranks, found = model.predict(x), model.rank(x, groups=groups), []
    for g in np.unique(groups):
        one = groups == g
        assert ranks[one][np.argsort(-scores[one])].tolist() == list(range(1, one.sum() + 1))
        if y[one].any():
            found.append(ndcg_score([2.0 ** y[one] - 1], [scores[one]], k=4))
    assert model.score(x, y, groups=groups) == pytest.approx(np.mean(found))


def test_a_loss_of_ones_own_gets_padded_lists_and_their_mask():
    x, y, groups = lists()
    seen = []

    def loss(scores, target, mask):
        seen.append((scores.shape, target[~mask].abs().sum().item(), int(mask.sum())))
        return (scores - target)[mask].square().mean()

    RankingLearner(loss, max_iter=1, batch_size=1000).fit(x, y, groups=groups)
    ((shape, beyond, items),) = seen
    assert shape == (60, np.bincount(groups).max())
    assert (beyond, items) == (0, len(x))


def test_padding_is_no_item():
    """A list beside a longer one is learned as it is alone."""
    x, y, groups = lists(2)
    model = RankingLearner("neural_ndcg", max_iter=1, batch_size=1)
    model.fit(x, y, groups=groups)
    kept = []

    def spy(scores, target, mask):
        kept.append((target.shape[1], mask.all().item()))
        return (scores * target).mean()

    RankingLearner(spy, max_iter=4, batch_size=1).fit(x, y, groups=groups)
    assert {n for n, _ in kept} == set(np.bincount(groups).tolist())
    assert all(full for _, full in kept)


def test_options_reach_the_loss_and_the_seed_decides():
    x, y, groups = lists()
    make = lambda **how: RankingLearner(max_iter=5, **how).fit(x, y, groups=groups).predict(x)  # noqa: E731
    np.testing.assert_array_equal(make(), clone(RankingLearner(max_iter=5)).fit(x, y, groups=groups).predict(x))
    assert np.abs(make() - make(k=1)).max() > 0
    assert np.abs(make() - make(temperature=3.0)).max() > 0
    assert np.abs(make() - make(loss="mrr")).max() > 0
    assert torch.isfinite(torch.as_tensor(make(loss="neural_ndcg"))).all()


def test_what_cannot_be_is_refused():
    x, y, groups = lists()
    with pytest.raises(InputError, match="loss is unknown"):
        RankingLearner("listnet").fit(x, y, groups=groups)
    with pytest.raises(InputError, match="relevance is below 0"):
        RankingLearner().fit(x, y - 5, groups=groups)
    with pytest.raises(ValueError, match="inconsistent"):
        RankingLearner().fit(x, y, groups=groups[1:])
