"""``explain``: why a model answers a row as it does, and the nearest row on which it answers otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from softwood.artifacts._counterfactual import Counterfactual, Goal, Neighbourhood
from softwood.artifacts._paths import TreePath, raw_value, tree_paths
from softwood.artifacts._shap import shap_encoded
from softwood.core import InputError, UnsupportedError, check_choice, check_number

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

_MOST_TREES, _MOST_COLUMNS = 3, 10  # in the text; to_dict has all


@dataclass(frozen=True, eq=False)
class Explanation:
    """One row's answer, the way to it, what each column adds, and the nearest row with another answer.

    Args:
        row: its place in the table, from 0.
        answer: the label; or the value, a list of them for several outputs.
        scores: probability of each class, or value of each output, by its name.
        paths: the path through each tree.
        expected: raw score of the training rows' mean, ``[K]``; None where the model holds no training weight.
        contributions: what each column adds to it, by its name: K numbers each, those of ``shap_values``; or None.
        explained: the output that the text shows contributions of.
        wanted: what the counterfactual has to reach, in words; None where none was asked for.
        counterfactual: the nearest one that was found, or None.

    Example:
        See ``explain``.
    """

    row: int
    answer: Any
    scores: dict[str, float]
    paths: tuple[TreePath, ...]
    expected: tuple[float, ...] | None
    contributions: dict[str, tuple[float, ...]] | None
    explained: int
    wanted: str | None
    counterfactual: Counterfactual | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return {
            "row": self.row,
            "answer": self.answer,
            "scores": self.scores,
            "paths": [path.to_dict() for path in self.paths],
            "expected": None if self.expected is None else list(self.expected),
            "contributions": None
            if self.contributions is None
            else {n: list(v) for n, v in self.contributions.items()},
            "wanted": self.wanted,
            "counterfactual": None if self.counterfactual is None else self.counterfactual.to_dict(),
        }

    def __str__(self) -> str:
        scores = ", ".join(f"{name}: {value:.6g}" for name, value in self.scores.items())
        lines = [f"Row {self.row}: {_shown(self.answer)}  ({scores})"]
        for path in self.paths[:_MOST_TREES]:
            lines += ["", f"Tree {path.tree}" if len(self.paths) > 1 else "Path", *_path_lines(path)]
        if len(self.paths) > _MOST_TREES:
            lines += ["", f"... and {len(self.paths) - _MOST_TREES} more trees"]
        return "\n".join([*lines, *self._contribution_lines(), *self._counterfactual_lines()])

    def _contribution_lines(self) -> list[str]:
        if self.contributions is None or self.expected is None:
            return []
        k = self.explained
        added = sorted(((v[k], name) for name, v in self.contributions.items() if v[k] != 0), key=lambda p: -abs(p[0]))
        lines = ["", f"What each column adds to the raw score, from {self.expected[k]:.6g} for an average row"]
        lines += [f"  {value:+.6g}  {name}" for value, name in added[:_MOST_COLUMNS]]
        if len(added) > _MOST_COLUMNS:
            rest = sum(value for value, _ in added[_MOST_COLUMNS:])
            lines.append(f"  {rest:+.6g}  {len(added) - _MOST_COLUMNS} more columns")
        return lines if added else [*lines, "  nothing: no column that is tested is known to matter"]

    def _counterfactual_lines(self) -> list[str]:
        if self.wanted is None:
            return []
        found = self.counterfactual
        if found is None:
            return ["", f"No change that was tried gives {self.wanted}"]
        sure = "nearest, proved" if found.proved else "nearest found"
        lines = ["", f"Smallest change that gives {self.wanted} ({sure}; checked by predicting it)"]
        lines += [f"  {change.column}: {_shown(change.before)} -> {_shown(change.after)}" for change in found.changes]
        return [*lines, f"  answer then: {_shown(found.answer)}"]


def explain_rows(
    model: HardEnsemble, table: Any, *, keep: Collection[str] = (), wanted: Any = None, by: float | None = None,
    units: Mapping[str, float] | None = None, counterfactual: bool = True,
) -> list[Explanation]:  # fmt: skip
    """Explain the answer to each row; see ``HardEnsemble.explain``.

    Args:
        model: the ensemble.
        table: n rows.
        keep: names of columns that the counterfactual may not change.
        wanted: a label, or a value to reach.
        by: how much a value has to change.
        units: what counts as a change of 1 in each number column.
        counterfactual: search for one.

    Raises:
        InputError: a column to keep is unknown, or what is wanted does not fit the model.
    """
    known = [column.name for column in model.columns]
    for name in keep:
        check_choice("keep: the column", name, known)
    _check_wanted(model, wanted, by)
    x = model.encode(table)
    raw = model.raw_encoded(x)
    paths = tree_paths(model, x)
    expected, added = _contributions(model, x)
    goals: list[tuple[Goal, str] | None] = [None] * len(x)
    if counterfactual and (model.classes is not None or wanted is not None or by is not None):
        goals = [_goal(model, row, wanted, by) for row in raw]
    others = _nearest(model, Neighbourhood(model, keep, units or {}), x, goals)
    return [
        Explanation(
            row, _answer(model, raw[row : row + 1]), _scores(model, raw[row : row + 1]), paths[row],
            None if expected is None else tuple(expected.tolist()),
            None if added is None else {name: tuple(v) for name, v in zip(known, added[row].tolist(), strict=True)},
            _output(model, raw[row]), None if goal is None else goal[1], others[row],
        )
        for row, goal in enumerate(goals)
    ]  # fmt: skip


def _contributions(model: HardEnsemble, x: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    try:
        return model.expected_value, shap_encoded(model, x)
    except UnsupportedError:  # no training weight, so no average row
        return None, None


# ------------------------------------------------------------------ what is wanted
def _check_wanted(model: HardEnsemble, wanted: Any, by: float | None) -> None:
    if wanted is not None and by is not None:
        raise InputError("two goals", got=f"wanted={wanted!r} and by={by!r}", allowed="one", fix="leave one out")
    if model.classes is not None:
        if by is not None:
            raise InputError("a label has no amount", got=f"by={by!r}", allowed="wanted=LABEL", fix="pass a label")
        if wanted is not None:
            check_choice("wanted", wanted, model.classes)
        return
    if wanted is None and by is None:
        return
    if model.n_outputs > 1:
        raise InputError(
            "several values cannot be wanted at once", got=f"{model.n_outputs} outputs", allowed="a model of one value",
            fix="leave wanted and by out",
        )  # fmt: skip
    check_number("wanted" if by is None else "by", wanted if by is None else by)
    if by == 0:
        raise InputError("by is no change", got="0", allowed="a number above or below 0", fix="pass by=1 or by=-1")


def _goal(model: HardEnsemble, raw: np.ndarray, wanted: Any, by: float | None) -> tuple[Goal, str]:
    """Return what has to be reached from this row's raw score ``[K]``, and the same in words."""
    if model.classes is None:
        now = float(model.numbers(raw)[0])
        target = float(wanted) if by is None else now + by
        sign = 1.0 if (target > now if by is None else by > 0) else -1.0
        words = f"a value of {target:.6g} or {'more' if sign > 0 else 'less'}"
        return Goal(lambda r: sign * model.numbers(r)[:, 0] >= sign * target, lambda r: sign * r[:, 0]), words
    classes = list(model.classes)
    now_label = model.labels(raw[None])[0]
    if wanted is None:
        place, words = classes.index(now_label), f"another answer than {now_label}"
        words = str(classes[1 - place]) if len(classes) == 2 else words
        return Goal(lambda r: model.labels(r) != now_label, lambda r: -_lead(r, place)), words
    place = classes.index(wanted)
    return Goal(lambda r: model.labels(r) == wanted, lambda r: _lead(r, place)), str(wanted)


