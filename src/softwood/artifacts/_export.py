"""``export``: write a model in another format, and hand it over only if it gives the same answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_c import c_verifier, run_c, write_c
from softwood.artifacts._export_json import run_json, write_json
from softwood.artifacts._export_lightgbm import lightgbm_verifier, run_lightgbm, write_lightgbm
from softwood.artifacts._export_onnx import onnx_verifier, run_onnx, write_onnx
from softwood.artifacts._export_python import python_verifier, run_python, write_python
from softwood.artifacts._export_sklearn import run_sklearn, sklearn_verifier, write_sklearn
from softwood.artifacts._export_sql import write_sql
from softwood.artifacts._export_sql_run import (
    duckdb_verifier,
    parse_sql,
    postgres_verifier,
    run_duckdb,
    run_postgres,
    run_sqlite,
    sqlite_verifier,
)
from softwood.artifacts._probes import probes
from softwood.artifacts._verify import Answers, ExportMismatchError, NotRunError, answers, cells, compare
from softwood.core import InputError, MissingExtraError, check_choice, write_atomic


@dataclass(frozen=True)
class Format:
    """How one format is written and checked.

    Args:
        suffix: usual ending of the file's name.
        write: model -> content of the file.
        run: (file, model, cells) -> what the file itself answers. Raises ``MissingExtraError`` if what it takes to
            run the file is not installed, ``NotRunError`` if it cannot be run here for another reason.
        verifier: names what runs the file, with its version.
        tolerance: largest allowed difference of scores.
        options: further keyword arguments that ``write`` and ``run`` take.

    Example:
        >>> FORMATS["json"].suffix
        '.json'
    """

    suffix: str
    write: Callable[..., str | bytes]
    run: Callable[..., Answers]
    verifier: Callable[[], str]
    tolerance: float = 1e-9
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what it was checked on.

    Args:
        format: name of the format.
        path: the file.
        verified: whether the file itself was run and gave the model's answers on every row.
        rows: rows that were compared.
        user_rows: how many of them came from the user's table.
        probe_rows: how many were made by ``probes``: on every threshold, beside it, missing, unseen.
        label_mismatches: labels that differ; 0, or nothing is written.
        largest_difference: between two scores; None if nothing was compared.
        tolerance: the largest difference that is allowed.
        verifier: what ran the file, with its version; or why nothing could.
        fingerprint: of the model; the file carries it too.

    Example:
        >>> report = ExportReport("json", "m.json", True, 3, 2, 1, 0, 0.0, 1e-9, "softwood 0.1", "00ff")
        >>> print(report)
        json: m.json, verified on 3 rows (2 of your table, 1 probes on thresholds, missing and unseen values)
        by softwood 0.1: labels equal, scores within 0
    """

    format: str
    path: str
    verified: bool
    rows: int
    user_rows: int
    probe_rows: int
    label_mismatches: int
    largest_difference: float | None
    tolerance: float
    verifier: str
    fingerprint: str

    def __str__(self) -> str:
        if not self.verified:
            return f"{self.format}: {self.path}, UNVERIFIED ({self.verifier})"
        return (
            f"{self.format}: {self.path}, verified on {self.rows} rows ({self.user_rows} of your table, "
            f"{self.probe_rows} probes on thresholds, missing and unseen values) by {self.verifier}: "
            f"labels equal, scores within {self.largest_difference:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON content."""
        return asdict(self)


def _sql(dialect: str, run: Callable[..., Answers], verifier: Callable[[], str]) -> Format:
    suffix = ".sql" if dialect == "sql" else f".{dialect.removeprefix('sql-')}.sql"
    return Format(suffix, partial(write_sql, dialect=dialect), run, verifier, options=("table", "keys"))


FORMATS = {
    "json": Format(".json", write_json, run_json, lambda: f"softwood {version('softwood')}, read again"),
    "onnx": Format(".onnx", write_onnx, run_onnx, onnx_verifier),
    "python": Format(".py", write_python, run_python, python_verifier),
    "c": Format(".c", write_c, run_c, c_verifier),
    "sql": _sql("sql", run_sqlite, sqlite_verifier),
    "sql-duckdb": _sql("sql-duckdb", run_duckdb, duckdb_verifier),
    "sql-postgres": _sql("sql-postgres", run_postgres, postgres_verifier),
    **{name: _sql(name, partial(parse_sql, dialect=name), lambda: "sqlglot") for name in
       ("sql-tsql", "sql-oracle", "sql-snowflake", "sql-bigquery")},
    "lightgbm": Format(".lightgbm.txt", write_lightgbm, run_lightgbm, lightgbm_verifier),
    "sklearn": Format(".sklearn.py", write_sklearn, run_sklearn, sklearn_verifier),
}  # fmt: skip


def export(model: HardEnsemble, path: str | Path, to: str, *, rows: Any = None, **options: Any) -> ExportReport:
    """Write a model in another format, run the file, and hand it over if every answer is the model's.

    The file is written under a temporary name beside ``path`` and renamed when it has passed, so that ``path`` is
    either as it was or holds a verified file. Labels have to be equal on every row, scores within
    ``tolerance * max(1, |score|)``. If what runs the format is not installed, the file is handed over and its
    report says UNVERIFIED.

    Args:
        model: the ensemble, with C columns.
        path: the file to write; its folder is made if absent.
        to: a name in ``FORMATS``, such as ``"onnx"`` or ``"c"``.
        rows: a raw table of n rows to compare on as well, best the whole table at hand; rows on and beside every
            threshold, missing values and unseen levels are always compared.
        **options: what the format takes; of the formats here only SQL takes some: ``table``, the name of the table
            to read (``"input"``), and ``keys``, the columns that name a row and are passed through (none).

    Returns:
        What was checked, and how.

    Raises:
        InputError: ``to`` is unknown, ``path`` is a directory, or ``rows`` is no table for this model.
        MissingExtraError: writing this format takes a library that is not installed.
        UnsupportedError: the format cannot hold this model.
        ExportMismatchError: the file does not give the model's answers.

    Cost: O((n + probes) C) and one prediction of each by the exported file.

    Example:
        >>> import tempfile
        >>> from softwood.artifacts import Column
        >>> model = HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"])
        >>> report = export(model, Path(tempfile.mkdtemp()) / "model.py", "python", rows={"x": [1.0, 2.0]})
        >>> report.verified, report.user_rows, report.largest_difference
        (True, 2, 0.0)
    """
    form = FORMATS[check_choice("to", to, FORMATS)]
    for option in options:
        check_choice(f"option of the format {to!r}", option, form.options)
    target = Path(path)
    if target.is_dir():
        raise InputError("cannot write a file here", got=str(target), allowed="a file name", fix="add a file name")
    tables = [probes(model)] if rows is None else [rows, probes(model)]
    plain = [cells(model, table) for table in tables]
    given = pd.DataFrame({c.name: np.concatenate([part[c.name] for part in plain]) for c in model.columns})
    parts = [answers(model, table) for table in tables]
    # the model answers from the raw table, the file from the plain cells: a fault in between shows as well
    expected = Answers(
        None if model.classes is None else np.concatenate([part.labels for part in parts if part.labels is not None]),
        np.concatenate([part.scores for part in parts]),
    )
    fresh = target.with_name(f".{uuid.uuid4().hex[:8]}.tmp{form.suffix}")
    try:
        write_atomic(fresh, form.write(model, **options))
        difference, verifier = _check(to, form, fresh, model, given, expected, options)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    probe_rows = len(plain[-1])
    return ExportReport(
        to, str(target), difference is not None, len(given) if difference is not None else 0,
        len(given) - probe_rows, probe_rows, 0, difference, form.tolerance, verifier, model.fingerprint,
    )  # fmt: skip


def _check(
    to: str,
    form: Format,
    path: Path,
    model: HardEnsemble,
    given: pd.DataFrame,
    expected: Answers,
    options: dict[str, Any],
) -> tuple[float | None, str]:
    """Return the largest difference of scores and who measured it; (None, reason) if nothing here can."""
    try:
        found = form.run(path, model, given, **options)
    except (MissingExtraError, NotRunError) as error:
        return None, str(error)
    except ExportMismatchError:
        raise
    except Exception as error:  # whatever a foreign runtime raises on a file of ours, the file is not good
        raise ExportMismatchError(to, f"it cannot be run: {error}") from error
    return compare(to, expected, found, form.tolerance), form.verifier()
