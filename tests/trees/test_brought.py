"""Models that users bring: untouched, cut to the budget, compared, refused."""

from __future__ import annotations

import json

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from catboost import CatBoostClassifier
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from softwood.artifacts import Column, HardEnsemble, export, import_model
from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor, TreeClassifier, TreeRegressor, read_init
from softwood.trees._brought import Brought, take_apart
from softwood.trees._brought_tree import as_dense
from softwood.trees._cut import cut_to, newton_leaves
from softwood.trees._forest import refit_leaves
from softwood.trees._rows import Group, Rows

QUICK = {"effort": 0.05, "n_jobs": 1}


def table(n=400, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 4)), columns=["a", "b", "c", "d"])
    signal = frame["a"] * frame["b"] + 0.3 * rng.normal(size=n)
    if classes == 0:
        return frame, signal.to_numpy()
    labels = np.array(["low", "mid", "top"])[:: -1 if classes == 2 else 1][:classes]
    return frame, np.sort(labels)[np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))]


def checkerboard(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.uniform(size=(n, 3)), columns=["a", "b", "c"])
    y = (np.floor(4 * frame["a"]) + np.floor(2 * frame["b"])) % 2
    return frame, np.where(y > 0, "odd", "even")


def lightgbm_text(frame, y, folder):
    codes = np.unique(y, return_inverse=True)[1]
    model = lightgbm.LGBMClassifier(n_estimators=12, num_leaves=7, verbose=-1, n_jobs=1).fit(frame, codes)
    model.booster_.save_model(folder / "model.txt")
    return folder / "model.txt", model.predict_proba(frame)


def xgboost_json(frame, y, folder):
    codes = np.unique(y, return_inverse=True)[1]
    model = xgboost.XGBClassifier(n_estimators=12, max_depth=3, n_jobs=1).fit(frame, codes)
    model.save_model(folder / "model.json")
    return folder / "model.json", model.predict_proba(frame)


def catboost_json(frame, y, folder):
    codes = np.unique(y, return_inverse=True)[1]
    model = CatBoostClassifier(iterations=12, depth=3, verbose=0, thread_count=1, allow_writing_files=False)
    model.fit(frame, codes)
    model.save_model(str(folder / "cat.json"), format="json")
    return folder / "cat.json", model.predict_proba(frame)


def histogram(frame, y, folder):
    model = HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=7).fit(frame, y)
    return model, model.predict_proba(frame)


def forest(frame, y, folder):
    model = RandomForestClassifier(8, max_depth=5, random_state=0).fit(frame, y)
    return model, model.predict_proba(frame)


def softwood_directory(frame, y, folder):
    model = ForestClassifier(60, **QUICK).fit(frame, y)
    model.artifact_.save(folder / "ours")
    return folder / "ours", model.predict_proba(frame)


MAKERS = [lightgbm_text, xgboost_json, catboost_json, histogram, forest, softwood_directory]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("maker", MAKERS)
def test_untouched_a_brought_model_answers_the_same_on_every_row_and_goes_out_again(maker, classes, tmp_path):
    frame, y = table(classes=classes)
    source, expected = maker(frame, y, tmp_path)
    model = ForestClassifier(20, init=source, tune=False, **QUICK).fit(frame, y)
    np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-5 if maker is xgboost_json else 1e-9)
    assert model.classes_.tolist() == list(model.artifact_.classes) == sorted(set(y))
    assert any("has seen these rows" in limit for limit in model.certificate_.not_covered)
    assert model.soft_ is None
    for to in ("json", "python"):
        report = export(model.artifact_, tmp_path / f"out.{to}", to, rows=frame)
        assert report.verified
        assert report.label_mismatches == 0


