"""Classifiers that are trained for the metric by which they are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.decisions._training import as_tensor, descend, network, stratified
from softwood.losses import confusion_loss


@capability("estimator", papers=("anyloss",), cost="fit: O(max_iter batch_size features); predict: O(n features)")
class MetricClassifier(ClassifierMixin, BaseEstimator):
    r"""A perceptron or a small network that learns any metric of the confusion matrix, not log-loss.

    Probabilities are pushed towards 0 and 1 by :math:`A(p) = \sigma((p - \tfrac12) / \tau)`, their sums are soft
    counts, and the loss is 1 - metric of these (``losses.confusion_loss``). Batches hold every class in its share. What
    answers is the threshold 1/2, or the likeliest of several classes.

    It is for F, balanced accuracy and the like on unbalanced tables. A classifier of log-loss whose threshold is tuned
    on held-out rows often does as well: measure it too. Probabilities are not calibrated.

    Args:
        metric: ``"f_beta"``, ``"balanced_accuracy"``, ``"g_mean"``, ``"mcc"``, ``"accuracy"``, ``"iou"``,
            ``"precision"`` or ``"recall"``; of the second of two classes, or the mean over several.
        beta: weight of recall in ``f_beta``, > 0.
        hidden: units of the layers of the network; none for a perceptron.
        temperature: :math:`\tau > 0`, a probability; 1 / 73 by default, and much less has no gradient left.
        max_iter: steps of Adam.
        batch_size: rows of a step; large, as the F of parts is not the F of the whole.
        learning_rate: > 0.
        weight_decay: >= 0, as in AdamW. The loss has no margin, so that without it networks learn their rows by heart.
        random_state: of everything random.

    Raises:
        InputError: a parameter is out of range, or there is one class only.

    Limit: as :math:`\tau \to 0`, the metric itself, without a gradient.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> x, y = make_classification(500, weights=[0.9], random_state=0)
        >>> MetricClassifier("balanced_accuracy").fit(x, y).measure(x, y) > 0.8
        True

    Cost: fit: ``max_iter`` steps of a small network on ``batch_size`` rows; predict: one pass.

    Source: Han, Moon and Kim 2024, "AnyLoss: Transforming Classification Metrics into Loss Functions".
    """

    def __init__(
        self,
        metric: str = "f_beta",
        *,
        beta: float = 1.0,
        hidden: tuple[int, ...] = (),
        temperature: float = 1 / 73,
        max_iter: int = 500,
        batch_size: int = 2048,
        learning_rate: float = 0.02,
        weight_decay: float = 3.0,
        random_state: Any = 0,
    ) -> None:
        self.metric = metric
        self.beta = beta
        self.hidden = hidden
        self.temperature = temperature
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MetricClassifier:
        """Learn.

        Args:
            X: rows ``[n, features]`` of numbers.
            y: labels ``[n]``.
        """
        x, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("there is one class only", got=repr(self.classes_[0]), allowed="two classes at least",
                             fix="pass rows of another class too")  # fmt: skip
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        rows, labels = as_tensor(x), torch.as_tensor(codes)
        several = len(self.classes_) > 2
        self.network_ = network(rows, tuple(self.hidden), len(self.classes_) if several else 1, seed)
        with torch.no_grad():  # begin near the threshold: far from it the loss is flat
            for part in self.network_[-1].parameters():
                part.mul_(0.1)
        self.n_iter_ = check_number("max_iter", self.max_iter, low=0, integer=True)

        def loss(batch: Tensor) -> Tensor:
            return confusion_loss(
                self._probability(rows[batch]), labels[batch], self.metric, beta=self.beta,
                task="multiclass" if several else "binary", temperature=self.temperature,
            )  # fmt: skip

        size = check_number("batch_size", self.batch_size, low=1, integer=True)
        descend(
            self.network_, loss, stratified(labels, size, generator), self.n_iter_,
            check_number("learning_rate", self.learning_rate, low=1e-12),
            check_number("weight_decay", self.weight_decay, low=0),
        )  # fmt: skip
        return self

    def _probability(self, rows: Tensor) -> Tensor:
        """Return the probability of the second class ``[n]``, or of each of several ``[n, C]``."""
        z = self.network_(rows)
        return z.softmax(-1) if len(self.classes_) > 2 else z.squeeze(-1).sigmoid()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return what is cut at 1/2, ``[n, classes]``; no calibrated probabilities.

        Args:
            X: rows ``[n, features]``.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        with torch.no_grad():
            p = self._probability(as_tensor(x))
        return (torch.stack([1 - p, p], -1) if p.ndim == 1 else p).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels ``[n]``.

        Args:
            X: rows ``[n, features]``.
        """
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def measure(self, X: Any, y: Any) -> float:
        """Return the metric of the labels that ``predict`` gives.

        Args:
            X: rows ``[n, features]``.
            y: labels ``[n]``, all known from ``fit``.
        """
        p = torch.as_tensor(self.predict_proba(X))
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise InputError("a label is unknown", got=repr(unknown[0]), allowed=", ".join(map(repr, self.classes_)),
                             fix="leave its rows out")  # fmt: skip
        codes = torch.as_tensor(np.searchsorted(self.classes_, y))
        several = len(self.classes_) > 2
        loss = confusion_loss(p if several else p[:, 1], codes, self.metric, beta=self.beta, hard=True,
                              task="multiclass" if several else "binary")  # fmt: skip
        return 1 - float(loss)
