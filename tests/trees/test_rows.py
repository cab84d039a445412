import numpy as np
import pytest

from softwood.artifacts import Column
from softwood.core import InputError
from softwood.trees._candidates import Effort, cart_candidates, gradient_candidates, kick_candidates, polished_settings
from softwood.trees._folds import make_groups
from softwood.trees._rows import Group, Rows, sampled, scaled


def test_scaled_values_have_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    values, weight = rng.normal(50, [3.0, 1e-3], (100, 2)), rng.integers(1, 5, 100).astype(float)
    found, mean, deviation = scaled(values, weight)
    np.testing.assert_allclose(np.average(found, axis=0, weights=weight), 0, atol=1e-9)
    np.testing.assert_allclose(np.average(found**2, axis=0, weights=weight), 1)
    np.testing.assert_allclose(found * deviation + mean, values)
    assert scaled(np.full((5, 1), 7.0), np.ones(5))[0].tolist() == [[0.0]] * 5


@pytest.mark.parametrize("size", [1e-290, 1e-170, 1e149])
def test_values_whose_squares_are_no_floats_are_scaled_too(size):
    values = np.array([[-1.0], [0.5], [2.0]])
    found, mean, deviation = scaled(values * size, np.ones(3))
    np.testing.assert_allclose(found, scaled(values, np.ones(3))[0], atol=1e-12)
    np.testing.assert_allclose(found * deviation + mean, values * size, atol=1e-12 * size)


def test_targets_whose_squares_overflow_are_refused():
    with pytest.raises(InputError, match="too large for squared errors: got 2e\\+300"):
        scaled(np.array([[-2e300], [1.0]]), np.ones(2))


def test_the_prior_is_the_mean_target_of_the_groups_rows(make):
    rows = make.rows(classes=3, weighted=True)
    active = np.arange(200) < 120
    counts = rows.weight[active] @ rows.targets[active] + 0.5
    np.testing.assert_allclose(make.group(rows, active).prior, counts / counts.sum())
    values = make.rows(classes=None, weighted=True)
    mean = np.average(values.targets[active], axis=0, weights=values.weight[active])
    np.testing.assert_allclose(make.group(values, active).prior, mean)


# ---------------------------------------------------------------- leakage


def fitted_trees(groups):
    """Return the trees of every search for each group but the first."""
    rows, effort = groups[0].rows, Effort(kicks=2, restarts=2, epochs=3, most_steps=5, survivors=1)
    metric = "accuracy" if rows.is_classification else "squared"
    found = cart_candidates(groups, 3, 1, 1)
    found += kick_candidates(groups, polished_settings("kicks", rows, metric, 1), 3, 1, effort, 0)
    found += gradient_candidates(
        groups, polished_settings("gradient", rows, metric, 1), 3, 1, effort, 0, told=lambda stage: lambda share: None
    )
    return [
        [(candidate.trees[g].feature, candidate.trees[g].cut, candidate.trees[g].missing_left) for candidate in found]
        for g in range(len(groups))
    ]


@pytest.mark.parametrize("classes", [3, None])
def test_no_row_of_a_fold_reaches_the_codec_or_the_trees_that_are_judged_on_it(make, classes):
    rows = make.rows(n=150, classes=classes)
    groups = make_groups(rows, 3, 1, np.random.default_rng(0))
    fold = ~groups[1].active
    x, targets, labels = rows.x.copy(), rows.targets.copy(), rows.labels.copy()
    x[fold, 0], x[fold, 1], x[fold, 2] = 77.0, np.nan, 3
    targets[fold] = np.roll(targets[fold], 1, axis=1) if classes else 9.0
    labels[fold[: len(labels)]] = targets.argmax(1)[fold].astype(np.int32) if classes else 0
    changed = [make.group(Rows(rows.columns, x, labels, targets, rows.weight), group.active) for group in groups]
    for before, after in zip(groups[1].codec.features, changed[1].codec.features, strict=True):
        assert before.to_dict() == after.to_dict()
    np.testing.assert_array_equal(groups[1].prior, changed[1].prior)
    assert [f.to_dict() for f in groups[2].codec.features] != [f.to_dict() for f in changed[2].codec.features]
    before, after = fitted_trees(groups), fitted_trees(changed)
    for tree, same in zip(before[1], after[1], strict=True):
        for part, other in zip(tree, same, strict=True):
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("classes", [True, False])
def test_a_sample_keeps_the_weight_and_takes_active_rows_only(classes):
    rng = np.random.default_rng(0)
    targets = np.eye(2)[np.arange(200) % 2] if classes else rng.normal(size=(200, 2))
    labels = (np.arange(200) % 2).astype(np.int32) if classes else np.zeros(0, np.int32)
    rows = Rows((Column("x", "number"),), rng.normal(size=(200, 1)), labels, targets, rng.uniform(0.5, 2.0, 200))
    data = Group(rows, np.arange(200) < 150).problem("entropy" if classes else "squared", 1.0, 0.0)
    whole = sampled(data, 500, np.random.default_rng(1))
    np.testing.assert_array_equal(whole.codes, data.codes[:, :150])
    np.testing.assert_allclose(whole.weight, data.weight[:150])
    few = sampled(data, 40, np.random.default_rng(1))
    np.testing.assert_allclose(few.weight.sum(), data.weight[:150].sum())
    place = np.array([np.flatnonzero((data.codes[0] == code) & data.active)[0] for code in few.codes[0]])
    assert len(few.weight) == 40 == len(np.unique(place))
    ratio = few.weight / data.weight[place]
    np.testing.assert_allclose(ratio, ratio[0])
    assert few.active.all()
    if classes:
        np.testing.assert_array_equal(few.labels, data.labels[place])
    else:
        np.testing.assert_allclose(few.moments, data.moments[place] * ratio[0])
