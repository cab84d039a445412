"""AnyLoss: Transforming Classification Metrics into Loss Functions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softwood.decisions import MetricClassifier
from softwood.losses import confusion_loss
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="anyloss",
    title="AnyLoss: Transforming Classification Metrics into Loss Functions",
    year=2024,
    family="ops",
    kind="system",
    does="Classifiers trained for the metric they are judged by",
    when="Few positives, and a metric such as F or balanced accuracy. Log-loss with a tuned threshold often does as "
    "well, and keeps calibrated probabilities.",
    api=("softwood.decisions.MetricClassifier", "softwood.losses.confusion_loss"),
    claim="On unbalanced tables a classifier that is trained for its metric beats log-loss at the threshold 1/2, and "
    "comes near log-loss with a tuned threshold.",
    headline="On 102 tables and 4 unbalanced ones ahead of squared error, log-loss and a score-oriented loss, mainly "
    "on the unbalanced ones.",
    full="The same check with 600,000 rows and 2000 steps a table.",
    seconds=90,
)


@dataclass(frozen=True)
class _Scale:
    rows: int
    tables: int
    steps: int
    models: tuple[str, ...]


_SCALES = {
    "smoke": _Scale(4800, 5, 100, ("perceptron",)),
    "quick": _Scale(24_000, 5, 500, ("perceptron", "MLP")),
    "full": _Scale(600_000, 5, 2000, ("perceptron", "MLP")),
}
_HIDDEN = {"perceptron": (), "MLP": (16,)}
_TABLES = {"perceptron": {"class_sep": 1.5, "flip_y": 0.005}, "MLP": {"class_sep": 0.7, "flip_y": 0.02}}  # MLP: weak
_METRICS = {"balanced_accuracy": balanced_accuracy_score, "f_beta": f1_score}
_SCORERS = {"balanced_accuracy": "balanced_accuracy", "f_beta": "f1"}


def check(size: str, seed: int) -> Evidence:
    """Train for a metric and for log-loss on five tables of 5 % positives; tune the threshold of the latter too."""
    scale = _SCALES[size]
    off = _gradient_error(seed)
    measures = [Measure("largest error of the gradient", "against the closed form", off)]
    bars = [Bar("gradient equals the closed form to 1e-6", off, 1e-6, "at most", "measured", every=True)]
    for model in scale.models:
        tables = [_table(model, scale.rows, 5 * seed + table) for table in range(scale.tables)]
        plain = [_log_loss(model, one, seed) for one in tables]
        for metric, measured in _METRICS.items():
            ours, bce, tuned = [], [], []
            for one, fitted in zip(tables, plain, strict=True):
                x, x_test, y, y_test = one
                learner = MetricClassifier(metric, hidden=_HIDDEN[model], max_iter=scale.steps, random_state=seed)
                ours.append(measured(y_test, learner.fit(x, y).predict(x_test)))
                bce.append(measured(y_test, fitted.predict(x_test)))
                if size != "smoke":
                    cut = TunedThresholdClassifierCV(fitted, scoring=_SCORERS[metric], cv=3, random_state=seed)
                    tuned.append(measured(y_test, cut.fit(x, y).predict(x_test)))
            name = f"{metric}, {model}"
            means = [float(np.mean(one)) for one in (ours, bce, tuned) if one]
            wins = float(np.sum(np.array(ours) >= np.array(bce)))
            methods = ("trained for it", "log-loss, threshold 1/2", "log-loss, tuned threshold")
            measures += [Measure(name, method, mean) for method, mean in zip(methods, means, strict=False)]
            if size != "smoke":
                bars.append(Bar(f"{name}: tables of 5 not behind log-loss at 1/2", wins, 4, "at least", "measured"))
            if metric == "balanced_accuracy":
                gain = means[0] - means[1]
                bars.append(Bar(f"{name}: ahead of log-loss at 1/2 by 3 points", gain, 0.03, "at least", "measured"))
            if size != "smoke":
                behind = means[2] - means[0]
                bars.append(Bar(f"{name}: within 2 points of a tuned threshold", behind, 0.02, "at most", "target"))
    return Evidence(tuple(measures), tuple(bars), f"{scale.tables} tables of {scale.rows} rows, a sixth of them "
                                                  f"for training, 5 % positives, {scale.steps} steps")  # fmt: skip


def _table(model: str, rows: int, seed: int) -> list[np.ndarray]:
    x, y = make_classification(rows, 20, n_informative=6, weights=[0.95], random_state=seed, **_TABLES[model])
    return train_test_split(x, y, train_size=rows // 6, stratify=y, random_state=seed)


def _log_loss(model: str, table: list[np.ndarray], seed: int) -> Any:
    x, _, y, _ = table
    learner: Any = LogisticRegression(C=100, max_iter=1000)
    if model == "MLP":
        learner = MLPClassifier(
            _HIDDEN[model], learning_rate_init=0.01, max_iter=40, random_state=seed, n_iter_no_change=40
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), learner).fit(x, y)


def _gradient_error(seed: int) -> float:
    """Return the largest difference of the gradient of 1 - F1 from the formula that a person derives."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(200, generator=generator, dtype=torch.float64).requires_grad_()
    y = (torch.rand(200, generator=generator) < 0.3).double()
    (found,) = torch.autograd.grad(confusion_loss(p, y, "f_beta"), p)
    a = torch.sigmoid(73 * (p.detach() - 0.5))
    both = a.sum() + y.sum()
    by_count = 2 * (y * both - (y * a).sum()) / both**2
    return float((found + by_count * 73 * a * (1 - a)).abs().max())


def use(data: str | None = None) -> None:
    """Train for F1 and compare with log-loss, at the threshold 1/2 and at a tuned one.

    Args:
        data: CSV with numbers and a column ``target`` of two classes; none makes a table with 5 % positives.
    """
    import pandas as pd

    if data is None:
        x, y = make_classification(4000, weights=[0.95], class_sep=1.2, random_state=0)
    else:
        table = pd.read_csv(data)
        x, y = table.drop(columns="target").to_numpy(float), (table["target"] == table["target"].max()).to_numpy(int)
    x, x_test, y, y_test = train_test_split(x, y, stratify=y, random_state=0)
    for_f = MetricClassifier("f_beta").fit(x, y)
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    tuned = TunedThresholdClassifierCV(plain, scoring="f1", cv=5).fit(x, y)
    for name, model in (("for F1", for_f), ("log-loss", plain), ("log-loss, tuned", tuned)):
        print(f"{name}: F1 {f1_score(y_test, model.predict(x_test)):.3f}")  # noqa: T201
    print("predicted positive:", int(for_f.predict(x_test).sum()), "of", len(x_test))  # noqa: T201
