"""The SQL files, run by hand where an engine can be had."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
from fractions import Fraction

import numpy as np
import pytest

from softwood.artifacts import Column, HardEnsemble, export, probes
from softwood.artifacts import _export_sql as exporter
from softwood.artifacts import _export_sql_run as running
from softwood.artifacts._export_sql import write_sql
from softwood.artifacts._export_sql_dialects import DIALECTS
from softwood.core import InputError, UnsupportedError

UNRUN = ["sql-tsql", "sql-oracle", "sql-snowflake", "sql-bigquery"]
FORMS = pytest.mark.parametrize("deepest", [9, -1], ids=["nested", "flat"])


@pytest.fixture
def engine(request):
    """Return what runs one query with the engine that the test names; skips by name without it."""
    connect = {"sql": sqlite3.connect, "sql-duckdb": lambda _: pytest.importorskip("duckdb").connect()}
    connection = connect[request.param](":memory:")
    yield connection.execute
    connection.close()


def _postgres():
    try:
        return running._cluster()
    except running.NotRunError as error:
        pytest.skip(str(error))


def _small():
    columns = (Column("age", "number"), Column("member", "boolean"), Column("city", "category", ("Bonn", "1", "Ulm")))
    return HardEnsemble(
        columns=columns, outputs=("p",), link="probability", classes=("no", "yes"), feature=[1, 0, -1, -1, 2, -1, -1],
        threshold=[0.5, 30.1, *[np.nan] * 5], missing_left=[True, False, False, False, True, False, False],
        left=[1, 2, 0, 0, 5, 0, 0], right=[4, 3, 0, 0, 6, 0, 0], level_set=[-1, -1, -1, -1, 0, -1, -1],
        levels_left=[[True, False, True]], leaf=[-1, -1, 0, 1, -1, 2, 3], values=[[0.1], [0.9], [0.25], [0.75]],
        counts=[10, 20, 30, 40.5], roots=[0], base=[0.0],
    )  # fmt: skip


def _rows_of(model, table):
    columns = []
    for column in model.columns:
        values = [None if v is None or v != v else v for v in table[column.name].tolist()]
        columns.append(values)
    return list(zip(*columns, strict=True))


def _ask_sqlite(model, table, **options):
    connection = sqlite3.connect(":memory:")
    columns = ", ".join(f'"{c.name}" {DIALECTS["sql"].types[c.kind]}' for c in model.columns)
    connection.execute(f"CREATE TABLE input ({columns})")
    connection.executemany(f"INSERT INTO input VALUES ({', '.join('?' * len(model.columns))})", _rows_of(model, table))
    found = connection.execute(write_sql(model, "sql", **options)).fetchall()
    connection.close()
    return found


@FORMS
@pytest.mark.parametrize("number", range(9))
def test_sqlite_gives_the_answers_of_the_definition(lab, monkeypatch, deepest, number):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    for seed, trees, depth in ((1, 1, 0), (2, 1, 5), (3, 5, 3), (4, 120, 2)):
        rng = np.random.default_rng([number, seed])
        columns = tuple(
            dataclasses.replace(c, name=f"{i} {c.name}".replace('"', "")) for i, c in enumerate(lab.columns(rng))
        )
        model = lab.model(rng, lab.cases[number], trees=trees, depth=depth, columns=columns)
        for table in (lab.rows(rng, model, 80), probes(model, limit=200)):
            found = _ask_sqlite(model, table)
            totals = [lab.walk(model, row) for row in lab.as_dicts(model, table)]
            width = len(totals[0]) if model.classes is None else len(model.classes)
            np.testing.assert_allclose(
                [row[-width:] for row in found], [lab.link(model, t) for t in totals], rtol=0, atol=1e-14
            )
            if model.classes is not None:
                assert [row[-width - 1] for row in found] == [lab.label(model, total) for total in totals]


def test_a_small_tree_reads_like_its_rules():
    lines = write_sql(_small(), "sql-postgres", keys=["id"]).splitlines()
    start = lines.index('  CASE WHEN ("member" <= 0.5::float8 OR "member" IS NULL) THEN')
    assert lines[start : start + 5] == [
        '  CASE WHEN ("member" <= 0.5::float8 OR "member" IS NULL) THEN',
        '    CASE WHEN "age" <= 30.1::float8 THEN 0.1::float8',
        "    ELSE 0.9::float8 END",
        '  ELSE CASE WHEN ("city" NOT IN (\'1\') OR "city" IS NULL) THEN 0.25::float8',
        "    ELSE 0.75::float8 END END AS softwood_sum_0",
    ]


def test_a_deep_tree_is_a_list_of_rules(monkeypatch):
    monkeypatch.setattr(exporter, "_DEEPEST", 1)
    lines = [
        line.strip() for line in write_sql(_small(), "sql-duckdb").splitlines() if "WHEN" in line and "age" in line
    ]
    assert lines == [
        'CASE WHEN ("member" <= 0.5e0 OR "member" IS NULL) AND "age" <= 30.1e0 THEN 0.1e0',
        'WHEN ("member" <= 0.5e0 OR "member" IS NULL) AND ("age" > 30.1e0 OR "age" IS NULL) THEN 0.9e0',
    ]


def test_rules_of_a_deep_tree_exclude_one_another(lab):
    model = lab.model(np.random.default_rng(7), trees=1, depth=6)
    conditions = exporter.Conditions(model, DIALECTS["sql"])
    case = exporter.flat_case(model, 0, conditions, lambda leaf: "1")
    counted = case.replace("WHEN ", "+ CASE WHEN ").replace(" THEN 1", " THEN 1 ELSE 0 END").removeprefix("CASE ")
    query = f"SELECT 0 {counted.removesuffix(' END')} FROM input"
    connection = sqlite3.connect(":memory:")
    tables = ", ".join(f"{DIALECTS['sql'].name(c.name)} {DIALECTS['sql'].types[c.kind]}" for c in model.columns)
    connection.execute(f"CREATE TABLE input ({tables})")
    rows = _rows_of(model, lab.rows(np.random.default_rng(8), model, 500))
    connection.executemany("INSERT INTO input VALUES (?, ?, ?, ?, ?)", rows)
    assert {row[0] for row in connection.execute(query)} == {1}
    connection.close()


# ------------------------------------------------------------------ numbers
def _hard_numbers():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=4000) * 10.0 ** rng.integers(-30, 30, 4000)
    plain = np.round(rng.uniform(-1000, 1000, 4000), 2)
    edges = [
        0.1,
        1 / 3,
        5e-324,
        1e-310,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        -1e300,
        0.0,
        2.0**53 + 2,
        1e23,
    ]
    # SQLite 3.40 reads the decimal text of these as a neighbour
    misread = [468329.3019784106, 0.005840921660200261, 246.8600032921495, 0.707056753354459]
    return [float(value) for value in (*misread, *spread, *plain, *edges, *np.float32(plain[:500]))]


@pytest.mark.parametrize(("name", "engine"), [("sql", "sql"), ("sql-duckdb", "sql-duckdb")], indirect=["engine"])
def test_numbers_are_read_as_they_were(name, engine):
    values = _hard_numbers()
    for start in range(0, len(values), 500):
        part = values[start : start + 500]
        found = engine("SELECT " + ", ".join(map(DIALECTS[name].number, part))).fetchone()
        assert list(found) == part
        assert {type(value) for value in found} == {float}


def test_sqlite_is_given_whole_numbers_and_powers_of_two():
    for value in _hard_numbers():
        text = DIALECTS["sql"].number(value).split(" /*")[0].strip("()")
        if " * 1.0" not in text:
            assert len(text.strip("-").replace(".", "").strip("0")) <= 15
            continue
        steps = text.replace(" * 1.0", "").replace("* ", "*").replace("/ ", "/").split(" ")
        exact = Fraction(int(steps[0]))
        assert abs(exact) <= 2**53
        for step in steps[1:]:
            power = int(step[1:])
            assert power.bit_count() == 1
            exact = exact * power if step[0] == "*" else exact / power
        assert exact == Fraction(value)


def test_numbers_are_read_by_postgres_as_they_were(tmp_path):
    cluster = _postgres()
    values = _hard_numbers()
    folder = cluster.data / "numbers.csv"
    rows = ", ".join(f"({i}, {DIALECTS['sql-postgres'].number(value)})" for i, value in enumerate(values))
    said = cluster.execute([f"COPY (SELECT v.b FROM (VALUES {rows}) v(a, b) ORDER BY v.a) TO '{folder}'"])
    assert said == ""
    assert [float(line) for line in folder.read_text().splitlines()] == values


# ------------------------------------------------------------------ cells
def test_sqlite_reads_cells_of_any_declared_type():
    model = _small()
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE input (city, age, member, id)")
    cells = [
        ("Ulm", "30.1", "true"),
        ("1", 30.1, 0),
        (1, "", 1),
        (1.0, None, "1"),
        ("", 31, ""),
        ("ulm", "1e2", 1.0),
        (2.5, 1, 0),
    ]
    connection.executemany("INSERT INTO input (city, age, member) VALUES (?, ?, ?)", cells)
    found = [row[-1] for row in connection.execute(write_sql(model, "sql"))]
    expected = [model.predict_proba([(age, member, city)])[0][1] for city, age, member in cells]
    assert found == expected
    connection.execute("UPDATE input SET age = 'old' WHERE city = 'Ulm'")
    with pytest.raises(sqlite3.OperationalError, match="malformed JSON"):
        connection.execute(write_sql(model, "sql")).fetchall()
    connection.close()


@pytest.mark.parametrize("engine", ["sql-duckdb"], indirect=True)
def test_duckdb_takes_nan_for_missing_and_1_for_1_0(engine):
    model = _small()
    engine("CREATE TABLE input (age DOUBLE, member INTEGER, city DOUBLE)")
    engine("INSERT INTO input VALUES ('NaN', 0, 1), (NULL, 0, NULL), (1, 1, 1), (1, NULL, 2), (1, 1, 2.5)")
    found = [row[-1] for row in engine(write_sql(model, "sql-duckdb")).fetchall()]
    assert found == [0.9, 0.9, 0.75, 0.1, 0.25]


def test_postgres_takes_nan_for_missing_and_cells_of_other_types():
    cluster = _postgres()
    answers = cluster.data / "answers.csv"
    said = cluster.execute([
        "BEGIN", "CREATE TEMPORARY TABLE input (age NUMERIC, member INTEGER, city CHAR(8))",
        "INSERT INTO input VALUES ('NaN', 0, 'Ulm'), (NULL, 0, NULL), (30.1, 0, ''), (1, 1, '1'), (1, 1, 'Ulm')",
        f"COPY ({write_sql(_small(), 'sql-postgres')}) TO '{answers}' (FORMAT csv)",
    ])  # fmt: skip
    assert said == ""
    assert [float(line.rpartition(",")[2]) for line in answers.read_text().splitlines()] == [0.9, 0.9, 0.1, 0.75, 0.25]


@pytest.mark.parametrize("to", ["sql", "sql-duckdb", "sql-postgres"])
def test_scores_far_apart_do_not_overflow(tmp_path, to):
    columns = (Column("x", "number"),)
    for link, classes, outputs, values in (
        ("softmax", ("a", "b", "c"), ("a", "b", "c"), [[1e4, -1e4, 0], [0, 0, 800.0]]),
        ("sigmoid", (False, True), ("p",), [[5000.0], [-5000.0]]),
    ):
        model = HardEnsemble(
            columns=columns, outputs=outputs, link=link, classes=classes, feature=[0, -1, -1],
            threshold=[0.1, np.nan, np.nan], missing_left=[True, False, False], left=[1, 0, 0], right=[2, 0, 0],
            level_set=[-1] * 3, levels_left=np.zeros((0, 0)), leaf=[-1, 0, 1], values=values, counts=[0, 0],
            roots=[0], base=np.zeros(len(outputs)),
        )  # fmt: skip
        report = export(model, tmp_path / "model.sql", to)
        assert report.verified or "not installed" in report.verifier


@pytest.mark.parametrize("to", ["sql", "sql-duckdb", "sql-postgres"])
def test_many_trees_are_added_in_steps(lab, tmp_path, to):
    for case in ("regression", "softmax"):
        model = lab.model(np.random.default_rng(1), case, trees=240, depth=2)
        report = export(model, tmp_path / "model.sql", to)
        assert report.verified or "not installed" in report.verifier


# ------------------------------------------------------------------ table and keys
def test_table_and_keys_are_the_users(tmp_path):
    report = export(_small(), tmp_path / "model.sql", "sql", table='main.my "table"', keys=["id", "age"])
    assert report.verified
    connection = sqlite3.connect(":memory:")
    connection.execute('CREATE TABLE "my ""table""" (id, age REAL, member INTEGER, city TEXT)')
    connection.execute('INSERT INTO "my ""table""" VALUES (17, 3, 0, NULL)')
    cursor = connection.execute((tmp_path / "model.sql").read_text())
    assert [entry[0] for entry in cursor.description] == [
        "id", "age", "softwood_label", "softwood_probability_0", "softwood_probability_1",
    ]  # fmt: skip
    assert cursor.fetchall() == [(17, 3.0, "no", 0.9, 0.1)]
    connection.close()


