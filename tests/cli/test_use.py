"""``softwood predict``, ``score``, ``certify`` and ``show``."""

from __future__ import annotations

import io
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble
from softwood.lifecycle import Certificate
from softwood.trees import SoftModel

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


def _table(model):
    return model.parent / "shop.csv"


# ---------------------------------------------------------------- predict


def test_predict_writes_the_models_answers_as_csv(softwood, model, shop):
    done = softwood("predict", model, _table(model), "--proba")
    found = pd.read_csv(io.StringIO(done.out))
    ensemble = HardEnsemble.load(model)
    assert (done.code, done.err) == (0, "")
    assert list(found.columns) == ["label", "probability of back", "probability of kept"]
    assert found["label"].tolist() == ensemble.predict(shop).tolist()
    np.testing.assert_array_equal(found.iloc[:, 1:].to_numpy(), ensemble.predict_proba(shop))


def test_predict_to_a_file_and_as_json(softwood, model, shop, tmp_path):
    done = softwood("predict", model, _table(model), "--out", tmp_path / "answers.csv")
    assert done.out == f"360 answers in {tmp_path / 'answers.csv'}\n"
    content = softwood("predict", model, _table(model), "--json").json
    expected = HardEnsemble.load(model).predict(shop).tolist()
    assert pd.read_csv(tmp_path / "answers.csv")["label"].tolist() == content["answers"]["label"] == expected
    both = softwood("predict", model, _table(model), "--json", "--out", tmp_path / "b.csv").json
    assert both["file"] == str(tmp_path / "b.csv")


