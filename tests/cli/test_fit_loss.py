"""``softwood fit --loss``, and its directions and forbidden columns, on files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble, check_monotone
from softwood.cli._options import read_loss
from softwood.core import InputError

QUICK = ("--effort", "0.05", "--no-progress", "--target", "claims")


@pytest.fixture
def claims(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.uniform(18, 80, 300).round(1), "power": rng.uniform(40, 200, 300).round(1)})
    frame["since"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 300), unit="D")).strftime("%F")
    frame["claims"] = rng.poisson(np.exp(frame.power / 100 - frame.age / 60)) * 1.0
    path = tmp_path / "claims.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("shape", ["tree", "forest"])
def test_a_loss_is_trained_selected_certified_and_recorded(softwood, claims, tmp_path, shape):
    asked = ("fit", claims, "--shape", shape, "--loss", "poisson", "--task", "regression", "--out", tmp_path / "m")
    done = softwood(*asked, "--json", *QUICK)
    assert done.json["certificate"]["loss"] == "poisson"
    assert done.json["record"]["search"]["loss"] == "poisson"
    assert done.json["record"]["search"]["options"]["metric"] == "poisson"
    answers = softwood("predict", tmp_path / "m", claims, "--json").json["answers"]["value"]
    assert min(answers) > 0
    again = softwood("certify", tmp_path / "m", claims, "--json")
    assert again.json["loss"] == "poisson"
    level = softwood("fit", claims, "--loss", "quantile", "--quantile", "0.9", "--task", "regression",
                     "--shape", shape, "--out", tmp_path / "q", "--json", *QUICK)  # fmt: skip
    assert level.json["certificate"]["loss"] == "quantile:0.9"
    assert "negative" in softwood("fit", _minus(claims, tmp_path), *asked[2:], *QUICK).err


def _minus(claims, tmp_path):
    frame = pd.read_csv(claims)
    frame["claims"] *= -1
    frame.to_csv(tmp_path / "minus.csv", index=False)
    return tmp_path / "minus.csv"


def test_a_function_is_found_here_and_not_run_by_certify(softwood, claims, tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text("def flat(p, y):\n    return ((p - y) ** 2 + 1).sqrt().sum(1)\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    done = softwood("fit", claims, "--loss", "my_losses:flat", "--task", "regression", "--shape", "forest", "--size",
                    "40", "--out", "m", "--json", *QUICK)  # fmt: skip
    assert done.json["certificate"]["loss"] == "my_losses:flat"
    again = softwood("certify", "m", claims, "--json").json
    assert again["loss"] == "squared"
    assert any("my_losses:flat" in limit for limit in again["not_covered"])
    wrong = {
        "my_losses:other": "is not in the module",
        "my_losses:number": "is not in the module",
        "nowhere:f": "cannot be imported",
    }
    for text, message in {**wrong, ":f": "cannot be imported"}.items():
        with pytest.raises(InputError, match=message):
            read_loss(text)


@pytest.mark.parametrize("shape", ["tree", "forest"])
def test_directions_and_forbidden_columns_hold_and_are_certified(softwood, claims, tmp_path, shape):
    asked = ("--increasing", "power", "--decreasing", "age", "--forbid", "since", "--task", "regression")
    done = softwood("fit", claims, "--shape", shape, *asked, "--out", tmp_path / "m", "--json", *QUICK)
    model = HardEnsemble.load(tmp_path / "m")
    assert check_monotone(model, {"power": 1, "age": -1}) == []
    tested = {model.columns[f].name for f in model.feature[model.feature >= 0]}
    assert tested <= {"power", "age"}
    assert any(column.name.startswith("since.") for column in model.columns)
    verified = done.json["certificate"]["verified"]
    assert verified[:2] == ["never rises with age", "never falls with power"]
    assert all(text.startswith("never tests since.") for text in verified[2:])
    assert json.loads((tmp_path / "m" / "certificate.json").read_text())["verified"] == verified
    assert (
        "Verified for every row: never rises with age; never falls with power"
        in softwood("certify", tmp_path / "m", claims).out
    )
    wrong = softwood("fit", claims, "--increasing", "powr", "--task", "regression", "--out", tmp_path / "n", *QUICK)
    assert wrong.code == 2
    assert "power" in wrong.err
