"""The gradient doctor: right references, right numbers, failures seen, and a recommendation with its reason."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from softwood.core import InputError
from softwood.gradients import (
    GumbelSoftmax,
    Perturbed,
    ReinMax,
    ScoreFunction,
    StraightThrough,
    check,
)


def rows_of(report):
    return {row.name: row for row in report.rows}


@pytest.fixture(scope="module")
def report():
    noise = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, generator=noise, dtype=torch.float64)
    inner = torch.randn(18, 8, generator=noise, dtype=torch.float64)
    return check(lambda z: torch.tanh(z.flatten(-2) @ inner).sum(-1).square(), logits=logits, repeats=1000)


def test_choices_are_judged_by_enumeration_and_all_that_claim_it_are_unbiased(report):
    assert report.reference == "enumeration"
    assert report.reference_error == 0
    assert "216 outcomes" in report.reference_detail
    rows = rows_of(report)
    assert len(rows) == 19
    assert [row.failure for row in report.rows if row.failure] == []
    for row in report.rows:
        assert row.bias_low <= row.bias <= row.bias_high
        assert row.unbiased is (row.bias_low < 1e-9) or row.name == "Gumbel-softmax 0.1"
    assert rows["enumeration"].bias < 1e-9
    assert rows["enumeration"].calls == 216
    assert rows["leave-one-out 4"].calls == 4
    assert rows["leave-one-out 4"].variance < rows["score function"].variance / 3
    assert rows["REBAR 0.5"].calls == 3


def test_bias_and_variance_are_those_of_a_batch_measured_by_hand(problem, moments):
    logits, loss_fn, truth = problem
    found = rows_of(check(loss_fn, logits=logits, repeats=20_000, estimators={"it": (StraightThrough(), 1)}))["it"]
    many = logits.expand(20_000, 3, 6).clone().requires_grad_()
    loss = StraightThrough().estimate(loss_fn, many, generator=torch.Generator().manual_seed(9))
    by_hand = moments(torch.autograd.grad(loss.sum(), many)[0])
    assert found.bias_low < by_hand.bias(truth) < found.bias_high
    assert found.variance == pytest.approx(by_hand.variance / float(truth.norm()) ** 2, rel=0.05)


def test_the_interval_holds_the_bias_as_often_as_it_says():
    """Of a known bias: the straight-through gradient of a loss that is linear but for a factor."""
    logits = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)

    class Doubled(ReinMax):
        def sample(self, logits, *, generator=None):
            return super().sample(2 * logits - logits.detach(), generator=generator)  # twice the gradient: bias 1

    hits = 0
    for seed in range(60):
        report = check(
            lambda z: z[..., 0, 0] * 1.0 + z[..., 0, 2] ** 2, logits=logits, estimators={"it": (Doubled(), 1)},
            repeats=200, seed=1000 * seed,
        )  # fmt: skip
        hits += report.rows[0].bias_low <= 1 <= report.rows[0].bias_high
    assert hits >= 51  # of 60 at 95 %: below this with probability 0.002


def test_a_black_box_is_left_to_those_that_need_no_gradient(problem):
    logits, loss_fn, _ = problem
    found = check(lambda z: loss_fn(z).detach(), logits=logits, repeats=200)
    rows = rows_of(found)
    for name in ("ReinMax", "ST softmax", "Gumbel-softmax 1"):
        assert "black box" in rows[name].failure
        assert math.isnan(rows[name].bias)
    for name in ("REBAR 0.5", "RELAX"):
        assert "control variate has no gradient" in rows[name].failure
    assert rows[found.recommendation].unbiased
    assert found.recommendation in str(found)


def test_a_loss_that_refuses_mixtures_and_one_that_is_not_finite_are_told():
    def strict(z):
        if not bool(((z == 0) | (z == 1)).all()):
            raise ValueError("one-hot choices only")
        return z[..., 0, 0]

    logits = torch.zeros(1, 3)
    candidates = {"GS": (GumbelSoftmax(), 1), "LOO": (ScoreFunction(), 4), "ReinMax": (ReinMax(), 1)}
    with pytest.raises(ValueError, match="one-hot"):
        strict(torch.full((1, 1, 3), 0.3))
    rows = rows_of(check(strict, logits=logits, estimators=candidates, repeats=50))
    assert rows["GS"].failure == "one-hot choices only"
    assert rows["LOO"].failure == ""
    rows = rows_of(check(lambda z: (z[..., 0, 0] + 1e-30).sqrt(), logits=logits, estimators=candidates, repeats=50))
    assert rows["LOO"].failure == ""


def test_a_batch_has_its_own_losses_and_too_many_outcomes_get_a_reference_with_its_error():
    logits = torch.randn(2, 2, 3, dtype=torch.float64)
    found = check(lambda z: z[..., 0].prod(-1), logits=logits, repeats=300)
    assert "9 outcomes" in found.reference_detail
    assert rows_of(found)["unordered set 4"].failure == ""
    many = torch.zeros(20, 3, dtype=torch.float64)
    found = check(lambda z: z[..., 0].sum(-1) ** 2, logits=many, repeats=300, estimators={"it": (ScoreFunction(), 4)})
    assert found.reference == "leave-one-out"
    assert 0 < found.reference_error < 0.2
    assert "3 ** 20" in found.reference_detail
    # the expected square of a binomial count: its gradient is known
    assert found.gradient_norm == pytest.approx(20**0.5 * (1 + 2 * 19 / 3) * (2 / 3 * 1 / 3) * (1.5**0.5), rel=0.15)


def test_binary_choices_bring_the_antithetic_estimators():
    found = check(lambda z: (z[..., 1].sum(-1) - 1) ** 2, logits=torch.zeros(3, 2), repeats=300)
    assert {"DisARM", "ARMS 4"} <= set(rows_of(found))
    assert rows_of(found)["DisARM"].failure == ""


# ---------------------------------------------------------------- functions


def test_a_smooth_function_is_judged_by_differences_and_autograd_is_taken():
    found = check(lambda x: (x**2).sum() + x[0] * x[1], torch.tensor([1.0, -2.0, 0.5]), repeats=100)
    assert found.reference == "finite differences"
    assert found.recommendation == "autograd"
    assert found.gradient_norm == pytest.approx((0.0**2 + 3**2 + 1) ** 0.5, rel=1e-6)
    rows = rows_of(found)
    assert rows["autograd"].bias < 1e-5
    assert rows["finite differences"].bias < 1e-2
    assert rows["SPSA 8"].variance < rows["SPSA 1"].variance / 4


def test_many_numbers_are_judged_along_directions():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, generator=generator)
    found = check(lambda x: torch.sin(x).sum(-1), x, repeats=50, estimators={"autograd": None})
    assert found.reference == "directional differences"
    assert "48 random directions of 600" in found.reference_detail
    assert rows_of(found)["autograd"].bias < 1e-4
    wrong = check(
        lambda x: torch.sin(x).sum(-1) + 0.5 * (x.sum(-1) - x.sum(-1).detach()), x, repeats=50,
        estimators={"autograd": None},
    )  # fmt: skip
    assert rows_of(wrong)["autograd"].bias_low > 0.1  # a gradient that is not the function's is seen


def test_a_function_with_steps_is_smoothed_and_it_is_said():
    found = check(lambda x: torch.floor(4 * x).sum(-1), torch.tensor([1.1, -2.0]), repeats=100, sigma=0.5)
    assert found.reference == "smoothed"
    assert "not that of the function itself" in found.reference_detail
    assert found.warnings
    rows = rows_of(found)
    assert rows["autograd"].failure == "the gradient is zero"
    assert rows["evolution strategies 16"].bias_low < 0.1
    assert "evolution strategies" in found.recommendation
    # floor(4 x), smoothed so widely, has nearly the slope 4
    assert found.gradient_norm == pytest.approx(4 * 2**0.5, rel=0.05)


def test_a_random_function_is_told():
    found = check(
        lambda x: x.sum(-1) + torch.randn(x.shape[:-1]), torch.ones(2), repeats=50,
        estimators={"ES": Perturbed(0.1, sampling="antithetic")},
    )  # fmt: skip
    assert "random" in found.warnings[0]
    assert found.reference == "smoothed"


def test_weights_in_single_precision_and_functions_of_one_instance_work():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    found = check(lambda x: model(x).squeeze(), torch.ones(3), repeats=20, estimators={"autograd": None})
    assert found.reference == "finite differences"
    assert found.rows[0].bias < 1e-2


def test_numpy_functions_and_sums_over_the_wrong_axis_are_taken_for_what_they_are():
    found = check(lambda x: float(np.sum(np.asarray(x) ** 2)), torch.tensor([1.0, 2.0]), repeats=20)
    assert found.reference == "finite differences"
    assert "requires grad" in rows_of(found)["autograd"].failure
    assert found.recommendation == "finite differences"
    # of a batch [2, 2] this gives two numbers as well, but those of the columns
    columns = check(lambda x: x.square().sum(0), torch.tensor([1.0, 2.0]), repeats=20)
    assert columns.gradient_norm == pytest.approx(20**0.5, rel=1e-5)


def test_solvers_bring_their_own_estimators():
    def largest(scores):
        return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)

    target = torch.tensor([0.0, 1.0, 0.0])
    found = check(
        lambda y: (y - target).square().sum(-1), torch.tensor([0.6, 0.5, 0.1]), solver=largest, sigma=0.3, repeats=200
    )
    rows = rows_of(found)
    assert {"perturbed", "implicit MLE", "blackbox", "identity, centred"} <= set(rows)
    assert all(row.cosine > 0.7 for row in rows.values())
    assert rows["blackbox"].calls == 2
    assert rows["perturbed"].calls == 16


# ---------------------------------------------------------------- the report


def test_the_report_is_a_table_a_document_and_a_picture(report, tmp_path):
    text = str(report)
    assert "95 % interval" in text
    assert f"take: {report.recommendation}" in text
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert len(content["rows"]) == len(report.rows)
    assert content["recommendation"] == report.recommendation
    picture = ElementTree.parse(report.plot(tmp_path / "found.svg")).getroot()
    texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{report.recommendation} (take this)" in texts
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * len(report.rows)


def test_more_calls_a_step_favour_estimators_without_bias(problem):
    logits, loss_fn, _ = problem
    few = check(loss_fn, logits=logits, calls_per_step=1, repeats=500)
    many = check(loss_fn, logits=logits, calls_per_step=100_000, repeats=500)
    assert not rows_of(few)[few.recommendation].unbiased
    assert rows_of(many)[many.recommendation].unbiased
    assert "Without bias" in check(loss_fn, logits=logits, calls_per_step=30, repeats=500).reason


def test_the_same_seed_gives_the_same_numbers(problem):
    logits, loss_fn, _ = problem
    first, again = (check(loss_fn, logits=logits, repeats=50, seed=3).rows for _ in range(2))
    assert [row.bias for row in first] == [row.bias for row in again]


def test_bad_input_is_named():
    with pytest.raises(InputError, match="one of x and logits"):
        check(lambda x: x)
    with pytest.raises(InputError, match="floating"):
        check(lambda x: x, torch.tensor([1]))
    with pytest.raises(InputError, match="one number"):
        check(lambda x: x, torch.zeros(3))
    with pytest.raises(InputError, match="no gradient to compare"):
        check(lambda z: 0 * z[..., 0], logits=torch.zeros(2))
    with pytest.raises(InputError, match="ChoiceEstimator"):
        check(lambda z: z[..., 0], logits=torch.zeros(2), estimators={"it": Perturbed()})
    with pytest.raises(InputError, match="FunctionEstimator"):
        check(lambda x: x.sum(-1), torch.zeros(2), estimators={"it": ReinMax()})
