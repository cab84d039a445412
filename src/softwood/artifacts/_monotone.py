"""Is a ``HardEnsemble`` monotone in a column, for every row there can be? Exact, from its own thresholds and leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from softwood.core import InputError, SoftwoodError

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble


class ConstraintError(SoftwoodError):
    """A model does not hold what was asked of it, so it is not handed over.

    Example:
        >>> print(ConstraintError("column 'age' is tested"))
        column 'age' is tested; to fix: report it, with the model, as a fault of Softwood
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; to fix: report it, with the model, as a fault of Softwood")


def check_monotone(model: HardEnsemble, directions: Mapping[str, int]) -> list[str]:
    """Return where a model is not monotone, in words; an empty list proves that it is.

    A tree is a step function on boxes. It rises with a column if no box answers less than another one that lies
    below it in that column and shares a point with it in all others, a missing value being one more point of a
    column. A sum of trees that rise, rises, rounding included: adding keeps the order. So this is a proof; where it
    finds something, the trees may still cancel one another.

    Args:
        model: the ensemble, with one output.
        directions: name of a number or boolean column -> 1 (never falls) or -1 (never rises); known values only.

    Raises:
        InputError: a column is unknown or a category, a direction is none, or the model has several outputs.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> flat = HardEnsemble.single_leaf([Column("x", "number")], np.zeros(1), outputs=["y"])
        >>> check_monotone(flat, {"x": 1})
        []

    Cost: O(T L^2 m) for T trees of L leaves that test m columns.
    """
    place = {column.name: index for index, column in enumerate(model.columns)}
    for name, direction in directions.items():
        if name not in place or model.columns[place[name]].kind == "category" or direction not in (-1, 1):
            raise InputError(
                "this direction cannot be checked", got=f"{name!r}: {direction!r}",
                allowed="a number or boolean column of the model: 1 or -1", fix="correct the name or the direction",
            )  # fmt: skip
    if directions and model.n_outputs > 1:
        raise InputError(
            "only one output can be monotone", got=f"{model.n_outputs} outputs", allowed="one",
            fix="use two classes, or one target",
        )  # fmt: skip
    found = []
    for tree, root in enumerate(model.roots.tolist()):
        boxes, leaves = _boxes(model, root)
        values = model.values[leaves, 0]
        meets = {column: _meeting(parts) for column, parts in boxes.items()}
        together = np.sum(list(meets.values()), axis=0) if meets else np.zeros((1, 1))
        for name, direction in directions.items():
            column = place[name]
            if column not in boxes:
                continue
            low, high, _, _ = boxes[column]
            below = (high[:, None] <= low[None, :]) & (low < high)[:, None] & (low < high)[None, :]
            elsewhere = together - meets[column] == len(boxes) - 1
            wrong = below & elsewhere & (direction * (values[None, :] - values[:, None]) < 0)
            for first, second in np.argwhere(wrong)[:1]:
                found.append(
                    f"tree {tree}: {name} up from at most {high[first]:.9g} to above, "
                    f"{values[first]:.6g} becomes {values[second]:.6g}"
                )
    return found


def _boxes(
    model: HardEnsemble, root: int
) -> tuple[dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], list[int]]:
    """Return for each tested column the leaves' (low, high], level sets and missing flags; and the leaves' rows."""
    waiting: list[tuple[int, dict[int, tuple[float, float, np.ndarray, bool]]]] = [(root, {})]
    found: list[dict[int, tuple[float, float, np.ndarray, bool]]] = []
    leaves: list[int] = []
    whole = {c: (-np.inf, np.inf, np.ones(max(len(column.levels), 1), bool), True)
             for c, column in enumerate(model.columns)}  # fmt: skip
    while waiting:
        node, box = waiting.pop()
        column = int(model.feature[node])
        if column < 0:
            found.append(box)
            leaves.append(int(model.leaf[node]))
            continue
        low, high, levels, missing = box.get(column, whole[column])
        goes_left, at = bool(model.missing_left[node]), float(model.threshold[node])
        if model.level_set[node] >= 0:
            inside = model.levels_left[model.level_set[node], : len(levels)]
            sides = [(low, high, levels & inside, missing and goes_left),
                     (low, high, levels & ~inside, missing and not goes_left)]  # fmt: skip
        else:
            sides = [(low, max(min(high, at), low), levels, missing and goes_left),
                     (min(max(low, at), high), high, levels, missing and not goes_left)]  # fmt: skip
        for child, side in zip((model.left[node], model.right[node]), sides, strict=True):
            waiting.append((int(child), {**box, column: side}))
    tested = sorted({column for box in found for column in box})
    result = {}
    for column in tested:
        low, high, levels, missing = zip(*(box.get(column, whole[column]) for box in found), strict=True)
        result[column] = np.array(low), np.array(high), np.array(levels), np.array(missing)
    return result, leaves


def _meeting(parts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return which boxes share a point in a column, bool ``[L, L]``."""
    low, high, levels, missing = parts
    known = np.maximum(low[:, None], low[None, :]) < np.minimum(high[:, None], high[None, :])
    return np.asarray((known & (levels.astype(int) @ levels.T.astype(int) > 0)) | (missing[:, None] & missing[None, :]))


def verified_constraints(model: HardEnsemble, directions: Mapping[str, int], forbidden: Sequence[str]) -> list[str]:
    """Return in words what was asked of a model and holds for every row.

    Args:
        model: the ensemble.
        directions: as in ``check_monotone``.
        forbidden: names of columns that no node may test.

    Raises:
        ConstraintError: something does not hold.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> flat = HardEnsemble.single_leaf([Column("x", "number")], np.zeros(1), outputs=["y"])
        >>> verified_constraints(flat, {"x": 1}, ["z"])
        ['never falls with x', 'never tests z']
    """
    tested = {model.columns[column].name for column in model.feature[model.feature >= 0].tolist()}
    for name in forbidden:
        if name in tested:
            raise ConstraintError(f"column {name!r} is tested")
    wrong = check_monotone(model, directions)
    if wrong:
        raise ConstraintError(wrong[0])
    rising = [f"never {'falls' if sign > 0 else 'rises'} with {name}" for name, sign in directions.items()]
    return [*rising, *(f"never tests {name}" for name in forbidden)]
