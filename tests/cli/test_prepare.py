"""``softwood fit`` with columns that say how rows count: weights, groups, time."""

import json

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble
from softwood.trees import TreeClassifier

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


def visits():
    """Return visits of patients; the first half weighs three times as much."""
    rng = np.random.default_rng(0)
    n = 240
    frame = pd.DataFrame({"x": rng.random(n).round(4), "z": rng.integers(0, 40, n)})
    frame["patient"] = [f"p{k}" for k in rng.integers(0, 30, n)]
    frame["day"] = pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d")
    frame["w"] = np.where(np.arange(n) < n // 2, 3.0, 1.0)
    frame["sick"] = np.where((frame.x > 0.5) ^ (rng.random(n) < 0.1), "yes", "no")
    return frame


@pytest.fixture
def visits_csv(tmp_path):
    visits().to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path / "visits.csv"


def record(folder):
    return json.loads((folder / "record.json").read_text())


def test_weights_count_in_training_certificate_and_score(softwood, visits_csv, tmp_path):
    done = softwood("fit", visits_csv, "--target", "sick", "--weight", "w", "--out", tmp_path / "m", *QUICK)
    assert done.code == 0, done.err
    assert "weighted by w, 1 to 3" in done.out
    assert "left out: w: the weight of each row" in done.out
    made = record(tmp_path / "m")
    assert "w" not in made["columns"]["used"]
    frame = visits()
    inputs, y = frame[["x", "z", "patient", "day"]], frame["sick"].to_numpy()
    learner = TreeClassifier(max_depth=2, effort=0.05).fit(inputs, y, frame["w"].to_numpy())
    assert made["fingerprint"] == learner.artifact_.fingerprint
    assert json.loads((tmp_path / "m" / "certificate.json").read_text()) == learner.certificate_.to_dict()
    scored = softwood("score", tmp_path / "m", visits_csv, "--json").json
    chance = learner.predict_proba(inputs)[np.arange(240), (y == "yes").astype(int)]
    assert scored["weight"] == "w"
    assert scored["scores"]["log-loss"]["value"] == pytest.approx(np.average(-np.log(chance), weights=frame["w"]))
    frame.drop(columns="w").to_csv(tmp_path / "bare.csv", index=False)
    bare = softwood("score", tmp_path / "m", tmp_path / "bare.csv", "--json").json
    assert bare["weight"] is None
    assert bare["scores"]["log-loss"]["value"] == pytest.approx(np.mean(-np.log(chance)))
    certified = softwood("certify", tmp_path / "m", visits_csv, "--json").json
    assert certified["loss_shipped"] == pytest.approx(scored["scores"]["log-loss"]["value"])
    assert softwood("report", tmp_path / "m", "--table", visits_csv, "--out", tmp_path / "r.html").code == 0


def test_weights_of_the_test_table_count_too(softwood, visits_csv, tmp_path):
    words = ("fit", visits_csv, "--target", "sick", "--weight", "w", "--test", visits_csv, "--json")
    done = softwood(*words, "--out", tmp_path / "m", *QUICK)
    scored = softwood("score", tmp_path / "m", visits_csv, "--json").json
    assert done.json["certificate"]["loss_shipped"] == pytest.approx(scored["scores"]["log-loss"]["value"])


@pytest.mark.parametrize("role", ["group", "time"])
def test_groups_and_times_are_no_inputs_unless_kept(softwood, visits_csv, tmp_path, role):
    name = {"group": "patient", "time": "day"}[role]
    words = ("fit", visits_csv, "--target", "sick", f"--{role}", name, *QUICK)
    done = softwood(*words, "--out", tmp_path / "m")
    assert done.code == 0, done.err
    made = record(tmp_path / "m")
    assert made["search"]["split"].startswith(f"by {role}")
    assert not [used for used in made["columns"]["used"] if used.startswith(name)]
    assert [name, f"the {role} of each row (--keep uses it as input too)"] in made["columns"]["dropped"]
    assert f"Rows were divided by {role}" in done.out
    said = {"group": "kept together by patient: 30 groups", "time": "240 times, from 2024-01-01 to 2024-08-27"}
    assert said[role] in done.out
    certificate = json.loads((tmp_path / "m" / "certificate.json").read_text())
    assert {"group": "whole group", "time": "the latest"}[role] in certificate["rows"]
    kept = softwood(*words, "--keep", name, "--out", tmp_path / "kept", "--json")
    assert [used for used in kept.json["record"]["columns"]["used"] if used.startswith(name)]
    assert kept.json["record"]["search"]["split"] == made["search"]["split"]


def test_groups_that_are_in_both_tables_are_named_in_the_certificate(softwood, visits_csv, tmp_path):
    frame = visits()
    frame.loc[frame.patient.isin(["p1", "p2"])].to_csv(tmp_path / "test.csv", index=False)
    words = ("fit", visits_csv, "--target", "sick", "--group", "patient", "--test", tmp_path / "test.csv", "--json")
    done = softwood(*words, "--out", tmp_path / "m", *QUICK)
    assert any("2 of the test table's are in both" in limit for limit in done.json["certificate"]["not_covered"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weight", "wieght"], "--weight: the column"),
        (["--group", "patients"], "did you mean 'patient'"),
        (["--time", "when"], "--time: the column"),
        (["--group", "patient", "--time", "day"], "rows are divided by groups or by time"),
        (["--weight", "w", "--group", "w"], "--group and --weight name one column"),
        (["--time", "sick"], "--time and --target name one column"),
        (["--weight", "w", "--drop", "w"], "the column of --weight is dropped"),
        (["--keep", "x"], "--keep is for the column of --group or --time"),
        (["--weight", "patient"], "holds what is no number: got 'p"),
        (["--time", "patient"], "the time 'patient' cannot be used: got 'p"),
    ],
)
def test_columns_that_cannot_have_a_role_are_refused(softwood, visits_csv, tmp_path, words, message):
    done = softwood("fit", visits_csv, "--target", "sick", *words, "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("w", -1, "the weight 'w' cannot be used: got -1.0 in row 7"),
        ("w", None, "the weight 'w' cannot be used: got a missing value in row 7"),
        ("patient", None, "the group 'patient' cannot be used: got a missing value in row 7"),
        ("day", "soon", "the time 'day' cannot be used: got 'soon' in row 7"),
    ],
)
def test_rows_without_a_role_are_refused(softwood, tmp_path, column, value, message):
    frame = visits()
    frame.loc[7, column] = value
    frame.to_csv(tmp_path / "t.csv", index=False)
    option = {"w": "--weight", "patient": "--group", "day": "--time"}[column]
    done = softwood("fit", tmp_path / "t.csv", "--target", "sick", option, column, "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert message in done.err


# ---------------------------------------------------------------- ordered columns


def answers():
    """Return a table whose class changes at "b", "d" and "a, c" in an order that no alphabet knows."""
    rng = np.random.default_rng(0)
    order = ["d", "b", "a, c", "e"]
    frame = pd.DataFrame({"mood": rng.choice(order, 240), "size": rng.choice(["small", "medium", "large"], 240)})
    frame["n"] = rng.integers(0, 3, 240)
    frame["y"] = np.where(frame.mood.isin(["d", "b"]), "x", "y")
    return frame


def test_an_order_can_be_given_and_taken_away(softwood, tmp_path):
    answers().to_csv(tmp_path / "t.csv", index=False)
    words = ("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    done = softwood(*words, "--ordered", 'mood=d,b,"a, c",e', "--ordered", "size=")
    assert done.code == 0, done.err
    assert "mood is ordered: d < b < a, c < e" in done.out
    assert "size is ordered" not in done.out
    columns = {column.name: column for column in HardEnsemble.load(tmp_path / "m").columns}
    assert columns["mood"].levels == ("d", "b", "a, c", "e")
    assert columns["mood"].ordered
    assert not columns["size"].ordered
    found = softwood("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert "size is ordered: small < medium < large" in found.out
    exported = softwood("export", tmp_path / "m", "--to", "all", "--check", tmp_path / "t.csv", "--out", tmp_path / "e")
    assert exported.code == 0, exported.out


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("mood=d,b,e", "nothing on 'a, c'"),
        ('mood=d,b,"a, c",e,d', "a level twice"),
        ("mod=d,b", "did you mean 'mood'"),
        ("n=0,1,2", "column 'n' holds numbers"),
        ("mood", "COL=low,medium,high"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(softwood, tmp_path, order, message):
    answers().to_csv(tmp_path / "t.csv", index=False)
    done = softwood("fit", tmp_path / "t.csv", "--target", "y", "--ordered", order, "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert message in done.err


# ---------------------------------------------------------------- before the table is read


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "auc"], "--metric is unknown: got 'auc'"),
        (["--max-depth", "99"], "--max-depth"),
        (["--shape", "bush"], "--shape"),
        (["--task", "sorting"], "--task"),
        (["--size", "0"], "--size"),
        (["--holdout", "0.9"], "--holdout"),
        (["--effort", "-1"], "--effort"),
        (["--min-samples-leaf", "-1"], "--min-samples-leaf"),
        (["--seed", "-1"], "--seed"),
        (["--time-limit", "0.01"], "--time-limit"),
        (["--ordered", "size"], "--ordered"),
    ],
)
def test_options_are_checked_before_a_table_is_read(softwood, tmp_path, words, message):
    done = softwood("fit", tmp_path / "absent.csv", "--target", "y", "--out", tmp_path / "m", *words)
    assert done.code == 2
    assert message in done.err
    assert not done.out


def test_a_table_of_the_target_alone_is_refused(softwood, tmp_path):
    pd.DataFrame({"y": ["a", "b"] * 20}).to_csv(tmp_path / "t.csv", index=False)
    done = softwood("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert "no column is left beside the target" in done.err
