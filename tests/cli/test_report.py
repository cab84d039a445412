"""``softwood report``."""

from __future__ import annotations

import json
import webbrowser

import numpy as np
import pytest

from softwood.artifacts import HardEnsemble


def test_a_page_is_written(softwood, model, tmp_path):
    place = tmp_path / "page.html"
    done = softwood("report", model, "--out", place, "--json")
    page = place.read_text(encoding="utf-8")
    fingerprint = HardEnsemble.load(model).fingerprint
    assert done.code == 0
    assert done.json == {"model": str(model), "fingerprint": fingerprint, "file": str(place), "table": None}
    assert fingerprint in page
    assert "Decision tree for returned" in page
    assert "No rows were passed" in page
    assert "Report in" in softwood("report", model, "--out", place).out


def test_a_table_is_measured_on_and_rows_are_shown(softwood, model, shop, tmp_path):
    place = tmp_path / "page.html"
    few = tmp_path / "few.csv"
    shop[:3].to_csv(few, index=False)
    table = model.parent / "shop.csv"
    assert softwood("report", model, "--table", table, "--rows", few, "--out", place).code == 0
    page = place.read_text(encoding="utf-8")
    assert "the table that the model was fitted on" in page
    assert "348 rows" in page
    assert "Calibration" in page
    shown = HardEnsemble.load(model).encode(shop[:3])
    assert (
        f'"rows":{json.dumps([[None if np.isnan(v) else v for v in row] for row in shown], separators=(",", ":"))}'
        in page
    )


def test_a_regression(softwood, regression, tmp_path):
    place = tmp_path / "page.html"
    assert softwood("report", regression, "--table", regression.parent / "numbers.csv", "--out", place).code == 0
    assert "Predicted against observed" in place.read_text(encoding="utf-8")


def test_the_usual_name_replaces_reports_only(softwood, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert softwood("report", model).code == 0
    assert softwood("report", model).code == 0
    (tmp_path / "model.html").write_text("my notes")
    refused = softwood("report", model)
    assert refused.code == 2
    assert "pass --out FILE.html" in refused.err
    assert (tmp_path / "model.html").read_text() == "my notes"
    (tmp_path / "folder").mkdir()
    assert softwood("report", model, "--out", tmp_path / "folder").code == 2


@pytest.mark.parametrize("opens", [True, False])
def test_open_shows_it(softwood, model, tmp_path, monkeypatch, opens):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda place: asked.append(place) or opens)
    done = softwood("report", model, "--out", tmp_path / "a page.html", "--open")
    assert done.code == 0
    assert asked == [(tmp_path / "a page.html").as_uri()]
    assert ("open" in done.err) is not opens


def test_what_cannot_be_read_is_said(softwood, model, tmp_path):
    absent = softwood("report", tmp_path / "nothing", "--out", tmp_path / "p.html")
    missing = softwood("report", model, "--table", model.parent / "shop.csv", "--target", "price2", "--out", "p.html")
    assert (absent.code, missing.code) == (2, 2)
    assert "--target: the column is unknown" in missing.err
    assert not (tmp_path / "p.html").exists()