def test_a_brought_model_goes_out_in_its_own_format_and_comes_back_the_same(tmp_path):
    frame, y = table()
    source, expected = lightgbm_text(frame, y, tmp_path)
    model = ForestClassifier(20, init=source, tune=False, **QUICK).fit(frame, y)
    report = export(model.artifact_, tmp_path / "again.txt", "lightgbm", rows=frame)
    assert report.label_mismatches == 0
    np.testing.assert_allclose(import_model(tmp_path / "again.txt").predict_proba(frame), expected, atol=1e-9)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_taken_apart_and_put_together_a_model_has_every_test_it_had(classes):
    frame, y = table(classes=classes)
    kind = GradientBoostingRegressor if classes == 0 else HistGradientBoostingClassifier
    model = import_model(kind(random_state=0).fit(frame, y))
    rng = np.random.default_rng(0)
    x = frame.to_numpy().copy()
    x[rng.random(x.shape) < 0.1] = np.nan
    at = model.threshold[model.feature >= 0][:50]
    x = np.concatenate([x, *(np.tile(t[:, None], 4) for t in (at, np.nextafter(at, 9), np.nextafter(at, -9)))])
    brought = Brought(model, x, "test")
    codec, found = take_apart(brought, np.ones(len(x)), model.n_outputs)
    np.testing.assert_allclose(found.raw(codec.transform(x)), model.raw_encoded(x), atol=1e-9)
    assert found.size <= model.n_leaf_values


def test_many_thresholds_and_sets_of_levels_are_all_there():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=2000), "k": pd.Categorical(rng.choice(list("stuvw"), 2000))})
    y = np.sin(5 * frame["x"]) + frame["k"].isin(["s", "v"]) + rng.normal(size=2000)
    model = lightgbm.LGBMRegressor(n_estimators=60, num_leaves=31, max_bin=2000, min_data_in_bin=1, verbose=-1)
    ensemble = import_model(model.fit(frame, y))
    assert len(np.unique(ensemble.threshold[ensemble.feature == 0])) > 254
    assert (ensemble.level_set >= 0).any()
    x = ensemble.encode(frame)
    x[:100] = np.nan
    codec, found = take_apart(Brought(ensemble, x, "test"), np.ones(len(x)), 1)
    np.testing.assert_allclose(found.raw(codec.transform(x)), ensemble.raw_encoded(x), atol=1e-9)


def group_and_forest(classes=2):
    frame, y = table(classes=classes)
    model = import_model(RandomForestClassifier(10, max_depth=6, random_state=0).fit(frame, y))
    labels = np.unique(y, return_inverse=True)[1].astype(np.int32)
    x = frame.to_numpy()
    rows = Rows(model.columns, x, labels, np.eye(classes)[labels], np.ones(len(x)))
    codec, found = take_apart(Brought(model, x, "test"), rows.weight, 1 if classes == 2 else classes)
    group = Group(rows, np.random.default_rng(1).random(len(x)) < 0.7)
    vars(group).update(codec=codec, codes=codec.transform(x))
    return group, found


def loss_of(forest, group):
    return group.rows.loss.parts(forest.raw(group.codes), group.rows)[0][group.active].mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_fitted_again_leaves_lower_the_loss_and_know_nothing_of_other_rows(classes):
    group, found = group_and_forest(classes)
    grown, _ = newton_leaves(found, group, 0.3)
    empty = type(found)((), (), np.zeros((0, found.values.shape[1])), np.zeros((0, found.values.shape[1])), grown.base)
    assert loss_of(grown, group) < 0.8 * loss_of(empty, group)
    labels = group.rows.labels.copy()
    labels[~group.active] = (labels[~group.active] + 1) % classes
    rows = Rows(group.rows.columns, group.rows.x, labels, np.eye(classes)[labels], group.rows.weight)
    other = Group(rows, group.active)
    vars(other).update(codec=group.codec, codes=group.codes)
    np.testing.assert_array_equal(newton_leaves(found, other, 0.3)[0].values, grown.values)


@pytest.mark.parametrize("budget", [12, 60, 150])
def test_the_cut_keeps_the_budget_and_what_matters(budget):
    group, found = group_and_forest()
    assert found.size > 150
    cut = cut_to(found, group, 0.3, budget)
    assert 0 < cut.size <= budget
    assert cut.size > 0.7 * budget
    fitted = refit_leaves(newton_leaves(cut, group, 0.3)[0], group, 30.0)
    assert loss_of(fitted, group) < 0.9 * np.log(2)
    assert cut_to(cut, group, 0.3, budget) is cut


