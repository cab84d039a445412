"""The Python file, imported and run by hand: nothing of the exporter's own checking is used here."""

from __future__ import annotations

import ast
import csv
import io
import math
import runpy
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softwood.artifacts import Column, HardEnsemble, probes
from softwood.artifacts import _export_python as exporter
from softwood.artifacts._export_python import write_python


def _load(text, folder):
    path = folder / "model.py"
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(path))


def _small():
    columns = (Column("age", "number"), Column("member", "boolean"), Column("city", "category", ("Bonn", "1", "Ulm")))
    return HardEnsemble(
        columns=columns, outputs=("p",), link="probability", classes=("no", "yes"), feature=[1, 0, -1, -1, 2, -1, -1],
        threshold=[0.5, 30.25, *[np.nan] * 5], missing_left=[True, False, False, False, True, False, False],
        left=[1, 2, 0, 0, 5, 0, 0], right=[4, 3, 0, 0, 6, 0, 0], level_set=[-1, -1, -1, -1, 0, -1, -1],
        levels_left=[[True, False, True]], leaf=[-1, -1, 0, 1, -1, 2, 3], values=[[0.1], [0.9], [0.25], [0.75]],
        counts=[10, 20, 30, 40.5], roots=[0], base=[0.0],
    )  # fmt: skip


@pytest.mark.parametrize("deepest", [16, -1], ids=["nested ifs", "tables"])
def test_it_gives_the_answers_of_the_definition(lab, tmp_path_factory, monkeypatch, deepest):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)

    @settings(max_examples=40)
    @given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 6), trees=st.integers(1, 5), depth=st.integers(0, 5))
    def check(seed, number, trees, depth):
        rng = np.random.default_rng(seed)
        model = lab.model(rng, lab.cases[number], trees=trees, depth=depth)
        text = write_python(model)
        assert ("def walk(" in text) == (deepest < 0)
        file = _load(text, tmp_path_factory.mktemp("python"))
        for row in lab.as_dicts(model, lab.rows(rng, model, 15)) + lab.as_dicts(model, probes(model, limit=50)):
            total = lab.walk(model, row)
            if model.classes is None:
                value = file["predict"](row)
                assert (value if len(total) > 1 else [value]) == total
            else:
                assert file["predict"](row) == lab.label(model, total)
                np.testing.assert_allclose(file["predict_proba"](row), lab.link(model, total), rtol=0, atol=1e-14)

    check()


def test_large_models_become_tables(lab):
    rng = np.random.default_rng(0)
    columns = (Column("x", "number"), Column("y", "number"), Column("c", "category", ("a", "b")))
    assert "def walk(" not in write_python(lab.model(rng, trees=20, depth=5, columns=columns))
    large = lab.model(rng, trees=400, depth=5, columns=columns)
    assert large.n_splits > exporter._MOST_SPLITS
    assert "def walk(" in write_python(large)


def test_it_needs_nothing_but_an_old_standard_library(lab):
    model = lab.model(np.random.default_rng(1), "softmax")
    for text in (write_python(model), write_python(_small())):
        tree = ast.parse(text, feature_version=(3, 8))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert imported == {"csv", "math", "sys"}
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_the_header_names_the_model_and_the_rule_for_missing_values():
    model = _small()
    text = write_python(model)
    header = ast.get_docstring(ast.parse(text))
    assert header.splitlines()[0] == repr(model)
    assert model.fingerprint in header
    assert "Missing values are None, NaN and empty cells" in header


def test_a_small_tree_reads_like_its_rules():
    text = write_python(_small())
    body = text[text.index("def tree_0") : text.index("TREES")].rstrip()
    assert body.splitlines() == [
        "def tree_0(row):",
        "    if not row['member'] > 0.5:",
        "        if row['age'] <= 30.25:",
        "            return [0.1]  # n = 10",
        "        else:",
        "            return [0.9]  # n = 20",
        "    else:",
        "        if row['city'] not in {'1'}:",
        "            return [0.25]  # n = 30",
        "        else:",
        "            return [0.75]  # n = 40.5",
    ]


