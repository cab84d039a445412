"""The whole search for one tree: candidates in the order of their cost, selection, and the record of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from softwood.trees._brought import SEEN_BEFORE, Brought
from softwood.trees._brought_tree import brought_candidates
from softwood.trees._candidates import (
    Candidate,
    Effort,
    Setting,
    cart_candidates,
    gradient_candidates,
    kick_candidates,
    polished_settings,
    seconds_to_kick,
    seconds_to_teach,
    seconds_to_train,
    taught_candidates,
)
from softwood.trees._folds import folds_that_fit, make_groups
from softwood.trees._gradient import one_thread
from softwood.trees._plan import SEARCHES, Clock, Memory, OutOfTime, affordable
from softwood.trees._rows import Group, Rows
from softwood.trees._select import Choice, Limits, choose
from softwood.trees._threads import plain_interrupts

Progress = Callable[[str, float], None]
"""Called with the stage's name and the share of it that is done."""

_SMALL, _LARGE = 3_000, 50_000  # rows below which folds are repeated, and above which there are fewer
_LONG = 15.0  # seconds after which what there is so far is kept
FINISHING = 0.08  # of the time limit: certificate, and the peers that the report compares with
_SELECTION = 4.0  # seconds of the last selection, for one second of the first one among CART alone


@dataclass(frozen=True)
class Options:
    """What the user asked for; the names are those of the learners.

    Args:
        max_depth: D.
        max_leaf_nodes: largest number of leaves, or None.
        min_samples_leaf: least weight in a leaf.
        metric: what selection compares.
        effort: multiplies what is tried.
        time_limit: seconds, or None.
        jobs: threads.
        seed: of everything random.
        checkpoint: directory for what is finished, or None.
        plan: effort by search, instead of what there is time for; or None.
    """

    max_depth: int
    max_leaf_nodes: int | None
    min_samples_leaf: float
    metric: str
    effort: float
    time_limit: float | None
    jobs: int
    seed: int
    checkpoint: Path | None
    plan: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """What the search ends with.

    Args:
        choice: what ships.
        rows: what it was fitted on.
        codec: meaning of the chosen tree.
        values: leaf values ``[2^D, K]`` at the chosen smoothing, before any scale is undone.
        counts: weight in each leaf ``[2^D]``.
        importance: share of each raw column in the gain of all splits ``[C]``.
        record: JSON content: what was tried, how it fared, what a limit cut.
    """

    choice: Choice
    rows: Rows
    codec: Any
    values: np.ndarray
    counts: np.ndarray
    importance: np.ndarray
    record: dict[str, Any]


def search(
    rows: Rows, options: Options, progress: Progress, brought: Brought | None = None,
    improved: Callable[[Found], None] | None = None,
) -> Found:  # fmt: skip
    """Find the tree that ships.

    Args:
        rows: what may be learned from and selected on.
        options: what the user asked for.
        progress: is told of every stage.
        brought: a model of the user's, with these rows as it reads them.
        improved: is given what would ship, while the search goes on; only where that takes long.
    """
    clock = Clock(float("inf") if options.time_limit is None else options.time_limit * (1 - FINISHING))
    folds, repeats = folds_for(rows)
    groups = make_groups(rows, folds, repeats, np.random.default_rng(options.seed))
    candidates = cart_candidates(
        groups, options.max_depth, options.min_samples_leaf, options.jobs, lambda share: progress("CART", share)
    )
    if brought is not None:
        wanted = polished_settings("brought tree", rows, options.metric, options.min_samples_leaf)
        candidates += brought_candidates(brought, groups, wanted, options.max_depth, options.jobs)
    seconds = {"cart": clock.spent}
    # a forest answers with classes and means, which no other loss asks for
    searches = [name for name in SEARCHES if name != "teacher" or not rows.asked_other]
    plan = dict.fromkeys(SEARCHES, 0.0)
    interrupted = False

    last: tuple[int, Found] | None = None  # what the candidates so far make, and how many they were

    def found() -> Found:
        nonlocal last
        if last is None or last[0] != len(candidates):
            progress("selection", 0.0)
            last = len(candidates), _found(groups, candidates, options)
        cut = [name for name in searches if plan[name] < options.effort] if options.time_limit is not None else []
        made = last[1]
        record = {
            **made.record, "folds": [folds, repeats], "plan": dict(plan), "cut_by_time_limit": cut,
            "interrupted": interrupted, "seconds": {**seconds, "all": clock.spent},
        }  # fmt: skip
        if brought is not None:
            ships = made.choice.candidate.setting.search.startswith("brought")
            record["brought"] = {"source": brought.source, "notes": list(brought.notes), "ships": ships}
            record["not_covered"] = [SEEN_BEFORE] if ships else []
        progress("selection", 1.0)
        return replace(made, record=record)

    if len(groups) > 1 and groups[0].codec.n_features:
        kept = 0.0
        if options.time_limit is not None:
            first, begun = found(), clock.spent
            clock.reserve = _SELECTION * (begun - seconds["cart"])
            if improved is not None and begun > _LONG:
                improved(first)
                kept = begun
        memory = Memory(_place(options, rows))
        kicking = cache(lambda: _seconds_to_kick(groups, options))
        for name in searches:
            begun = clock.spent
            try:
                with plain_interrupts(), one_thread():
                    run = _Run(groups, options, clock, progress, memory, name, kicking)
                    plan[name] = run.effort()
                    candidates += run.candidates(plan[name])
            except OutOfTime:
                plan[name] = 0.0
                memory.forget(name)
            except KeyboardInterrupt:  # what there is already makes a tree
                plan[name], interrupted = 0.0, True
                break
            seconds[name] = clock.spent - begun
            if improved is not None and plan[name] and clock.spent - kept > _LONG and name != searches[-1]:
                improved(found())
                kept = clock.spent
    return found()


