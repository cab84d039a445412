"""Which candidate ships: out-of-fold losses, paired differences, and the benefit of the doubt for CART."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from softwood.kernels import leaf_cost
from softwood.trees._candidates import Candidate, Setting
from softwood.trees._dense_tree import DenseTree, pruned, pruned_to
from softwood.trees._rows import Group, Rows

PRICES = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)  # of a leaf, as shares of the root's impurity
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # pseudo-rows at the prior in each shipped leaf
_TIE = 1e-3  # weight of the smooth loss beside the metric: it decides between equal ones

METRICS: dict[str, Callable[[np.ndarray, Rows], np.ndarray]] = {
    "accuracy": lambda answer, rows: (answer.argmax(1) != rows.labels).astype(float),
    "log_loss": lambda answer, rows: -np.log(np.maximum(answer[np.arange(rows.n), rows.labels], 1e-15)),
    "squared": lambda answer, rows: ((answer - rows.targets) ** 2).mean(1),
    "absolute": lambda answer, rows: np.abs(answer - rows.targets).mean(1),
}
"""Loss of each row, ``[n]``, from answers ``[n, K]``; lower is better."""


@dataclass(frozen=True)
class Trial:
    """One procedure's record.

    Args:
        setting: how its trees are found.
        price: of a leaf in pruning, as a share of the root's impurity.
        loss: mean out-of-fold loss by the metric.
        smooth: mean out-of-fold log-loss or squared error.
    """

    setting: Setting
    price: float
    loss: float
    smooth: float


@dataclass(frozen=True, eq=False)
class Choice:
    """What ships, and why.

    Args:
        candidate: whose tree of group 0 ships.
        tree: that tree, pruned.
        price: at which it was pruned.
        strength: pseudo-rows in its leaves.
        trials: the best trial of each search.
        difference: mean out-of-fold loss of the best other candidate minus CART's.
        error: standard error of that difference.
        reason: one sentence.
    """

    candidate: Candidate
    tree: DenseTree
    price: float
    strength: float
    trials: tuple[Trial, ...]
    difference: float
    error: float
    reason: str


@dataclass(frozen=True, eq=False)
class _Scored:
    candidate: Candidate
    trial: Trial
    losses: np.ndarray  # by row


def choose(groups: Sequence[Group], candidates: Sequence[Candidate], metric: str, most_leaves: int | None) -> Choice:
    """Compare all candidates on rows that they have not seen, and prefer CART unless another is clearly better.

    Every candidate is pruned at several prices. The best price of each search is found by mean out-of-fold loss;
    then the best other search is compared with CART row by row, and ships only if the mean paired difference is
    more than one standard error below zero.

    Args:
        groups: group 0 of all rows, then one for each fold.
        candidates: each with a tree for each group.
        metric: a key of ``METRICS``.
        most_leaves: largest number of leaves, or None.
    """
    best: dict[str, _Scored] = {}
    for candidate in candidates:
        for price in PRICES:
            scored = _score(groups, candidate, price, metric, most_leaves)
            seen = best.get(candidate.setting.search)
            if seen is None or _rank(scored) < _rank(seen):
                best[candidate.setting.search] = scored
    cart = best["cart"]
    others = [scored for search, scored in best.items() if search != "cart"]
    winner, difference, error, reason = cart, 0.0, 0.0, "CART was the only candidate"
    if others and len(groups) > 1:
        rival = min(others, key=_rank)
        weight = groups[0].rows.weight
        difference, error = _paired(rival.losses - cart.losses, weight)
        wins = difference < -error
        winner = rival if wins else cart
        verb = "is" if wins else "is not"
        reason = (
            f"{rival.trial.setting.search} {verb} better than CART by more than one standard error out of fold "
            f"({metric} loss {difference:+.4f}, standard error {error:.4f})"
        )
    tree = _shape(winner.candidate.trees[0], groups[0], winner.trial, most_leaves)
    strength = _strength(groups, winner, most_leaves)
    trials = tuple(scored.trial for scored in best.values())
    return Choice(winner.candidate, tree, winner.trial.price, strength, trials, difference, error, reason)


def _rank(scored: _Scored) -> tuple[float, float]:
    """Lower is better; of equal ones the one that is pruned more."""
    return scored.trial.loss + _TIE * scored.trial.smooth, -scored.trial.price


def _paired(difference: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return weighted mean and standard error."""
    mean = float(np.average(difference, weights=weight))
    variance = float(np.average((difference - mean) ** 2, weights=weight))
    effective = weight.sum() ** 2 / (weight**2).sum()
    return mean, float(np.sqrt(variance / max(effective - 1, 1)))


