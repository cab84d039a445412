"""A model that the user brings: read, matched with the table and its classes, and taken apart into trees on codes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts import Column, HardEnsemble, encode_table, import_model
from softwood.core import InputError
from softwood.data import MAX_BINS, Feature, QuantileCodec
from softwood.trees._forest import BoostedTree, Forest, n_outputs
from softwood.trees._rows import Group, Rows

SEEN_BEFORE = (
    "whether the model that was brought has seen these rows: if it was trained on them, these numbers are optimistic"
)
_ONE_NUMBER = (Column("x", "number"),)


@dataclass(frozen=True, eq=False)
class Brought:
    """A model that was brought, and the rows as it reads them.

    Args:
        model: its classes in the learner's order.
        x: float64 ``[n, C]``, encoded for the model's own columns.
        source: what it was, in words.
        notes: what was assumed about it.
    """

    model: HardEnsemble
    x: np.ndarray
    source: str
    notes: tuple[str, ...] = ()

    def take(self, keep: np.ndarray) -> Brought:
        """Return the rows where the mask ``keep`` is True."""
        return replace(self, x=self.x[keep])


def read_init(init: Any) -> tuple[HardEnsemble, str]:
    """Return the model behind ``init=`` and its name.

    Args:
        init: a ``HardEnsemble``, a directory that Softwood wrote, or what ``import_model`` takes.

    Raises:
        InputError: there is no model, or of no known kind.

    Example:
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> read_init(DecisionTreeRegressor(max_depth=1).fit([[0.0], [1.0]], [2.0, 3.0]))[1]
        'DecisionTreeRegressor'
    """
    if isinstance(init, HardEnsemble):
        return init, repr(init)
    if isinstance(init, (str, os.PathLike)):
        path = Path(init)
        return (HardEnsemble.load(path) if path.is_dir() else import_model(path)), path.name
    return import_model(init), type(init).__name__


def bring(init: Any, table: Any, classes: np.ndarray | None, rows: Rows) -> Brought:
    """Read a model and encode a table for it.

    Args:
        init: see ``read_init``.
        table: data frame, whose columns are found by name, or array.
        classes: the learner's labels, None for values.
        rows: what is fitted.

    Raises:
        InputError: the model's columns or classes are not those of the table.
    """
    model, source = read_init(init)
    notes: list[str] = []
    if classes is not None:
        model = _with_classes(model, classes, notes)
    elif model.classes is not None or model.n_outputs != n_outputs(rows):
        raise InputError(
            "the model that was brought predicts something else", got=f"{model!r} with classes {model.classes}",
            allowed=f"a regression of {n_outputs(rows)} values a row", fix="bring a model of this target",
        )  # fmt: skip
    wanted = [column.name for column in model.columns]
    if isinstance(table, pd.DataFrame):
        given = list(map(str, table.columns))
        # the parts of a date are made from its raw column
        absent = [name for name in wanted if name not in given and name.rpartition(".")[0] not in given]
        allowed = f"table: {', '.join(given)}"
    else:
        absent = [] if table.shape[1] == len(wanted) else ["one or more, by their number"]
        allowed = f"table: {table.shape[1]} columns without names"
    if absent:
        raise InputError(
            "the model that was brought has other columns than the table",
            got=f"model: {', '.join(wanted)}; absent: {', '.join(absent)}", allowed=allowed,
            fix="rename the table's columns, or train the model on a table with these names",
        )  # fmt: skip
    return Brought(model, encode_table(model.columns, table), source, tuple(notes))


def untouched(brought: Brought, rows: Rows) -> dict[str, Any]:
    """Return the record of a fit that ships a model as it was brought.

    Args:
        brought: the model.
        rows: all rows.
    """
    return {
        "options": {},
        "loss": rows.loss.name,
        "rows": rows.n,
        "folds": [0, 0],
        "shipped": {"search": "the model that was brought, untouched", "loss": None},
        "brought": {"source": brought.source, "notes": list(brought.notes), "ships": True},
        "trials": [],
        "difference": 0.0,
        "standard_error": 0.0,
        "reason": "it was to be left untouched: nothing else was tried, and its size was not limited",
        "cut_by_time_limit": [],
        "interrupted": False,
        "not_covered": [SEEN_BEFORE],
        "seconds": {"all": 0.0},
    }


def _with_classes(model: HardEnsemble, classes: np.ndarray, notes: list[str]) -> HardEnsemble:
    """Name and order the model's classes as the learner does."""
    mine = [label.item() if isinstance(label, np.generic) else label for label in classes]
    theirs = list(model.classes or ())
    if len(theirs) != len(mine):
        raise InputError(
            "the model that was brought has other classes than the target", got=theirs or "no classes: a regression",
            allowed=mine, fix="bring a model of this target",
        )  # fmt: skip
    by_text = {str(label): place for place, label in enumerate(theirs)}
    if all(str(label) in by_text for label in mine):
        order = [by_text[str(label)] for label in mine]
    elif theirs == list(range(len(mine))):
        order = list(range(len(mine)))
        notes.append(
            f"the model's classes 0 .. {len(mine) - 1} are taken for {', '.join(map(str, mine))}, in this order"
        )
    else:
        raise InputError(
            "the model that was brought has other classes than the target", got=theirs, allowed=mine,
            fix="bring a model of this target",
        )  # fmt: skip
    if model.n_outputs == 1:
        if order == [1, 0]:
            raise InputError(
                "the model that was brought has its classes the other way round", got=theirs, allowed=mine,
                fix="train it on labels that sort in this order",
            )  # fmt: skip
        return replace(model, classes=tuple(mine))
    outputs = tuple(model.outputs[place] for place in order)
    return replace(model, classes=tuple(mine), outputs=outputs, values=model.values[:, order], base=model.base[order])


