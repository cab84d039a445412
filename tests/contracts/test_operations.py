"""What every relaxed operation and every loss has to keep, for each of its relaxations.

``example`` returns positional arguments of a small call, the tensor to relax first; without one the arguments are made
from the names in the signature. What is tested follows from the signature too: ``dim``, ``temperature``, ``hard``,
``mask``, ``noise``. Exceptions are named, with their reason, in ``EXCEPTIONS``.
"""

import functools
import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import gradcheck

import softwood
from softwood.core import InputError, capabilities
from softwood.ops import SoftSelection

for _room in pkgutil.iter_modules(softwood.__path__):
    if not _room.name.startswith("_"):
        importlib.import_module(f"softwood.{_room.name}")

TRUTHS = ("a", "b", "condition", "p")  # values between 0 and 1
ARGUMENTS = {
    "b": lambda: torch.rand(3, 5),
    "edges": lambda: torch.linspace(-2, 2, 5),
    "high": lambda: 0.7,
    "k": lambda: 2,
    "keys": lambda: torch.randn(4, 5),
    "length": lambda: 2,
    "levels": lambda: torch.tensor([-1.0, 0.1, 1.0]),
    "low": lambda: -0.5,
    "positions": lambda: torch.tensor([0.3, 2.2]),
    "proportion": lambda: 0.2,
    "q": lambda: 0.4,
    "start": lambda: torch.tensor(0.6),
    "x": lambda: torch.randn(3, 5),
    "y": lambda: torch.randn(3, 5),
}

# (operation or operation-relaxation, contract) -> why it does not hold
EXCEPTIONS = {
    ("take_along_dim", "batch"): "an index belongs to one shape",
    ("index_select", "dim"): "its weights have axes of their own",
    ("scatter", "dim"): "its weights have axes of their own",
    ("index_select", "batch"): "its weights have axes of their own",
    ("lookup", "batch"): "its table has no batch axes",
    ("scatter", "batch"): "its weights have axes of their own",
    ("low_rank_transport", "gradient"): "its anchors are constants, as it says",
}


def parameters_of(target):
    return inspect.signature(target).parameters


def arguments_of(entry, dtype=torch.float64):
    """Return the positional arguments of a small call, floating tensors in ``dtype``."""
    torch.manual_seed(0)
    if entry.example is not None:
        found = entry.example()
    else:
        names = [n for n, p in parameters_of(entry.target).items() if p.default is p.empty]
        first = torch.rand(3, 5) if names[0] in TRUTHS else torch.randn(3, 5)
        found = [first, *(ARGUMENTS[name]() for name in names[1:])]
    is_float = [isinstance(a, torch.Tensor) and a.is_floating_point() for a in found]
    return [a.to(dtype) if f else a for a, f in zip(found, is_float, strict=True)]


@functools.cache
def relaxations_of(entry):
    """Return the names that ``relax`` takes, which the error about a wrong one lists."""
    if "relax" not in parameters_of(entry.target):
        return (None,)
    try:
        entry.target(*arguments_of(entry), relax="?")
    except InputError as error:
        return tuple(re.findall(r"'([\w.-]+)'", str(error.allowed)))
    return (None,)


def has_arguments(entry):
    """Say whether a call can be made: from an example, or from the names of its arguments."""
    names = [n for n, p in parameters_of(entry.target).items() if p.default is p.empty]
    return entry.example is not None or set(names[1:]) <= set(ARGUMENTS)


def members(contract, *needed):
    """Return each operation and loss, with each of its relaxations, whose signature has what a contract needs."""
    found = []
    for entry in capabilities():
        if entry.kind not in ("operation", "loss") or not entry.name.startswith("softwood."):
            continue
        if not set(needed) <= set(parameters_of(entry.target)):
            continue
        if not has_arguments(entry):
            no_example = pytest.mark.skip(reason="its arguments cannot be made from their names: declare example=")
            found.append(pytest.param(entry, None, id=entry.target.__name__, marks=no_example))
            continue
        for relax in relaxations_of(entry):
            name = entry.target.__name__ if relax is None else f"{entry.target.__name__}-{relax}"
            reason = EXCEPTIONS.get((name, contract), EXCEPTIONS.get((entry.target.__name__, contract)))
            marks = [] if reason is None else [pytest.mark.xfail(reason=reason)]
            found.append(pytest.param(entry, relax, id=name, marks=marks))
    return pytest.mark.parametrize(("entry", "relax"), found)


