"""``softwood export``: files, reports, and what happens when a file does not answer as the model does."""

from __future__ import annotations

import csv
import io
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from softwood.artifacts import FORMATS, ExportMismatchError, HardEnsemble, load_json
from softwood.core import MissingExtraError

# parsed, not run: there is no engine for these
UNRUN = {"sql-tsql", "sql-oracle", "sql-snowflake", "sql-bigquery"}


@pytest.mark.parametrize("to", list(FORMATS))
def test_an_export_is_named_after_the_model_and_verified(softwood, model, tmp_path, monkeypatch, to):
    monkeypatch.chdir(tmp_path)
    done = softwood("export", model, "--to", to, "--check", model.parent / "shop.csv", "--json")
    (report,) = done.json["exports"]
    assert done.code == 0
    assert report["path"] == f"model{FORMATS[to].suffix}"
    assert (tmp_path / report["path"]).exists()
    assert report["verified"] is (to not in UNRUN)
    assert report["user_rows"] == 360
    assert report["rows"] > 360 or to in UNRUN
    assert report["fingerprint"] == HardEnsemble.load(model).fingerprint


def test_the_exported_python_file_answers_as_predict_does_without_softwood(softwood, model, tmp_path):
    table, place = model.parent / "shop.csv", tmp_path / "m"
    words = ("--target", "returned", "--drop", "sold", "--effort", "0.05", "--max-depth", "2", "--out", place)
    assert softwood("fit", table, *words).code == 0
    assert softwood("export", place, "--to", "python", "--out", tmp_path / "tree.py").code == 0
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "tree.py"), str(table)], capture_output=True, check=True, timeout=60
    )
    theirs = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    ours = list(csv.DictReader(io.StringIO(softwood("predict", place, table, "--proba").out)))
    assert len(ours) == 360
    assert [row["label"] for row in theirs] == [row["label"] for row in ours]
    assert list(theirs[0]) == list(ours[0])
    for name in ("probability of back", "probability of kept"):
        assert [float(row[name]) for row in theirs] == [float(row[name]) for row in ours]


def test_a_model_on_dates_is_exported_and_the_python_file_takes_raw_dates(softwood, shop, tmp_path):
    late = shop.assign(returned=["back" if day > "2024-06" else "kept" for day in shop["sold"]])
    late.to_csv(tmp_path / "t.csv", index=False)
    words = ("--target", "returned", "--effort", "0.05", "--max-depth", "2", "--out", tmp_path / "m")
    assert softwood("fit", tmp_path / "t.csv", *words).code == 0
    done = softwood("export", tmp_path / "m", "--to", "python", "--out", tmp_path / "m.py")
    assert "in columns of their own (sold.month); the Python file takes the date column as well" in done.out
    theirs = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "m.py"), str(tmp_path / "t.csv")], capture_output=True, check=True
    )
    ours = softwood("predict", tmp_path / "m", tmp_path / "t.csv").out.splitlines()
    assert [line.partition(",")[0].strip('"') for line in theirs.stdout.decode().splitlines()] == ours
    (tmp_path / "bad.csv").write_text("sold\n2024-13-01\n")
    bad = subprocess.run([sys.executable, str(tmp_path / "m.py"), str(tmp_path / "bad.csv")], capture_output=True)
    assert bad.returncode == 2
    assert b"line 2: column 'sold' holds '2024-13-01', which is no date" in bad.stderr


def test_a_kit_lies_beside_the_file_and_checks_it_without_softwood(softwood, model, tmp_path):
    done = softwood("export", model, "--to", "sql", "--kit", "--out", tmp_path / "tree.sql", "--json")
    folder = tmp_path / "tree.sql.kit"
    assert done.json["exports"][0]["kit"] == str(folder)
    assert {path.name for path in folder.iterdir()} == {"README.txt", "check.sql", "load.sql", "model.sql", "rows.csv"}
    # as README.txt says: the model's answers as a view, then one query that returns the mismatches
    with sqlite3.connect(":memory:") as base:
        base.executescript((folder / "load.sql").read_text())
        base.execute(f"CREATE VIEW softwood_answers AS {(folder / 'model.sql').read_text()}")
        assert base.execute((folder / "check.sql").read_text()).fetchall() == []
        base.execute("UPDATE softwood_expected SET expected_label = 'wrong' WHERE softwood_key = 0")
        assert len(base.execute((folder / "check.sql").read_text()).fetchall()) == 1


def test_all_goes_to_a_folder(softwood, model, tmp_path):
    done = softwood("export", model, "--to", "all", "--out", tmp_path / "out")
    assert done.code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"model{form.suffix}" for form in FORMATS.values()}
    assert done.out.count("verified on") == len(FORMATS) - len(UNRUN)
    assert done.out.count("UNVERIFIED (parsed as") == len(UNRUN)
    assert load_json(tmp_path / "out" / "model.json") == HardEnsemble.load(model)


def test_a_file_that_no_export_wrote_is_not_replaced(softwood, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("class Model: ...\n")
    done = softwood("export", model, "--to", "python")
    assert done.code == 2
    assert "which no export wrote" in done.err
    assert (tmp_path / "model.py").read_text() == "class Model: ...\n"
    assert softwood("export", model, "--to", "python", "--out", "model.py").code == 2
    assert softwood("export", model, "--to", "python", "--out", "other.py").code == 0
    assert softwood("export", model, "--to", "python", "--out", "other.py").code == 0
    assert softwood("export", model, "--to", "python", "--force").code == 0
    assert "Softwood model" in (tmp_path / "model.py").read_text()


def _broken(monkeypatch, error):
    def run(path, model, cells):
        raise error

    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], run=run))


def test_a_file_that_answers_otherwise_is_not_handed_over(softwood, model, tmp_path, monkeypatch):
    _broken(monkeypatch, ExportMismatchError("onnx", "row 3 differs"))
    done = softwood("export", model, "--to", "onnx", "--out", tmp_path / "m.onnx", "--json")
    assert done.code == 1
    assert "row 3 differs" in done.json["error"]["message"]
    assert not (tmp_path / "m.onnx").exists()
    all_of_them = softwood("export", model, "--to", "all", "--out", tmp_path / "out")
    assert all_of_them.code == 1
    assert "onnx: FAILED" in all_of_them.out
    others = {f"model{form.suffix}" for name, form in FORMATS.items() if name != "onnx"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == others


def test_a_file_that_nothing_here_can_run_is_called_unverified(softwood, model, tmp_path, monkeypatch):
    _broken(monkeypatch, MissingExtraError("onnxruntime", "export"))
    done = softwood("export", model, "--to", "onnx", "--out", tmp_path / "m.onnx")
    assert done.code == 0
    assert 'UNVERIFIED (onnxruntime is not installed; to fix: pip install "softwood[export]")' in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onx"], "did you mean 'onnx'?"),
        (["--to", "json", "--out", "."], "add a file name"),
        (["--to", "all", "--out", "taken"], "--out is a file"),
        (["--to", "json", "--check", "no.csv"], "there is no such file"),
        ([], "--to"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(softwood, model, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    done = softwood("export", model, *words)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
