"""The candidates for one tree: CART, kicks with node polish, and gradient restarts with node polish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from softwood.kernels import Problem, tree_cost
from softwood.lifecycle import HardenResult, TrainProgress
from softwood.trees._coded_tree import CodedTree, Hardening
from softwood.trees._dense_tree import DenseTree, grown, polished
from softwood.trees._gradient import BATCH, Batch, anneal_copies, hardened, make_batch, train_restarts
from softwood.trees._rows import Group, Rows, sampled
from softwood.trees._threads import each

SMOOTHING = 1.0  # pseudo-rows at the prior while a class tree is searched
_MOST_KICKED_ROWS = 20_000  # a kick is judged on a sample of so many rows
_LEAST = (1.0, 5.0, 20.0)  # rows in a leaf, for CART
_LEAST_POLISHED = (5.0, 30.0)  # and for trees that are optimised harder, and so over-fit more easily


@dataclass(frozen=True)
class Setting:
    """How a tree is searched.

    Args:
        search: ``"cart"``, ``"kicks"`` or ``"gradient"``.
        criterion: ``"gini"``, ``"entropy"``, ``"error"`` or ``"squared"``.
        min_leaf: least weight on each side of a split.
    """

    search: str
    criterion: str
    min_leaf: float


@dataclass(frozen=True)
class Effort:
    """How much is tried. ``scaled`` by the learner's ``effort``.

    Args:
        kicks: random kicks of each tree.
        restarts: soft trees trained side by side for each group.
        epochs: passes over the rows.
        most_steps: at most this many steps of Adam.
        survivors: restarts that are polished.
        annealing: at least so many steps; what they leave warm is cooled without training.
    """

    kicks: int = 40
    restarts: int = 12
    epochs: int = 60
    most_steps: int = 600
    survivors: int = 6
    annealing: int = 80

    def scaled(self, effort: float) -> Effort:
        """Return the same with every count multiplied, at least one each."""
        return Effort(*(max(1, round(effort * count)) for count in vars(self).values()))


@dataclass(eq=False)
class Candidate:
    """One tree for each group, group 0 being all rows.

    Args:
        setting: how they were found.
        trees: one for each group.
        soft: the annealed soft parent of each group's tree; empty where there is none.
        steps: the record of hardening group 0's, or None.
    """

    setting: Setting
    trees: list[DenseTree]
    soft: list[CodedTree] = field(default_factory=list)
    steps: HardenResult | None = field(default=None, repr=False)


def cart_candidates(groups: Sequence[Group], depth: int, least: float, jobs: int) -> list[Candidate]:
    """Return greedily grown trees for each criterion and each least number of rows in a leaf.

    Args:
        groups: G groups.
        depth: D.
        least: the user's ``min_samples_leaf``.
        jobs: threads.
    """
    settings = [Setting("cart", c, m) for c in groups[0].rows.loss.criteria for m in _at_least(_LEAST, least)]

    def fit(setting: Setting, group: Group) -> DenseTree:
        if setting.criterion == "model":
            return group.fit.grown(depth, setting.min_leaf)
        return grown(group.problem(setting.criterion, setting.min_leaf, 0.0), depth)

    return [Candidate(setting, _each(groups, jobs, _partial(fit, setting))) for setting in settings]


def kick_candidates(
    groups: Sequence[Group], settings: Sequence[Setting], depth: int, jobs: int, effort: Effort, seed: int
) -> list[Candidate]:
    """Return greedily grown trees that were polished and kicked.

    Args:
        groups: G groups.
        settings: what to polish for; see ``polished_settings``.
        depth: D.
        jobs: threads.
        effort: how much is tried.
        seed: of the kicks.
    """

    def fit(setting: Setting, group: Group) -> DenseTree:
        start = grown(group.problem(_smooth_criterion(group), setting.min_leaf, 0.0), depth)
        if setting.criterion == "model":
            starts = [start, group.fit.grown(depth, setting.min_leaf)]
            return group.fit.found(starts, setting.min_leaf, effort.kicks, seed)
        return _kicked([start], _problem(group, setting), effort, seed)

    return [Candidate(setting, _each(groups, jobs, _partial(fit, setting))) for setting in settings]


def gradient_candidates(
    groups: Sequence[Group],
    settings: Sequence[Setting],
    depth: int,
    jobs: int,
    effort: Effort,
    seed: int,
    *,
    time_limit: float | None = None,
    checkpoint: Path | None = None,
    told: Callable[[str], Callable[[TrainProgress], None]],
) -> list[Candidate]:
    """Return trees found by gradient: restarts, hardened, polished and kicked; soft copies of the best, annealed
    as their gap allows and hardened again.

    Args:
        groups: G groups.
        settings: what to polish for; see ``polished_settings``.
        depth: D.
        jobs: threads.
        effort: how much is tried.
        seed: of starts, row order and kicks.
        time_limit: seconds for the restarts, or None.
        checkpoint: directory under which training keeps its checkpoints, or None.
        told: gives the reporter of a stage by its name.
    """
    batch = make_batch(groups, np.random.default_rng(seed))
    steps = min(effort.epochs * -(-batch.x.shape[1] // BATCH), effort.most_steps)
    started = train_restarts(
        groups, batch, depth=depth, restarts=_restarts_that_fit(effort.restarts, depth), steps=steps, seed=seed,
        time_limit=time_limit, checkpoint=checkpoint and checkpoint / "restarts", progress=told("gradient restarts"),
    )  # fmt: skip
    starts = dict(zip(map(id, groups), started, strict=True))

    def fit(setting: Setting, group: Group) -> DenseTree:
        if setting.criterion == "model":
            return group.fit.found(starts[id(group)], setting.min_leaf, effort.kicks, seed)
        return _kicked(starts[id(group)], _problem(group, setting), effort, seed)

    trees = [_each(groups, jobs, _partial(fit, setting)) for setting in settings]
    if groups[0].rows.asked_other or groups[0].rows.direction.any():  # soft copies keep to neither
        return [Candidate(setting, found) for setting, found in zip(settings, trees, strict=True)]
    is_classes = groups[0].rows.is_classification
    means = [[Hardening(group.codec, _problem(group, setting), is_classes) for group in groups] for setting in settings]
    copies = anneal_copies(
        groups, trees, means, batch, steps=max(steps // 4, effort.annealing), seed=seed,
        checkpoint=checkpoint and checkpoint / "anneal", progress=told("annealing"),
    )  # fmt: skip
    return [
        _hardened_candidate(setting, found, soft, batch)
        for setting, found, soft in zip(settings, trees, copies, strict=True)
    ]


def _kicked(starts: Sequence[DenseTree], data: Problem, effort: Effort, seed: int) -> DenseTree:
    """Polish the best of the starts, and kick the best of those; on a sample of many rows, then on all."""
    generator = np.random.default_rng(seed)
    few = sampled(data, _MOST_KICKED_ROWS, generator)
    survivors = sorted(starts, key=_cost_on(few))[: effort.survivors]
    best = min((polished(tree, few) for tree in survivors), key=_cost_on(few))
    best = polished(best, few, generator, effort.kicks)
    return polished(best, data) if len(few.weight) < data.active.sum() else best


def _hardened_candidate(setting: Setting, trees: list[DenseTree], soft: list[CodedTree], batch: Batch) -> Candidate:
    """Harden each group's annealed copy; keep the better of before and after on the group's rows."""
    shipped, records = [], []
    for index, (tree, copy) in enumerate(zip(trees, soft, strict=True)):
        dense, record = hardened(copy, batch, index)
        cost = _cost_on(copy.hardening.problem)
        shipped.append(dense if cost(dense) <= cost(tree) else tree)
        records.append(record)
    return Candidate(setting, shipped, soft, records[0])


def polished_settings(search: str, rows: Rows, metric: str, least: float) -> list[Setting]:
    """Return what a search polishes for: the smooth loss, wrong labels too if they are the metric, and each least
    number of rows in a leaf.

    Args:
        search: ``"kicks"`` or ``"gradient"``.
        rows: what is fitted.
        metric: what selection compares.
        least: the user's ``min_samples_leaf``.
    """
    criteria = list(rows.loss.criteria[-1:])
    criteria += ["error"] if metric == "accuracy" else []
    return [Setting(search, criterion, m) for criterion in criteria for m in _at_least(_LEAST_POLISHED, least)]


def _problem(group: Group, setting: Setting) -> Any:
    return group.problem(setting.criterion, setting.min_leaf, 0.0 if setting.criterion == "squared" else SMOOTHING)


def _smooth_criterion(group: Group) -> str:
    criterion = group.rows.loss.criteria[-1]
    return criterion if criterion != "model" else "entropy" if group.rows.is_classification else "squared"


def _cost_on(data: Any) -> Callable[[DenseTree], float]:
    return lambda tree: float(tree_cost(data, tree.feature, tree.cut, tree.missing_left, tree.depth))


def _at_least(choices: Sequence[float], least: float) -> list[float]:
    return sorted({max(choice, least) for choice in choices})


def _restarts_that_fit(restarts: int, depth: int) -> int:
    """Deep trees have many nodes: fewer of them are trained side by side."""
    return max(2, min(restarts, restarts * 16 // 2**depth))


def _partial(function: Callable[[Setting, Group], DenseTree], setting: Setting) -> Callable[[Group], DenseTree]:
    return lambda group: function(setting, group)


def _each(groups: Sequence[Group], jobs: int, fit: Callable[[Group], DenseTree]) -> list[DenseTree]:
    """Fit every group."""
    return each(groups, fit, jobs)
