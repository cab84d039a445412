"""``softwood fit``: how long it takes, and fits that are done again."""

from softwood.artifacts import HardEnsemble
from softwood.cli._console import Output
from softwood.cli._fit import fit_model
from softwood.cli._fit_options import FitOptions
from softwood.trees import _engine

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


def test_the_usual_time_limit_is_five_minutes_and_none_is_none(softwood, shop_csv, tmp_path):
    for asked, limit in (((), 300.0), (("--time-limit", "none"), None)):
        done = softwood("fit", shop_csv, "--target", "returned", "--out", tmp_path / "m", "--json", *QUICK, *asked)
        assert done.json["record"]["options"]["time_limit"] == limit
        assert done.json["record"]["search"]["cut_by_time_limit"] == []


def test_a_fit_like_another_one_gives_its_model_again_whatever_was_cut(softwood, shop_csv, tmp_path, monkeypatch):
    monkeypatch.setattr(_engine, "affordable", lambda search, *rest: {"kicks": 0.02, "teacher": 0.03}.get(search, 0.0))
    asked = ("--target", "returned", "--drop", "city", "--seed", "3", *QUICK)
    cut = softwood("fit", shop_csv, "--out", tmp_path / "cut", "--json", *asked)
    assert cut.json["record"]["search"]["cut_by_time_limit"] == ["kicks", "teacher", "gradient"]
    monkeypatch.undo()
    again = softwood(
        "fit", shop_csv, "--like", tmp_path / "cut", "--out", tmp_path / "again", "--json", "--no-progress"
    )
    assert again.json["fingerprint"] == cut.json["fingerprint"]
    assert again.json["record"]["search"]["plan"] == {"kicks": 0.02, "teacher": 0.03, "gradient": 0.0}
    whole = softwood("fit", shop_csv, "--out", tmp_path / "whole", "--json", *asked)
    assert whole.json["record"]["search"]["plan"] == dict.fromkeys(("kicks", "teacher", "gradient"), 0.05)


def test_like_takes_no_target_and_without_it_there_has_to_be_one(softwood, shop_csv, tmp_path):
    done = softwood("fit", shop_csv, "--like", tmp_path, "--target", "returned")
    assert (done.code, "--like says what the target is" in done.err) == (2, True)
    done = softwood("fit", shop_csv)
    assert (done.code, "nothing is to be predicted" in done.err) == (2, True)
    done = softwood("fit", shop_csv, "--like", tmp_path)
    assert (done.code, "does not say how the model was made" in done.err) == (2, True)


def test_a_valid_model_lies_there_while_a_long_fit_goes_on(shop_csv, tmp_path, monkeypatch):
    monkeypatch.setattr(_engine, "_LONG", 0.0)
    place, seen = tmp_path / "m", []
    find = _engine.gradient_candidates

    def look(*args):
        seen.append(HardEnsemble.load(place))
        assert {"certificate.json", "record.json"} <= {entry.name for entry in place.iterdir()}
        return find(*args)

    monkeypatch.setattr(_engine, "gradient_candidates", look)
    options = FitOptions(str(shop_csv), ("returned",), max_depth=2, effort=0.05, time_limit=300, holdout=0.2, out=place)
    fit_model(options, Output(True, False))
    assert len(seen) == 1
