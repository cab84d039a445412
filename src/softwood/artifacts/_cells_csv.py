"""Plain rows as a CSV file, and answers read back from one: how exported programs are fed and listened to."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._verify import Answers


def write_cells(path: Path, cells: pd.DataFrame) -> None:
    """Write plain rows as UTF-8 CSV with a header line: numbers to their last digit, missing values as empty cells.

    Args:
        path: the file.
        cells: n rows, as ``cells`` makes them.

    Cost: O(nC).

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "rows.csv"
        >>> write_cells(target, pd.DataFrame({"a": [0.1, np.nan], "b": ["x,y", None]}))
        >>> target.read_text().splitlines()
        ['a,b', '0.1,"x,y"', ',']
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)  # CRLF, as RFC 4180 has it; so a lone CR inside a text is quoted, too
        writer.writerow(cells.columns)
        writer.writerows(zip(*([_text(v) for v in cells[name].tolist()] for name in cells.columns), strict=True))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return "" if value is None else str(value)


def read_answers(content: bytes, model: HardEnsemble) -> Answers:
    r"""Read the CSV table that an exported program wrote: a header line, then the label and the scores of each row.

    Args:
        content: the table, UTF-8.
        model: the ensemble that the program was made from; only its labels are looked at, to turn text into them.

    Raises:
        ValueError: it is no such table.

    Cost: O(nK).

    Example:
        >>> from softwood.artifacts import Column
        >>> model = HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"])
        >>> read_answers(b"value\n0.5\n", model).scores.tolist()
        [[0.5]]
    """
    found = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))[1:]
    if model.classes is None:
        return Answers(None, np.array(found, dtype=np.float64).reshape(len(found), -1))
    by_text = {str(label): label for label in model.classes}
    labels = np.array([*(by_text.get(row[0], row[0]) for row in found), None], dtype=object)[:-1]
    return Answers(labels, np.array([row[1:] for row in found], np.float64).reshape(len(found), len(model.classes)))
