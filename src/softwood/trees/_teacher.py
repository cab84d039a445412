"""Small tables made larger: rows put together from two neighbours, answered by a random forest.

One small tree sees too little in a few hundred rows to place its tests well, a forest sees more. What the forest says
of many rows that lie between the real ones shows the tree where the borders are (TREPAN, Craven and Shavlik, 1996;
combined multiple models, Domingos, 1997).
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import NearestNeighbors

from softwood.data import QuantileCodec
from softwood.kernels import Problem
from softwood.trees._rows import Group, sampled

_MOST_REAL, _LEAST_MADE, _MOST_MADE = 20_000, 1_000, 10_000  # rows
_MADE_WEIGHT = 4.0  # of all made rows, in multiples of the real ones'
_NEIGHBOURS, _MOST_PARTNERS = 10, 2_000


def taught(group: Group, data: Problem, trees: int, seed: int) -> Problem:
    """Return a problem of the active rows and of made rows that a forest has answered.

    A made row takes each column from one of two neighbours, by the toss of a coin. Its label is the forest's first
    choice, its value the forest's mean.

    Args:
        group: whose active rows the forest learns from.
        data: the group's problem.
        trees: of the forest.
        seed: of the forest and of the rows.

    Cost: O(forest) + O(n p F) to find neighbours among p <= 2,000 partners.
    """
    random = np.random.default_rng(seed)
    real = sampled(data, _MOST_REAL, random)
    by_label, n = len(real.labels) > 0, len(real.weight)
    made = _made(group, real, random)
    kind = RandomForestClassifier if by_label else RandomForestRegressor
    forest = kind(trees, max_features="sqrt" if by_label else 0.5, random_state=seed)
    target = real.labels if by_label else real.moments / real.weight[:, None]
    answer = forest.fit(real.codes.T, target.squeeze(), sample_weight=real.weight).predict(made.T)
    count = made.shape[1]
    weight = np.full(count, _MADE_WEIGHT * real.weight.sum() / count)
    return real._replace(
        codes=np.ascontiguousarray(np.hstack([real.codes, made])),
        labels=np.concatenate([real.labels, answer.astype(np.int32)]) if by_label else real.labels,
        moments=real.moments if by_label else np.vstack([real.moments, answer.reshape(count, -1) * weight[:, None]]),
        weight=np.concatenate([real.weight, weight]), active=np.ones(n + count, bool),
    )  # fmt: skip


def _made(group: Group, real: Problem, random: np.random.Generator) -> np.ndarray:
    """Return codes of made rows, uint8 ``[F, m]``; the orders of one category column stay together."""
    count = int(np.clip(len(real.weight), _LEAST_MADE, _MOST_MADE))
    first, second, from_first = crossed(group.codec, real.codes, real.weight, count, random)
    columns = np.array([feature.column for feature in group.codec.features])
    codes: np.ndarray = np.where(from_first[columns], real.codes[:, first], real.codes[:, second])
    return codes


def crossed(
    codec: QuantileCodec, codes: np.ndarray, weight: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which two neighbours each made row comes from, ``[m]`` each, and which columns it takes from the first,
    bool ``[C, m]``.

    Args:
        codec: says where values lie.
        codes: of the real rows, uint8 ``[F, n]``.
        weight: ``[n]``, how often a row is taken.
        count: m.
        random: source of the choice.

    Cost: O(n p F) to find neighbours among p <= 2,000 partners.
    """
    n = len(weight)
    ranks = np.nan_to_num(codec.ranks(codes), nan=0.5)
    partners = random.choice(n, min(n, _MOST_PARTNERS), replace=False)
    search = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(partners))).fit(ranks[partners])
    first = random.choice(n, count, p=weight / weight.sum())
    near = search.kneighbors(ranks, return_distance=False)
    second = partners[near[first, random.integers(0, near.shape[1], count)]]
    columns = max(feature.column for feature in codec.features) + 1
    return first, second, random.random((columns, count)) < 0.5
