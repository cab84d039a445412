"""Running an exported SELECT: in SQLite, DuckDB and PostgreSQL; and parsing it for engines that nobody has at hand."""

from __future__ import annotations

import atexit
import csv
import functools
import glob
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_sql_dialects import DIALECTS
from softwood.artifacts._verify import Answers, ExportMismatchError, NotRunError


def run_sqlite(
    path: Path, model: HardEnsemble, cells: pd.DataFrame, *, table: str = "input", keys: Sequence[str] = ()
) -> Answers:
    """Answer from the file: run its statement on a table in memory.

    Args:
        path: the file.
        model: the ensemble that it was made from; only its columns and labels are looked at.
        cells: n rows, as ``cells`` makes them.
        table: the table's name in the statement; the rows go to a table ``input``, whatever it is.
        keys: columns of that table that name a row.

    Raises:
        NotRunError: this SQLite lacks ``exp``, and the model needs it.
    """
    statement, names = _statement("sql", path, model, table, keys)
    database = sqlite3.connect(":memory:")
    try:
        if model.link in ("exp", "sigmoid", "softmax") and not _has_exp(database):
            raise NotRunError("this SQLite was built without exp, which the model needs")
        database.execute(_create("sql", model, names))
        marks = ", ".join("?" * max(len(names), 1))
        database.executemany(f"INSERT INTO input VALUES ({marks})", zip(*_columns(model, cells, names), strict=True))
        found = database.execute(statement).fetchall()
    finally:
        database.close()
    return _answers("sql", model, found)


def _has_exp(database: sqlite3.Connection) -> bool:
    try:
        database.execute("SELECT exp(1.0)")
    except sqlite3.OperationalError:
        return False
    return True


def run_duckdb(
    path: Path, model: HardEnsemble, cells: pd.DataFrame, *, table: str = "input", keys: Sequence[str] = ()
) -> Answers:
    """Answer from the file: run its statement on a table in memory. Arguments as in ``run_sqlite``.

    Raises:
        NotRunError: duckdb is not installed.
    """
    duckdb = _optional("duckdb")
    statement, names = _statement("sql-duckdb", path, model, table, keys)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
        database.execute(_create("sql-duckdb", model, names))
        rows = Path(folder) / "rows.csv"
        _write_rows(rows, model, cells, names)
        database.execute(
            f"COPY input FROM '{str(rows).replace(chr(39), chr(39) * 2)}' (FORMAT csv, HEADER, AUTO_DETECT false, "
            "DELIMITER ',', QUOTE '\"', ESCAPE '\"', NEW_LINE '\\r\\n', NULLSTR '')"
        )
        found = database.execute(statement).fetchall()
    return _answers("sql-duckdb", model, found)


# ------------------------------------------------------------------ PostgreSQL
def run_postgres(
    path: Path, model: HardEnsemble, cells: pd.DataFrame, *, table: str = "input", keys: Sequence[str] = ()
) -> Answers:
    """Answer from the file: run its statement in a private PostgreSQL. Arguments as in ``run_sqlite``.

    ``postgres --single`` is the whole engine as one child process: no server is left behind, no port is opened.

    Raises:
        NotRunError: PostgreSQL is not installed, or cannot be started here.
        ExportMismatchError: it refused the statement.
    """
    statement, names = _statement("sql-postgres", path, model, table, keys)
    cluster = _cluster()
    with tempfile.TemporaryDirectory(dir=cluster.folder) as name:
        folder = Path(name)
        folder.chmod(0o777)
        rows, answers = folder / "rows.csv", folder / "answers.csv"
        _write_rows(rows, model, cells, names)
        rows.chmod(0o644)
        commands = [
            "BEGIN",
            _create("sql-postgres", model, names).replace("CREATE TABLE", "CREATE TEMPORARY TABLE"),
            f"COPY input FROM '{rows}' (FORMAT csv, HEADER true{_null_even_if_quoted(names)})",
            f"COPY (\n{statement}) TO '{answers}' (FORMAT csv, HEADER true)",
        ]
        said = cluster.execute(commands)
        if not answers.exists():
            raise ExportMismatchError("sql-postgres", f"PostgreSQL refused it: {said[:500]}")
        with answers.open(newline="", encoding="utf-8") as handle:
            found = list(csv.reader(handle))[1:]
    return _answers("sql-postgres", model, found)


