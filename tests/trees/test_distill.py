"""Distillation: fidelity beside CART of the same depth, teachers of every make, what they are mixed with."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from softwood.core import InputError, SoftwoodWarning
from softwood.lifecycle import Certificate
from softwood.trees import TreeClassifier, distill

QUICK = {"effort": 0.02, "n_jobs": 1}


@cache
def digits() -> tuple[np.ndarray, np.ndarray, Any]:
    x, y = load_digits(return_X_y=True)
    x = x / 16
    return x, y, MLPClassifier((32,), max_iter=300, random_state=0, tol=1e-2).fit(x[:700], y[:700])


def wave(x: np.ndarray) -> np.ndarray:
    return np.sin(3 * x[:, 0]) * x[:, 1] + x[:, 2] ** 2


def points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 4))


def two_classes(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, labels with noise, and the logit of the second class."""
    x = points(n, seed)
    logit = 4 * x[:, 0] * x[:, 1] + 2 * x[:, 2]
    random = np.random.default_rng(seed + 1).random(n)
    return x, (random < 1 / (1 + np.exp(-logit))).astype(int), logit


def test_tree_is_more_faithful_to_a_network_than_cart_of_its_depth() -> None:
    x, y, network = digits()
    student = distill(network, x[:700], max_depth=4, **QUICK)
    said = network.predict(x[700:])
    targets = (y[:700], network.predict(x[:700]))
    rivals = [DecisionTreeClassifier(max_depth=4, random_state=0).fit(x[:700], target) for target in targets]
    faithful = (student.predict(x[700:]) == said).mean()
    assert faithful > max((rival.predict(x[700:]) == said).mean() for rival in rivals) + 0.02
    assert student.artifact_.depth <= 4


def test_values_of_a_forest_are_followed_more_closely_than_by_cart() -> None:
    x, far = points(500, 1), points(2000, 5)
    noisy = wave(x) + 0.3 * np.random.default_rng(1).normal(size=500)
    forest = RandomForestRegressor(30, random_state=0).fit(x, noisy)
    student = distill(forest, x, max_depth=4, jitter=1.0, effort=0.1, n_jobs=1)
    cart = DecisionTreeRegressor(max_depth=4, random_state=0).fit(x, noisy)
    error, rival = (((model.predict(far) - forest.predict(far)) ** 2).mean() for model in (student, cart))
    assert error < 0.8 * rival
    assert student.record_["teacher"]["made_rows"] == 450


def test_certificate_measures_fidelity_on_rows_that_were_set_aside() -> None:
    x, y, _ = two_classes()

    def teacher(table: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(4 * table[:, 0] * table[:, 1] + 2 * table[:, 2])))

    student = distill(teacher, x, y, **QUICK)
    certificate = student.certificate_
    assert certificate.n == 30
    assert certificate.fidelity is not None
    # the rows are those that a plain fit with the same seed holds out
    plain = TreeClassifier(**QUICK)
    rows = plain._class_rows(plain._table(x, y).weighted(None))
    aside = plain._aside(rows, int(np.random.RandomState(0).randint(2**31 - 1)))
    answers = student.predict_proba(x)[:, 1]
    apart = np.abs(answers - teacher(x))[aside]
    assert certificate.fidelity.largest == pytest.approx(apart.max())
    assert certificate.fidelity.difference == pytest.approx(apart.mean())
    assert certificate.fidelity.teacher == "teacher"
    assert "distilled from teacher" in certificate.ships
    assert Certificate.from_dict(certificate.to_dict()) == certificate
    assert "Fidelity to the teacher" in str(certificate)


def test_mix_is_chosen_for_the_target() -> None:
    """A teacher that knows nothing is left out; one that knows the truth behind noisy labels is followed."""
    x, y, logit = two_classes(400)
    assert distill(-20 * logit, x, y, **QUICK).record_["teacher"]["mix"] < 0.5
    assert distill(logit, x, y, **QUICK).record_["teacher"]["mix"] >= 0.25
    values = distill(np.random.default_rng(3).normal(size=400), x, wave(x), task="regression", **QUICK)
    assert values.record_["teacher"]["mix"] < 0.5


