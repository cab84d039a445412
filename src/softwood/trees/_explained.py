"""What a fitted learner says about its answers: paths through the trees, explanations, stability."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from softwood.artifacts import Explanation, HardEnsemble
from softwood.core import UnsupportedError
from softwood.lifecycle import listed_to, observe_leaves
from softwood.trees._labels import class_codes
from softwood.trees._peers import peers
from softwood.trees._stability import ForestRefit, Stability, TreeRefit


def column_units(model: HardEnsemble, x: np.ndarray) -> dict[str, float]:
    """Return the standard deviation of each number column that the model tests, by its name.

    Args:
        model: the ensemble.
        x: float64 ``[n, C]``, encoded rows.
    """
    tested = np.unique(model.feature[model.feature >= 0]).tolist()
    numbers = [position for position in tested if model.columns[position].kind == "number"]
    units = {}
    for position in numbers:
        known = x[~np.isnan(x[:, position]), position]
        size = float(np.abs(known).max(initial=0.0))  # scaled, for squares of large values overflow
        deviation = size * float((known / size).std()) if size > 0 else 0.0
        if deviation > 0:
            units[model.columns[position].name] = deviation
    return units


def training_facts(model: HardEnsemble, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> dict[str, Any]:
    """Return sums over the training rows that the record keeps: units of the columns, and for one tree each leaf.

    Args:
        model: what ships.
        x: float64 ``[n, C]``, encoded.
        y: labels ``[n]``, or values ``[n]`` or ``[n, K]``.
        weight: ``[n]``, or None.

    Returns:
        ``units``, see ``column_units``; ``leaves``, JSON content of ``observe_leaves``, none for a forest.
    """
    leaves: list[dict[str, Any]] = []
    if model.n_trees == 1:
        truth = (
            np.asarray(y, np.float64).reshape(len(x), -1) if model.classes is None else class_codes(model.classes, y)
        )
        leaves = listed_to(observe_leaves(model, model.apply_encoded(x)[:, 0], truth, weight))
    return {"units": column_units(model, x), "leaves": leaves}


class Explained:
    """Paths, explanations and stability of a learner with ``artifact_``."""

    artifact_: HardEnsemble
    record_: dict[str, Any]
    _refit: TreeRefit | ForestRefit | None = None
    _stability: Stability | None = None
    _learned_rows: tuple[np.ndarray, Any, np.ndarray] | None = None
    effort: float

    def _can_refit(self, refit: TreeRefit | ForestRefit | None) -> None:
        """Keep what a later look at ``stability_`` needs, in memory only."""
        self._refit, self._stability = refit, None

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        if isinstance(state, dict):  # a stored learner holds no training row
            state = {name: value for name, value in state.items() if name not in ("_refit", "_learned_rows")}
        return state

    @property
    def stability_(self) -> Stability:
        """How much of the model comes back on 50 bootstrap samples of the training rows.

        It is computed at the first look, about 5 s for 5,000 rows of 50 columns, from the rows that were learned from,
        which a fitted learner keeps in memory; they are left out when it is copied or stored.

        Raises:
            NotFittedError: the learner is not fitted.
            UnsupportedError: it was copied or stored before the first look, or its model was not found by a search.
        """
        check_is_fitted(self)
        if self._stability is None:
            if self._refit is None:
                raise UnsupportedError(
                    "stability_ needs the training rows, which a learner that was copied or stored does not hold; look "
                    "at it before, or fit again"
                )
            self._stability = self._refit.stability(self.artifact_)
        return self._stability

    def _frame(self, x: Any) -> Any:
        """Return a table that ``artifact_`` reads; the learner's own checks."""
        return x

    def _compare(self, judged: tuple[np.ndarray, Any, np.ndarray]) -> list[dict[str, Any]]:
        """Return how peers fare on other rows, see ``peers``: encoded, their labels or values, their weights."""
        if self._learned_rows is None or self.artifact_.link == "exp" or np.ndim(judged[1]) > 1:
            return []  # a booster of another loss, or of several targets, is no fair peer
        return peers(self.artifact_, self._learned_rows, judged, effort=self.effort, seed=0)

    def decision_path(self, X: Any) -> Any:
        """Return which nodes each row passes, as scikit-learn's trees and forests do.

        Args:
            X: table as in ``fit``.

        Returns:
            Of one tree CSR ``[n, nodes]``, 1 at a node that is passed; of a forest that, and where each tree's nodes
            begin, ``[T + 1]``.
        """
        indicator, starts = self.artifact_.decision_path(self._frame(X))
        return (indicator, starts) if hasattr(self, "budget") else indicator

    def explain(
        self, X: Any, *, keep: Collection[str] = (), wanted: Any = None, by: float | None = None,
        counterfactual: bool = True,
    ) -> list[Explanation]:  # fmt: skip
        """Explain the answer to each row; see ``HardEnsemble.explain``. Changes count in standard deviations.

        Args:
            X: table as in ``fit``.
            keep: names of columns that the counterfactual may not change.
            wanted: the label or value to reach; None for any other label.
            by: of a regression, how much the value has to rise or fall.
            counterfactual: search for one.

        Raises:
            InputError: a column to keep is unknown, or what is wanted does not fit the model.
        """
        table = self._frame(X)
        return self.artifact_.explain(
            table, keep=keep, wanted=wanted, by=by, units=self.record_["units"], counterfactual=counterfactual
        )