def test_the_cheapest_pair_goes_first():
    group, found = group_and_forest()
    best = cut_to(found, group, 0.3, 60)
    kept, rng = {id(best): loss_of(newton_leaves(best, group, 0.3)[0], group)}, np.random.default_rng(0)
    others = []
    for _ in range(5):  # the same number of leaves, dropped tree by tree in random order
        order = rng.permutation(len(found.trees))
        chosen, size = [], 0
        for place in order:
            leaves = int((found.trees[place].feature < 0).sum())
            if size + leaves <= 60:
                chosen.append(place)
                size += leaves
        parts = [found.leaf_of_node[p] for p in chosen]
        counts = np.cumsum([0, *((part >= 0).sum() for part in parts)])
        numbered = tuple(
            np.where(part >= 0, part - part[part >= 0].min() + first, -1).astype(np.int32)
            for part, first in zip(parts, counts, strict=False)
        )
        zeros = np.zeros((counts[-1], 1))
        part = type(found)(tuple(found.trees[p] for p in chosen), numbered, zeros, zeros + 1, found.base)
        others.append(loss_of(newton_leaves(part, group, 0.3)[0], group))
    assert kept[id(best)] < min(others)


def test_a_model_over_the_budget_is_cut_compared_and_may_ship():
    frame, y = table(classes=2, n=600)
    half = np.arange(600) < 300
    teacher = RandomForestClassifier(30, random_state=0).fit(frame[~half], y[~half])  # has not seen our rows
    model = ForestClassifier(60, init=teacher, **QUICK).fit(frame[half], y[half])
    record = model.record_["brought"]
    assert model.artifact_.n_leaf_values <= 60 < record["leaf_values"]
    assert {"difference", "standard_error", "ships", "source"} <= set(record)
    assert record["ships"] == model.record_["shipped"]["search"].startswith("brought")
    assert any("has seen these rows" in limit for limit in model.certificate_.not_covered) == record["ships"]
    json.dumps(model.record_)


def test_a_model_that_knows_more_than_the_rows_ships():
    frame, y = table(classes=2, n=4000)
    teacher = HistGradientBoostingClassifier().fit(frame[300:], y[300:])
    model = ForestClassifier(100, init=teacher, **QUICK).fit(frame[:300], y[:300])
    assert model.record_["brought"]["ships"]
    assert model.record_["shipped"]["search"].startswith("brought model")
    assert model.score(frame[300:], y[300:]) > 0.77


def test_a_regression_is_brought_in_its_own_units():
    frame, y = table(classes=0)
    teacher = RandomForestRegressor(5, max_depth=4, random_state=0).fit(frame, 1000 + 50 * y)
    same = ForestRegressor(40, init=teacher, tune=False, **QUICK).fit(frame, 1000 + 50 * y)
    np.testing.assert_allclose(same.predict(frame), teacher.predict(frame), atol=1e-9)
    cut = ForestRegressor(40, init=teacher, **QUICK).fit(frame, 1000 + 50 * y)
    assert cut.artifact_.n_leaf_values <= 40
    assert cut.score(frame, 1000 + 50 * y) > 0.5


def test_arrays_are_matched_by_position_and_frames_by_name_in_any_order():
    frame, y = table()
    on_array = RandomForestClassifier(3, max_depth=3, random_state=0).fit(frame.to_numpy(), y)
    model = ForestClassifier(init=on_array, tune=False, **QUICK).fit(frame.to_numpy(), y)
    np.testing.assert_allclose(model.predict_proba(frame.to_numpy()), on_array.predict_proba(frame.to_numpy()))
    named = RandomForestClassifier(3, max_depth=3, random_state=0).fit(frame, y)
    turned = frame[["d", "b", "a", "c"]].assign(more=1.0 * np.arange(len(frame)))
    model = ForestClassifier(init=named, tune=False, **QUICK).fit(turned, y)
    np.testing.assert_allclose(model.predict_proba(turned), named.predict_proba(frame))


