"""Which k of many models answer for an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from softwood.core import InputError, capability, check_choice, check_number
from softwood.decisions._training import as_tensor, descend, network, stratified
from softwood.gradients import FunctionEstimator, Perturbed
from softwood.layers import TopKMask

COMBINATIONS = ("probabilities", "logits")
_LEAST = 1e-6  # a probability of 0 has no logarithm


def _is_fitted(member: Any) -> bool:
    try:
        check_is_fitted(member)
    except NotFittedError:
        return False
    return True


@capability("estimator", papers=("ensemble-selection",), cost="predict: a small network and k members a row")
class SelectiveEnsembleClassifier(ClassifierMixin, BaseEstimator):
    r"""An ensemble that asks, of all its members, the k that know best about the input at hand.

    A small network scores the members, :math:`c = g(x)`; the k best vote. It learns through that choice by noise on the
    scores (``gradients.Perturbed``), end to end with the loss of the vote, members frozen:

    .. math:: z^* = \operatorname{argmax}_{z \in \{0, 1\}^m,\ \sum z = k} c \cdot z, \qquad
              -\log \tfrac1k \sum_j \mathbb{E}\, z^*_j(c + \sigma \epsilon) \, p_j(y \mid x) .

    Members that are fitted stay as they are: give ``fit`` rows that they have not learned from, as on their own rows
    all of them look good. Members that are not are cloned, and fitted on a part of the rows of their own.
    (``clone`` forgets what a member has learned; ``sklearn.frozen.FrozenEstimator`` around it does not.)

    Args:
        estimators: at least one classifier with ``predict_proba``; a member may know some of the classes only.
        k: how many answer for a row; all of them where there are fewer.
        estimator: of the gradient through the choice; None is ``Perturbed(sigma=0.5, n_samples=16)``.
        normalise: scores get mean 0 and spread 1 in each row, which are the units of sigma.
        combine: ``"probabilities"`` averages those of the chosen members, ``"logits"`` adds up their logarithms.
        hidden: units of the layers of the network.
        share: of the rows, for the network, where a member is still to be fitted.
        max_iter: steps of Adam.
        batch_size: rows of a step.
        learning_rate: > 0.
        weight_decay: >= 0.
        random_state: of everything random.

    Raises:
        InputError: a parameter is out of range, or there is no member.

    Limit: what answers is the discrete choice; nothing soft is left after ``fit``.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> model = SelectiveEnsembleClassifier([GaussianNB(), DecisionTreeClassifier(max_depth=1)], k=1)
        >>> model.fit(x, y).select(x).sum(1).max()
        np.int64(1)

    Cost: fit: every member once on every row, then ``max_iter`` steps of a small network; predict: that network, and
    each member on the rows that chose it, k calls a row.

    Source: Kotary, Di Vito and Fioretto 2023, "Differentiable Model Selection for Ensemble Learning"; Berthet et al.
    2020 (perturbed optimizers).
    """

    def __init__(
        self,
        estimators: Sequence[Any] = (),
        k: int = 1,
        *,
        estimator: FunctionEstimator | None = None,
        normalise: bool = True,
        combine: str = "probabilities",
        hidden: tuple[int, ...] = (64,),
        share: float = 0.5,
        max_iter: int = 500,
        batch_size: int = 256,
        learning_rate: float = 0.005,
        weight_decay: float = 0.01,
        random_state: Any = 0,
    ) -> None:
        self.estimators = estimators
        self.k = k
        self.estimator = estimator
        self.normalise = normalise
        self.combine = combine
        self.hidden = hidden
        self.share = share
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SelectiveEnsembleClassifier:
        """Learn whom to ask; fit the members that are not fitted.

        Args:
            X: rows ``[n, features]`` of numbers.
            y: labels ``[n]``.
        """
        x, y = validate_data(self, X, y)
        check_classification_targets(y)
        if len(self.estimators) == 0:
            raise InputError("there is no member", got="none", allowed="at least one classifier",
                             fix="pass estimators=[...]")  # fmt: skip
        check_number("k", self.k, low=1, integer=True)
        check_choice("combine", self.combine, COMBINATIONS)
        share = check_number("share", self.share, low=0.01, high=0.99)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        self.classes_, codes = np.unique(y, return_inverse=True)
        own = np.zeros(len(y), dtype=bool)  # rows for the members
        if not all(map(_is_fitted, self.estimators)):
            own = _divided(codes, share, seed)
        self.members_ = [one if _is_fitted(one) else clone(one).fit(x[own], y[own]) for one in self.estimators]
        rows, labels = as_tensor(x[~own]), torch.as_tensor(codes[~own])
        answers = torch.stack([self._answer(j, x[~own]) for j in range(len(self.members_))], 1)
        self.network_ = network(rows, tuple(self.hidden), len(self.members_), seed)
        gradient = Perturbed(0.5, 16) if self.estimator is None else self.estimator
        choice = gradient.wrap(TopKMask(self._k), generator=generator)

        def loss(batch: Tensor) -> Tensor:
            chosen = choice(self._scores(rows[batch]))
            vote = self._vote(chosen, answers[batch])
            return torch.nn.functional.nll_loss(vote, labels[batch])

        size = check_number("batch_size", self.batch_size, low=1, integer=True)
        self.n_iter_ = check_number("max_iter", self.max_iter, low=0, integer=True)
        descend(
            self.network_, loss, stratified(labels, size, generator), self.n_iter_,
            check_number("learning_rate", self.learning_rate, low=1e-12),
            check_number("weight_decay", self.weight_decay, low=0),
        )  # fmt: skip
        return self

    @property
    def _k(self) -> int:
        return min(int(self.k), len(self.members_))

    def _answer(self, member: int, x: np.ndarray) -> Tensor:
        """Return the member's probabilities ``[n, classes]``; 0 for the classes that it does not know."""
        found = np.zeros((len(x), len(self.classes_)))
        one = self.members_[member]
        known = np.isin(one.classes_, self.classes_)
        found[:, np.searchsorted(self.classes_, one.classes_[known])] = one.predict_proba(x)[:, known]
        return as_tensor(found)

    def _scores(self, rows: Tensor) -> Tensor:
        raw = self.network_(rows)
        return torch.nn.functional.layer_norm(raw, raw.shape[-1:]) if self.normalise else raw

    def _vote(self, chosen: Tensor, answers: Tensor) -> Tensor:
        """Return log-probabilities ``[n, classes]`` from weights ``[n, m]`` and answers ``[n, m, classes]``."""
        if self.combine == "logits":
            summed = (chosen.unsqueeze(-1) * answers.clamp_min(_LEAST).log()).sum(1)
            return summed.log_softmax(-1)
        return (chosen.unsqueeze(-1) * answers).sum(1).div(self._k).clamp_min(_LEAST).log()

    def scores(self, X: Any) -> np.ndarray:
        """Return how well each member is thought of, ``[n, members]``.

        Args:
            X: rows ``[n, features]``.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        with torch.no_grad():
            return self._scores(as_tensor(x)).numpy()

    def select(self, X: Any) -> np.ndarray:
        """Return who is asked, bool ``[n, members]``, at most k a row.

        Args:
            X: rows ``[n, features]``.
        """
        scores = torch.as_tensor(self.scores(X))
        return TopKMask(self._k)(scores).numpy() > 0

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the vote ``[n, classes]``; each member is asked about the rows that chose it, and about no other.

        Args:
            X: rows ``[n, features]``.
        """
        chosen = self.select(X)
        x = validate_data(self, X, reset=False)
        answers = torch.ones(len(x), len(self.members_), len(self.classes_), dtype=torch.float64)
        for member in range(len(self.members_)):
            asking = chosen[:, member]
            if asking.any():
                answers[torch.as_tensor(asking), member] = self._answer(member, x[asking])
        vote = self._vote(torch.as_tensor(chosen, dtype=torch.float64), answers).exp()
        return (vote / vote.sum(1, keepdim=True)).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest labels ``[n]``.

        Args:
            X: rows ``[n, features]``.
        """
        found = self.predict_proba(X).argmax(1)
        return self.classes_[found]


def _divided(codes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return which rows are for the members: of each class its share, the first one always."""
    own = np.ones(len(codes), dtype=bool)
    rng = np.random.default_rng(seed)
    for code in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == code))
        place = np.arange(len(rows))
        own[rows] = np.floor((place + 1) * share) == np.floor(place * share)
    if own.all():
        raise InputError("there are too few rows to divide", got=f"n_samples={len(codes)}", allowed="two of some class",
                         fix="pass more rows, or members that are fitted")  # fmt: skip
    return own
