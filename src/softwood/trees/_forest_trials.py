"""What is tried for a forest: settings of the booster, screened, then judged out of fold, then compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softwood.core import Budget, InputError
from softwood.trees._engine import Progress
from softwood.trees._forest import BoostSetting, Forest, boost, first_trees, n_outputs, refit_leaves
from softwood.trees._forest_plan import in_time
from softwood.trees._loss import judge as judge_rows
from softwood.trees._plan import Clock
from softwood.trees._rows import Group, Rows
from softwood.trees._select import paired_difference

REFITS = (3.0, 30.0, 300.0)  # strengths with which re-fitted leaves are held to the booster's
SPENT = (1.0, 0.7, 0.5, 0.35, 0.25, 0.12)  # shares of the budget that are tried: a small table wants a small forest
_OF_CLASSES = ((0.7, 1.0), (0.5, 0.7), (0.25, 0.7))  # shares of columns and rows that each tree is grown on
_OF_VALUES = ((0.7, 1.0), (1.0, 0.7), (0.5, 0.7))
_FINALISTS = 3  # of the settings without sampling, and of those with it
_SCREENED_ROWS = 50_000  # rows on which settings are screened
_MANY = 20_000  # rows above which one re-fit of each setting is enough
_FOR_SCREENING = 0.4  # of the time that is left


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
        checkpoint: directory for what is finished, or None.
        plan: how many settings each stage looks at, instead of those there is time for; or None.
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
    checkpoint: Path | None = None
    plan: Mapping[str, int] | None = None


@dataclass(frozen=True, eq=False)
class Variant:
    """A setting, how much of the budget it spends, how strongly its leaves are re-fitted, and how that fared.

    Args:
        setting: of the booster.
        spent: share of the budget.
        refit: strength, or None for leaves as grown.
        losses: by row, out of fold; empty where nothing was compared.
        mean: of the losses.
    """

    setting: BoostSetting
    spent: float
    refit: float | None
    losses: np.ndarray
    mean: float

    def describe(self) -> dict[str, Any]:
        """Return JSON content."""
        return {**vars(self.setting), "spent": self.spent, "refit": self.refit, "loss": self.mean}

    def fit(self, group: Group, budget: int) -> Forest:
        """Return the forest of a group."""
        most = int(self.spent * budget)
        forest = first_trees(boost(group, self.setting, budget, most), most)
        return forest if self.refit is None else refit_leaves(forest, group, self.refit)


def untried(setting: BoostSetting, spent: float) -> Variant:
    """Return what is fitted where nothing was compared on all folds: leaves as grown."""
    return Variant(setting, spent, None, np.zeros(0), float("nan"))


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


def screen(
    groups: Sequence[Group], settings: Sequence[BoostSetting], options: ForestOptions, clock: Clock, progress: Progress
) -> np.ndarray:
    """Return the least loss of each setting on the groups' folds, and the share of the budget that has it.

    Args:
        groups: folds.
        settings: what to try.
        options: what the user asked for.
        clock: says what is left; without a plan, as many of the first settings are tried as there is time for.
        progress: is told.

    Returns:
        ``[S, 2]`` for the first S settings.
    """
    rows = groups[0].rows
    if rows.n > _SCREENED_ROWS:
        keep = sample_of(rows.n, _SCREENED_ROWS, options.seed)
        rows = rows.take(keep)
        groups = [Group(rows, group.active[keep], group.judged[keep]) for group in groups]
    for group in groups:
        group.codes  # noqa: B018 - computed once, before the threads share it

    def judge(setting: BoostSetting) -> tuple[float, float]:
        total = np.zeros(len(SPENT))
        for group in groups:
            whole = boost(group, setting, options.budget.limit)
            for place, spent in enumerate(SPENT):
                part = first_trees(whole, int(spent * options.budget.limit))
                total[place] += (rows.loss.parts(part.raw(group.codes), rows)[0] * rows.weight)[group.judged].sum()
        return float(total.min()), SPENT[int(total.argmin())]

    tried = settings if options.plan is None else settings[: options.plan["screened"]]
    found = in_time(tried, judge, options.jobs, lambda share: progress("screening", share), clock, _FOR_SCREENING)
    return np.array(found, float).reshape(-1, 2)


def ways_of(rows: Rows) -> list[tuple[float, float | None]]:
    """Return the shares of the budget, and strengths of the re-fit or None, with which a finalist is judged.

    Args:
        rows: what it is judged on.
    """
    refits = [(spent, l2) for spent in SPENT[::2] for l2 in REFITS] if rows.n <= _MANY else [(SPENT[0], REFITS[1])]
    return [*((spent, None) for spent in SPENT), *refits]


def sample_of(n: int, most: int, seed: int) -> np.ndarray:
    """Return which of n rows are drawn, bool ``[n]``.

    Args:
        n: rows.
        most: how many are drawn.
        seed: of the draw.
    """
    keep = np.zeros(n, bool)
    keep[np.random.default_rng(seed).choice(n, most, replace=False)] = True
    return keep


def out_of_fold(
    groups: Sequence[Group], settings: Sequence[BoostSetting], options: ForestOptions, clock: Clock, progress: Progress
) -> np.ndarray:
    """Return the out-of-fold losses of the first finalists, of each as grown and with each re-fit.

    Args:
        groups: group 0 of all rows, then one for each fold.
        settings: the finalists.
        options: what the user asked for.
        clock: says what is left; without a plan, as many of the first finalists are judged as there is time for.
        progress: is told.

    Returns:
        ``[S, V, n]`` for the first S finalists, V of ``ways_of``.
    """
    rows, ways = groups[0].rows, ways_of(groups[0].rows)
    for group in groups:
        group.codes  # noqa: B018 - computed once, before the threads share it

    def judge(job: tuple[BoostSetting, Group]) -> np.ndarray:
        setting, group = job
        whole = boost(group, setting, options.budget.limit)
        parts = {spent: first_trees(whole, int(spent * options.budget.limit)) for spent in SPENT}
        forests = [parts[s] if l2 is None else refit_leaves(parts[s], group, l2) for s, l2 in ways]
        answers = (rows.loss.answers(forest.raw(group.codes)) for forest in forests)
        return np.stack([judge_rows(options.metric, answer, rows)[group.judged] for answer in answers])

    folds = groups[1:]
    tried = settings if options.plan is None else settings[: options.plan["judged"]]
    jobs = [(setting, group) for setting in tried for group in folds]
    results = in_time(jobs, judge, options.jobs, lambda share: progress("finalists", share), clock, 1.0)
    losses = np.zeros((len(results) // len(folds), len(ways), rows.n))
    for place, each_setting in enumerate(losses):
        for group, part in zip(folds, results[place * len(folds) :], strict=False):
            each_setting[:, group.judged] = part
    return losses


def variants_of(settings: Sequence[BoostSetting], rows: Rows, losses: np.ndarray, weight: np.ndarray) -> list[Variant]:
    """Return the finalists that were judged.

    Args:
        settings: the finalists.
        rows: what they were judged on.
        losses: of ``out_of_fold``.
        weight: of the rows ``[n]``.
    """
    return [
        Variant(setting, spent, refit, by_row, float(np.average(by_row, weights=weight)))
        for setting, of_setting in zip(settings, losses, strict=False)
        for (spent, refit), by_row in zip(ways_of(rows), of_setting, strict=True)
    ]


def finalists_of(screened: Sequence[BoostSetting]) -> list[BoostSetting]:
    """Return the best settings of each kind, the best of all first.

    Args:
        screened: the best first.
    """
    best = [[s for s in screened if s.is_sampled == kind][:_FINALISTS] for kind in (False, True)]
    return sorted(best[0] + best[1], key=screened.index)


def choose(
    variants: Sequence[Variant], weight: np.ndarray, together: np.ndarray | None, metric: str
) -> tuple[Variant, list[dict[str, Any]], str]:
    """Return what ships, the comparisons, and why: sampling, then a re-fit, have to be clearly better to ship.

    Args:
        variants: what was judged on all folds.
        weight: of the rows ``[n]``.
        together: their groups, or None.
        metric: for the words.
    """
    kinds: list[tuple[str, Callable[[Variant], bool]]] = [
        ("the booster's leaves on all rows and columns", lambda v: v.refit is None and not v.setting.is_sampled),
        ("trees grown on samples of rows and columns", lambda v: v.refit is None and v.setting.is_sampled),
        ("re-fitted leaves", lambda v: v.refit is not None),
    ]
    winner: Variant | None = None
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