def _shape(tree: DenseTree, group: Group, trial: Trial, most_leaves: int | None) -> DenseTree:
    """Prune a group's tree at the trial's price, which is a share of that group's own impurity."""
    data = group.problem(trial.setting.criterion, trial.setting.min_leaf, 0.0)
    total = np.concatenate(
        [[data.weight[data.active].sum()], data.weight[data.active] @ group.rows.targets[data.active]]
    )
    impurity = leaf_cost(total, data.prior, 0.0, data.kind)
    if trial.setting.criterion != "entropy":  # leaf_cost leaves out the sum of squares
        impurity += float(data.weight[data.active] @ (group.rows.targets[data.active] ** 2).sum(1))
    tree = pruned(tree, data, trial.price * max(impurity, 0.0))
    return tree if most_leaves is None else pruned_to(tree, data, most_leaves)


def _answers(group: Group, tree: DenseTree, criterion: str, strength: float) -> np.ndarray:
    """Return what a tree answers to all rows, ``[n, K]``, with leaves fitted on the group's."""
    values = tree.values(group.problem(criterion, 0.0, strength), strength)
    answers: np.ndarray = values[tree.leaf_of(group.codes)]
    return answers


def _score(
    groups: Sequence[Group], candidate: Candidate, price: float, metric: str, most_leaves: int | None
) -> _Scored:
    rows, setting = groups[0].rows, candidate.setting
    trial = Trial(setting, price, 0.0, 0.0)
    smooth_metric = "log_loss" if rows.is_classification else "squared"
    total, smooth, count = np.zeros(rows.n), np.zeros(rows.n), np.zeros(rows.n)
    folds = list(zip(groups, candidate.trees, strict=True))
    for group, tree in folds[1:] or folds:  # without folds: on the rows themselves, for want of others
        outside = ~group.active if len(folds) > 1 else group.active
        answers = _answers(group, _shape(tree, group, trial, most_leaves), setting.criterion, 1.0)
        total += np.where(outside, METRICS[metric](answers, rows), 0.0)
        smooth += np.where(outside, METRICS[smooth_metric](answers, rows), 0.0)
        count += outside
    losses = total / np.maximum(count, 1)
    mean = float(np.average(losses, weights=rows.weight))
    mean_smooth = float(np.average(smooth / np.maximum(count, 1), weights=rows.weight))
    return _Scored(candidate, Trial(setting, price, mean, mean_smooth), losses)


def _strength(groups: Sequence[Group], winner: _Scored, most_leaves: int | None) -> float:
    """Return the smoothing of the leaves with the least out-of-fold log-loss or squared error."""
    rows, metric = groups[0].rows, "log_loss" if groups[0].rows.is_classification else "squared"
    shaped = [
        (group, _shape(tree, group, winner.trial, most_leaves))
        for group, tree in list(zip(groups, winner.candidate.trees, strict=True))[1:]
    ]
    if not shaped:
        return 1.0 if rows.is_classification else 0.0

    def loss(strength: float) -> float:
        total = 0.0
        for group, tree in shaped:
            losses = METRICS[metric](_answers(group, tree, winner.trial.setting.criterion, strength), rows)
            total += float((losses * rows.weight)[~group.active].sum())
        return total

    return min(STRENGTHS, key=loss)
