"""Losses: what forests and trees minimise, with everything that depends on which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import xlogy

from softwood.core import InputError
from softwood.kernels import group_quantiles

if TYPE_CHECKING:
    from softwood.trees._rows import Rows

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
_WIDTH = 0.05  # of the parabola that rounds the kink of the pinball loss, in deviations of the target
_PSEUDO = 1.0  # weight of a row at the mean, added to each leaf of a Poisson booster
_LEAST_SHARE = 1e-15
_NEWTON_STEPS, _HALVINGS = 12, 8
_LARGEST_LOG = 60.0


@dataclass(frozen=True, eq=False)
class Loss(ABC):
    """A loss of raw scores ``[n, K]``; the score of a leaf is found by it, too. n rows, K outputs.

    Every method takes the rows that the scores are for; their own weights play no part.
    """

    link: ClassVar[str] = "identity"
    criteria: ClassVar[tuple[str, ...]] = ("squared", "model")  # of one tree's tests; "model" is of ``LossFit``
    leaf_criterion: ClassVar[str | None] = None  # of one tree's leaves, where it is not that of the tests

    @property
    @abstractmethod
    def name(self) -> str:
        """What a record and a certificate call it."""

    @abstractmethod
    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        """Return loss ``[n]``, gradient and curvature ``[n, K]`` of each row."""

    @abstractmethod
    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Return the raw score of the best constant, ``[K]``.

        Args:
            rows: n rows.
            weight: ``[n]``, 0 for rows that do not count.
            prior: their mean target ``[K]``, or smoothed shares of the classes.
        """

    @property
    def polished(self) -> tuple[str, ...]:
        """Which of ``criteria`` a tree is polished for."""
        return self.criteria[-1:]

    @property
    def in_kernels(self) -> bool:
        """Do the kernels know it? Else one tree is fitted by ``LossFit``."""
        return "model" not in self.criteria

    def by_row(self, raw: np.ndarray, rows: Rows) -> np.ndarray:
        """Return the loss of each row ``[n]``, summed over outputs."""
        return self.parts(raw, rows)[0]

    def quadratic(self, raw: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and curvature ``[n, K]`` of a parabola that is near the loss around ``raw``."""
        return self.parts(raw, rows)[1:]

    def leaf_scores(
        self, rows: Rows, weight: np.ndarray, leaf: np.ndarray, count: int, start: np.ndarray, strength: float
    ) -> np.ndarray:
        """Return the best raw score of each leaf ``[count, K]``, by Newton steps that never raise the loss.

        Args:
            rows: n rows.
            weight: ``[n]``.
            leaf: ``[n]`` in 0 .. count - 1.
            count: leaves.
            start: score of an empty leaf ``[K]``.
            strength: pseudo-rows at the start, each with the curvature 1.
        """
        scores = np.tile(start, (count, 1))

        def by_leaf(amounts: np.ndarray) -> np.ndarray:
            return np.column_stack([np.bincount(leaf, weight * a, count) for a in amounts.T])

        def costs(at: np.ndarray) -> np.ndarray:
            return by_leaf(self.by_row(at[leaf], rows)[:, None])[:, 0] + strength / 2 * ((at - start) ** 2).sum(1)

        before = costs(scores)
        for _ in range(_NEWTON_STEPS):
            _, slope, bend = self.parts(scores[leaf], rows)
            bends = by_leaf(bend) + strength
            step = -(by_leaf(slope) + strength * (scores - start)) / np.where(bends > 0, bends, 1.0)
            for _ in range(_HALVINGS):
                after = costs(scores + step)
                worse = after > before
                if not worse.any():
                    break
                step[worse] /= 2
            step[after > before] = 0.0
            scores += step
            fallen, before = before - np.minimum(after, before), np.minimum(after, before)
            if fallen.sum() <= 1e-7 * np.abs(before).sum():
                break
        return scores

    def smooth_parts(self, raw: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return loss and gradient without kinks, for optimisers that want none."""
        return self.parts(raw, rows)[:2]

    def answers(self, raw: np.ndarray) -> np.ndarray:
        """Return what the metrics judge: probabilities ``[n, classes]``, or values ``[n, K]``."""
        return raw

    def raw_of(self, answers: np.ndarray) -> np.ndarray:
        """Return raw scores with these answers."""
        return answers

    def of_answers(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        """Return the loss of each row ``[n]``, the mean over outputs."""
        return self.parts(self.raw_of(answers), rows)[0] / rows.targets.shape[1]

    def leaf_steps(
        self, raw: np.ndarray, rows: Rows, weight: np.ndarray, leaf: np.ndarray, proposed: np.ndarray
    ) -> np.ndarray:
        """Return what each leaf of a new tree adds to ``raw``, ``[L, K]``, given the Newton steps.

        Args:
            raw: scores before the tree.
            rows: n rows.
            weight: ``[n]``.
            leaf: int32 ``[n]``, -1 for rows that do not count.
            proposed: Newton steps ``[L, K]``.
        """
        return proposed

    def scale(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return targets ``[n, K]`` as they are fitted, and mean and deviation ``[K]`` that undo this in answers."""
        from softwood.trees._rows import scaled

        return scaled(values, weight)

    def prepared(self, rows: Rows, mean: np.ndarray | None = None, deviation: np.ndarray | None = None) -> Loss:
        """Return the loss as these rows, whose values were scaled by ``mean`` and ``deviation``, want it."""
        return self

    def certified(self) -> str | Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return what ``lifecycle.certify`` calls it."""
        return self.name


class LogLoss(Loss):
    """Log-loss of the sigmoid (K = 1) or the softmax of logits."""

    criteria: ClassVar[tuple[str, ...]] = ("gini", "entropy")

    @property
    def name(self) -> str:
        return "log_loss"

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        if raw.shape[1] == 1:
            margin = raw[:, 0]
            share = 0.5 * (1.0 + np.tanh(0.5 * margin))
            loss = np.logaddexp(0.0, margin) - rows.labels * margin
            return loss, (share - rows.labels)[:, None], (share * (1 - share))[:, None]
        shifted = raw - raw.max(1, keepdims=True)
        exponential = np.exp(shifted)
        total = exponential.sum(1, keepdims=True)
        shares = exponential / total
        loss = np.log(total[:, 0]) - shifted[np.arange(len(raw)), rows.labels]
        return loss, shares - rows.targets, shares * (1 - shares)

    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return np.log(prior[1:] / prior[:1]) if len(prior) == 2 else np.log(prior)

    def answers(self, raw: np.ndarray) -> np.ndarray:
        if raw.shape[1] == 1:
            share = 0.5 * (1.0 + np.tanh(0.5 * raw[:, 0]))
            return np.column_stack([1.0 - share, share])
        shifted = np.exp(raw - raw.max(1, keepdims=True))
        shares: np.ndarray = shifted / shifted.sum(1, keepdims=True)
        return shares

    def raw_of(self, answers: np.ndarray) -> np.ndarray:
        logs = np.log(np.maximum(answers, _LEAST_SHARE))
        return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs

    def of_answers(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        return METRICS["log_loss"](answers, rows)


class TaughtLogLoss(LogLoss):
    r"""Cross-entropy of shares :math:`q` that a teacher gave: :math:`-\sum_k q_k \log p_k`.

    The tests of one tree are found by the squared error of the teacher's centred logits (``rows.taught``), or by the
    cross-entropy itself; its leaves answer their mean share.
    """

    criteria = ("gini", "logits", "shares")
    leaf_criterion = "shares"

    @property
    def polished(self) -> tuple[str, ...]:
        return ("logits", "shares")

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        answer = self.answers(raw)
        loss = -xlogy(rows.targets, np.maximum(answer, _LEAST_SHARE)).sum(1)
        kept = slice(1, None) if raw.shape[1] == 1 else slice(None)
        return loss, (answer - rows.targets)[:, kept], (answer * (1 - answer))[:, kept]


class Squared(Loss):
    """Half the squared error, summed over outputs."""

    criteria = ("squared",)

    @property
    def name(self) -> str:
        return "squared"

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        difference = raw - rows.targets
        return (difference**2).sum(1) / 2, difference, np.ones_like(raw)

    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return prior

    def of_answers(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        return METRICS["squared"](answers, rows)


@dataclass(frozen=True, eq=False)
class Quantile(Loss):
    r"""The pinball loss :math:`\max(q r, (q - 1) r)` of the residual r, summed over outputs; q = 1/2: absolute error.

    Steps follow its gradient at curvature 1; leaves are then set to the exact quantile of their residuals.

    Args:
        level: q, in (0, 1).
        factor: 2 for the absolute error itself, which is twice the pinball loss of q = 1/2.
    """

    level: float = 0.5
    factor: float = 1.0

    @property
    def name(self) -> str:
        return "absolute" if self.factor == 2 else f"quantile:{self.level:g}"

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        residual = rows.targets - raw
        loss = np.maximum(self.level * residual, (self.level - 1) * residual).sum(1)
        slope = np.where(residual > 0, -self.level, np.where(residual < 0, 1 - self.level, 0.0))
        return self.factor * loss, self.factor * slope, np.ones_like(raw)

    def smooth_parts(self, raw: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        residual = rows.targets - raw
        size = np.abs(residual)
        rounded = np.where(size < _WIDTH, residual**2 / (2 * _WIDTH) + _WIDTH / 2, size)
        loss = ((self.level - 0.5) * residual + rounded / 2).sum(1)
        slope = 0.5 - self.level - np.clip(residual / _WIDTH, -1, 1) / 2
        return self.factor * loss, self.factor * slope

    def quadratic(self, raw: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return the parabola that touches the loss at the residual and lies above it (Hunter and Lange, 2000)."""
        size = np.abs(rows.targets - raw) + _WIDTH
        return self.parts(raw, rows)[1], self.factor / (2 * size)

    def leaf_scores(
        self, rows: Rows, weight: np.ndarray, leaf: np.ndarray, count: int, start: np.ndarray, strength: float
    ) -> np.ndarray:
        values = np.concatenate([rows.targets, np.tile(start, (count, 1))])  # one pseudo-row a leaf, at the start
        heavy = np.concatenate([weight, np.full(count, max(strength, 1e-12))])
        return self._quantiles(values, heavy, np.concatenate([leaf, np.arange(count)]).astype(np.int32), count)

    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return self._quantiles(rows.targets, weight, np.zeros(rows.n, np.int32), 1)[0]

    def leaf_steps(
        self, raw: np.ndarray, rows: Rows, weight: np.ndarray, leaf: np.ndarray, proposed: np.ndarray
    ) -> np.ndarray:
        return self._quantiles(rows.targets - raw, weight, leaf, len(proposed))

    def _quantiles(self, values: np.ndarray, weight: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
        columns = [group_quantiles(np.ascontiguousarray(v), weight, group, count, self.level) for v in values.T]
        return np.column_stack(columns)

    def scale(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scale by the middle half of the values, which far outliers do not move."""
        scaled, mean, deviation = super().scale(values, weight)
        group = np.zeros(len(values), np.int32)
        low, middle, high = (Quantile(level)._quantiles(scaled, weight, group, 1)[0] for level in (0.25, 0.5, 0.75))
        spread = np.where(high - low > 0, (high - low) / 1.35, 1.0)
        return (scaled - middle) / spread, mean + deviation * middle, deviation * spread


class Poisson(Loss):
    r"""Half the Poisson deviance of :math:`\mu = e^{F}`, summed over outputs: :math:`\mu - y F` and a constant."""

    link = "exp"
    criteria = ("squared", "poisson")

    @property
    def name(self) -> str:
        return "poisson"

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        y, raw = rows.targets, np.clip(raw, -_LARGEST_LOG, _LARGEST_LOG)
        mean = np.exp(raw)
        return (mean - y * raw + xlogy(y, y) - y).sum(1), mean - y, mean

    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(prior, 0.5 / max(weight.sum(), 1.0)))  # no event at all: half a one

    def answers(self, raw: np.ndarray) -> np.ndarray:
        return np.exp(np.clip(raw, -_LARGEST_LOG, _LARGEST_LOG))

    def raw_of(self, answers: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(answers, np.exp(-_LARGEST_LOG)))

    def of_answers(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        return 2 * super().of_answers(answers, rows)

    def leaf_steps(
        self, raw: np.ndarray, rows: Rows, weight: np.ndarray, leaf: np.ndarray, proposed: np.ndarray
    ) -> np.ndarray:
        """Return the logarithm of events over expected events: a Newton step overshoots where there are many."""
        inside = leaf >= 0
        steps = np.empty_like(proposed)
        for k in range(steps.shape[1]):
            seen, expected = (
                np.bincount(leaf[inside], (weight * amount)[inside], len(steps)) + _PSEUDO
                for amount in (rows.targets[:, k], self.answers(raw[:, k]))
            )
            steps[:, k] = np.log(seen / expected)
        return steps

    def scale(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Divide by the mean where it is above 1; counts of rare events stay counts.

        Raises:
            InputError: a value is negative, or all are zero.
        """
        super().scale(values, weight)  # refuses what is too large
        if values.min() < 0:
            raise InputError(
                "a Poisson target is negative", got=f"{values.min():g}", allowed="values >= 0",
                fix="pass another loss, such as loss='squared'",
            )  # fmt: skip
        mean = weight @ values / weight.sum()
        if (mean <= 0).any():
            raise InputError(
                "a Poisson target is zero on all rows", got="no event", allowed="some values > 0",
                fix="there is nothing to learn; look at the target column",
            )  # fmt: skip
        deviation = np.maximum(mean, 1.0)
        return values / deviation, np.zeros_like(deviation), deviation


METRICS: dict[str, Callable[[np.ndarray, Rows], np.ndarray]] = {
    "accuracy": lambda answer, rows: (answer.argmax(1) != rows.labels).astype(float),
    "log_loss": lambda answer, rows: _log_losses(answer, rows),
    "squared": lambda answer, rows: ((answer - rows.targets) ** 2).mean(1),
    "absolute": lambda answer, rows: np.abs(answer - rows.targets).mean(1),
}
"""Loss of each row, ``[n]``, from answers ``[n, K]``; lower is better."""


def _log_losses(answer: np.ndarray, rows: Rows) -> np.ndarray:
    if rows.is_taught:
        losses: np.ndarray = -xlogy(rows.targets, np.maximum(answer, _LEAST_SHARE)).sum(1)
        return losses
    return -np.log(np.maximum(answer[np.arange(rows.n), rows.labels], _LEAST_SHARE))


def judge(metric: str, answers: np.ndarray, rows: Rows) -> np.ndarray:
    """Return the loss of each row, ``[n]``, by a key of ``METRICS``, or by the rows' own loss if that is its name.

    Args:
        metric: which.
        answers: probabilities, or values, ``[n, K]``.
        rows: n rows.
    """
    by_row = METRICS.get(metric, rows.loss.of_answers)
    return by_row(answers, rows)