def _lead(raw: np.ndarray, place: int) -> np.ndarray:
    """Return how far a class is ahead of the others."""
    if raw.shape[1] == 1:
        return raw[:, 0] if place == 1 else -raw[:, 0]
    rest = np.delete(raw, place, axis=1).max(axis=1)
    return np.asarray(raw[:, place] - rest)


def _nearest(
    model: HardEnsemble, around: Neighbourhood, x: np.ndarray, goals: Sequence[tuple[Goal, str] | None]
) -> list[Counterfactual | None]:
    """Return the nearest row that reaches each row's goal; all are predicted again as a raw table."""
    reached, proved = x.copy(), np.zeros(len(x), bool)
    hopeless = np.ones(len(x), bool)
    for row, goal in enumerate(goals):
        if goal is None:
            continue
        if goal[0].reached(model.raw_encoded(x[row : row + 1]))[0]:
            hopeless[row], proved[row] = False, True
            continue
        found, proved[row] = around.search(x[row], goal[0])
        if found is not None:
            hopeless[row], reached[row] = False, found
    table = pd.DataFrame({
        column.name: pd.Series([raw_value(model, place, value) for value in reached[:, place].tolist()],
                               dtype=np.float64 if column.kind == "number" else object)
        for place, column in enumerate(model.columns)
    })  # fmt: skip
    raw = model.raw(table)
    others: list[Counterfactual | None] = []
    for row, goal in enumerate(goals):
        if goal is None or hopeless[row] or not goal[0].reached(raw[row : row + 1])[0]:
            others.append(None)
            continue
        changes = around.describe(x[row], reached[row])
        distance = float(sum(change.distance for change in changes))
        others.append(Counterfactual(changes, _answer(model, raw[row : row + 1]), distance, bool(proved[row])))
    return others


# ------------------------------------------------------------------ answers
def _answer(model: HardEnsemble, raw: np.ndarray) -> Any:
    if model.classes is not None:
        return model.labels(raw).tolist()[0]
    values = model.numbers(raw)[0].tolist()
    return values[0] if model.n_outputs == 1 else values


def _scores(model: HardEnsemble, raw: np.ndarray) -> dict[str, float]:
    if model.classes is None:
        return dict(zip(model.outputs, model.numbers(raw)[0].tolist(), strict=True))
    return dict(zip(map(str, model.classes), model.probabilities(raw)[0].tolist(), strict=True))


def _output(model: HardEnsemble, raw: np.ndarray) -> int:
    return int(raw.argmax()) if model.classes is not None and model.n_outputs > 1 else 0


# ------------------------------------------------------------------ text
def _path_lines(path: TreePath) -> list[str]:
    lines = []
    for gate in path.gates:
        near = ""
        if gate.distance is not None:
            away = "threshold" if gate.steps == 1 else "thresholds"
            near = f", {gate.distance:.6g} from the threshold, {gate.steps} {away} of this column away"
        lines.append(
            f"  {'yes' if gate.holds else 'no':3}  {gate.test}?  ({gate.column} is {_shown(gate.value)}{near})"
        )
    return [*lines, f"  ->   leaf {path.leaf}: {path.says}"]


def _shown(value: Any) -> str:
    if value is None:
        return "missing or unseen"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
