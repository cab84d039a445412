"""The tables of ``softwood bench``: scikit-learn's, and those of a folder; each method is given the same columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from softwood.core import InputError

if TYPE_CHECKING:
    import pandas as pd

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True, eq=False)
class BenchTable:
    """One table.

    Args:
        name: of the file, or scikit-learn's.
        target: name of the column that is predicted, and how it was found.
        raw: columns that can be used, as they came, n rows.
        coded: the same as numbers, and texts as categories: what other libraries are given.
        y: class numbers, int64 ``[n]``, or values, float64 ``[n]``.
        classes: how many, 0 for a regression.
    """

    name: str
    target: str
    raw: pd.DataFrame
    coded: pd.DataFrame
    y: np.ndarray
    classes: int

    @property
    def outputs(self) -> int:
        """Numbers in a leaf: 1, or the classes where there are more than two."""
        return self.classes if self.classes > 2 else 1


def bundled_table(name: str) -> BenchTable:
    """Return one of ``BUNDLED``.

    Args:
        name: one of them.
    """
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    y = bunch.target.to_numpy()
    classes = 0 if name == "diabetes" else len(np.unique(y))
    return BenchTable(name, "scikit-learn's", bunch.data, bunch.data, y if classes else y.astype(float), classes)


def folder_tables(folder: Path, targets: Mapping[str, str]) -> list[Path]:
    """Return the CSV files of a folder, in the order of their names.

    Args:
        folder: with ``NAME.csv`` or ``NAME.csv.gz``.
        targets: by name, as the user gave them.

    Raises:
        InputError: there is no such folder, it holds no CSV, or a target names a table that is not there.
    """
    found = sorted(path for path in folder.glob("*") if path.name.endswith(_SUFFIXES)) if folder.is_dir() else []
    if not found:
        raise InputError("--tables holds no table", got=str(folder), allowed="a folder of .csv or .csv.gz files",
                         fix="name the folder that they are in")  # fmt: skip
    strange = sorted(set(targets) - {table_name(path) for path in found})
    if strange:
        raise InputError("--target names a table that is not there", got=", ".join(strange),
                         allowed=", ".join(map(table_name, found)), fix="write NAME=COLUMN")  # fmt: skip
    return found


def table_name(path: Path) -> str:
    """Return the file's name without its suffixes."""
    return path.name.split(".")[0]


def folder_table(path: Path, targets: Mapping[str, str]) -> BenchTable:
    """Read one table. Its target: what the user said, else ``targets.json`` beside it, else the last column.

    Columns that ``fit`` would leave out are left out for every method.

    Args:
        path: the file.
        targets: by name, as the user gave them.

    Raises:
        InputError: the target is not in the table, or cannot be predicted.
    """
    import pandas as pd

    from softwood.artifacts import encode_table
    from softwood.data import describe, read_table, read_target

    name = table_name(path)
    listed = path.parent / "targets.json"
    stored = json.loads(listed.read_text()) if listed.exists() else {}
    frame = read_table(path).frame
    target, said = targets.get(name), "--target"
    if target is None:
        target, said = stored.get(name), "targets.json"
    if target is None:
        target, said = str(frame.columns[-1]), "the last column"
    if target not in frame:
        raise InputError(
            f"table {name} has no column {target!r}, which {said} names", got=target,
            allowed=", ".join(map(str, frame.columns[:20])), fix=f"write --target {name}=COLUMN",
        )  # fmt: skip
    answer = read_target(frame[target])
    frame = frame[answer.rows].drop(columns=[target]).reset_index(drop=True)
    described = describe(frame, answer if answer.rows.all() else None)
    columns = described.columns
    coded = pd.DataFrame(encode_table(columns, frame), columns=[column.name for column in columns])
    for column in columns:
        if column.kind == "category":
            codes = coded[column.name].fillna(-1).astype(int).to_numpy()
            coded[column.name] = pd.Categorical.from_codes(codes, pd.Index(column.levels))
    unused = {name for name, _ in described.dropped}
    raw = frame.drop(columns=[label for label in frame if str(label) in unused])
    return BenchTable(name, f"{target} ({said})", raw, coded, answer.values, len(answer.classes))


def read_targets(texts: Sequence[str]) -> dict[str, str]:
    """Return what ``NAME=COLUMN`` options say.

    Raises:
        InputError: a text has no equals sign.

    Example:
        >>> read_targets(["ames=Sale_Price"])
        {'ames': 'Sale_Price'}
    """
    for text in texts:
        if "=" not in text:
            raise InputError("--target is not usable", got=text, allowed="NAME=COLUMN", fix="write --target ames=price")
    return dict(text.split("=", 1) for text in texts)
