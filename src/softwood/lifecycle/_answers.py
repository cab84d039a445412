"""Outputs of a model on the rows of a certificate, checked, with their losses and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import xlogy
from torch import Tensor, nn

from softwood.core import InputError, check_choice, check_number
from softwood.lifecycle._calibrate import as_inputs, measuring

_CLIP = 1e-15
_BY_VALUE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "squared": lambda found, wanted: (found - wanted) ** 2,
    "absolute": lambda found, wanted: np.abs(found - wanted),
    "poisson": lambda found, wanted: 2 * (xlogy(wanted, wanted / found) - wanted + found),  # the deviance
}
_SUM_TOLERANCE = 1e-3  # float32 softmax over many classes stays well inside; logits do not


def level_of(loss: Any) -> float | None:
    """Return q of the loss ``"quantile:q"``, None for any other."""
    name, _, text = loss.partition(":") if isinstance(loss, str) else ("", "", "")
    if name != "quantile":
        return None
    try:
        return check_number("quantile", float(text), low=0, high=1)
    except ValueError:
        return None


@dataclass(frozen=True)
class Rows:
    """The targets, and how outputs are judged on them."""

    target: Any
    loss: str | Callable[[np.ndarray, np.ndarray], np.ndarray]
    classes: Sequence[Any] | None

    def __post_init__(self) -> None:
        if callable(self.loss):
            return
        if level_of(self.loss) is None:
            check_choice("loss", self.loss, ["log_loss", *_BY_VALUE, "quantile:0.9"])
        if self.loss != "log_loss" and self.classes is not None:
            raise InputError(
                f"the {self.loss} loss takes no classes",
                got=f"loss={self.loss!r}, classes={list(self.classes)}",
                allowed="loss='log_loss' with classes, or a loss of values without",
                fix="choose one; a callable loss with classes gets codes as y",
            )

    @property
    def has_labels(self) -> bool:
        return self.loss == "log_loss" or self.classes is not None


@dataclass(frozen=True)
class Answers:
    """Checked outputs [n, K] of one model, and what follows from them."""

    outputs: np.ndarray
    losses: np.ndarray
    target: np.ndarray
    labels: np.ndarray | None
    codes: np.ndarray | None

    def difference(self, other: Answers) -> np.ndarray:
        """Return the largest absolute difference of each row [n]."""
        return np.asarray(np.abs(self.outputs - other.outputs).max(axis=1))


def call(model: Any, table: Any, method: str | None = None) -> np.ndarray:
    """Run a model, or a method of it, on the rows and return a float64 array."""
    function = model if method is None else getattr(model, method)
    if not isinstance(model, nn.Module):
        return _as_array(function(table))
    dtype = _dtype_of(model)
    with measuring(model):
        return _as_array(function(*(_as_tensor(part, dtype) for part in as_inputs(table))))


def _as_array(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    array: np.ndarray = np.asarray(values, dtype=np.float64)
    return array


def _dtype_of(model: nn.Module) -> torch.dtype:
    held = [*model.parameters(), *model.buffers()]
    return next((tensor.dtype for tensor in held if tensor.is_floating_point()), torch.get_default_dtype())


def _as_tensor(part: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(part, Tensor):
        return part
    try:
        return torch.from_numpy(np.array(part, dtype=np.float64)).to(dtype)
    except (TypeError, ValueError) as error:
        raise InputError(
            "a module cannot take these rows",
            got=f"{type(part).__name__}: {error}",
            allowed="a tensor, or a table of numbers",
            fix="encode the table first, or pass a callable that does",
        ) from error


def answers_of(name: str, model: Any, table: Any, rows: Rows, like: Answers | None = None) -> Answers:
    """Run one model and check its outputs; ``like`` holds those of another one, with which they have to match."""
    outputs = call(model, table)
    n = len(rows.target)
    if n == 0 or outputs.ndim not in (1, 2) or len(outputs) != n:
        raise InputError(
            f"{name} did not give one output a row",
            got=f"outputs of shape {outputs.shape} for {n} targets",
            allowed="shape (n,) or (n, K) with n = len(y) >= 1",
            fix=f"check X, y and what {name} returns",
        )
    if not np.isfinite(outputs).all():
        row = int(np.flatnonzero(~np.isfinite(outputs.reshape(n, -1)).all(axis=1))[0])
        raise InputError(
            f"{name} gave an output that is not finite",
            got=f"{outputs[row]} in row {row}",
            allowed="finite numbers",
            fix="look at that row; missing values have to be encoded as the model takes them",
        )
    outputs = outputs.reshape(n, -1)
    codes = None
    if rows.has_labels:
        outputs = _probabilities(name, outputs) if rows.loss == "log_loss" else _two_columns(outputs)
        codes = _codes(rows.target, rows.classes, outputs.shape[1])
    if like is not None and outputs.shape != like.outputs.shape:
        raise InputError(
            f"{name} and shipped give outputs of different shapes",
            got=f"{outputs.shape} and {like.outputs.shape}",
            allowed="one shape",
            fix="wrap one of them in a function that returns what the other does",
        )
    target = _numbers(rows.target, n) if codes is None else codes[:, None]
    losses = _losses(rows.loss, outputs, target, codes)
    return Answers(outputs, losses, target, None if codes is None else outputs.argmax(axis=1), codes)


def _two_columns(outputs: np.ndarray) -> np.ndarray:
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _probabilities(name: str, outputs: np.ndarray) -> np.ndarray:
    outputs = _two_columns(outputs)
    wrong = (outputs < -_SUM_TOLERANCE).any(axis=1) | (np.abs(outputs.sum(axis=1) - 1) > _SUM_TOLERANCE)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{name} gave no probabilities",
            got=f"{np.array2string(outputs[row], threshold=5, precision=4)} in row {row}",
            allowed="numbers in [0, 1] that sum to 1",
            fix="return softmax or sigmoid of logits, or pass another loss",
        )
    return outputs


def _codes(target: Any, classes: Sequence[Any] | None, width: int) -> np.ndarray:
    """Return the column of each row's label."""
    found, inverse = np.unique(np.asarray(target).reshape(-1), return_inverse=True)
    labels = found.tolist()
    if classes is None:
        is_count = found.dtype.kind in "iub" and labels[0] >= 0 and labels[-1] < width
        classes = range(width) if is_count else labels
    column = {label: index for index, label in enumerate(np.asarray(classes).tolist())}
    unknown = [label for label in labels if label not in column]
    if unknown or len(column) != width:
        raise InputError(
            "labels and outputs do not match",
            got=f"labels {unknown or list(column)}, {width} columns",
            allowed=f"one column for each of {list(column)}" if unknown else f"{width} classes",
            fix="pass classes=, the labels in the order of the columns",
        )
    return np.array([column[label] for label in labels])[inverse]


