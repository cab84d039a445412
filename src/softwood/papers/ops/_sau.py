"""SAU: Smooth activation function using convolution with approximate identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import quad
from sklearn.datasets import load_digits
from torch import Tensor, nn

from softwood.layers import SAU, smooth_activation_
from softwood.lifecycle import harden
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="sau",
    title="SAU: Smooth activation function using convolution with approximate identities",
    year=2021,
    family="ops",
    kind="system",
    does="Activations without a kink, as close to the original as one likes",
    when="Second derivatives or exact gradients matter. For accuracy alone expect what a leaky ReLU gives.",
    api=("softwood.layers.SAU", "softwood.layers.smooth", "softwood.layers.smooth_activation_"),
    claim="Within a proved distance of the leaky ReLU, smooth everywhere, and no worse in training.",
    headline="+5.12 points over ReLU: ShuffleNet V2 2.0x on CIFAR-100.",
    full="A ShuffleNet V2 on CIFAR-100 with smooth_activation_(model), 200 epochs, 3 seeds.",
    seconds=110,
)
_SLOPE = 0.15
_WIDTHS = (0.5, 0.1, 0.02)  # 1 / n


@dataclass(frozen=True)
class _Scale:
    epochs: int
    rows: int


_SCALES = {"smoke": _Scale(1, 200), "quick": _Scale(30, 1300), "full": _Scale(200, 1300)}


def check(size: str, seed: int) -> Evidence:
    """Compare with the proved bound, with numeric convolution and with finite differences; train a small network."""
    scale = _SCALES[size]
    measures, bars = _distances()
    more, bar = _kink(seed)
    measures, bars = measures + more, bars + bar
    runs = range(5 * seed, 5 * seed + 5) if size != "smoke" else range(1)
    members: dict[str, Callable[[], nn.Module]] = {
        "ReLU": nn.ReLU,
        "leaky ReLU": lambda: nn.LeakyReLU(_SLOPE),
        "SAU": lambda: SAU(_SLOPE, temperature=0.05),
    }
    found = {name: float(np.mean([_accuracy(make, scale, run) for run in runs])) for name, make in members.items()}
    measures += [Measure("accuracy on unseen digits, mean of 5 runs", name, value) for name, value in found.items()]
    if size != "smoke":
        lost = found["ReLU"] - found["SAU"]
        bars.append(Bar("SAU at most 0.3 points below ReLU", lost, 0.003, "at most", "target"))
    line = f"slope {_SLOPE}, widths {_WIDTHS}; convolutional network on {scale.rows} digits, {scale.epochs} epochs"
    return Evidence(tuple(measures), tuple(bars), line)


def _distances() -> tuple[list[Measure], list[Bar]]:
    """Compare the distance to the leaky ReLU with (1 - a) width / sqrt(2 pi), and values with numeric convolution."""
    x = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    measures, off, wrong = [], [], []
    for width in _WIDTHS:
        module = SAU(_SLOPE, temperature=width).double()
        distance = float((module(x) - nn.functional.leaky_relu(x, _SLOPE)).abs().max().detach())
        measures.append(Measure("distance to the leaky ReLU", f"SAU, width {width:g}", distance))
        off.append(abs(distance - (1 - _SLOPE) * width / math.sqrt(2 * math.pi)))
        wrong += [
            abs(float(module(torch.tensor(at).double()).detach()) - _convolved(at, width))
            for at in (-1.0, -0.01, 0.0, 0.3)
        ]
    grows = max(later.value - earlier.value for earlier, later in pairwise(measures))
    return measures, [
        Bar("distance to the leaky ReLU, off the proved bound", max(off), 1e-6, "at most", "measured", every=True),
        Bar("change of that distance as the width falls", grows, 0.0, "at most", "measured", every=True),
        Bar("off numeric convolution", max(wrong), 1e-6, "at most", "measured", every=True),
    ]


def _convolved(at: float, width: float) -> float:
    def integrand(step: float) -> float:
        moved = at - width * step
        return (moved if moved > 0 else _SLOPE * moved) * math.exp(-0.5 * step * step) / math.sqrt(2 * math.pi)

    return float(
        quad(integrand, -12, 12, points=[at / width] if abs(at / width) < 12 else None, limit=200, epsabs=1e-11)[0]
    )


def _kink(seed: int) -> tuple[list[Measure], list[Bar]]:
    """Test the gradient at 0, and curvature across the kink, where that of a leaky ReLU is zero."""
    module = SAU(_SLOPE, temperature=0.1, learn_width=True).double()
    x = torch.tensor([-0.05, 0.0, 0.05], dtype=torch.float64, requires_grad=True)
    passes = torch.autograd.gradcheck(module, (x,)) and torch.autograd.gradgradcheck(module, (x,))
    torch.manual_seed(seed)
    curvature = {}
    for name, activation in (("leaky ReLU", nn.LeakyReLU(_SLOPE)), ("SAU", SAU(_SLOPE, temperature=0.1))):
        x = torch.zeros(4, requires_grad=True)
        slope = torch.autograd.grad(activation(x).sum(), x, create_graph=True)[0]
        second = torch.autograd.grad(slope.sum(), x)[0] if slope.requires_grad else torch.zeros(4)
        curvature[name] = float(second.abs().mean())
    measures = [Measure("curvature at the kink", name, value) for name, value in curvature.items()]
    return measures, [
        Bar("first and second derivatives at 0 pass finite differences", float(passes), 1.0, "at least", "measured"),
        Bar("curvature of SAU at the kink", curvature["SAU"], 0.1, "at least", "target"),
    ]


def _accuracy(activation: Callable[[], nn.Module], scale: _Scale, seed: int) -> float:
    torch.manual_seed(seed)
    bunch = load_digits()
    order = torch.randperm(len(bunch.target))
    x = torch.as_tensor(bunch.images / 16, dtype=torch.float32).unsqueeze(1)[order]
    y = torch.as_tensor(bunch.target)[order]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), activation(),
        nn.Flatten(), nn.Linear(512, 64), activation(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(scale.epochs):
        for rows in torch.randperm(scale.rows).split(64):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(x[1300:]).argmax(-1) == y[1300:]).double().mean())


def use(data: str | None = None) -> None:
    """Make a trained network smooth, and say how far that moves its answers; then take it back.

    Args:
        data: CSV with numbers and a last column of classes; none takes scikit-learn's wine.
    """
    import pandas as pd
    from sklearn.datasets import load_wine

    frame = load_wine(as_frame=True).frame if data is None else pd.read_csv(data)
    table = frame.iloc[:, :-1]
    x = torch.tensor(((table - table.mean()) / table.std()).to_numpy()).float()
    y = torch.tensor(frame.iloc[:, -1].astype("category").cat.codes.to_numpy()).long()
    model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, int(y.max()) + 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before: Tensor = model(x).detach()
    smooth_activation_(model, temperature=0.01)
    after = model(x).detach()
    shipped = harden(model).model
    print(f"smooth: answers move by at most {float((after - before).abs().max()):.4f}")  # noqa: T201
    print(f"hardened again: {float((shipped(x) - before).abs().max().detach()):.1e}; {list(shipped.children())[1]}")  # noqa: T201
