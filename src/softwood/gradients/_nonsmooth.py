"""Whether descent stalls at a kink: what a constant step does where a loss is not smooth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number

_SHARE = 4.0  # each run's step over the next one's
_RUNS = 3
_ALIKE = 0.5  # the gradient changes by half of itself along a step: no step size theory covers that


@dataclass(frozen=True)
class Stall:
    """Where descent with one constant step came to.

    Args:
        step: its size.
        loss: mean over the last quarter of the run.
        gradient: norm, the mean over the last quarter.
        sharpness: change of the gradient along one step over the length of that step.
        flips: share of entries that changed their sign in at least a quarter of the last steps.

    Example:
        >>> Stall(0.1, 1.0, 0.5, 20.0, 0.9).flips
        0.9
    """

    step: float
    loss: float
    gradient: float
    sharpness: float
    flips: float


@dataclass(frozen=True)
class NonsmoothReport:
    """What ``nonsmooth_report`` found.

    Args:
        stalls: one for each step size, the largest first.
        zeros: share of parameters that are exactly zero at the end.
        verdict: ``"nonsmooth"`` or ``"smooth"``.
        advice: what to do.

    Example:
        >>> NonsmoothReport((), 0.0, "smooth", "go on").verdict
        'smooth'
    """

    stalls: tuple[Stall, ...]
    zeros: float
    verdict: str
    advice: str

    def __str__(self) -> str:
        lines = [f"{'step':>9} {'loss':>11} {'gradient':>11} {'sharpness':>11} {'x step':>7} {'flips':>6}"]
        lines += [
            f"{s.step:>9.3g} {s.loss:>11.5g} {s.gradient:>11.3g} {s.sharpness:>11.3g} {s.sharpness * s.step:>7.2g} "
            f"{s.flips:>6.0%}" for s in self.stalls
        ]  # fmt: skip
        return "\n".join([*lines, f"{self.zeros:.0%} exact zeros; {self.verdict}. {self.advice}"])


@capability("verb", papers=("nonsmooth-gd",), cost="3 steps gradients; the parameters once more in memory")
def nonsmooth_report(
    loss: Callable[[], Tensor], parameters: Tensor | Iterable[Tensor], step: float, *, steps: int = 200
) -> NonsmoothReport:
    r"""Say whether gradient descent stalls at kinks of a loss, by three constant steps in turn.

    Descent runs with ``step``, goes on with a quarter and with a sixteenth of it, and puts the parameters back. Where
    a loss is smooth the gradient fades, and the sharpness, :math:`\lVert \nabla L(w - \eta g) - g \rVert / (\eta \lVert
    g \rVert)`, is the same at all three. At a kink the gradient keeps its size and turns round at each step: the loss
    stalls at a height proportional to the step, no weight becomes zero, and the sharpness is near :math:`2 / \eta`
    whatever the step. It then says nothing about the loss, nor does any theory of steps below :math:`2 / L`.

    Args:
        loss: gives the loss at the parameters' present values, the same whenever it is called: full batch, no noise.
        parameters: the tensors that it depends on.
        step: size to look at.
        steps: for each of the three sizes.

    Raises:
        InputError: no parameter has a gradient, or the loss leaves the finite numbers.

    Example:
        >>> w = torch.tensor([1.0, -0.53], requires_grad=True)
        >>> nonsmooth_report(lambda: w.abs().sum(), w, 0.1).verdict
        'nonsmooth'
        >>> nonsmooth_report(lambda: w.square().sum(), w, 0.1).verdict
        'smooth'

    Limit: the verdict is about this step and what lies below it; kinks that are much closer together than a step, as in
    a wide ReLU network with many rows, act like curvature.

    Cost: three times ``steps`` gradients.

    Source: Kumar, "GD doesn't make the cut: Three ways that non-differentiability affects neural network training",
    2023.
    """
    check_number("step", step, low=1e-300)
    check_number("steps", steps, low=8, integer=True)
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    moved = [parameter for parameter in given if parameter.requires_grad]
    if not moved:
        raise InputError("nothing can be moved", got="no tensor that requires a gradient", allowed="parameters",
                         fix="pass model.parameters()")  # fmt: skip
    start = [parameter.detach().clone() for parameter in moved]
    try:
        stalls = tuple(_run(loss, moved, step / _SHARE**run, steps) for run in range(_RUNS))
        zeros = float(torch.cat([p.detach().flatten() == 0 for p in moved]).double().mean())
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, start, strict=True):
                parameter.copy_(value)
    last = stalls[-1]
    nonsmooth = last.gradient > 0 and last.sharpness * last.step > _ALIKE
    return NonsmoothReport(stalls, zeros, "nonsmooth" if nonsmooth else "smooth", _advice(nonsmooth, last))


def _slope(loss: Callable[[], Tensor], moved: list[Tensor]) -> tuple[float, list[Tensor]]:
    with torch.enable_grad():
        value = loss()
        slopes = torch.autograd.grad(value, moved, allow_unused=True, materialize_grads=True)
    found = float(value.detach())
    if not math.isfinite(found):
        raise InputError("descent runs away", got=f"a loss of {found}", allowed="a finite loss",
                         fix="take a smaller step")  # fmt: skip
    return found, list(slopes)


@torch.no_grad()
def _run(loss: Callable[[], Tensor], moved: list[Tensor], step: float, steps: int) -> Stall:
    first = steps - steps // 4
    losses, sizes, turns, before = [], [], [], None
    flipped = [torch.zeros_like(parameter) for parameter in moved]
    for place in range(steps):
        value, slopes = _slope(loss, moved)
        size = math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes))
        if place >= first:
            losses.append(value)
            sizes.append(size)
            if before is not None and place > first:
                change = sum(
                    float((new - old).double().square().sum()) for new, old in zip(slopes, before, strict=True)
                )
                turns.append(math.sqrt(change) / (step * sizes[-2]) if sizes[-2] else 0.0)
        for parameter, slope, count in zip(moved, slopes, flipped, strict=True):
            after = parameter - step * slope
            if place >= first:
                count += parameter * after < 0
            parameter.copy_(after)
        before = slopes
    circling = torch.cat([count.flatten() for count in flipped]) >= max(len(losses) / 4, 1)
    mean = sum(losses) / len(losses)
    return Stall(step, mean, sum(sizes) / len(sizes), sum(turns) / len(turns), float(circling.double().mean()))


def _advice(nonsmooth: bool, last: Stall) -> str:
    if not nonsmooth:
        return "Gradients fade with the step: step sizes below 2 over the sharpness are safe here."
    circling = (
        f" {last.flips:.0%} of the entries circle zero and will not reach it: take ProxSGD or ProxAdam for an L1, "
        "group or L0 penalty, and do not prune by a small threshold."
        if last.flips > 0
        else ""
    )
    return f"Descent circles kinks: let the step fade, and do not read the sharpness.{circling}"
