"""``softwood fit``: what it reads, says, saves and refuses."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import lightgbm
import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble
from softwood.cli._console import Output
from softwood.cli._fit import fit_model
from softwood.cli._fit_options import FitOptions
from softwood.cli._prepare import prepare
from softwood.trees import TreeRegressor

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


def test_fit_says_what_it_found_and_what_to_do_next(softwood, shop_csv, tmp_path):
    done = softwood("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", *QUICK)
    assert done.code == 0
    assert done.err == ""
    for part in (
        "comma-delimited, encoding utf-8",
        "classification, 2 classes: back (",
        "12 of 360 rows are left out: their target is missing",
        "left out: order_id: identifier",
        "left out: shop: constant",
        "sold is a date, used as sold.",
        "if price <= ",
        "Passed",
        "accuracy 0.",
        "held out from training and selection",
        f"softwood export {tmp_path / 'm'} --to python",
    ):
        assert part in done.out, part


def test_fit_saves_model_certificate_and_record(softwood, shop_csv, tmp_path):
    done = softwood("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK)
    model = HardEnsemble.load(tmp_path / "m")
    record = json.loads((tmp_path / "m" / "record.json").read_text())
    certificate = json.loads((tmp_path / "m" / "certificate.json").read_text())
    assert done.json["fingerprint"] == model.fingerprint == record["fingerprint"]
    assert done.json["certificate"] == certificate
    assert done.json["record"] == record
    assert done.json["rules"] == str(model)
    assert certificate["score"]["low"] <= certificate["score"]["value"] <= certificate["score"]["high"]
    assert (record["target"], record["task"], record["seed"]) == ("returned", "classification", 0)
    assert (record["table"]["delimiter"], record["table"]["encoding"]) == (",", "utf-8")
    assert dict(record["columns"]["dropped"]).keys() == {"order_id", "shop"}
    assert record["options"]["effort"] == 0.05
    assert {"python", "softwood", "torch"} <= record["versions"].keys()
    assert not (tmp_path / "m.checkpoint").exists()


@pytest.mark.parametrize("kind", ["tsv", "csv.gz", "parquet", "feather", "semicolon", "-"])
def test_every_kind_of_file_gives_the_same_tree(softwood, shop, tmp_path, monkeypatch, kind):
    frame = shop[["price", "city", "returned"]]
    path = tmp_path / f"t.{'csv' if kind in ('semicolon', '-') else kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "feather":
        frame.to_feather(path)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    elif kind == "semicolon":
        frame.to_csv(path, index=False, sep=";", decimal=",")
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    if kind == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    plain = tmp_path / "plain.csv"
    frame.to_csv(plain, index=False)
    words = ("--target", "returned", "--json", *QUICK)
    found = softwood("fit", "-" if kind == "-" else path, "--out", tmp_path / "m", *words)
    expected = softwood("fit", plain, "--out", tmp_path / "n", *words)
    assert found.json["fingerprint"] == expected.json["fingerprint"]


def test_the_command_gives_the_tree_of_the_same_python_call(softwood, regression, tmp_path):
    table = regression.parent / "numbers.csv"
    frame = pd.read_csv(table)
    learner = TreeRegressor(max_depth=2, effort=0.05, random_state=7)
    learner.fit(frame[["a", "b"]], frame["y"].to_numpy())
    done = softwood("fit", table, "--target", "y", "--seed", 7, "--out", tmp_path / "m", "--json", *QUICK)
    assert done.json["fingerprint"] == learner.artifact_.fingerprint


def test_options_reach_the_learner(softwood, shop_csv, tmp_path):
    words = ("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK)
    extra = ("--size", 3, "--min-samples-leaf", 9, "--metric", "log_loss", "--holdout", 0.3, "--time-limit", "2m")
    done = softwood(*words, *extra, "--drop", "sold", "--drop", "member")
    search = done.json["record"]["search"]
    options = search["options"]
    assert (options["max_leaf_nodes"], options["min_samples_leaf"]) == (3, 9.0)
    assert 100.0 < options["time_limit"] <= 120.0  # what reading the table has left of it
    assert options["metric"] == "log_loss"
    assert 90 <= search["held_out_rows"] <= 118  # 0.3 of 348
    assert HardEnsemble.load(tmp_path / "m").n_leaf_values <= 3
    assert set(done.json["record"]["columns"]["used"]) == {"price", "city"}


def test_size_counts_a_leaf_of_three_classes_as_three(softwood, tmp_path):
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": r.random(150)})
    frame["y"] = np.array(["p", "q", "r"])[(frame.a * 3).astype(int)]
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert softwood(*words, "--size", 9).code == 0
    assert HardEnsemble.load(tmp_path / "m").n_leaf_values == 9
    assert softwood(*words, "--size", 8).code == 0
    assert HardEnsemble.load(tmp_path / "m").n_leaf_values <= 6
    refused = softwood(*words, "--size", 2)
    assert refused.code == 2
    assert "--size is out of range: got 2; allowed: a whole number >= 3" in refused.err


def test_a_task_can_be_forced(softwood, tmp_path):
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": r.random(120)})
    frame["y"] = (frame.a * 4).astype(int)
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", "--json", *QUICK)
    assert softwood(*words).json["record"]["task"] == "classification"
    assert softwood(*words, "--task", "regression").json["record"]["task"] == "regression"


def test_a_test_file_is_what_the_certificate_is_about(softwood, shop, tmp_path):
    shop[:180].to_csv(tmp_path / "train.csv", index=False)
    shop[180:].to_csv(tmp_path / "test.csv", index=False)
    words = ("fit", tmp_path / "train.csv", "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK)
    done = softwood(*words, "--test", tmp_path / "test.csv")
    certificate = done.json["certificate"]
    rows = shop[180:].dropna(subset="returned")
    right = HardEnsemble.load(tmp_path / "m").predict(rows) == rows["returned"].to_numpy()
    assert certificate["n"] == len(rows)
    assert certificate["score"]["value"] == pytest.approx(right.mean(), abs=0)
    assert done.json["record"]["search"]["held_out_rows"] == 0
    assert str(tmp_path / "test.csv") in certificate["rows"]
    assert done.json["unseen"] is True


def test_the_training_table_as_test_file_is_called_what_it_is(softwood, shop_csv, tmp_path):
    words = ("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK)
    done = softwood(*words, "--test", shop_csv)
    assert "the test file is the training table" in " ".join(done.json["certificate"]["not_covered"])


def test_a_leak_is_flagged(softwood, shop, tmp_path):
    shop.assign(copy=shop["returned"]).to_csv(tmp_path / "t.csv", index=False)
    done = softwood("fit", tmp_path / "t.csv", "--target", "returned", "--out", tmp_path / "m", *QUICK)
    assert "POSSIBLE LEAK (kept; --drop leaves it out): copy: is a copy of the target" in done.out


def test_a_second_fit_replaces_the_first(softwood, shop_csv, regression, tmp_path):
    first = softwood("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK)
    table = regression.parent / "numbers.csv"
    second = softwood("fit", table, "--target", "y", "--out", tmp_path / "m", "--json", *QUICK)
    assert first.json["fingerprint"] != second.json["fingerprint"]
    assert HardEnsemble.load(tmp_path / "m").fingerprint == second.json["fingerprint"]
    assert json.loads((tmp_path / "m" / "record.json").read_text())["target"] == "y"


def test_a_few_rows_are_certified_as_what_they_are(softwood, tmp_path):
    frame = pd.DataFrame({"a": np.arange(40.0) ** 2, "y": ["p", "q"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = softwood("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert "on all 40 rows, each answered by one of 5 models fitted in the same way without it" in done.out
    done = softwood("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", "--holdout", "0.1", *QUICK)
    assert "the 40 training rows, so it is optimistic" in done.out


def test_a_column_of_lists_is_left_out(softwood, shop, tmp_path):
    shop.assign(tags=[["a", "b"]] * len(shop)).to_parquet(tmp_path / "shop.parquet")
    done = softwood("fit", tmp_path / "shop.parquet", "--target", "returned", "--out", tmp_path / "m", *QUICK)
    assert done.code == 0, done.err
    assert "left out: tags: holds lists or other containers" in done.out


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{absent}", "--target", "y"], "there is no such file"),
        (["{table}", "--target", "returnd"], "did you mean 'returned'?"),
        (["{table}", "--target", "returned", "--drop", "pric"], "did you mean 'price'?"),
        (["{table}", "--target", "returned", "--drop", "returned"], "the column of --target is dropped"),
        (["{table}", "--target", "shop"], "one class only"),
        (["{empty}", "--target", "y"], "the table is empty"),
        (["{table}", "--target", "returned", "--time-limit", "5x"], "write 90, 90s, 5m or 1h"),
        (["{table}", "--target", "returned", "--time-limit", "0"], "write 90, 90s, 5m or 1h"),
        (["{table}", "--target", "returned", "--task", "ranking"], "allowed: 'classification', 'regression'"),
        (["{table}", "--target", "returned", "--metric", "f1"], "allowed: 'accuracy', 'log_loss'"),
        (["{table}", "--target", "returned", "--max-depth", "40"], "--max-depth"),
        (["{table}", "--target", "returned", "--seed", "-1"], "--seed is out of range"),
        (["{table}", "--target", "returned", "--test", "{absent}"], "there is no such file"),
        (["{table}", "--target", "returned", "--test", "{narrow}"], "no 'city'"),
        (["{table}", "--target", "returned", "--out", "{foreign}"], "foreign"),
        (["-", "--target", "returned", "--test", "-"], "two tables on standard input"),
        (["{table}"], "--target"),
        (["{table}", "--target", "returned", "--depth", "3"], "No such option"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_used_is_refused_in_words(softwood, shop_csv, tmp_path, monkeypatch, words, message, as_json):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years of work")
    (tmp_path / "narrow.csv").write_text("price,member,sold,returned\n" + "1,no,2024-01-01,kept\n" * 9)
    names = {
        "narrow": tmp_path / "narrow.csv",
        "table": shop_csv,
        "absent": tmp_path / "no.csv",
        "empty": tmp_path / "empty.csv",
        "foreign": "foreign",
    }
    given = [word.format(**names) for word in words]
    done = softwood("fit", *given, "--effort", "0.05", *(["--json"] if as_json else []))
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1
    if as_json:
        assert message in done.json["error"]["message"]
    else:
        assert done.out == "" or "Table" in done.out.splitlines()[0]
    assert (tmp_path / "foreign" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.checkpoint").exists()


# ---------------------------------------------------------------- stopping


def test_ctrl_c_before_there_is_a_tree_leaves_nothing(softwood, shop_csv, tmp_path, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("softwood.trees.TreeClassifier.fit", interrupted)
    done = softwood("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", *QUICK)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "m.checkpoint").exists()


def test_ctrl_c_while_training_keeps_the_best_tree(shop_csv, tmp_path, monkeypatch):
    class Pressing(Output):
        """Presses Ctrl-C when the restarts begin."""

        def stages(self):
            pressed = []

            def report(stage, done):
                if stage == "gradient restarts" and not pressed:
                    pressed.append(stage)
                    signal.raise_signal(signal.SIGINT)

            return nullcontext(report)

    before = signal.getsignal(signal.SIGINT)
    options = FitOptions(str(shop_csv), ("returned",), max_depth=2, effort=0.05, out=tmp_path / "m")
    found = fit_model(options, Pressing(as_json=True))
    assert found["interrupted"] is True
    assert HardEnsemble.load(tmp_path / "m").fingerprint == found["fingerprint"]
    assert json.loads((tmp_path / "m" / "record.json").read_text())["interrupted"] is True
    assert signal.getsignal(signal.SIGINT) is before


def test_prepare_keeps_the_raw_column_of_a_date(shop_csv):
    data = prepare(FitOptions(str(shop_csv), ("returned",)))
    assert list(data.frame.columns) == ["price", "city", "member", "sold"]
    assert len(data.frame) == len(data.y) == 348
    assert "sold.month" in [column.name for column in data.found.columns]


@pytest.mark.slow
@pytest.mark.parametrize("restarts_done", [False, True])
def test_a_killed_fit_goes_on_to_the_same_tree(softwood, shop, tmp_path, restarts_done):
    table = tmp_path / "t.csv"
    shop.to_csv(table, index=False)
    words = ("fit", str(table), "--target", "returned", "--max-depth", "3", "--effort", "0.3")
    whole = softwood(*words, "--out", tmp_path / "whole", "--json")
    program = [sys.executable, "-c", "from softwood.cli import main; main()", *words, "--out", str(tmp_path / "m")]
    with subprocess.Popen([*program, "--progress"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        assert running.stderr is not None
        last = b"restarts 100 %" if restarts_done else b"kicks and polish 0 %"
        next(line for line in running.stderr if last in line)
        if restarts_done:
            running.stderr.readline()  # the next stage has begun, so the restarts are saved
        os.kill(running.pid, signal.SIGKILL)
    assert not (tmp_path / "m").exists()
    assert (tmp_path / "m.checkpoint" / "fit.json").exists()
    again = softwood(*words, "--out", tmp_path / "m", "--json")
    assert again.json["fingerprint"] == whole.json["fingerprint"]
    if restarts_done:  # killed earlier, it depends on the machine whether the first stage was saved
        assert "going on from" in again.err
    assert not (tmp_path / "m.checkpoint").exists()


def test_a_forest_is_fitted_within_its_size_and_used_like_a_tree(shop_csv, tmp_path):
    options = FitOptions(str(shop_csv), ("returned",), shape="forest", size=30, effort=0.05, out=tmp_path / "forest")
    found = fit_model(options, Output(as_json=True))
    model = HardEnsemble.load(tmp_path / "forest")
    assert model.n_trees > 1
    assert model.n_leaf_values <= 30
    assert found["fingerprint"] == model.fingerprint


def test_stability_is_recorded_and_stands_in_the_report(softwood, shop_csv, tmp_path):
    words = ("--target", "returned", "--effort", "0.05", "--max-depth", "2", "--stability", "--out", tmp_path / "m")
    done = softwood("fit", shop_csv, *words)
    assert "50 bootstrap samples of the training rows" in done.out
    found = json.loads((tmp_path / "m" / "record.json").read_text())["search"]["stability"]
    assert found["splits"][0]["depth"] == 0
    assert softwood("report", tmp_path / "m", "--out", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text()
    assert "on bootstrap samples: same place" in page
    assert "among the ten strongest in" in page


@pytest.mark.parametrize("untuned", [True, False])
def test_fit_starts_from_a_model_that_is_brought(untuned, softwood, shop_csv, tmp_path):
    shop = pd.read_csv(shop_csv).dropna(subset="returned")
    teacher = lightgbm.LGBMClassifier(n_estimators=9, num_leaves=5, verbose=-1, n_jobs=1)
    teacher.fit(shop[["price", "order_id"]], (shop["returned"] == "kept").astype(int))
    teacher.booster_.save_model(tmp_path / "model.txt")
    words = ("--from", tmp_path / "model.txt", *(["--untuned"] if untuned else []))
    done = softwood("fit", shop_csv, "--target", "returned", "--shape", "forest", "--size", "20", "--out",
                    tmp_path / "m", *words, *QUICK)  # fmt: skip
    assert done.code in (0, 1)
    record = json.loads((tmp_path / "m" / "record.json").read_text())["search"]
    model = HardEnsemble.load(tmp_path / "m")
    assert record["brought"]["source"] == "model.txt"
    if untuned:
        assert [column.name for column in model.columns] == ["price", "order_id"]
        theirs = teacher.predict_proba(shop[["price", "order_id"]])
        np.testing.assert_allclose(model.predict_proba(shop), theirs, atol=1e-9)
        assert "has seen these rows" in done.out
        again = softwood("export", tmp_path / "m", "--to", "lightgbm", "--out", tmp_path / "again.txt", "--check",
                         shop_csv)  # fmt: skip
        assert again.code == 0
        assert lightgbm.Booster(model_file=tmp_path / "again.txt").num_trees() >= 9
    else:
        assert model.n_leaf_values <= 20
        assert "the model that was brought is" in done.out


def test_untuned_needs_a_model(softwood, shop_csv):
    done = softwood("fit", shop_csv, "--target", "returned", "--untuned")
    assert done.code == 2
    assert "--from MODEL --untuned" in done.err
