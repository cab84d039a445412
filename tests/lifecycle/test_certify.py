import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import log_loss
from torch import nn

from softwood.core import InputError
from softwood.layers import SoftModule
from softwood.lifecycle import Certificate, certify


class Heaviside(nn.Module):
    def forward(self, x):
        p = (x[:, 0] > 0).to(x.dtype)
        return torch.stack([1 - p, p], dim=1)


class SoftStep(SoftModule):
    """P(class 1) = sigmoid(x / temperature); differs from its rounding by sigmoid(-|x| / temperature)."""

    slack = 1.0

    def margins(self, x):
        return x

    def forward(self, x):
        p = torch.sigmoid(x[:, 0] / self.temperature)
        return torch.stack([1 - p, p], dim=1)

    def harden(self):
        return Heaviside()

    def bound(self, x):
        return self.slack * torch.sigmoid(-x[:, 0].abs() / self.temperature)

    def in_band(self, x):
        return x[:, 0].abs() < 1


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)) * 3
    return x, (x[:, 0] + rng.normal(size=200) > 0).astype(int)


def softened(x):
    p = np.clip(0.5 + 0.1 * x[:, 0], 0.01, 0.99)
    return np.column_stack([1 - p, p])


def rounded_to(p):
    return lambda x: np.where(softened(x) > 0.5, p, 1 - p)


def test_losses_score_and_gap_are_what_others_compute(table):
    x, y = table
    certificate = certify(rounded_to(0.9), softened, (x, y), rounded=rounded_to(0.99))
    assert certificate.loss_shipped == pytest.approx(log_loss(y, rounded_to(0.9)(x)))
    assert certificate.loss_soft == pytest.approx(log_loss(y, softened(x)))
    assert certificate.loss_rounded == pytest.approx(log_loss(y, rounded_to(0.99)(x)))
    assert certificate.gap == pytest.approx(certificate.loss_soft - certificate.loss_shipped)
    right = int(((softened(x)[:, 1] > 0.5) == y).sum())
    exact = binomtest(right, 200).proportion_ci(0.95)
    assert certificate.score_name == "accuracy"
    assert certificate.score.value == right / 200
    assert (certificate.score.low, certificate.score.high) == pytest.approx((exact.low, exact.high))


def test_flips_are_the_rows_whose_label_changed(table):
    x, y = table

    def shipped(z):
        p = softened(z)
        p[[3, 50]] = p[[3, 50], ::-1]
        return p

    certificate = certify(shipped, softened, (x, y), level=0.9)
    assert certificate.flips == (3, 50)
    assert certificate.n_flips == 2
    exact = binomtest(198, 200).proportion_ci(0.9)
    assert (certificate.agreement.low, certificate.agreement.high) == pytest.approx((exact.low, exact.high))
    difference = np.abs(shipped(x) - softened(x)).max(axis=1)
    assert certificate.worst_row == difference.argmax()
    assert certificate.worst_difference == pytest.approx(difference.max())


def test_at_most_1000_flips_are_stored_and_all_are_counted():
    p = np.full(1500, 0.9)
    certificate = certify(lambda x: 1 - x, lambda x: x, (p, np.ones(1500, dtype=int)))
    assert certificate.flips == tuple(range(1000))
    assert certificate.n_flips == 1500
    assert certificate.agreement.value == 0


def test_a_soft_module_brings_its_rounding_its_band_and_its_bound(table):
    x, y = table
    soft = SoftStep(0.5)
    certificate = certify(soft.harden(), soft, (x, y))
    size = np.abs(x[:, 0])
    expected = 1 / (1 + np.exp(size / 0.5))
    assert certificate.loss_rounded == certificate.loss_shipped
    assert certificate.in_band == (size < 1).mean()
    assert certificate.bound.largest == pytest.approx(expected.max(), rel=1e-5)
    assert certificate.bound.mean == pytest.approx(expected.mean(), rel=1e-5)
    assert certificate.bound.share_zero == 0
    assert certificate.bound.holds
    assert certificate.bound.about_shipped
    assert certificate.worst_difference == pytest.approx(expected.max(), rel=1e-5)
    assert soft.training


def test_a_bound_that_does_not_hold_is_found(table):
    soft = SoftStep(0.5)
    soft.slack = 0.99
    certificate = certify(soft.harden(), soft, table)
    assert not certificate.bound.holds
    assert not certificate.passed


def test_where_what_ships_was_improved_the_bound_is_about_plain_rounding_only(table):
    soft = SoftStep(0.5)
    certificate = certify(lambda x: np.clip(soft.harden()(torch.as_tensor(x)).numpy(), 0.1, 0.9), soft, table)
    assert certificate.bound.holds
    assert not certificate.bound.about_shipped
    assert any("the provable bound is about plain rounding" in text for text in certificate.not_covered)


