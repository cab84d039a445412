"""What is tried beyond the booster: a model that was brought, and fine-tuning of whatever leads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softwood.trees._brought import Brought, group_like, take_apart
from softwood.trees._cut import cut_to, newton_leaves
from softwood.trees._forest import Forest, first_trees, n_outputs, refit_leaves
from softwood.trees._rows import Group
from softwood.trees._select import judged_weight, paired_difference
from softwood.trees._threads import each
from softwood.trees._tune import Tuned, TuneSetting, tune_forests

_RATES = (0.1, 0.3, 1.0)  # of the Newton steps with which a brought model's leaves are fitted
_REFITS = (None, 3.0, 30.0, 300.0)  # as in the search for a booster
_TUNINGS = (
    TuneSetting(100.0, steps=200, temperature=0.03, threshold_rate=0.002, leaf_rate=0.002),
    TuneSetting(300.0, steps=200, temperature=0.03, threshold_rate=0.003, leaf_rate=0.002),
)

Judge = Callable[[Forest, Group], np.ndarray]
"""Gives the loss of each row, ``[n]``, by the metric of selection."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A way to fit a forest, with what it achieved on rows that it had not seen.

    Args:
        search: its name in the record.
        groups: group 0 of all rows, then one for each fold, with codecs as ``fit`` wants them.
        fit: from a group to a forest within the budget.
        losses: by row, out of fold; empty where nothing could be compared.
        about: JSON content.
    """

    search: str
    groups: Sequence[Group]
    fit: Callable[[Group], Forest]
    losses: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Weighted mean loss over the rows that a fold is judged on; NaN where nothing could be compared."""
        return float(np.average(self.losses, weights=judged_weight(self.groups))) if len(self.losses) else float("nan")


def against(rival: np.ndarray, leader: Contender) -> tuple[bool, dict[str, Any]]:
    """Say whether out-of-fold losses are lower than the leader's by more than one standard error, and by how much.

    Args:
        rival: by row ``[n]``.
        leader: what they have to beat.
    """
    together = leader.groups[0].rows.together
    difference, error = paired_difference(rival - leader.losses, judged_weight(leader.groups), together)
    return difference < -error, {"difference": difference, "standard_error": error}


def out_of_fold(forests: Sequence[Forest], groups: Sequence[Group], judge: Judge) -> np.ndarray:
    """Return the loss of each row by the forest whose fold it is in, ``[n]``.

    Args:
        forests: one for each fold.
        groups: of the folds.
        judge: gives losses.
    """
    losses = np.zeros(groups[0].rows.n)
    for forest, group in zip(forests, groups, strict=True):
        losses[group.judged] = judge(forest, group)[group.judged]
    return losses


def brought_contender(
    brought: Brought, groups: Sequence[Group], budget: int, judge: Judge, jobs: int, told: Callable[[float], None]
) -> Contender:
    """Return the best way to use the tests of a model that was brought.

    Only its tests are taken: on each fold the trees are cut to the budget and all leaves are fitted on the fold's
    rows, first tree by tree, then jointly. A model over the budget is cut everywhere, or to its first trees.

    Args:
        brought: the model, and the groups' rows as it reads them.
        groups: group 0 of all rows, then one for each fold.
        budget: leaf values.
        judge: gives losses.
        jobs: threads.
        told: is given the share that is done.
    """
    rows = replace(groups[0].rows, columns=brought.model.columns, x=brought.x)
    codec, start = take_apart(brought, rows.weight, n_outputs(rows))
    codes = codec.transform(brought.x)
    own = [group_like(group, rows, codec, codes) for group in groups]
    shapes = ("whole",) if start.size <= budget else ("pruned", "first trees")

    def grown(group: Group, rate: float, shape: str) -> Forest:
        kept = first_trees(start, budget) if shape == "first trees" else start
        return newton_leaves(cut_to(kept, group, rate, budget), group, rate)[0]

    def work(job: tuple[Group, float, str]) -> list[np.ndarray]:
        forest = grown(*job)
        forests = [forest if l2 is None else refit_leaves(forest, job[0], l2) for l2 in _REFITS]
        return [judge(candidate, job[0]) for candidate in forests]

    ways = [(rate, shape) for rate in _RATES for shape in shapes]
    results = each([(group, *way) for way in ways for group in own[1:]], work, jobs, told)
    weight, folds = judged_weight(groups), len(own) - 1
    trials: list[tuple[float, np.ndarray, float, str, float | None]] = []
    for place, (rate, shape) in enumerate(ways):
        for option, refit in enumerate(_REFITS):
            losses = np.zeros(rows.n)
            for group, part in zip(own[1:], results[place * folds : (place + 1) * folds], strict=True):
                losses[group.judged] = part[option][group.judged]
            trials.append((float(np.average(losses, weights=weight)), losses, rate, shape, refit))
    mean, losses, rate, shape, refit = min(trials, key=lambda trial: trial[0])

    def fit(group: Group) -> Forest:
        forest = grown(group, rate, shape)
        return forest if refit is None else refit_leaves(forest, group, refit)

    about = {
        "source": brought.source, "notes": list(brought.notes), "trees": brought.model.n_trees,
        "leaf_values": brought.model.n_leaf_values, "shape": shape, "rate": rate, "refit": refit, "loss": mean,
        "leaves": "fitted again on each fold: only the tests are those that were brought",
    }  # fmt: skip
    return Contender("brought model", own, fit, losses, about)


def tuned_contender(
    leader: Contender, judge: Judge, *, jobs: int, seed: int, left: float, told: Callable[[Any], None]
) -> tuple[Tuned | None, dict[str, Any]]:
    """Tune the leader on all rows and all folds as one batch; return it if it is better out of fold, and the record.

    Args:
        leader: what is tuned, compared out of fold already.
        judge: gives losses.
        jobs: threads, for the fits that come before.
        seed: of the row order.
        left: seconds; when half of them are spent, no further setting is tried.
        told: reporter of training.
    """
    begun = time.monotonic()
    forests = each(leader.groups, leader.fit, jobs)
    if not all(forest.trees for forest in forests):
        return None, {"reason": "a forest without trees has nothing to tune", "trials": [], "ships": False}
    found: list[tuple[float, np.ndarray, Tuned, TuneSetting]] = []
    weight = judged_weight(leader.groups)
    for setting in _TUNINGS:
        if found and time.monotonic() - begun > left / 2:
            break
        limit = None if left == float("inf") else max(left / 2, 0.1)
        tuned = tune_forests(leader.groups, forests, setting, seed=seed, time_limit=limit, progress=told)
        losses = out_of_fold([one.forest for one in tuned[1:]], leader.groups[1:], judge)
        found.append((float(np.average(losses, weights=weight)), losses, tuned[0], setting))
    _, losses, best, setting = min(found, key=lambda trial: trial[0])
    wins, compared = against(losses, leader)
    record = {
        "trials": [{**vars(each_setting), "loss": loss} for loss, _, _, each_setting in found],
        **compared,
        "ships": wins,
        "reason": f"tuning {'is' if wins else 'is not'} better out of fold by more than one standard error",
        "seconds": time.monotonic() - begun,
    }
    return best if wins else None, record
