"""The loss that a learner's parameters mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from softwood.core import check_choice, check_number
from softwood.trees._loss import LogLoss, Loss, Poisson, Quantile, Squared
from softwood.trees._loss_torch import TorchLoss
from softwood.trees._rows import Rows


def regression_loss(loss: Any, quantile: float) -> Loss:
    """Return the loss that a regression's ``loss`` and ``quantile`` mean.

    Args:
        loss: ``"squared"``, ``"absolute"``, ``"quantile"``, ``"poisson"``, or a function of torch tensors.
        quantile: level of ``"quantile"``.

    Raises:
        InputError: neither of these.
    """
    level = check_number("quantile", quantile, low=1e-6, high=1 - 1e-6)
    if callable(loss):
        return TorchLoss(loss)
    named = {"squared": Squared(), "absolute": Quantile(0.5, 2.0), "quantile": Quantile(level), "poisson": Poisson()}
    return named[check_choice("loss", loss, list(named))]


def class_loss(loss: Any) -> Loss:
    """Return the loss that a classifier's ``loss`` means: ``"log_loss"``, or a function of torch tensors."""
    if callable(loss):
        return TorchLoss(loss)
    check_choice("loss", loss, ["log_loss"])
    return LogLoss()


def value_rows(rows: Rows, loss: Loss, weight: np.ndarray) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return the rows of a regression with targets as ``loss`` wants them, and the mean and deviation that undo it.

    Args:
        rows: with targets as they came.
        loss: what is minimised.
        weight: ``[n]``, 0 for rows that have no part in the scale.
    """
    targets, mean, deviation = loss.scale(rows.targets, weight)
    scaled = replace(rows, targets=targets, given=rows.targets)
    return replace(scaled, asked=loss.prepared(scaled, mean, deviation)), mean, deviation