def test_without_a_soft_parent_the_certificate_says_so(table):
    certificate = certify(softened, None, table, ships="CART", rows="test rows")
    assert certificate.gap is certificate.agreement is certificate.loss_soft is certificate.bound is None
    assert any("no soft parent" in text for text in certificate.not_covered)
    assert certificate.passed
    assert str(certificate).startswith("What ships: CART\nMeasured on: test rows (200 rows)\nDoes not cover:\n")


def test_it_names_what_it_does_not_cover(table):
    x, y = table
    texts = certify(softened, softened, (x[:10], y[:10]), sample_weight=np.arange(10), not_covered=["mine"]).not_covered
    for part in (
        "another distribution",
        "did not say",
        "no provable bound",
        "no plain rounding",
        "count each row once",
    ):
        assert any(part in text for text in texts), part
    assert any("10 rows are few" in text for text in texts)
    assert texts[-1] == "mine"
    plain = certify(softened, None, table, rows="r", sample_weight=np.full(200, 2.0)).not_covered
    assert not any(word in text for text in plain for word in ("few", "did not say", "count each row once"))


# ---------------------------------------------------------------- regression


def test_regression_agrees_within_a_hundredth_of_the_targets_deviation():
    y = np.array([0.0, 2.0] * 20)  # standard deviation 1
    near = np.linspace(0, 0.02, 40)
    certificate = certify(lambda x: x + near, lambda x: x, (y, y), loss="squared")
    assert certificate.agreement.value == (near <= 0.01).mean()
    assert certificate.flips == tuple(np.flatnonzero(near > 0.01))
    assert "at most 0.01, 1 %" in certificate.agreement_means
    assert certificate.loss_shipped == pytest.approx((near**2).mean())
    assert certificate.score_name == "R2"
    assert certificate.score.value == pytest.approx(1 - (near**2).mean())
    assert (certificate.worst_row, certificate.worst_difference) == (39, pytest.approx(0.02))


def test_several_targets_are_averaged():
    y = np.arange(12.0).reshape(6, 2)
    certificate = certify(lambda x: x + np.array([1.0, 3.0]), None, (y, y), loss="squared")
    assert certificate.loss_shipped == 5.0
    certificate = certify(lambda x: x + np.array([0.0, 3.0]), lambda x: x, (y, y), loss="squared")
    assert certificate.worst_difference == 3.0


def test_a_constant_target_has_no_score():
    certificate = certify(lambda x: x, lambda x: x, (np.ones(5), np.ones(5)), loss="squared")
    assert certificate.score is certificate.score_name is None
    assert certificate.agreement.value == 1
    json.dumps(certificate.to_dict(), allow_nan=False)


def test_a_loss_of_ones_own_gets_outputs_and_targets(table):
    def absolute(outputs, y):
        return np.abs(outputs[:, 0] - y)

    x, _ = table
    certificate = certify(lambda z: z[:, 0], lambda z: z[:, 1], (x, x[:, 1]), loss=absolute)
    assert certificate.loss == "absolute"
    assert certificate.loss_shipped == pytest.approx(np.abs(x[:, 0] - x[:, 1]).mean())
    assert certificate.loss_soft == 0
    assert certificate.score_name == "R2"


def test_a_loss_of_ones_own_with_classes_gets_codes(table):
    x, y = table

    def errors(outputs, codes):
        return (outputs.argmax(axis=1) != codes).astype(float)

    labels = np.array(["no", "yes"])[y]
    certificate = certify(softened, None, (x, labels), loss=errors, classes=["no", "yes"])
    assert certificate.loss_shipped == pytest.approx(1 - certificate.score.value)


# ---------------------------------------------------------------- what comes in


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [-1, 1], [3.5, 7.25]])
def test_labels_of_any_kind_are_the_sorted_columns(table, labels):
    x, y = table
    expected = certify(softened, None, table)
    for target in (np.array(labels)[y], pd.Series(np.array(labels)[y]), np.array(labels, dtype=object)[y]):
        found = certify(softened, None, (x, target))
        assert (found.loss_shipped, found.score) == (expected.loss_shipped, expected.score)
    turned = certify(lambda z: softened(z)[:, ::-1], None, (x, np.array(labels)[y]), classes=labels[::-1])
    assert turned.loss_shipped == pytest.approx(expected.loss_shipped)


