"""Teachers of every make, as a function from a table to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from softwood.core import InputError, entry_point, require
from softwood.data import read_table

_PIECE = 4096  # rows that a network or an ONNX model answers at once
_NUMBERS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
            "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a student learns from.

    Args:
        name: what it is, in words.
        ask: from a table to answers ``[n]`` or ``[n, K]``; None where only stored answers are there.
        given: stored answers, a row for each of the table's; or None.
        labels: what its columns or labels are, as it says itself; or None.
        unfitted: an estimator that is still to be fitted; or None.
    """

    name: str
    ask: Callable[[Any], Any] | None = None
    given: Any = None
    labels: tuple[Any, ...] | None = None
    unfitted: Any = None

    def of_rows(self, chosen: np.ndarray) -> Teacher:
        """Return the same with the stored answers to some rows."""
        return replace(self, given=self.given[chosen])


def read_teacher(source: Any) -> Teacher:
    """Return the teacher that is meant.

    Args:
        source: path of an ONNX model; ``"MODULE:FUNCTION"``; path of a table of answers, or the answers themselves
            (array or frame); a model with ``predict_proba`` or ``predict``, fitted or not; a torch module; a function.

    Raises:
        InputError: it is none of these.
        MissingExtraError: an ONNX model without onnxruntime.

    Example:
        >>> read_teacher(np.array([0.2, 0.8])).name
        'answers that were given'
    """
    if isinstance(source, Teacher):
        return source
    if isinstance(source, (str, Path)):
        return _named(str(source))
    if isinstance(source, (np.ndarray, pd.DataFrame, pd.Series, torch.Tensor)):
        return Teacher("answers that were given", given=source)
    kind = type(source).__name__
    if hasattr(source, "predict_proba") or hasattr(source, "predict"):
        if _is_unfitted(source):
            return Teacher(f"a {kind}, cross-fitted", unfitted=source)
        return of_estimator(source, f"a {kind}")
    if isinstance(source, torch.nn.Module):
        return Teacher(f"a {kind}", ask=lambda table: _ask_module(source, table))
    if callable(source):
        return Teacher(getattr(source, "__name__", kind), ask=source)
    raise InputError(
        "this is no teacher", got=kind, allowed="a model, a function, answers, an ONNX file or MODULE:FUNCTION",
        fix="pass something that answers for a table",
    )  # fmt: skip


def of_estimator(model: Any, name: str) -> Teacher:
    """Return a fitted model as a teacher; its probabilities where it has any."""
    classes = getattr(model, "classes_", getattr(model, "classes", None))
    labels = None if classes is None else tuple(np.asarray(classes).tolist())
    ask = model.predict_proba if labels is not None and hasattr(model, "predict_proba") else model.predict
    return Teacher(name, ask=ask, labels=labels)


def _is_unfitted(model: Any) -> bool:
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        return False
    try:
        check_is_fitted(model)
    except NotFittedError:
        return True
    return False


def _named(source: str) -> Teacher:
    if source.lower().endswith(".onnx"):
        return Teacher(source, ask=OnnxTeacher(source))
    module, colon, name = source.partition(":")
    if colon and not Path(source).exists() and all(part.isidentifier() for part in [*module.split("."), name]):
        return Teacher(source, ask=entry_point(source, "the teacher"))
    return Teacher(f"the answers in {source}", given=read_table(source).frame)


