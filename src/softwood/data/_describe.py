"""What the columns of a table are, which are left out and why, and which seem to know the target."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column, encode_table
from softwood.core import InputError
from softwood.data._kinds import Finding, find_kind
from softwood.data._leaks import find_leak, orders_target
from softwood.data._read import read_table
from softwood.data._target import Target, read_target

_UNWANTED = "left out by the user"


@dataclass(frozen=True)
class Description:
    """The columns that a model can use.

    Args:
        columns: raw columns, in the order of the table; ``encode_table`` reads them.
        dropped: (name, reason) of each column that is left out.
        leaks: (name, reason) of columns that give the target away; they are flagged, not left out.
        notes: short sentences for printing.

    Example:
        >>> describe({"a": [1, 2], "b": [5, 5]}).dropped
        (('b', "constant: always '5'"),)
    """

    columns: tuple[Column, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    leaks: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def describe(
    frame: Any,
    target: str | Target | Sequence[Target] | None = None,
    *,
    leave_out: Collection[str] | Mapping[str, str] = (),
) -> Description:
    """Find the kind of every column.

    number: any numbers, also few-valued ones, and text that is numbers ("1.5", but not codes like "00501").
    boolean: True/False, the numbers 0 and 1, or two texts: true/false, t/f, yes/no, y/n, 1/0.
    category: pandas categories (ordered ones keep their order) and text of at most 20 levels, or of at most 1000
    levels with at least 5 rows each on average; levels are sorted. Text whose levels all stand on one ladder
    (low/medium/high, months, "1-5"/"6-10"/">10", 1st/2nd/3rd; ``find_order`` knows which) is an ordered category.
    date: pandas datetimes, and text in which every value is 2024-03-05, 2024/03/05, 05.03.2024, 5 Mar 2024 or March 5,
    2024, with or without a time, or the month 2024-03; it becomes its parts that vary, numbers named "sold.year",
    "sold.month", "sold.day", "sold.weekday", "sold.hour", which ``encode_table`` makes from the column "sold".

    Left out, with a reason: columns where all is missing or all is the same; lists; row counters (each whole
    number from 0 or 1 once, 20 rows or more) and distinct whole numbers under a name such as "id" or
    "customerId"; UUIDs; text of more than ten values of which over 90 % of the rows have their own; free text;
    more levels than above; complex numbers; durations; whole numbers beyond 2^53; dates such as 03/05/2024, whose day
    and month are not told apart; numbers with a unit. A value that is constant but sometimes missing is
    kept: missing may mean something.

    Args:
        frame: n rows, anything that ``read_table`` accepts.
        target: name of the column that is predicted, or what ``read_target`` made of it or of several, or None.
            With a target, leaks are looked for (``find_leak`` states the rules) in all columns and identifiers.
        leave_out: names of columns that the user does not want, or a dict from them to the reason.

    Returns:
        The description.

    Raises:
        InputError: no rows, repeated names, an absent target or column, no usable column, or what
            ``read_target`` and ``encode_table`` refuse.

    Cost: O(n log n) for each column.

    Example:
        >>> found = describe({"size": [1.5, 2.5], "color": ["red", "blue"], "y": ["a", "b"]}, target="y")
        >>> [(column.name, column.kind) for column in found.columns]
        [('size', 'number'), ('color', 'category')]
    """
    table = read_table(frame).frame
    wanted = [target] if isinstance(target, str) else []
    for name in [*wanted, *leave_out]:
        _check_present(name, table)
    answers = [read_target(table[target])] if isinstance(target, str) else target or ()
    answers = [answers] if isinstance(answers, Target) else answers
    names = [name for name in table.columns if name not in {*wanted, *leave_out}]
    findings = {name: _no_clash(find_kind(name, table[name]), table) for name in names}
    columns = tuple(column for finding in findings.values() for column in finding.columns)
    dropped = list((leave_out if isinstance(leave_out, Mapping) else dict.fromkeys(leave_out, _UNWANTED)).items())
    dropped += [(name, finding.reason) for name, finding in findings.items() if finding.reason]
    if not columns:
        raise InputError(
            "no column can be used",
            got="; ".join(f"{name}: {reason}" for name, reason in dropped[:5]) or "none",
            allowed="at least one number, boolean, category or date",
            fix="check the table, and how it was read",
        )
    counts = Counter("ordered" if column.ordered else column.kind for column in columns)
    notes = [", ".join(f"{count} {kind}" for kind, count in counts.items()) + f"; {len(dropped)} left out"]
    notes += [finding.note for finding in findings.values() if finding.note]
    leaks = [leak for answer in answers for leak in _find_leaks(table, columns, findings, answer)]
    return Description(columns, tuple(dropped), tuple(dict.fromkeys(leaks)), tuple(notes))


def _check_present(name: str, table: pd.DataFrame) -> None:
    if name in table.columns:
        return
    near = difflib.get_close_matches(name, list(table.columns), n=1)
    raise InputError(
        "the table has no such column",
        got=repr(name),
        allowed=", ".join(map(str, table.columns[:30])),
        fix=f"did you mean {near[0]!r}?" if near else "choose one of its columns",
    )


def _no_clash(finding: Finding, table: pd.DataFrame) -> Finding:
    """Leave a date out if the table has a column of the same name as one of its parts."""
    clash = [column.name for column in finding.columns if len(finding.columns) > 1 and column.name in table.columns]
    return Finding(reason=f"a date, but the table already has {clash[0]!r}") if clash else finding


def _find_leaks(
    table: pd.DataFrame, columns: tuple[Column, ...], findings: dict[str, Finding], target: Target
) -> tuple[tuple[str, str], ...]:
    rows = target.rows if len(target.rows) else np.ones(len(table), dtype=bool)
    leaks = []
    for column, values in zip(columns, encode_table(columns, table)[rows].T, strict=True):
        reason = find_leak(values, target, ordered=column.kind != "category" or column.ordered)
        if reason:
            leaks.append((column.name, reason))
    for name, finding in findings.items():
        if finding.identifier is not None and orders_target(finding.identifier[rows], target):
            leaks.append((name, "identifier that orders the target: the rows were numbered after they were sorted"))
    return tuple(leaks)
