"""Searches for forests under a time limit: what was cut is counted, and can be done again; killed ones go on."""

from __future__ import annotations

import numpy as np
import pytest

from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor, _forest_engine, _forest_trials
from softwood.trees._forest_plan import Finished, check_forest_plan, in_time
from softwood.trees._forest_trials import Variant
from softwood.trees._plan import Clock


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def table(n=700, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    return x, (x[:, 0] * x[:, 1] + 0.5 * rng.normal(size=n) > 0).astype(int)


def test_items_are_done_in_order_until_time_is_over():
    hands = Hands()

    def work(item):
        hands.time += 2.0
        return item

    clock = Clock(10.0, reserve=1.0, now=hands)
    assert in_time(range(9), work, 1, lambda share: None, clock, 0.5) == [0, 1, 2]  # 4.5 seconds are theirs
    assert in_time(range(9), work, 1, lambda share: None, Clock(float("inf"), now=hands), 1.0) == list(range(9))


@pytest.mark.parametrize("plan", [{"greed": 1}, {"screened": -1}, {"judged": "all"}, {"judged": 1.5}, [1]])
def test_a_plan_counts_settings_by_stage(plan):
    with pytest.raises(InputError, match="this is no plan of a forest"):
        check_forest_plan(plan)
    assert check_forest_plan({"judged": 2}) == {"screened": 0, "judged": 2}


@pytest.mark.parametrize("stop", ["screening", "finalists"])
def test_what_a_limit_cut_is_noted_and_can_be_done_again(stop, monkeypatch):
    x, y = table()
    hands = Hands()

    def told(stage, done):
        hands.time += 1.0 if stage == stop else 0.0  # time passes in one stage only

    monkeypatch.setattr(_forest_engine, "Clock", lambda limit: Clock(limit, now=hands))
    asked = {"budget": 60, "effort": 0.2, "n_jobs": 1}
    cut = ForestClassifier(**asked, time_limit=15.0, progress=told).fit(x, y)
    assert cut.record_["cut_by_time_limit"] == [stop]
    assert cut.record_["plan"]["screened"] > 0
    monkeypatch.undo()
    again = ForestClassifier(**asked, time_limit=0.1, plan=cut.record_["plan"]).fit(x, y)
    assert again.artifact_ == cut.artifact_
    assert again.record_["plan"] == cut.record_["plan"]
    whole = ForestClassifier(**asked).fit(x, y)
    assert whole.record_["cut_by_time_limit"] == []
    assert sum(whole.record_["plan"].values()) > sum(cut.record_["plan"].values())


def test_no_time_at_all_gives_a_forest():
    x, y = table()
    model = ForestRegressor(60, time_limit=0.1, n_jobs=1).fit(x, y.astype(float))
    assert 0 < model.artifact_.n_leaf_values <= 60


@pytest.mark.parametrize("killed_at", ["screening", "finalists", "final forest"])
def test_a_fit_that_was_killed_goes_on_to_the_same_forest(killed_at, tmp_path, monkeypatch):
    x, y = table()

    def told(stage, done):
        if stage == killed_at:
            raise MemoryError  # as good as killed: nothing is cleaned up after it

    asked = {"budget": 60, "effort": 0.2, "n_jobs": 1}
    with pytest.raises(MemoryError):
        ForestClassifier(**asked, checkpoint=tmp_path, progress=told).fit(x, y)
    if killed_at != "screening":
        monkeypatch.setattr(_forest_engine, "screen", None)  # it is not done again
    resumed = ForestClassifier(**asked, checkpoint=tmp_path).fit(x, y)
    monkeypatch.undo()
    assert resumed.artifact_ == ForestClassifier(**asked).fit(x, y).artifact_


def test_a_damaged_stage_is_found_again(tmp_path):
    finished = Finished(tmp_path)
    finished.stage("screened", lambda: {"scores": np.zeros((2, 2))})
    arrays = tmp_path / "screened" / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-8])
    assert finished.stage("screened", lambda: {"scores": np.ones((1, 2))})["scores"].shape == (1, 2)


def test_a_long_search_hands_out_forests_that_get_better(monkeypatch):
    x, y = table(1500)
    monkeypatch.setattr(_forest_engine, "_LONG_CELLS", 0)
    seen = []
    model = ForestClassifier(
        60, effort=0.2, n_jobs=1, improved=lambda learner: seen.append((learner.artifact_, learner.record_["plan"]))
    ).fit(x, y)
    assert [plan["judged"] for _, plan in seen] == [0, 0]
    assert seen[0][1]["screened"] == 0 < seen[1][1]["screened"]
    assert all(artifact.n_leaf_values <= 60 for artifact, _ in seen)
    assert seen[0][0] != model.artifact_


def test_large_tables_are_refitted_less_often(monkeypatch):
    x, y = table(300)
    model = ForestClassifier(60, effort=0.05, holdout=0.0, n_jobs=1).fit(x, y)
    few = sum(trial["refit"] is not None for trial in model.record_["trials"])
    monkeypatch.setattr(_forest_trials, "_MANY", 200)
    model = ForestClassifier(60, effort=0.05, holdout=0.0, n_jobs=1).fit(x, y)
    assert sum(trial["refit"] is not None for trial in model.record_["trials"]) * 9 == few


def test_finalists_of_a_large_table_are_judged_on_some_rows_and_fitted_on_all(monkeypatch):
    x, y = table(1500)
    monkeypatch.setattr(_forest_engine, "_JUDGED_ROWS", 400)
    fitted, fit = [], Variant.fit
    monkeypatch.setattr(
        Variant, "fit", lambda self, group, budget: fitted.append(group.rows.n) or fit(self, group, budget)
    )
    model = ForestClassifier(60, effort=0.1, n_jobs=1).fit(x, y)
    assert fitted == [1350]
    assert (model.record_["rows"], model.record_["judged_rows"]) == (1350, 400)
    shipped = next(t for t in model.record_["trials"] if t["loss"] == model.record_["shipped"]["loss"])
    assert shipped["leaves"] == model.record_["shipped"]["leaves"]
