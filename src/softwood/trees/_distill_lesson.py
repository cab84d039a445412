"""What a student is taught: a teacher's answers mixed with labels, and further rows that the teacher answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from softwood.artifacts import encode_table
from softwood.core import InputError
from softwood.trees._dense_tree import grown
from softwood.trees._distill_reading import Reading, plain_answers
from softwood.trees._distill_teacher import Teacher, of_estimator
from softwood.trees._folds import fold_of_rows, folds_that_fit, make_groups
from softwood.trees._forest import BoostSetting, boost
from softwood.trees._loss import TaughtLogLoss
from softwood.trees._rows import Group, Rows
from softwood.trees._teacher import crossed

MIXES = (1.0, 0.75, 0.5, 0.25, 0.0)
_FOLDS = 5
_MOST_MIXED = 10_000  # rows on which the mix is chosen
_LEAST_LEAF = 5.0

Taught = tuple[np.ndarray, np.ndarray]
"""Shares and centred logits ``[n, K]`` of classes; or values ``[n, K]`` twice."""


@dataclass(eq=False)
class Lesson:
    """One distillation. n rows, K classes or values.

    Args:
        teacher: who answers.
        reading: how its answers are read.
        table: what it is asked about, n rows.
        raw: its answers to them ``[n]`` or ``[n, K]``; None where it is still to be fitted.
        labelled: is there a target beside the teacher?
        mix: share of the teacher in the targets, or None to choose it out of fold.
        made: rows to make for each real one.
        extra: further rows without a target, or None.
        budget: of a forest; None for one tree.
        depth: of the trees.
        accuracy: is the mix chosen by accuracy, and not by the loss?
        seed: of folds and made rows.
        record: JSON content, filled in while the lesson is given.
        classes: the student's labels, once they are known.
        aside: rows set aside, bool ``[n]``, once they are known.
    """

    teacher: Teacher
    reading: Reading
    table: Any
    raw: np.ndarray | None
    labelled: bool
    mix: float | None
    made: float
    extra: Any
    budget: int | None
    depth: int
    accuracy: bool
    seed: int
    record: dict[str, Any] = field(default_factory=dict)
    classes: tuple[Any, ...] | None = None
    aside: np.ndarray | None = None

    def rows(self, kept: Rows, keep: np.ndarray, classes: Sequence[Any] | None) -> Rows:
        """Return the rows to learn from, with the teacher's answers as targets.

        Args:
            kept: those that are not set aside, with the target.
            keep: which of the n rows they are, bool ``[n]``.
            classes: the student's labels, None for values.
        """
        self.aside, self.classes = ~keep, None if classes is None else tuple(classes)
        taught = self._cross_fitted(kept, keep) if self.raw is None else self.answers(self.raw[keep])
        if self.classes is None:
            taught = self._in_units(kept, taught)
        mix = self._chosen(kept, taught) if self.mix is None else self.mix
        self.record.update(mix=mix, teacher=self.teacher.name, answers=self.reading.detected)
        found = self._mixed(kept, taught, mix)
        return self._with_more(found, kept, keep)

    def answers(self, raw: np.ndarray) -> Taught:
        """Return a teacher's answers in the order of the student's classes."""
        if self.classes is None:
            wide = raw.reshape(len(raw), -1)
            return wide, wide
        place = [(self.reading.classes or ()).index(label) for label in self.classes]
        shares, logits = self.reading.shares(raw)[:, place], self.reading.logits(raw)[:, place]
        total = shares.sum(1, keepdims=True)
        shares = np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1.0 / len(place))
        return shares, logits - logits.mean(1, keepdims=True)

    def asked(self, table: Any) -> Taught:
        """Return what the teacher answers to a table."""
        if self.teacher.ask is None:
            raise InputError(
                "this teacher answers for the table's own rows alone", got=self.teacher.name,
                allowed="a teacher that can be asked: a model, a function, an ONNX file",
                fix="leave jitter and extra out",
            )  # fmt: skip
        return self.answers(plain_answers(self.teacher.ask(table), len(table), self.teacher.name)[0])

    def of_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Return the teacher's answers to some of the n rows: probabilities ``[m, K]``, or values."""
        found = self.asked(_take(self.table, chosen)) if self.raw is None else self.answers(self.raw[chosen])
        return found[0] if self.classes is not None or found[0].shape[1] > 1 else found[0][:, 0]

    def _cross_fitted(self, kept: Rows, keep: np.ndarray) -> Taught:
        """Return answers of copies of the teacher that have not seen the rows; then fit it to all of them."""
        table, target = _take(self.table, keep), self._target(kept)
        fold = fold_of_rows(kept, min(_FOLDS, kept.n), np.random.default_rng(self.seed))
        parts: list[np.ndarray] = []
        for index in range(fold.max() + 1):
            inside = fold == index
            copy = clone(self.teacher.unfitted).fit(_take(table, ~inside), target[~inside])
            parts.append(_answers_of(copy, _take(table, inside), self.reading))
        order = np.argsort(np.concatenate([np.flatnonzero(fold == index) for index in range(fold.max() + 1)]))
        full = clone(self.teacher.unfitted).fit(table, target)
        labels = of_estimator(full, "").labels
        self.teacher = Teacher(self.teacher.name, lambda asked: _answers_of(full, asked, self.reading), labels=labels)
        return self.answers(np.concatenate(parts)[order])

    def _target(self, kept: Rows) -> np.ndarray:
        if self.classes is not None:
            return np.asarray(self.classes)[kept.labels]
        return kept.given[:, 0] if kept.given.shape[1] == 1 else kept.given

    def _in_units(self, kept: Rows, taught: Taught) -> Taught:
        """Return values on the scale that the learner has given the targets, which is an affine one."""
        spread = kept.targets.std(0)
        deviation = np.where(spread > 0, kept.given.std(0) / np.where(spread > 0, spread, 1.0), 1.0)
        scaled = (taught[0] - (kept.given.mean(0) - deviation * kept.targets.mean(0))) / deviation
        return scaled, scaled

    def _mixed(self, kept: Rows, taught: Taught, mix: float) -> Rows:
        """Return rows whose targets are ``mix`` parts teacher. Labels judge them where they have a part."""
        if self.classes is None:
            return replace(kept, targets=mix * taught[0] + (1 - mix) * kept.targets)
        shares, logits = taught
        labels = kept.labels
        if mix < 1:
            indicators = kept.targets
            centred = indicators - 1 / indicators.shape[1]
            size = np.sqrt((logits**2).mean() / (centred**2).mean())  # one unit for both
            shares = mix * shares + (1 - mix) * indicators
            logits = mix * logits + (1 - mix) * size * centred
        elif self.mix is not None or not self.labelled:
            labels = shares.argmax(1).astype(np.int32)
        return replace(kept, labels=labels, targets=shares, taught=logits, asked=TaughtLogLoss())

    def _chosen(self, kept: Rows, taught: Taught) -> float:
        """Return the mix whose greedy trees, or booster, answer best out of fold, judged by the target alone."""
        folds, _ = folds_that_fit(kept, _FOLDS, 1)
        if kept.n < 10 or folds < 2:
            return 1.0
        generator = np.random.default_rng(self.seed)
        few = np.sort(generator.choice(kept.n, min(kept.n, _MOST_MIXED), replace=False))
        part, taught = kept.take(np.isin(np.arange(kept.n), few)), (taught[0][few], taught[1][few])
        losses = {}
        for mix in MIXES:
            groups = make_groups(self._mixed(part, taught, mix), folds, 1, np.random.default_rng(self.seed))[1:]
            total = np.zeros(part.n)
            for group in groups:
                answer = self._student(group)
                total[group.judged] = self._judged(answer, part)[group.judged]
            losses[mix] = float(np.average(total, weights=part.weight))
        self.record["mixes"] = {str(mix): loss for mix, loss in losses.items()}
        return min(MIXES, key=losses.__getitem__)

    def _student(self, group: Group) -> np.ndarray:
        """Return the answers of a quick student of the group to all rows, ``[n, K]``."""
        if self.budget is not None:
            forest = boost(group, BoostSetting(8, 0.3, _LEAST_LEAF, max_depth=self.depth), self.budget)
            return group.rows.loss.answers(forest.raw(group.codes))
        criterion = "squared" if self.classes is None else "logits"
        tree = grown(group.problem(criterion, _LEAST_LEAF, 0.0), self.depth)
        values = group.values(tree, criterion, 0.0 if self.classes is None else 1.0)
        return np.asarray(values[tree.leaf_of(group.codes)])

    def _judged(self, answer: np.ndarray, part: Rows) -> np.ndarray:
        if self.classes is None:
            return np.asarray(((answer - part.targets) ** 2).mean(1))
        if self.accuracy:
            return np.asarray(answer.argmax(1) != part.labels, float)
        return -np.log(np.maximum(answer[np.arange(part.n), part.labels], 1e-15))

    def _with_more(self, found: Rows, kept: Rows, keep: np.ndarray) -> Rows:
        """Add made rows and extra rows: they are learned from, and judge nothing."""
        count = round(self.made * kept.n)
        self.record.update(made_rows=count, extra_rows=0 if self.extra is None else len(self.extra))
        own = np.arange(kept.n)
        parents = [np.column_stack([own, own])]
        tables = []
        if count:
            group, random = Group(kept, np.ones(kept.n, bool)), np.random.default_rng(self.seed)
            if group.codec.n_features:
                first, second, side = crossed(group.codec, group.codes, kept.weight, count, random)
                names = [column.name for column in kept.columns]
                tables.append(_cross(_take(self.table, keep), first, second, side, names))
                parents.append(np.column_stack([first, second]))
        if self.extra is not None:
            tables.append(self.extra)
            parents.append(np.full((len(self.extra), 2), -1))
        if not tables:
            return found
        answers = [self.asked(table) for table in tables]
        if self.classes is None:
            answers = [self._in_units(kept, part) for part in answers]
        shares, logits = (np.concatenate([part[k] for part in answers]) for k in (0, 1))
        origin = np.maximum(np.concatenate(parents)[:, 0], 0)
        more = len(shares)

        def grow(part: np.ndarray | None, added: Callable[[], np.ndarray]) -> Any:
            return part if part is None or not len(part) else np.concatenate([part, added()])

        return replace(
            found,
            x=np.concatenate([found.x, *(encode_table(kept.columns, table) for table in tables)]),
            labels=grow(found.labels, lambda: shares.argmax(1).astype(np.int32)),
            targets=np.concatenate([found.targets, shares]),
            taught=grow(found.taught, lambda: logits),
            given=grow(found.given, lambda: np.zeros((more, found.given.shape[1]))),
            weight=np.concatenate([found.weight, np.ones(more)]),
            together=grow(found.together, lambda: found.together[origin[kept.n :]]),  # type: ignore[index]
            time=grow(found.time, lambda: found.time[origin[kept.n :]]),  # type: ignore[index]
            parents=np.concatenate(parents),
        )


