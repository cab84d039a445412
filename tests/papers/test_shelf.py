"""The list of papers, and what every built one has to keep."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys

import pytest

from softwood.core import DamagedFileError, InputError
from softwood.papers import FAMILIES, SIZES, VERDICTS, built, check_here, eject, entries, load, pages, read_record
from softwood.papers._titles import TITLES

BUILT = built()


def test_all_127_are_listed_by_family():
    found = entries()
    assert len(found) == len({entry.id for entry in found}) == 127
    assert {entry.family for entry in found} == set(FAMILIES)
    assert {entry.verdict for entry in found} <= set(VERDICTS)
    assert all(entry.title and entry.does and len(entry.does) <= 90 for entry in found)


def test_what_is_unknown_or_not_built_is_said():
    with pytest.raises(InputError, match=r"did you mean 'gumbel-softmax'"):
        load("gumbel-sotfmax")
    missing = next(id for id in TITLES if id not in BUILT)
    with pytest.raises(InputError, match="not built"):
        load(missing)


def test_a_damaged_evidence_file_is_refused(tmp_path):
    (tmp_path / "sau.json").write_text("{")
    with pytest.raises(DamagedFileError, match="record it again"):
        read_record("sau", tmp_path)
    (tmp_path / "sau.json").write_text(json.dumps({"format": "softwood-evidence", "version": 2}))
    with pytest.raises(DamagedFileError, match="version 1"):
        read_record("sau", tmp_path)
    assert read_record("pdp", tmp_path) is None


@pytest.mark.parametrize("id", BUILT)
def test_a_paper_says_what_the_list_says_and_its_names_exist(id):
    paper = load(id).PAPER
    assert (paper.id, paper.family, paper.title, paper.does) == (id, *TITLES[id])
    for name in paper.api:
        room, _, rest = name.removeprefix("softwood.").partition(".")
        module = importlib.import_module(f"softwood.{room}")
        assert rest in module.__all__, name
    assert paper.claim.endswith(".")


@pytest.mark.parametrize("id", BUILT)
def test_smoke_runs_and_its_bars_hold(id):
    found = check_here(id, "smoke", 0)
    assert found["outcome"] in ("ran", "needs data")
    if found["outcome"] == "ran":
        missed = [bar for bar in found["evidence"]["bars"] if not bar["holds"]]
        assert missed == []
        assert found["evidence"]["scale"]


@pytest.mark.parametrize("id", BUILT)
def test_the_ejected_script_runs_on_its_own_data(id, tmp_path, monkeypatch, capsys):
    path = tmp_path / "script.py"
    path.write_text(eject(id))
    assert len(path.read_text().splitlines()) <= 80
    assert not re.search(r"softwood[\w.]*\._", path.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_sizes_are_the_three():
    assert SIZES == ("smoke", "quick", "full")


def test_every_built_paper_has_a_page(tmp_path):
    made = pages(tmp_path)  # without evidence
    assert set(made) == {"evidence.md", *(f"papers/{id}.md" for id in BUILT)}
    assert made["evidence.md"].count("\n| ") == 128
    assert all("Nothing is recorded yet." in made[f"papers/{id}.md"] for id in BUILT)


def test_a_page_shows_measures_bars_and_a_picture(tmp_path):
    bar = {"says": "b < c", "measured": 1.0, "bound": 1.0, "side": "at least", "origin": "paper", "every": False}
    one = {"name": "score", "unit": "", "spread": 0.1}
    means = (("ours", 1.0), ("a | b", None), ("<x>", 2.0))
    record = {
        "format": "softwood-evidence", "version": 1, "hash": "0", "date": "2026-01-01", "commit": "abc",
        "size": "quick", "outcome": "ran", "seeds": [0, 1], "seconds": [1, 2], "scale": "small",
        "bars": [{**bar, "holds": False}],
        "measures": [{**one, "method": name, "mean": mean} for name, mean in means],
    }  # fmt: skip
    (tmp_path / "gumbel-softmax.json").write_text(json.dumps(record))
    page = pages(tmp_path)["papers/gumbel-softmax.md"]
    assert "**missed**" in page
    assert "Verdict: **stale**" in page
    assert "a \\| b" in page
    assert page.count("<circle") == 2
    assert "&lt;x&gt;" in page
