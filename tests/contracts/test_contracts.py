"""What everything that declares a capability has to keep: one suite over all declarations, by kind.

A soft module takes floats ``[..., *in_shape]`` (``[..., in_features]``, or any last axis); a learner takes a table and
a target; an artefact that can ``save`` goes through ``artifacts.export``, any other one through JSON. Operations and
losses are in ``test_operations.py``. Nothing here names a single class: what is declared is tested, and the last tests
find what should have been declared.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import inspect
import json
import pkgutil

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone, is_classifier
from torch._dynamo.testing import CompileCounterWithBackend

import softwood
from softwood.artifacts import FORMATS, export
from softwood.core import capabilities, capability_of
from softwood.layers import SoftModule, soft_modules

STABLE = ("core", "artifacts", "gradients", "ops", "layers", "losses", "lifecycle", "trees")
ROOMS = [module.name for module in pkgutil.iter_modules(softwood.__path__) if not module.name.startswith("_")]
for _room in ROOMS:
    importlib.import_module(f"softwood.{_room}")


def declared(*kinds):
    """Return the declarations of the package as parameters; tests and doctests may have added their own."""
    found = [entry for entry in capabilities() if entry.name.startswith("softwood.") and "<" not in entry.name]
    return [pytest.param(e, id=e.name.rpartition(".")[2]) for e in found if e.kind in kinds or not kinds]


def built(entry, seed=0):
    torch.manual_seed(seed)
    return entry.example()


def rows_for(module, shape=(12,), dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, *shape_of(module), generator=generator, dtype=torch.float64).to(dtype)


def shape_of(module):
    """Return the axes of one row that a soft module takes."""
    return getattr(module, "in_shape", (getattr(module, "in_features", 5),))


def same_state(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_every_kind_that_has_contracts_has_members():
    for kind in ("soft module", "artefact", "learner", "verb"):
        assert len(declared(kind)) >= 1


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("entry", declared())
def test_a_declaration_says_its_cost_and_its_docstring_has_an_example(entry):
    assert entry.cost
    text = inspect.getdoc(entry.target)
    assert "Example:" in text
    assert len(text.splitlines()[0]) <= 120
    if entry.kind in ("soft module", "learner", "operation", "estimator", "loss"):
        assert "Source:" in text


@pytest.mark.parametrize("entry", declared("soft module", "artefact", "learner"))
def test_an_example_builds_an_instance_that_carries_the_declaration(entry):
    thing = built(entry)
    assert type(thing) is entry.target
    assert capability_of(thing) is entry


@pytest.mark.parametrize("entry", declared("soft module", "learner"))
def test_what_it_hardens_to_is_an_artefact_or_a_plain_module(entry):
    artefacts = {other.target.__name__: other for other in capabilities("artefact")}
    if entry.kind == "soft module" and not hasattr(entry.target, "to_artifact"):
        assert type(built(entry).harden()).__name__ == entry.hardens_to
        assert entry.exports == ()
        return
    assert entry.hardens_to in artefacts
    assert set(entry.exports) <= set(artefacts[entry.hardens_to].exports)


# ---------------------------------------------------------------- soft modules


@pytest.mark.parametrize("entry", declared("soft module"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_soft_module_takes_any_batch_shape_and_keeps_the_dtype(entry, dtype):
    module = built(entry).to(dtype)
    rows = rows_for(module, (24,), dtype)
    flat = module(rows)
    assert flat.dtype == dtype
    for shape in ((24,), (1, 24), (2, 3, 4)):
        answer = module(rows.reshape(*shape, *shape_of(module)))
        assert answer.shape[: len(shape)] == shape
        torch.testing.assert_close(answer.reshape(flat.shape), flat)
    torch.testing.assert_close(module(rows[0]), flat[0])
    assert module(rows[:0]).shape == (0, *flat.shape[1:])


@pytest.mark.parametrize("entry", declared("soft module"))
def test_a_soft_module_is_deterministic_and_differentiable_in_every_parameter(entry):
    module = built(entry)
    rows = rows_for(module, (64,)).requires_grad_()
    assert torch.equal(module(rows), module(rows))
    # a sum would hide parameters that only move shares around
    upstream = torch.randn(module(rows).shape, generator=torch.Generator().manual_seed(0))
    names = [name for name, _ in module.named_parameters()]
    gradients = torch.autograd.grad(
        (module(rows) * upstream).sum(), [rows, *module.parameters()], allow_unused=True, materialize_grads=True
    )
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    moved = [name for name, gradient in zip(names, gradients[1:], strict=True) if gradient.abs().sum() > 0]
    assert len(moved) >= min(2, len(names))
    assert moved or gradients[0].abs().sum() > 0


@pytest.mark.parametrize("entry", declared("soft module"))
def test_the_seed_decides_how_a_soft_module_begins_and_a_generator_can_hold_it(entry):
    first, again, other = built(entry, 0), built(entry, 0), built(entry, 1)
    assert same_state(first.state_dict(), again.state_dict())
    if not same_state(first.state_dict(), other.state_dict()):
        assert "generator" in inspect.signature(entry.target).parameters


@pytest.mark.parametrize("entry", declared("soft module"))
def test_all_that_a_soft_module_is_travels_with_its_state(entry):
    module, other = built(entry, 0), built(entry, 1)
    module.temperature.fill_(0.37)
    rows = rows_for(module)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(rows), other(rows))
    assert other.temperature.item() == pytest.approx(0.37)


@pytest.mark.parametrize("entry", declared("soft module"))
def test_a_copy_of_a_soft_module_is_a_thing_of_its_own(entry):
    module = built(entry)
    rows, before = rows_for(module), copy.deepcopy(module.state_dict())
    twin = copy.deepcopy(module)
    assert torch.equal(twin(rows), module(rows))
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.add_(1)
    assert same_state(module.state_dict(), before)


@pytest.mark.parametrize("entry", declared("soft module"))
def test_as_the_temperature_goes_to_zero_a_soft_module_becomes_its_hard_self(entry):
    module = built(entry)
    rows = rows_for(module, (200,))
    gaps = []
    for temperature in (1.0, 1e-1, 1e-9):
        module.temperature.fill_(temperature)
        gaps.append((module(rows) - module.harden()(rows)).abs().mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-6


@pytest.mark.parametrize("entry", declared("soft module"))
def test_hardening_leaves_the_soft_module_alone_and_nothing_soft_in_the_hard_one(entry):
    module = built(entry)
    before = copy.deepcopy(module.state_dict())
    hard = module.harden()
    assert list(soft_modules(hard)) == []
    with torch.no_grad():
        for tensor in hard.state_dict().values():
            tensor.copy_(torch.zeros_like(tensor))
    assert same_state(module.state_dict(), before)
    if hasattr(module, "to_artifact"):
        assert type(module.to_artifact()).__name__ == entry.hardens_to


@pytest.mark.parametrize("entry", declared("soft module"))
def test_a_soft_module_is_calibrated_in_units_of_its_margins(entry):
    module = built(entry)
    rows = rows_for(module, (100,))
    expected = 0.2 * module.margins(rows).detach().abs().median().item()
    assert softwood.calibrate(module, rows, softness=0.2)[""] == pytest.approx(expected, rel=0.02)
    assert softwood.Annealer(module).scale == 1.0
    assert softwood.harden(module).steps[0].name == "plain rounding"


@pytest.mark.parametrize("entry", declared("soft module"))
def test_a_compiled_soft_module_is_the_same_and_a_new_temperature_compiles_nothing(entry):
    torch._dynamo.reset()
    module = built(entry)
    rows = rows_for(module).requires_grad_()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for temperature in (0.1, 0.7, 1e-3):
        module.temperature.fill_(temperature)
        upstream = torch.randn(module(rows).shape, generator=torch.Generator().manual_seed(0))
        answers, gradients = [], []
        for call in (module, compiled):
            answers.append(call(rows))
            gradients.append(torch.autograd.grad((answers[-1] * upstream).sum(), [rows, *module.parameters()]))
        torch.testing.assert_close(*answers)
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert counter.frame_count == 1
    torch._dynamo.reset()


# ---------------------------------------------------------------- artefacts


@pytest.mark.parametrize("entry", declared("artefact"))
def test_an_artefact_is_frozen_prints_and_equals_itself_by_value(entry):
    artefact = built(entry)
    assert dataclasses.is_dataclass(artefact)
    assert type(artefact).__dataclass_params__.frozen
    assert len(str(artefact)) > 10
    assert len(repr(artefact)) > 10
    assert artefact == built(entry) == copy.deepcopy(artefact)
    assert artefact != 3
    again = entry.target.from_dict(json.loads(json.dumps(artefact.to_dict(), allow_nan=False)))
    assert again == artefact


@pytest.mark.parametrize("entry", declared("artefact"))
def test_an_artefact_survives_saving_where_it_can(entry, tmp_path):
    artefact = built(entry)
    if not hasattr(artefact, "save"):
        assert entry.exports == ("json",)  # that it survives JSON is tested above
        return
    artefact.save(tmp_path / "it")
    again = entry.target.load(tmp_path / "it")
    assert again == artefact
    assert hash(again) == hash(artefact)
    for field in dataclasses.fields(artefact):
        value = getattr(artefact, field.name)
        if isinstance(value, np.ndarray):
            assert getattr(again, field.name).dtype == value.dtype
            assert not getattr(again, field.name).flags.writeable


@pytest.mark.parametrize("entry", declared("artefact"))
def test_an_artefact_declares_the_formats_that_exist(entry):
    if hasattr(entry.target, "save"):
        assert set(entry.exports) <= set(FORMATS)
        assert {name.partition("-")[0] for name in FORMATS} <= set(entry.exports)  # a dialect goes with its language


def exported(*kinds):
    """Return each declaration with each format that it declares and ``export`` writes."""
    entries = [param.values[0] for param in declared(*kinds)]
    pairs = [(e, name) for e in entries if e.kind == "learner" or hasattr(e.target, "save") for name in e.exports]
    return [pytest.param(e, name, id=f"{e.name.rpartition('.')[2]}-{name}") for e, name in pairs]


def check_export(model, name, folder, rows=None):
    report = export(model, folder / f"it{FORMATS[name].suffix}", name, rows=rows)
    if not report.verified:
        pytest.skip(str(report))  # what runs this format is not installed
    assert report.label_mismatches == 0
    assert report.largest_difference <= report.tolerance
    assert report.user_rows == (0 if rows is None else len(rows))


@pytest.mark.parametrize(("entry", "name"), exported("artefact"))
def test_every_export_of_an_artefact_is_verified(entry, name, tmp_path):
    check_export(built(entry), name, tmp_path)


# ---------------------------------------------------------------- learners


def task_for(learner):
    """Return a table and a target of 60 rows: three classes, or values."""
    rng = np.random.default_rng(0)
    x = rng.random((60, 4))
    x[rng.random(x.shape) < 0.05] = np.nan
    signal = np.nan_to_num(x[:, 0], nan=0.2) + (np.nan_to_num(x[:, 1], nan=0.9) > 0.5)
    return x, (np.digitize(signal, [0.7, 1.3]) if is_classifier(learner) else signal)


@pytest.mark.parametrize("entry", declared("learner"))
def test_a_learner_has_scikit_learns_parameters(entry):
    learner = built(entry)
    parameters = learner.get_params()
    assert set(parameters) == set(inspect.signature(entry.target).parameters)
    twin = clone(learner)
    assert twin is not learner
    assert twin.get_params() == parameters
    assert entry.target().set_params(**parameters).get_params() == parameters
    assert not [name for name in vars(learner) if name.endswith("_")]


@functools.cache
def fitted(entry):
    learner = built(entry)
    return learner.fit(*task_for(learner))


@pytest.mark.parametrize("entry", declared("learner"))
def test_a_learner_fitted_twice_gives_the_same_artefact(entry):
    learner = fitted(entry)
    x, y = task_for(learner)
    model = learner.artifact_
    assert type(model).__name__ == entry.hardens_to
    assert model.n_splits > 0
    again = clone(learner)
    assert again.fit(x, y).artifact_ == model
    assert again.fit(x, y).artifact_ == model
    np.testing.assert_array_equal(learner.predict(x), model.predict(x))
    assert learner.certificate_.n > 0
    assert json.loads(json.dumps(learner.record_)) == learner.record_


@pytest.mark.parametrize(("entry", "name"), exported("learner"))
def test_every_export_of_a_learner_is_verified(entry, name, tmp_path):
    learner = fitted(entry)
    check_export(learner.artifact_, name, tmp_path, rows=task_for(learner)[0])


# ---------------------------------------------------------------- verbs


@pytest.mark.parametrize("entry", declared("verb"))
def test_a_verb_can_be_called_from_the_package_or_its_room(entry):
    assert callable(entry.target)
    name = entry.target.__name__
    room = importlib.import_module(".".join(entry.name.split(".")[:2]))
    assert name in room.__all__
    assert getattr(room, name) is entry.target
    if name in softwood.__all__:
        assert getattr(softwood, name) is entry.target


# ---------------------------------------------------------------- what should have been declared


def public_things():
    for room in ROOMS:
        module = importlib.import_module(f"softwood.{room}")
        if room in STABLE:
            for name in module.__all__:
                yield name, getattr(module, name)


def expected_kind(name, thing):
    """Return the kind that a public class or function has to declare, or None."""
    if inspect.isclass(thing):
        if issubclass(thing, SoftModule) and not inspect.isabstract(thing):
            return "soft module"
        if issubclass(thing, BaseEstimator):
            return "learner"
        if dataclasses.is_dataclass(thing) and hasattr(thing, "save") and hasattr(thing, "load"):
            return "artefact"
    if name in softwood.__all__ and (inspect.isroutine(thing) or thing.__module__.startswith("softwood.lifecycle")):
        # a verb is a function, or a class that acts; what a verb returns is a dataclass
        return None if dataclasses.is_dataclass(thing) else "verb"
    return None


def test_everything_public_that_has_contracts_declares_its_kind():
    missing, found = [], []
    for name, thing in public_things():
        kind = expected_kind(name, thing) if callable(thing) else None
        if kind is not None:
            found.append(kind)
            entry = capability_of(thing) if inspect.isclass(thing) else getattr(thing, "__softwood__", None)
            if entry is None or entry.kind != kind:
                missing.append((name, kind))
    assert missing == []
    assert {"soft module", "artefact", "learner", "verb"} <= set(found)


def test_every_declaration_of_a_stable_room_is_public():
    public = {id(thing) for _, thing in public_things()}
    hidden = [
        e.name
        for e in (p.values[0] for p in declared())
        if e.name.split(".")[1] in STABLE and id(e.target) not in public
    ]
    assert hidden == []
