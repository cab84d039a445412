"""From the table that ``softwood fit`` is given to what a learner takes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from softwood.cli._measure import known_rows
from softwood.cli._model import check_column, read_like
from softwood.core import InputError, check_choice, check_number

if TYPE_CHECKING:
    import pandas as pd

    from softwood.artifacts import HardEnsemble
    from softwood.cli._fit_options import FitOptions
    from softwood.data import Description, Table, Target

_METRICS = ("accuracy", "log_loss", "squared", "absolute", "quantile", "poisson")


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows to measure a model on.

    Args:
        frame: raw columns, m rows whose target is known.
        y: targets ``[m]``, or ``[m, K]`` for K of them.
        weight: ``[m]``, or None.
        limits: what measuring on them does not cover, in words.
    """

    frame: pd.DataFrame
    y: np.ndarray
    weight: np.ndarray | None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table that is ready to be fitted.

    Args:
        table: as it was read.
        targets: what is predicted: one, or K of numbers; none where a teacher says it.
        found: what the columns are.
        frame: the raw columns in use, m rows whose targets are known.
        y: targets ``[m, K]``.
        roles: ``sample_weight``, ``groups`` and ``time`` ``[m]`` of ``fit``, those that there are.
        notes: short sentences on them.
        test: the test table's rows, or None.
        brought: the model to start from, or None.
    """

    table: Table
    targets: tuple[Target, ...]
    found: Description
    frame: pd.DataFrame
    y: pd.DataFrame
    roles: dict[str, np.ndarray]
    notes: tuple[str, ...]
    test: Scored | None
    brought: HardEnsemble | None = None

    @property
    def target(self) -> Target:
        """The first target, which says what the task is."""
        return self.targets[0]


def check_options(options: FitOptions, *, target: bool = True) -> None:
    """Check what can be checked before a table is read.

    Args:
        options: what was asked for.
        target: does there have to be a target?

    Raises:
        InputError: an option is not usable, or two of them clash.
    """
    if target and not options.target:
        raise InputError(
            "nothing is to be predicted", got="no --target", allowed="--target COL, or --like MODEL",
            fix="name the column to predict",
        )  # fmt: skip
    check_choice("--shape", options.shape, ["tree", "forest"])
    if options.task is not None:
        check_choice("--task", options.task, ["classification", "regression"])
    if options.metric is not None and ":" not in (options.loss or ""):
        check_choice("--metric", options.metric, _METRICS)
    deepest = 10 if options.shape == "tree" else 30
    if options.max_depth is not None:
        check_number("--max-depth", options.max_depth, low=1, high=deepest, integer=True)
    if options.size is not None:
        check_number("--size", options.size, low=1 if options.shape == "tree" else 2, integer=True)
    if options.time_limit is not None:
        check_number("--time-limit", options.time_limit, low=0.1)
    check_number("--min-samples-leaf", options.min_samples_leaf, low=0)
    check_number("--effort", options.effort, low=0.01, high=100)
    if options.holdout is not None:
        check_number("--holdout", options.holdout, low=0, high=0.5)
    check_number("--seed", options.seed, low=0, high=2**32 - 1, integer=True)
    if options.test == "-" == options.table:
        raise InputError("two tables on standard input", got="TABLE - and --test -", allowed="one -", fix="name a file")
    if options.tune is False and options.init is None:
        raise InputError(
            "there is nothing to leave untuned", got="--untuned alone", allowed="--from MODEL --untuned",
            fix="name a model, or leave --untuned out: our own are tuned only with --tune",
        )  # fmt: skip
    if options.group is not None and options.time is not None:
        raise InputError(
            "rows are divided by groups or by time", got="--group and --time", allowed="one of them",
            fix="leave one out; with --time, rows of one group may lie on both sides",
        )  # fmt: skip
    if len(options.target) > 1 and options.task == "classification":
        raise InputError(
            "several targets are numbers", got="--task classification", allowed="one target, or regression",
            fix="fit a model for each target",
        )  # fmt: skip
    roles: list[tuple[str, str | None]] = [("--target", name) for name in options.target]
    roles += [("--weight", options.weight), ("--group", options.group), ("--time", options.time)]
    taken: dict[str, str] = {}
    for role, name in roles:
        if name is None:
            continue
        if name in taken:
            raise InputError(
                f"{role} and {taken[name]} name one column", got=name, allowed="a column for each", fix=f"change {role}"
            )
        taken[name] = role
        if name in options.drop:
            raise InputError(f"the column of {role} is dropped", got=name, allowed="other columns", fix="change --drop")
    for text in options.ordered:
        if "=" not in text:
            raise InputError("--ordered is not usable", got=text, allowed="COL=low,medium,high", fix="write COL= first")
    for name in options.keep:
        if name not in (options.group, options.time):
            raise InputError(
                "--keep is for the column of --group or --time", got=name, allowed="one of these two",
                fix="leave it out: other columns are kept anyway",
            )  # fmt: skip


def prepare(options: FitOptions) -> Prepared:
    """Read the table and the test table, and find out what the columns are.

    Args:
        options: what was asked for.

    Raises:
        InputError: the table, the target or a column cannot be used.
    """
    import pandas as pd

    from softwood.data import describe, read_table

    table = read_table(options.table, missing=options.missing)
    present = table.frame.columns
    for option, names in (
        ("--target", options.target), ("--drop", options.drop), ("--weight", (options.weight,)),
        ("--group", (options.group,)), ("--time", (options.time,)),
    ):  # fmt: skip
        for name in names:
            if name is not None:
                check_column(option, name, present)
    targets = _targets(options, table.frame)
    rows = targets[0].rows if targets else np.ones(len(table.frame), bool)
    known = table.frame[rows].drop(columns=list(options.target)).reset_index(drop=True)
    known = with_orders(known, options.ordered)
    every = [replace(target, rows=np.ones(len(known), dtype=bool)) for target in targets]
    if not known.shape[1]:
        raise InputError(
            "no column is left beside the target", got=", ".join(options.target), allowed="a column to predict from",
            fix="check the table, and how it was read",
        )  # fmt: skip
    found = describe(known, every, leave_out=_left_out(options))
    # the parts of a date are made from its raw column
    raw = [name if name in known else name.rpartition(".")[0] for name in (column.name for column in found.columns)]
    answers = [np.asarray(target.classes)[target.values] if target.classes else target.values for target in targets]
    y = pd.DataFrame(dict(zip(options.target, answers, strict=True)))
    brought = None
    if options.init is not None:
        from softwood.trees import read_init

        brought = read_init(options.init)[0]
        # a column that we would leave out may be one that the model needs
        raw += [column.name for column in brought.columns if column.name in known.columns]
        raw = [name for name in raw if name not in _left_out(options)]
    roles, notes = _roles(options, known)
    test = None if options.test is None else _read_test(options, options.test, table, targets, found, known)
    return Prepared(table, targets, found, known[list(dict.fromkeys(raw))], y, roles, notes, test, brought)


def _targets(options: FitOptions, frame: pd.DataFrame) -> tuple[Target, ...]:
    """Read the targets. Of several, each is a number, and a row counts where all are known."""
    from softwood.data import read_target

    if len(options.target) <= 1:  # none: a teacher's answers stand for it
        return tuple(read_target(frame[name], options.task) for name in options.target)
    found = [read_target(frame[name], "regression") for name in options.target]
    rows = np.logical_and.reduce([target.rows for target in found])
    if not rows.any():
        raise InputError(
            "no row has all targets", got=", ".join(options.target), allowed="rows in which all are known",
            fix="fit a model for each target",
        )  # fmt: skip
    return tuple(replace(target, rows=rows, values=target.values[rows[target.rows]]) for target in found)


def with_orders(frame: pd.DataFrame, orders: Sequence[str]) -> pd.DataFrame:
    """Return the table with the columns that the user ordered as ordered categories.

    Args:
        frame: raw columns.
        orders: ``"COL=low,medium,high"``, levels from low to high, quoted where they hold a comma; ``"COL="`` takes
            an order away that was detected.

    Raises:
        InputError: no such column, numbers, or levels that are repeated or leave some of the column's out.
    """
    import pandas as pd

    from softwood.artifacts._values import canonical_text, is_missing_text

    columns = {}
    for text in orders:
        fitting = [name for name in map(str, frame.columns) if text.startswith(f"{name}=")]
        name = max(fitting, key=len, default=text.partition("=")[0])
        check_column("--ordered", name, frame.columns)
        if pd.api.types.is_numeric_dtype(frame[name].dtype):
            raise InputError(
                f"--ordered: column {name!r} holds numbers", got=text, allowed="columns of text",
                fix="leave it out: numbers have their order",
            )  # fmt: skip
        levels = [level.strip() for level in next(csv.reader([text[len(name) + 1 :]], skipinitialspace=True), [])]
        texts = pd.Series(canonical_text(frame[name]), dtype=object)
        present = [level for level in texts.dropna().unique() if not is_missing_text([level])[0]]
        absent = [level for level in present if level not in levels]
        if levels and (absent or len(set(levels)) < len(levels)):
            raise InputError(
                f"--ordered: the levels of {name!r} do not fit",
                got=f"nothing on {', '.join(map(repr, absent[:5]))}" if absent else "a level twice",
                allowed=f"each of {', '.join(map(repr, sorted(present)[:20]))} once", fix="list them from low to high",
            )  # fmt: skip
        columns[name] = pd.Categorical(texts, levels or sorted(present), ordered=bool(levels))
    return frame.assign(**columns)


def _left_out(options: FitOptions) -> dict[str, str]:
    """Return the columns that are no inputs, each with the reason."""
    reasons = dict.fromkeys(options.drop, "left out by the user")
    for name, reason in (
        (options.weight, "the weight of each row"),
        (options.group, "the group of each row (--keep uses it as input too)"),
        (options.time, "the time of each row (--keep uses it as input too)"),
    ):
        if name is not None and name not in options.keep:
            reasons[name] = reason
    return reasons


def _roles(options: FitOptions, known: pd.DataFrame) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read the weights, groups and times of the rows whose target is known."""
    from softwood.data import row_groups, row_times, row_weights

    roles, notes = {}, []
    if options.weight is not None:
        weight = roles["sample_weight"] = row_weights(known[options.weight])
        none = int((weight == 0).sum())
        notes.append(
            f"weighted by {options.weight}, {weight.min():.4g} to {weight.max():.4g}"
            + (f"; {none} rows of weight 0 are left out" if none else "")
        )
    if options.group is not None:
        groups = roles["groups"] = row_groups(known[options.group])
        notes.append(f"kept together by {options.group}: {groups.max() + 1} groups, none on both sides of a split")
    if options.time is not None:
        time = roles["time"] = row_times(known[options.time])
        first, last = (known[options.time].iloc[place] for place in (time.argmin(), time.argmax()))
        notes.append(f"in the order of {options.time}: {time.max() + 1} times, from {first} to {last}")
    return roles, tuple(notes)