def test_a_class_that_is_not_among_the_rows_is_fine_where_columns_are_known():
    p = np.array([[0.5, 0.25, 0.25]] * 3)
    expected = pytest.approx(-np.log(0.25))
    assert certify(lambda x: p, None, (p, np.array([1, 2, 2]))).loss_shipped == expected
    assert certify(lambda x: p, None, (p, np.array(["b"] * 3)), classes=["a", "b", "c"]).loss_shipped == expected


def test_one_column_is_the_probability_of_the_second_class(table):
    expected = certify(softened, None, table)
    for column in (lambda z: softened(z)[:, 1], lambda z: softened(z)[:, 1:]):
        assert certify(column, None, table).loss_shipped == pytest.approx(expected.loss_shipped)


def test_a_tie_goes_to_the_first_class():
    assert certify(lambda x: x, None, (np.array([0.5]), np.array([0]))).score.value == 1


def test_probabilities_are_clipped():
    found = certify(lambda x: x, None, (np.array([1.0]), np.array([0])))
    assert found.loss_shipped == pytest.approx(-np.log(1e-15))


def test_weights_weigh_the_losses(table):
    x, y = table
    weight = np.random.default_rng(1).integers(0, 3, size=200)
    repeated = certify(softened, None, (np.repeat(x, weight, axis=0), np.repeat(y, weight)))
    weighted = certify(softened, None, (x, y), sample_weight=weight)
    assert weighted.loss_shipped == pytest.approx(repeated.loss_shipped)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_gets_tensors_of_its_dtype(dtype):
    seen = []

    class Probe(nn.Linear):
        def forward(self, x):
            seen.append((x.dtype, self.training, torch.is_grad_enabled()))
            return super().forward(x)

    model = Probe(2, 1, dtype=dtype)
    certify(model, None, (pd.DataFrame({"a": [1, 2], "b": [0.5, 1]}), [0.0, 1.0]), loss="squared")
    assert seen == [(dtype, False, False)]
    assert model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shipped": lambda x: softened(x)[:-1]}, "shipped did not give one output a row"),
        ({"shipped": lambda x: softened(x) * np.nan}, "shipped gave an output that is not finite.*row 0"),
        ({"shipped": lambda x: 5 * softened(x)}, "shipped gave no probabilities.*sigmoid of logits"),
        ({"soft": lambda x: np.ones((200, 3)) / 3}, "labels and outputs do not match|different shapes"),
        ({"y": np.array(["a", "b", "c", "a"] * 50)}, "labels and outputs do not match"),
        ({"classes": [0, 2]}, r"got: labels \[1\]|got labels \[1\]"),
        ({"classes": [0, 1, 2]}, "2 classes"),
        ({"loss": "log_los"}, "did you mean 'log_loss'"),
        ({"loss": "squared", "classes": [0, 1]}, "squared loss takes no classes"),
        ({"loss": "squared", "y": np.array(["a"] * 200)}, "target is no finite number.*'a' in row 0"),
        ({"loss": "squared"}, "outputs and targets have different shapes"),
        ({"loss": lambda outputs, y: outputs}, "one finite value a row"),
        ({"sample_weight": -np.ones(200)}, "sample_weight is not usable"),
        ({"sample_weight": np.ones(3)}, "sample_weight is not usable"),
        ({"level": 95}, "level is out of range"),
    ],
)
def test_bad_input_is_refused_with_what_came(table, change, message):
    x, y = table
    y = change.pop("y", y)
    arguments = {"shipped": softened, "soft": softened, "data": (x, y), **change}
    with pytest.raises(InputError, match=message):
        certify(arguments.pop("shipped"), arguments.pop("soft"), arguments.pop("data"), **arguments)


def test_a_module_cannot_take_text():
    frame = pd.DataFrame({"a": ["x", "y"]})
    with pytest.raises(InputError, match="encode the table first"):
        certify(nn.Linear(1, 1), None, (frame, [0.0, 1.0]), loss="squared")


@pytest.mark.parametrize("name", ["bound", "in_band"])
def test_a_band_or_bound_of_another_length_is_refused(table, name, monkeypatch):
    monkeypatch.setattr(SoftStep, name, lambda self, x: x)
    with pytest.raises(InputError, match=f"soft.{name} did not answer for each row"):
        certify(Heaviside(), SoftStep(), table)


def test_no_rows_are_no_certificate():
    with pytest.raises(InputError, match="one output a row"):
        certify(lambda x: x, None, (np.zeros((0, 2)), np.zeros(0)))


def test_it_goes_through_json(table):
    certificate = certify(Heaviside(), SoftStep(0.5), table)
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict(), allow_nan=False))) == certificate
