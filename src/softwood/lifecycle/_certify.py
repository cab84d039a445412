"""Measure what ships against what was trained, on unseen rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from softwood.artifacts import HardEnsemble
from softwood.core import InputError, capability, check_number
from softwood.layers import soft_modules
from softwood.lifecycle._answers import Answers, Rows, answers_of, call, weights_of
from softwood.lifecycle._certificate import Bound, Certificate, Paired
from softwood.lifecycle._harden import harden
from softwood.lifecycle._intervals import Estimate, clopper_pearson, paired_error, r2_score
from softwood.lifecycle._leaves import LeafObserved, observe_leaves

_STORED_FLIPS = 1000


@capability("verb", cost="one forward pass of each model, O(n) for everything else")
def certify(
    shipped: Callable[[Any], Any],
    soft: Callable[[Any], Any] | None,
    data: tuple[Any, Any],
    *,
    loss: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "log_loss",
    rounded: Callable[[Any], Any] | None = None,
    ships: str | None = None,
    rows: str | None = None,
    classes: Sequence[Any] | None = None,
    sample_weight: Any = None,
    level: float = 0.95,
    not_covered: Sequence[str] = (),
) -> Certificate:
    r"""Certify how far what ships and what was trained disagree, on rows that neither training nor selection saw.

    The models are callables or modules that map X to outputs. A module gets X as a tensor of the dtype of its
    parameters and runs in evaluation mode without gradients; its forward pass there has to be the relaxed one. If
    ``soft`` has ``in_band`` or ``bound`` (see ``SoftModule``), they are measured too.

    Losses: ``"log_loss"``: outputs are probabilities [n, K] (or [n]: P(class 1)), clipped at 1e-15.
    ``"squared"``, ``"absolute"``, ``"quantile:0.9"`` (the pinball loss of that level) and ``"poisson"`` (the
    deviance): outputs are [n] or [n, K]; the mean over K.

    Agreement means the same label (the first largest probability), or, without classes,
    :math:`|shipped - soft|` within 1 % of the target's standard deviation. It and the accuracy are shares of
    rows, each counted once, with Clopper-Pearson intervals; R² has a normal interval (delta method).

    Args:
        shipped: what ships.
        soft: the relaxed model, or None where what ships has no soft parent; the certificate then says so.
        data: ``(X, y)`` with n rows; X as the models take it, y labels or numbers.
        loss: a name from above, or ``(outputs, y)`` -> losses [n]; with ``classes``, that y is codes.
        rounded: the plain rounding. Without it, ``harden(soft).model`` where ``soft`` holds soft modules.
        ships: what ships, in words.
        rows: which rows these are, in words.
        classes: labels in the order of the outputs' columns. Without them: 0 ... K-1, or the K sorted labels of y.
        sample_weight: [n], >= 0; weighs losses and R².
        level: confidence of the intervals.
        not_covered: further limits, in words.

    Raises:
        InputError: lengths or shapes clash, an output is not finite or no probability, a label is unknown.

    Example:
        >>> y = np.array([0, 1, 1, 0])
        >>> certificate = certify(lambda x: x, None, (np.array([0.1, 0.9, 0.8, 0.6]), y))
        >>> certificate.score.value, certificate.n
        (0.75, 4)
    """
    level = check_number("level", level, low=1e-6, high=1 - 1e-9)
    table, target = data
    if rounded is None and isinstance(soft, nn.Module) and next(soft_modules(soft), None):
        rounded = harden(soft).model
    expected = Rows(target, loss, classes)
    answers = answers_of("shipped", shipped, table, expected)
    parent = None if soft is None else answers_of("soft", soft, table, expected, like=answers)
    plain = None if rounded is None else answers_of("rounded", rounded, table, expected, like=answers)
    weight = weights_of(sample_weight, len(answers.outputs))
    bound = None if parent is None or plain is None else _bound(soft, table, parent, plain, answers)
    score_name, score = _score(answers, weight, level)
    n = len(answers.outputs)
    limits = _limits(answers, parent, plain, bound, rows, weighted=bool((weight != weight[0]).any()))
    return Certificate(
        ships=ships or f"a {getattr(shipped, '__name__', type(shipped).__name__)}",
        rows=rows or "rows that the caller did not describe",
        n=n,
        loss=loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
        loss_shipped=float(weight @ answers.losses),
        loss_soft=None if parent is None else float(weight @ parent.losses),
        loss_rounded=None if plain is None else float(weight @ plain.losses),
        versus_soft=_paired(answers, parent, weight),
        versus_rounded=_paired(answers, plain, weight),
        **({} if parent is None else _agreement(answers, parent, level)),
        in_band=_in_band(soft, table, n),
        bound=bound,
        score_name=score_name,
        score=score,
        level=level,
        not_covered=(*limits, *not_covered),
        leaves=_leaves(shipped, table, answers, classes, sample_weight, level),
    )


def _paired(answers: Answers, other: Answers | None, weight: np.ndarray) -> Paired | None:
    if other is None:
        return None
    apart = answers.losses - other.losses
    return Paired(float(weight @ apart), paired_error(apart, weight))


def _leaves(
    shipped: Any, table: Any, answers: Answers, classes: Sequence[Any] | None, sample_weight: Any, level: float
) -> tuple[LeafObserved, ...]:
    """Return the leaf listing where one tree ships and its answers were judged class by class or value by value."""
    if not isinstance(shipped, HardEnsemble) or shipped.n_trees != 1:
        return ()
    if (shipped.classes is None) != (answers.codes is None) or list(shipped.classes or ()) != list(classes or ()):
        return ()
    truth = answers.target if answers.codes is None else answers.codes
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return observe_leaves(shipped, shipped.apply(table)[:, 0], truth, weight, level)


def _agreement(answers: Answers, parent: Answers, level: float) -> dict[str, Any]:
    difference = answers.difference(parent)
    if answers.labels is not None:
        differs, means = answers.labels != parent.labels, "the same label"
    else:
        tolerance = 0.01 * float(answers.target.std())
        differs = difference > tolerance
        means = f"a difference of at most {tolerance:.4g}, 1 % of the target's standard deviation"
    flips = np.flatnonzero(differs)
    worst = int(difference.argmax())
    return {
        "agreement": clopper_pearson(len(differs) - len(flips), len(differs), level),
        "agreement_means": means,
        "flips": tuple(int(row) for row in flips[:_STORED_FLIPS]),
        "n_flips": len(flips),
        "worst_row": worst,
        "worst_difference": float(difference[worst]),
    }


def _in_band(soft: Any, table: Any, n: int) -> float | None:
    if not callable(getattr(soft, "in_band", None)):
        return None
    return float(_per_row("in_band", call(soft, table, method="in_band"), n).mean())


def _bound(soft: Any, table: Any, parent: Answers, plain: Answers, answers: Answers) -> Bound | None:
    if not callable(getattr(soft, "bound", None)):
        return None
    bound = _per_row("bound", call(soft, table, method="bound"), len(parent.outputs))
    # both sides may be float32 sums of a few terms of the outputs' size
    slack = 1e-5 * max(1e-12, float(np.abs(parent.outputs).max()))
    return Bound(
        largest=float(bound.max()),
        mean=float(bound.mean()),
        share_zero=float((bound == 0).mean()),
        holds=bool((plain.difference(parent) <= bound + slack).all()),
        about_shipped=bool((plain.difference(answers) <= slack).all()),
        worst_row=int(bound.argmax()),
    )


def _per_row(name: str, values: np.ndarray, n: int) -> np.ndarray:
    if values.shape != (n,) or not np.isfinite(values).all():
        raise InputError(
            f"soft.{name} did not answer for each row",
            got=f"shape {values.shape}" + ("" if np.isfinite(values).all() else " with NaN or infinity"),
            allowed=f"shape ({n},), finite",
            fix=f"let {name} return one value a row",
        )
    return values


def _score(answers: Answers, weight: np.ndarray, level: float) -> tuple[str | None, Estimate | None]:
    if answers.labels is not None:
        return "accuracy", clopper_pearson(int((answers.labels == answers.codes).sum()), len(answers.labels), level)
    if answers.target.shape != answers.outputs.shape:
        return None, None
    score = r2_score(answers.target, answers.outputs, weight, level)
    return (None, None) if score is None else ("R2", score)


def _limits(
    answers: Answers, parent: Answers | None, plain: Answers | None, bound: Bound | None, rows: Any, weighted: bool
) -> list[str]:
    limits = ["rows from another distribution than these"]
    if not rows:
        limits.append("whether training or selection has seen these rows: the caller did not say which they are")
    if parent is None:
        limits.append("a comparison with what was trained: what ships has no soft parent")
    elif bound is None:
        limits.append("the worst case on other rows: no provable bound is known for this model")
    elif not bound.about_shipped:
        limits.append(
            "the worst case of what ships: it is more than the plain rounding (moved thresholds, re-fitted values), "
            "and the provable bound is about plain rounding"
        )
    if parent is not None and plain is None:
        limits.append("whether hardening was better than plain rounding: no plain rounding was given")
    if weighted:
        limits.append("shares of weight: agreement and accuracy count each row once")
    if len(answers.outputs) < 30:
        limits.append(f"fine differences: {len(answers.outputs)} rows are few, see the intervals")
    return limits