def test_what_does_not_fit_is_refused_and_both_sides_are_named():
    frame, y = table()
    teacher = RandomForestClassifier(2, max_depth=2, random_state=0).fit(frame, y)
    with pytest.raises(InputError, match=r"absent: d[\s\S]*table: a, b, c, other"):
        ForestClassifier(init=teacher).fit(frame.rename(columns={"d": "other"}), y)
    with pytest.raises(InputError, match="3 columns without names"):
        ForestClassifier(init=teacher).fit(frame.to_numpy()[:, :3], y)
    with pytest.raises(InputError, match="other classes"):
        ForestClassifier(init=teacher).fit(frame, np.where(y == y[0], "yes", "no"))
    with pytest.raises(InputError, match="other classes"):
        ForestClassifier(init=teacher).fit(*table(classes=3))
    with pytest.raises(InputError, match="something else"):
        ForestRegressor(init=teacher).fit(frame, np.arange(len(y)))
    with pytest.raises(InputError, match="no model file"):
        ForestClassifier(init="absent.txt").fit(frame, y)


def test_an_ensemble_is_itself_and_a_directory_is_loaded(tmp_path):
    leaf = HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",))
    leaf.save(tmp_path / "m")
    assert read_init(leaf)[0] is leaf
    assert read_init(tmp_path / "m") == (leaf, "m")
    assert read_init(str(tmp_path / "m"))[0] == leaf


# ---------------------------------------------------------------- one tree


def test_one_tree_on_codes_parts_rows_as_the_one_that_was_brought():
    frame, y = checkerboard()
    frame["k"] = pd.Categorical(np.random.default_rng(1).choice(list("stuv"), len(frame)))
    labels = np.unique(y, return_inverse=True)[1].astype(np.int32) ^ frame["k"].isin(["s", "u"]).to_numpy()
    labels = labels.astype(np.int32)
    model = lightgbm.LGBMClassifier(n_estimators=1, num_leaves=14, verbose=-1, min_child_samples=5)
    ensemble = import_model(model.fit(frame, labels, categorical_feature=["k"]))
    x = ensemble.encode(frame)
    x[np.random.default_rng(2).random(x.shape) < 0.05] = np.nan
    rows = Rows(ensemble.columns, x, labels, np.eye(2)[labels], np.ones(len(x)))
    group = Group(rows, np.ones(len(x), bool))
    tree = as_dense(Brought(ensemble, x, "test"), group, ensemble.depth)
    places, leaves = tree.leaf_of(group.codes), ensemble.apply_encoded(x)[:, 0]
    likeliest = pd.Series(leaves).groupby(places).agg(lambda part: part.value_counts().index[0])
    assert (likeliest.reindex(places).to_numpy() == leaves).mean() > 0.97
    assert as_dense(Brought(ensemble, x, "test"), group, 2).depth == 2


def test_a_tree_untouched_and_a_tree_as_candidate():
    frame, y = checkerboard()
    teacher = DecisionTreeClassifier(max_depth=6, random_state=0).fit(frame[500:], y[500:])
    same = TreeClassifier(init=teacher, tune=False, **QUICK).fit(frame[:500], y[:500])
    np.testing.assert_allclose(same.predict_proba(frame), teacher.predict_proba(frame), atol=1e-9)
    assert same.record_["brought"]["ships"]
    model = TreeClassifier(3, init=teacher, **QUICK).fit(frame[:500], y[:500])
    searches = {trial["search"] for trial in model.record_["trials"]}
    assert {"cart", "brought tree", "brought tree, polished"} <= searches
    assert model.artifact_.depth <= 3
    assert bool(model.record_["not_covered"]) == model.record_["brought"]["ships"]
    values = TreeRegressor(2, init=DecisionTreeRegressor(max_depth=3).fit(frame, frame["a"]), **QUICK)
    assert values.fit(frame, frame["a"]).artifact_.depth <= 2


def test_a_tree_that_knows_more_than_the_rows_ships():
    frame, y = checkerboard()
    teacher = TreeClassifier(3, effort=0.2, n_jobs=1).fit(frame[:600], y[:600]).artifact_
    assert (teacher.predict(frame) == y).mean() > 0.95
    few, wanted = checkerboard(150, seed=5)
    model = TreeClassifier(3, init=teacher, **QUICK).fit(few, wanted)
    assert (model.predict(frame) == y).mean() > 0.9


def test_many_trees_are_no_start_for_one():
    frame, y = table()
    with pytest.raises(InputError, match="fit a forest instead"):
        TreeClassifier(init=RandomForestClassifier(3).fit(frame, y)).fit(frame, y)