@dataclass(frozen=True, eq=False)
class _Run:
    """One search beyond CART: how much of it there is time for, and its candidates."""

    groups: Sequence[Group]
    options: Options
    clock: Clock
    progress: Progress
    memory: Memory
    name: str
    kicking: Callable[[], float]

    @property
    def settings(self) -> list[Setting]:
        options = self.options
        return polished_settings(self.name, self.groups[0].rows, options.metric, options.min_samples_leaf)

    def effort(self) -> float:
        """Return the effort of the plan; or what was asked for, or what there is time for."""
        options = self.options
        if options.plan is not None:
            return options.plan[self.name]
        if options.time_limit is None:
            return options.effort
        return self.memory.effort(self.name, self._settle)

    def _settle(self) -> float:
        """Return as much of the effort that was asked for as there is time for."""
        options, effort = self.options, Effort().scaled(self.options.effort)
        if self.clock.left <= 0:
            return 0.0
        cost = self.kicking()  # each search polishes and kicks about as much
        if self.name == "teacher":
            cost += seconds_to_teach(self.groups, self.settings, options.jobs, effort.teachers)
        if self.name == "gradient":
            cost += seconds_to_train(self.groups, options.max_depth, effort)
        return affordable(self.name, options.effort, cost, self.clock)

    def told(self, stage: str) -> Callable[[float], None]:
        def tell(share: float) -> None:
            self.progress(stage, share)
            self.clock.check()

        return tell

    def candidates(self, effort: float) -> list[Candidate]:
        """Return what the search finds; nothing at effort 0."""
        if effort == 0:
            return []
        options, scaled = self.options, Effort().scaled(effort)
        shared = (self.groups, self.settings, options.max_depth, options.jobs, scaled, options.seed)
        if self.name == "gradient":
            return gradient_candidates(*shared, self.told, self.memory.place)
        stage, find = {
            "kicks": ("kicks and polish", kick_candidates),
            "teacher": ("kicks and polish with a teacher", taught_candidates),
        }[self.name]
        return self.memory.trees(self.name, lambda: find(*shared, self.told(stage)))


def _seconds_to_kick(groups: Sequence[Group], options: Options) -> float:
    """Return about how many seconds kicks take at the effort that was asked for."""
    settings = polished_settings("kicks", groups[0].rows, options.metric, options.min_samples_leaf)
    kicks = Effort().scaled(options.effort).kicks
    return seconds_to_kick(groups, settings, options.max_depth, options.jobs, kicks)


def _found(groups: Sequence[Group], candidates: Sequence[Candidate], options: Options) -> Found:
    """Select, and say why."""
    choice = choose(groups, candidates, options.metric, Limits(options.max_leaf_nodes, options.min_samples_leaf))
    codec = groups[0].codec
    problem = groups[0].problem(choice.candidate.setting.criterion, 0.0, choice.strength)
    record = {
        "options": {**vars(options), "checkpoint": None},
        "loss": groups[0].rows.loss.name,
        "rows": groups[0].rows.n,
        "shipped": {
            **vars(choice.candidate.setting),
            "price": choice.price,
            "smoothing": choice.strength,
            "leaves": "re-fitted" if choice.leaf is None else "of the soft parent",
        },
        "trials": [
            {**vars(t.setting), "price": t.price, "loss": t.loss, "smooth_loss": t.smooth, "leaf_values": t.leaf_values}
            for t in choice.trials
        ],
        "difference": choice.difference,
        "standard_error": choice.error,
        "reason": choice.reason,
    }
    stats = choice.tree.statistics(problem)
    values = choice.leaf
    if values is None:
        values = groups[0].values(choice.tree, choice.candidate.setting.criterion, choice.strength)
    return Found(
        choice, groups[0].rows, codec, values, stats[:, 0],
        _importance(choice, groups[0].level_costs(choice.tree, problem), codec), record,
    )  # fmt: skip


def _place(options: Options, rows: Rows) -> Path | None:
    """Return where the training of these rows with these options keeps its checkpoints, so that no other resumes it."""
    asked = (
        rows.loss.name, options.max_depth, options.min_samples_leaf, options.metric, options.effort, options.seed,
        options.plan,
    )  # fmt: skip
    name = hashlib.sha256(f"{rows.fingerprint} {asked}".encode()).hexdigest()[:16]
    return options.checkpoint and options.checkpoint / name


def folds_for(rows: Rows) -> tuple[int, int]:
    """Return folds and repeats: none where a fold would hold fewer than two rows, or where nothing can be parted."""
    if rows.n < 10:
        return 0, 0
    if rows.n < _SMALL:
        return folds_that_fit(rows, 5, 2)
    return folds_that_fit(rows, 5 if rows.n < _LARGE else 3, 1)


def _importance(choice: Choice, levels: Sequence[np.ndarray], codec: Any) -> np.ndarray:
    """Return how much of the loss that all splits take away falls to each raw column."""
    gain = np.zeros(len(codec.columns))
    for level in range(choice.tree.depth):
        first = (1 << level) - 1
        here = choice.tree.feature[first : first + (1 << level)]
        taken = levels[level] - levels[level + 1][0::2] - levels[level + 1][1::2]
        for feature, amount in zip(here, taken, strict=True):
            if feature >= 0:
                gain[codec.features[feature].column] += max(amount, 0.0)
    return gain / gain.sum() if gain.sum() > 0 else gain
