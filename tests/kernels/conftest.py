"""Small random problems, and what they cost by the definition, in plain NumPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from softwood.kernels import ENTROPY, ERROR, MISSING, SQUARED, Problem


def build(seed, *, kind=ENTROPY, by_label=True, n=40, features=3, bins=5, outputs=3, missing=0.2, **changes):
    """Return a random problem; weights are multiples of 1/4, so that sums of them are exact."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, bins, (features, n)).astype(np.uint8)
    codes[rng.random((features, n)) < missing] = MISSING
    weight = rng.integers(1, 9, n) / 4
    labels = rng.integers(0, outputs, n).astype(np.int32) if by_label else np.zeros(0, np.int32)
    moments = np.zeros((0, outputs)) if by_label else rng.normal(size=(n, outputs)) * weight[:, None]
    fields = {
        "codes": codes,
        "n_bins": np.full(features, bins, np.int32),
        "labels": labels,
        "moments": moments,
        "weight": weight,
        "active": np.ones(n, bool),
        "allowed": np.ones(features, bool),
        "prior": np.full(outputs, 1 / outputs) if by_label else np.zeros(outputs),
        "smoothing": 0.0,
        "min_leaf": 0.0,
        "kind": kind,
    }
    return Problem(**{**fields, **changes})


def targets_of(data):
    """Return the weighted targets ``[n, K]``."""
    if len(data.labels) == 0:
        return data.moments
    return np.eye(len(data.prior))[data.labels] * data.weight[:, None]


def loss_at(data, mask, value):
    """Return the loss of the rows in ``mask`` and of the pseudo-rows at one leaf value, by the definition."""
    sums = targets_of(data)[mask].sum(0) + data.smoothing * data.prior
    weight = data.weight[mask].sum() + data.smoothing
    if data.kind == SQUARED:  # without the sum of squares of the targets
        return weight * value @ value - 2 * sums @ value
    seen = sums > 0
    entropy = -(sums[seen] * np.log(value[seen])).sum()
    if data.kind == ENTROPY:
        return entropy
    assert data.kind == ERROR
    return weight - sums[value.argmax()] + 0.1 * entropy if weight > 0 else 0.0


def best_value(data, mask):
    """Return the mean target of the rows in ``mask`` and of the pseudo-rows; the prior where there are none."""
    weight = data.weight[mask].sum() + data.smoothing
    sums = targets_of(data)[mask].sum(0) + data.smoothing * data.prior
    return sums / weight if weight > 0 else data.prior


def side(codes, feature, cut, missing_left):
    """Return which rows go left."""
    if feature < 0:
        return np.ones(codes.shape[1], bool)
    return np.where(codes[feature] == MISSING, missing_left, codes[feature].astype(int) <= cut)


def naive_leaves(codes, feature, cut, missing_left):
    """Return the leaf of each row of a complete tree, one row and one step at a time."""
    leaves = []
    for row in range(codes.shape[1]):
        node = 0
        while node < len(feature):
            left = side(codes[:, [row]], feature[node], cut[node], missing_left[node])[0]
            node = 2 * node + (1 if left else 2)
        leaves.append(node - len(feature))
    return np.array(leaves)


@pytest.fixture
def naive():
    """Return the definitions above."""
    return SimpleNamespace(
        build=build, loss_at=loss_at, best_value=best_value, side=side, leaves=naive_leaves, targets=targets_of
    )