def _null_even_if_quoted(names: Sequence[str]) -> str:
    listed = ", ".join(DIALECTS["sql-postgres"].name(name) for name in names)
    return f", FORCE_NULL ({listed})" if names else ""


class _Cluster:
    """An empty database cluster in a temporary folder that goes away with this process."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="softwood-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.data.mkdir()
        if self.user is not None:
            os.chown(self.data, *self.user)
        made = self._run("initdb", "-D", ".", "-A", "trust", "-U", "softwood", "-E", "UTF8", "--locale=C", "--no-sync")
        if made.returncode != 0:
            raise NotRunError(
                f"PostgreSQL cannot be set up here: {made.stderr.decode(errors='replace').strip()[-300:]}"
            )

    def _run(self, program: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        rights: dict[str, Any] = {}
        if self.user is not None:
            rights = {"user": self.user[0], "group": self.user[1], "extra_groups": []}
        return subprocess.run(
            [str(self.programs / program), *arguments], input=given, capture_output=True, check=False, cwd=self.data,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}, **rights,
        )  # fmt: skip

    def execute(self, commands: Iterable[str]) -> str:
        """Run commands in one session that is not committed; return what the engine complained about."""
        text = "".join(f"{command};\n\n" for command in commands)  # -j: a command ends at an empty line
        settings = ["-c", "jit=off", "-c", "max_parallel_workers_per_gather=0", "-c", "log_min_messages=error"]
        done = self._run("postgres", "--single", "-j", "-D", ".", *settings, "postgres", given=text.encode())
        said = done.stderr.decode(errors="replace").splitlines()
        return "; ".join(line for line in said if "ERROR" in line or "FATAL" in line)


@functools.cache
def _cluster() -> _Cluster:
    return _Cluster(_programs())


def _programs() -> Path:
    """Find the folder of PostgreSQL's own programs; Debian does not put it on the PATH."""
    found = [shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    for program in found:
        if program is not None and (Path(program).parent / "postgres").exists():
            return Path(program).parent
    raise NotRunError("PostgreSQL is not installed: there is no initdb")


def _unprivileged() -> tuple[int, int] | None:
    """Return the user and group to run PostgreSQL as, which refuses root; None is the present user."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd  # here: it is absent on Windows

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            continue
    raise NotRunError("PostgreSQL does not run as root, and there is no user postgres or nobody")


# ------------------------------------------------------------------ engines that are not at hand
def parse_sql(
    path: Path,
    model: HardEnsemble,
    cells: pd.DataFrame,
    *,
    dialect: str,
    table: str = "input",
    keys: Sequence[str] = (),
) -> Answers:
    """Parse the statement by sqlglot; there is no engine here to run it.

    Args:
        path: the file.
        model: not looked at.
        cells: not looked at.
        dialect: a name in ``DIALECTS``.
        table: not looked at.
        keys: not looked at.

    Raises:
        NotRunError: always, where the statement is well formed.
        ExportMismatchError: it is not.
    """
    engine = DIALECTS[dialect]
    sqlglot = _optional("sqlglot")
    try:
        found = sqlglot.parse(path.read_bytes().decode(), read=engine.parser)
    except (sqlglot.errors.SqlglotError, UnicodeDecodeError) as error:
        raise ExportMismatchError(dialect, f"sqlglot does not parse it: {error}") from error
    if len(found) != 1 or not isinstance(found[0], sqlglot.exp.Select):
        raise ExportMismatchError(dialect, "it is no single SELECT")
    raise NotRunError(f"parsed as {engine.title} by sqlglot {sqlglot.__version__}, not run")


def _optional(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise NotRunError(f"{module} is not installed; to fix: pip install {module}") from None


# ------------------------------------------------------------------ rows in, answers out
def _statement(dialect: str, path: Path, model: HardEnsemble, table: str, keys: Sequence[str]) -> tuple[str, list[str]]:
    """Return the statement, reading from ``input``, and the columns that this table has to have."""
    text = path.read_bytes().decode()
    named = f"FROM {DIALECTS[dialect].table(table)} t"
    if named not in text:
        raise ExportMismatchError(dialect, f"it does not read from {table}")
    names = [column.name for column in model.columns]
    # only what is tested: a table of 10,000 columns is more than some engines take
    tested = [names[f] for f in sorted({int(f) for f in model.feature[model.feature >= 0]})]
    return text.replace(named, "FROM input t", 1), tested + [key for key in keys if key not in tested]


def _create(dialect: str, model: HardEnsemble, names: Sequence[str]) -> str:
    engine = DIALECTS[dialect]
    kinds = {column.name: column.kind for column in model.columns}
    columns = [f"{engine.name(name)} {engine.types[kinds.get(name, 'key')]}" for name in names]
    return f"CREATE TABLE input ({', '.join(columns) or 'softwood_nothing INTEGER'})"


def _columns(model: HardEnsemble, cells: pd.DataFrame, names: Sequence[str]) -> list[list[Any]]:
    """Return the values of each column of ``input``: numbers, 0 and 1, texts; None is missing. Keys count rows."""
    kinds = {column.name: column.kind for column in model.columns}
    found: list[list[Any]] = []
    for name in names:
        if name not in kinds:
            found.append(list(range(len(cells))))
            continue
        values: list[Any] = [None if value is None or value != value else value for value in cells[name].tolist()]
        found.append([None if v is None else int(v) for v in values] if kinds[name] == "boolean" else values)
    return found or [[0] * len(cells)]


def _write_rows(path: Path, model: HardEnsemble, cells: pd.DataFrame, names: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(names or ["softwood_nothing"])
        columns = _columns(model, cells, names)
        texts = [["" if v is None else repr(v) if isinstance(v, float) else str(v) for v in c] for c in columns]
        writer.writerows(zip(*texts, strict=True))


def _answers(dialect: str, model: HardEnsemble, found: Sequence[Sequence[Any]]) -> Answers:
    """Take label and scores from the end of each row."""
    if model.classes is None:
        return Answers(None, _numbers([row[-model.n_outputs :] for row in found], model.n_outputs))
    width = len(model.classes)
    shown = {_shown(dialect, label): label for label in model.classes}
    # a text where a number is expected, or the other way round, finds no label and is a mismatch
    labels = [shown.get((type(row[-width - 1]).__name__, row[-width - 1]), row[-width - 1]) for row in found]
    return Answers(np.array([*labels, None], dtype=object)[:-1], _numbers([row[-width:] for row in found], width))


def _shown(dialect: str, label: Any) -> tuple[str, Any]:
    """Return how the engine gives a label back: the name of its Python type, and the value."""
    if dialect == "sql-postgres":  # all is text in its CSV
        label = ("f", "t")[label] if isinstance(label, bool) else str(label)
    elif isinstance(label, bool) and dialect == "sql":
        label = int(label)
    return type(label).__name__, label


def _numbers(rows: Sequence[Sequence[Any]], width: int) -> np.ndarray:
    found = [[np.nan if value is None or value == "" else float(value) for value in row] for row in rows]
    return np.array(found, dtype=np.float64).reshape(len(found), width)


# ------------------------------------------------------------------ who ran it
def sqlite_verifier() -> str:
    """Name the engine and its version."""
    return f"SQLite {sqlite3.sqlite_version}"


def duckdb_verifier() -> str:
    """Name the engine and its version."""
    return f"DuckDB {_optional('duckdb').__version__}"


def postgres_verifier() -> str:
    """Name the engine and its version."""
    done = subprocess.run([str(_programs() / "postgres"), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().replace("postgres (PostgreSQL)", "PostgreSQL")
