import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from softwood.core import Budget, InputError, UnsupportedError
from softwood.layers import SoftModule
from softwood.lifecycle import harden

mse = nn.functional.mse_loss


class Add(nn.Module):
    """A discrete module that adds a whole number."""

    def __init__(self, number, size=1):
        super().__init__()
        self.number, self.used = number, size

    def forward(self, x):
        return x + self.number

    def size(self):
        return self.used


class SoftAdd(SoftModule):
    def __init__(self, candidates=(), plain=None):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(0.4))
        self.candidates, self.plain = candidates, plain
        self.seen = []

    def forward(self, x):
        return x + self.number

    def margins(self, x):
        return x

    def harden(self):
        return self.plain or Add(round(self.number.item()))

    def roundings(self, x, y, budget):
        self.seen.append((x, y, budget))
        for candidate in self.candidates:
            yield (f"add {candidate.number}", candidate)


class Plain(SoftAdd):
    roundings = property()  # this one offers no further candidates


X = torch.tensor([0.0, 1.0, 2.0])


def test_every_soft_module_becomes_plain_and_the_rest_is_copied_unchanged():
    model = nn.Sequential(nn.Linear(2, 2), SoftAdd(), nn.Dropout())
    model[2].eval()
    result = harden(model)
    assert [type(module) for module in result.model] == [nn.Linear, Add, nn.Dropout]
    assert torch.equal(result.model[0].weight, model[0].weight)
    assert result.model[0].weight is not model[0].weight
    assert [module.training for module in result.model] == [True, True, False]
    assert isinstance(model[1], SoftAdd)
    assert [(step.module, step.name, step.loss, step.kept) for step in result.steps] == [
        ("1", "plain rounding", None, True)
    ]


def test_the_model_itself_may_be_soft_and_then_its_candidates_get_the_targets():
    model = SoftAdd([Add(3), Add(5)])
    result = harden(model, (X, X + 5), mse, budget=7)
    assert result.model.number == 5
    assert [(step.name, step.loss, step.kept) for step in result.steps] == [
        ("plain rounding", 25.0, False),
        ("add 3", 4.0, False),
        ("add 5", 0.0, True),
    ]
    assert isinstance(model, SoftAdd)
    assert model.seen == []  # the copy was asked


def test_candidates_inside_a_network_get_the_inputs_that_reach_them_and_no_targets():
    model = nn.Sequential(SoftAdd([Add(1)]), SoftAdd([Add(2)]))
    seen = []
    model[1].__class__ = type(
        "Spy", (SoftAdd,), {"roundings": lambda self, x, y, budget: seen.append((x, y, budget)) or iter(())}
    )
    harden(model, (X, X + 1), mse, budget=Budget(9, "gates"))
    (x,), y, budget = seen[0]
    assert torch.equal(x, X + 1)  # the first module was hardened to its best, add 1
    assert y is None
    assert budget == Budget(9, "gates")


def test_each_module_is_tried_with_the_others_at_their_best_so_far():
    model = nn.Sequential(SoftAdd([Add(1), Add(4)]), SoftAdd([Add(-1), Add(2)]))
    result = harden(model, (X, X + 6), mse)
    assert [module.number for module in result.model] == [4, 2]
    assert [step.loss for step in result.steps] == [36.0, 25.0, 4.0, 36.0, 9.0, 0.0]
    assert [step.kept for step in result.steps] == [False, False, True, False, False, True]


@given(st.integers(-5, 5), st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=3))
def test_the_result_is_never_worse_than_plain_rounding(wanted, candidates):
    model = nn.Sequential(*[SoftAdd([Add(number) for number in numbers]) for numbers in candidates])
    plain = mse(harden(model).model(X), X + wanted).item()
    result = harden(model, (X, X + wanted), mse)
    reached = mse(result.model(X), X + wanted).item()
    assert reached <= plain
    kept = [step for step in result.steps if step.kept]
    assert [step.module for step in kept] == [str(index) for index in range(len(candidates))]
    assert min(step.loss for step in result.steps) == reached


@pytest.mark.parametrize("loss", [lambda output, target: torch.tensor(math.nan), lambda output, target: torch.ones(())])
def test_a_candidate_that_is_not_better_is_not_taken(loss):
    result = harden(SoftAdd([Add(3)]), (X, X), loss)
    assert result.model.number == 0
    assert [step.kept for step in result.steps] == [True, False]


