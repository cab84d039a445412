"""GD doesn't make the cut: Three ways that non-differentiability affects neural network training."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from softwood.gradients import nonsmooth_report
from softwood.lifecycle import ProxAdam, ProxSGD
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="nonsmooth-gd",
    title="GD doesn't make the cut: Three ways that non-differentiability affects neural network training",
    year=2024,
    family="ops",
    kind="theory",
    does="Sparse solutions that subgradients miss and proximal steps reach",
    when="Weights shall become exactly zero, or a loss does not go down further at a constant step.",
    api=(
        "softwood.lifecycle.ProxSGD",
        "softwood.lifecycle.ProxAdam",
        "softwood.lifecycle.prox_l1",
        "softwood.lifecycle.prox_group",
        "softwood.lifecycle.prox_l0",
        "softwood.gradients.nonsmooth_report",
    ),
    claim="With an L1 penalty in the loss no weight reaches zero, the norm grows with the penalty, and the loss stalls "
    "at a height proportional to the step; proximal steps have none of the three faults.",
    headline="A larger L1 penalty gives a larger L1 norm of the iterate.",
    full="The same check on wider networks; the lasso needs no more than this.",
    seconds=60,
)

_STEP = 0.05
_WIDTH = 256
_MODEST, _LARGE = (0.001, 0.01, 0.1), (1.0, 10.0, 100.0)
_EPOCHS = {"smoke": 0, "quick": 60, "full": 300}
_STEPS = {"smoke": 400, "quick": 6000, "full": 40000}


def check(size: str, seed: int) -> Evidence:
    """Solve a lasso by subgradients and by proximal steps; train a network that ends with few weights."""
    steps = _STEPS[size]
    measures, bars = _lasso(steps, seed)
    if size == "smoke":
        _network(seed, 1, ProxAdam, 1e-3)  # the code path; one epoch shows nothing
    else:
        more, found = _digits(_EPOCHS[size], seed)
        measures, bars = measures + more, bars + found
    return Evidence(
        tuple(measures), tuple(bars), f"lasso 200 x 100, {steps} steps; 64-256-10 network, {_EPOCHS[size]} epochs"
    )


def _problem(seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    a = torch.as_tensor(rng.normal(size=(200, 100)))
    truth = torch.zeros(100, dtype=torch.float64)
    truth[:5] = torch.as_tensor(rng.choice([-1.0, 1.0], 5))
    return a, a @ truth + 0.1 * torch.as_tensor(rng.normal(size=200))


def _smooth_part(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    return (a @ w - b).square().mean() / 2


def _subgradient(a: Tensor, b: Tensor, strength: float, step: float, steps: int) -> tuple[Tensor, float]:
    """Return the last iterate of descent on loss plus penalty, and the mean objective of the last quarter."""
    w, heights = torch.zeros(100, dtype=torch.float64), []
    start = torch.Generator().manual_seed(0)
    w += 0.01 * torch.randn(100, generator=start, dtype=torch.float64)  # at exactly 0 sign() hides the fault
    for place in range(steps):
        error = a @ w - b
        if place >= steps - steps // 4:
            heights.append(float(error.square().mean() / 2 + strength * w.abs().sum()))
        w = w - step * (a.T @ error / len(b) + strength * w.sign())
    return w, float(np.mean(heights))


def _proximal(a: Tensor, b: Tensor, strength: float, step: float, steps: int) -> tuple[Tensor, float]:
    w = torch.zeros(100, dtype=torch.float64, requires_grad=True)
    optimizer = ProxSGD([w], step, strength=strength)
    for _ in range(steps):
        optimizer.zero_grad()
        _smooth_part(a, b, w).backward()
        optimizer.step()
    found = w.detach()
    return found, float(_smooth_part(a, b, found) + strength * found.abs().sum())


def _lasso(steps: int, seed: int) -> tuple[list[Measure], list[Bar]]:
    a, b = _problem(seed)
    measures, zeros, off = [], {}, {}
    for name, solve in (("subgradient", _subgradient), ("proximal", _proximal)):
        for strength in _MODEST:
            w, _ = solve(a, b, strength, _STEP, steps)
            zeros[name, strength], off[name, strength] = int((w == 0).sum()), float(w[5:].abs().sum())
            measures += [
                Measure(f"exact zeros of 95, penalty {strength:g}", name, zeros[name, strength]),
                Measure(f"L1 off the support, penalty {strength:g}", name, off[name, strength]),
            ]
    norms: dict[str, list[float]] = {"subgradient": [], "proximal": []}
    for name, solve in (("subgradient", _subgradient), ("proximal", _proximal)):
        for strength in _LARGE:
            norms[name].append(float(solve(a, b, strength, _STEP, steps)[0].abs().sum()))
            measures.append(Measure(f"L1 of the iterate, penalty {strength:g}", name, norms[name][-1]))
    slope, heights = _floor(a, b, steps)
    measures += [Measure(f"height of the stall, step {step:g}", "subgradient", h) for step, h in heights.items()]
    measures.append(Measure("log-log slope of the stall by the step", "subgradient", slope))
    return measures, [
        Bar("exact zeros of the subgradient iterate, most of all penalties",
            max(zeros["subgradient", s] for s in _MODEST), 0, "at most", "measured"),
        Bar("exact zeros of the proximal iterate rise with the penalty: smallest rise",
            min(zeros["proximal", q] - zeros["proximal", p] for p, q in pairwise(_MODEST)), 1, "at least", "measured"),
        Bar("exact zeros of the proximal iterate at the smallest penalty", zeros["proximal", 0.001], 1, "at least",
            "measured"),
        Bar("L1 off the support at 0.1: subgradient over proximal, difference",
            off["subgradient", 0.1] - off["proximal", 0.1], 0.1, "at least", "measured"),
        Bar("L1 of the subgradient iterate rises with penalties 1, 10, 100: smallest rise",
            min(q - p for p, q in pairwise(norms["subgradient"])), 1.0, "at least", "measured"),
        Bar("L1 of the proximal iterate at penalty 10 and 100, where the optimum is 0", max(norms["proximal"][1:]), 0.0,
            "at most", "measured"),
        Bar("slope of the stall by the step, off 1 by", abs(slope - 1), 0.1, "at most", "target"),
        Bar("nonsmooth_report tells the lasso from its smooth part (both right: 1)", _told_apart(a, b), 1, "at least",
            "target"),
    ]  # fmt: skip


def _floor(a: Tensor, b: Tensor, steps: int) -> tuple[float, dict[float, float]]:
    """Return the slope of log(height above the optimum) by log(step), and the heights."""
    best = _proximal(a, b, 0.1, 0.3, 4 * steps)[1]
    sizes = (0.1, 0.05, 0.025, 0.0125)
    heights = {step: _subgradient(a, b, 0.1, step, steps)[1] - best for step in sizes}
    logs = [math.log(max(height, 1e-300)) for height in heights.values()]
    return float(np.polyfit(np.log(sizes), logs, 1)[0]), heights


def _told_apart(a: Tensor, b: Tensor) -> float:
    w = torch.zeros(100, dtype=torch.float64).add_(0.01).requires_grad_()
    kinked = nonsmooth_report(lambda: _smooth_part(a, b, w) + 0.1 * w.abs().sum(), w, _STEP)
    plain = nonsmooth_report(lambda: _smooth_part(a, b, w), w, _STEP)
    return float(kinked.verdict == "nonsmooth" and plain.verdict == "smooth")


def _network(seed: int, epochs: int, kind: Callable[..., torch.optim.Optimizer], strength: float) -> tuple[float, ...]:
    """Train with an L1 penalty; return accuracy on unseen rows, share of zeros, and share below a thousandth."""
    torch.manual_seed(seed)
    pixels, digits = load_digits(return_X_y=True)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    x, y = torch.as_tensor(pixels / 16.0, dtype=torch.float32)[order], torch.as_tensor(digits)[order]
    model = nn.Sequential(nn.Linear(64, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 10))
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    proximal = kind is not torch.optim.Adam
    groups = [{"params": weights, **({"strength": strength} if proximal else {})}, {"params": biases}]
    optimizer = kind(groups, lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(1200).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            if not proximal:
                loss = loss + strength * torch.stack([w.abs().sum() for w in weights]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    flat = torch.cat([w.detach().flatten() for w in weights])
    with torch.no_grad():
        accuracy = float((model(x[1200:]).argmax(-1) == y[1200:]).double().mean())
    return accuracy, float((flat == 0).double().mean()), float((flat.abs() < 1e-3).double().mean())


def _digits(epochs: int, seed: int) -> tuple[list[Measure], list[Bar]]:
    runs: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]] = {
        "Adam, no penalty": (torch.optim.Adam, 0.0),
        "Adam, L1 in the loss": (torch.optim.Adam, 7e-4),
        "ProxAdam, L1": (ProxAdam, 7e-4),
        "ProxAdam, L0": (partial(ProxAdam, penalty="l0"), 5.5e-4),
    }
    found = {name: _network(seed, epochs, kind, strength) for name, (kind, strength) in runs.items()}
    names = ("accuracy on unseen digits", "share of exact zeros", "share below a thousandth")
    measures = [
        Measure(what, method, value) for method, row in found.items() for what, value in zip(names, row, strict=True)
    ]
    ours = found["ProxAdam, L0"]  # an L1 penalty also shrinks what it keeps
    return measures, [
        Bar("digits network: share of weights that are exactly zero", ours[1], 0.8, "at least", "target"),
        Bar("digits network: accuracy lost against no penalty", found["Adam, no penalty"][0] - ours[0], 0.01, "at most",
            "target"),
    ]  # fmt: skip


def use(data: str | None = None) -> None:
    """Fit a linear model that keeps few columns of a table.

    Args:
        data: CSV of numbers whose last column is what to predict; none takes scikit-learn's diabetes table.
    """
    import pandas as pd
    from sklearn.datasets import load_diabetes

    table = load_diabetes(as_frame=True).frame if data is None else pd.read_csv(data)
    values = torch.as_tensor(((table - table.mean()) / table.std()).to_numpy(), dtype=torch.float32)
    x, y = values[:, :-1], values[:, -1]
    weight = torch.zeros(x.shape[1], requires_grad=True)
    optimizer = ProxSGD([weight], lr=0.1, strength=0.1)
    for _ in range(2000):
        optimizer.zero_grad()
        (x @ weight - y).square().mean().backward()
        optimizer.step()
    kept = [f"{name} {value:+.2f}" for name, value in zip(table.columns, weight.tolist(), strict=False) if value]
    print("columns kept:", ", ".join(kept) or "none")  # noqa: T201