def _numbers(table: Any, who: str) -> np.ndarray:
    """Return a table of numbers as float64 ``[n, C]``, for a teacher that takes one matrix."""
    if not isinstance(table, pd.DataFrame):
        return np.asarray(table, np.float64)
    text = [str(name) for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text:
        raise InputError(
            f"{who} takes one matrix of numbers", got=f"columns that are no numbers: {', '.join(text[:8])}",
            allowed="numbers and booleans", fix="leave these columns out, or encode them as in the teacher's training",
        )  # fmt: skip
    return table.to_numpy(np.float64, na_value=np.nan)


def _ask_module(module: torch.nn.Module, table: Any) -> np.ndarray:
    """Return the answers of a network in evaluation mode, piece by piece."""
    like = next(module.parameters(), torch.zeros(1))
    x = torch.from_numpy(_numbers(table, "a torch module")).to(like)
    was = module.training
    module.eval()
    try:
        with torch.no_grad():
            return torch.cat([module(part) for part in torch.split(x, _PIECE)]).cpu().double().numpy()
    finally:
        module.train(was)


class OnnxTeacher:
    """An ONNX model as a function of a table. Inputs are found by name, or one matrix takes the columns in order.

    Args:
        path: of the model.

    Raises:
        InputError: the file is no ONNX model, or an input is neither a column nor a matrix of all columns.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: str) -> None:
        runtime = require("onnxruntime", "export")
        if not Path(path).is_file():
            raise InputError("there is no such teacher", got=path, allowed="an ONNX file", fix="check the path")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        try:
            self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base
            raise InputError(
                "the teacher is no ONNX model that onnxruntime runs", got=f"{path}: {str(error)[:200]}",
                allowed="an ONNX model", fix="export it again",
            ) from error  # fmt: skip
        self.path, self.inputs = path, self.session.get_inputs()
        outputs = self.session.get_outputs()
        chosen = [out for out in outputs if "prob" in out.name.lower()] or [
            out for out in outputs if out.type in ("tensor(float)", "tensor(double)")
        ]
        self.output = (chosen or outputs)[0]

    def __call__(self, table: Any) -> np.ndarray:
        """Return the answers ``[n]`` or ``[n, K]``."""
        feed, n = self._feed(table), len(table)
        fixed = [part.shape[0] for part in self.inputs if part.shape and isinstance(part.shape[0], int)]
        piece = fixed[0] if fixed else _PIECE
        parts = []
        for first in range(0, n, piece):
            part = {name: values[first : first + piece] for name, values in feed.items()}
            count = min(piece, n - first)
            if fixed and count < piece:  # a model of a fixed batch gets the last row again
                part = {k: np.concatenate([v, np.repeat(v[-1:], piece - count, axis=0)]) for k, v in part.items()}
            parts.append(_matrix(self.session.run([self.output.name], part)[0])[:count])
        return np.concatenate(parts)

    def _feed(self, table: Any) -> dict[str, np.ndarray]:
        names = {str(name): name for name in table.columns} if isinstance(table, pd.DataFrame) else {}
        if names and all(part.name in names for part in self.inputs):
            return {part.name: self._column(part, table[names[part.name]]) for part in self.inputs}
        if len(self.inputs) > 1:
            absent = [part.name for part in self.inputs if part.name not in names]
            raise InputError(
                f"{self.path} wants inputs that the table does not have", got=", ".join(list(names)[:12]) or "no names",
                allowed=", ".join(absent[:12]), fix="name the columns as the model's inputs",
            )  # fmt: skip
        (part,) = self.inputs
        x = _numbers(table, self.path)
        if len(part.shape) != 2 or (isinstance(part.shape[1], int) and part.shape[1] != x.shape[1]):
            raise InputError(
                f"{self.path} takes another width than the table has", got=f"{x.shape[1]} columns",
                allowed=f"input {part.name!r} of shape {part.shape}",
                fix="leave out the columns that the teacher was not trained on (--drop), in its order",
            )  # fmt: skip
        if part.type not in _NUMBERS:
            raise InputError(
                f"{self.path} takes no numbers", got=part.type, allowed=", ".join(_NUMBERS), fix="export it again"
            )
        return {part.name: x.astype(_NUMBERS[part.type])}

    def _column(self, part: Any, values: pd.Series) -> np.ndarray:
        """Return a column as one input takes it: ``[n, 1]``, or ``[n]``."""
        if part.type == "tensor(string)":
            found = np.array(["" if value is None or value != value else str(value) for value in values], object)
        elif part.type in _NUMBERS and pd.api.types.is_numeric_dtype(values.dtype):
            found = values.to_numpy(np.float64, na_value=np.nan).astype(_NUMBERS[part.type])
        else:
            raise InputError(
                f"{self.path} wants another kind of column {part.name!r}", got=str(values.dtype), allowed=part.type,
                fix="give the column as in the teacher's training",
            )  # fmt: skip
        return found.reshape(-1, 1) if len(part.shape) == 2 else found


def _matrix(answer: Any) -> np.ndarray:
    """Return one output as an array; scikit-learn's converters answer with a list of dicts from label to chance."""
    if isinstance(answer, Sequence) and answer and isinstance(answer[0], dict):
        return np.array([list(row.values()) for row in answer], np.float64)
    return np.asarray(answer)
