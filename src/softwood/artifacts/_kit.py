"""``kit``: an exported model with rows and expected answers, so that anyone can check it without Softwood."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export import FORMATS, ExportReport, export
from softwood.artifacts._export_sql import label_literal
from softwood.artifacts._export_sql_dialects import DIALECTS, Dialect
from softwood.artifacts._kit_text import (
    ANY_RUN,
    CLIENTS,
    COMPARE,
    PROGRAM_LISTING,
    PROGRAM_STEPS,
    README,
    RUNS,
    SQL_COMMANDS,
    SQL_LISTING,
    SQL_STEPS,
)
from softwood.artifacts._probes import probes
from softwood.artifacts._verify import Answers, answers, cells
from softwood.core import InputError, check_choice, write_atomic


def kit(
    model: HardEnsemble, folder: str | Path, to: str = "sql", *, rows: Any = None, limit: int = 5_000, **options: Any
) -> ExportReport:
    """Write a folder with which a validator checks an exported model, without Softwood and without our word for it.

    In it: the model, as ``export`` writes and verifies it; ``rows.csv``, rows at every threshold, at its float
    neighbours, with missing values and with unseen categories, beside the expected label and scores; ``README.txt``;
    for SQL ``load.sql``, which fills two tables with these rows, and ``check.sql``, one query that returns the
    mismatches; for other formats ``compare.py``, which needs only Python.

    Args:
        model: the ensemble, with C columns.
        folder: made if absent; files of these names in it are replaced.
        to: a name in ``FORMATS``.
        rows: a table of n rows that ``export`` compares on as well; none of them is written.
        limit: most rows in the kit.
        **options: as in ``export``. For SQL, ``keys`` is ``["id"]`` if it is not given: the query joins on it.

    Returns:
        What ``export`` says about the model's file.

    Raises:
        InputError: as ``export``; or ``folder`` is a file.
        UnsupportedError: the format cannot hold this model.
        ExportMismatchError: the file does not give the model's answers; nothing else is written then.

    Cost: that of ``export``, and O(limit (C + K)) more.

    Example:
        >>> import tempfile
        >>> from softwood.artifacts import Column
        >>> target = Path(tempfile.mkdtemp())
        >>> report = kit(HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"]), target, "sql")
        >>> sorted(path.name for path in target.iterdir())
        ['README.txt', 'check.sql', 'load.sql', 'model.sql', 'rows.csv']
    """
    form = FORMATS[check_choice("to", to, FORMATS)]
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError("cannot write a kit here", got=str(target), allowed="a folder", fix="name another one")
    if to in DIALECTS:
        options = {"keys": [_free_name(model, "id")], **options}
    name = f"model{form.suffix}"
    report = export(model, target / name, to, rows=rows, **options)
    table = probes(model, limit=limit)
    made = _Kit(model, form.tolerance, cells(model, table), answers(model, table))
    files = {"rows.csv": made.rows_csv()}
    if to in DIALECTS:
        source = options.get("table", "input")
        files["load.sql"] = made.load_sql(DIALECTS[to], source, options["keys"])
        files["check.sql"] = made.check_sql(DIALECTS[to], options["keys"][0])
    else:
        files["compare.py"] = made.compare_py()
    files["README.txt"] = made.readme(to, name, report, options.get("table", "input"))
    for file, content in files.items():
        write_atomic(target / file, content)
    return report


def _free_name(model: HardEnsemble, wanted: str) -> str:
    taken = {column.name.lower() for column in model.columns}
    while wanted.lower() in taken:
        wanted += "_"
    return wanted


class _Kit:
    """The files of one kit, from its rows and their expected answers."""

    def __init__(self, model: HardEnsemble, tolerance: float, rows: pd.DataFrame, expected: Answers) -> None:
        self.model, self.tolerance, self.rows, self.expected = model, tolerance, rows, expected
        self.has_label = expected.labels is not None
        kind = "probability" if self.has_label else "value"
        scores = [f"expected_{kind}_{k}" for k in range(expected.scores.shape[1])]
        self.names = [_free_name(model, name) for name in (["expected_label"] * self.has_label + scores)]

    def _answers(self) -> Iterator[list[Any]]:
        labels = self.expected.labels
        for row, scores in enumerate(self.expected.scores.tolist()):
            yield [labels[row], *scores] if labels is not None else scores

    def rows_csv(self) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow([*self.rows.columns, *self.names])
        columns = [self.rows[name].tolist() for name in self.rows.columns]
        for raw, answer in zip(zip(*columns, strict=True), self._answers(), strict=True):
            empty = ["" if value is None or value != value else value for value in raw]
            writer.writerow([repr(value) if isinstance(value, float) else value for value in [*empty, *answer]])
        return text.getvalue()

    def compare_py(self) -> str:
        return COMPARE.format(tolerance=self.tolerance, has_label=self.has_label, expected=self.names)

    # -------------------------------------------------------------- SQL
    def load_sql(self, engine: Dialect, table: str, keys: Sequence[str]) -> str:
        """Return the statements that make and fill the model's table and ``softwood_expected``."""
        tested = sorted({int(f) for f in self.model.feature[self.model.feature >= 0]})
        columns = [self.model.columns[f] for f in tested]
        keys = [key for key in keys if key not in {column.name for column in columns}]
        names = [f"{engine.name(c.name)} {engine.types[c.kind]}" for c in columns]
        names += [f"{engine.name(key)} {engine.types['key']}" for key in keys]
        kinds = [engine.types["number"]] * self.expected.scores.shape[1]
        kinds = [self._label_type(engine)] * self.has_label + kinds
        expected = [f"{name} {kind}" for name, kind in zip(self._sql_names(), kinds, strict=True)]
        source, key = engine.table(table), engine.types["key"]
        lines = [
            f"CREATE TABLE {source} ({', '.join(names)});",
            f"CREATE TABLE softwood_expected (softwood_key {key}, {', '.join(expected)});",
        ]
        lines += (
            ["BEGIN;"] if engine.parser in ("sqlite", "duckdb", "postgres") else []
        )  # far faster, where it is known
        values = [self.rows[column.name].tolist() for column in columns]
        for row, answer in enumerate(self._answers()):
            raw = [_cell(engine, c.kind, v[row]) for c, v in zip(columns, values, strict=True)] + [str(row)] * len(keys)
            shown = [label_literal(engine, value) for value in answer]
            lines.append(f"INSERT INTO {source} VALUES ({', '.join(raw)});")
            lines.append(f"INSERT INTO softwood_expected VALUES ({row}, {', '.join(shown)});")
        lines += ["COMMIT;"] if "BEGIN;" in lines else []
        return "\n".join(lines) + "\n"

    def check_sql(self, engine: Dialect, key: str) -> str:
        """Return the query that lists every row where ``softwood_answers`` is not what was expected."""
        names = self._sql_names()
        found = [name.removeprefix("expected_") for name in names]
        if self.expected.scores.shape[1] == 1:
            found = ["value"]
        wrong = [f"a.{engine.name(key)} IS NULL"]
        for expected, answer in zip(names, found, strict=True):
            wrong.append(f"a.softwood_{answer} IS NULL")
            if expected == "expected_label":
                wrong.append(f"a.softwood_label <> e.{expected}")
                continue
            allowed = f"CASE WHEN ABS(e.{expected}) > 1 THEN ABS(e.{expected}) ELSE 1 END"
            difference = f"ABS(a.softwood_{answer} - e.{expected})"
            wrong.append(f"{difference} > {engine.number(self.tolerance)} * {allowed}")
        shown = [f"e.{expected}, a.softwood_{answer}" for expected, answer in zip(names, found, strict=True)]
        return (
            "-- Each row that comes back is one on which the model does not give the expected answer.\n"
            f"SELECT\n  e.softwood_key,\n  {f',{chr(10)}  '.join(shown)}\n"
            f"FROM softwood_expected e LEFT JOIN softwood_answers a ON a.{engine.name(key)} = e.softwood_key\n"
            f"WHERE {f'{chr(10)}  OR '.join(wrong)}\nORDER BY e.softwood_key\n;\n"
        )

    def _sql_names(self) -> list[str]:
        kind = "probability" if self.has_label else "value"
        scores = [f"expected_{kind}_{k}" for k in range(self.expected.scores.shape[1])]
        return ["expected_label"] * self.has_label + scores

    def _label_type(self, engine: Dialect) -> str:
        label = (self.model.classes or ("",))[0]
        kind = "boolean" if isinstance(label, bool) else "number" if isinstance(label, float) else "category"
        return engine.types["key" if isinstance(label, int) and kind == "category" else kind]

    # -------------------------------------------------------------- README
    def readme(self, to: str, name: str, report: ExportReport, table: str) -> str:
        count = len(self.rows)
        if to in DIALECTS:
            commands = SQL_COMMANDS.format(client=CLIENTS[to], model=name) if to in CLIENTS else ""
            steps = SQL_STEPS.format(engine=DIALECTS[to].title, count=count, model=name, commands=commands)
            listing = SQL_LISTING.format(model=name, table=table)
        else:
            answer = ", ".join(["the label"] * self.has_label + [f"{self.expected.scores.shape[1]} scores"])
            steps = PROGRAM_STEPS.format(run=RUNS.get(to, ANY_RUN).format(model=name, answer=answer))
            listing = PROGRAM_LISTING.format(model=name)
        shown = str(report).replace(report.path, name)
        return README.format(
            summary=repr(self.model), fingerprint=self.model.fingerprint, listing=listing, count=count,
            expected=", ".join(self.names), tolerance=self.tolerance, steps=steps, report=shown,
        )  # fmt: skip


def _cell(engine: Dialect, kind: str, value: Any) -> str:
    if value is None or value != value:
        return "NULL"
    if kind == "boolean":
        return engine.booleans[int(value)]
    return engine.number(float(value)) if kind == "number" else engine.text(value)
