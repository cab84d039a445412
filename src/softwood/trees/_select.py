"""Which candidate ships: out-of-fold losses, paired differences, and the benefit of the doubt for CART."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import xlogy

from softwood.kernels import SQUARED, Problem, leaf_cost
from softwood.trees._candidates import Candidate, Setting
from softwood.trees._dense_tree import DenseTree, lightest_leaf, pruned, pruned_to, with_heavy_leaves
from softwood.trees._loss import judge
from softwood.trees._rows import Group, Part

PRICES = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)  # of a leaf, as shares of the root's impurity
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # pseudo-rows at the prior in each shipped leaf
_TIE = 1e-3  # weight of the smooth loss beside the metric: it decides between equal ones


@dataclass(frozen=True)
class Trial:
    """One procedure's record.

    Args:
        setting: how its trees are found.
        price: of a leaf in pruning, as a share of the root's impurity.
        loss: mean out-of-fold loss by the metric.
        smooth: mean out-of-fold log-loss or squared error.
        leaf_values: of its tree on all rows, pruned at the price; 0 where it was not counted.
    """

    setting: Setting
    price: float
    loss: float
    smooth: float
    leaf_values: int = 0


@dataclass(frozen=True, eq=False)
class Choice:
    """What ships, and why.

    Args:
        candidate: whose tree of group 0 ships.
        tree: that tree, pruned; or the plain rounding of its soft parent.
        leaf: the plain rounding's own leaves ``[2^D, K]`` where that ships, else None: leaves are re-fitted.
        price: at which it was pruned.
        strength: pseudo-rows in its re-fitted leaves.
        trials: the best trial of each search.
        difference: mean out-of-fold loss of the best other candidate minus CART's.
        error: standard error of that difference.
        reason: one sentence.
    """

    candidate: Candidate
    tree: DenseTree
    leaf: np.ndarray | None
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
    smooth: np.ndarray  # by row
    plain: bool = False


@dataclass(frozen=True)
class Limits:
    """What has to hold for the tree that ships.

    Args:
        most_leaves: largest number of leaves, or None.
        least: weight of each leaf; 1 or less asks for nothing.
    """

    most_leaves: int | None = None
    least: float = 0.0

    def hold(self, tree: DenseTree, data: Problem) -> bool:
        """Say whether they do."""
        few = self.most_leaves is None or tree.n_leaves <= self.most_leaves
        return few and (self.least <= 1 or lightest_leaf(tree, data) >= self.least * (1 - 1e-9))


def choose(groups: Sequence[Group], candidates: Sequence[Candidate], metric: str, limits: Limits) -> Choice:
    """Compare all candidates on rows that they have not seen, and prefer the simpler one in doubt.

    Every candidate is pruned at several prices. The best price of each search is found by mean out-of-fold loss;
    then the best other search is compared with CART row by row, and ships only if the mean paired difference is
    more than one standard error below zero. A tree with a soft parent has to beat the parent's plain rounding first,
    in log-loss (squared error) by two standard errors; else the plain rounding stands in its place.

    Args:
        groups: group 0 of all rows, then one for each fold.
        candidates: each with a tree for each group.
        metric: as in ``judge``.
        limits: what has to hold.
    """
    best: dict[str, _Scored] = {}
    for candidate in candidates:
        winner = min(_scores(groups, candidate, PRICES, metric, limits), key=_rank)
        if candidate.soft:
            winner = _against_plain(winner, groups, metric, limits)
        seen = best.get(candidate.setting.search)
        if seen is None or _rank(winner) < _rank(seen):
            best[candidate.setting.search] = winner
    cart = best["cart"]
    others = [scored for search, scored in best.items() if search != "cart"]
    winner, difference, error, reason = cart, 0.0, 0.0, "CART was the only candidate"
    if others and len(groups) > 1:
        rival = min(others, key=_rank)
        difference, error = paired_difference(rival.losses - cart.losses, *_judged(groups))
        wins = difference < -error
        winner = rival if wins else cart
        verb = "is" if wins else "is not"
        reason = (
            f"{rival.trial.setting.search} {verb} better than CART by more than one standard error out of fold "
            f"({metric} loss {difference:+.4f}, standard error {error:.4f})"
        )
    parent = winner.candidate.soft[0] if winner.plain else None
    tree = parent.dense() if parent else _shape(winner.candidate.trees[0], groups[0], winner.trial, limits)
    return Choice(
        winner.candidate,
        tree,
        parent.leaf_answers() if parent else None,
        winner.trial.price,
        _strength(groups, winner, limits),
        tuple(_counted(groups[0], scored, limits) for scored in best.values()),
        difference,
        error,
        reason,
    )


def _against_plain(refitted: _Scored, groups: Sequence[Group], metric: str, limits: Limits) -> _Scored:
    """Return the plain rounding of the soft parents unless the re-fitted trees are clearly better than it."""
    plain = _plain_score(groups, refitted.candidate, metric)
    if not all(limits.hold(parent.dense(), parent.hardening.problem) for parent in refitted.candidate.soft):
        return refitted
    gain, error = paired_difference(refitted.smooth - plain.smooth, *_judged(groups))
    return refitted if gain < -2 * error else plain


def _judged(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray | None]:
    return judged_weight(groups), groups[0].rows.together


def _rank(scored: _Scored) -> tuple[float, float]:
    """Lower is better; of equal ones the one that is pruned more."""
    return scored.trial.loss + _TIE * scored.trial.smooth, -scored.trial.price


def judged_weight(groups: Sequence[Group]) -> np.ndarray:
    """Return the weight of each row, ``[n]``; 0 where no group is judged on it: what no fold answers counts nowhere.

    Args:
        groups: group 0 of all rows, then one for each fold.
    """
    weight = groups[0].rows.weight
    if len(groups) == 1:
        return weight
    judged: np.ndarray = weight * np.logical_or.reduce([group.judged for group in groups[1:]])
    return judged


def _counted(group: Group, scored: _Scored, limits: Limits) -> Trial:
    """Return a trial with the size of its tree on all rows."""
    outputs = 1 if group.rows.is_classification and len(group.prior) == 2 else len(group.prior)
    tree = scored.candidate.soft[0].dense() if scored.plain else None
    tree = tree or _shape(scored.candidate.trees[0], group, scored.trial, limits)
    return replace(scored.trial, leaf_values=tree.n_leaves * outputs)


def paired_difference(
    difference: np.ndarray, weight: np.ndarray, together: np.ndarray | None = None
) -> tuple[float, float]:
    r"""Return the weighted mean and its standard error.

    With weights w that sum to 1 and deviations d from the mean, the error is that of :math:`1 / \sum w^2` rows. Rows
    of one group go wrong together: with G groups it is :math:`\sqrt{\frac{G}{G-1} \sum_g (\sum_{i \in g} w_i d_i)^2}`.

    Args:
        difference: ``[n]``.
        weight: ``[n]``, >= 0.
        together: number of each row's group ``[n]``, or None.
    """
    weight = weight / weight.sum()
    mean = float(weight @ difference)
    deviation = difference - mean
    if together is not None:
        number = np.unique(together, return_inverse=True)[1]
        groups = int((np.bincount(number, weights=weight) > 0).sum())
        parts = np.bincount(number, weights=weight * deviation)
        return mean, float(np.sqrt(parts @ parts * groups / max(groups - 1, 1)))
    effective = 1 / (weight**2).sum()
    return mean, float(np.sqrt(weight @ deviation**2 / max(effective - 1, 1)))


def _shape(tree: DenseTree, group: Group, trial: Trial, limits: Limits) -> DenseTree:
    return _shapes(tree, group, trial.setting, [trial.price], limits)[0]


def _shapes(
    tree: DenseTree, group: Group, setting: Setting, prices: Sequence[float], limits: Limits
) -> list[DenseTree]:
    """Prune a group's tree at each price, which is a share of that group's own impurity, and to the limits."""
    data = group.problem(setting.criterion, setting.min_leaf, 0.0)
    levels = group.level_costs(tree, data)
    impurity = max(_impurity(group, setting.criterion, data, levels), 0.0)
    return [_limited(pruned(tree, levels, price * impurity), group, data, limits) for price in prices]


def _limited(tree: DenseTree, group: Group, data: Problem, limits: Limits) -> DenseTree:
    if limits.least > 1:
        tree = with_heavy_leaves(tree, data, limits.least)
    if limits.most_leaves is None or tree.n_leaves <= limits.most_leaves:
        return tree
    return pruned_to(tree, group.level_costs(tree, data), limits.most_leaves)


def _impurity(group: Group, criterion: str, data: Problem, levels: Sequence[np.ndarray]) -> float:
    """Return the loss of the best constant."""
    if not group.rows.loss.in_kernels:
        return float(levels[0][0])
    values = group.rows.taught if criterion == "logits" else group.rows.targets
    weight, targets = data.weight[data.active], values[data.active]
    impurity = leaf_cost(np.concatenate([[weight.sum()], weight @ targets]), data.prior, 0.0, data.kind)
    if data.kind == SQUARED:  # leaf_cost leaves out the sum of squares
        return float(impurity + weight @ (targets**2).sum(1))
    if not group.rows.is_classification:  # and of the Poisson deviance what does not depend on the leaf
        return float(impurity + weight @ xlogy(targets, targets).sum(1))
    return float(impurity)


def _answers(group: Group, part: Part, tree: DenseTree, criterion: str, strength: float) -> np.ndarray:
    """Return what a tree answers to some rows, ``[m, K]``, with leaves fitted on the group's."""
    answers: np.ndarray = group.values(tree, criterion, strength)[tree.leaf_of(part.codes)]
    return answers


