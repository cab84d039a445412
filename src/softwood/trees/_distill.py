"""``distill``: one tree, or a forest, that answers as a teacher does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from softwood.core import InputError, check_choice, check_number
from softwood.data import read_table
from softwood.lifecycle import measure_fidelity
from softwood.trees._distill_lesson import Lesson
from softwood.trees._distill_reading import Reading, plain_answers, read_answers
from softwood.trees._distill_teacher import Teacher, read_teacher
from softwood.trees._forest_learners import ForestClassifier, ForestRegressor
from softwood.trees._labels import plain_labels
from softwood.trees._learners import TreeClassifier, TreeRegressor

_MOST_MADE = 20.0  # rows for each real one
_FOREST_SIZE = 480  # leaf values

Student = TreeClassifier | TreeRegressor | ForestClassifier | ForestRegressor


def distill(
    teacher: Any,
    X: Any,
    y: Any = None,
    *,
    shape: str | None = None,
    max_depth: int | None = None,
    budget: int | None = None,
    mix: str | float = "auto",
    jitter: float = 0.0,
    extra: Any = None,
    task: str | None = None,
    cross_fit: bool | None = None,
    teacher_table: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    time: Any = None,
    **parameters: Any,
) -> Student:
    r"""Fit a tree, or with ``budget`` a forest, to what a teacher answers, and certify how faithful it is.

    Classes: tests are sought by the squared error of the teacher's centred logits :math:`z - \bar z` and by the
    cross-entropy of its shares; each leaf answers the mean share of its rows. With labels, targets are
    :math:`a z + (1 - a) s (e_y - 1/K)` and :math:`a q + (1 - a) e_y`, s being the ratio of the two sizes. Values:
    :math:`a t + (1 - a) y`. Everything else is as in the learners: candidates, selection out of fold, certificate.

    Args:
        teacher: a model with ``predict_proba`` or ``predict`` (one that is not fitted is cross-fitted to ``y``); a
            torch module or a function of the table; answers ``[n]`` or ``[n, K]`` for its rows; path of a table of
            them, or of an ONNX model; ``"MODULE:FUNCTION"``. Answers are probabilities, logits, labels or values.
        X: table of n rows, as in ``fit``.
        y: target ``[n]``, or None. Accuracy is measured against it where it is there.
        shape: ``"tree"`` or ``"forest"``; None for a forest where there is a budget, else a tree.
        max_depth: splits on the longest path; 4 for a tree, 6 for a forest.
        budget: leaf values; None for no limit (tree) or 480 (forest).
        mix: a, the teacher's share in the targets; ``"auto"`` chooses it out of fold by the target, and is 1 without
            one. What ships is selected by the target, but by the teacher's answers where a is given as 1.
        jitter: made rows for each real one: each takes its columns from two neighbours, and the teacher answers.
        extra: table of further rows without a target, which the teacher answers.
        task: ``"classification"`` or ``"regression"``, where the answers leave that open.
        cross_fit: fit copies of a scikit-learn teacher to all folds but one, and let each answer the fold that it has
            not seen; None does so for a teacher that is not fitted.
        teacher_table: what the teacher is asked about, where it reads other columns than ``X``; n rows.
        sample_weight: ``[n]``, >= 0.
        groups: as in ``fit``.
        time: as in ``fit``.
        parameters: of the learner: ``effort``, ``holdout``, ``random_state``, ``time_limit``, ...

    Returns:
        A fitted learner. ``certificate_.fidelity`` says how far it is from the teacher on rows that neither training
        nor selection has seen; ``record_["teacher"]`` who taught what.

    Raises:
        InputError: there is no such teacher, or its answers do not fit the rows or the target.
        MissingExtraError: an ONNX model without onnxruntime.

    Cost: that of the learner's fit, and one answer of the teacher for each row.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> forest = RandomForestClassifier(random_state=0).fit(X[::2], y[::2])
        >>> tree = distill(forest, X, max_depth=2, effort=0.1)
        >>> tree.certificate_.fidelity.agreement.value > 0.8
        True

    Source: Frosst and Hinton, "Distilling a neural network into a soft decision tree" (2017); Liu, Wang and Matwin,
    "Improving the interpretability of deep neural networks with knowledge distillation" (2018).
    """
    X, y = _table(X), None if y is None else _target(y)
    asked = X if teacher_table is None else _table(teacher_table)
    if len(asked) != len(X) or (y is not None and len(y) != len(X)):
        raise InputError(
            "table and target differ in length", got=f"{len(X)}, {len(asked)} and {len(X if y is None else y)} rows",
            allowed="the same rows", fix="pass the target, and the teacher's table, of the same rows",
        )  # fmt: skip
    found = read_teacher(teacher)
    if cross_fit and found.unfitted is None and hasattr(teacher, "get_params"):
        found = Teacher(f"{found.name}, cross-fitted", unfitted=teacher)
    raw, reading = _first_answers(found, asked, y, task)
    target = _target_of(raw, reading) if y is None else y
    if sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64)
        keep = weight != 0
        X, asked, target, sample_weight = X[keep], asked[keep], target[keep], weight[keep]
        raw = None if raw is None else raw[keep]
        groups, time = (None if part is None else np.asarray(part)[keep] for part in (groups, time))
    share = None if mix == "auto" else check_number("mix", mix, low=0, high=1)
    if y is None and share not in (None, 1):
        raise InputError(
            "there are no labels to mix with", got=f"mix={mix}", allowed="1", fix="pass y, or leave mix out"
        )
    shape = shape or ("tree" if budget is None else "forest")
    is_tree = check_choice("shape", shape, ["tree", "forest"]) == "tree"
    depth = max_depth if max_depth is not None else 4 if is_tree else 6
    width = _width(target, reading)
    if is_tree and budget is not None:
        leaves = int(check_number("budget", budget, low=width, integer=True)) // width
        parameters, budget = {**parameters, "max_leaf_nodes": leaves}, None
    elif not is_tree and budget is None:
        budget = _FOREST_SIZE
    learner = _learner(reading.classes is not None, budget, depth, parameters)
    learner._lesson = Lesson(
        found, reading, asked, raw, y is not None, 1.0 if y is None else share,
        check_number("jitter", jitter, low=0, high=_MOST_MADE), extra if extra is None else _table(extra), budget,
        depth, ((learner.metric or "accuracy") == "accuracy" and budget is None) or learner.metric == "accuracy",
        int(check_random_state(learner.random_state).randint(2**31 - 1)),
    )  # fmt: skip
    try:
        learner.fit(X, target, sample_weight, groups=groups, time=time)
        _certify(learner, X, y is not None)
    finally:
        learner._lesson = None
    return learner


def _width(target: np.ndarray, reading: Reading) -> int:
    """Return how many values a leaf holds."""
    if reading.classes is None:
        return 1 if target.ndim == 1 else int(target.shape[1])
    classes = len(np.unique(target))
    return classes if classes > 2 else 1


def _learner(classes: bool, budget: int | None, depth: int, parameters: dict[str, Any]) -> Student:
    if budget is None:
        return (TreeClassifier if classes else TreeRegressor)(depth, **parameters)
    return (ForestClassifier if classes else ForestRegressor)(budget, max_depth=depth, **parameters)


def _first_answers(
    teacher: Teacher, table: Any, y: np.ndarray | None, task: str | None
) -> tuple[np.ndarray | None, Reading]:
    """Ask the teacher once for each row, and say how its answers are read; one to be fitted has no answers yet."""
    if teacher.unfitted is not None:
        if y is None:
            raise InputError(
                "the teacher is not fitted", got=teacher.name, allowed="a fitted teacher, or y to fit it to",
                fix="fit it, or pass y",
            )  # fmt: skip
        if not is_classifier(teacher.unfitted):
            return None, Reading("values", None, "values of an estimator")
        form = "probabilities" if hasattr(teacher.unfitted, "predict_proba") else "labels"
        return None, Reading(form, tuple(np.unique(y).tolist()), f"{form} of an estimator")
    answers = teacher.given if teacher.ask is None else teacher.ask(table)
    raw, names = plain_answers(answers, len(table), teacher.name)
    return raw, read_answers(raw, names, teacher.labels, y, task)


def _target_of(raw: np.ndarray | None, reading: Reading) -> np.ndarray:
    """Return the teacher's own labels or values, which stand for a target that is not there."""
    if raw is None or reading.classes is None:
        return np.asarray(raw)
    return np.asarray(np.asarray(reading.classes)[reading.shares(raw).argmax(1)])