def _answers_of(model: Any, table: Any, reading: Reading) -> np.ndarray:
    """Return an estimator's answers; classes that a fold has not seen have the share 0."""
    teacher = of_estimator(model, type(model).__name__)
    raw = plain_answers(teacher.ask(table), len(table), teacher.name)[0]  # type: ignore[misc]
    if reading.form != "probabilities":
        return raw
    whole = np.zeros((len(raw), len(reading.classes or ())))
    whole[:, [(reading.classes or ()).index(label) for label in teacher.labels or ()]] = raw
    return whole


def _take(table: Any, chosen: np.ndarray) -> Any:
    return table[chosen].reset_index(drop=True) if isinstance(table, pd.DataFrame) else np.asarray(table)[chosen]


def _cross(table: Any, first: np.ndarray, second: np.ndarray, side: np.ndarray, names: Sequence[str]) -> Any:
    """Return rows that take each column from one of two; a column that the student does not read from the first."""
    if not isinstance(table, pd.DataFrame):
        table = np.asarray(table)
        whole = np.ones((table.shape[1], len(first)), bool)
        whole[: len(side)] = side
        return np.where(whole.T, table[first], table[second])
    parts = {}
    for name in table.columns:
        places = [k for k, read in enumerate(names[: len(side)]) if read == name or read.startswith(f"{name}.")]
        values = table[name]
        row = np.where(side[places[0]], first, second) if places else first
        parts[name] = values.iloc[row].reset_index(drop=True)
    return pd.DataFrame(parts)