def test_a_nan_loss_never_wins():
    def loss(output, target):
        return torch.tensor(math.nan) if output[0] == 3 else mse(output, target)

    assert harden(SoftAdd([Add(3), Add(4)]), (X, X + 4), loss).model.number == 4
    assert harden(SoftAdd([Add(4)], plain=Add(3)), (X, X + 9), loss).model.number == 4


def test_a_module_that_is_used_twice_is_hardened_once_and_stays_shared():
    shared = SoftAdd([Add(2)])
    model = nn.Sequential(shared, nn.Identity(), shared)
    result = harden(model, (X, X + 4), mse)
    assert result.model[0] is result.model[2]
    assert result.model[0].number == 2
    assert [step.module for step in result.steps] == ["0", "0"]


def test_a_module_that_is_called_twice_gets_the_inputs_of_both_calls():
    seen = []

    class Spy(SoftAdd):
        def roundings(self, x, y, budget):
            seen.extend(x)
            return iter(())

    shared = Spy(plain=Add(10))
    harden(nn.Sequential(shared, shared), (X, X), mse)
    assert torch.equal(seen[0], torch.cat([X, X + 10]))


def test_a_soft_module_inside_another_is_the_outer_ones_matter():
    outer = SoftAdd()
    outer.inner = SoftAdd()
    result = harden(nn.Sequential(outer))
    assert [step.module for step in result.steps] == ["0"]
    assert isinstance(result.model[0], Add)


def test_modules_that_offer_nothing_more_are_rounded_plainly():
    result = harden(nn.Sequential(Plain()), (X, X + 1), mse)
    assert [(step.name, step.loss) for step in result.steps] == [("plain rounding", 1.0)]


def test_evaluation_leaves_modes_and_statistics_alone():
    model = nn.Sequential(nn.BatchNorm1d(1), SoftAdd([Add(1)]))
    result = harden(model, (X[:, None], X[:, None]), mse)
    assert result.model.training
    assert result.model[0].training
    assert result.model[0].num_batches_tracked == 0


def test_several_inputs_come_as_a_tuple():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.add = SoftAdd([Add(1)])

        def forward(self, x, y):
            return self.add(x) * y

    assert harden(Two(), ((X, X), X * X + X), mse).model.add.number == 1


def test_a_model_without_soft_modules_comes_back_as_a_copy():
    model = nn.Linear(2, 2)
    result = harden(model)
    assert result.steps == ()
    assert result.model is not model
    assert str(result) == "hardened 0 soft modules"


# ---------------------------------------------------------------- budget


def test_fitting_the_budget_goes_before_the_loss():
    candidates = [Add(2, size=5), Add(1, size=3), Add(0, size=2), Add(3, size=9)]
    result = harden(SoftAdd(candidates, plain=Add(3, size=9)), (X, X + 3), mse, budget=3)
    assert result.model.number == 1
    assert result.model.size() == 3


def test_the_sizes_of_all_modules_count():
    def model():
        return nn.Sequential(*[SoftAdd([Add(0, size=1)], plain=Add(1, size=4)) for _ in range(2)])

    assert [module.size() for module in harden(model(), (X, X + 2), mse, budget=8).model] == [4, 4]
    assert [module.size() for module in harden(model(), (X, X + 2), mse, budget=7).model] == [1, 4]


@pytest.mark.parametrize("data", [None, (X, X)])
def test_what_cannot_fit_is_refused(data):
    model = SoftAdd([Add(0, size=6)], plain=Add(0, size=9))
    with pytest.raises(InputError, match=r"larger than its budget: got . units; allowed: at most 5 units"):
        harden(model, data, None if data is None else mse, budget=5)


def test_a_budget_that_cannot_be_counted_is_refused():
    with pytest.raises(UnsupportedError, match="ReLU does not say its size"):
        harden(SoftAdd(plain=nn.ReLU()), budget=5)


@pytest.mark.parametrize(("data", "loss"), [((X, X), None), (None, mse)])
def test_data_and_loss_come_together(data, loss):
    with pytest.raises(InputError, match="data and loss together"):
        harden(SoftAdd(), data, loss)


def test_the_result_prints_what_was_tried_and_kept():
    result = harden(nn.Sequential(SoftAdd([Add(5)])), (X, X + 5), mse)
    assert str(result) == "hardened 1 soft module\n  0: plain rounding, loss 25\n* 0: add 5, loss 0"
    assert str(harden(SoftAdd())) == "hardened 1 soft module\n* the model: plain rounding"
