"""The whole search for a forest of a given size: settings, leaf re-fits, selection, and the record of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softwood.core import Budget, InputError
from softwood.trees._brought import SEEN_BEFORE, Brought
from softwood.trees._engine import Progress, folds_for
from softwood.trees._folds import make_groups
from softwood.trees._forest import BoostSetting, Forest, boost, first_trees, n_outputs, refit_leaves
from softwood.trees._loss import judge as judge_rows
from softwood.trees._refine import Contender, Judge, against, brought_contender, tuned_contender
from softwood.trees._rows import Group, Rows
from softwood.trees._select import judged_weight, paired_difference
from softwood.trees._threads import each, plain_interrupts
from softwood.trees._tune import Tuned

REFITS = (3.0, 30.0, 300.0)  # strengths with which re-fitted leaves are held to the booster's
SPENT = (1.0, 0.7, 0.5, 0.35, 0.25, 0.12)  # shares of the budget that are tried: a small table wants a small forest
_VARIANTS = [*((spent, None) for spent in SPENT), *((spent, refit) for spent in SPENT[::2] for refit in REFITS)]
_OF_CLASSES = ((0.7, 1.0), (0.5, 0.7), (0.25, 0.7))  # shares of columns and rows that each tree is grown on
_OF_VALUES = ((0.7, 1.0), (1.0, 0.7), (0.5, 0.7))
_FINALISTS = 3  # of the settings without sampling, and of those with it
_SMALL = 3_000  # rows below which settings are screened on all folds instead of one
_SCREENED_ROWS = 50_000  # rows on which settings are screened


@dataclass(frozen=True)
class ForestOptions:
    """What the user asked for; the names are those of the learners.

    Args:
        budget: leaf values in all.
        max_depth: of each tree.
        min_samples_leaf: least weight in a leaf.
        metric: what selection compares.
        effort: share of the settings that are screened.
        time_limit: seconds, or None.
        jobs: threads.
        seed: of everything random.
        tune: try to fine-tune what leads; None: if it is a model that was brought.
    """

    budget: Budget
    max_depth: int
    min_samples_leaf: float
    metric: str
    effort: float
    time_limit: float | None
    jobs: int
    seed: int
    tune: bool | None = None


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


@dataclass(frozen=True, eq=False)
class _Variant:
    setting: BoostSetting
    spent: float
    refit: float | None
    losses: np.ndarray  # by row, out of fold
    mean: float

    def describe(self) -> dict[str, Any]:
        return {**vars(self.setting), "spent": self.spent, "refit": self.refit, "loss": self.mean}


def settings_for(rows: Rows, options: ForestOptions) -> list[BoostSetting]:
    """Return the settings to screen, the likeliest first.

    Args:
        rows: what is fitted.
        options: what the user asked for.
    """
    outputs = n_outputs(rows)
    rates = (0.2, 0.1, 0.4, 0.05) if outputs == 1 else (0.6, 0.3, 1.0)
    modes = (False,) if outputs == 1 or not rows.is_classification else (False, True)
    settings = [
        BoostSetting(leaves, rate, max(least, options.min_samples_leaf), 1.0, per_class, options.max_depth)
        for rate in rates
        for leaves in (8, 16, 4, 31)
        for per_class in modes
        for least in (5.0, 20.0)
        if 2 * (1 if per_class else outputs) <= options.budget.limit
    ]
    settings += [
        replace(setting, columns=columns, sample=sample, seed=options.seed)
        for setting in settings
        if setting.rate in rates[:2] and setting.leaves < 31 and setting.min_leaf < 20
        for columns, sample in (_OF_CLASSES if rows.is_classification else _OF_VALUES)
    ]
    if not settings:
        raise InputError(
            "the budget is too small for one split", got=str(options.budget), allowed=f"{2 * outputs} or more",
            fix=f"pass budget={2 * outputs} or more: a split has two leaves of {outputs} values",
        )  # fmt: skip
    unique = list(dict.fromkeys(settings))
    plain = sum(not setting.is_sampled for setting in unique)
    order = np.argsort(  # both kinds go on in step, so that each is there where few settings are screened
        [i / plain if i < plain else (i - plain + 0.5) / (len(unique) - plain) for i in range(len(unique))]
    )
    return [unique[i] for i in order[: max(2, round(options.effort * len(unique)))]]


def search_forest(
    rows: Rows, options: ForestOptions, progress: Progress, brought: Brought | None = None
) -> FoundForest:
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

    Ctrl-C ends the search; what ships then is the best setting that was screened, or the first.
    """
    begun = time.monotonic()
    limit = float("inf") if options.time_limit is None else options.time_limit
    folds, repeats = folds_for(rows)
    groups = make_groups(rows, folds, min(repeats, 1), np.random.default_rng(options.seed))
    settings = settings_for(rows, options)
    cut: list[str] = []

    def in_time(share: float) -> Callable[[], bool]:
        return lambda: time.monotonic() - begun < share * limit

    def judge(forest: Forest, group: Group) -> np.ndarray:
        return judge_rows(options.metric, group.rows.loss.answers(forest.raw(group.codes)), group.rows)

    winner, variants = _untried(settings[0]), []
    compared: list[dict[str, Any]] = []
    leader, tuned, further = _leader(winner, groups, options), None, {}
    reason, interrupted = "too few rows to compare anything out of fold", False
    try:
        with plain_interrupts():
            if len(groups) > 1 and len(settings) > 1:
                judges = groups[1:] if rows.n < _SMALL else groups[-1:]
                screened = _screen(judges, settings, options, in_time(0.3), progress)
                cut += ["screening"] * (len(screened) < len(settings))
                winner = _untried(screened[0])
                finalists = _finalists(screened)
                variants = _out_of_fold(groups, finalists, options, in_time(0.8), progress)
                cut += ["finalists"] * (len(variants) < len(finalists) * len(_VARIANTS))
                winner, compared, reason = _choose(variants, judged_weight(groups), rows.together, options.metric)
                leader = _leader(winner, groups, options)
                if brought is not None:
                    leader, further["brought"] = _with_brought(leader, brought, options, judge, progress)
                    reason = further["brought"]["reason"]
                if options.tune or (options.tune is None and leader.search != "booster"):
                    left = limit - (time.monotonic() - begun)
                    tuned, further["tuned"] = tuned_contender(
                        leader, judge, jobs=options.jobs, seed=options.seed, left=left,
                        told=lambda at: progress("tuning", at.step / at.total),
                    )  # fmt: skip
                    reason = f"{reason}; {further['tuned']['reason']}"
    except KeyboardInterrupt:
        interrupted = True  # the likeliest setting, or the best that was screened, already makes a forest
        reason = "the search was interrupted before anything was compared on all folds"
    progress("final forest", 0.0)
    forest = leader.fit(leader.groups[0]) if tuned is None else tuned.forest
    options.budget.check(forest.size)
    progress("final forest", 1.0)
    record = {
        "options": {**vars(options), "budget": options.budget.limit},
        "loss": rows.loss.name,
        "rows": rows.n,
        "folds": [folds, 1],
        "shipped": {
            "search": f"{leader.search}{'' if tuned is None else ', tuned'}",
            **leader.about,
            "loss": None if np.isnan(leader.mean) else leader.mean,
        },
        "trials": [variant.describe() for variant in variants],
        "compared": compared,
        "reason": reason,
        "cut_by_time_limit": cut,
        "interrupted": interrupted,
        **further,
        **({} if leader.search == "booster" else {"not_covered": [SEEN_BEFORE]}),
        "seconds": {"all": time.monotonic() - begun},
    }
    return FoundForest(forest, leader.groups[0], record, tuned)