def tensors(answer):
    """Return the floating tensors of an answer."""
    if isinstance(answer, SoftSelection):
        return [answer.dense()]
    if hasattr(answer, "marginals"):
        return [answer.marginals()]
    if isinstance(answer, tuple):
        return [t for part in answer for t in tensors(part)]
    return [answer] if isinstance(answer, torch.Tensor) and answer.is_floating_point() else []


def noise_for(entry, x):
    """Return fixed noise for what is random, so that two calls can be compared."""
    if "noise" not in parameters_of(entry.target):
        return {}
    return {"noise": torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)}


def called(entry, relax, args, **options):
    """Return the floating tensors that a call gives; every call draws the same."""
    torch.manual_seed(0)
    if relax is not None:
        options["relax"] = relax
    if options.pop("marginals_hard", False):
        return [entry.target(*args, **options).marginals(hard=True)]
    return tensors(entry.target(*args, **options))


def weighted(outputs):
    """Return a sum that no symmetry hides."""
    generator = torch.Generator().manual_seed(2)
    return sum((t * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype)).sum() for t in outputs)


def gradient_of(outputs, leaf):
    """Return the gradient of a weighted sum; 0 where the answer does not move with the leaf (a block average)."""
    total = weighted(outputs)
    return torch.autograd.grad(total, leaf)[0] if total.requires_grad else torch.zeros_like(leaf)


def close(ours, theirs, **tolerance):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, check_dtype=False, **tolerance)


@members("dtype")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_floating_type_gives_the_same_answer(entry, relax, dtype):
    args = arguments_of(entry, dtype)
    noise = noise_for(entry, args[0])
    found = called(entry, relax, args, **noise)
    rough = [a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
    step = torch.finfo(dtype).eps
    close([t.double() for t in found], called(entry, relax, rough, **noise), atol=8 * step, rtol=40 * step)
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32}.get(dtype, dtype)
    # the matrix of an isotonic permutation holds counts, in torch's default type
    assert {t.dtype for t in found if t.ndim <= args[0].ndim} <= {dtype, wide}


@members("dim", "dim")
def test_any_axis_gives_the_same_answer(entry, relax):
    args = arguments_of(entry)
    x, ndim = args[0], args[0].ndim
    noise = noise_for(entry, x)
    whole = {"reduction": "none"} if "reduction" in parameters_of(entry.target) else {}
    expected = called(entry, relax, args, **noise, **whole)
    turned = [a.movedim(-1, 0) if isinstance(a, torch.Tensor) and a.ndim == ndim else a for a in args]
    noise = {name: value.movedim(-1, 0) for name, value in noise.items()}
    for dim in (0, -ndim):
        found = called(entry, relax, turned, dim=dim, **noise, **whole)
        for ours, theirs in zip(found, expected, strict=True):
            moved = ours.movedim(0, -1) if ours.shape != theirs.shape and ours.ndim == theirs.ndim else ours
            if moved.shape == theirs.shape and not torch.allclose(moved, theirs):
                moved = ours.movedim(0, -1)
            torch.testing.assert_close(moved, theirs)
    with pytest.raises(InputError, match="dim"):
        called(entry, relax, args, dim=ndim)


@members("batch")
def test_more_batch_axes_and_none_at_all(entry, relax):
    args = arguments_of(entry)
    x = args[0]
    options = {"reduction": "none"} if "reduction" in parameters_of(entry.target) else {}
    noise = noise_for(entry, x)
    expected = called(entry, relax, args, **noise, **options)

    def stacked(a, size):
        same = isinstance(a, torch.Tensor) and a.ndim == x.ndim
        return a.expand(2, size, *a.shape) if same else a

    for size in (1, 3, 0):
        many_noise = {name: value.expand(2, size, *value.shape) for name, value in noise.items()}
        found = called(entry, relax, [stacked(a, size) for a in args], **many_noise, **options)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == (2, size, *theirs.shape)
            if size:
                torch.testing.assert_close(ours[1, size - 1], theirs)


