"""Random models and rows, and a walk in plain Python that knows nothing of the arrays' kernels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import Column, HardEnsemble

NASTY = (
    "class", "a b", "quotes '\"\"\" \\", "line\nbreak", "carriage\rreturn", "ünï 名前 🌲", "label", "value", "{x}",
    "probabilities", "# no comment", "%s", "softwood.values", "tail\\", "a,b;c\t", "' + row + '", "None", " padded ",
)  # fmt: skip

# link, classes, outputs
CASES = {
    "regression": ("identity", None, ("y",)),
    "several outputs": ("identity", None, ("y", "line\nbreak", "y'\"")),
    "binary, probability": ("probability", ("no", "yes"), ("p",)),
    "binary, sigmoid": ("sigmoid", (False, True), ("logit",)),
    "three classes": ("probability", (3, 1, 2), ("a", "b", "c")),
    "softmax": ("softmax", ("it's", '"""', "\r\n,", "名"), ("a", "b", "c", "d")),
    "softmax, numbers": ("softmax", (0.5, -1.5), ("a", "b")),
    "logarithms": ("exp", None, ("y",)),
    "several logarithms": ("exp", None, ("y", "z")),
}


def make_columns(rng, count=5):
    names = rng.permutation(np.array(NASTY, dtype=object))[:count]
    kinds = ["number", "boolean", "category", *rng.choice(["number", "boolean", "category"], count - 3)]
    columns = []
    for name, kind in zip(names, kinds, strict=True):
        levels = rng.permutation(np.array(NASTY, dtype=object))[: rng.integers(1, 7)] if kind == "category" else ()
        columns.append(Column(str(name), str(kind), tuple(map(str, levels))))
    return tuple(columns)


class _Grower:
    """Appends random trees to flat arrays, parents before children."""

    def __init__(self, rng, columns, outputs, link):
        self.rng, self.columns, self.outputs, self.link = rng, columns, outputs, link
        self.nodes, self.sets, self.values = [], [], []

    def grow(self, depth, trees):
        here = len(self.nodes)
        self.nodes.append(None)
        if depth == 0 or self.rng.random() < 0.15:
            self.nodes[here] = (-1, np.nan, False, 0, 0, -1, len(self.values))
            self.values.append(self._leaf(trees))
            return here
        feature = int(self.rng.integers(len(self.columns)))
        threshold, level_set = np.nan, -1
        if self.columns[feature].kind == "category":
            level_set = len(self.sets)
            self.sets.append(self.rng.random(len(self.columns[feature].levels)) < 0.5)
        elif self.columns[feature].kind == "boolean":
            threshold = 0.5
        else:  # few distinct numbers, so that paths meet the same one again; 0.1 has no float32
            threshold = float(self.rng.choice([-1e300, -2.5, -0.1, 0.0, 0.1, 1 / 3, 7.0, 16777217.0, 1e-310]))
        left = self.grow(depth - 1, trees)
        right = self.grow(depth - 1, trees)
        self.nodes[here] = (feature, threshold, bool(self.rng.random() < 0.5), left, right, level_set, -1)
        return here

    def _leaf(self, trees):
        """Eighths: sums of several trees tie often, and have to tie in every format."""
        if self.link != "probability":
            return self.rng.integers(-16, 17, len(self.outputs)) / 8
        if len(self.outputs) == 1:
            return self.rng.integers(0, 9, 1) / 8 / trees
        return self.rng.multinomial(8, np.full(len(self.outputs), 1 / len(self.outputs))) / 8 / trees


def make_model(rng, case="regression", trees=1, depth=4, columns=None):
    link, classes, outputs = CASES[case]
    columns = make_columns(rng) if columns is None else columns
    grower = _Grower(rng, columns, outputs, link)
    roots = [grower.grow(depth, trees) for _ in range(trees)]
    width = max((len(row) for row in grower.sets), default=0)
    levels_left = np.zeros((len(grower.sets), width), bool)
    for place, row in enumerate(grower.sets):
        levels_left[place, : len(row)] = row
    names = ("feature", "threshold", "missing_left", "left", "right", "level_set", "leaf")
    base = np.zeros(len(outputs)) if link == "probability" else rng.integers(-8, 9, len(outputs)) / 8
    return HardEnsemble(
        columns=columns, outputs=outputs, link=link, classes=classes, levels_left=levels_left, roots=roots, base=base,
        values=np.array(grower.values).reshape(-1, len(outputs)), counts=np.arange(len(grower.values)) / 1.0,
        **dict(zip(names, map(list, zip(*grower.nodes, strict=True)), strict=True)),
    )  # fmt: skip


