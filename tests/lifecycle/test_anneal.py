import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from softwood.core import InputError
from softwood.layers import SoftModule
from softwood.lifecycle import Annealer, flatten_state, harden, measure_gap, unflatten_state


class Step(SoftModule):
    def margins(self, x):
        return x

    def forward(self, x):
        return torch.sigmoid(x / self.temperature)

    def harden(self):
        return Heaviside()


class Heaviside(nn.Module):
    def forward(self, x):
        return (x > 0).to(x.dtype)


def two_steps():
    return nn.Sequential(Step(1.0), nn.Linear(1, 1), Step(4.0))


def temperatures(model):
    return [model[0].temperature.item(), model[2].temperature.item()]


def test_all_soft_modules_are_cooled_in_place_and_the_rest_is_left_alone():
    model = two_steps()
    buffer, weight = model[0].temperature, model[1].weight.clone()
    assert Annealer(model, rate=0.5).step(0.3) is False
    assert temperatures(model) == [0.5, 2.0]
    assert model[0].temperature is buffer
    assert torch.equal(model[1].weight, weight)


@pytest.mark.parametrize("gap", [0.005, -0.005, 0.0, torch.tensor(-0.001, requires_grad=True)])
def test_a_small_gap_of_either_sign_ends_the_cooling(gap):
    model = two_steps()
    annealer = Annealer(model)
    assert annealer.step(gap) is True
    assert temperatures(model) == [1.0, 4.0]


def test_it_holds_while_a_cooling_has_raised_the_gap_and_goes_on_when_weights_have_adapted():
    model = two_steps()
    annealer = Annealer(model, rate=0.5, tolerance=0.1)
    scales = []
    for gap in (-0.3, -0.39, 0.5, -0.7, -0.48, -0.4):
        annealer.step(gap)
        scales.append(annealer.scale)
    # -0.39 is within tolerance of -0.3; 0.5 and -0.7 are beyond that of 0.39; -0.48 is within it
    assert scales == [0.5, 0.25, 0.25, 0.25, 0.125, 0.0625]


def test_a_hold_lasts_at_most_patience_calls():
    annealer = Annealer(two_steps(), rate=0.5, tolerance=0.0, patience=2)
    scales = []
    for gap in (0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3):
        annealer.step(gap)
        scales.append(annealer.scale)
    assert scales == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_no_patience_never_holds():
    annealer = Annealer(two_steps(), rate=0.5, tolerance=0.0, patience=0)
    for gap in (0.1, 0.2, 0.3):
        annealer.step(gap)
    assert annealer.scale == 0.125


@given(st.floats(0.05, 0.95), st.floats(1e-4, 0.9))
def test_it_lands_on_the_floor_and_is_done_one_call_later(rate, floor):
    model = two_steps()
    annealer = Annealer(model, rate=rate, floor=floor)
    calls = 1
    while not annealer.step(1.0):
        calls += 1
        assert annealer.scale >= floor
    assert annealer.scale == floor
    assert calls == math.ceil(math.log(floor) / math.log(rate) - 1e-7) + 1
    assert temperatures(model) == pytest.approx([floor, 4 * floor], rel=1e-4)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(0, 29))
def test_a_resumed_annealer_goes_on_exactly_as_one_that_ran_through(gaps, cut):
    through, first = two_steps(), two_steps()
    whole, part = Annealer(through), Annealer(first)
    for gap in gaps:
        whole.step(gap)
    for gap in gaps[:cut]:
        part.step(gap)
    second = two_steps()
    second.load_state_dict(first.state_dict())
    resumed = Annealer(second)
    resumed.load_state_dict(unflatten_state(*flatten_state(part.state_dict())))
    for gap in gaps[cut:]:
        resumed.step(gap)
    assert temperatures(second) == temperatures(through)
    assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, "0.1", torch.tensor(math.nan)])
def test_a_gap_that_is_no_number_is_refused(gap):
    with pytest.raises(InputError, match="gap is not usable"):
        Annealer(two_steps()).step(gap)


@pytest.mark.parametrize(
    "bad", [{"target_gap": -1}, {"rate": 1.0}, {"rate": 0}, {"tolerance": -1}, {"floor": 0}, {"patience": 1.5}]
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Annealer(two_steps(), **bad)


def test_a_model_without_soft_modules_is_refused():
    with pytest.raises(InputError, match="a Linear without soft modules"):
        Annealer(nn.Linear(1, 1))


def test_the_state_of_something_else_is_refused():
    with pytest.raises(InputError, match="not the state of an Annealer"):
        Annealer(two_steps()).load_state_dict({"lr": 1.0})


# ---------------------------------------------------------------- fixed schedule


@given(st.floats(0.1, 10), st.floats(1e-3, 0.09), st.integers(2, 40))
def test_a_geometric_schedule_starts_and_ends_where_it_says(start, end, steps):
    model = two_steps()
    annealer = Annealer.geometric(model, start, end, steps)
    seen, done = [], []
    for _ in range(steps):
        seen.append(temperatures(model)[0])
        done.append(annealer.step())
    expected = [start * (end / start) ** (k / (steps - 1)) for k in range(steps)]
    assert seen == pytest.approx(expected, rel=1e-4)
    assert done == [False] * (steps - 1) + [True]
    assert temperatures(model) == pytest.approx([end, 4 * end], rel=1e-4)


def test_a_geometric_schedule_ignores_the_gap():
    model = two_steps()
    annealer = Annealer.geometric(model, 1.0, 0.25, 3)
    assert annealer.step(0.0) is False
    assert annealer.step(1e9) is False
    assert temperatures(model) == [0.25, 1.0]


@pytest.mark.parametrize(("start", "end", "steps"), [(0.1, 1.0, 5), (1.0, 1.0, 5), (1.0, 0.0, 5), (1.0, 0.1, 1)])
def test_a_schedule_that_does_not_cool_is_refused(start, end, steps):
    with pytest.raises(InputError):
        Annealer.geometric(two_steps(), start, end, steps)


# ---------------------------------------------------------------- the gap


def test_the_gap_is_relaxed_minus_hard():
    model = Step(1.0)
    x, target = torch.tensor([2.0]), torch.tensor([1.0])
    soft = (torch.sigmoid(x) - 1).square().item()
    gap = measure_gap(model, harden(model).model, x, target, nn.functional.mse_loss)
    assert gap == pytest.approx(soft)
    assert measure_gap(harden(model).model, model, x, target, nn.functional.mse_loss) == pytest.approx(-soft)
    assert model.training


def test_the_gap_of_this_model_vanishes_as_it_cools():
    model = Step(1.0)
    x = torch.linspace(-2, 2, 20)
    target = (x > 0).float()
    annealer = Annealer(model, target_gap=1e-4, tolerance=1.0, floor=1e-6)
    gaps = []
    for _ in range(60):
        gaps.append(measure_gap(model, harden(model).model, x, target, nn.functional.mse_loss))
        if annealer.step(gaps[-1]):
            break
    assert 0 < gaps[-1] <= 1e-4 < gaps[0]
    assert gaps == sorted(gaps, reverse=True)
    assert annealer.scale > 1e-6