def _folds(groups: Sequence[Group], things: Sequence[Any]) -> list[tuple[Group, Any, Part]]:
    """Return (group, its thing, rows to judge it on) for each fold; without folds, all rows on themselves."""
    pairs = list(zip(groups, things, strict=True))
    return [(group, thing, group.judged_part) for group, thing in pairs[1:]] or [
        (*pairs[0], pairs[0][0].part(pairs[0][0].active))
    ]


def _scores(
    groups: Sequence[Group], candidate: Candidate, prices: Sequence[float], metric: str, limits: Limits
) -> list[_Scored]:
    """Judge a candidate out of fold, its trees pruned at each price."""
    rows, setting = groups[0].rows, candidate.setting
    totals, count = np.zeros((len(prices), 2, rows.n)), np.zeros(rows.n)
    for group, tree, part in _folds(groups, candidate.trees):
        known: dict[bytes, np.ndarray] = {}  # many prices prune alike
        for total, shaped in zip(totals, _shapes(tree, group, setting, prices, limits), strict=True):
            key = b"".join(array.tobytes() for array in (shaped.feature, shaped.cut, shaped.missing_left))
            if key not in known:
                known[key] = _losses(_answers(group, part, shaped, setting.criterion, 1.0), part, metric)
            total[:, part.place] += known[key]
        count[part.place] += 1
    pairs = zip(prices, totals, strict=True)
    return [_scored(candidate, price, total, count, rows.weight) for price, total in pairs]