def _numbers(target: Any, n: int) -> np.ndarray:
    try:
        numbers = _as_array(target).reshape(n, -1)
    except (TypeError, ValueError):
        numbers = np.full((n, 1), np.nan)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])
        raise InputError(
            "a target is no finite number",
            got=f"{np.asarray(target, dtype=object)[row]!r} in row {row}",
            allowed="finite numbers",
            fix="drop the row, or pass classes= where y holds labels",
        )
    return numbers


def _losses(loss: Any, outputs: np.ndarray, target: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
    n = len(outputs)
    if loss == "log_loss":
        assert codes is not None
        return np.asarray(-np.log(np.clip(outputs[np.arange(n), codes], _CLIP, 1.0)))
    if isinstance(loss, str) and outputs.shape != target.shape:
        raise InputError(
            "outputs and targets have different shapes",
            got=f"{outputs.shape} and {target.shape}",
            allowed="one shape",
            fix="let the model return one value for each target",
        )
    level = level_of(loss)
    if level is not None:
        residual = target - outputs
        return np.asarray(np.maximum(level * residual, (level - 1) * residual).mean(axis=1))
    if loss == "poisson" and (outputs.min() <= 0 or target.min() < 0):
        raise InputError(
            "the Poisson deviance takes counts and positive outputs",
            got=f"outputs from {outputs.min():g}, targets from {target.min():g}",
            allowed="outputs > 0, targets >= 0",
            fix="choose another loss",
        )
    if isinstance(loss, str):
        return np.asarray(_BY_VALUE[loss](outputs, target).mean(axis=1))
    by_row = _as_array(loss(outputs, target[:, 0] if target.shape[1] == 1 else target))
    if by_row.shape != (n,) or not np.isfinite(by_row).all():
        raise InputError(
            "the loss did not give one finite value a row",
            got=f"shape {by_row.shape}" + ("" if np.isfinite(by_row).all() else " with NaN or infinity"),
            allowed=f"shape ({n},), finite",
            fix="let loss(outputs [n, K], y [n]) return an array of n losses",
        )
    return by_row


def weights_of(sample_weight: Any, n: int) -> np.ndarray:
    """Return weights that sum to 1."""
    if sample_weight is None:
        return np.full(n, 1 / n)
    weight = _as_array(sample_weight)
    if weight.shape != (n,) or not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise InputError(
            "sample_weight is not usable",
            got=f"shape {weight.shape}",
            allowed=f"shape ({n},), finite, >= 0, not all 0",
            fix="pass one weight for each row",
        )
    return np.asarray(weight / weight.sum())
