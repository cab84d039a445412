"""On the Correctness of Automatic Differentiation for Neural Networks with Machine-Representable Parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from softwood.gradients import derivative_faults, kink_report, nondifferentiable_bound
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="ad-float-correctness",
    title="On the Correctness of Automatic Differentiation for Neural Networks with Machine-Representable Parameters",
    year=2023,
    family="ops",
    kind="theory",
    does="Where the derivative that was computed can be wrong",
    when="Parameters are quantised, zero or tied, or a gradient check fails at a kink.",
    api=(
        "softwood.gradients.kink_report",
        "softwood.gradients.nondifferentiable_bound",
        "softwood.gradients.one_sided",
        "softwood.gradients.derivative_faults",
    ),
    claim="With a bias for each neuron automatic differentiation is right wherever there is a derivative, and the "
    "share of settings without one stays below the bound; where parameters are shared, the wrong ones are named.",
    headline="The share of settings without derivative is at most the number of kinks over that of machine numbers, "
    "and this is tight.",
    full="The same check on grids of more numbers.",
    seconds=5,
)

_NUMBERS = 17
_STEP = 2.0**-20  # slopes of such small dyadic numbers are exact but for terms of this size
_TOLERANCE = 1e-4


def check(size: str, seed: int) -> Evidence:
    """Enumerate all settings of two networks on a grid; find a wrong derivative that was put there."""
    generator = torch.Generator().manual_seed(seed)
    points = {"smoke": 20_000, "quick": _NUMBERS**4, "full": _NUMBERS**4}[size]
    measures, bars, checked = [], [], 0
    for depth, exact in ((1, True), (2, False)):
        bound = nondifferentiable_bound(_network(depth), torch.ones(1, 1), _NUMBERS)
        settings = _settings(depth)
        if len(settings) > points:
            settings = settings[torch.randperm(len(settings), generator=generator)[:points]]
        without, wrong, alarms, smooth = _enumerate(settings, depth, generator)
        checked += smooth
        name = f"depth {depth} with biases"
        measures += [
            Measure(f"share of settings without derivative, {name}", "enumerated", without),
            Measure(f"share of settings without derivative, {name}", "bound", bound),
            Measure(f"settings called wrong, {name}", "one-sided differences", wrong),
            Measure(f"settings called wrong, {name}", "central differences, as gradcheck takes them", alarms),
        ]
        bars += [
            Bar(f"{name}: settings without derivative, above the bound by", without - bound, 1e-12, "at most",
                "measured", every=True),
            Bar(f"{name}: wrong derivatives where there is one", wrong, 0, "at most", "measured", every=True),
        ]  # fmt: skip
        if exact:
            bars.append(Bar(f"{name}: the bound is tight, off by", abs(without - bound), 1e-12, "at most", "measured"))
    report = derivative_faults(_Cancelling(), torch.ones(1))
    named = sum(fault.name == "weight" and fault.autograd == 0 for fault in report.wrong)
    measures.append(Measure("wrong parameters named, relu(w) - relu(-w) at 0", "derivative_faults", named))
    bars.append(Bar("relu(w) - relu(-w) at 0: the wrong parameter is named", named, 1, "at least", "measured"))
    measures += _without_biases(generator)
    return Evidence(tuple(measures), tuple(bars), f"grid of {_NUMBERS} numbers, {checked} differentiable settings")


def _network(depth: int) -> nn.Sequential:
    return nn.Sequential(*[part for _ in range(depth) for part in (nn.Linear(1, 1), nn.ReLU())])


def _settings(depth: int) -> Tensor:
    grid = torch.arange(_NUMBERS, dtype=torch.float64) / 8 - 1
    return torch.cartesian_prod(*[grid] * (2 * depth))


def _relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def _value(settings: Tensor, depth: int) -> Tensor:
    """Return the network's output at 1 for each setting (weight, bias, weight, bias, ...)."""
    x = torch.ones(len(settings), dtype=settings.dtype)
    for layer in range(depth):
        x = _relu(settings[:, 2 * layer] * x + settings[:, 2 * layer + 1])
    return x


def _enumerate(settings: Tensor, depth: int, generator: torch.Generator) -> tuple[float, int, int, int]:
    """Return the share without derivative, wrong ones, false alarms of central differences, and how many have one."""
    leaf = settings.clone().requires_grad_()
    (found,) = torch.autograd.grad(_value(leaf, depth).sum(), leaf)
    n = settings.shape[1]
    mixed = torch.randint(-3, 4, (6, n), generator=generator).double()  # a derivative is linear, not only two-sided
    directions = torch.cat([torch.eye(n, dtype=torch.float64), mixed])
    here = _value(settings, depth)
    up, down = (
        torch.stack([(_value(settings + s * _STEP * d, depth) - here) / (s * _STEP) for d in directions], -1)
        for s in (1, -1)
    )
    truth = (up + down)[:, :n] / 2
    smooth = ((up - down).abs() < _TOLERANCE).all(-1) & ((truth @ directions.T - up).abs() < _TOLERANCE).all(-1)
    differs = ((found - truth).abs() > _TOLERANCE).any(-1)
    return float((~smooth).double().mean()), int((differs & smooth).sum()), int(differs.sum()), int(smooth.sum())


class _Cancelling(nn.Module):
    """A factor of w, written with two ReLUs that share it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.relu(self.weight) - torch.relu(-self.weight))


def _without_biases(generator: torch.Generator) -> list[Measure]:
    """Measure networks on few numbers: with and without biases, at whose zeros the bound does not hold."""
    measures = []
    for bias in (True, False):
        model = nn.Sequential(nn.Linear(8, 6, bias=bias), nn.ReLU(), nn.Linear(6, 1, bias=bias))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randint(-8, 9, parameter.shape, generator=generator) / 8)
        x = torch.randint(-2, 3, (16, 8), generator=generator) / 2
        x[0] = 0
        report, name = derivative_faults(model, x), "with biases" if bias else "without biases"
        method = f"network on 17 numbers, {name}"
        measures += [
            Measure("the bound holds (1: yes)", method, float(kink_report(model, x).covered)),
            Measure("inputs and parameters with a one-sided derivative", method, len(report.faults)),
            Measure("inputs and parameters with a wrong derivative", method, len(report.wrong)),
        ]
    return measures


def use(data: str | None = None) -> None:
    """Quantise a network and name the parameters and inputs at which its derivative is wrong or one-sided.

    Args:
        data: CSV of numbers, one row an input; none makes 20 rows of 4.
    """
    import numpy as np

    torch.manual_seed(0)
    x = torch.randint(-4, 5, (20, 4)) / 4 if data is None else torch.as_tensor(np.loadtxt(data, delimiter=",", ndmin=2))
    model = nn.Sequential(nn.Linear(x.shape[1], 8), nn.ReLU(), nn.Linear(8, 1)).to(x.dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 8).round() / 8)
    print(kink_report(model, x, dtype="int8"))  # noqa: T201
    lines = str(derivative_faults(model, x)).splitlines()
    print("\n".join(lines[:10]))  # noqa: T201
