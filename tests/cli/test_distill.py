"""``softwood distill`` end to end, and the options that fit shares with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from softwood.lifecycle import Certificate

QUICK = ("--effort", "0.02", "--max-depth", "2", "--no-progress")
Run = Callable[..., Any]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with 10 missing targets, a marker for missing values, and a module that answers for it."""
    monkeypatch.chdir(tmp_path)
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": r.normal(size=210).round(3), "b": r.normal(size=210).round(3)})
    frame["city"] = r.choice(["Oslo", "Rome"], 210)
    frame["y"] = np.where((frame.a > 0) ^ (r.random(210) < 0.1), "yes", "no")
    frame.loc[:9, "y"] = None
    frame.loc[::7, "b"] = -999
    frame.to_csv("t.csv", index=False)
    Path("wise_owl.py").write_text("def chance(table):\n    return 1.0 * (table['a'] > 0)\n")
    return tmp_path / "t.csv"


def test_function_teaches_a_tree_that_is_saved_and_used(softwood: Run, table: Path) -> None:
    done = softwood(
        "distill", "wise_owl:chance", table, "--target", "y", "--mix", 1, "--missing", "b=-999", "--out", "m", *QUICK,
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = done.json
    assert found["fidelity"]["agreement"]["value"] > 0.9
    record = json.loads(Path("m/record.json").read_text())
    assert record["teacher"] == "wise_owl:chance"
    assert record["search"]["teacher"]["answers"] == "the probability of class yes (the other one is no)"
    assert record["search"]["teacher"]["extra_rows"] == 10
    assert record["table"]["missing"] == ["b=-999"]
    stored = Certificate.from_dict(json.loads(Path("m/certificate.json").read_text()))
    assert stored.fidelity is not None
    assert "wise_owl:chance" in stored.ships
    assert softwood("score", "m", table).code == 0
    assert "Fidelity to the teacher" in softwood("show", "m").out
    assert softwood("predict", "m", table, "--proba", "--out", "answers.csv").code == 0
    again = softwood("distill", "answers.csv", table, "--target", "y", "--mix", 1, "--out", "n", *QUICK, "--json")
    assert again.json["fidelity"]["agreement"]["value"] > 0.9
    pd.read_csv("answers.csv").head(50).to_csv("short.csv", index=False)
    short = softwood("distill", "short.csv", table, "--target", "y", "--out", "o")
    assert short.code == 2
    assert "got 50 rows in short.csv, 210 in" in short.err


def test_without_a_target_the_teacher_is_the_truth(softwood: Run, table: Path) -> None:
    done = softwood(
        "distill", "wise_owl:chance", table, "--drop", "y", "--task", "classification", "--shape", "forest", "--size",
        "12", "--effort", "0.01", "--no-progress", "--json", "--out", "m",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["fidelity"]["agreement"]["value"] > 0.9
    assert any("no labels" in limit for limit in done.json["certificate"]["not_covered"])
    values = softwood("distill", "wise_owl:chance", table, "--drop", "y", "--out", "v", *QUICK)
    assert "one numeric value" in values.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere:chance",), "the teacher cannot be imported"),
        (("wise_owl:nothing",), "the teacher is not in the module"),
        (("none.onnx",), "no such teacher"),
        (("wise_owl:chance", "--test", "t.csv"), "a test table needs a target"),
        (("wise_owl:chance", "--mix", "2"), "mix"),
        (("wise_owl:chance", "--mix", "0.5"), "no labels to mix with"),
    ],
    ids=["module", "function", "file", "test", "mix", "labels"],
)
def test_what_cannot_be_taught_says_so(softwood: Run, table: Path, words: tuple[str, ...], message: str) -> None:
    done = softwood("distill", words[0], table, *words[1:], "--out", "m")
    assert done.code == 2
    assert message in done.err
    assert not Path("m").exists()


def test_class_weight_moves_the_tree_towards_a_label(softwood: Run, table: Path) -> None:
    def said(*words: str) -> int:
        assert softwood("fit", table, "--target", "y", "--out", "m", *QUICK, *words).code == 0
        softwood("predict", "m", table, "--out", "p.csv")
        return int((pd.read_csv("p.csv")["label"] == "yes").sum())

    assert said("--class-weight", "yes=50") > said() > said("--class-weight", "no=50,yes=1")
    assert softwood("fit", table, "--target", "y", "--class-weight", "maybe=2").code == 2
    refused = softwood("fit", table, "--target", "a", "--drop", "y", "--class-weight", "balanced")
    assert "--class-weight is for classes" in refused.err


def test_missing_markers_are_read_alike_in_later_tables(softwood: Run, table: Path) -> None:
    done = softwood("fit", table, "--target", "y", "--missing", "-999", "--out", "m", *QUICK)
    assert "b: 30 cells hold -999 and are read as missing" in done.out
    thresholds = json.loads(softwood("show", "m", "--json").out)["rules"]
    assert "-999" not in thresholds
    plain, marked = pd.read_csv(table), pd.read_csv(table)
    plain["b"] = plain["b"].replace(-999, np.nan)
    plain.to_csv("plain.csv", index=False)
    marked.to_csv("marked.csv", index=False)
    assert softwood("predict", "m", "plain.csv").out == softwood("predict", "m", "marked.csv").out


def test_certify_repeats_what_the_record_does_not_cover(softwood: Run, table: Path) -> None:
    softwood("fit", table, "--target", "y", "--out", "m", *QUICK)
    path = Path("m/record.json")
    record = json.loads(path.read_text())
    record["search"]["not_covered"] = ["whether the model that was brought has seen these rows"]
    path.write_text(json.dumps(record))
    assert "- whether the model that was brought has seen these rows" in softwood("certify", "m", table).out
