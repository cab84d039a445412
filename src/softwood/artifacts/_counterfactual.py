"""The nearest row on which a model answers otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from softwood.artifacts._paths import model_thresholds, raw_value

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

_MOST_PAIRS, _CHUNK, _BEAM = 400_000, 1 << 20, 12  # a chunk counts numbers
_READABLE = 1e-3  # of a column's unit: how much further a change may go to become a short decimal

_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Change:
    """One column that changes.

    Args:
        column: its name.
        before: the row's value; None where it is missing or a level never seen.
        after: the new value, never missing.
        distance: ``|after - before|`` in the column's unit; 1 for a category, a boolean and a value that was missing.

    Example:
        >>> Change("age", 31.0, 30.0, 0.1).after
        30.0
    """

    column: str
    before: Any
    after: Any
    distance: float


@dataclass(frozen=True)
class Counterfactual:
    """The nearest row with a wanted answer: it changes the fewest columns and, among those, the least in sum.

    It is predicted as a raw row before it is handed over. A change of a number is counted in units of its column:
    those that are given, such as standard deviations, or else the standard deviation of the model's thresholds on it
    (where there is one only, its size). It ends on a short decimal, or on a whole number where the column seems to
    hold those, up to a thousandth of its unit (one whole) further than it has to. Nothing becomes missing. Parts of a
    date change each by itself.

    Args:
        changes: what differs.
        answer: the label or value that the model predicts for the changed row.
        distance: sum of the changes' distances.
        proved: no row with the wanted answer changes fewer columns, or as many by less. Always so for one tree; for a
            forest where changes of one or two columns are enough and few enough to try all.

    Example:
        >>> Counterfactual((Change("age", 31.0, 30.0, 0.1),), "no", 0.1, True).to_dict()["answer"]
        'no'
    """

    changes: tuple[Change, ...]
    answer: Any
    distance: float
    proved: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return {**asdict(self), "changes": [asdict(change) for change in self.changes]}


@dataclass(frozen=True)
class Goal:
    """What a counterfactual has to reach.

    Args:
        reached: raw scores ``[m, K]`` -> bool ``[m]``.
        margin: raw scores ``[m, K]`` -> ``[m]``, the larger the nearer.

    Example:
        >>> Goal(lambda raw: raw[:, 0] > 1, lambda raw: raw[:, 0]).reached(np.array([[2.0]]))
        array([ True])
    """

    reached: Callable[[np.ndarray], np.ndarray]
    margin: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Moves:
    """The values worth trying: of each column the nearest point of each interval between thresholds, each level."""

    column: np.ndarray  # [M]
    value: np.ndarray  # [M]
    distance: np.ndarray  # [M]


class Neighbourhood:
    """Finds the nearest changes of rows for one model.

    A tree is constant between neighbouring thresholds of a column, so only one point of each such cell matters, the
    one nearest to the row. Of a category only levels that some test tells apart matter.

    Args:
        model: the ensemble.
        keep: names of columns that may not change.
        units: what counts as a change of 1 in a number column, by its name, > 0; see ``Counterfactual``.
    """

    def __init__(self, model: HardEnsemble, keep: Collection[str], units: Mapping[str, float]) -> None:
        self.model = model
        self.thresholds = model_thresholds(model)
        tested = np.unique(model.feature[model.feature >= 0]).tolist()
        self.free = [position for position in tested if model.columns[position].name not in keep]
        self.units = {p: _unit(t, units.get(model.columns[p].name)) for p, t in self.thresholds.items()}

    # -------------------------------------------------------------- moves
    def cells(self, position: int) -> np.ndarray:
        """Return the cells of a column as (low, high] ``[cells, 2]``; where they are single points, the point twice."""
        if self.model.columns[position].kind == "category":
            levels = self._levels(position)
            return np.column_stack([levels, levels])
        if self.model.columns[position].kind == "boolean":
            return np.array([[0.0, 0.0], [1.0, 1.0]])
        cuts = self.thresholds[position]
        cuts = cuts[cuts < np.finfo(np.float64).max]  # no number lies above the largest
        return np.column_stack([np.append(-np.inf, cuts), np.append(cuts, np.inf)])

    def _levels(self, position: int) -> np.ndarray:
        """Return the first of the levels that all tests treat alike, for each such group."""
        model = self.model
        sets = np.unique(model.level_set[model.feature == position])
        patterns = model.levels_left[sets, : len(model.columns[position].levels)]
        return np.sort(np.unique(patterns, axis=1, return_index=True)[1]).astype(np.float64)

    def nearest(self, position: int, value: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest point of each cell of a column, and its distance: 0 in the cell that holds the value."""
        cells, kind = self.cells(position), self.model.columns[position].kind
        if kind == "category":
            return cells[:, 0], self._level_distances(position, value, cells[:, 0])
        if kind == "boolean":
            points = np.array([0.0, 1.0])
            return points, np.ones(2) if np.isnan(value) else np.abs(points - value)
        unit = self.units[position]
        whole = _is_whole(value, self.thresholds[position])
        points = np.array([_point(low, high, value, unit, whole) for low, high in cells])
        return points, np.ones(len(points)) if np.isnan(value) else np.abs(points - value) / unit

    def _level_distances(self, position: int, value: float, levels: np.ndarray) -> np.ndarray:
        if np.isnan(value):
            return np.ones(len(levels))
        model = self.model
        sets = np.unique(model.level_set[model.feature == position])
        patterns = model.levels_left[sets]
        alike = (patterns[:, levels.astype(int)] == patterns[:, [int(value)]]).all(axis=0)
        return np.where(alike, 0.0, 1.0)

    def moves(self, x: np.ndarray) -> _Moves:
        """Return the values that one column of a row may change to."""
        parts = [(np.zeros(0), np.zeros(0), np.zeros(0))]
        for position in self.free:
            points, distances = self.nearest(position, float(x[position]))
            away = distances > 0
            parts.append((np.full(away.sum(), position), points[away], distances[away]))
        column, value, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
        return _Moves(column.astype(np.int64), value, distance)

    # -------------------------------------------------------------- search
    def search(self, x: np.ndarray, goal: Goal) -> tuple[np.ndarray | None, bool]:
        """Return the nearest encoded row that reaches the goal, or None; and whether that is proved.

        One tree: exact, over the boxes of its leaves. A forest: every change of one column, then of each two where
        these are at most 400,000, both of them complete; then a beam of growing changes, whose result is cut back
        column by column as far as the goal still holds.

        Cost: one tree O(L M) for M cells of all columns; a forest O(min(M^2, 400,000) T depth).
        """
        if self.model.n_trees == 1:
            return self._nearest_leaf(x, goal), True
        moves = self.moves(x)
        found = self._best(x, goal, moves, np.arange(len(moves.value))[:, None])
        if found is not None:
            return found, True
        first, second = np.triu_indices(len(moves.value), 1) if len(moves.value) ** 2 <= 2 * _MOST_PAIRS else _NONE
        pairs = np.column_stack([first, second])
        pairs = pairs[moves.column[pairs[:, 0]] != moves.column[pairs[:, 1]]]
        found = self._best(x, goal, moves, pairs)
        if found is not None:
            return found, True
        found = self._beam(x, goal, moves)
        complete = found is None and len(self.free) <= (2 if len(pairs) else 1)
        return (None if found is None else self._cut_back(x, found, goal)), complete

    def _rows(self, x: np.ndarray, moves: _Moves, taken: np.ndarray) -> np.ndarray:
        """Return a row for each set of moves, ``[m, C]``."""
        rows = np.tile(x, (len(taken), 1))
        for place in taken.T:
            rows[np.arange(len(taken)), moves.column[place]] = moves.value[place]
        return rows

    def _best(self, x: np.ndarray, goal: Goal, moves: _Moves, taken: np.ndarray) -> np.ndarray | None:
        """Return the row of the shortest set of moves that reaches the goal."""
        order = np.argsort(moves.distance[taken].sum(axis=1), kind="stable")
        size = max(_CHUNK // len(x), 256)
        for start in range(0, len(order), size):  # the shortest first: the first hit ends it
            rows = self._rows(x, moves, taken[order[start : start + size]])
            hits = np.flatnonzero(goal.reached(self.model.raw_encoded(rows)))
            if len(hits):
                best: np.ndarray = rows[hits[0]]
                return best
        return None

    def _beam(self, x: np.ndarray, goal: Goal, moves: _Moves) -> np.ndarray | None:
        states = [np.zeros(0, np.int64)]
        for _ in self.free:
            grown = []
            for state in states:
                rest = np.flatnonzero(~np.isin(moves.column, moves.column[state]))
                grown.append(np.column_stack([np.tile(state, (len(rest), 1)), rest]))
            taken = np.unique(np.sort(np.concatenate(grown), axis=1), axis=0)
            if not len(taken):
                return None
            raw = self.model.raw_encoded(self._rows(x, moves, taken))
            hits = goal.reached(raw)
            if hits.any():
                shortest = taken[hits][moves.distance[taken[hits]].sum(axis=1).argmin()]
                found: np.ndarray = self._rows(x, moves, shortest[None])[0]
                return found
            margin = goal.margin(raw)
            order = np.lexsort((moves.distance[taken].sum(axis=1), -margin))
            states = list(taken[order[:_BEAM]])
        return None

    def _cut_back(self, x: np.ndarray, found: np.ndarray, goal: Goal) -> np.ndarray:
        """Take back as much of each change as the goal allows, the largest first, until nothing moves."""
        found, moved = found.copy(), True
        while moved:
            moved = False
            for position in self.free:
                if found[position] == x[position] or (np.isnan(found[position]) and np.isnan(x[position])):
                    continue
                points, distances = self.nearest(position, float(x[position]))
                now = distances[points == found[position]].max(initial=0.0)
                nearer = np.append(x[position], points[distances < now])
                order = np.argsort(np.append(0.0, distances[distances < now]), kind="stable")
                rows = np.tile(found, (len(nearer), 1))
                rows[:, position] = nearer[order]
                hits = np.flatnonzero(goal.reached(self.model.raw_encoded(rows)))
                if len(hits):
                    found, moved = rows[hits[0]], True
        return found

    # -------------------------------------------------------------- one tree, exactly
    def _nearest_leaf(self, x: np.ndarray, goal: Goal) -> np.ndarray | None:
        """Return the nearest point of all leaves' boxes whose answer reaches the goal."""
        wanted = goal.reached(self.model.base + self.model.values)
        changed, total = np.zeros(len(wanted)), np.zeros(len(wanted))
        best: dict[int, np.ndarray] = {}
        for position, boxes in self._boxes.items():
            points, distances = self.nearest(position, float(x[position]))
            inside = self._inside(position, float(x[position]))
            if position not in self.free:
                distances = np.full(len(points), np.inf)
            reach = np.where(boxes, distances, np.inf)
            gap = np.where(inside, 0.0, reach.min(axis=1))
            best[position] = np.where(inside, x[position], points[reach.argmin(axis=1)])
            changed += gap > 0
            total += gap
        total[~wanted] = np.inf
        leaf = int(np.lexsort((total, np.where(np.isfinite(total), changed, np.inf)))[0])
        if not np.isfinite(total[leaf]):
            return None
        found = x.copy()
        for position, points in best.items():
            found[position] = points[leaf]
        return found

    @cached_property
    def _boxes(self) -> dict[int, np.ndarray]:
        """Which cells of each column can reach each leaf of the one tree, bool ``[L, cells]``."""
        model = self.model
        tested = np.unique(model.feature[model.feature >= 0]).tolist()
        return {p: self._reaching(p, self._goes_left(p)) for p in tested}

    def _goes_left(self, position: int) -> np.ndarray:
        """Return which cells go left at each node that tests this column, bool ``[N, cells]``."""
        cells, model = self.cells(position), self.model
        here = np.flatnonzero(model.feature == position)
        left = np.ones((len(model.feature), len(cells)), bool)
        if model.columns[position].kind == "category":
            left[here] = model.levels_left[model.level_set[here]][:, cells[:, 0].astype(int)]
        else:
            left[here] = cells[:, 1] <= model.threshold[here][:, None]
            left[here] |= np.isinf(cells[:, 1]) & (model.threshold[here][:, None] == np.finfo(np.float64).max)
        return left

    def _reaching(self, position: int, left: np.ndarray) -> np.ndarray:
        """Send cells, which may go both ways at tests of other columns, down the tree; return those at each leaf."""
        model = self.model
        there = np.ones_like(left)
        for node in np.flatnonzero(model.feature >= 0):  # parents before children
            tests = model.feature[node] == position
            there[model.left[node]] = there[node] & (left[node] if tests else True)
            there[model.right[node]] = there[node] & (~left[node] if tests else True)
        ends = np.flatnonzero(model.feature < 0)
        boxes = np.empty((model.n_leaves, left.shape[1]), bool)
        boxes[model.leaf[ends]] = there[ends]
        return boxes

    def _inside(self, position: int, value: float) -> np.ndarray:
        """Return which leaves a value of this column, missing or not, can reach, bool ``[L]``."""
        model = self.model
        here = np.flatnonzero(model.feature == position)
        left = np.ones((len(model.feature), 1), bool)
        if np.isnan(value):
            left[here, 0] = model.missing_left[here]
        elif model.columns[position].kind == "category":
            left[here, 0] = model.levels_left[model.level_set[here], int(value)]
        else:
            left[here, 0] = value <= model.threshold[here]
        return self._reaching(position, left)[:, 0]

    # -------------------------------------------------------------- the answer
    def describe(self, x: np.ndarray, found: np.ndarray) -> tuple[Change, ...]:
        """Return what differs between two encoded rows."""
        changes = []
        for position in self.free:
            before, after = float(x[position]), float(found[position])
            if before == after or (np.isnan(before) and np.isnan(after)):
                continue
            column = self.model.columns[position]
            far = np.isnan(before) or column.kind != "number"
            distance = 1.0 if far else abs(after - before) / self.units[position]
            shown = [raw_value(self.model, position, value) for value in (before, after)]
            changes.append(Change(column.name, shown[0], shown[1], distance))
        return tuple(changes)


def _unit(thresholds: np.ndarray, given: float | None) -> float:
    if given is not None and given > 0:
        return float(given)
    with np.errstate(over="ignore"):
        spread = float(thresholds.std()) if len(thresholds) > 1 else abs(float(thresholds[0]))
    return spread if 0 < spread < math.inf else 1.0


def _is_whole(value: float, thresholds: np.ndarray) -> bool:
    """Does a column seem to hold whole numbers: this value, and thresholds on wholes and halves?"""
    doubled = 2 * thresholds[np.abs(thresholds) < 2.0**51]
    return bool((np.isnan(value) or value == np.floor(value)) and (doubled == np.floor(doubled)).all())


def _point(low: float, high: float, value: float, unit: float, whole: bool) -> float:
    """Return the point of (low, high] that is nearest to a value, or a short decimal just behind it."""
    if low < value <= high:
        return value
    if math.isinf(low) and math.isinf(high):  # a test of whether the value is known: any number will do
        return 0.0
    upward = value <= low or (math.isnan(value) and math.isinf(high))
    if upward:
        return _shortest(low, min(high, low + _READABLE * unit), high, whole, upward=True)
    return _shortest(max(low, high - _READABLE * unit), high, low, whole, upward=False)


def _shortest(low: float, high: float, end: float, whole: bool, *, upward: bool) -> float:
    """Return the shortest decimal in (low, high]; where whole numbers are wanted, one beyond it and before ``end``."""
    if whole and upward and low < float(math.floor(low) + 1) <= end:
        return float(math.floor(low) + 1)
    if whole and not upward and math.floor(high) > end:
        return float(math.floor(high))
    size = max(abs(low), abs(high))
    for digits in range(17 if 1e-200 < size < 1e200 else 0):
        place = digits - math.floor(math.log10(size)) - 1
        for near in (round(low, place), round(high, place), round((low + high) / 2, place)):
            for value in (near, round(near + 10.0**-place, place), round(near - 10.0**-place, place)):
                if low < value <= high:
                    return float(value)
    return float(np.nextafter(low, np.inf)) if upward else high
