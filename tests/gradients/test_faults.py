"""Wrong and one-sided derivatives are named; right ones are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.gradients import derivative_faults, nondifferentiable_bound


class Cancelling(nn.Module):
    """The identity by its one parameter, from two ReLUs that share it."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return x * (torch.relu(self.weight) - torch.relu(-self.weight))


def test_a_wrong_parameter_is_named_and_a_right_one_is_not():
    report = derivative_faults(Cancelling([0.0, 0.5, -1.0]), torch.full((3,), 2.0))
    (fault,) = report.wrong
    assert (fault.name, fault.index, fault.autograd, fault.wrong) == ("weight", (0,), 0.0, True)
    assert (fault.low, fault.high) == pytest.approx((2.0, 2.0))
    assert report.faults == report.wrong
    assert "weight[0]: WRONG" in str(report)
    assert (report.checked, report.skipped) == (6, 0)


def test_a_kink_is_one_sided_and_no_fault_of_autograd():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).train()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        model[0].bias.zero_()
    report = derivative_faults(model, torch.tensor([[0.5, 0.5]]))
    assert report.wrong == ()
    names = {(fault.name, fault.index) for fault in report.faults}
    assert names == {("0.weight", (0, 0)), ("0.weight", (0, 1)), ("0.bias", (0,)), ("input", (0, 0)), ("input", (0, 1))}
    assert all(fault.low < fault.high for fault in report.faults)
    assert model.training
    assert model[0].weight.dtype == torch.float32


def test_ties_of_max_pooling_are_seen_and_random_reals_have_no_faults():
    x = torch.ones(1, 1, 2, 2)
    assert {fault.index for fault in derivative_faults(nn.MaxPool2d(2), x).faults} == {
        (0, 0, i, j) for i in range(2) for j in range(2)
    }
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    report = derivative_faults(model, torch.randn(5, 6), most=50)
    assert report.faults == ()
    assert (report.checked, report.skipped) == (50 + 20 + 50 + 3 + 30, 70 + 10)


def test_several_inputs_a_loss_and_what_is_refused():
    pair = nn.Bilinear(2, 2, 1)
    report = derivative_faults(pair, (torch.zeros(1, 2), torch.ones(1, 2)), loss=lambda y: y.sum() ** 2)
    assert report.faults == ()

    class Second(nn.Module):
        def forward(self, x, y):
            return x.sum() + y.abs()

    (fault,) = derivative_faults(Second(), (torch.ones(2), torch.tensor([0.0, 1.0]))).faults
    assert (fault.name, fault.index, fault.wrong) == ("input 1", (0,), False)
    with pytest.raises(InputError, match="nothing to differentiate"):
        derivative_faults(nn.Identity(), torch.tensor([1, 2]))
    with pytest.raises(InputError, match="one number"):
        derivative_faults(nn.Identity(), torch.ones(2), loss=lambda y: y)


def test_the_bound_counts_units_times_kinks():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.Hardtanh())
    assert nondifferentiable_bound(model, torch.ones(7, 2), 100) == pytest.approx((3 + 2 * 4) / 100)
