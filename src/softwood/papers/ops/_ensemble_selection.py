"""Differentiable Model Selection for Ensemble Learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from softwood.decisions import SelectiveEnsembleClassifier
from softwood.gradients import FunctionEstimator
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="ensemble-selection",
    title="Differentiable Model Selection for Ensemble Learning",
    year=2022,
    family="ops",
    kind="system",
    does="Which few of many models should vote on this input",
    when="Models with different strengths, of which only a few may be asked. Models that agree gain nothing.",
    api=("softwood.decisions.SelectiveEnsembleClassifier", "softwood.gradients.Perturbed"),
    claim="A selector that is trained through the choice of k members beats the mean of all of them and a softmax gate "
    "that is cut to k, with k calls of members an input.",
    headline="Ahead of the best single member, the vote, the mean and other learned selectors on several image tasks.",
    full="The same check with 5000 steps; the paper's members are convolutional networks.",
    seconds=30,
)


@dataclass(frozen=True)
class _Scale:
    rows: int
    steps: int


_SCALES = {"smoke": _Scale(1797, 100), "quick": _Scale(1797, 500), "full": _Scale(1797, 5000)}
_OTHERS = 2  # rows that a specialist sees of each class that is not its own


@dataclass(frozen=True)
class _SoftmaxGate(FunctionEstimator):
    """The usual gate: all members, weighed by softmax; what the solver would choose plays no part."""

    k: int

    def wrap(self, fn: Callable[[Tensor], Tensor], *, generator: torch.Generator | None = None) -> Any:
        return lambda scores: self.k * scores.softmax(-1)


class _Counted:
    """A member that counts the rows that it is asked about."""

    def __init__(self, member: Any) -> None:
        self.member, self.classes_, self.asked = member, member.classes_, 0

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        self.asked += len(x)
        return self.member.predict_proba(x)


def check(size: str, seed: int) -> Evidence:
    """Let specialists of two digits each vote on rows that neither they nor the selector have seen."""
    scale = _SCALES[size]
    rng = np.random.default_rng(seed)
    x, y = load_digits(return_X_y=True)
    order = rng.permutation(len(y))[: scale.rows]
    x, y = x[order], y[order]
    first, second = len(y) // 3, 2 * len(y) // 3  # members, selector, test
    members = [_specialist(x[:first], y[:first], (j, (j + 1) % 10), rng) for j in range(10)]
    rows, labels, x, y = x[first:second], y[first:second], x[second:], y[second:]
    answers = np.stack([one.predict_proba(x) for one in members])
    single = max(float((one.argmax(1) == y).mean()) for one in answers)
    votes = np.eye(10)[answers.argmax(2)].sum(0)
    mean = float((answers.mean(0).argmax(1) == y).mean())

    def trained(k: int, **options: Any) -> SelectiveEnsembleClassifier:
        model = SelectiveEnsembleClassifier(members, k, max_iter=scale.steps, random_state=seed, **options)
        return model.fit(rows, labels)

    found = {k: trained(k) for k in (1, 3)}
    hard = {k: model.score(x, y) for k, model in found.items()}
    gate = trained(3, estimator=_SoftmaxGate(3), normalise=False)
    even = trained(3, estimator=_SoftmaxGate(3)).score(x, y)  # its scores cannot grow, which keeps its weights even
    weights = torch.as_tensor(gate.scores(x)).softmax(-1).numpy()
    soft_gate = float((np.einsum("nm,mnc->nc", weights, answers).argmax(1) == y).mean())
    hard_gate = gate.score(x, y)
    most = int(found[3].select(x).sum(1).max())
    counted = trained(3)
    counted.members_ = [_Counted(one) for one in counted.members_]
    counted.predict(x)
    calls = sum(one.asked for one in counted.members_) / len(x)
    accuracy = "accuracy on unseen rows"
    measures = (
        Measure(accuracy, "best single member", single),
        Measure(accuracy, "vote", float((votes.argmax(1) == y).mean())),
        Measure(accuracy, "mean of all", mean),
        Measure(accuracy, "selected, k = 1", hard[1]),
        Measure(accuracy, "selected, k = 3", hard[3]),
        Measure(accuracy, "softmax gate, all members", soft_gate),
        Measure(accuracy, "softmax gate, cut to 3", hard_gate),
        Measure(accuracy, "softmax gate on normalised scores, cut to 3", even),
        Measure("member calls an input", "selected, k = 3", calls),
        Measure("member calls an input", "mean of all", 10.0),
    )
    bars = (
        Bar("members asked for any input", max(most, calls), 3, "at most", "measured", every=True),
        Bar("k = 3 beats the mean of all by 2 points", hard[3] - mean, 0.02, "at least", "measured"),
        Bar("k = 3 beats the softmax gate cut to 3 by 2 points", hard[3] - hard_gate, 0.02, "at least", "measured"),
    )
    return Evidence(measures, bars, f"10 logistic specialists, {first} rows each for members, selector and "
                                           f"test, {scale.steps} steps")  # fmt: skip


def _specialist(x: np.ndarray, y: np.ndarray, good: tuple[int, int], rng: np.random.Generator) -> Any:
    """Return a member that has seen all rows of two classes, and few of the others."""
    kept = np.isin(y, good)
    for other in set(range(10)) - set(good):
        kept[rng.choice(np.flatnonzero(y == other), _OTHERS, replace=False)] = True
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x[kept], y[kept])


def use(data: str | None = None) -> None:
    """Choose for each row the two of six models that answer.

    Args:
        data: CSV with numbers and a column ``target``; none takes the digits of scikit-learn.
    """
    import pandas as pd
    from sklearn.model_selection import train_test_split
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier

    if data is None:
        x, y = load_digits(return_X_y=True)
    else:
        table = pd.read_csv(data)
        x, y = table.drop(columns="target").to_numpy(float), table["target"].to_numpy()
    x, x_test, y, y_test = train_test_split(x, y, random_state=0, stratify=y)
    members = [GaussianNB(var_smoothing=0.1), *(DecisionTreeClassifier(max_depth=5, max_features=0.3, random_state=seed)
                                                for seed in range(5))]  # fmt: skip
    model = SelectiveEnsembleClassifier(members, k=2).fit(x, y)
    alone = [float((one.predict(x_test) == y_test).mean()) for one in model.members_]
    print("members alone", np.round(alone, 3).tolist(), "two of six, chosen", model.score(x_test, y_test))  # noqa: T201
    print("first row asks", np.flatnonzero(model.select(x_test[:1])[0]).tolist())  # noqa: T201
    print("to clone with what members know:", FrozenEstimator(members[0]))  # noqa: T201
