"""What ``softwood fit`` is asked for, and how a record says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from softwood.core import DamagedFileError


@dataclass(frozen=True)
class FitOptions:
    """What ``softwood fit`` is asked for; the names are those of its options.

    Args:
        table: path or ``"-"``.
        target: names of the columns to predict: one, or several of numbers.
        task: ``"classification"``, ``"regression"``, or None to tell from the target.
        shape: ``"tree"`` or ``"forest"``.
        max_depth: splits on the longest path, or None for 4 (tree) or 6 (forest).
        size: most leaf values, or None for no limit (tree) or 480 (forest).
        min_samples_leaf: least rows in a leaf.
        metric: what selection compares, or None for the task's usual one.
        loss: what is minimised: a name, or MODULE:FUNCTION; None for the task's usual one.
        quantile: level of the loss ``"quantile"``.
        test: path of a table to certify on instead of rows held out.
        drop: columns to leave out.
        increasing: columns with which the answer may not fall.
        decreasing: columns with which it may not rise.
        forbid: columns that no node may test; they stay in the table's form.
        ordered: ``"COL=low,medium,high"``, the order of a column's levels; ``"COL="`` for none.
        weight: column of the rows' weights, or None.
        group: column of groups that no split parts, or None.
        time: column of times; later rows are judged by what earlier ones taught; or None.
        keep: the group or time column, where it is an input too.
        time_limit: seconds, or None.
        effort: multiplies what is tried.
        holdout: share of the rows kept for the certificate, or None for what the learners do unasked.
        seed: of everything random.
        stability: fit again to bootstrap samples, and record how much of the model comes back.
        out: directory of the model.
        init: path of a model to start from, or None.
        tune: fine-tune what leads; None: only a model that was brought; False: leave that untouched.
        plan: efforts by search instead of a time limit, or None.
        class_weight: ``"balanced"``, ``"LABEL=2,LABEL=0.5"``, or None.
        missing: what else means "missing": ``"-999"`` in every column, ``"COL=-999"`` in one.
    """

    table: str
    target: tuple[str, ...]
    task: str | None = None
    shape: str = "tree"
    max_depth: int | None = None
    size: int | None = None
    min_samples_leaf: float = 1.0
    metric: str | None = None
    loss: str | None = None
    quantile: float = 0.5
    test: str | None = None
    drop: tuple[str, ...] = ()
    increasing: tuple[str, ...] = ()
    decreasing: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    keep: tuple[str, ...] = ()
    time_limit: float | None = None
    effort: float = 1.0
    holdout: float | None = None
    seed: int = 0
    stability: bool = False
    out: Path = Path("model")
    init: str | None = None
    tune: bool | None = None
    plan: Mapping[str, Any] | None = None
    class_weight: str | None = None
    missing: tuple[str, ...] = ()


def options_like(record: Mapping[str, Any], place: Path, table: str, out: Path) -> FitOptions:
    """Return the options that a record tells of, with the plan of what its fit had time for instead of a time limit.

    Args:
        record: content of ``record.json``.
        place: where it was read.
        table: to fit to.
        out: directory to write.

    Raises:
        DamagedFileError: the record does not hold them.
    """
    try:
        asked, plan = dict(record["options"]), record["search"].get("plan")
        known = {option.name for option in fields(FitOptions)}
        asked = {name: tuple(v) if isinstance(v, list) else v for name, v in asked.items() if name in known}
        return FitOptions(**{**asked, "table": table, "out": out, "time_limit": None, "plan": plan})
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            place, f"it does not say how the model was made ({error})", "fit without --like"
        ) from error
