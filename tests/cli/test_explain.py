"""``softwood explain``."""

from __future__ import annotations

import pytest

from softwood.artifacts import HardEnsemble


def test_explain_shows_the_way_and_a_change_that_works(softwood, model, shop):
    table, ensemble = model.parent / "shop.csv", HardEnsemble.load(model)
    content = softwood("explain", model, table, "--row", 7, "--json").json
    assert content["row"] == 7
    assert content["answer"] == ensemble.predict(shop)[7]
    changed = shop.iloc[[7]].copy()
    for change in content["counterfactual"]["changes"]:
        changed[change["column"]] = change["after"]
    assert ensemble.predict(changed)[0] == content["counterfactual"]["answer"] != content["answer"]
    text = softwood("explain", model, table, "--row", 7)
    assert text.code == 0
    assert text.out.startswith(f"Row 7: {content['answer']}  (")
    assert "checked by predicting it" in text.out
    kept = [change["column"] for change in content["counterfactual"]["changes"]]
    other = softwood("explain", model, table, "--row", 7, "--json", *(w for name in kept for w in ("--keep", name)))
    found = other.json["counterfactual"]
    assert found is None or not {change["column"] for change in found["changes"]} & set(kept)


def test_distances_are_standard_deviations_of_the_training_rows(softwood, model, shop):
    content = softwood("explain", model, model.parent / "shop.csv", "--row", 1, "--json").json
    change = content["counterfactual"]["changes"][0]
    assert change["column"] == "price"
    known = shop["price"][shop["returned"].notna()]
    assert change["distance"] == pytest.approx(abs(change["after"] - change["before"]) / known.std(), rel=0.1)


def test_explain_of_a_regression(softwood, regression):
    table = regression.parent / "numbers.csv"
    found = softwood("explain", regression, table, "--by", -1, "--json").json
    plain = softwood("explain", regression, table, "--json").json
    assert plain["counterfactual"] is None
    up = softwood("explain", regression, table, "--wanted", 2, "--json").json["counterfactual"]
    assert up["answer"] >= 2 or found["answer"] >= 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row", "360"], "there is no such row"),
        (["--row", "-1"], "there is no such row"),
        (["--keep", "prize"], "did you mean 'price'"),
        (["--wanted", "bac"], "did you mean 'back'"),
        (["--by", "1"], "a label has no amount"),
    ],
)
def test_explain_refuses(softwood, model, words, message):
    done = softwood("explain", model, model.parent / "shop.csv", *words)
    assert done.code == 2
    assert message in done.err
