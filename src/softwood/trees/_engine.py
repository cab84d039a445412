"""The whole search for one tree: candidates in the order of their cost, selection, and the record of both."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softwood.lifecycle import TrainProgress
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
)
from softwood.trees._folds import folds_that_fit, make_groups
from softwood.trees._gradient import one_thread
from softwood.trees._rows import Group, Rows
from softwood.trees._select import Choice, Limits, choose
from softwood.trees._threads import plain_interrupts

Progress = Callable[[str, float], None]
"""Called with the stage's name and the share of it that is done."""

_SMALL, _LARGE = 3_000, 50_000  # rows below which folds are repeated, and above which there are fewer


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
        checkpoint: directory for training checkpoints, or None.
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


def search(rows: Rows, options: Options, progress: Progress, brought: Brought | None = None) -> Found:
    """Find the tree that ships.

    Args:
        rows: what may be learned from and selected on.
        options: what the user asked for.
        progress: is told of every stage.
        brought: a model of the user's, with these rows as it reads them.
    """
    begun = time.monotonic()
    folds, repeats = folds_for(rows)
    groups = make_groups(rows, folds, repeats, np.random.default_rng(options.seed))
    progress("CART", 0.0)
    candidates = cart_candidates(groups, options.max_depth, options.min_samples_leaf, options.jobs)
    if brought is not None:
        wanted = polished_settings("brought tree", rows, options.metric, options.min_samples_leaf)
        candidates += brought_candidates(brought, groups, wanted, options.max_depth, options.jobs)
    seconds = {"cart": time.monotonic() - begun}
    cut: list[str] = []
    interrupted = False
    try:
        if len(groups) > 1 and groups[0].codec.n_features:
            with plain_interrupts():
                cut = _add_polished(candidates, groups, options, seconds, progress)
    except KeyboardInterrupt:
        interrupted = True  # what there is already makes a tree
    progress("selection", 0.0)
    limits = Limits(options.max_leaf_nodes, options.min_samples_leaf)
    choice = choose(groups, candidates, options.metric, limits)
    problem = groups[0].problem(choice.candidate.setting.criterion, 0.0, choice.strength)
    record = {
        "options": {**vars(options), "checkpoint": None},
        "loss": rows.loss.name,
        "rows": rows.n,
        "folds": [folds, repeats],
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
        "cut_by_time_limit": cut,
        "interrupted": interrupted,
        "seconds": {**seconds, "all": time.monotonic() - begun},
    }
    if brought is not None:
        ships = choice.candidate.setting.search.startswith("brought")
        record["brought"] = {"source": brought.source, "notes": list(brought.notes), "ships": ships}
        record["not_covered"] = [SEEN_BEFORE] if ships else []
    progress("selection", 1.0)
    stats = choice.tree.statistics(problem)
    values = choice.leaf
    if values is None:
        values = groups[0].values(choice.tree, choice.candidate.setting.criterion, choice.strength)
    return Found(
        choice, rows, groups[0].codec, values, stats[:, 0],
        _importance(choice, groups[0].level_costs(choice.tree, problem), groups[0].codec), record,
    )  # fmt: skip


def _add_polished(
    candidates: list[Candidate],
    groups: Sequence[Group],
    options: Options,
    seconds: dict[str, float],
    progress: Progress,
) -> list[str]:
    """Append the candidates beyond CART while there is time; return the searches that there was none for.

    Args:
        candidates: grows.
        groups: what they are fitted on.
        options: what the user asked for.
        seconds: spent by search; grows.
        progress: is told of every stage.
    """
    rows, begun = groups[0].rows, time.monotonic() - seconds["cart"]
    limit = options.time_limit if options.time_limit is not None else float("inf")
    effort = Effort().scaled(options.effort)

    def left() -> float:
        return limit - (time.monotonic() - begun)

    def told(stage: str) -> Callable[[TrainProgress], None]:
        return lambda at: progress(stage, at.step / at.total)

    def settings(search: str) -> list[Setting]:
        return polished_settings(search, rows, options.metric, options.min_samples_leaf)

    if left() <= 0:
        return ["kicks", "gradient"]
    progress("kicks and polish", 0.0)
    start = time.monotonic()
    candidates += kick_candidates(groups, settings("kicks"), options.max_depth, options.jobs, effort, options.seed)
    seconds["kicks"] = time.monotonic() - start
    if left() <= seconds["kicks"]:  # the gradient candidates are polished and kicked too
        return ["gradient"]
    start = time.monotonic()
    restarts_limit = None if limit == float("inf") else max(left() / 2, 0.1)
    with one_thread():
        candidates += gradient_candidates(
            groups, settings("gradient"), options.max_depth, options.jobs, effort, options.seed,
            time_limit=restarts_limit, checkpoint=_place(options, rows), told=told,
        )  # fmt: skip
    seconds["gradient"] = time.monotonic() - start
    return []


def _place(options: Options, rows: Rows) -> Path | None:
    """Return where the training of these rows with these options keeps its checkpoints, so that no other resumes it."""
    asked = (rows.loss.name, options.max_depth, options.min_samples_leaf, options.metric, options.effort, options.seed)
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