def make_chain(splits):
    """A tree in which each split's right child is the next split; row x ends in leaf ceil(x)."""
    inner, ends = np.arange(splits), np.full(splits + 1, -1)
    return HardEnsemble(
        columns=(Column("x", "number"),), outputs=("y",), link="identity", classes=None,
        feature=np.r_[inner * 0, ends], threshold=np.r_[inner / 1.0, ends * np.nan],
        missing_left=np.arange(2 * splits + 1) > 100, left=np.r_[splits + inner, ends],
        right=np.r_[inner[1:], 2 * splits, ends], level_set=np.full(2 * splits + 1, -1), levels_left=np.zeros((0, 0)),
        leaf=np.r_[inner * 0 - 1, np.arange(splits + 1)], values=np.arange(splits + 1.0)[:, None],
        counts=np.zeros(splits + 1), roots=[0], base=[0.0],
    )  # fmt: skip


def make_rows(rng, model, count=60):
    """Raw rows: thresholds and their neighbours, missing values, levels, unseen levels."""
    table = {}
    for column in model.columns:
        if column.kind == "category":
            pool = [*column.levels, None, "never seen", column.levels[0] + " "]
            table[column.name] = pd.Series([pool[i] for i in rng.integers(0, len(pool), count)], dtype=object)
        elif column.kind == "boolean":
            pool = [True, False, None]
            table[column.name] = pd.Series([pool[i] for i in rng.integers(0, 3, count)], dtype=object)
        else:
            used = model.threshold[np.isfinite(model.threshold)]
            base = rng.choice(used, count) if len(used) else np.zeros(count)
            beside = [np.nextafter(base, np.inf), np.nextafter(base, -np.inf)]
            ways = [base, *beside, rng.normal(size=count), np.full(count, np.nan)]
            table[column.name] = np.choose(rng.integers(0, 5, count), ways)
    return pd.DataFrame(table)


def as_dicts(model, table):
    """Rows as the plain values that a user would write."""
    rows = []
    for position in range(len(table)):
        row = {}
        for column in model.columns:
            value = table[column.name].iloc[position]
            row[column.name] = float(value) if column.kind == "number" else value
        rows.append(row)
    return rows


def walk(model, row):
    """Return the sum before the link for one raw row, by the definition."""
    total = [float(value) for value in model.base]
    for root in model.roots:
        node = int(root)
        while model.feature[node] >= 0:
            column = model.columns[model.feature[node]]
            value = row[column.name]
            if column.kind == "category":
                known = value in column.levels
                left = model.levels_left[model.level_set[node]][column.levels.index(value)] if known else None
            else:
                left = None if value is None or value != value else float(value) <= model.threshold[node]
            left = model.missing_left[node] if left is None else left
            node = int(model.left[node] if left else model.right[node])
        total = [a + float(b) for a, b in zip(total, model.values[model.leaf[node]], strict=True)]
    return total


def link(model, total):
    """Return probabilities (or the values) of one sum, by the definition."""
    if model.link == "softmax":
        return [1 / sum(math.exp(b - a) for b in total) for a in total]
    if model.link == "exp":
        return [math.exp(value) for value in total]
    if model.link == "sigmoid":
        total = [1 / (1 + math.exp(-total[0]))]
    return [1 - total[0], total[0]] if model.classes is not None and len(total) == 1 else total


def label(model, total):
    """Return the class of one sum: the largest, the first of equal ones."""
    if len(total) == 1:
        return model.classes[int(total[0] > (0.5 if model.link == "probability" else 0))]
    return model.classes[max(range(len(total)), key=lambda k: (total[k], -k))]


@pytest.fixture(scope="session")
def lab():
    """The functions above, for tests (pytest's importlib mode has no package to import them from)."""

    class Lab:
        cases, nasty = tuple(CASES), NASTY
        columns, model, chain, rows = map(staticmethod, (make_columns, make_model, make_chain, make_rows))
        as_dicts, walk, link, label = map(staticmethod, (as_dicts, walk, link, label))

    return Lab
