"""``softwood fit`` with several numeric targets, from the table to every file."""

import json

import numpy as np
import pandas as pd
import pytest

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


def houses():
    rng = np.random.default_rng(0)
    n = 240
    frame = pd.DataFrame({"rooms": rng.integers(1, 9, n), "city": rng.choice(["Oslo", "Rome", "Zürich"], n)})
    frame["price"] = np.where(frame.city == "Oslo", 500.0, 200.0) + 10 * frame.rooms + rng.normal(size=n).round(3)
    frame["heat, kWh"] = (frame.rooms > 4) * 90.0 + rng.normal(size=n).round(3)
    frame.loc[3, "price"] = None
    frame.loc[[5, 7], "heat, kWh"] = None
    return frame


TARGETS = ("--target", "price", "--target", "heat, kWh")


@pytest.fixture(scope="module", params=["tree", "forest"])
def fitted(request, tmp_path_factory):
    from softwood.cli import main

    folder = tmp_path_factory.mktemp(request.param)
    houses().to_csv(folder / "houses.csv", index=False)
    words = ["fit", str(folder / "houses.csv"), *TARGETS, "--out", str(folder / "m"), "--shape", request.param, *QUICK]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return folder


def test_each_target_has_its_column_and_its_scores(softwood, fitted):
    frame = houses()
    record = json.loads((fitted / "m" / "record.json").read_text())
    assert record["targets"] == ["price", "heat, kWh"]
    assert record["search"]["rows"] + record["search"]["held_out_rows"] == 237
    answers = softwood("predict", fitted / "m", fitted / "houses.csv", "--json").json["answers"]
    assert list(answers) == ["value of price", "value of heat, kWh"]
    known = frame.notna().all(axis=1)
    scored = softwood("score", fitted / "m", fitted / "houses.csv", "--json").json
    assert (scored["rows"], scored["rows_without_target"]) == (237, 3)
    shares = []
    for name in ("price", "heat, kWh"):
        error = (np.array(answers[f"value of {name}"]) - frame[name])[known]
        assert scored["scores"][f"RMSE of {name}"]["value"] == pytest.approx(np.sqrt((error**2).mean()))
        assert scored["scores"][f"MAE of {name}"]["value"] == pytest.approx(error.abs().mean())
        shares.append(1 - (error**2).mean() / frame[name][known].var(ddof=0))
    assert scored["scores"]["R2"]["value"] == pytest.approx(np.mean(shares))
    assert min(shares) > 0.8


def test_the_other_verbs_take_the_model(softwood, fitted, tmp_path):
    assert softwood("certify", fitted / "m", fitted / "houses.csv").code in (0, 1)
    assert softwood("report", fitted / "m", "--table", fitted / "houses.csv", "--out", tmp_path / "r.html").code == 0
    assert "price, heat, kWh" in (tmp_path / "r.html").read_text()
    exported = softwood(
        "export", fitted / "m", "--to", "all", "--check", fitted / "houses.csv", "--out", tmp_path / "e"
    )
    assert "FAILED" not in exported.out
    assert exported.code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "price", "--target", "city"], "city"),
        (["--target", "price", "--target", "price"], "name one column"),
        (["--target", "price", "--target", "rooms", "--task", "classification"], "several targets are numbers"),
    ],
)
def test_targets_that_cannot_go_together_are_refused(softwood, tmp_path, words, message):
    houses().to_csv(tmp_path / "houses.csv", index=False)
    done = softwood("fit", tmp_path / "houses.csv", *words, "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert message in done.err


def test_rows_that_lack_a_target_each_are_none_to_learn_from(softwood, tmp_path):
    frame = houses()
    frame.loc[::2, "price"] = None
    frame.loc[1::2, "heat, kWh"] = None
    frame.to_csv(tmp_path / "houses.csv", index=False)
    done = softwood("fit", tmp_path / "houses.csv", *TARGETS, "--out", tmp_path / "m", *QUICK)
    assert done.code == 2
    assert "no row has all targets" in done.err
