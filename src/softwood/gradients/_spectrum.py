"""Whether back-propagation through an iterated system is of any use: the spectrum of its Jacobians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number

Step = Callable[[Tensor], Tensor]
_CLEAR = 2.0  # standard errors that an exponent has to be from 0


@capability("verb", papers=("gradient-chaos",), cost="steps products with k tangents each; O(n k) memory a start")
def lyapunov(step: Step, state: Tensor, *, steps: int = 1000, k: int = 1, warm_up: int = 100) -> Tensor:
    r"""Return the k largest Lyapunov exponents of an iterated map, one row for each start.

    .. math:: \lambda_i = \lim_{T \to \infty} \frac{1}{T} \log \sigma_i(J_T J_{T-1} \cdots J_1)

    by products of each Jacobian with k tangents, made orthonormal by QR after each step; no Jacobian is formed. The
    gradient of a state T steps later by the first one has a norm near :math:`e^{\lambda_1 T}`.

    Args:
        step: from states ``[..., n]`` to the next ones, row by row, differentiable by torch.
        state: starts ``[..., n]``; several starts give the spread.
        steps: T.
        k: how many, at most n.
        warm_up: steps before the count begins, for the start to be forgotten.

    Returns:
        Exponents ``[..., k]``, natural logarithm, for each step.

    Raises:
        InputError: ``state`` is no floating tensor ``[..., n]``, k is above n, or the states leave the finite numbers.

    Example:
        >>> starts = torch.linspace(0.1, 0.9, 50, dtype=torch.float64).unsqueeze(-1)
        >>> round(lyapunov(lambda x: 4 * x * (1 - x), starts).mean().item(), 1)  # ln 2
        0.7

    Limit: exact as the steps grow; the error falls with their root.

    Cost: T (k + 1 derivatives + O(n k^2)) time, O(n k) memory, for each start.

    Source: Benettin, Galgani, Giorgilli and Strelcyn, "Lyapunov Characteristic Exponents for Smooth Dynamical Systems",
    1980; Metz, Freeman, Schoenholz and Kachman, "Gradients are Not All You Need", 2021.
    """
    check_number("steps", steps, low=1, integer=True)
    check_number("warm_up", warm_up, low=0, integer=True)
    if not (isinstance(state, Tensor) and state.is_floating_point() and state.ndim):
        raise InputError("state is not usable", got=str(getattr(state, "shape", type(state).__name__)),
                         allowed="a floating tensor [..., n]", fix="add an axis for the state's numbers")  # fmt: skip
    n = state.shape[-1]
    check_number("k", k, low=1, high=n, integer=True)
    state = state.detach()
    generator = torch.Generator().manual_seed(0)
    tangents = torch.randn(k, *state.shape, dtype=state.dtype, generator=generator).to(state.device)
    total = torch.zeros(*state.shape[:-1], k, dtype=torch.float64, device=state.device)
    tiny = torch.finfo(state.dtype).tiny
    for place in range(warm_up + steps):
        state, moved = _moved(step, state, tangents)
        orthonormal, triangle = torch.linalg.qr(moved)
        tangents = orthonormal.movedim(-1, 0)
        if place >= warm_up:
            total += triangle.diagonal(dim1=-2, dim2=-1).abs().clamp_min(tiny).log().double()
    if not bool(state.isfinite().all()):
        raise InputError("the system runs away", got="states that are not finite", allowed="a bounded system",
                         fix="start elsewhere, or take fewer steps: this is overflow, not chaos")  # fmt: skip
    return total / steps


def _moved(step: Step, state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state, and the tangents ``[..., n, k]`` that the Jacobian makes of ``[k, ..., n]``.

    A product with the Jacobian is the derivative of one with its transpose: this asks for no forward-mode derivatives,
    which not every operation has.
    """
    leaf = state.requires_grad_()
    after = step(leaf)
    upstream = torch.zeros_like(after, requires_grad=True)
    (pulled,) = torch.autograd.grad(after, leaf, upstream, create_graph=True)
    pushed = [torch.autograd.grad(pulled, upstream, tangent, retain_graph=True)[0] for tangent in tangents]
    return after.detach(), torch.stack(pushed, -1)


@dataclass(frozen=True)
class UnrollReport:
    """What ``unroll_report`` found.

    Args:
        exponent: largest Lyapunov exponent, the mean over the starts.
        exponent_error: its standard error.
        horizons: numbers of steps.
        by_path: standard deviation of the back-propagated gradient over the starts, at each horizon.
        by_score: the same of evolution strategies with one antithetic pair.
        verdict: ``"chaotic"``, ``"stable"`` or ``"on the edge"``.
        advice: what to do.

    Example:
        >>> UnrollReport(-0.5, 0.01, (5,), (0.1,), (1.0,), "stable", "back-propagate").verdict
        'stable'
    """

    exponent: float
    exponent_error: float
    horizons: tuple[int, ...]
    by_path: tuple[float, ...]
    by_score: tuple[float, ...]
    verdict: str
    advice: str

    def __str__(self) -> str:
        lines = [f"Lyapunov exponent {self.exponent:.3f} +- {self.exponent_error:.3f} a step: {self.verdict}"]
        lines.append(f"{'steps':>7}  {'back-propagation':>17}  {'evolution strategies':>20}   (standard deviations)")
        for horizon, path, score in zip(self.horizons, self.by_path, self.by_score, strict=True):
            lines.append(f"{horizon:>7}  {path:>17.3g}  {score:>20.3g}")
        return "\n".join([*lines, self.advice])


