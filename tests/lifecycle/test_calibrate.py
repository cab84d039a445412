import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from softwood.core import InputError, SoftwoodWarning
from softwood.layers import SoftModule
from softwood.lifecycle import calibrate


class Step(SoftModule):
    def __init__(self, at=0.0):
        super().__init__()
        self.at = at

    def margins(self, x):
        return x - self.at

    def forward(self, x):
        return torch.sigmoid(self.margins(x) / self.temperature)

    def harden(self):
        return nn.ReLU()


SIZES = st.lists(st.floats(-1e3, 1e3).filter(lambda value: abs(value) > 1e-3), min_size=1, max_size=20)


def test_the_temperature_is_softness_times_the_median_margin():
    step = Step(at=1.0)
    assert calibrate(step, torch.tensor([2.0, -3.0, 11.0]), softness=0.5) == {"": 2.0}
    assert step.temperature.item() == 2.0


@given(SIZES, st.sampled_from([1e-3, 1.0, 1e3]))
def test_other_units_give_a_temperature_in_those_units(values, factor):
    x = torch.tensor(values)
    assert calibrate(Step(), x * factor)[""] == pytest.approx(factor * calibrate(Step(), x)[""], rel=1e-5)


@given(SIZES, st.integers(2, 4))
def test_more_of_the_same_rows_change_nothing(values, copies):
    x = torch.tensor(values)
    assert calibrate(Step(), x.repeat(copies)) == calibrate(Step(), x)


@given(SIZES)
def test_zero_nan_and_infinite_margins_are_left_out(values):
    odd = torch.tensor([0.0, math.nan, math.inf, -math.inf, 0.0])
    x = torch.tensor(values)
    assert calibrate(Step(), torch.cat([odd, x])) == calibrate(Step(), x)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan], [0.0, math.inf]])
def test_without_a_usable_margin_the_temperature_stays_and_a_warning_says_so(values):
    step = Step()
    with pytest.warns(SoftwoodWarning, match="temperature of '' as it was: no finite, non-zero margin"):
        found = calibrate(step, torch.tensor(values))
    assert found[""] == step.temperature.item() == pytest.approx(0.1)


def test_a_module_that_is_not_reached_is_named():
    model = nn.Sequential(Step())
    model.unused = Step()
    model.forward = lambda x: model[0](x)
    with pytest.warns(SoftwoodWarning, match="'unused'"):
        found = calibrate(model, torch.ones(3))
    assert found == {"0": pytest.approx(0.1), "unused": pytest.approx(0.1)}


def test_later_modules_see_what_the_calibrated_earlier_ones_give():
    x = torch.linspace(-3, 5, 101)
    model = nn.Sequential(Step(), Step(at=0.25))
    first = calibrate(model, x)
    middle = torch.sigmoid(x / first["0"])
    assert first["1"] == pytest.approx(0.1 * (middle - 0.25).abs().median().item(), rel=1e-5)
    assert calibrate(model, x) == first


def test_a_module_that_is_called_twice_is_measured_over_both_calls():
    step = Step()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = step

        def forward(self, x, y):
            return step(x) + step(x=y)

    assert calibrate(Twice(), (torch.tensor([1.0, 2.0]), torch.tensor([30.0])), softness=1) == {"step": 2.0}


def test_nothing_but_the_temperature_changes():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), Step())
    model[1].eval()
    weight = model[0].weight
    before = {name: value.clone() for name, value in model.state_dict().items() if "temperature" not in name}
    calibrate(model, torch.randn(8, 2))
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [module.training for module in model] == [True, False, True]
    assert weight.grad is None
    assert not any(module._forward_pre_hooks for module in model)


def test_hooks_and_modes_are_put_back_when_the_model_fails():
    model = nn.Sequential(Step(), nn.Linear(3, 1))
    with pytest.raises(RuntimeError, match="shape"):
        calibrate(model, torch.ones(4, 2))
    assert not model[0]._forward_pre_hooks
    assert model.training
    assert model[0].training


def test_a_model_without_soft_modules_is_left_alone():
    assert calibrate(nn.Linear(2, 1), torch.ones(1, 2)) == {}


@pytest.mark.parametrize("softness", [0, -0.1, float("nan"), "0.1"])
def test_a_softness_that_is_not_positive_is_refused(softness):
    with pytest.raises(InputError, match="softness"):
        calibrate(Step(), torch.ones(1), softness=softness)


def test_margins_beyond_float32_are_refused_and_tiny_ones_get_the_smallest_temperature():
    with pytest.raises(InputError, match="rescale the inputs"):
        calibrate(Step(), torch.tensor([1e300], dtype=torch.float64))
    assert calibrate(Step(), torch.tensor([1e-300], dtype=torch.float64))[""] == pytest.approx(1e-12, rel=1e-6, abs=0)