def _certify(learner: Student, X: Any, labelled: bool) -> None:
    """Add the fidelity to the certificate, and the teacher to the record."""
    lesson = learner._lesson
    measured = lesson.aside if lesson.aside.any() else ~lesson.aside
    rows = X[measured]
    shipped = learner.predict_proba(rows) if lesson.classes is not None else learner.predict(rows)
    fidelity = measure_fidelity(
        shipped, lesson.of_rows(measured), lesson.teacher.name, classes=lesson.classes is not None
    )
    certificate = learner.certificate_
    limits = [] if labelled else ["the truth: there were no labels, so loss and score are about the teacher's answers"]
    if lesson.extra is not None or lesson.made:
        limits.append("rows that were made, or came without a target: they were learned from, and measured nothing")
    learner.certificate_ = replace(
        certificate, fidelity=fidelity, ships=f"{certificate.ships}, distilled from {lesson.teacher.name}",
        not_covered=(*certificate.not_covered, *limits),
    )  # fmt: skip
    learner.record_["teacher"] = {**lesson.record, "labelled": labelled, "fidelity": fidelity.to_dict()}


def _table(table: Any) -> Any:
    """Return an array, or a pandas frame with rows numbered from 0."""
    if hasattr(table, "columns") or isinstance(table, dict):
        return read_table(table).frame.reset_index(drop=True)
    return np.asarray(table)


def _target(y: Any) -> np.ndarray:
    if isinstance(y, pd.DataFrame):
        return y.to_numpy()
    plain = np.asarray(plain_labels(y))
    return plain[:, 0] if plain.ndim == 2 and plain.shape[1] == 1 else plain