def _plain_score(groups: Sequence[Group], candidate: Candidate, metric: str) -> _Scored:
    """Judge the plain rounding of a candidate's soft parents out of fold."""
    rows = groups[0].rows
    total, count = np.zeros((2, rows.n)), np.zeros(rows.n)
    for _, parent, part in _folds(groups, candidate.soft):
        answers = parent.leaf_answers()[parent.dense().leaf_of(part.codes)]
        total[:, part.place] += _losses(answers, part, metric)
        count[part.place] += 1
    return _scored(candidate, None, total, count, rows.weight)


def _losses(answers: np.ndarray, part: Part, metric: str) -> np.ndarray:
    """Return the loss of each row by the metric and by the smooth loss, ``[2, m]``."""
    return np.stack([judge(name, answers, part.rows) for name in (metric, part.rows.loss.name)])


def _scored(
    candidate: Candidate, price: float | None, total: np.ndarray, count: np.ndarray, weight: np.ndarray
) -> _Scored:
    losses, smooth = total / np.maximum(count, 1)
    mean, mean_smooth = (float(np.average(part, weights=weight * (count > 0))) for part in (losses, smooth))
    trial = Trial(candidate.setting, price or 0.0, mean, mean_smooth)
    return _Scored(candidate, trial, losses, smooth, price is None)


def _strength(groups: Sequence[Group], winner: _Scored, limits: Limits) -> float:
    """Return the smoothing of the leaves with the least out-of-fold log-loss or squared error."""
    rows = groups[0].rows
    if len(groups) == 1:
        return 0.0 if rows.loss.criteria == ("squared",) else 1.0
    shaped = [
        (group, _shape(tree, group, winner.trial, limits), part)
        for group, tree, part in _folds(groups, winner.candidate.trees)
    ]

    def loss(strength: float) -> float:
        total = 0.0
        for group, tree, part in shaped:
            answers = _answers(group, part, tree, winner.trial.setting.criterion, strength)
            total += float(judge(rows.loss.name, answers, part.rows) @ part.rows.weight)
        return total

    return min(STRENGTHS, key=loss)