@pytest.mark.parametrize("deepest", [16, -1], ids=["nested ifs", "tables"])
def test_raw_values_mean_what_they_mean_to_the_model(tmp_path, monkeypatch, deepest):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    model = _small()
    file = _load(write_python(model), tmp_path)
    ages = [30.25, "30.25", " 30.25 ", "3025e-2", 30, "31", None, "", "NA", "nan", "n/a", "-", ".", math.nan, True]
    members = [True, False, 1, 0, 1.0, "yes", "No", "TRUE", "f", "1", "0.0", None, "", "null", "?"]
    cities = ["Bonn", "Ulm", "1", 1, 1.0, True, None, "", math.nan, "ulm", " Ulm", "1.0", 2.5, b"1", "NA"]
    rows = [
        (ages[(i + j) % len(ages)], member, city) for i, member in enumerate(members) for j, city in enumerate(cities)
    ]
    for row in rows:  # one by one: in a column, the other values decide how a table reads it
        expected = model.predict_proba([row])[0].tolist()
        assert file["predict_proba"](dict(zip(("age", "member", "city"), row, strict=True))) == expected, row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": "old", "member": 0, "city": "Ulm"}, "column 'age' holds 'old', which is no finite number"),
        ({"age": math.inf, "member": 0, "city": "Ulm"}, "column 'age' holds inf"),
        ({"age": "1_000", "member": 0, "city": "Ulm"}, "column 'age' holds '1_000'"),
        ({"age": 10**400, "member": 0, "city": "Ulm"}, "column 'age' holds"),
        ({"age": [1], "member": 0, "city": "Ulm"}, "column 'age' holds"),
        ({"age": 1, "member": "maybe", "city": "Ulm"}, "column 'member' holds 'maybe'"),
        ({"age": 1, "member": 2, "city": "Ulm"}, "neither true nor false"),
        ({"age": 1, "member": 1}, "lacks the column 'city'"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused(tmp_path, row, message):
    file = _load(write_python(_small()), tmp_path)
    with pytest.raises((ValueError, KeyError), match=message):
        file["predict"](row)


# ------------------------------------------------------------------ the command line
def _convert(model, tmp_path, table, *, stdin=False):
    (tmp_path / "model.py").write_text(write_python(model), encoding="utf-8")
    (tmp_path / "table.csv").write_bytes(table)
    return subprocess.run(
        [sys.executable, "-I", str(tmp_path / "model.py"), "-" if stdin else str(tmp_path / "table.csv")],
        capture_output=True, check=False, input=table if stdin else None,
    )  # fmt: skip


@pytest.mark.parametrize("stdin", [False, True])
def test_a_table_becomes_a_table_of_answers(tmp_path, stdin):
    table = b"\xef\xbb\xbfcity,age,other,member\r\nUlm,30.25,x,no\n\nBonn,,y,yes\n1,,z,yes\n"
    done = _convert(_small(), tmp_path, table, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        '"label","probability of no","probability of yes"',
        '"no",0.9,0.1',
        '"no",0.75,0.25',
        '"yes",0.25,0.75',
    ]


def test_names_and_labels_of_any_text_survive(lab, tmp_path):
    rng = np.random.default_rng(9)
    model = lab.model(rng, "softmax", trees=3)
    table = lab.rows(rng, model, 30)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.columns)
    for row in lab.as_dicts(model, table):
        writer.writerow(["" if value is None or value != value else value for value in row.values()])
    done = _convert(model, tmp_path, text.getvalue().encode())
    assert done.returncode == 0, done.stderr
    found = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert found[0][1:] == [f"probability of {label}" for label in model.classes]
    assert [row[0] for row in found[1:]] == model.predict(table).tolist()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"city,age,member\nUlm,1\n", "line 2 has 2 cells instead of 3"),
        (b"city,age,member\nUlm,1,0\nUlm,old,0\n", "line 3: column 'age' holds 'old'"),
        (b"city,age\nUlm,1\n", "column 'member' is in the table 0 times"),
        (b"city,age,member,age\nUlm,1,1,2\n", "column 'age' is in the table 2 times"),
        (b"", "is in the table 0 times"),
        (b"city,age,member\n\xff,1,1\n", "can't decode"),
    ],
)
def test_a_table_that_cannot_be_read_ends_with_code_2(tmp_path, table, message):
    done = _convert(_small(), tmp_path, table)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_wrong_usage_ends_with_code_2(tmp_path):
    (tmp_path / "model.py").write_text(write_python(_small()), encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(tmp_path / "model.py")], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"usage: python FILE table.csv" in done.stderr


def test_the_file_splits_dates_as_the_model_does(tmp_path):
    columns = tuple(Column(f"t.{part}", "number") for part in ("year", "month", "day", "weekday", "hour"))
    dates = [
        "2024-03-05", "2024/3/5 14:30", "05.03.2024", "31.12.1999 23:59:59.5", "2023-01-01T00:00:00+02:00", "NA",
        None, " 2024-02-29 ", "2024-06-30 7:05Z",
        "5 March 2024", "5-Mar-2024 14:30", "Mar. 5, 2024", "sept 30 2023", "2024-03",
    ]  # fmt: skip
    for position, threshold in enumerate((2023.5, 5.5, 15.5, 2.5, 12.5)):
        model = HardEnsemble(
            columns=columns, outputs=("y",), link="identity", classes=None, feature=[position, -1, -1],
            threshold=[threshold, np.nan, np.nan], missing_left=[False] * 3, left=[1, 0, 0], right=[2, 0, 0],
            level_set=[-1] * 3, levels_left=np.zeros((0, 0), bool), leaf=[-1, 0, 1], values=[[0.0], [1.0]],
            counts=[1, 1], roots=[0], base=[0.0],
        )  # fmt: skip
        space = _load(write_python(model), tmp_path)
        found = [space["predict"]({"t": date}) for date in dates]
        assert found == model.predict({"t": dates}).tolist()
        assert space["predict"]({"t": datetime(2024, 3, 5, 14)}) == model.predict({"t": ["2024-03-05 14:00"]})[0]
        with pytest.raises(ValueError, match="which is no date"):
            space["predict"]({"t": "05/03/2024"})
        with pytest.raises(ValueError, match="which is no date"):
            space["predict"]({"t": "5 Marsh 2024"})