def _leader(winner: _Variant, groups: Sequence[Group], options: ForestOptions) -> Contender:
    """Return the booster as a contender."""
    return Contender(
        "booster", groups, lambda group: _fit(group, winner, options.budget.limit), winner.losses, winner.describe()
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


def _untried(setting: BoostSetting) -> _Variant:
    """Return what is fitted where nothing could be compared: a quarter of the budget, leaves as grown."""
    return _Variant(setting, 0.25, None, np.zeros(0), float("nan"))


def _fit(group: Group, variant: _Variant, budget: int) -> Forest:
    forest = first_trees(boost(group, variant.setting, budget), int(variant.spent * budget))
    return forest if variant.refit is None else refit_leaves(forest, group, variant.refit)


def _screen(
    groups: Sequence[Group], settings: Sequence[BoostSetting], options: ForestOptions, in_time: Callable[[], bool],
    progress: Progress,
) -> list[BoostSetting]:  # fmt: skip
    """Return the settings that there was time for, the best on the groups' folds first."""
    rows = groups[0].rows
    if rows.n > _SCREENED_ROWS:
        keep = np.zeros(rows.n, bool)
        keep[np.random.default_rng(options.seed).choice(rows.n, _SCREENED_ROWS, replace=False)] = True
        rows = rows.take(keep)
        groups = [Group(rows, group.active[keep], group.judged[keep]) for group in groups]
    for group in groups:
        group.codes  # noqa: B018 - computed once, before the threads share it

    def judge(setting: BoostSetting) -> float:
        if not in_time():
            return np.inf
        total = np.zeros(len(SPENT))
        for group in groups:
            whole = boost(group, setting, options.budget.limit)
            for place, spent in enumerate(SPENT):
                part = first_trees(whole, int(spent * options.budget.limit))
                total[place] += (rows.loss.parts(part.raw(group.codes), rows)[0] * rows.weight)[group.judged].sum()
        return float(total.min())

    scores = each(settings, judge, options.jobs, lambda share: progress("screening", share))
    order = np.argsort(scores, kind="stable")
    return [settings[i] for i in order if np.isfinite(scores[i])] or list(settings[:1])


def _out_of_fold(
    groups: Sequence[Group], settings: Sequence[BoostSetting], options: ForestOptions, in_time: Callable[[], bool],
    progress: Progress,
) -> list[_Variant]:  # fmt: skip
    """Return each setting, as grown and with each re-fit, with its out-of-fold losses."""
    rows, weight = groups[0].rows, judged_weight(groups)
    for group in groups:
        group.codes  # noqa: B018 - computed once, before the threads share it

    def judge(job: tuple[BoostSetting, Group]) -> list[np.ndarray] | None:
        setting, group = job
        if not in_time() and setting != settings[0]:
            return None
        whole = boost(group, setting, options.budget.limit)
        parts = {spent: first_trees(whole, int(spent * options.budget.limit)) for spent in SPENT}
        forests = [parts[s] if l2 is None else refit_leaves(parts[s], group, l2) for s, l2 in _VARIANTS]
        return [judge_rows(options.metric, rows.loss.answers(f.raw(group.codes)), rows) for f in forests]

    jobs = [(setting, group) for setting in settings for group in groups[1:]]
    results = each(jobs, judge, options.jobs, lambda share: progress("finalists", share))
    variants = []
    folds = len(groups) - 1
    for i, setting in enumerate(settings):
        parts = [part for part in results[i * folds : (i + 1) * folds] if part is not None]
        if len(parts) < folds:
            continue
        for v, (spent, refit) in enumerate(_VARIANTS):
            losses = np.zeros(rows.n)
            for group, part in zip(groups[1:], parts, strict=True):
                losses[group.judged] = part[v][group.judged]
            variants.append(_Variant(setting, spent, refit, losses, float(np.average(losses, weights=weight))))
    return variants


def _finalists(screened: Sequence[BoostSetting]) -> list[BoostSetting]:
    """Return the best settings of each kind, the best of all first."""
    best = [[s for s in screened if s.is_sampled == kind][:_FINALISTS] for kind in (False, True)]
    return sorted(best[0] + best[1], key=screened.index)


def _choose(
    variants: Sequence[_Variant], weight: np.ndarray, together: np.ndarray | None, metric: str
) -> tuple[_Variant, list[dict[str, Any]], str]:
    """Return what ships, the comparisons, and why: sampling, then a re-fit, have to be clearly better to ship."""
    kinds: list[tuple[str, Callable[[_Variant], bool]]] = [
        ("the booster's leaves on all rows and columns", lambda v: v.refit is None and not v.setting.is_sampled),
        ("trees grown on samples of rows and columns", lambda v: v.refit is None and v.setting.is_sampled),
        ("re-fitted leaves", lambda v: v.refit is not None),
    ]
    winner: _Variant | None = None
    compared, reasons = [], []
    for name, belongs in kinds:
        rival = min(filter(belongs, variants), key=lambda v: v.mean, default=None)
        if rival is None or winner is None:
            winner = winner or rival
            continue
        difference, error = paired_difference(rival.losses - winner.losses, weight, together)
        wins = difference < -error
        compared.append({"rival": name, "difference": difference, "standard_error": error, "ships": wins})
        reasons.append(
            f"{name} {'are' if wins else 'are not'} better than what led by more than one standard error out of fold "
            f"({metric} loss {difference:+.4f}, standard error {error:.4f})"
        )
        winner = rival if wins else winner
    assert winner is not None  # the first finalist is always judged
    return winner, compared, "; ".join(reasons)
