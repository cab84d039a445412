"""One way to cut one column in two: the bins of a number, or of the levels of a category in one order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_LEAST_SHARE = 1e-6  # of the weight: what a bin counts at least, so that float32 can tell the ranks apart


@dataclass(frozen=True, eq=False)
class Feature:
    """One way to cut one column in two. A number has one; a category has one for each order of its levels.

    Args:
        column: index of the raw column.
        cuts: float64 ``[bins - 1]``, increasing thresholds of a number; empty for a category.
        level_bin: int ``[levels]``, the bin of each level of a category; empty for a number.
        ranks: float32 ``[bins]``, mid-rank of each bin in [0, 1].

    Example:
        >>> Feature(0, np.array([1.5]), np.zeros(0, int), np.array([0.25, 0.75], np.float32)).n_bins
        2
    """

    column: int
    cuts: np.ndarray
    level_bin: np.ndarray
    ranks: np.ndarray

    @property
    def n_bins(self) -> int:
        """Bins in use."""
        return len(self.ranks)

    @classmethod
    def measured(
        cls, column: int, cuts: np.ndarray, level_bin: np.ndarray, values: np.ndarray, weight: np.ndarray
    ) -> Feature:
        """Return the feature with given bins, their ranks measured on rows.

        Args:
            column: index of the raw column.
            cuts: see the class.
            level_bin: see the class.
            values: float64 ``[n]``, the encoded column.
            weight: float64 ``[n]``, >= 0.

        Example:
            >>> Feature.measured(0, np.array([1.5]), np.zeros(0, int), np.array([1.0, 1.0, 2.0, 3.0]), np.ones(4)).ranks
            array([0.25, 0.75], dtype=float32)
        """
        present = ~np.isnan(values)
        if len(level_bin):
            binned, bins = level_bin[values[present].astype(np.int64)], int(level_bin.max()) + 1
        else:
            binned, bins = np.searchsorted(cuts, values[present], side="left"), len(cuts) + 1
        mass = np.bincount(binned, weights=weight[present], minlength=bins)
        return cls(column, cuts, level_bin, mid_ranks(mass if mass.sum() > 0 else np.ones(bins)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        arrays = {name: getattr(self, name).tolist() for name in ("cuts", "level_bin", "ranks")}
        return {"column": self.column, **arrays}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Feature:
        """Build the feature that ``to_dict`` described."""
        types = {"cuts": np.float64, "level_bin": np.int64, "ranks": np.float32}
        return cls(content["column"], **{name: np.array(content[name], kind) for name, kind in types.items()})


def mid_ranks(mass: np.ndarray) -> np.ndarray:
    """Return the mid-rank of each bin in [0, 1] from its weight; strictly increasing, in float32 too.

    Args:
        mass: ``[bins]``, weight of each.
    """
    share = np.maximum(mass / mass.sum(), _LEAST_SHARE)
    share /= share.sum()
    ranks: np.ndarray = (np.cumsum(share) - share / 2).astype(np.float32)
    return ranks