def test_other_formats_take_no_table(tmp_path):
    with pytest.raises(InputError, match="option of the format 'c' is unknown"):
        export(_small(), tmp_path / "model.c", "c", table="a")
    with pytest.raises(InputError, match="keys are not usable"):
        export(_small(), tmp_path / "model.sql", "sql", keys="id")


# ------------------------------------------------------------------ what an engine cannot hold
def test_names_that_an_engine_takes_for_one_are_refused(tmp_path, lab):
    columns = (Column("Age", "number"), Column("age", "number"))
    model = lab.model(np.random.default_rng(0), trees=3, columns=columns)
    for to in ("sql", "sql-duckdb", "sql-tsql", "sql-bigquery"):
        with pytest.raises(UnsupportedError, match=r"takes the columns 'Age' and 'age' for one"):
            export(model, tmp_path / "model.sql", to)
    report = export(model, tmp_path / "model.sql", "sql-postgres")
    assert report.verified or "not installed" in report.verifier
    with pytest.raises(UnsupportedError, match="no quotes in a name"):
        write_sql(lab.model(np.random.default_rng(0), columns=(Column('a"b', "number"),)), "sql-oracle")
    with pytest.raises(UnsupportedError, match="begins like"):
        write_sql(lab.model(np.random.default_rng(0), columns=(Column("Softwood_x", "number"),)), "sql")


