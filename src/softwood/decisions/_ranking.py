"""Scorers of items in lists, trained for a metric of the whole list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import Tensor

from softwood.core import InputError, capability, check_choice, check_number
from softwood.decisions._training import as_tensor, dealt, descend, network
from softwood.losses import mrr_loss, ndcg_loss, neural_ndcg_loss

ListLoss = Callable[..., Tensor]
LOSSES: dict[str, ListLoss] = {"mrr": mrr_loss, "ndcg": ndcg_loss, "neural_ndcg": neural_ndcg_loss}


def _places(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each row the number of its list, and its place there."""
    _, lists = np.unique(groups, return_inverse=True)
    order = np.argsort(lists, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(lists[order]) > 0])
    place = np.empty(len(lists), dtype=np.int64)
    place[order] = np.arange(len(lists)) - np.repeat(starts, np.diff(np.r_[starts, len(lists)]))
    return lists, place


@capability("estimator", papers=("neural-ndcg",), cost="fit: max_iter batches of lists; predict: O(n features)")
class RankingLearner(BaseEstimator):
    """A small network that scores items so that each list, sorted by score, is in a good order.

    Rows of one list share a value of ``groups``, in any order and number; they are padded and masked. Training takes
    the loss of whole lists, by default the O(n log n) NDCG of soft ranks. Try ``"neural_ndcg"`` (O(n^2) a list) and a
    plain ListNet beside it: on small tables they end up close.

    Args:
        loss: ``"ndcg"`` (soft ranks), ``"neural_ndcg"`` or ``"mrr"``; or a function of (scores, target, mask=), each
            ``[lists, n]``.
        k: places that count, in the loss (NDCG) and in ``score``; all by default.
        hidden: units of the layers of the network.
        temperature: of the loss, in units of scores; None for the loss's own.
        max_iter: steps of Adam.
        batch_size: lists of a step.
        learning_rate: > 0.
        weight_decay: >= 0.
        random_state: of everything random.

    Raises:
        InputError: a parameter is out of range.

    Limit: what answers is the order.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, groups = rng.normal(size=(300, 2)), np.repeat(np.arange(30), 10)
        >>> y = np.digitize(x[:, 0], [-1, 0, 1])
        >>> model = RankingLearner(max_iter=100).fit(x, y, groups=groups)
        >>> model.score(x, y, groups=groups) > 0.9
        True
        >>> model.rank(np.array([[0.0, 0], [2.0, 0], [-2.0, 0]]), groups=[1, 1, 1])
        array([2, 1, 3])

    Cost: fit: ``max_iter`` steps of a small network on ``batch_size`` lists and of the loss; predict: one pass.

    Source: Pobrotyn and Białobrzeski 2021, "NeuralNDCG"; Qin, Liu and Li 2010 (ApproxNDCG).
    """

    def __init__(
        self,
        loss: str | ListLoss = "ndcg",
        *,
        k: int | None = None,
        hidden: tuple[int, ...] = (32,),
        temperature: float | None = None,
        max_iter: int = 300,
        batch_size: int = 64,
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        random_state: Any = 0,
    ) -> None:
        self.loss = loss
        self.k = k
        self.hidden = hidden
        self.temperature = temperature
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> RankingLearner:
        """Learn.

        Args:
            X: rows ``[n, features]`` of numbers, one for each item.
            y: relevance ``[n]``, >= 0.
            groups: the list of each item ``[n]``; None for one list.
        """
        x, y = validate_data(self, X, y, y_numeric=True)
        relevance = as_tensor(y)
        if bool((relevance < 0).any()):
            raise InputError("relevance is below 0", got=float(relevance.min()), allowed="numbers >= 0",
                             fix="shift y; 0 is worth nothing")  # fmt: skip
        lists, place = self._lists(groups, len(x))
        shape = int(lists.max()) + 1, int(place.max()) + 1
        rows = torch.zeros(*shape, x.shape[1], dtype=torch.float64)
        target, mask = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.bool)
        rows[lists, place], target[lists, place], mask[lists, place] = as_tensor(x), relevance, True
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.network_ = network(as_tensor(x), tuple(self.hidden), 1, seed)
        self.n_iter_ = check_number("max_iter", self.max_iter, low=0, integer=True)
        measured = self._loss()

        def loss(batch: Tensor) -> Tensor:
            longest = int(mask[batch].sum(1).max())  # no further: padding costs as much as items
            part = mask[batch, :longest]
            return measured(self._scores(rows[batch, :longest]), target[batch, :longest], mask=part)

        size = check_number("batch_size", self.batch_size, low=1, integer=True)
        descend(
            self.network_, loss, dealt(shape[0], size, torch.Generator().manual_seed(seed)), self.n_iter_,
            check_number("learning_rate", self.learning_rate, low=1e-12),
            check_number("weight_decay", self.weight_decay, low=0),
        )  # fmt: skip
        return self

    def _loss(self) -> ListLoss:
        options: dict[str, Any] = {} if self.temperature is None else {"temperature": self.temperature}
        if callable(self.loss):
            found: ListLoss = self.loss
        else:
            found = LOSSES[check_choice("loss", self.loss, LOSSES)]
            if self.k is not None and self.loss != "mrr":
                options["k"] = check_number("k", self.k, low=1, integer=True)
        return lambda scores, target, mask: found(scores, target, mask=mask, **options)

    def _scores(self, rows: Tensor) -> Tensor:
        return self.network_(rows).squeeze(-1)

    @staticmethod
    def _lists(groups: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        given = np.zeros(n, dtype=np.int64) if groups is None else np.asarray(groups)
        check_consistent_length(given, np.empty(n))
        return _places(given)

    def predict(self, X: Any) -> np.ndarray:
        """Return scores ``[n]``, higher is ranked first.

        Args:
            X: rows ``[n, features]``.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        with torch.no_grad():
            return self._scores(as_tensor(x)).numpy()

    def rank(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return the rank of each item in its list, from 1; equal scores in the order in which they came.

        Args:
            X: rows ``[n, features]``.
            groups: the list of each item ``[n]``; None for one list.
        """
        scores = self.predict(X)
        lists, _ = self._lists(groups, len(scores))
        order = np.lexsort((-scores, lists))
        rank = np.empty(len(scores), dtype=np.int64)
        rank[order] = _places(lists[order])[1] + 1
        return rank

    def score(self, X: Any, y: Any, groups: Any = None) -> float:
        """Return the mean NDCG@k over the lists with something relevant, exact.

        Args:
            X: rows ``[n, features]``.
            y: relevance ``[n]``, >= 0.
            groups: the list of each item ``[n]``; None for one list.
        """
        scores = self.predict(X)
        lists, place = self._lists(groups, len(scores))
        shape = int(lists.max()) + 1, int(place.max()) + 1
        found, target = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        mask = torch.zeros(shape, dtype=torch.bool)
        found[lists, place], target[lists, place] = torch.as_tensor(scores), as_tensor(y)
        mask[lists, place] = True
        return 1 - float(ndcg_loss(found, target, k=self.k, hard=True, mask=mask))
