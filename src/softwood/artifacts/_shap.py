"""Shapley values of a ``HardEnsemble``: which column moved the answer, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from softwood.core import UnsupportedError
from softwood.kernels import leaf_paths, node_covers, shapley_values

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble


def shap_encoded(model: HardEnsemble, x: np.ndarray) -> np.ndarray:
    """Return the Shapley values of encoded rows; see ``HardEnsemble.shap_values``.

    Args:
        model: the ensemble.
        x: float64 ``[n, C]``, encoded.

    Returns:
        float64 ``[n, C, K]``.

    Raises:
        UnsupportedError: a tree has no training weight.
    """
    paths = leaf_paths(model.feature, model.left, model.right, _covers(model))
    widest = int(paths.slots.max(initial=0)) + 1  # most distinct columns on a path
    points, weights = _quadrature((widest + 1) // 2)
    result: np.ndarray = shapley_values(
        x, model.feature, model.threshold, model.missing_left, model.level_set, model.levels_left, model.leaf,
        model.values, paths, points, weights,
    )  # fmt: skip
    return result


def expected_raw(model: HardEnsemble) -> np.ndarray:
    """Return the mean raw score over the training weight, ``[K]``; see ``HardEnsemble.expected_value``."""
    cover = _covers(model)
    reached = np.zeros(len(model.feature))
    reached[model.roots] = 1.0
    for node in np.flatnonzero(model.feature >= 0):  # parents before children
        left, right = model.left[node], model.right[node]
        share = cover[left] / cover[node] if cover[node] > 0 else 0.5
        reached[left], reached[right] = reached[node] * share, reached[node] * (1 - share)
    ends = np.flatnonzero(model.feature < 0)
    result: np.ndarray = model.base + reached[ends] @ model.values[model.leaf[ends]]
    return result


def _covers(model: HardEnsemble) -> np.ndarray:
    cover: np.ndarray = node_covers(model.feature, model.left, model.right, model.leaf, model.counts)
    if (cover[model.roots] <= 0).any():
        raise UnsupportedError(
            "a tree of this model holds no training weight, so there is no average to compare a row with; "
            "fit the model again, or give the ensemble its counts"
        )
    return cover


def _quadrature(most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gauss-Legendre rules with 1 to ``most`` points on [0, 1], one in each row."""
    points, weights = np.zeros((most, most)), np.zeros((most, most))
    for count in range(1, most + 1):
        where, weight = np.polynomial.legendre.leggauss(count)
        points[count - 1, :count], weights[count - 1, :count] = (where + 1) / 2, weight / 2
    return points, weights
