"""One tree as a SQL expression: nested CASEs, or a CASE with the whole path to each leaf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_sql_dialects import Dialect

_INDENT = "  "


def put_leaf(model: HardEnsemble, engine: Dialect, values: np.ndarray | None) -> Callable[[int], str]:
    """Return what stands for a leaf: its value, or its number where ``values`` is None."""

    def put(leaf: int) -> str:
        if values is None:
            return str(leaf)
        # one tree has nothing to tie with: there a plain decimal is read more easily than an exact fraction
        value = float(values[leaf])
        return repr(value) if model.n_trees == 1 and engine.parser == "sqlite" else engine.number(value)

    return put


@dataclass(frozen=True)
class Conditions:
    """Writes the tests of a model as SQL conditions.

    Args:
        model: the ensemble.
        engine: the dialect.
    """

    model: HardEnsemble
    engine: Dialect

    def leaves(self, tree: int) -> list[int]:
        """Return the rows of ``values`` that a tree can answer with."""
        found, waiting = [], [int(self.model.roots[tree])]
        while waiting:
            node = waiting.pop()
            if self.model.feature[node] < 0:
                found.append(int(self.model.leaf[node]))
            else:
                waiting += [int(self.model.right[node]), int(self.model.left[node])]
        return list(dict.fromkeys(found))

    def goes_left(self, node: int) -> str | None:
        """Return the condition of a node; None if it depends on nothing, and all rows take the missing direction."""
        model, missing = self.model, bool(self.model.missing_left[node])
        column = int(model.feature[node])
        if model.level_set[node] < 0:
            return self.between(column, -np.inf, float(model.threshold[node]), missing)
        left = model.levels_left[model.level_set[node], : len(model.columns[column].levels)]
        return self.among(column, left, missing)

    def between(self, column: int, low: float, high: float, missing: bool) -> str | None:
        """Return ``low < x <= high``, or missing; None if that is always so."""
        name = self.engine.name(self.model.columns[column].name)
        parts = [f"{name} > {self.engine.number(low)}"] if low > -np.inf else []
        parts += [f"{name} <= {self.engine.number(high)}"] if high < np.inf else []
        if missing and low >= high:
            return f"{name} IS NULL"
        if missing and parts:
            return f"({' AND '.join(parts)} OR {name} IS NULL)"
        return " AND ".join(parts) or None

    def among(self, column: int, allowed: np.ndarray, missing: bool) -> str | None:
        """Return the test for the allowed levels; ``missing`` takes in NULL and every other text."""
        name = self.engine.name(self.model.columns[column].name)
        levels = self.model.columns[column].levels
        listed = [self.engine.level_text(v) for v, fits in zip(levels, allowed, strict=True) if fits != missing]
        size = self.engine.longest_list
        lists = [f"({', '.join(listed[i : i + size])})" for i in range(0, len(listed), size)]
        if not missing:
            return _either([f"{name} IN {members}" for members in lists]) if lists else None
        return f"({' AND '.join(f'{name} NOT IN {members}' for members in lists)} OR {name} IS NULL)" if lists else None


def _either(conditions: list[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


# ------------------------------------------------------------------ nested
def nested_case(model: HardEnsemble, tree: int, tests: Conditions, put: Callable[[int], str]) -> str:
    """Return a tree as CASEs within CASEs, each on a line of its own."""
    return "\n".join(_nested(model, int(model.roots[tree]), tests, put, _INDENT))


def _nested(model: HardEnsemble, node: int, tests: Conditions, put: Callable[[int], str], indent: str) -> list[str]:
    if model.feature[node] < 0:
        return [put(int(model.leaf[node]))]
    condition, children = tests.goes_left(node), (int(model.left[node]), int(model.right[node]))
    if condition is None:
        return _nested(model, children[not model.missing_left[node]], tests, put, indent)
    left, right = (_nested(model, child, tests, put, indent + _INDENT) for child in children)
    inside = indent + _INDENT
    lines = [f"CASE WHEN {condition} THEN {left[0]}" if len(left) == 1 else f"CASE WHEN {condition} THEN"]
    lines += [] if len(left) == 1 else [inside + left[0], *left[1:]]
    lines += [f"{indent}ELSE {right[0]}", *right[1:]]
    lines[-1] += " END"
    return lines


# ------------------------------------------------------------------ flat
def flat_case(model: HardEnsemble, tree: int, tests: Conditions, put: Callable[[int], str]) -> str:
    """Return a tree as one CASE with a line for each leaf; a column stands at most twice in a line.

    The lines exclude one another, so that each can be read by itself. A row that fits none gets NULL, which the
    comparison with the model would show.
    """
    lines = []
    # (node, what each tested column may be: bounds or levels, and whether it may be missing)
    waiting: list[tuple[int, dict[int, _Allowed]]] = [(int(model.roots[tree]), {})]
    while waiting:
        node, path = waiting.pop()
        if model.feature[node] < 0:
            conditions = [c for f, allowed in path.items() if (c := allowed.condition(f, tests)) is not None]
            lines.append(f"WHEN {' AND '.join(conditions) or '1 = 1'} THEN {put(int(model.leaf[node]))}")
            continue
        column = int(model.feature[node])
        before = path.get(column) or _Allowed.everything(len(model.columns[column].levels))
        for child, left in ((int(model.right[node]), False), (int(model.left[node]), True)):
            after = before.cut(model, node, left)
            if after.is_possible():
                waiting.append((child, {**path, column: after}))
    if len(lines) == 1 and lines[0].startswith("WHEN 1 = 1 "):
        return lines[0].partition(" THEN ")[2]
    return "CASE " + f"\n{_INDENT * 2}".join(lines) + " END"


@dataclass(frozen=True)
class _Allowed:
    """What one column may be on a path: ``low < x <= high``, or some levels; and whether it may be missing."""

    low: float
    high: float
    levels: np.ndarray
    missing: bool

    @classmethod
    def everything(cls, levels: int) -> _Allowed:
        return cls(-np.inf, np.inf, np.ones(levels, bool), True)

    def cut(self, model: HardEnsemble, node: int, left: bool) -> _Allowed:
        missing = self.missing and bool(model.missing_left[node]) == left
        if model.level_set[node] >= 0:
            goes_left = model.levels_left[model.level_set[node], : len(self.levels)]
            return _Allowed(self.low, self.high, self.levels & (goes_left == left), missing)
        threshold = float(model.threshold[node])
        if left:
            return _Allowed(self.low, min(self.high, threshold), self.levels, missing)
        return _Allowed(max(self.low, threshold), self.high, self.levels, missing)

    def is_possible(self) -> bool:
        return self.missing or (bool(self.levels.any()) if len(self.levels) else self.low < self.high)

    def condition(self, column: int, tests: Conditions) -> str | None:
        if len(self.levels):
            return tests.among(column, self.levels, self.missing)
        return tests.between(column, self.low, self.high, self.missing)
