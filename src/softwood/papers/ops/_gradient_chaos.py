"""Gradients are Not All You Need."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from softwood.gradients import inverse_variance_mix, lyapunov, unroll_report
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="gradient-chaos",
    title="Gradients are Not All You Need",
    year=2021,
    family="ops",
    kind="theory",
    does="When gradients through long recursions are worthless",
    when="Before a simulator, a recurrent network or a learned optimizer is trained by back-propagation through time.",
    api=(
        "softwood.gradients.lyapunov",
        "softwood.gradients.unroll_report",
        "softwood.gradients.InverseVarianceMix",
        "softwood.gradients.inverse_variance_mix",
    ),
    claim="The Lyapunov exponent tells beforehand whether back-propagated gradients explode; their mix with evolution "
    "strategies by inverse variance is never noisier than the better of the two.",
    headline="The same failure in recurrent networks, physics and learned optimizers, with the spectrum of the "
    "Jacobian as its criterion.",
    full="The same check with more starts; any step function in torch takes the place of the six systems.",
    seconds=20,
)

_HORIZONS = (5, 10, 20, 40)
_SIGMA = 0.02
_SAMPLES = 64  # of each estimate
_STARTS = {"smoke": 400, "quick": 2000, "full": 20000}
_STEPS = {"smoke": 200, "quick": 1000, "full": 10000}
_REPEATS = {"smoke": 300, "quick": 4000, "full": 40000}

Step = Callable[[Tensor], Tensor]


def check(size: str, seed: int) -> Evidence:
    """Compare gradients of the logistic map with evolution strategies, judge six systems, mix both estimators."""
    generator = torch.Generator().manual_seed(seed)
    # without the repelling fixed point of rate 3.2, 0.6875, and what leads to it: transients grow there too
    starts = 0.35 + 0.3 * torch.rand(_STARTS[size], 1, dtype=torch.float64, generator=generator)
    exponent = float(lyapunov(_logistic(4.0), starts[:200], steps=_STEPS[size]).mean())
    chaotic = unroll_report(_logistic(3.9), starts, horizons=_HORIZONS, sigma=_SIGMA, steps=50, seed=seed)
    tame = unroll_report(_logistic(3.2), starts, horizons=_HORIZONS, sigma=_SIGMA, steps=50, seed=seed)
    right, one_step = _verdicts(_STEPS[size], generator)
    spread, worst = _mixed(_REPEATS[size], generator)
    measures = [
        Measure("Lyapunov exponent of the logistic map at 4", "QR of Jacobian products", exponent),
        Measure("Lyapunov exponent of the logistic map at 4", "known", math.log(2)),
        Measure("systems of 6 that are judged rightly", "unroll_report", right),
        Measure("systems of 6 that are judged rightly", "one-step Jacobian norm", one_step),
    ]
    for place, horizon in enumerate(_HORIZONS):
        name = f"standard deviation of the gradient, {horizon} steps, rate"
        measures += [
            Measure(f"{name} 3.9", "back-propagation", chaotic.by_path[place]),
            Measure(f"{name} 3.9", "evolution strategies", chaotic.by_score[place]),
            Measure(f"{name} 3.2", "back-propagation", tame.by_path[place]),
        ]
        for method, values in spread.items():
            measures.append(Measure(f"variance of the mean of {_SAMPLES}, {horizon} steps", method, values[place]))
    bars = (
        Bar("exponent of the logistic map at 4 against ln 2: relative error", abs(exponent / math.log(2) - 1), 0.05,
            "at most", "target"),
        Bar("verdicts that are right, of 6", right, 6, "at least", "target"),
        Bar("variance of the mix over that of the better estimator, worst horizon", worst, 1.1, "at most", "target"),
        Bar("rate 3.9: back-propagated deviation at 40 steps over that at 5", chaotic.by_path[-1] / chaotic.by_path[0],
            1e6, "at least", "measured"),
        Bar("rate 3.9: largest deviation of evolution strategies", max(chaotic.by_score), 20.0, "at most", "measured"),
        Bar("rate 3.2: largest back-propagated deviation", max(tame.by_path), 0.8, "at most", "measured"),
    )  # fmt: skip
    return Evidence(tuple(measures), bars, f"{_STARTS[size]} starts, {_STEPS[size]} steps, {_REPEATS[size]} repeats")


def _logistic(rate: float) -> Step:
    return lambda x: rate * x * (1 - x)


def _henon(x: Tensor) -> Tensor:
    return torch.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1)


def _recurrent(gain: float, generator: torch.Generator) -> Step:
    # fewer units than these can fall into a cycle at gain 1.6: chaos is sure only as their number grows
    weight = gain / 16 * torch.randn(256, 256, dtype=torch.float64, generator=generator)
    return lambda x: torch.tanh(x @ weight.T)


def _verdicts(steps: int, generator: torch.Generator) -> tuple[int, int]:
    """Return how many of three chaotic and three stable systems are judged rightly, by us and by a single step."""
    systems: list[tuple[Step, int, bool]] = [
        (_logistic(3.9), 1, True), (_henon, 2, True), (_recurrent(1.6, generator), 256, True),
        (_logistic(3.2), 1, False), (lambda x: 0.5 * torch.sin(x), 3, False), (_recurrent(0.8, generator), 256, False),
    ]  # fmt: skip
    right = one_step = 0
    for step, n, chaotic in systems:
        x = 0.1 + (0.1 if n == 2 else 0.8) * torch.rand(30, n, dtype=torch.float64, generator=generator)
        report = unroll_report(step, x, horizons=(2, 5), sigma=0.01, steps=steps)
        right += report.verdict == ("chaotic" if chaotic else "stable")
        one_step += (_one_step_norm(step, x) > 1) is chaotic
    return right, one_step


def _one_step_norm(step: Step, x: Tensor) -> float:
    jacobians = torch.func.vmap(torch.func.jacrev(step))(x)
    return float(torch.linalg.matrix_norm(jacobians, 2).mean())


def _mixed(repeats: int, generator: torch.Generator) -> tuple[dict[str, list[float]], float]:
    """Return the variances over repeats of the three estimates at 0.3, and the worst excess of the mix."""
    spread: dict[str, list[float]] = {"back-propagation": [], "evolution strategies": [], "inverse-variance mix": []}
    worst = 0.0
    for horizon in _HORIZONS:
        noise = torch.randn(_SAMPLES, repeats, 1, dtype=torch.float64, generator=generator)
        leaf = (0.3 + _SIGMA * noise).requires_grad_()
        x = leaf
        for _ in range(horizon):
            x = 3.9 * x * (1 - x)
        (path,) = torch.autograd.grad(x.sum(), leaf)
        loss = x.detach()
        score = (loss - loss.mean(0)) * noise / _SIGMA * (_SAMPLES / (_SAMPLES - 1))
        mix, _ = inverse_variance_mix(path, score)
        found = [float(part.var()) for part in (path.mean(0), score.mean(0), mix)]
        for values, value in zip(spread.values(), found, strict=True):
            values.append(value)
        worst = max(worst, found[2] / min(found[:2]))
    return spread, worst


def use(data: str | None = None) -> None:
    """Say over how many steps a recurrent network can be trained by back-propagation.

    Args:
        data: CSV without a header of the square recurrent weights; none makes 64 x 64 random ones of gain 1.6.
    """
    import numpy as np

    if data is None:
        weight = 0.2 * torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    else:
        weight = torch.as_tensor(np.loadtxt(data, delimiter=","))
    starts = torch.randn(100, len(weight), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    report = unroll_report(lambda x: torch.tanh(x @ weight.T), starts, steps=200)
    print(report)  # noqa: T201
    print("verdict:", report.verdict)  # noqa: T201