def test_mix_of_one_copies_the_teacher_and_mix_of_zero_the_labels() -> None:
    x, y, _ = two_classes(400)
    flipped = 1.0 - y
    copied = distill(flipped, x, y, mix=1, **QUICK)
    labels = distill(flipped, x, y, mix=0, **QUICK)
    assert copied.score(x, y) < 0.4 < 0.6 < labels.score(x, y)


class Suspicious(ClassifierMixin, BaseEstimator):
    """Answers only for rows that it was not fitted to."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Suspicious:
        self.classes_ = np.unique(y)
        self.seen_ = set(x[:, 0].tolist())
        self.tree_ = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        assert not self.seen_ & set(x[:, 0].tolist())
        return np.asarray(self.tree_.predict_proba(x))


def test_estimator_that_is_not_fitted_answers_only_rows_that_it_has_not_seen() -> None:
    x, y, _ = two_classes(200)
    teacher = Suspicious()
    student = distill(teacher, x, np.where(y == 1, "b", "a"), **QUICK)
    assert not hasattr(teacher, "classes_")
    assert "cross-fitted" in student.record_["teacher"]["teacher"]
    assert "cross-fitted" in distill(Suspicious().fit(x, y), x, y, cross_fit=True, **QUICK).certificate_.ships
    with pytest.raises(AssertionError):
        distill(Suspicious().fit(x, y), x, y, **QUICK)
    with pytest.raises(InputError, match="not fitted"):
        distill(teacher, x)


@pytest.mark.parametrize("form", ["probabilities", "logits", "labels", "named", "chance", "logit", "text"])
def test_answers_of_every_form_teach_the_same(form: str) -> None:
    x, y, logit = two_classes(200)
    y = np.where(y == 1, "yes", "no")
    chance = 1 / (1 + np.exp(-logit))
    both = np.column_stack([1 - chance, chance])
    answers = {
        "probabilities": both, "logits": np.column_stack([5 - logit / 2, 5 + logit / 2]), "chance": chance,
        "logit": logit, "named": pd.DataFrame({"yes": chance, "no": 1 - chance}),
        "labels": np.where(logit > 0, "yes", "no"), "text": pd.Series(np.where(logit > 0, "yes", "no")),
    }  # fmt: skip
    student = distill(answers[form], x, y, mix=1, holdout=0, **QUICK)
    assert (student.predict(x) == np.where(logit > 0, "yes", "no")).mean() > 0.75
    fidelity = student.certificate_.fidelity
    assert fidelity is not None
    if form not in ("labels", "text"):
        assert fidelity.difference == pytest.approx(np.abs(student.predict_proba(x) - both).mean())


def test_torch_module_answers_in_evaluation_mode() -> None:
    x, _y, _ = two_classes(200)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.9), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    student = distill(network, x, max_depth=2, **QUICK)
    assert network.training
    with torch.no_grad():
        said = network.eval()(torch.from_numpy(x).float()).argmax(1).numpy()
    assert set(student.classes_) <= {0, 1, 2}
    assert (student.predict(x) == said).mean() > 0.7


def test_rows_without_a_target_and_made_rows_judge_nothing() -> None:
    x, y, _ = two_classes(200)
    student = distill(lambda t: 4 * t[:, 0] * t[:, 1], x, y, extra=points(70, 9), jitter=0.5, **QUICK)
    assert student.record_["teacher"]["extra_rows"] == 70
    assert student.record_["teacher"]["made_rows"] == 90
    assert student.certificate_.n == 20
    with pytest.raises(InputError, match="own rows alone"):
        distill(y.astype(float), x, jitter=1.0, task="classification", **QUICK)


def test_frame_with_text_and_groups() -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"city": r.choice(["Oslo", "Rome"], 240), "size": r.normal(size=240), "note": "same"})

    def teacher(table: pd.DataFrame) -> pd.DataFrame:
        assert list(table.columns) == ["city", "size", "note"]
        high = ((table["city"] == "Rome") & (table["size"] > 0)).to_numpy()
        return pd.DataFrame({"low": 1.0 - high, "high": 1.0 * high})

    with pytest.warns(SoftwoodWarning, match="note"):
        student = distill(teacher, frame, jitter=1.0, groups=np.arange(240) // 3, max_depth=2, effort=0.2, n_jobs=1)
    assert student.certificate_.fidelity is not None
    assert student.certificate_.fidelity.agreement.value == 1.0
    assert set(student.classes_) == {"high", "low"}


def test_forest_student_within_its_budget() -> None:
    x, _, network = digits()
    student = distill(network, x[:600], budget=200, effort=0.01, n_jobs=1)
    assert student.artifact_.n_leaf_values <= 200
    assert student.artifact_.n_trees > 1
    small = distill(network, x[:600], shape="tree", budget=40, **QUICK)
    assert small.artifact_.n_leaves <= 4
    assert small.artifact_.n_trees == 1


def test_onnx_teacher_by_matrix_and_by_names(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, types = onnx.helper, onnx.TensorProto
    weight = onnx.numpy_helper.from_array(np.array([[1.0, -1.0], [2.0, -2.0]], np.float32), "w")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])], "teacher", [info("x", types.FLOAT, ["n", 2])],
        [info("scores", types.FLOAT, ["n", 2])], [weight],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = points(200)[:, :2]
    student = distill(path, x, max_depth=3, **QUICK)
    said = (x @ np.array([1.0, 2.0]) < 0).astype(int)
    assert (student.predict(x) == said).mean() > 0.85
    assert student.record_["teacher"]["teacher"] == str(path)
    with pytest.raises(InputError, match="another width"):
        distill(path, points(50), **QUICK)
    with pytest.raises(InputError, match="no numbers"):
        distill(path, pd.DataFrame({"a": ["u", "v"] * 20, "b": 1.0}), **QUICK)

    from softwood.artifacts import export

    named = tmp_path / "ours.onnx"
    export(student.artifact_, named, "onnx")
    frame = pd.DataFrame(x[:, ::-1], columns=["x1", "x0"])  # found by name, in any order
    again = distill(named, frame, max_depth=3, holdout=0, **QUICK)
    assert (again.predict(frame) == student.predict(x)).mean() > 0.95
    with pytest.raises(InputError, match="does not have"):
        distill(named, pd.DataFrame(x, columns=["p", "q"]), **QUICK)
    (tmp_path / "bad.onnx").write_text("no model")
    with pytest.raises(InputError, match="no ONNX model"):
        distill(tmp_path / "bad.onnx", x)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (np.zeros(7), "once for each row"),
        (np.full(40, np.nan), "cannot be used"),
        (np.zeros((40, 3)), "not the target's classes"),
        (np.array(["x", "y"] * 20), "does not have"),
        (LogisticRegression().fit([[0.0] * 4, [1.0] * 4], ["p", "q"]), "does not know"),
        (object(), "no teacher"),
    ],
    ids=["rows", "nan", "columns", "labels", "classes", "object"],
)
def test_answers_that_do_not_fit_are_refused(answers: Any, words: str) -> None:
    x, y, _ = two_classes(40)
    if isinstance(answers, np.ndarray) and answers.dtype.kind == "U":
        y = y.astype(str)
    with pytest.raises(InputError, match=words):
        distill(answers, x, np.where(y.astype(int) == 1, "b", "a"), **QUICK)


def test_weights_of_zero_leave_rows_out_and_seeds_repeat() -> None:
    x, y, logit = two_classes(200)
    weight = np.r_[np.ones(150), np.zeros(50)]
    poisoned = np.where(weight > 0, logit, -100 * logit)
    one = distill(poisoned, x, y, sample_weight=weight, **QUICK)
    two = distill(logit[:150], x[:150], y[:150], **QUICK)
    assert one.artifact_ == two.artifact_


def test_fit_after_distillation_is_an_ordinary_fit() -> None:
    x, y, logit = two_classes(200)
    student = distill(-logit, x, y, mix=1, **QUICK)
    assert student.fit(x, y).artifact_ == TreeClassifier(**QUICK).fit(x, y).artifact_
