"""``softwood demo``: the main job from end to end."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from softwood.artifacts import FORMATS
from softwood.cli._demo import write_tables


def test_the_demo_does_the_whole_job(softwood, tmp_path):
    done = softwood("demo", "--out", tmp_path / "d", "--effort", "0.05", "--json")
    found = done.json
    assert done.code == 0
    assert found["passed"] is True
    assert [report["format"] for report in found["exports"]] == list(FORMATS)
    assert {report["user_rows"] for report in found["exports"]} == {569}
    verified = {report["format"]: report["verified"] for report in found["exports"]}
    assert all(verified[name] for name in ("json", "onnx", "python", "sql"))
    assert not verified["sql-oracle"]  # nothing here runs Oracle, and the demo passes all the same
    assert all(Path(place).exists() for place in found["places"].values())
    assert found["score"]["scores"]["accuracy"]["value"] > 0.85
    assert found["certificate"]["n"] == found["fit"]["certificate"]["n"] == 114


@pytest.mark.slow
def test_the_demo_can_run_again_and_says_where_everything_is(softwood, tmp_path):
    for _ in range(2):
        done = softwood("demo", "--out", tmp_path / "d", "--effort", "0.05", "--no-progress")
        assert (done.code, done.err) == (0, "")
    assert done.out.count("$ softwood ") == 6
    assert str(tmp_path / "d" / "exports" / "model.onnx") in done.out.split("Where everything is")[1]


def test_a_file_in_the_way_is_refused(softwood, tmp_path):
    (tmp_path / "d").write_text("")
    done = softwood("demo", "--out", tmp_path / "d")
    assert done.code == 2
    assert "--out is a file" in done.err


def test_training_and_test_rows_are_a_partition(tmp_path):
    parts = {name: pd.read_csv(path) for name, path in write_tables(tmp_path).items()}
    assert len(parts["whole"]) == len(load_breast_cancer().target) == 569
    together = pd.concat([parts["train"], parts["test"]]).sort_values(list(parts["whole"].columns))
    whole = parts["whole"].sort_values(list(parts["whole"].columns))
    assert together.to_numpy().tolist() == whole.to_numpy().tolist()
    assert parts["test"]["diagnosis"].nunique() == 2