@capability("verb", papers=("gradient-chaos",), cost="the Lyapunov exponent, and three unrolls of each horizon")
def unroll_report(
    step: Step, starts: Tensor, *, horizons: Sequence[int] = (5, 10, 20, 40), loss: Step | None = None,
    sigma: float = 0.1, steps: int = 1000, seed: int = 0,
) -> UnrollReport:  # fmt: skip
    r"""Say whether gradients through an iterated system can be trusted, and from which horizon on they cannot.

    The variance of a back-propagated gradient grows as :math:`e^{2 \lambda T}`; that of evolution strategies stays
    below (range of the loss)^2 / :math:`\sigma^2`. Standard deviations are root mean squares over all starts, as a
    median would hide the heavy tails that make the trouble.

    Args:
        step: from states ``[b, n]`` to the next ones, row by row.
        starts: ``[b, n]``, b >= 2 starts.
        horizons: numbers of steps to look at.
        loss: from states ``[b, n]`` to losses ``[b]``; None is the mean of the state.
        sigma: width of the noise of evolution strategies, in units of the state.
        steps: for the exponent.
        seed: of the noise.

    Raises:
        InputError: fewer than two starts, a horizon below 1, or states that run away.

    Example:
        >>> starts = torch.rand(200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> unroll_report(lambda x: 3.9 * x * (1 - x), starts).verdict
        'chaotic'

    Limit: more starts and steps narrow the error of the exponent.

    Cost: that of ``lyapunov``, and of each horizon once with its gradient and twice without.

    Source: Metz, Freeman, Schoenholz and Kachman, "Gradients are Not All You Need", 2021.
    """
    if starts.ndim != 2 or len(starts) < 2:
        raise InputError("starts are not usable", got=str(tuple(starts.shape)), allowed="[b, n] with b >= 2",
                         fix="pass several starts")  # fmt: skip
    for horizon in horizons:
        check_number("horizons", horizon, low=1, integer=True)
    check_number("sigma", sigma, low=1e-12)
    exponents = lyapunov(step, starts, steps=steps)[:, 0]
    mean = float(exponents.mean())
    error = float(exponents.std()) / math.sqrt(len(exponents)) + 1 / steps
    noise = torch.randn(starts.shape, dtype=starts.dtype, generator=torch.Generator().manual_seed(seed)).to(starts)

    def end(state: Tensor, horizon: int) -> Tensor:
        for _ in range(horizon):
            state = step(state)
        return state.mean(-1) if loss is None else loss(state)

    by_path, by_score = [], []
    for horizon in horizons:
        leaf = starts.detach().clone().requires_grad_()
        (path,) = torch.autograd.grad(end(leaf, horizon).sum(), leaf)
        with torch.no_grad():
            difference = end(starts + sigma * noise, horizon) - end(starts - sigma * noise, horizon)
            score = (difference / (2 * sigma)).unsqueeze(-1) * noise
        by_path.append(_deviation(path))
        by_score.append(_deviation(score))
    verdict = "chaotic" if mean > _CLEAR * error else "stable" if mean < -_CLEAR * error else "on the edge"
    worse = [h for h, path, score in zip(horizons, by_path, by_score, strict=True) if not path <= score]
    return UnrollReport(
        mean, error, tuple(horizons), tuple(by_path), tuple(by_score), verdict, _advice(verdict, mean, worse)
    )


def _deviation(gradients: Tensor) -> float:
    return float(gradients.double().var(0).sum().sqrt())


def _advice(verdict: str, exponent: float, worse: list[int]) -> str:
    if verdict == "stable" and not worse:
        return "Back-propagate: gradients do not grow with the horizon."
    if verdict == "stable":
        return "Gradients do not grow with the horizon; at those looked at, evolution strategies have less variance."
    if not worse:
        return "Back-propagation still has the smaller variance here; look again before the horizon grows."
    doubling = math.log(2) / max(exponent, 1e-12)
    return (
        f"From {min(worse)} steps on back-propagation is worse than evolution strategies; its gradients double every "
        f"{doubling:.2g} steps. Shorten or truncate the unroll, mix both with InverseVarianceMix, or make the system "
        "stable; clipping gradients only hides the bias."
    )
