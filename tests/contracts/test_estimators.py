"""What every public gradient estimator has to keep: nothing here names a single class."""

from __future__ import annotations

import copy
import dataclasses
import inspect

import pytest
import torch

from softwood import gradients
from softwood.core import InputError
from softwood.gradients import ChoiceEstimator, FunctionEstimator, PathwiseEstimator


def members(base):
    """Return every public class of a family with an instance; what has to be told more than that gets it here."""
    needs = {
        "contributors": torch.eye(3),
        "objective": lambda w, h: (w - h).square().sum(),
        "step_map": lambda w, h: 0.5 * w + 0.5 * h,
    }
    found = []
    for name in gradients.__all__:
        thing = getattr(gradients, name)
        if inspect.isclass(thing) and issubclass(thing, base) and not inspect.isabstract(thing):
            fields = {field.name: field for field in dataclasses.fields(thing)}
            made = thing(**{key: needs[key] for key in fields if key in needs})
            found.append(pytest.param(made, id=name))
    return found


CHOICES, FUNCTIONS = members(ChoiceEstimator), members(FunctionEstimator)


def test_there_are_members():
    assert len(CHOICES) >= 9
    assert len(FUNCTIONS) >= 10


@pytest.mark.parametrize("estimator", [*CHOICES, *FUNCTIONS])
def test_an_estimator_is_a_frozen_dataclass_that_prints_its_settings(estimator):
    assert dataclasses.is_dataclass(estimator)
    assert type(estimator).__dataclass_params__.frozen
    assert repr(estimator).startswith(type(estimator).__name__)
    copy.deepcopy(estimator)


def gradient_of(estimator, logits, seed=0):
    leaf = logits.clone().requires_grad_()
    batched = {"batch_ndim": 1} if hasattr(estimator, "batch_ndim") else {}
    chosen = dataclasses.replace(estimator, **batched)
    generator = torch.Generator().manual_seed(seed)
    loss = chosen.estimate(lambda z: (z[..., 0, 0] - z[..., 1, 1]) ** 2 + 1, leaf, n_samples=4, generator=generator)
    return loss, torch.autograd.grad(loss.sum(), leaf)[0]


@pytest.mark.parametrize("estimator", CHOICES)
def test_a_choice_estimator_keeps_shapes_and_is_repeatable(estimator):
    logits = torch.randn(3, 2, 2)
    loss, found = gradient_of(estimator, logits)
    assert loss.shape == (3,)
    assert found.shape == logits.shape
    assert torch.isfinite(found).all()
    assert torch.equal(gradient_of(estimator, logits)[1], found)


@pytest.mark.parametrize("estimator", CHOICES)
def test_a_batch_is_as_good_as_its_rows(estimator):
    """The loss of one row moves no other row's logits."""
    leaf = torch.randn(3, 2, 2).requires_grad_()
    chosen = dataclasses.replace(estimator, batch_ndim=1) if hasattr(estimator, "batch_ndim") else estimator
    loss = chosen.estimate(lambda z: z[..., 0, 0] * z[..., 1, 1], leaf, n_samples=4)
    (found,) = torch.autograd.grad(loss[1], leaf)
    assert found[0].abs().max() == 0
    assert found[2].abs().max() == 0


@pytest.mark.parametrize("estimator", [c for c in CHOICES if isinstance(c.values[0], PathwiseEstimator)])
def test_pathwise_samples_compile_whole_with_equal_gradients_of_the_same_noise(estimator):
    torch._dynamo.reset()
    logits = torch.randn(4, 3, requires_grad=True)

    def loss(x):
        return estimator.sample(x).square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    parts = []
    for call in (loss, compiled):
        torch.manual_seed(0)
        value = call(logits)
        parts.append((value, torch.autograd.grad(value, logits)[0]))
    torch.testing.assert_close(*parts)
    torch._dynamo.reset()


@pytest.mark.parametrize("estimator", FUNCTIONS)
def test_a_function_estimator_keeps_shapes_dtypes_and_is_repeatable(estimator):
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([0.4, -0.3, 0.2], dtype=dtype, requires_grad=True)
        parts = []
        for _ in range(2):
            wrapped = estimator.wrap(lambda x: x.detach(), generator=torch.Generator().manual_seed(0))
            try:
                y = wrapped(x)
            except InputError:  # it takes functions that give one number
                wrapped = estimator.wrap(lambda x: x.square().sum(-1), generator=torch.Generator().manual_seed(0))
                y = wrapped(x)
            parts.append(torch.autograd.grad((y * y.detach()).sum(), x)[0])
        assert parts[0].dtype == dtype
        assert torch.equal(*parts)
        assert parts[0].abs().max() > 0
        with torch.no_grad():
            assert not wrapped(x).requires_grad