def _read_test(
    options: FitOptions, source: str, table: Table, targets: Sequence[Target], found: Description, known: pd.DataFrame
) -> Scored:
    """Read the test table before the search begins: a fault in it should not cost a fit."""
    from softwood.artifacts import encode_table

    make = {"delimiter": table.delimiter, "decimal": table.decimal, "missing": options.missing}
    classes = targets[0].classes
    frame = read_like(make, source, found.columns, targets=options.target, classes=classes).frame
    rows = scored_rows(frame, options.target, classes or None, options.weight)
    encode_table(found.columns, rows.frame)
    limits = []
    if options.group is not None and options.group in rows.frame:
        shared = set(map(str, known[options.group].dropna())) & set(map(str, rows.frame[options.group].dropna()))
        if shared:
            limits.append(f"groups that training has not seen: {len(shared)} of the test table's are in both tables")
    return replace(rows, limits=tuple(limits))


def scored_rows(frame: pd.DataFrame, targets: Sequence[str], classes: Any, weight: str | None) -> Scored:
    """Return the rows of a table whose targets are known, with their weights where the table holds them.

    Args:
        frame: raw columns.
        targets: names of the target columns.
        classes: labels of the model, None for a regression.
        weight: name of the weight column, or None.

    Raises:
        InputError: as ``known_rows`` and ``row_weights`` say.
    """
    from softwood.data import row_weights

    found = [known_rows(classes, frame[name]) for name in targets]
    rows = np.logical_and.reduce([known for known, _ in found])
    parts = [y[rows[known]] for known, y in found]
    kept = frame[rows].reset_index(drop=True)
    y = parts[0] if len(parts) == 1 else np.column_stack(parts)
    return Scored(kept, y, row_weights(kept[weight]) if weight is not None and weight in kept else None)
