"""The Python format: one readable file that needs only the standard library."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._cells_csv import read_answers, write_cells
from softwood.artifacts._columns import FALSE_TEXTS, TRUE_TEXTS
from softwood.artifacts._dates import DATE_PARTS
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_python_text import (
    CLASSIFIER,
    DATES,
    HEADER,
    NESTED,
    READING,
    REGRESSION,
    RUNNING,
    TABLES,
    WITHOUT_DATES,
)
from softwood.artifacts._values import MISSING_AMONG_NUMBERS
from softwood.artifacts._verify import Answers, ExportMismatchError, refuse_empty_level

# Nested ifs are the form a person reads; Python gives up at 100 levels of them, a reader long before
_DEEPEST, _MOST_SPLITS, _MOST_SET_ITEMS = 16, 4_000, 20_000
_INDENT = "    "


def write_python(model: HardEnsemble) -> str:
    """Return the model as the text of a Python file.

    The file has ``predict(row)`` and, for a classifier, ``predict_proba(row)``, where ``row`` is a dict of raw
    values, and runs as ``python FILE table.csv > out.csv``. Small models are nested ifs, a function for each tree;
    deep or large ones are tables and a loop. Every name, level and label is written by ``repr``, so that no text
    in a user's table can become code.

    Args:
        model: the ensemble.

    Raises:
        UnsupportedError: a level is the empty text.

    Cost: O(nodes + levels of the tested sets).
    """
    refuse_empty_level(model, "python")
    body = _nested(model) if _is_readable(model) else _tables(model)
    dates = bool(_date_parts(model))
    modules = ("csv", "datetime", "math", "re", "sys") if dates else ("csv", "math", "sys")
    imports = "\n".join(f"import {module}" for module in modules)
    header = HEADER.format(summary=repr(model), fingerprint=model.fingerprint, imports=imports)
    parts = [header, _facts(model), DATES if dates else WITHOUT_DATES, READING, body]
    parts += [REGRESSION if model.classes is None else CLASSIFIER, RUNNING]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _date_parts(model: HardEnsemble) -> list[str]:
    """Return the tested columns that may be parts of dates, by their names, as ``pick_columns`` takes them."""
    tested = {model.columns[f].name for f in model.feature[model.feature >= 0].tolist()}
    return sorted(name for name in tested if name.rpartition(".")[0] and name.rpartition(".")[2] in DATE_PARTS)


def _is_readable(model: HardEnsemble) -> bool:
    listed = model.levels_left.sum(axis=1)
    sizes = np.maximum(listed, model.levels_left.shape[1] - listed)
    items = sizes[model.level_set[model.level_set >= 0]].sum()
    return model.depth <= _DEEPEST and model.n_splits <= _MOST_SPLITS and items <= _MOST_SET_ITEMS


def _facts(model: HardEnsemble) -> str:
    tested = sorted({int(f) for f in model.feature[model.feature >= 0]})
    kinds = {model.columns[f].name: model.columns[f].kind for f in tested}
    facts = {
        "FINGERPRINT": model.fingerprint,
        "LINK": model.link,
        "CLASSES": None if model.classes is None else list(model.classes),
        "OUTPUTS": list(model.outputs),
        "BASE": model.base.tolist(),
        "MISSING": sorted(MISSING_AMONG_NUMBERS),
        "TRUE": sorted(TRUE_TEXTS),
        "FALSE": sorted(FALSE_TEXTS),
    }
    columns = "".join(f"\n{_INDENT}{name!r}: {kind!r}," for name, kind in kinds.items())
    lines = [f"{name} = {value!r}" for name, value in facts.items()]
    return "\n".join([*lines, "# the columns that are tested; others may be there", f"TESTED = {{{columns}\n}}"])


# ------------------------------------------------------------------ small models: nested ifs
def _nested(model: HardEnsemble) -> str:
    functions = []
    for tree, root in enumerate(model.roots.tolist()):
        lines = [f"def tree_{tree}(row):"]
        _write_node(model, root, _INDENT, lines)
        functions.append("\n".join(lines))
    names = "".join(f"\n{_INDENT}tree_{tree}," for tree in range(model.n_trees))
    return "\n\n\n".join([*functions, f"TREES = [{names}\n]", NESTED])


def _write_node(model: HardEnsemble, node: int, indent: str, lines: list[str]) -> None:
    if model.feature[node] < 0:
        leaf = int(model.leaf[node])
        count = f"  # n = {model.counts[leaf]:g}" if model.counts[leaf] > 0 else ""
        lines.append(f"{indent}return {model.values[leaf].tolist()!r}{count}")
        return
    lines.append(f"{indent}if {_condition(model, node)}:")
    _write_node(model, int(model.left[node]), indent + _INDENT, lines)
    lines.append(f"{indent}else:")
    _write_node(model, int(model.right[node]), indent + _INDENT, lines)


def _condition(model: HardEnsemble, node: int) -> str:
    """Return the test under which a row goes left; a comparison with NaN is False, which decides missing values."""
    column, missing_left = model.columns[model.feature[node]], bool(model.missing_left[node])
    value = f"row[{column.name!r}]"
    if model.level_set[node] < 0:
        threshold = float(model.threshold[node])
        return f"not {value} > {threshold!r}" if missing_left else f"{value} <= {threshold!r}"
    goes_left = model.levels_left[model.level_set[node]].tolist()
    listed = [level for level, left in zip(column.levels, goes_left, strict=False) if left != missing_left]
    levels = "{" + ", ".join(map(repr, listed)) + "}" if listed else "()"
    return f"{value} {'not in' if missing_left else 'in'} {levels}"


# ------------------------------------------------------------------ large models: tables
def _tables(model: HardEnsemble) -> str:
    names = [column.name for column in model.columns]
    used = {int(f) for f in model.feature[model.level_set >= 0]}
    levels = {f: {level: i for i, level in enumerate(model.columns[f].levels)} for f in sorted(used)}
    lists: dict[str, Iterable[Any]] = {
        "NAMES": names,
        "FEATURE": model.feature.tolist(),
        "THRESHOLD": [None if np.isnan(t) else t for t in model.threshold.tolist()],
        "MISSING_LEFT": model.missing_left.astype(int).tolist(),
        "LEFT": model.left.tolist(),
        "RIGHT": model.right.tolist(),
        "LEVEL_SET": model.level_set.tolist(),
        "LEAF": model.leaf.tolist(),
        "VALUES": model.values.tolist(),
        "SETS": ["".join("01"[left] for left in row) for row in model.levels_left.astype(int).tolist()],
        "ROOTS": model.roots.tolist(),
    }
    return "\n".join(
        [*(f"{name} = {_wrapped(items)}" for name, items in lists.items()), f"LEVELS = {levels!r}", TABLES]
    )


def _wrapped(items: Iterable[Any]) -> str:
    texts = list(map(repr, items))
    lines = [", ".join(texts[start : start + 10]) + "," for start in range(0, len(texts), 10)]
    return "[\n" + "".join(f"{_INDENT}{line}\n" for line in lines) + "]"


# ------------------------------------------------------------------ checking
def run_python(path: Path, model: HardEnsemble, cells: pd.DataFrame) -> Answers:
    """Answer from the file: run it by itself on a CSV file, with every number written to its last digit.

    Args:
        path: the file.
        model: the ensemble that it was made from; only its labels are looked at.
        cells: n rows, as ``cells`` makes them.

    Raises:
        ExportMismatchError: the file stopped with an error, or wrote something else than its table.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.csv"
        write_cells(source, cells)
        done = subprocess.run([sys.executable, "-I", str(path), str(source)], capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()[-500:]
        raise ExportMismatchError("python", f"the file stopped with exit code {done.returncode}: {message}")
    return read_answers(done.stdout, model)


def python_verifier() -> str:
    """Name the interpreter."""
    return f"python {platform.python_version()} in a subprocess"
