import numpy as np
import pytest

from softwood.core import InputError
from softwood.trees import TreeClassifier, _engine
from softwood.trees._candidates import Candidate, Setting
from softwood.trees._dense_tree import DenseTree
from softwood.trees._plan import SEARCHES, Clock, Memory, OutOfTime, affordable, check_plan


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_the_clock_keeps_the_reserve():
    hands = Hands()
    clock = Clock(10.0, reserve=2.0, now=hands)
    hands.time = 8.0
    clock.check()
    hands.time = 8.1
    with pytest.raises(OutOfTime):
        clock.check()


@pytest.mark.parametrize(("cost", "effort"), [(1.0, 2.0), (60.0, 1.0), (1e6, 0.0)])
def test_an_effort_is_what_was_asked_for_or_its_share_of_the_time(cost, effort):
    assert affordable("kicks", 2.0, cost, Clock(100.0, now=Hands())) == effort  # kicks get 30 of 100 seconds


def test_nothing_is_affordable_when_time_is_over():
    hands = Hands()
    clock = Clock(5.0, now=hands)
    hands.time = 6.0
    assert affordable("gradient", 1.0, 0.0, clock) == 0.0


@pytest.mark.parametrize("plan", [{"greed": 1.0}, {"kicks": -1}, {"kicks": "all"}, [1.0]])
def test_a_plan_names_searches_and_efforts(plan):
    with pytest.raises(InputError, match="this is no plan"):
        check_plan(plan)


def test_a_search_that_a_plan_does_not_name_is_left_out():
    assert check_plan({"teacher": 1}) == {"kicks": 0.0, "teacher": 1.0, "gradient": 0.0}


def candidates(seed):
    random = np.random.default_rng(seed)
    return [
        Candidate(
            Setting("kicks", "entropy", least),
            [
                DenseTree(random.integers(-1, 3, 7).astype(np.int32), random.integers(0, 9, 7).astype(np.int32), left)
                for left in random.random((2, 7)) < 0.5
            ],
        )
        for least in (5.0, 30.0)
    ]


def test_finished_searches_are_remembered(tmp_path):
    found, memory = candidates(0), Memory(tmp_path)
    memory.trees("kicks", lambda: found)
    again = Memory(tmp_path).trees("kicks", lambda: pytest.fail("it was found before"))
    assert [c.setting for c in again] == [c.setting for c in found]
    for mine, theirs in zip(again, found, strict=True):
        for a, b in zip(mine.trees, theirs.trees, strict=True):
            assert all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("feature", "cut", "missing_left"))


def test_a_damaged_memory_is_made_again(tmp_path):
    memory = Memory(tmp_path)
    memory.trees("kicks", lambda: candidates(0))
    next((tmp_path / "kicks").glob("*.safetensors")).write_bytes(b"torn")
    assert len(memory.trees("kicks", lambda: candidates(1)[:1])) == 1


def test_efforts_are_settled_once(tmp_path):
    memory = Memory(tmp_path)
    assert memory.effort("kicks", lambda: 0.5) == memory.effort("kicks", lambda: 1.0) == 0.5
    memory.forget("kicks")
    assert memory.effort("kicks", lambda: 1.0) == 0.0


def data(n=400):
    x = np.random.default_rng(0).normal(size=(n, 4))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


SMALL = {"max_depth": 2, "effort": 0.05, "n_jobs": 1}


def test_a_plan_gives_the_artefact_of_the_fit_that_was_cut(monkeypatch):
    x, y = data()
    monkeypatch.setattr(_engine, "affordable", lambda search, asked, *rest: {"kicks": 0.03}.get(search, 0.0))
    cut = TreeClassifier(**SMALL, time_limit=60).fit(x, y)
    assert cut.record_["plan"] == {"kicks": 0.03, "teacher": 0.0, "gradient": 0.0}
    assert cut.record_["cut_by_time_limit"] == list(SEARCHES)
    again = TreeClassifier(**SMALL, plan=cut.record_["plan"]).fit(x, y)
    assert again.artifact_ == cut.artifact_
    assert again.record_["trials"] == cut.record_["trials"]
    assert {t["search"] for t in again.record_["trials"]} == {"cart", "kicks"}


def test_a_search_that_runs_out_of_time_is_dropped_and_what_there_is_ships(monkeypatch):
    x, y = data()

    def endless(*args):
        raise OutOfTime

    monkeypatch.setattr(_engine, "kick_candidates", endless)
    model = TreeClassifier(**SMALL, time_limit=600).fit(x, y)
    assert model.record_["plan"]["kicks"] == 0.0
    assert model.record_["cut_by_time_limit"] == ["kicks"]
    assert {t["search"] for t in model.record_["trials"]} == {"cart", "teacher", "gradient"}


def test_what_there_is_so_far_is_kept_and_never_better_out_of_fold_than_what_ships(monkeypatch):
    x, y = data()
    monkeypatch.setattr(_engine, "_LONG", 0.0)
    kept = []
    model = TreeClassifier(
        **SMALL, time_limit=600, improved=lambda m: kept.append((m.artifact_, m.certificate_.n, m.record_))
    )
    model.fit(x, y)
    assert [sum(e > 0 for e in record["plan"].values()) for _, _, record in kept] == [0, 1, 2]
    best = [min(t["loss"] for t in record["trials"]) for *_, record in [*kept, (0, 0, model.record_)]]
    assert best == sorted(best, reverse=True)
    assert all(n == 40 for _, n, _ in kept)
    assert kept[0][0] != model.artifact_


def test_a_fit_that_was_killed_goes_on_with_what_it_finished(tmp_path, monkeypatch):
    x, y = data()
    whole = TreeClassifier(**SMALL).fit(x, y)

    def killed(*args):
        raise MemoryError  # stands for anything that ends the process

    with monkeypatch.context() as patch:
        patch.setattr(_engine, "gradient_candidates", killed)
        with pytest.raises(MemoryError):
            TreeClassifier(**SMALL, checkpoint=tmp_path).fit(x, y)
    with monkeypatch.context() as patch:
        patch.setattr(_engine, "kick_candidates", killed)
        patch.setattr(_engine, "taught_candidates", killed)
        again = TreeClassifier(**SMALL, checkpoint=tmp_path).fit(x, y)
    assert again.artifact_ == whole.artifact_
