"""Running checks: outcomes, resume, records, and the process of each seed."""

from __future__ import annotations

import json
import time

import pytest

from softwood.core import InputError
from softwood.papers import load, record_of, reproduce, run_seed, verdict


def test_measures_and_bars_are_put_together_over_the_seeds(demo, tmp_path):
    record = reproduce(["demo"], "quick", range(3), folder=tmp_path)["demo"]
    ours, other = record["measures"]
    assert (ours["method"], ours["values"], ours["mean"], ours["spread"]) == ("ours", [1.0, 2.0, 3.0], 2.0, 1.0)
    assert (other["method"], other["mean"], other["spread"]) == ("other", 0.5, 0.0)
    assert record["bars"][0]["measured"] == 2.0
    assert record["seeds"] == [0, 1, 2]
    assert verdict(demo.PAPER, record) == "holds"
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(("every", "says"), [(False, "holds"), (True, "falls short")])
def test_a_bar_is_about_the_mean_or_about_every_seed(demo, tmp_path, every, says):
    demo.behaviour, demo.every = "miss", every
    assert verdict(demo.PAPER, reproduce(["demo"], seeds=range(3), folder=tmp_path)["demo"]) == says


@pytest.mark.parametrize(("behaviour", "says"), [("crash", "crashed"), ("absent", "needs data")])
def test_a_check_that_does_not_finish_is_recorded_as_such(demo, tmp_path, behaviour, says):
    demo.behaviour = behaviour
    record = reproduce(["demo"], folder=tmp_path)["demo"]
    assert verdict(demo.PAPER, record) == says
    assert {"crash": "it broke", "absent": "softwood fetch moon"}[behaviour] in record["error"]


def test_finished_seeds_are_not_run_again_and_failed_ones_are(demo, tmp_path):
    demo.behaviour = "crash"
    reproduce(["demo"], seeds=[0], folder=tmp_path)
    demo.behaviour = "hold"
    first = reproduce(["demo"], seeds=[0], folder=tmp_path)["demo"]
    assert first["outcome"] == "ran"
    demo.behaviour = "crash"
    told = []
    again = reproduce(["demo"], seeds=[0, 1], folder=tmp_path, told=lambda name, done: told.append((name, done)))[
        "demo"
    ]
    assert told == [("demo, seed 1", 1.0)]
    assert again["outcome"] == "crashed"
    assert again["measures"][0]["values"] == [1.0]


def test_evidence_of_other_sources_is_stale(demo, tmp_path):
    record = reproduce(["demo"], seeds=[0], folder=tmp_path)["demo"]
    assert verdict(demo.PAPER, {**record, "hash": "1" * 16}) == "stale"
    assert verdict(demo.PAPER, None) == "stale"


def test_nothing_to_run_is_said(demo):
    with pytest.raises(InputError, match="nothing to run"):
        reproduce([], folder="x")
    with pytest.raises(InputError, match="nothing to run"):
        reproduce(["demo"], seeds=[], folder="x")


def test_a_run_that_lacks_a_bar_does_not_meet_it():
    evidence = {"scale": "s", "measures": []}
    bar = {"says": "b", "measured": 1.0, "bound": 1.0, "side": "at least", "origin": "paper", "every": False}
    ran = {"seconds": 1, "outcome": "ran", "error": None}
    runs = [
        {**ran, "seed": 0, "evidence": {**evidence, "bars": [{**bar, "holds": True}]}},
        {**ran, "seed": 1, "evidence": {**evidence, "bars": []}},
    ]  # fmt: skip
    assert record_of(load("gumbel-softmax").PAPER, "quick", runs)["bars"][0]["holds"] is False


def test_a_seed_runs_in_a_process_of_its_own_and_is_stopped_in_time():
    found = run_seed("gumbel-softmax", "smoke", 0)
    assert found["outcome"] == "ran", found["error"]
    assert found["evidence"]["bars"]
    begun = time.monotonic()
    assert run_seed("gumbel-softmax", "smoke", 0, limit=0.2)["outcome"] == "too slow"
    assert time.monotonic() - begun < 30  # it would take much longer to its end on a busy machine, but not to stop