def group_like(given: Group, rows: Rows, codec: QuantileCodec, codes: np.ndarray) -> Group:
    """Return a group of other columns of the same rows, whose codec is not fitted: that of a brought model's tests.

    Args:
        given: which rows are learned from and judged.
        rows: all rows, as the model reads them.
        codec: of ``take_apart``.
        codes: of all rows.
    """
    group = Group(rows, given.active, given.held)
    vars(group).update(_coded=(codec, codes))  # what the cached property would compute
    return group


def take_apart(brought: Brought, weight: np.ndarray, outputs: int) -> tuple[QuantileCodec, Forest]:
    """Return a codec in which every test of the model is a cut, and its trees on those codes with its own values.

    A number column has the model's thresholds as cuts, and as many quantiles beside them as there is room for; more
    thresholds than bins make several features. A set of levels is a feature of its own, 0 on the left and 1 on the
    right, so tuning keeps it.

    Args:
        brought: the model and n rows.
        weight: ``[n]``, of the rows in the ranks.
        outputs: K of the forest; where the model has another width, values are zero, to be fitted.

    Cost: O(N log N + n C).
    """
    model, x = brought.model, brought.x
    features: list[Feature] = []
    test = np.full(len(model.feature), -1)
    cut = np.zeros(len(model.feature), np.int64)
    for column in range(len(model.columns)):
        nodes = np.flatnonzero(model.feature == column)
        if not len(nodes):
            continue
        if model.columns[column].kind == "category":
            sets, place = np.unique(model.levels_left[model.level_set[nodes]], axis=0, return_inverse=True)
            test[nodes] = len(features) + place.ravel()
            for left in sets:
                level_bin = (~left[: len(model.columns[column].levels)]).astype(np.int64)
                features.append(_two_bins(column, level_bin, x[:, column], weight))
            continue
        thresholds = np.unique(model.threshold[nodes])
        for part in np.array_split(thresholds, -(-len(thresholds) // (MAX_BINS - 1))):
            cuts = _with_quantiles(part, x[:, column])
            inside = nodes[(model.threshold[nodes] >= part[0]) & (model.threshold[nodes] <= part[-1])]
            test[inside], cut[inside] = len(features), np.searchsorted(cuts, model.threshold[inside])
            features.append(Feature.measured(column, cuts, np.zeros(0, np.int64), x[:, column], weight))
    return QuantileCodec(model.columns, tuple(features)), _forest(model, test, cut, outputs)


def _two_bins(column: int, level_bin: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Feature:
    feature = Feature.measured(column, np.zeros(0), level_bin, values, weight)
    if feature.n_bins == 2:
        return feature
    return replace(feature, ranks=np.array([0.25, 0.75], np.float32))  # all known levels go left


def _with_quantiles(cuts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add quantiles of the values to a few cuts, so that tuned thresholds have somewhere to go."""
    own = QuantileCodec.fit(values[:, None], _ONE_NUMBER, np.ones((len(values), 1)), np.ones(len(values))).features
    more = own[0].cuts if own else np.zeros(0)
    room = min(MAX_BINS - 1 - len(cuts), len(more))
    return np.union1d(cuts, more[np.linspace(0, len(more) - 1, room).round().astype(int)]) if room > 0 else cuts


def _forest(model: HardEnsemble, test: np.ndarray, cut: np.ndarray, outputs: int) -> Forest:
    """Lay the trees out with siblings side by side."""
    trees, of_nodes, values, masks = [], [], [], []
    same, leaves = model.n_outputs == outputs, 0
    for root in model.roots:
        order, place = [int(root)], 0
        left = []
        while place < len(order):
            node = order[place]
            left.append(len(order) if model.feature[node] >= 0 else 0)
            if model.feature[node] >= 0:
                order += [int(model.left[node]), int(model.right[node])]
            place += 1
        nodes = np.array(order)
        inner = model.feature[nodes] >= 0
        if not inner.any() and len(model.roots) > 1:
            continue  # a constant; the base is fitted again
        trees.append(
            BoostedTree(
                np.where(inner, test[nodes], -1).astype(np.int32), cut[nodes].astype(np.int32),
                model.missing_left[nodes] & inner, np.array(left, np.int32),
            )
        )  # fmt: skip
        of_nodes.append(np.where(inner, -1, np.cumsum(~inner) - 1 + leaves).astype(np.int32))
        own = model.values[model.leaf[nodes[~inner]]] if same else np.zeros((int((~inner).sum()), outputs))
        used = (own != 0).any(0) if same else np.ones(outputs, bool)
        values.append(own)
        masks.append(np.tile(used if used.any() else np.ones(outputs, bool), (len(own), 1)).astype(float))
        leaves += len(own)
    empty = np.zeros((0, outputs))
    base = model.base.copy() if same else np.zeros(outputs)
    return Forest(
        tuple(trees), tuple(of_nodes), np.concatenate([empty, *values]), np.concatenate([empty, *masks]), base
    )
