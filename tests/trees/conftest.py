"""Small tables with known structure, as the trees take them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from softwood.artifacts import Column
from softwood.trees._rows import Group, Rows

COLUMNS = (Column("a", "number"), Column("b", "number"), Column("c", "category", ("u", "v", "w", "x")))


def make_table(seed, n, missing=0.1):
    """Return float64 ``[n, 3]``: two numbers (one with many ties) and a category of four levels."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.integers(0, 9, n) / 4, rng.integers(0, 4, n)]).astype(float)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def make_rows(seed=0, n=200, classes=2, missing=0.1, weighted=False):
    """Return rows whose class (values, if ``classes`` is None) follows from two columns together, with noise."""
    rng = np.random.default_rng(seed + 1)
    x = make_table(seed, n, missing)
    filled = np.where(np.isnan(x), [-9.0, 9.0, 0.0], x)
    answer = (filled[:, 0] > 0).astype(int) ^ (filled[:, 1] > 1).astype(int)
    answer = answer + (filled[:, 2] == 2) * (filled[:, 0] > 0.5)
    weight = rng.integers(1, 5, n) / 2 if weighted else np.ones(n)
    if classes is None:
        values = np.column_stack([answer + rng.normal(size=n) / 4, filled[:, 1]])
        values = (values - values.mean(0)) / values.std(0)
        return Rows(COLUMNS, x, np.zeros(0, np.int32), values, weight)
    labels = np.where(rng.random(n) < 0.1, rng.integers(0, classes, n), answer % classes).astype(np.int32)
    return Rows(COLUMNS, x, labels, np.eye(classes)[labels], weight)


def group_of(rows, active=None):
    return Group(rows, np.ones(rows.n, bool) if active is None else active)


@pytest.fixture
def make():
    """Return the makers above."""
    return SimpleNamespace(table=make_table, rows=make_rows, group=group_of, columns=COLUMNS)