def test_a_model_that_is_too_large_says_what_to_do(lab, monkeypatch):
    columns = (Column("x", "number"),)
    with pytest.raises(UnsupportedError, match=r"1001 trees, and SQL takes 1000; fit a smaller one"):
        write_sql(lab.model(np.random.default_rng(0), trees=1001, depth=0, columns=columns), "sql")
    monkeypatch.setattr(exporter, "_MOST_CHARACTERS", 1000)
    with pytest.raises(UnsupportedError, match="characters of SQL"):
        write_sql(_small(), "sql")


# ------------------------------------------------------------------ engines that nobody has at hand
@pytest.mark.parametrize("to", UNRUN)
@pytest.mark.parametrize("number", range(9))
def test_what_is_not_run_is_parsed_and_says_so(lab, tmp_path, to, number):
    pytest.importorskip("sqlglot")
    rng = np.random.default_rng(number)
    names = [name for name in lab.nasty if '"' not in name]
    columns = tuple(
        dataclasses.replace(c, name=name) for c, name in zip(lab.columns(rng), rng.permutation(names), strict=False)
    )
    model = lab.model(rng, lab.cases[number], trees=3, columns=columns)
    report = export(model, tmp_path / "model.sql", to)
    assert not report.verified
    assert f"UNVERIFIED (parsed as {DIALECTS[to].title} by sqlglot" in str(report)


