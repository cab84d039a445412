"""The whole search for a forest of a given size: settings, leaf re-fits, selection, and the record of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softwood.trees._brought import SEEN_BEFORE, Brought
from softwood.trees._engine import FINISHING, Progress, folds_for
from softwood.trees._folds import make_groups
from softwood.trees._forest import Forest
from softwood.trees._forest_plan import STAGES, Finished
from softwood.trees._forest_trials import (
    ForestOptions,
    Variant,
    choose,
    finalists_of,
    out_of_fold,
    sample_of,
    screen,
    settings_for,
    untried,
    variants_of,
)
from softwood.trees._loss import judge as judge_rows
from softwood.trees._plan import Clock
from softwood.trees._refine import Contender, Judge, against, brought_contender, tuned_contender
from softwood.trees._rows import Group, Rows
from softwood.trees._select import judged_weight
from softwood.trees._threads import plain_interrupts
from softwood.trees._tune import Tuned

_SMALL = 3_000  # rows below which settings are screened on all folds instead of one
_JUDGED_ROWS = 100_000  # rows on which finalists are judged
_FIRST = 0.25  # share of the budget that is spent where nothing was compared
_LONG_CELLS = 100_000  # of a table whose search may take a minute
_LAST = 6.0  # seconds that the last fit is given, for one second of the first


@dataclass(frozen=True, eq=False)
class FoundForest:
    """What the search ends with.

    Args:
        forest: fitted on all rows that were given.
        group: those rows, and the codec that the forest's codes mean.
        record: JSON content: what was tried, how it fared, what a limit cut.
        tuned: the soft forest whose plain rounding ``forest`` is, or None.
    """

    forest: Forest
    group: Group
    record: dict[str, Any]
    tuned: Tuned | None = None


def search_forest(
    rows: Rows, options: ForestOptions, progress: Progress, brought: Brought | None = None,
    improved: Callable[[FoundForest], None] | None = None,
) -> FoundForest:  # fmt: skip
    """Find the forest that ships.

    Settings are screened on one fold, the best of each kind are fitted on all folds, each with leaves as the booster
    left them and re-fitted jointly; what ships is the best booster on all rows and columns, unless trees grown on
    samples of them, or a re-fit, are better out of fold by more than one standard error of the paired difference. A
    model that was brought, and fine-tuning, have to beat what leads by the same rule. Then it is fitted on all rows.

    Args:
        rows: what may be learned from and selected on.
        options: what the user asked for.
        progress: is told of every stage.
        brought: a model of the user's, with these rows as it reads them.
        improved: is given what would ship, while the search goes on; only where that takes long.

    Ctrl-C ends the search; what ships then is the best setting that was screened, or the first. Above 100,000 rows
    finalists are judged on a sample of them, unless a model was brought or is tuned.
    """
    unlimited = options.time_limit is None or options.plan is not None
    clock = Clock(float("inf") if unlimited else (1 - FINISHING) * float(options.time_limit or 0))
    whole = Group(rows, np.ones(rows.n, bool))
    known = rows
    if rows.n > _JUDGED_ROWS and brought is None and not options.tune:
        known = rows.take(sample_of(rows.n, _JUDGED_ROWS, options.seed))
    folds, repeats = folds_for(known)
    groups = make_groups(known, folds, min(repeats, 1), np.random.default_rng(options.seed))
    if known is rows:
        groups[0] = whole
    settings = settings_for(rows, options)
    finished = Finished(_place(options, rows))
    variants: list[Variant] = []
    plan = dict.fromkeys(STAGES, 0)
    record: dict[str, Any] = {
        "options": {**vars(options), "budget": options.budget.limit, "checkpoint": None},
        "loss": rows.loss.name,
        "rows": rows.n,
        "judged_rows": known.n,
        "folds": [folds, 1],
        "compared": [],
        "reason": "too few rows to compare anything out of fold",
        "cut_by_time_limit": [],
        "interrupted": False,
    }

    def judge(forest: Forest, group: Group) -> np.ndarray:
        return judge_rows(options.metric, group.rows.loss.answers(forest.raw(group.codes)), group.rows)

    def found(leader: Contender, tuned: Tuned | None = None) -> FoundForest:
        progress("final forest", 0.0)
        group = whole if leader.search == "booster" else leader.groups[0]
        forest = leader.fit(group) if tuned is None else tuned.forest
        options.budget.check(forest.size)
        shipped = {
            "search": f"{leader.search}{'' if tuned is None else ', tuned'}",
            **leader.about,
            "loss": None if np.isnan(leader.mean) else leader.mean,
        }
        seen = {} if leader.search == "booster" else {"not_covered": [SEEN_BEFORE]}
        seconds = {"all": clock.spent}
        trials = [variant.describe() for variant in variants]
        progress("final forest", 1.0)
        told = {**record, "shipped": shipped, "plan": dict(plan), "trials": trials, **seen, "seconds": seconds}
        return FoundForest(forest, group, told, tuned)

    leader, tuned = _leader(untried(settings[0], _FIRST), groups, options), None
    try:
        with plain_interrupts():
            if len(groups) > 1 and len(settings) > 1:
                long = rows.n * rows.x.shape[1] > _LONG_CELLS
                if long and (improved is not None or not unlimited):
                    begun = clock.spent
                    first = found(leader)
                    clock.reserve = _LAST * (clock.spent - begun)
                    if improved is not None:
                        improved(first)
                judges = groups[1:] if rows.n < _SMALL else groups[-1:]
                scores = finished.stage(
                    "screened", lambda: {"scores": screen(judges, settings, options, clock, progress)}
                )["scores"]
                plan["screened"] = len(scores)
                if len(scores):
                    order = np.argsort(scores[:, 0], kind="stable")
                    finalists = finalists_of([settings[i] for i in order])
                    leader = _leader(untried(settings[order[0]], float(scores[order[0], 1])), groups, options)
                    record["reason"] = "the best setting that was screened"
                    if improved is not None and long:
                        improved(found(leader))
                    losses = finished.stage(
                        "judged", lambda: {"losses": out_of_fold(groups, finalists, options, clock, progress)}
                    )["losses"]
                    plan["judged"] = len(losses)
                    if not unlimited:
                        cut = {"screening": len(scores) < len(settings), "finalists": len(losses) < len(finalists)}
                        record["cut_by_time_limit"] = [name for name, was in cut.items() if was]
                    variants = variants_of(finalists, known, losses, judged_weight(groups))
                elif not unlimited:  # no time for anything but the likeliest setting
                    record["cut_by_time_limit"] = ["screening", "finalists"]
                if variants:
                    winner, record["compared"], record["reason"] = choose(
                        variants, judged_weight(groups), known.together, options.metric
                    )
                    leader = _leader(winner, groups, options)
                    leader, tuned = _beyond(leader, brought, options, judge, progress, clock, record)
    except KeyboardInterrupt:
        record["interrupted"] = True  # the likeliest setting, or the best that was screened, already makes a forest
        record["reason"] = "the search was interrupted before everything was compared on all folds"
    return found(leader, tuned)


def _beyond(
    leader: Contender, brought: Brought | None, options: ForestOptions, judge: Judge, progress: Progress, clock: Clock,
    record: dict[str, Any],
) -> tuple[Contender, Tuned | None]:  # fmt: skip
    """Let a model that was brought, and fine-tuning, try to beat the booster; return what leads, and note it."""
    tuned = None
    if brought is not None:
        leader, record["brought"] = _with_brought(leader, brought, options, judge, progress)
        record["reason"] = record["brought"]["reason"]
    if options.tune or (options.tune is None and leader.search != "booster"):
        tuned, record["tuned"] = tuned_contender(
            leader, judge, jobs=options.jobs, seed=options.seed, left=clock.left,
            told=lambda at: progress("tuning", at.step / at.total),
        )  # fmt: skip
        record["reason"] = f"{record['reason']}; {record['tuned']['reason']}"
    return leader, tuned


def _place(options: ForestOptions, rows: Rows) -> Path | None:
    """Return where the search among these rows with these options keeps what is finished."""
    asked = {**vars(options), "time_limit": None, "jobs": None, "checkpoint": None, "loss": rows.loss.name}
    directed = (rows.direction.tolist(), rows.forbidden.tolist())
    name = hashlib.sha256(f"{rows.fingerprint} {asked} {directed}".encode()).hexdigest()[:16]
    return options.checkpoint and options.checkpoint / name


def _leader(winner: Variant, groups: Sequence[Group], options: ForestOptions) -> Contender:
    """Return the booster as a contender."""
    return Contender(
        "booster", groups, lambda group: winner.fit(group, options.budget.limit), winner.losses, winner.describe()
    )


def _with_brought(
    leader: Contender, brought: Brought, options: ForestOptions, judge: Judge, progress: Progress
) -> tuple[Contender, dict[str, Any]]:
    """Compare a brought model with what leads; return the new leader and the record."""
    rival = brought_contender(
        brought, leader.groups, options.budget.limit, judge, options.jobs,
        lambda share: progress("brought model", share),
    )  # fmt: skip
    wins, compared = against(rival.losses, leader)
    reason = (
        f"the model that was brought {'is' if wins else 'is not'} better than our own by more than one standard error "
        f"out of fold ({options.metric} loss {compared['difference']:+.4f}, standard error "
        f"{compared['standard_error']:.4f})"
    )
    return (rival if wins else leader), {**rival.about, **compared, "ships": wins, "reason": reason}
