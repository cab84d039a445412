"""What each leaf of one tree ships, beside what was observed on rows that reach it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from softwood.artifacts import HardEnsemble
from softwood.lifecycle._intervals import Estimate, mean_of, share_of

MOST_LEAVES = 2_000


@dataclass(frozen=True)
class LeafObserved:
    """One leaf, and for several outputs of a regression one of them.

    Args:
        leaf: its number in the model.
        n: rows that reach it.
        answer: the label that it gives, or the output's name.
        shipped: its probability of that label, or its value.
        observed: the label's rate on these rows, with its Clopper-Pearson interval; or their mean, with its t interval.
            None for no row, and for the mean of a single row, which would be that row's own target.

    Example:
        >>> LeafObserved(0, 40, "yes", 0.9, Estimate(0.875, 0.73, 0.96)).n
        40
    """

    leaf: int
    n: int
    answer: str
    shipped: float
    observed: Estimate | None

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> LeafObserved:
        """Read what ``dataclasses.asdict`` gave.

        Args:
            content: the fields.
        """
        observed = content["observed"]
        return cls(**{**content, "observed": None if observed is None else Estimate(**observed)})


def leaf_answers(model: HardEnsemble) -> list[tuple[int, int, str, float]]:
    """Return what each leaf of a single tree ships: leaf, class or output, its name, probability or value.

    Args:
        model: one tree.

    Raises:
        ValueError: the model has several trees; their leaves answer nothing by themselves.

    Example:
        >>> from softwood.artifacts import Column
        >>> leaf_answers(HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=("y",)))
        [(0, 0, 'y', 2.0)]
    """
    if model.n_trees != 1:
        raise ValueError(f"the leaves of {model.n_trees} trees answer nothing by themselves")
    raw = model.base + model.values
    if model.classes is None:
        values = model.numbers(raw).tolist()
        return [(leaf, k, name, values[leaf][k]) for leaf in range(len(raw)) for k, name in enumerate(model.outputs)]
    labels, chances = model.labels(raw).tolist(), model.probabilities(raw)
    places = [model.classes.index(label) for label in labels]
    return [(leaf, k, str(labels[leaf]), float(chances[leaf, k])) for leaf, k in enumerate(places)]


def observe_leaves(
    model: HardEnsemble, leaves: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None, level: float = 0.95
) -> tuple[LeafObserved, ...]:
    """Return what each leaf of a single tree ships and what was observed in it; nothing for more than 2,000 leaves.

    Args:
        model: one tree.
        leaves: int ``[n]``, the leaf of each row.
        truth: codes of the classes, int ``[n]``; or values, float64 ``[n, K]``.
        weight: ``[n]`` or None.
        level: confidence of the intervals.

    Cost: O(n log n + L).

    Example:
        >>> from softwood.artifacts import Column
        >>> model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=("y",))
        >>> print(observe_leaves(model, np.zeros(3, int), np.array([[1.0], [2.0], [3.0]]))[0].observed)
        2 [-0.4841, 4.484]
    """
    if model.n_leaves > MOST_LEAVES:
        return ()
    order = np.argsort(leaves, kind="stable")
    ends = np.cumsum(np.bincount(leaves, minlength=model.n_leaves))
    groups = np.split(order, ends[:-1])
    found = []
    for leaf, place, name, shipped in leaf_answers(model):
        rows = groups[leaf]
        some = np.ones(len(rows)) if weight is None else weight[rows]
        if len(rows) == 0:
            observed = None
        elif model.classes is None:
            observed = mean_of(truth[rows, place], some, level)
        else:
            observed = share_of(truth[rows] == place, None if weight is None else some, level)
        found.append(LeafObserved(leaf, len(rows), name, shipped, observed))
    return tuple(found)


def leaf_lines(listed: Iterable[LeafObserved]) -> list[str]:
    """Return a leaf listing as lines of text.

    Args:
        listed: what ``observe_leaves`` gave.

    Example:
        >>> leaf_lines([LeafObserved(0, 40, "yes", 0.9, Estimate(0.875, 0.73, 0.96))])
        ['leaf 0: ships yes 0.9, observed 0.875 [0.73, 0.96] on 40 rows']
    """
    return [
        f"leaf {line.leaf}: ships {line.answer} {line.shipped:.4g}, "
        + ("not observed" if line.observed is None else f"observed {line.observed}")
        + f" on {line.n} row{'s' * (line.n != 1)}"
        for line in listed
    ]


def listed_from(content: Iterable[dict[str, Any]]) -> tuple[LeafObserved, ...]:
    """Read a leaf listing from JSON content.

    Args:
        content: what ``listed_to`` gave.

    Example:
        >>> listed_from(listed_to([LeafObserved(0, 1, "y", 2.0, None)]))
        (LeafObserved(leaf=0, n=1, answer='y', shipped=2.0, observed=None),)
    """
    return tuple(LeafObserved.from_dict(line) for line in content)


def listed_to(listed: Iterable[LeafObserved]) -> list[dict[str, Any]]:
    """Return a leaf listing as JSON content.

    Args:
        listed: what ``observe_leaves`` gave.

    Example:
        >>> listed_to([LeafObserved(0, 1, "y", 2.0, None)])[0]["n"]
        1
    """
    return [asdict(line) for line in listed]