@pytest.mark.parametrize("to", UNRUN)
@pytest.mark.parametrize("number", range(9))
def test_what_is_not_run_means_the_same_when_translated(lab, to, number):
    """The statement, translated for DuckDB by sqlglot, gives the model's answers: no proof, but not nothing."""
    sqlglot, duckdb = pytest.importorskip("sqlglot"), pytest.importorskip("duckdb")
    rng = np.random.default_rng(number)
    columns = (Column("x", "number"), Column("b", "boolean"), Column("c", "category", ("it's", "b\\", "\n", "ü")))
    model = lab.model(rng, lab.cases[number], trees=3, columns=columns)
    translated = sqlglot.transpile(write_sql(model, to), read=DIALECTS[to].parser, write="duckdb")[0]
    # what sqlglot leaves as it was, or takes for single precision
    replaced = {" COLLATE Latin1_General_100_BIN2": "", "REAL(53)": "DOUBLE", "TEXT(MAX)": "TEXT", "NCHAR(": "CHR(",
                "+ N'": "|| N'", "+ CHR(": "|| CHR("}  # fmt: skip
    for theirs, ours in replaced.items():
        translated = translated.replace(theirs, ours)
    table = probes(model)
    with duckdb.connect() as connection:
        connection.execute("CREATE MACRO nanvl(a, b) AS CASE WHEN isnan(a) THEN b ELSE a END")
        connection.execute("CREATE MACRO to_binary_double(a) AS CAST(a AS DOUBLE)")
        connection.execute("CREATE TABLE input (x DOUBLE, b BOOLEAN, c VARCHAR)")
        connection.executemany("INSERT INTO input VALUES (?, ?, ?)", _rows_of(model, table))
        found = connection.execute(translated).fetchall()
    expected = model.numbers(model.raw(table)) if model.classes is None else model.predict_proba(table)
    scores = np.array([row[-expected.shape[1] :] for row in found], dtype=float)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("to", UNRUN)
