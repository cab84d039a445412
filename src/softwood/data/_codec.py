"""``QuantileCodec``: from raw columns to bin codes and back to tests that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from softwood.artifacts import Column
from softwood.core import check_number
from softwood.data._feature import Feature, mid_ranks
from softwood.data._levels import fifths, level_features
from softwood.kernels import MISSING

MAX_BINS = MISSING  # codes 0 .. 254 are bins, 255 is a missing value
LARGEST = float(np.nextafter(np.finfo(np.float64).max, 0))  # a threshold that only a missing value fails
_BEYOND = 0.5  # how far the rank of a cut before the first or after the last bin lies outside [0, 1]


@dataclass(frozen=True, eq=False)
class QuantileCodec:
    """Codes every column into at most 255 bins, and turns a cut between two bins back into a test on the raw column.

    Numbers: a cut lies between two adjacent training values a < b, is the shortest decimal in the middle half of
    the gap, and separates a from b after rounding to float32 too, unless float32 cannot tell a from b at all.
    Categories: levels are ordered by the smoothed mean of the target (one order for each class, at most 8), so
    a cut is a set of levels; those of an ordered column keep their own order. Of more than 20 levels many are rare, and
    their place knows the few targets behind it: ``fit_codes`` gives each training row a code that has not seen its
    own target. A missing value and an unseen level have the code 255. Columns that are constant and never missing
    have no feature.

    Args:
        columns: the C raw columns.
        features: the F features.

    Example:
        >>> x = np.array([[1.0], [2.0], [4.0], [np.nan]])
        >>> codec = QuantileCodec.fit(x, [Column("x", "number")], np.ones((4, 1)), np.ones(4))
        >>> codec.transform(x).tolist(), codec.features[0].cuts.tolist()
        ([[0, 1, 2, 255]], [1.5, 3.0])
    """

    columns: tuple[Column, ...]
    features: tuple[Feature, ...]

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        columns: Sequence[Column],
        targets: np.ndarray,
        weight: np.ndarray,
        max_bins: int = MAX_BINS,
    ) -> QuantileCodec:
        """Find the bins.

        Args:
            x: float64 ``[n, C]`` from ``encode_table``.
            columns: C columns.
            targets: float64 ``[n, K]``; class indicators or values. They order the levels of categories.
            weight: float64 ``[n]``, >= 0; rows of weight 0 are not looked at.
            max_bins: 2 to 255.

        Raises:
            InputError: ``max_bins`` is out of range.

        Cost: O(C n log n) time, O(n + C bins) memory beside ``x``.
        """
        return cls._fitted(x, columns, targets, weight, max_bins, None)[0]

    @classmethod
    def fit_codes(
        cls,
        x: np.ndarray,
        columns: Sequence[Column],
        targets: np.ndarray,
        weight: np.ndarray,
        together: np.ndarray | None = None,
    ) -> tuple[QuantileCodec, np.ndarray]:
        """Find the bins, and return the codes to learn from, uint8 ``[F, n]``.

        They are those of ``transform``, but for rows of positive weight in categories of more than 20 levels: there
        the place of a row's level is that of its mean over the other four fifths of the rows.

        Args:
            x: as in ``fit``.
            columns: as in ``fit``.
            targets: as in ``fit``.
            weight: as in ``fit``.
            together: int ``[n]``, number of each row's group, or None: a group lies in one fifth.

        Cost: as ``fit``.
        """
        fifth = fifths(len(x), together)
        codec, own = cls._fitted(x, columns, targets, weight, MAX_BINS, fifth)
        codes, rows = codec.transform(x), np.flatnonzero(weight > 0)
        for feature, found in own.items():
            codes[feature, rows] = found
        return codec, codes

    @classmethod
    def _fitted(
        cls, x: np.ndarray, columns: Sequence[Column], targets: np.ndarray, weight: np.ndarray, max_bins: int,
        fifth: np.ndarray | None,
    ) -> tuple[QuantileCodec, dict[int, np.ndarray]]:  # fmt: skip
        """Return the codec, and the rows' own codes of each feature that has such."""
        limit = check_number("max_bins", max_bins, low=2, high=MAX_BINS, integer=True)
        rows = weight > 0
        x, targets, weight = x[rows], targets[rows], weight[rows]
        fifth = None if fifth is None else fifth[rows]
        features: list[Feature] = []
        own: dict[int, np.ndarray] = {}
        for index, column in enumerate(columns):
            if column.kind != "category":
                features += _number_feature(index, x[:, index], weight, limit)
                continue
            for feature, codes in level_features(index, x[:, index], column, targets, weight, limit, fifth):
                if codes is not None:
                    own[len(features)] = codes
                features.append(feature)
        return cls(tuple(columns), tuple(features)), own

    @property
    def n_features(self) -> int:
        """F."""
        return len(self.features)

    @cached_property
    def n_bins(self) -> np.ndarray:
        """Bins of each feature, int32 ``[F]``."""
        return np.array([feature.n_bins for feature in self.features], np.int32)

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return codes, uint8 ``[F, n]``, of an encoded table float64 ``[n, C]``. Cost: O(n F log bins)."""
        codes = np.empty((self.n_features, len(x)), np.uint8)
        for index, feature in enumerate(self.features):
            values = x[:, feature.column]
            missing = np.isnan(values)
            if len(feature.level_bin):
                binned = feature.level_bin[np.where(missing, 0, values).astype(np.int64)]
            else:
                binned = np.searchsorted(feature.cuts, values, side="left")  # x <= cut goes left
            codes[index] = np.where(missing, MISSING, binned)
        return codes

    def ranks(self, codes: np.ndarray) -> np.ndarray:
        """Return mid-ranks in [0, 1], float32 ``[n, F]``, NaN where missing: what soft trees read."""
        out = np.empty((codes.shape[1], self.n_features), np.float32)
        for index, feature in enumerate(self.features):
            table = np.full(MISSING + 1, np.nan, np.float32)
            table[: feature.n_bins] = feature.ranks
            out[:, index] = table[codes[index]]
        return out

    def threshold_of(self, feature: int, cut: int) -> float:
        """Return t such that ``code <= cut`` and ``x <= t`` say the same of a number that is not missing."""
        cuts = self.features[feature].cuts
        if cut < 0:
            return -LARGEST
        return float(cuts[cut]) if cut < len(cuts) else LARGEST

    def levels_left(self, feature: int, cut: int) -> np.ndarray:
        """Return which levels of a category have ``code <= cut``, bool ``[levels]``."""
        left: np.ndarray = self.features[feature].level_bin <= cut
        return left

    def cut_of(self, feature: int, rank: float) -> int:
        """Return the cut whose two neighbouring bins lie on the two sides of ``rank``.

        A rank beside all bins belongs to the nearest cut in [0, bins - 2], so that a threshold that drifts over the
        edge still tests something. Cuts -1 and bins - 1 part the missing from all others; they belong to a rank a
        quarter or more outside [0, 1], and are the only ones where the feature has one bin, present or missing.
        """
        ranks = self.features[feature].ranks
        if rank <= -_BEYOND / 2:
            return -1
        if rank >= 1 + _BEYOND / 2:
            return len(ranks) - 1
        place = np.searchsorted(ranks, rank, side="right") - 1
        return int(place if len(ranks) == 1 else np.clip(place, 0, len(ranks) - 2))

    def rank_of(self, feature: int, cut: int) -> float:
        """Return the rank halfway between the two bins at ``cut``; the inverse of ``cut_of``."""
        ranks = self.features[feature].ranks
        if cut < 0:
            return -_BEYOND
        return float(ranks[cut] + ranks[cut + 1]) / 2 if cut + 1 < len(ranks) else 1 + _BEYOND


def _number_feature(index: int, values: np.ndarray, weight: np.ndarray, limit: int) -> list[Feature]:
    present = ~np.isnan(values)
    distinct, inverse = np.unique(values[present], return_inverse=True)
    if len(distinct) == 0 or (len(distinct) == 1 and present.all()):
        return []
    mass = np.bincount(inverse, weights=weight[present], minlength=len(distinct))
    last = np.arange(len(distinct) - 1)  # cut after each distinct value ...
    if len(distinct) > limit:  # ... or after those where a quantile is crossed
        share = np.cumsum(mass) / mass.sum()
        last = np.unique(np.searchsorted(share, np.arange(1, limit) / limit, side="left").clip(0, len(distinct) - 2))
    cuts = float32_safe_midpoints(distinct[last], distinct[last + 1])
    mass = np.add.reduceat(mass, np.concatenate([[0], last + 1]))
    return [Feature(index, cuts, np.zeros(0, np.int64), mid_ranks(mass))]


def float32_safe_midpoints(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return for each pair a short decimal t with low <= t < high, in float64 and after rounding to float32.

    Args:
        low: float64 ``[m]``.
        high: float64 ``[m]``, > low.

    Returns:
        float64 ``[m]``. Where float32 cannot tell low from high, the float64 midpoint.

    Example:
        >>> float32_safe_midpoints(np.array([16.77, 0.1]), np.array([16.82, 0.4])).tolist()
        [16.8, 0.2]
    """
    with np.errstate(all="ignore"):  # gaps near the largest or smallest number overflow, and have no short decimal
        narrow_low, narrow_high = low.astype(np.float32), high.astype(np.float32)
        gap = high - low
        middle = low + gap / 2

        def survives(t: np.ndarray) -> np.ndarray:
            narrow = t.astype(np.float32)
            apart = (narrow_low <= narrow) & (narrow < narrow_high) | (narrow_low == narrow_high)
            safe: np.ndarray = np.isfinite(t) & (low <= t) & (t < high) & apart
            return safe

        result, settled = np.where(survives(middle), middle, low), np.zeros(len(low), bool)  # low itself always serves
        first = -np.floor(np.log10(gap)) - 1
        for extra in range(4):  # the middle half of a gap holds a decimal with at most two more digits than it
            scale = 10.0 ** (first + extra)
            short = np.round(middle * scale) / scale
            good = (np.abs(short - middle) <= gap / 4) & survives(short) & ~settled
            result, settled = np.where(good, short, result), settled | good
    return result
