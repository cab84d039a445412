"""Fine-tuning of forests: the soft copy, its gradients, rounding, selection, and the soft parent."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from softwood.lifecycle import train
from softwood.trees import ForestClassifier, ForestRegressor, SoftForestModel, read_soft
from softwood.trees._forest import BoostSetting, boost
from softwood.trees._refine import Contender, tuned_contender
from softwood.trees._rows import Group
from softwood.trees._tune import TuneSetting, _TuneLearner, rounded_forests, soft_copies, tune_forests

QUICK = TuneSetting(30.0, steps=40, temperature=0.05)


def groups_of(make, classes, n=300, folds=2):
    rows = make.rows(n=n, classes=classes, weighted=True)
    fold = np.random.default_rng(0).integers(0, folds, n)
    return [Group(rows, np.ones(n, bool)), *(Group(rows, fold != k) for k in range(folds))]


def forests_of(groups, **setting):
    return [boost(group, BoostSetting(6, 0.3, **setting), 60) for group in groups]


def loss_of(forest, group):
    losses = group.rows.loss.parts(forest.raw(group.codes), group.rows)[0]
    return np.average(losses, weights=group.rows.weight * group.active)


@pytest.mark.parametrize(("classes", "per_class"), [(2, False), (3, False), (3, True), (None, False)])
def test_a_cold_copy_answers_as_the_forests_that_it_copies_and_rounds_to_them(make, classes, per_class):
    groups = groups_of(make, classes)
    forests = forests_of(groups, per_class=per_class)
    model = soft_copies(groups, forests, 1e-9)
    learner = _TuneLearner(model, groups, QUICK)
    model.temperature.fill_(1e-9)  # the learner has set the schedule's first one
    u = learner.inputs(np.arange(groups[0].rows.n))
    for copy in (model, model.harden()):
        for scores, forest, group in zip(copy(u).detach().numpy(), forests, groups, strict=True):
            np.testing.assert_allclose(scores.T, forest.raw(group.codes), atol=1e-5)
    for tuned, forest in zip(rounded_forests(model, groups, forests), forests, strict=True):
        for one, other in zip(tuned.forest.trees, forest.trees, strict=True):
            np.testing.assert_array_equal(one.cut[one.feature >= 0], other.cut[other.feature >= 0])
        np.testing.assert_allclose(tuned.forest.values, forest.values, atol=1e-6)


def test_gradients_of_thresholds_leaves_and_base_are_those_of_finite_differences(make):
    groups = groups_of(make, 2, n=40)
    model = soft_copies(groups, forests_of(groups), 0.4)
    learner = _TuneLearner(model, groups, QUICK)
    model.double().temperature.fill_(0.4)
    u = learner.inputs(np.arange(40)).double()
    upstream = torch.randn(3, 1, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = 0
    for parameter in (model.threshold, model.leaf, model.base):
        gradient = torch.autograd.grad((model(u) * upstream).sum(), parameter)[0].flatten()
        for place in range(0, parameter.numel(), 5):
            found = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    parameter.view(-1)[place] += step
                    found.append((model(u) * upstream).sum().item())
                    parameter.view(-1)[place] -= step
            assert gradient[place].item() == pytest.approx((found[0] - found[1]) / 2e-6, abs=1e-5)
            moved += gradient[place].item() != 0
    assert moved > 10


@pytest.mark.parametrize("classes", [2, 3, None])
def test_tuning_lowers_the_training_loss_and_leaves_no_gap(make, classes):
    groups = groups_of(make, classes)
    forests = forests_of(groups)
    tuned = tune_forests(groups, forests, TuneSetting(0.0, steps=150, leaf_rate=0.01), seed=0)
    for one, forest, group in zip(tuned, forests, groups, strict=True):
        assert loss_of(one.forest, group) < 0.99 * loss_of(forest, group)
        assert one.temperature < 0.01
        moved = [(new.cut != old.cut).any() for new, old in zip(one.forest.trees, forest.trees, strict=True)]
        assert any(moved)


def test_what_is_pulled_hard_stays_where_it_was(make):
    groups = groups_of(make, 2)
    forests = forests_of(groups)
    free, held = (
        tune_forests(groups, forests, TuneSetting(pull, steps=60, leaf_rate=0.01), seed=0)[0].forest.values
        for pull in (0.0, 1e5)
    )
    assert np.abs(held - forests[0].values).max() < 0.2 * np.abs(free - forests[0].values).max()


def test_the_rows_of_a_fold_teach_its_forest_nothing(make):
    groups = groups_of(make, 2)
    forests = forests_of(groups)
    labels = groups[0].rows.labels.copy()
    labels[~groups[1].active] ^= 1
    rows = type(groups[0].rows)(
        groups[0].rows.columns, groups[0].rows.x, labels, np.eye(2)[labels], groups[0].rows.weight
    )
    others = [Group(rows, group.active) for group in groups]
    for group, other in zip(groups, others, strict=True):
        vars(other).update(codec=group.codec, codes=group.codes)
    first, second = (tune_forests(g, forests, QUICK, seed=0)[1].forest.values for g in (groups, others))
    np.testing.assert_array_equal(first, second)


def test_a_stopped_tuning_goes_on_to_the_same_forest(make, tmp_path):
    groups = groups_of(make, 2)
    forests = forests_of(groups)
    whole = tune_forests(groups, forests, QUICK, seed=3)
    learner = _TuneLearner(soft_copies(groups, forests, QUICK.temperature), groups, QUICK)
    ticks = iter(range(1000))
    train(
        learner, steps=QUICK.steps, random_state=3, checkpoint=tmp_path / "c", checkpoint_every=0, time_limit=15,
        clock=lambda: float(next(ticks)),
    )  # fmt: skip
    again = tune_forests(groups, forests, QUICK, seed=3, checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(whole[0].forest.values, again[0].forest.values)


def test_tuning_ships_only_if_it_is_better_out_of_fold(make):
    groups = groups_of(make, 2, n=400, folds=4)

    def judge(forest, group):
        return group.rows.loss.parts(forest.raw(group.codes), group.rows)[0]

    def fit(group):
        return boost(group, BoostSetting(6, 0.3), 60)

    ships = []
    for losses in (np.full(400, 9.0), np.zeros(400)):
        leader = Contender("booster", groups, fit, losses)
        tuned, record = tuned_contender(leader, judge, jobs=1, seed=0, left=float("inf"), told=lambda at: None)
        assert (tuned is not None) == record["ships"]
        json.dumps(record)
        ships.append(record["ships"])
    assert ships == [True, False]


def smooth_task(n=600):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    x[rng.random(x.shape) < 0.05] = np.nan
    filled = np.nan_to_num(x)
    return x, filled[:, 0] * filled[:, 1] + np.sin(3 * filled[:, 2])


@pytest.fixture(scope="module")
def tuned_regressor():
    return ForestRegressor(60, effort=0.1, tune=True, n_jobs=1).fit(*smooth_task())


def test_a_tuned_forest_ships_with_its_soft_parent_and_a_certificate_that_compares_them(tuned_regressor):
    model = tuned_regressor
    assert model.record_["tuned"]["ships"]
    assert model.record_["shipped"]["search"] == "booster, tuned"
    assert model.artifact_.n_leaf_values <= 60
    certificate = model.certificate_
    assert certificate.passed
    assert certificate.agreement.value > 0.99
    assert certificate.loss_shipped == pytest.approx(certificate.loss_rounded)
    assert certificate.bound.holds
    assert certificate.bound.about_shipped
    assert certificate.in_band < 0.5
    json.dumps(model.record_)


def test_the_soft_parent_is_hard_outside_the_band_and_within_its_bound(tuned_regressor):
    soft, x = tuned_regressor.soft_, smooth_task()[0]
    warm = SoftForestModel(soft.hard, soft.codec, soft.feature, soft.threshold, 0.03)
    for model in (soft, warm):
        difference = np.abs(model(x) - tuned_regressor.predict(x))
        np.testing.assert_array_less(difference, model.bound(x) + 1e-5)
        assert difference[~model.in_band(x)].max(initial=0) < 1e-5
    assert difference.max() > 1e-3
    assert warm.in_band(x).mean() > soft.in_band(x).mean()


def test_the_soft_parent_survives_json(tuned_regressor):
    soft, x = tuned_regressor.soft_, smooth_task()[0]
    again = read_soft(json.loads(json.dumps(soft.to_dict())))
    np.testing.assert_array_equal(again(x), soft(x))
    np.testing.assert_array_equal(again.rounded(x), tuned_regressor.predict(x))


@pytest.mark.parametrize("loss", ["poisson", "absolute"])
def test_other_losses_are_tuned_too(loss):
    x, y = smooth_task(300)
    model = ForestRegressor(40, effort=0.1, tune=True, n_jobs=1, loss=loss).fit(x, np.floor(np.exp(y / 2)))
    assert "difference" in model.record_["tuned"]
    if model.soft_ is not None:
        assert (np.abs(model.soft_(x) - model.predict(x)) <= model.soft_.bound(x) + 1e-4).all()


def test_a_classifier_is_tuned_with_categories_as_they_come(make):
    rows = make.rows(n=300, classes=3)
    frame = pd.DataFrame(rows.x, columns=list("abc"))
    frame["c"] = np.array(["u", "v", "w", "x", None], dtype=object)[np.nan_to_num(rows.x[:, 2], nan=4).astype(int)]
    model = ForestClassifier(60, effort=0.1, tune=True, n_jobs=1).fit(frame, rows.labels)
    assert "ships" in model.record_["tuned"]
    if model.soft_ is not None:
        assert (model.soft_.rounded(frame) == model.predict_proba(frame)).all()