@members("mask", "dim", "mask")
def test_a_full_mask_changes_nothing_and_what_is_absent_has_no_gradient(entry, relax):
    args = arguments_of(entry)
    x = args[0]
    noise = noise_for(entry, x)
    close(called(entry, relax, args, mask=torch.ones(x.shape, dtype=torch.bool), **noise),
          called(entry, relax, args, **noise))  # fmt: skip
    mask = torch.ones(x.shape, dtype=torch.bool)
    mask[0, -2:] = False
    answers, gradients = [], []
    for rubbish in (0.0, 1e3, torch.nan):
        leaf = x.masked_fill(~mask, rubbish).requires_grad_()
        answers.append(called(entry, relax, [leaf, *args[1:]], mask=mask, **noise))
        gradients.append(gradient_of(answers[-1], leaf))
        assert (gradients[-1][~mask] == 0).all()
    for answer, gradient in zip(answers[1:], gradients[1:], strict=True):
        close(answer, answers[0])
        torch.testing.assert_close(gradient, gradients[0])


@pytest.mark.slow
@members("compile")
def test_compiled_it_is_the_same_and_a_new_temperature_compiles_nothing(entry, relax):
    torch._dynamo.reset()
    args = arguments_of(entry, torch.float32)
    noise = {name: value.float() for name, value in noise_for(entry, args[0]).items()}
    counter = CompileCounterWithBackend("aot_eager")
    has_temperature = "temperature" in parameters_of(entry.target)
    options = {**noise} if relax is None else {**noise, "relax": relax}
    if "generator" in parameters_of(entry.target) and not noise:
        pytest.skip("random without noise=: a generator cannot be traced")

    def call(x, temperature):
        more = {"temperature": temperature} if has_temperature else {}
        return tensors(entry.target(x, *args[1:], **options, **more))

    compiled = torch.compile(call, backend=counter, fullgraph=True)
    for temperature in (0.5, 1.5) if has_temperature else (1.0,):
        results = []
        for run in (call, compiled):
            leaf = args[0].clone().requires_grad_()
            answer = run(leaf, torch.tensor(temperature))
            results.append((answer, gradient_of(answer, leaf)))
        close(results[1][0], results[0][0])
        torch.testing.assert_close(results[1][1], results[0][1])
    assert counter.frame_count == 1
    torch._dynamo.reset()


def hard_options(entry):
    return {"hard": True} if "hard" in parameters_of(entry.target) else {"marginals_hard": True}


def hardens(entry):
    return "hard" in parameters_of(entry.target) or hasattr(entry.target, "marginals")


@members("limit", "temperature")
def test_cold_it_is_the_hard_answer_and_that_has_the_soft_gradient(entry, relax):
    if not hardens(entry):
        pytest.skip("it has no hard answer")
    args = arguments_of(entry)
    noise = noise_for(entry, args[0])
    hard = called(entry, relax, args, **hard_options(entry), **noise)
    cold = called(entry, relax, args, temperature=1e-6, **noise)
    close(cold, hard, atol=2e-4, rtol=1e-4)
    gradients = []
    for options in ({}, hard_options(entry)):
        leaf = args[0].clone().requires_grad_()
        answer = called(entry, relax, [leaf, *args[1:]], temperature=0.6, **options, **noise)
        gradients.append(gradient_of(answer, leaf))
    torch.testing.assert_close(gradients[1], gradients[0])


@members("gradient")
def test_the_gradient_is_that_of_finite_differences(entry, relax):
    args = arguments_of(entry)
    noise = noise_for(entry, args[0])
    leaves = [args[0].clone().requires_grad_()]
    if "temperature" in parameters_of(entry.target):
        leaves.append(torch.tensor(0.6, dtype=torch.float64, requires_grad=True))

    def call(x, *temperature):
        more = {"temperature": temperature[0]} if temperature else {}
        return tuple(called(entry, relax, [x, *args[1:]], **more, **noise))

    assert gradcheck(call, leaves, atol=1e-4, rtol=1e-3)


@members("list", "dim")
def test_lists_of_one_and_none(entry, relax):
    if entry.example is not None and entry.kind == "operation":
        pytest.skip("its arguments belong together")
    args = arguments_of(entry)
    names = list(parameters_of(entry.target))
    for size in (1, 0):
        short = [a[..., :size] if isinstance(a, torch.Tensor) and a.ndim == args[0].ndim else a for a in args]
        if entry.kind == "operation" and "k" in names[: len(short)]:
            short[names.index("k")] = size
        try:
            found = called(entry, relax, short)
        except (IndexError, InputError):
            assert size == 0  # nothing has no largest entry; torch refuses too
            continue
        assert all(torch.isfinite(answer).all() or size == 0 for answer in found)
