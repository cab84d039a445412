"""The scikit-learn format: a Python file that makes a fitted estimator, without pickle and without Softwood."""

from __future__ import annotations

import runpy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_sklearn_text import CLASSIFIER, ENSEMBLE, HEADER, REGRESSOR
from softwood.artifacts._verify import Answers


def write_sklearn(model: HardEnsemble) -> str:
    """Return the text of a Python file whose ``load()`` makes a scikit-learn estimator.

    The estimator is a small class of its own over NumPy, written out in the file. It is no
    ``sklearn.tree.DecisionTreeClassifier``: those round every input to float32, know no categories, and put one
    number beside each class instead of a sum of trees; a model that went through one would answer differently on
    some rows. It has ``predict``, ``predict_proba``, ``apply``, ``classes_`` and ``feature_names_in_``, takes data
    frames (columns by name) and arrays (by position), and works in pipelines, scorers, calibration, permutation
    importance and partial dependence; ``fit`` changes nothing.

    Args:
        model: the ensemble.

    Cost: O(nodes + levels).
    """
    facts = {
        "FINGERPRINT": model.fingerprint,
        "COLUMNS": [(column.name, column.kind) for column in model.columns],
        "LEVELS": {i: list(column.levels) for i, column in enumerate(model.columns) if column.kind == "category"},
        "LINK": model.link,
        "CLASSES": None if model.classes is None else list(model.classes),
        "BASE": model.base.tolist(),
        "FEATURE": model.feature.tolist(),
        # NaN has no literal in Python; no leaf and no category node looks at its threshold
        "THRESHOLD": np.nan_to_num(model.threshold).tolist(),
        "MISSING_LEFT": model.missing_left.astype(int).tolist(),
        "LEFT": model.left.tolist(),
        "RIGHT": model.right.tolist(),
        "LEVEL_SET": model.level_set.tolist(),
        "LEVELS_LEFT": ["".join(row.astype(int).astype(str)) for row in model.levels_left],
        "LEAF": model.leaf.tolist(),
        "VALUES": model.values.tolist(),
        "ROOTS": model.roots.tolist(),
    }
    header = HEADER.format(summary=repr(model), fingerprint=model.fingerprint)
    arrays = "\n".join(f"{name} = {value!r}" for name, value in facts.items())
    parts = [header, arrays, ENSEMBLE, REGRESSOR if model.classes is None else CLASSIFIER]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def run_sklearn(path: Path, model: HardEnsemble, cells: pd.DataFrame) -> Answers:
    """Answer from the file: run it here, and ask the estimator that it makes.

    Args:
        path: the file.
        model: not looked at, but for whether it has classes.
        cells: n rows, as ``cells`` makes them.
    """
    estimator = runpy.run_path(str(path))["load"]()
    found = estimator.predict(cells)
    if model.classes is None:
        return Answers(None, found.reshape(len(cells), -1))
    return Answers(np.array([*found.tolist(), None], dtype=object)[:-1], estimator.predict_proba(cells))


def sklearn_verifier() -> str:
    """Name the library and its version."""
    return f"scikit-learn {version('scikit-learn')}"
