"""The rows a learner is given, and a group of them (all rows, or all but one fold) that a candidate is fitted on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from softwood.artifacts import Column
from softwood.core import InputError
from softwood.data import QuantileCodec
from softwood.kernels import ENTROPY, ERROR, SQUARED, Problem
from softwood.trees._constraints import monotone_leaves
from softwood.trees._dense_tree import DenseTree, node_costs
from softwood.trees._loss import LogLoss, Loss, Squared
from softwood.trees._loss_tree import LossFit

_LARGEST_TARGET = 1e150  # sums of squares of larger ones overflow
CRITERIA = {
    "entropy": ENTROPY, "error": ERROR, "gini": SQUARED, "logits": SQUARED, "model": SQUARED, "poisson": ENTROPY,
    "shares": ENTROPY, "squared": SQUARED,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rows:
    """A table with its target, ready for fitting. n rows, C columns, K outputs.

    Args:
        columns: C raw columns.
        x: float64 ``[n, C]`` from ``encode_table``.
        labels: int32 ``[n]``, class of each row; empty for regression.
        targets: float64 ``[n, K]``: class indicators; or values, scaled to mean 0 and variance 1.
        weight: float64 ``[n]``, >= 0, mean 1.
        together: int ``[n]``, number of the group of each row: no split parts a group; None where rows stand alone.
        time: int ``[n]``, rank in time: splits judge on later rows than they learn from; None without time.
        asked: the loss, None for the log-loss of classes or the squared error of values.
        given: float64 ``[n, K]``, values as they came, for a loss that wants them; else empty.
        direction: int8 ``[C]``: 1 where the answer may not fall with a column, -1 where it may not rise; or empty.
        forbidden: bool ``[C]``, columns that no node may test; empty for none.
        taught: float64 ``[n, K]``, a teacher's centred logits; ``targets`` are shares then. Else empty.
        parents: int ``[n, 2]``, the two rows that each made row comes from: it is learned from where both are, and
            judges nothing. A real row has itself twice, a row of no target -1 twice. Else empty.
    """

    columns: tuple[Column, ...]
    x: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    together: np.ndarray | None = None
    time: np.ndarray | None = None
    asked: Loss | None = None
    given: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    direction: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    forbidden: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    taught: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    parents: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def is_classification(self) -> bool:
        """Are the targets classes?"""
        return len(self.labels) > 0

    @property
    def loss(self) -> Loss:
        """What is minimised."""
        return self.asked or (LogLoss() if self.is_classification else Squared())

    @property
    def is_taught(self) -> bool:
        """Are the targets shares that a teacher gave?"""
        return len(self.taught) > 0

    @property
    def asked_other(self) -> bool:
        """Is the loss neither the log-loss of labels nor the squared error?"""
        return self.is_taught or not isinstance(self.loss, LogLoss | Squared)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that name these rows."""
        digest = hashlib.sha256(repr(self.columns).encode())
        parts = (self.x, self.labels, self.targets, self.weight, self.together, self.time, self.taught, self.parents)
        for part in parts:
            if part is not None:
                digest.update(repr((part.shape, part.dtype)).encode() + np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def take(self, keep: np.ndarray) -> Rows:
        """Return the rows where the mask ``keep`` is True."""
        labels = self.labels[keep] if self.is_classification else self.labels
        together, time = (None if part is None else part[keep] for part in (self.together, self.time))
        given = self.given[keep] if len(self.given) else self.given
        taught = self.taught[keep] if self.is_taught else self.taught
        return Rows(
            self.columns, self.x[keep], labels, self.targets[keep], self.weight[keep], together, time, self.asked,
            given, self.direction, self.forbidden, taught, self._parents_of(keep),
        )  # fmt: skip

    def _parents_of(self, keep: np.ndarray) -> np.ndarray:
        """Return where the parents of the rows that are kept lie among these; none where all rows are real."""
        none = np.zeros((0, 2), np.int64)
        if not len(self.parents) or keep.dtype != bool:  # a batch, which is not divided further
            return none
        place = np.where(keep, np.cumsum(keep) - 1, -1)
        found = np.where(self.parents >= 0, place[self.parents], -1)[keep]
        return none if (found[:, 0] == np.arange(len(found))).all() else found


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a group, m of them.

    Args:
        place: which ones, int ``[m]``.
        codes: uint8 ``[F, m]``.
        rows: the same rows, without ``x``.
    """

    place: np.ndarray
    codes: np.ndarray
    rows: Rows


@dataclass(frozen=True, eq=False)
class Group:
    """Rows that a candidate may learn from, with a codec that has seen no others.

    Args:
        rows: all rows.
        active: bool ``[n]``, those that may be learned from.
        held: bool ``[n]``, those that it is judged on; None for all others.
    """

    rows: Rows
    active: np.ndarray
    held: np.ndarray | None = None

    @property
    def judged(self) -> np.ndarray:
        """Rows that candidates of this group are judged on, bool ``[n]``: never active ones."""
        return ~self.active if self.held is None else self.held

    @cached_property
    def judged_part(self) -> Part:
        """The rows that candidates of this group are judged on."""
        return self.part(self.judged)

    def part(self, chosen: np.ndarray) -> Part:
        """Return some of the rows, with their codes.

        Args:
            chosen: bool ``[n]``.
        """
        place = np.flatnonzero(chosen)
        bare = replace(self.rows, x=self.rows.x[:, :0])  # losses do not look at x
        return Part(place, np.ascontiguousarray(self.codes[:, place]), bare.take(chosen))

    @cached_property
    def _coded(self) -> tuple[QuantileCodec, np.ndarray]:
        rows, weight = self.rows, self.rows.weight * self.active
        codec, codes = QuantileCodec.fit_codes(rows.x, rows.columns, rows.targets, weight, rows.together)
        if not rows.forbidden.any():
            return codec, codes
        keep = [place for place, feature in enumerate(codec.features) if not rows.forbidden[feature.column]]
        return QuantileCodec(codec.columns, tuple(codec.features[place] for place in keep)), codes[keep]

    @property
    def codec(self) -> QuantileCodec:
        """Codec fitted on the active rows."""
        return self._coded[0]

    @property
    def codes(self) -> np.ndarray:
        """Codes of all rows, uint8 ``[F, n]``; no active row's code has seen its own target."""
        return self._coded[1]

    @cached_property
    def prior(self) -> np.ndarray:
        """What an empty leaf answers: the mean target, half a row added to each class."""
        weight = self.rows.weight * self.active
        added = 0.5 if self.rows.is_classification else 0.0
        total = weight @ self.rows.targets + added
        prior: np.ndarray = total / (weight.sum() + added * len(total))
        return prior

    @property
    def direction(self) -> np.ndarray:
        """The direction of each of the codec's features, int8 ``[F]``."""
        asked, features = self.rows.direction, self.codec.features
        return np.array([asked[feature.column] if len(asked) else 0 for feature in features], np.int8)

    @property
    def _directed(self) -> tuple[np.ndarray, ...]:
        """``direction`` for a ``Problem``, if there is any."""
        return (self.direction,) if self.rows.direction.any() else ()

    @cached_property
    def fit(self) -> LossFit:
        """The active rows under a loss that the kernels do not know."""
        return LossFit(self)

    def values(self, tree: DenseTree, criterion: str, strength: float) -> np.ndarray:
        """Return what each leaf of a tree answers, ``[2^D, K]``, fitted on the active rows.

        Args:
            tree: the tests.
            criterion: as in ``problem``.
            strength: pseudo-rows at the prior in each leaf.
        """
        data = self.problem(self.rows.loss.leaf_criterion or criterion, 0.0, strength)
        if self.rows.loss.in_kernels:
            values = tree.values(data, strength)
        else:
            values = self.fit.values(tree, strength)
        if not self.rows.direction.any():
            return values
        heavy = tree.statistics(data)[:, 0] + strength
        return monotone_leaves(tree, values, heavy, self.codec.n_bins, self.direction)

    def level_costs(self, tree: DenseTree, data: Problem) -> list[np.ndarray]:
        """Return for each level of a tree, root first, what each node would cost as a leaf."""
        return node_costs(tree, data) if self.rows.loss.in_kernels else self.fit.level_costs(tree)

    def problem(self, criterion: str, min_leaf: float, smoothing: float) -> Problem:
        """Return what the kernels fit trees to.

        Args:
            criterion: ``"entropy"``, ``"error"``, ``"gini"``, ``"poisson"`` or ``"squared"``; ``"logits"`` or
                ``"shares"`` of a teacher; ``"model"``, which only weighs sides and leaves: see ``LossFit``.
            min_leaf: least weight on each side of a split.
            smoothing: pseudo-rows at the prior in each leaf.
        """
        rows, codec, prior = self.rows, self.codec, self.prior
        labels, moments = rows.labels, np.zeros((0, len(prior)))
        if criterion in ("logits", "shares") or not rows.is_classification:
            values = rows.taught if criterion == "logits" else rows.targets
            labels, moments = np.zeros(0, np.int32), values * rows.weight[:, None]
            if criterion == "logits":
                prior = self.active @ moments / (rows.weight @ self.active)
        return Problem(
            self.codes, codec.n_bins, labels, moments, rows.weight, self.active & (rows.weight > 0),
            np.ones(codec.n_features, bool),
            prior, float(smoothing), float(min_leaf), CRITERIA[criterion], *self._directed,
        )  # fmt: skip


def sampled(data: Problem, most: int, seed: np.random.Generator) -> Problem:
    """Return a problem of the active rows alone, or of ``most`` of them drawn at random, each weighing more.

    Args:
        data: rows and charges.
        most: rows.
        seed: source of the draw.
    """
    rows = np.flatnonzero(data.active)
    if len(rows) > most:
        rows = np.sort(seed.choice(rows, most, replace=False))
    ratio = data.weight[data.active].sum() / data.weight[rows].sum()
    return data._replace(
        codes=np.ascontiguousarray(data.codes[:, rows]), labels=data.labels[rows] if len(data.labels) else data.labels,
        moments=data.moments[rows] * ratio if len(data.moments) else data.moments, weight=data.weight[rows] * ratio,
        active=np.ones(len(rows), bool),
    )  # fmt: skip


def scaled(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values ``[n, K]`` with weighted mean 0 and variance 1, and that mean and deviation ``[K]``.

    Args:
        values: ``[n, K]``.
        weight: ``[n]``, >= 0.

    Raises:
        InputError: a value is so large that its square is infinite.
    """
    if np.abs(values).max() > _LARGEST_TARGET:
        raise InputError(
            "the target is too large for squared errors", got=f"{np.abs(values).max():.3g}",
            allowed=f"values up to {_LARGEST_TARGET:g}", fix="divide the target by a power of ten",
        )  # fmt: skip
    size = np.abs(values[weight > 0]).max(axis=0)
    size = np.exp2(np.floor(np.log2(np.where(size > 0, size, 1.0))))  # a power of two: exact, and no square underflows
    mean = size * np.average(values / size, axis=0, weights=weight)
    deviation = size * np.sqrt(np.average(((values - mean) / size) ** 2, axis=0, weights=weight))
    deviation = np.where(deviation > 0, deviation, 1.0)
    return (values - mean) / deviation, mean, deviation
