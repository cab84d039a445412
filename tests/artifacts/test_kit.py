"""Kits, used as their README says, by what a validator has: an engine, a compiler, Python; never by Softwood."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from softwood.artifacts import Column, HardEnsemble, probes
from softwood.artifacts import _export_sql_run as running
from softwood.artifacts._export_sql_dialects import DIALECTS
from softwood.artifacts._kit import kit
from softwood.core import InputError

SWAP = ("<=", "<")  # the mildest fault: rows exactly on a threshold go the other way


def _model(lab, number=2, trees=3, seed=4):
    names = (Column("it's", "number"), Column("b b", "boolean"), Column("c", "category", ("x", "y\n", "'", " x")))
    return lab.model(np.random.default_rng(seed), lab.cases[number], trees=trees, depth=4, columns=names)


def _sqlite_check(folder, change=("", "")):
    connection = sqlite3.connect(":memory:")
    connection.executescript((folder / "load.sql").read_text())
    rows = connection.execute("SELECT COUNT(*) FROM softwood_expected").fetchone()[0]
    connection.execute("CREATE VIEW softwood_answers AS\n" + (folder / "model.sql").read_text().replace(*change))
    found = connection.execute((folder / "check.sql").read_text()).fetchall()
    connection.close()
    return rows, found


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("trees", [1, 4])
def test_sqlite_finds_a_right_model_right_and_a_broken_one_broken(lab, tmp_path, number, trees):
    model = _model(lab, number, trees)
    assert kit(model, tmp_path, "sql").verified
    rows, found = _sqlite_check(tmp_path)
    assert (rows, found) == (len(probes(model, limit=5000)), [])
    for change in (SWAP, ("IS NULL", "IS NOT NULL"), ("NOT IN", "IN"), ("sum_0 >", "sum_0 <")):
        if change[0] in (tmp_path / "model.sql").read_text():
            assert _sqlite_check(tmp_path, change)[1], change
    # rows that the model does not answer are mismatches, too
    assert len(_sqlite_check(tmp_path, ("FROM softwood_0", "FROM softwood_0 WHERE 1 = 0"))[1]) == rows


def test_an_altered_level_is_found(lab, tmp_path):
    model = HardEnsemble(
        columns=(Column("c", "category", ("x", "y\n")),), outputs=("y",), link="identity", classes=None,
        feature=[0, -1, -1], threshold=[np.nan] * 3, missing_left=[False] * 3, left=[1, 0, 0], right=[2, 0, 0],
        level_set=[0, -1, -1], levels_left=[[False, True]], leaf=[-1, 0, 1], values=[[0.0], [1.0]], counts=[0, 0],
        roots=[0], base=[0.0],
    )  # fmt: skip
    kit(model, tmp_path, "sql")
    assert _sqlite_check(tmp_path)[1] == []
    assert len(_sqlite_check(tmp_path, ("'y' || char(10)", "'y' || char(13, 10)"))[1]) == 1


def test_an_altered_leaf_is_found(lab, tmp_path):
    model = _model(lab, 0, 1)
    kit(model, tmp_path, "sql")
    reached = int(model.apply(probes(model))[0, 0])
    value = repr(float(model.values[reached, 0] + model.base[0]))
    assert f" {value}" in (tmp_path / "model.sql").read_text()
    found = _sqlite_check(tmp_path, (f" {value}", f" {value} + 0.00000001"))[1]
    assert found
    assert all(row[2] == pytest.approx(row[1] + 1e-8, rel=1e-12) for row in found)


def test_duckdb_runs_the_same_kit(lab, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    kit(_model(lab, 5), tmp_path, "sql-duckdb", table="t", keys=["row number", "second"])
    for change, expected in ((("", ""), False), (SWAP, True)):
        with duckdb.connect() as connection:
            connection.execute((tmp_path / "load.sql").read_text())
            text = (tmp_path / "model.duckdb.sql").read_text().replace(*change)
            connection.execute("CREATE VIEW softwood_answers AS " + text)
            found = connection.execute((tmp_path / "check.sql").read_text()).fetchall()
        assert bool(found) == expected


def test_postgres_runs_the_same_kit(lab, tmp_path):
    try:
        cluster = running._cluster()
    except running.NotRunError as error:
        pytest.skip(str(error))
    kit(_model(lab, 3), tmp_path, "sql-postgres")
    load = (tmp_path / "load.sql").read_text().replace("BEGIN;\n", "").replace("COMMIT;\n", "")
    check = (tmp_path / "check.sql").read_text().rstrip().rstrip(";")
    for change, expected in ((("", ""), False), (SWAP, True)):
        answers = cluster.data / f"kit{expected}.csv"
        model = (tmp_path / "model.postgres.sql").read_text().replace(*change)
        view = f"CREATE VIEW softwood_answers AS\n{model}"
        said = cluster.execute(
            ["BEGIN", load.rstrip().rstrip(";"), view, f"COPY ({check}) TO '{answers}' (FORMAT csv)"]
        )
        assert said == ""
        assert bool(answers.read_text()) == expected


@pytest.mark.parametrize("to", [to for to in DIALECTS if to not in ("sql", "sql-duckdb", "sql-postgres")])
def test_kits_for_engines_that_are_not_at_hand_parse(lab, tmp_path, to):
    sqlglot = pytest.importorskip("sqlglot")
    model = _model(lab, 3)
    assert not kit(model, tmp_path, to, limit=50).verified
    for name in ("load.sql", "check.sql"):
        parsed = sqlglot.parse((tmp_path / name).read_text(), read=DIALECTS[to].parser)
        assert len(parsed) == (1 if name == "check.sql" else 2 + 2 * len(probes(model, limit=50)))
        assert not any(isinstance(statement, sqlglot.exp.Command) for statement in parsed)
    assert "UNVERIFIED" in (tmp_path / "README.txt").read_text()


def _compare(folder):
    done = subprocess.run([sys.executable, "-I", "compare.py", "rows.csv", "answers.csv"], cwd=folder,
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("number", [0, 1, 3, 5])
def test_the_python_kit_is_checked_by_python_alone(lab, tmp_path, number):
    model = _model(lab, number)
    kit(model, tmp_path, "python")
    rows = len(probes(model, limit=5000))
    for change, code in ((("", ""), 0), (SWAP, 1)):
        (tmp_path / "run.py").write_text((tmp_path / "model.py").read_text().replace(*change))
        with (tmp_path / "answers.csv").open("wb") as answers:
            subprocess.run([sys.executable, "-I", str(tmp_path / "run.py"), str(tmp_path / "rows.csv")],
                           stdout=answers, check=True)  # fmt: skip
        assert _compare(tmp_path)[0] == code
    assert f"{rows} rows compared, " in _compare(tmp_path)[1]
    (tmp_path / "answers.csv").write_text("label\n")
    assert _compare(tmp_path)[0] == 1


def test_the_c_kit_is_checked_by_a_compiler_and_python(lab, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    kit(_model(lab, 5), tmp_path, "c")
    for change, code in ((("", ""), 0), (SWAP, 1)):
        (tmp_path / "run.c").write_text((tmp_path / "model.c").read_text().replace(*change))
        subprocess.run(
            [compiler, "-std=c99", "-DSOFTWOOD_MAIN", "run.c", "-o", "model", "-lm"], cwd=tmp_path, check=True
        )
        with (tmp_path / "rows.csv").open("rb") as rows, (tmp_path / "answers.csv").open("wb") as answers:
            subprocess.run([str(tmp_path / "model")], stdin=rows, stdout=answers, check=True)
        assert _compare(tmp_path)[0] == code


def test_the_rows_are_made_up_and_the_users_rows_stay_out(lab, tmp_path):
    model = _model(lab, 2)
    table = lab.rows(np.random.default_rng(0), model, 5)
    table["it's"] = 123456.789
    assert kit(model, tmp_path, "sql", rows=table, limit=40).user_rows == 5
    for path in tmp_path.iterdir():
        assert "123456" not in path.read_text()
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["it's", "b b", "c", "expected_label", "expected_probability_0", "expected_probability_1"]
    assert len(rows) == 1 + len(probes(model, limit=40))


def test_names_that_are_taken_give_way(lab, tmp_path):
    columns = (Column("ID", "number"), Column("expected_label", "number"))
    kit(lab.model(np.random.default_rng(0), "binary, sigmoid", depth=3, columns=columns), tmp_path, "sql")
    assert '"id_"' in (tmp_path / "model.sql").read_text()
    assert "expected_label_" in (tmp_path / "rows.csv").read_text().splitlines()[0]
    assert _sqlite_check(tmp_path)[1] == []


def test_the_readme_names_the_files_and_the_model(lab, tmp_path):
    model = _model(lab, 2)
    for to in ("sql", "c", "json"):
        report = kit(model, tmp_path / to, to)
        text = (tmp_path / to / "README.txt").read_text()
        assert model.fingerprint in text
        assert all(path.name in text for path in (tmp_path / to).iterdir() if path.name != "README.txt")
        assert f"verified on {report.rows} rows" in text
        assert str(tmp_path) not in text


def test_a_file_is_no_folder(lab, tmp_path):
    (tmp_path / "kit").write_text("")
    with pytest.raises(InputError, match="cannot write a kit here"):
        kit(_model(lab), tmp_path / "kit")