def test_predict_reads_standard_input_and_ignores_other_columns(softwood, model, shop, monkeypatch):
    text = shop.drop(columns=["returned", "shop"])[::-1].assign(extra=1).to_csv(index=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = softwood("predict", model, "-")
    assert done.out.splitlines()[1:] == HardEnsemble.load(model).predict(shop)[::-1].tolist()


def test_predict_of_a_regression(softwood, regression):
    table = regression.parent / "numbers.csv"
    found = pd.read_csv(io.StringIO(softwood("predict", regression, table).out))
    np.testing.assert_array_equal(found["value"], HardEnsemble.load(regression).predict(pd.read_csv(table)))
    refused = softwood("predict", regression, table, "--proba")
    assert refused.code == 2
    assert "leave --proba out" in refused.err


def test_predict_reads_numbers_as_the_training_table_wrote_them(softwood, tmp_path):
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": (r.random(150) * 20).round(3)})
    frame["y"] = np.where(frame.a > 10, "high", "low")
    frame.to_csv(tmp_path / "train.csv", sep=";", decimal=",", index=False)
    assert softwood("fit", tmp_path / "train.csv", "--target", "y", "--out", tmp_path / "m", *QUICK).code == 0
    (tmp_path / "same.csv").write_text("a;b\n1,234;0\n15,678;0\n")  # alone, a comma before three digits is a thousand
    (tmp_path / "other.csv").write_text("a,b\n1.234,0\n15.678,0\n")
    for name in ("same.csv", "other.csv"):
        assert softwood("predict", tmp_path / "m", tmp_path / name).out == "label\nlow\nhigh\n", name


@pytest.mark.parametrize("command", ["predict", "score", "certify"])
def test_a_missing_column_is_named(softwood, model, shop, tmp_path, command):
    shop.rename(columns={"price": "prize"}).to_csv(tmp_path / "t.csv", index=False)
    done = softwood(command, model, tmp_path / "t.csv", "--json")
    assert done.code == 2
    assert "did you mean 'prize' for 'price'?" in done.json["error"]["fix"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["predict", "score", "certify", "show"])
@pytest.mark.parametrize("damage", ["absent", "json", "arrays", "foreign"])
def test_a_damaged_model_is_refused(softwood, model, tmp_path, command, damage):
    place = tmp_path / "m"
    if damage == "foreign":
        place.mkdir()
    elif damage != "absent":
        shutil.copytree(model, place)
        file = place / ("artifact.json" if damage == "json" else "arrays.safetensors")
        file.write_bytes(file.read_bytes()[:-40])
    done = softwood(command, place, *([] if command == "show" else [_table(model)]))
    assert done.code == 2
    assert "to fix: " in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


# ---------------------------------------------------------------- score


def test_score_of_a_classifier(softwood, model, shop):
    done = softwood("score", model, _table(model), "--json")
    known = shop.dropna(subset="returned")
    ensemble = HardEnsemble.load(model)
    truth = known["returned"].to_numpy()
    right = np.where(truth == "back", *ensemble.predict_proba(known).T)
    scores = done.json["scores"]
    assert done.json["rows"] == 348
    assert done.json["rows_without_target"] == 12
    assert done.json["is_training_table"] is True
    assert scores["accuracy"]["value"] == pytest.approx((ensemble.predict(known) == truth).mean(), abs=0)
    assert scores["log-loss"]["value"] == pytest.approx(-np.log(right).mean(), rel=1e-12)
    for part in scores.values():
        assert part["low"] < part["value"] < part["high"]
    text = softwood("score", model, _table(model)).out
    assert "accuracy 0." in text
    assert "the scores are optimistic" in text


def test_score_of_a_regression(softwood, regression):
    table = regression.parent / "numbers.csv"
    frame = pd.read_csv(table)
    error = frame["y"] - HardEnsemble.load(regression).predict(frame)
    scores = softwood("score", regression, table, "--json").json["scores"]
    assert scores["R2"]["value"] == pytest.approx(1 - (error**2).mean() / frame["y"].var(ddof=0), rel=1e-9)
    assert scores["RMSE"]["value"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
    assert scores["MAE"]["value"] == pytest.approx(error.abs().mean(), rel=1e-12)


def test_the_target_may_have_another_name(softwood, model, shop, tmp_path):
    shop[:100].rename(columns={"returned": "came_back"}).to_csv(tmp_path / "t.csv", index=False)
    assert softwood("score", model, tmp_path / "t.csv", "--target", "came_back").code == 0
    refused = softwood("score", model, tmp_path / "t.csv")
    assert refused.code == 2
    assert "--target: the column is unknown: got 'returned'" in refused.err


def test_labels_that_the_model_does_not_know_are_refused(softwood, model, shop, tmp_path):
    shop.assign(returned=shop["returned"].replace("back", "lost")).to_csv(tmp_path / "t.csv", index=False)
    done = softwood("score", model, tmp_path / "t.csv")
    assert done.code == 2
    assert "labels that the model does not know: got 'lost'; allowed: 'back', 'kept'" in done.err


def test_a_model_saved_by_python_needs_the_targets_name(softwood, model, tmp_path):
    HardEnsemble.load(model).save(tmp_path / "m")
    refused = softwood("score", tmp_path / "m", _table(model))
    assert refused.code == 2
    assert "pass --target COL" in refused.err
    found = softwood("score", tmp_path / "m", _table(model), "--target", "returned", "--json").json
    assert found["scores"] == softwood("score", model, _table(model), "--json").json["scores"]


# ---------------------------------------------------------------- certify and show


def test_certify_says_what_it_measured(softwood, model):
    done = softwood("certify", model, _table(model), "--json")
    certificate = Certificate.from_dict(done.json)
    assert done.code == 0
    assert certificate.n == 348
    assert any("the model was fitted on" in limit for limit in certificate.not_covered)
    assert "Passed" in softwood("certify", model, _table(model)).out


def test_certify_compares_with_the_soft_parent_and_fails_where_hardening_lost(softwood, tmp_path):
    table, place = tmp_path / "t.csv", tmp_path / "m"
    r = np.random.default_rng(1)
    frame = pd.DataFrame(r.random((300, 3)), columns=["a", "b", "c"])
    frame["y"] = np.where((frame.a > 0.5) ^ (frame.b > 0.5), "odd", "even")
    frame.to_csv(table, index=False)
    for seed in range(8):  # a tree that descends from a soft one does not win with every seed
        fitted = softwood("fit", table, "--target", "y", "--seed", seed, "--out", place, "--json", *QUICK)
        assert fitted.code == (0 if fitted.json["passed"] else 1)
        if (place / "soft.json").exists():
            break
    found = softwood("certify", place, table, "--json")
    assert found.code == (0 if found.json["passed"] else 1)
    assert found.json["agreement"]["value"] > 0.9
    soft = SoftModel.from_dict(json.loads((place / "soft.json").read_text()))
    own = np.arange(300), (frame["y"] == "odd").to_numpy().astype(int)
    for name, answers in (("soft", soft(frame)), ("rounded", soft.rounded(frame))):
        assert found.json[f"loss_{name}"] == pytest.approx(-np.log(np.clip(answers[own], 1e-15, 1)).mean(), rel=1e-9)

    # the certificate has to notice if what ships is not what was trained
    extras = {name: (place / name).read_text() for name in ("soft.json", "record.json", "certificate.json")}
    ensemble = HardEnsemble.load(place)
    swapped = HardEnsemble.from_dict({**ensemble.to_dict(), "values": (1 - ensemble.values).tolist()})
    swapped.save(place, extras=extras)
    failed = softwood("certify", place, table)
    assert failed.code == 1
    assert "NOT passed: what ships has a larger loss than plain rounding" in failed.out

    extras["soft.json"] = json.dumps({"columns": []})
    ensemble.save(place, extras=extras)
    damaged = softwood("certify", place, table)
    assert damaged.code == 2
    assert "soft.json: it is no soft model" in damaged.err


def test_show_prints_rules_and_certificate(softwood, model):
    done = softwood("show", model)
    assert done.out.startswith(str(HardEnsemble.load(model)))
    assert "held out from training and selection" in done.out
    content = softwood("show", model, "--json").json
    assert HardEnsemble.from_dict(content["ensemble"]) == HardEnsemble.load(model)


def test_show_lists_what_was_observed_in_each_leaf(softwood, model):
    text = softwood("show", model).out
    ensemble, record = HardEnsemble.load(model), json.loads((model / "record.json").read_text())
    assert "Leaves, on training rows" in text
    assert "Leaves, on the certificate's rows" in text
    assert text.count("leaf 0: ships ") == 2
    leaves = record["search"]["leaves"]
    assert [line["leaf"] for line in leaves] == list(range(ensemble.n_leaves))
    assert sum(line["n"] for line in leaves) == record["search"]["rows"]
    certificate = json.loads((model / "certificate.json").read_text())
    assert sum(line["n"] for line in certificate["leaves"]) == certificate["n"]
