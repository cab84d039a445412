"""A single tree that the user brings, as a candidate beside CART."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softwood.core import InputError
from softwood.trees._brought import Brought
from softwood.trees._candidates import SMOOTHING, Candidate, Setting
from softwood.trees._dense_tree import DenseTree, polished
from softwood.trees._rows import Group
from softwood.trees._threads import each


def check_one_tree(brought: Brought) -> None:
    """Refuse a forest.

    Args:
        brought: the model.

    Raises:
        InputError: it has not one tree.
    """
    if brought.model.n_trees != 1:
        raise InputError(
            "one tree cannot start from many", got=repr(brought.model), allowed="a model of one tree",
            fix="fit a forest instead (--shape forest, ForestClassifier, ForestRegressor)",
        )  # fmt: skip


def brought_candidates(
    brought: Brought, groups: Sequence[Group], settings: Sequence[Setting], depth: int, jobs: int
) -> list[Candidate]:
    """Return the tests of the tree that was brought, as they are and polished on each group's rows.

    Args:
        brought: one tree, and the groups' rows as it reads them.
        groups: G groups.
        settings: what to polish for, with the search ``"brought tree"``.
        depth: D; what lies deeper is cut off.
        jobs: threads.
    """
    trees = each(groups, lambda group: as_dense(brought, group, depth), jobs)
    found = []
    for setting in settings:
        found.append(Candidate(setting, list(trees)))

        def better(pair: tuple[Group, DenseTree], by: Setting = setting) -> DenseTree:
            group, tree = pair
            smoothing = SMOOTHING if group.rows.is_classification else 0.0
            return polished(tree, group.problem(by.criterion, by.min_leaf, smoothing))

        name = Setting("brought tree, polished", setting.criterion, setting.min_leaf)
        found.append(Candidate(name, each(list(zip(groups, trees, strict=True)), better, jobs)))
    return found


def as_dense(brought: Brought, group: Group, depth: int) -> DenseTree:
    """Return the tree on a group's codes: each test becomes the cut that parts the group's rows most nearly as it does.

    Args:
        brought: one tree, and all rows as it reads them.
        group: whose codes are meant.
        depth: D.
    """
    model, codec, codes = brought.model, group.codec, group.codes
    place_of = {column.name: place for place, column in enumerate(codec.columns)}
    weight = group.rows.weight * group.active
    inner = 2**depth - 1
    tree = DenseTree(np.full(inner, -1, np.int32), np.zeros(inner, np.int32), np.ones(inner, bool))

    def goes_left(node: int) -> np.ndarray:
        values = brought.x[:, model.feature[node]]
        missing = np.isnan(values)
        if model.level_set[node] >= 0:
            known = model.levels_left[model.level_set[node]][np.where(missing, 0, values).astype(np.int64)]
        else:
            known = values <= model.threshold[node]
        return np.where(missing, model.missing_left[node], known)

    def place(source: int, target: int, reached: np.ndarray) -> None:
        if target >= inner or model.feature[source] < 0:
            return
        left = goes_left(source)
        column = place_of.get(model.columns[model.feature[source]].name, -1)
        best = 0.0
        for feature in (f for f, known in enumerate(codec.features) if known.column == column):
            for missing_left in (True, False):
                cut, share = _nearest(codes[feature], left, weight * reached, int(codec.n_bins[feature]), missing_left)
                if share > best:
                    best = share
                    tree.feature[target], tree.cut[target], tree.missing_left[target] = feature, cut, missing_left
        if tree.feature[target] < 0:  # a column that we have left out: the heavier side stands for both
            heavier = model.left[source] if (weight * reached) @ left * 2 >= weight @ reached else model.right[source]
            place(int(heavier), target, reached)
            return
        place(int(model.left[source]), 2 * target + 1, reached & left)
        place(int(model.right[source]), 2 * target + 2, reached & ~left)

    place(int(model.roots[0]), 0, np.ones(group.rows.n, bool))
    return tree


def _nearest(
    codes: np.ndarray, left: np.ndarray, weight: np.ndarray, bins: int, missing_left: bool
) -> tuple[int, float]:
    """Return the cut that agrees with ``left`` on most weight, and the weight."""
    missing = codes == np.iinfo(codes.dtype).max
    at = np.where(missing, 0, codes)
    known = weight * ~missing
    goes, stays = (np.bincount(at, weights=known * side, minlength=bins) for side in (left, ~left))
    agree = np.cumsum(goes) + stays.sum() - np.cumsum(stays)
    agree += (weight * missing) @ (left == missing_left)
    cut = int(agree[: max(bins - 1, 1)].argmax())
    return cut, float(agree[cut])
