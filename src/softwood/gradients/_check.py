"""The gradient doctor: every estimator that applies, measured against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._candidates import Candidate, choice_candidates, function_candidates, numbers_held, warm_up
from softwood.gradients._differences import FiniteDifferences
from softwood.gradients._measure import Counter, Truth, measure
from softwood.gradients._protocol import ChoiceEstimator, FunctionEstimator, check_logits, losses, one_hot
from softwood.gradients._report import EstimatorRow, GradientReport, recommend
from softwood.gradients._truth import as_samples, differences_truth, expectation_truth, smoothed_truth

Fn = Callable[[Tensor], Tensor]
Candidates = Mapping[str, Candidate]


@capability("verb", cost="repeats estimates of each estimator, and the reference")
def check(
    fn: Fn, x: Tensor | None = None, *, logits: Tensor | None = None, solver: Fn | None = None, dims: int | None = None,
    estimators: Candidates | None = None, repeats: int | None = None, calls_per_step: int = 100,
    sigma: float | None = None, seed: int = 0,
) -> GradientReport:  # fmt: skip
    r"""Measure bias, variance, cost and failures of gradient estimators on a problem, and recommend one.

    There are three kinds of problems:

    - ``check(loss, logits=logits)``: the expected loss of categorical choices, as ``ChoiceEstimator`` takes it. The
      reference is enumeration while there are at most 100,000 outcomes, else leave-one-out with many samples.
    - ``check(fn, x)``: a function of x that gives one number. The reference is finite differences where they converge,
      directional differences above 256 numbers, and where the function jumps or is random the gradient of
      :math:`\mathbb{E} f(x + \sigma z)`, since the function itself has none.
    - ``check(loss, x, solver=solver)``: the loss of a solver's answer to scores x; the reference is that of
      :math:`\mathbb{E}\, \ell(y(x + \sigma z))`.

    The report says which reference it is and how far it is known. Bias is :math:`\lVert \mathbb{E} \hat g - g \rVert /
    \lVert g \rVert` with a 95 % interval, variance :math:`\operatorname{tr} \operatorname{Var} \hat g / \lVert g
    \rVert^2`.

    Args:
        fn: the loss or function; for choices as in ``ChoiceEstimator.estimate``, otherwise of one instance or of any
            leading axes.
        x: argument or scores, floating.
        logits: ``[..., K]``.
        solver: from scores to solutions, with any leading axes.
        dims: for a solver, axes of one instance; None is all axes of x.
        estimators: name -> estimator, or (estimator, n_samples); None is every one that applies.
        repeats: estimates of each; None is 2,000 for choices and 400 otherwise.
        calls_per_step: calls of ``fn`` that one training step may make; the recommendation is for it.
        sigma: width of the noise around x; None is a tenth of its root mean square, or 0.1 at 0.
        seed: of all noise.

    Raises:
        InputError: neither or both of x and logits; the gradient is 0 everywhere it was looked for.

    Example:
        >>> report = check(lambda z: (z[..., 0, 0] - z[..., 1, 1]) ** 2, logits=torch.tensor([[0.5, 0.0], [0.0, 1.0]]))
        >>> report.reference
        'enumeration'
        >>> min(row.bias for row in report.rows if row.unbiased) < 0.05
        True

    Limit: more repeats narrow the intervals, more calls a step favour estimators without bias.

    Cost: ``repeats`` estimates of each estimator; memory for 4 million numbers at once.

    Source: the measures of Jang, Gu and Poole, 2017, and of Metz et al., "Gradients are Not All You Need", 2021.
    """
    check_number("calls_per_step", calls_per_step, low=1, integer=True)
    if (x is None) == (logits is None):
        raise InputError("what to differentiate by is not clear", got=f"x={_what(x)}, logits={_what(logits)}",
                         allowed="one of x and logits", fix="pass logits= for choices, x for all else")  # fmt: skip
    count = check_number("repeats", repeats or (400 if logits is None else 2000), low=2, integer=True)
    if logits is not None:
        return _check_choices(fn, logits.detach(), estimators, count, calls_per_step, seed)
    assert x is not None
    return _check_function(fn, x.detach(), solver, dims, estimators, count, calls_per_step, sigma, seed)


def _what(tensor: Tensor | None) -> str:
    return "None" if tensor is None else str(tuple(tensor.shape))


def _finished(
    problem: str, truth: Truth, rows: list[EstimatorRow], calls_per_step: int, warnings: list[str]
) -> GradientReport:  # fmt: skip
    name, reason = recommend(rows, calls_per_step)
    norm = float(truth.gradient.norm())
    error = math.sqrt(float(truth.covariance.trace())) / norm
    return GradientReport(
        problem, truth.kind, truth.detail, norm, error, tuple(rows), calls_per_step, name, reason, tuple(warnings)
    )


def _no_gradient(truth: Truth) -> None:
    if not float(truth.gradient.norm()) > 0:
        raise InputError("there is no gradient to compare with", got=f"a reference of norm 0, by {truth.kind}",
                         allowed="a problem whose expected loss changes",
                         fix="look elsewhere, or widen sigma")  # fmt: skip


# ---------------------------------------------------------------- choices


def _check_choices(
    loss_fn: Fn, logits: Tensor, estimators: Candidates | None, repeats: int, calls_per_step: int, seed: int
) -> GradientReport:
    check_logits(logits)
    with torch.no_grad():
        probe = losses(loss_fn, one_hot(logits).expand(2, *logits.shape))
    batch_ndim = probe.ndim - 1
    truth = expectation_truth(loss_fn, logits, batch_ndim, seed)
    _no_gradient(truth)
    truth = replace(truth, device=logits.device)
    candidates = choice_candidates(logits, batch_ndim) if estimators is None else estimators
    rows = []
    for place, (name, candidate) in enumerate(candidates.items()):
        estimator, n_samples = candidate if isinstance(candidate, tuple) else (candidate, 4)
        if not isinstance(estimator, ChoiceEstimator):
            raise InputError(f"{name} is not for choices", got=type(estimator).__name__, allowed="a ChoiceEstimator",
                             fix="pass x instead of logits for estimators around functions")  # fmt: skip
        # repeats are one more batch axis for the estimator; the loss sees them as samples
        counter = Counter(as_samples(loss_fn, logits.ndim), logits.ndim)
        warm_up(estimator, loss_fn, logits, seed)

        def draw(
            count: int, generator: torch.Generator, estimator: ChoiceEstimator = estimator, n: int = n_samples,
            counter: Counter = counter,
        ) -> Tensor:  # fmt: skip
            many = logits.expand(count, *logits.shape).clone().requires_grad_()
            loss = estimator.estimate(counter, many, n_samples=n, generator=generator)
            return _gradient(loss, many)

        rows.append(measure(name, draw, counter, truth, repeats=repeats,
                            numbers=numbers_held(estimator, n_samples, logits, batch_ndim),
                            unbiased=estimator.unbiased, seed=seed + 1 + place))  # fmt: skip
    shape = " x ".join(map(str, logits.shape))
    return _finished(f"expected loss of choices, logits {shape}", truth, rows, calls_per_step, [])


def _gradient(loss: Tensor, by: Tensor) -> Tensor:
    if not loss.requires_grad:
        raise InputError(
            "the function has no gradient: it is a black box to this estimator", got="", allowed="", fix=""
        )
    (found,) = torch.autograd.grad(loss.sum(), by, allow_unused=True, materialize_grads=True)
    return found.flatten(1)


# ---------------------------------------------------------------- functions and solvers


def _check_function(
    fn: Fn, x: Tensor, solver: Fn | None, dims: int | None, estimators: Candidates | None, repeats: int,
    calls_per_step: int, sigma: float | None, seed: int,
) -> GradientReport:  # fmt: skip
    if not x.is_floating_point() or not x.numel():
        raise InputError("x is not usable", got=f"{tuple(x.shape)} {x.dtype}",
                         allowed="a floating tensor that is not empty", fix="pass x.float()")  # fmt: skip
    width = float(x.square().mean().sqrt()) / 10 or 0.1 if sigma is None else check_number("sigma", sigma, low=1e-12)
    instance_dims = x.ndim if dims is None else check_number("dims", dims, low=0, high=x.ndim, integer=True)
    loss = batched(fn, x if solver is None else solver(x.unsqueeze(0)).squeeze(0))
    whole = loss if solver is None else (lambda at: loss(solver(at)))
    warnings: list[str] = []
    with torch.no_grad():
        twice = whole(x.expand(2, *x.shape))
    random = not torch.equal(twice[0], twice[1])
    if random:
        warnings.append("the function is random: asked twice about the same x it gives different answers")
    truth = None if solver is not None or random else differences_truth(whole, x, seed, warnings)
    if truth is None:
        truth = smoothed_truth(whole, x, width, seed)
    _no_gradient(truth)
    truth = replace(truth, device=x.device)
    asked = function_candidates(width, x, instance_dims, solver is not None) if estimators is None else estimators
    rows = []
    for place, (name, candidate) in enumerate(asked.items()):
        estimator = candidate[0] if isinstance(candidate, tuple) else candidate
        rows.append(_function_row(name, estimator, loss, solver, x, truth, repeats, seed + 1 + place))
    kind = "loss of a solver's answer" if solver is not None else "function"
    return _finished(f"{kind}, argument {' x '.join(map(str, x.shape)) or 'scalar'}, sigma {width:.3g}", truth, rows,
                     calls_per_step, warnings)  # fmt: skip


def _function_row(
    name: str, estimator: object, loss: Fn, solver: Fn | None, x: Tensor, truth: Truth, repeats: int, seed: int
) -> EstimatorRow:
    counter = Counter(loss if solver is None else solver, x.ndim)
    if estimator is not None and not isinstance(estimator, FunctionEstimator):
        raise InputError(f"{name} does not stand around functions", got=type(estimator).__name__,
                         allowed="a FunctionEstimator, or None for autograd",
                         fix="pass logits for choices")  # fmt: skip

    def draw(count: int, generator: torch.Generator) -> Tensor:
        many = x.expand(count, *x.shape).clone().requires_grad_()
        inner = counter if estimator is None else estimator.wrap(counter, generator=generator)
        return _gradient(inner(many) if solver is None else loss(inner(many)), many)

    calls = 2 * x.numel() if isinstance(estimator, FiniteDifferences) else getattr(estimator, "n_samples", 1)
    return measure(name, draw, counter, truth, repeats=repeats, numbers=calls * x.numel(), unbiased=False, seed=seed)


def batched(fn: Callable[[Tensor], object], argument: Tensor) -> Fn:
    """Return a function of leading axes that gives one number for each instance, from one that may know none.

    Args:
        fn: of one instance, or of any leading axes; what knows one instance only may give a Python or NumPy number.
        argument: one instance.
    """
    with torch.no_grad():
        single = _as_number(fn(argument), argument)
        try:
            pair = fn(argument.expand(2, *argument.shape))
        except Exception:  # it knows one instance only
            pair = None
    # the values as well: a sum over the wrong axis may have the right shape
    if isinstance(pair, Tensor) and pair.shape == (2,) and torch.allclose(pair, single.to(pair), equal_nan=True):
        return cast(Fn, fn)
    ndim = argument.ndim

    def each(x: Tensor) -> Tensor:
        lead = x.shape[: x.ndim - ndim]
        found = [_as_number(fn(one), one) for one in x.reshape(-1, *x.shape[x.ndim - ndim :])]
        return torch.stack(found).reshape(lead)

    return each


def _as_number(found: object, like: Tensor) -> Tensor:
    """Return what a function gave as a tensor with one number."""
    if not isinstance(found, Tensor):
        try:
            found = torch.tensor(float(found), dtype=like.dtype, device=like.device)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = None
    if found is None or found.numel() != 1:
        got = "something else" if found is None else str(tuple(found.shape))
        raise InputError("the function does not give one number", got=got,
                         allowed="a tensor with one number, or a number",
                         fix=f"sum or average what it gives for an argument of shape {tuple(like.shape)}")  # fmt: skip
    return found.reshape(())
