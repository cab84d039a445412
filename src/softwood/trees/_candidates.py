"""The candidates for one tree: CART, kicks with node polish, and gradient restarts with node polish."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from softwood.kernels import Problem, tree_cost
from softwood.lifecycle import HardenResult, TrainProgress
from softwood.trees._coded_tree import CodedTree, Hardening
from softwood.trees._dense_tree import DenseTree, grown, polished
from softwood.trees._gradient import BATCH, Batch, anneal_copies, hardened, make_batch, train_restarts
from softwood.trees._rows import CRITERIA, Group, Rows, sampled
from softwood.trees._teacher import taught
from softwood.trees._threads import each

SMOOTHING = 1.0  # pseudo-rows at the prior while a class tree is searched
_MOST_KICKED_ROWS = 20_000  # a kick is judged on a sample of so many rows
_LEAST = (1.0, 5.0, 20.0)  # rows in a leaf, for CART
_LEAST_POLISHED = (5.0, 30.0)  # and for trees that are optimised harder, and so over-fit more easily
_TRAINING_BESIDE = 1.5  # seconds of restarts and annealing for one second of restarts

Told = Callable[[float], None]
"""Is given the share of a stage that is done."""


@dataclass(frozen=True)
class Setting:
    """How a tree is searched.

    Args:
        search: ``"cart"``, ``"kicks"``, ``"teacher"`` or ``"gradient"``.
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
        teachers: trees of the forest that answers made rows.
    """

    kicks: int = 40
    restarts: int = 12
    epochs: int = 60
    most_steps: int = 600
    survivors: int = 6
    annealing: int = 80
    teachers: int = 100

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


def cart_candidates(
    groups: Sequence[Group], depth: int, least: float, jobs: int, told: Told | None = None
) -> list[Candidate]:
    """Return greedily grown trees for each criterion and each least number of rows in a leaf.

    Args:
        groups: G groups.
        depth: D.
        least: the user's ``min_samples_leaf``.
        jobs: threads.
        told: is given the share that is done, or None.
    """
    settings = [Setting("cart", c, m) for c in groups[0].rows.loss.criteria for m in _at_least(_LEAST, least)]

    def fit(job: tuple[Setting, Group]) -> DenseTree:
        setting, group = job
        if setting.criterion == "model":
            return group.fit.grown(depth, setting.min_leaf)
        return grown(group.problem(setting.criterion, setting.min_leaf, 0.0), depth)

    return _all_settings(groups, settings, fit, jobs, told)


def kick_candidates(
    groups: Sequence[Group],
    settings: Sequence[Setting],
    depth: int,
    jobs: int,
    effort: Effort,
    seed: int,
    told: Told | None = None,
) -> list[Candidate]:
    """Return greedily grown trees that were polished and kicked.

    Args:
        groups: G groups.
        settings: what to polish for; see ``polished_settings``.
        depth: D.
        jobs: threads.
        effort: how much is tried.
        seed: of the kicks.
        told: is given the share that is done, or None.
    """

    def fit(job: tuple[Setting, Group]) -> DenseTree:
        setting, group = job
        start = grown(group.problem(_start_criterion(group, setting), setting.min_leaf, 0.0), depth)
        if setting.criterion == "model":
            starts = [start, group.fit.grown(depth, setting.min_leaf)]
            return group.fit.found(starts, setting.min_leaf, effort.kicks, seed)
        return _kicked([start], _problem(group, setting), effort, seed)

    return _all_settings(groups, settings, fit, jobs, told)


def taught_candidates(
    groups: Sequence[Group],
    settings: Sequence[Setting],
    depth: int,
    jobs: int,
    effort: Effort,
    seed: int,
    told: Told | None = None,
) -> list[Candidate]:
    """Return trees that were kicked and polished on the rows and on made rows that a forest has answered.

    Args:
        groups: G groups.
        settings: what to polish for; see ``polished_settings``.
        depth: D.
        jobs: threads.
        effort: how much is tried.
        seed: of the forests, the made rows and the kicks.
        told: is given the share that is done, or None.
    """
    half = replace(effort, kicks=-(-effort.kicks // 2))  # there are up to twice as many rows
    lessons = each(
        groups, lambda group: taught(group, _problem(group, settings[0]), effort.teachers, seed), jobs, told
    )  # fmt: skip
    starts = [grown(d._replace(kind=CRITERIA[_smooth_criterion(groups[0])], smoothing=0.0), depth) for d in lessons]
    learned = {id(group): pair for group, pair in zip(groups, zip(lessons, starts, strict=True), strict=True)}

    def fit(job: tuple[Setting, Group]) -> DenseTree:
        setting, group = job
        data, start = learned[id(group)]
        own = _problem(group, setting)
        return _kicked([start], data._replace(kind=own.kind, min_leaf=own.min_leaf), half, seed)

    return _all_settings(groups, settings, fit, jobs, told)


def gradient_candidates(
    groups: Sequence[Group],
    settings: Sequence[Setting],
    depth: int,
    jobs: int,
    effort: Effort,
    seed: int,
    told: Callable[[str], Told],
    checkpoint: Path | None = None,
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
        told: gives the reporter of a stage by its name.
        checkpoint: directory under which training keeps its checkpoints, or None.
    """
    batch = make_batch(groups, np.random.default_rng(seed))
    steps = steps_for(batch.x.shape[1], effort)
    started = train_restarts(
        groups, batch, depth=depth, restarts=_restarts_that_fit(effort.restarts, depth), steps=steps, seed=seed,
        checkpoint=checkpoint and checkpoint / "restarts", progress=_of_steps(told("gradient restarts")),
    )  # fmt: skip
    starts = dict(zip(map(id, groups), started, strict=True))

    def fit(job: tuple[Setting, Group]) -> DenseTree:
        setting, group = job
        if setting.criterion == "model":
            return group.fit.found(starts[id(group)], setting.min_leaf, effort.kicks, seed)
        return _kicked(starts[id(group)], _problem(group, setting), effort, seed)

    without_soft = _all_settings(groups, settings, fit, jobs, told("polishing what gradient found"))
    if groups[0].rows.asked_other or groups[0].rows.direction.any():  # soft copies keep to neither
        return without_soft
    trees = [candidate.trees for candidate in without_soft]
    is_classes = groups[0].rows.is_classification
    means = [[Hardening(group.codec, _problem(group, setting), is_classes) for group in groups] for setting in settings]
    copies = anneal_copies(
        groups, trees, means, batch, steps=max(steps // 4, effort.annealing), seed=seed,
        checkpoint=checkpoint and checkpoint / "anneal", progress=_of_steps(told("annealing")),
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
        search: ``"kicks"``, ``"teacher"`` or ``"gradient"``.
        rows: what is fitted.
        metric: what selection compares.
        least: the user's ``min_samples_leaf``.
    """
    criteria = list(rows.loss.polished)
    criteria += ["error"] if metric == "accuracy" else []
    return [Setting(search, criterion, m) for criterion in criteria for m in _at_least(_LEAST_POLISHED, least)]


def _problem(group: Group, setting: Setting) -> Any:
    is_squared = setting.criterion in ("squared", "logits")
    return group.problem(setting.criterion, setting.min_leaf, 0.0 if is_squared else SMOOTHING)


def _start_criterion(group: Group, setting: Setting) -> str:
    is_smooth = setting.criterion in group.rows.loss.polished and setting.criterion != "model"
    return setting.criterion if is_smooth else _smooth_criterion(group)


def _smooth_criterion(group: Group) -> str:
    criterion = group.rows.loss.criteria[-1]
    return criterion if criterion != "model" else "entropy" if group.rows.is_classification else "squared"


def _cost_on(data: Any) -> Callable[[DenseTree], float]:
    return lambda tree: float(tree_cost(data, tree.feature, tree.cut, tree.missing_left, tree.depth))


def _at_least(choices: Sequence[float], least: float) -> list[float]:
    return sorted({max(choice, least) for choice in choices})


def steps_for(n: int, effort: Effort) -> int:
    """Return the steps of Adam that the restarts take on n rows."""
    return min(effort.epochs * -(-n // BATCH), effort.most_steps)


def seconds_to_kick(groups: Sequence[Group], settings: Sequence[Setting], depth: int, jobs: int, kicks: int) -> float:
    """Return the seconds that ``kick_candidates`` will need, from the time of two kicks.

    Args:
        groups: G groups.
        settings: what to polish for.
        depth: D.
        jobs: threads.
        kicks: of each tree.
    """
    tried = 2
    for _ in range(2):  # the first time, kernels may still be compiled
        begun = time.monotonic()
        kick_candidates(groups[-1:], settings[-1:], depth, 1, replace(Effort(), kicks=tried), 0)
        seconds = time.monotonic() - begun
    return seconds / tried * max(kicks, tried) * len(settings) * len(groups) / jobs


def seconds_to_teach(groups: Sequence[Group], settings: Sequence[Setting], jobs: int, teachers: int) -> float:
    """Return the seconds that the forests of ``taught_candidates`` will need, from the time of one.

    Args:
        groups: G groups.
        settings: what to polish for.
        jobs: threads.
        teachers: trees of each.
    """
    tried = 4
    begun = time.monotonic()
    taught(groups[-1], _problem(groups[-1], settings[0]), tried, 0)
    return (time.monotonic() - begun) / tried * max(teachers, tried) * len(groups) / jobs


def seconds_to_train(groups: Sequence[Group], depth: int, effort: Effort) -> float:
    """Return the seconds that the restarts and the annealing will need, from the time of a few steps.

    Args:
        groups: G groups.
        depth: D.
        effort: how much is tried.
    """
    tried, batch = 4, make_batch(groups, np.random.default_rng(0))
    marks = [0.0]

    def mark(at: TrainProgress) -> None:
        marks.append(time.monotonic())

    restarts = _restarts_that_fit(effort.restarts, depth)
    train_restarts(groups, batch, depth=depth, restarts=restarts, steps=tried, seed=0, progress=mark)
    return (marks[-1] - marks[1]) / (tried - 1) * steps_for(batch.x.shape[1], effort) * _TRAINING_BESIDE


def _of_steps(told: Told) -> Callable[[TrainProgress], None]:
    return lambda at: told(at.step / at.total)


def _restarts_that_fit(restarts: int, depth: int) -> int:
    """Deep trees have many nodes: fewer of them are trained side by side."""
    return max(2, min(restarts, restarts * 16 // 2**depth))


def _all_settings(
    groups: Sequence[Group], settings: Sequence[Setting], fit: Callable[[tuple[Setting, Group]], DenseTree], jobs: int,
    told: Told | None,
) -> list[Candidate]:  # fmt: skip
    """Fit every group with every setting."""
    found = each([(setting, group) for setting in settings for group in groups], fit, jobs, told)
    size = len(groups)
    return [Candidate(setting, found[i * size : (i + 1) * size]) for i, setting in enumerate(settings)]
