"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from softwood.core import InputError, entry_point

TABLE_HELP = "CSV, TSV, Parquet or Feather, compressed or not; - reads standard input."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Directory that fit wrote.", show_default=False)]
TablePath = Annotated[str, typer.Argument(metavar="TABLE", help=TABLE_HELP, show_default=False)]
Progress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Show progress on stderr.  [default: on a terminal only]"),
]

# what fit and distill both take
Task = Annotated[str | None, typer.Option(help="classification or regression.  [default: told from the target]")]
Shape = Annotated[str, typer.Option(help="tree or forest.")]
MaxDepth = Annotated[int | None, typer.Option(help="Splits on the longest path.  [default: 4 (tree), 6 (forest)]")]
Size = Annotated[
    int | None, typer.Option(help="Most leaf values; a leaf of K > 2 classes counts K.  [default: none, 480 (forest)]")
]
MinSamplesLeaf = Annotated[float, typer.Option(help="Least rows in a leaf.")]
Metric = Annotated[
    str | None, typer.Option(help="accuracy or log_loss; squared or absolute.  [default: the first; the loss (forest)]")
]
Test = Annotated[str | None, typer.Option(metavar="FILE", help="Certify on this table, train on all.")]
Drop = Annotated[list[str] | None, typer.Option(metavar="COL", help="Leave a column out; repeatable.")]
Ordered = Annotated[
    list[str] | None, typer.Option(metavar="COL=A,B,C", help="Levels from low to high; COL= for no order; repeatable.")
]
Weight = Annotated[str | None, typer.Option(metavar="COL", help="Column of weights; no input then.")]
Group = Annotated[str | None, typer.Option(metavar="COL", help="Rows of one group are never split; no input then.")]
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="VALUE", help="Means missing, such as -999; COL=-999 in one column; repeatable."),
]
TimeLimit = Annotated[str, typer.Option(metavar="TIME", help="Such as 90, 90s, 5m or 1h; none for no limit.")]
Effort = Annotated[float, typer.Option(help="Multiplies what is tried.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same tree.")]
Out = Annotated[Path, typer.Option(help="Directory to write; a model there is replaced.")]

USUAL_TIME = "5m"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def many(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return what a repeatable option was given."""
    return tuple(names or ())


def read_duration(text: str) -> float | None:
    """Return seconds, or None for no limit.

    Args:
        text: ``"90"``, ``"90s"``, ``"5m"``, ``"1.5h"`` or ``"none"``.

    Raises:
        InputError: it is none of these, or zero.

    Example:
        >>> read_duration("5m")
        300.0
    """
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise InputError(
            "--time-limit is not usable", got=repr(text), allowed="seconds, or a number with s, m or h, or none",
            fix="write 90, 90s, 5m or 1h",
        )  # fmt: skip
    return seconds


def read_loss(text: str) -> Any:
    """Return a loss's name as it is, and for MODULE:FUNCTION the function; modules of this directory are found.

    Args:
        text: what ``--loss`` was given.

    Raises:
        InputError: there is no such module, or no such function in it.

    Example:
        >>> read_loss("poisson")
        'poisson'
    """
    return entry_point(text, "the loss") if ":" in text else text


def read_class_weight(text: str | None, classes: Sequence[Any]) -> str | dict[Any, float] | None:
    """Return ``class_weight`` as the learners take it; a label that is not named has the weight 1.

    Args:
        text: ``"balanced"``, ``"LABEL=2,LABEL=0.5"`` with labels quoted where they hold a comma, or None.
        classes: the target's labels.

    Raises:
        InputError: a label or a weight is not usable.

    Example:
        >>> read_class_weight("yes=5", ("no", "yes"))
        {'no': 1.0, 'yes': 5.0}
    """
    if text is None or text == "balanced":
        return text
    by_text = {str(label): label for label in classes}
    weights = dict.fromkeys(classes, 1.0)
    for part in next(csv.reader([text], skipinitialspace=True), []):
        label, equals, amount = part.strip().rpartition("=")
        try:
            weight = float(amount)
        except ValueError:
            weight = math.nan
        if not equals or label not in by_text or not 0 < weight < math.inf:
            raise InputError(
                "--class-weight is not usable", got=repr(part),
                allowed=f"balanced, or LABEL=WEIGHT for {', '.join(by_text)}", fix="write yes=5,no=1, weights above 0",
            )  # fmt: skip
        weights[by_text[label]] = weight
    return weights
