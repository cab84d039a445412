"""The 127 papers of the scope: what each is called, and what it is for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Title(NamedTuple):
    """A line of ``titles.tsv``: a paper's family, its title, and what it is for.

    Example:
        >>> TITLES["sau"].family, len(TITLES)
        ('ops', 127)
    """

    family: str
    title: str
    does: str


def _read(path: Path) -> dict[str, Title]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row.pop("id"): Title(**row) for row in rows}


TITLES = _read(Path(__file__).with_name("titles.tsv"))