def test_what_does_not_parse_is_not_handed_over(tmp_path, monkeypatch, to):
    pytest.importorskip("sqlglot")
    path = tmp_path / "model.sql"
    for text in ("SELECT (", "DROP TABLE input", "SELECT 1; SELECT 2", ""):
        path.write_text(text)
        with pytest.raises(running.ExportMismatchError, match=r"does not parse|no single SELECT"):
            running.parse_sql(path, _small(), None, dialect=to)


def test_long_lists_are_cut_for_oracle(lab):
    levels = tuple(f"level {i}" for i in range(2500))
    model = lab.model(np.random.default_rng(3), trees=9, depth=2, columns=(Column("c", "category", levels),))
    text = write_sql(model, "sql-oracle")
    lists = [part.split(")")[0].count("'level ") for part in text.split(" IN (")[1:]]
    assert max(lists) == 1000
    assert sum(lists) > 1000


@pytest.mark.parametrize(("to", "module"), [("sql-duckdb", "duckdb"), ("sql-oracle", "sqlglot")])
def test_without_an_engine_the_file_is_marked_unverified(tmp_path, monkeypatch, to, module):
    monkeypatch.setitem(sys.modules, module, None)
    report = export(_small(), tmp_path / "model.sql", to)
    assert not report.verified
    assert f"UNVERIFIED ({module} is not installed; to fix: pip install {module})" in str(report)


def test_without_postgres_the_file_is_marked_unverified(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_cluster", lambda: running._Cluster(running._programs()))
    monkeypatch.setattr(running.shutil, "which", lambda name: None)
    monkeypatch.setattr(running.glob, "glob", lambda pattern: [])
    report = export(_small(), tmp_path / "model.sql", "sql-postgres")
    assert not report.verified
    assert "PostgreSQL is not installed" in str(report)


def test_a_sqlite_without_exp_marks_what_needs_it_unverified(tmp_path, monkeypatch, lab):
    monkeypatch.setattr(running, "_has_exp", lambda database: False)
    model = lab.model(np.random.default_rng(0), "softmax")
    assert "built without exp" in export(model, tmp_path / "model.sql", "sql").verifier
    assert export(_small(), tmp_path / "model.sql", "sql").verified
