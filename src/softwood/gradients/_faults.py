"""The inputs and parameters of a network at which automatic differentiation is wrong, or right from one side only."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_number
from softwood.gradients._kinks import kink_report, one_sided


@dataclass(frozen=True)
class DerivativeFault:
    """One number by which the derivative is wrong or one-sided.

    Args:
        name: of the parameter, or ``input`` (``input 1`` where there are several).
        index: of the number in its tensor.
        autograd: what automatic differentiation says.
        low: the smaller one-sided derivative.
        high: the larger one.
        wrong: it lies outside of both; otherwise it is one of many right answers at a kink.

    Example:
        >>> print(DerivativeFault("0.weight", (1, 0), 0.0, 1.0, 1.0, True))
        0.weight[1, 0]: WRONG, autograd says 0, the derivative is 1
    """

    name: str
    index: tuple[int, ...]
    autograd: float
    low: float
    high: float
    wrong: bool

    def __str__(self) -> str:
        place = f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else self.name
        sides = f"{self.low:.4g}" if self.high - self.low < 1e-6 else f"between {self.low:.4g} and {self.high:.4g}"
        kind = "WRONG" if self.wrong else "one-sided"
        return f"{place}: {kind}, autograd says {self.autograd:.4g}, the derivative is {sides}"


@dataclass(frozen=True)
class FaultReport:
    """What ``derivative_faults`` found.

    Args:
        faults: the wrong ones first.
        checked: how many numbers were looked at.
        skipped: how many were not.

    Example:
        >>> print(FaultReport((), 10, 0))
        10 numbers checked, 0 left out: 0 wrong, 0 one-sided
    """

    faults: tuple[DerivativeFault, ...]
    checked: int
    skipped: int

    @property
    def wrong(self) -> tuple[DerivativeFault, ...]:
        """Return those at which there is a derivative and autograd says another."""
        return tuple(fault for fault in self.faults if fault.wrong)

    def __str__(self) -> str:
        wrong = len(self.wrong)
        head = f"{self.checked} numbers checked, {self.skipped} left out: {wrong} wrong, "
        return "\n".join([f"{head}{len(self.faults) - wrong} one-sided", *map(str, self.faults)])


@capability("verb", papers=("ad-float-correctness",), cost="two calls for each number that is checked")
def derivative_faults(
    model: nn.Module, x: Any, *, loss: Callable[[Any], Tensor] | None = None, most: int = 200, tolerance: float = 1e-4,
    seed: int = 0,
) -> FaultReport:  # fmt: skip
    r"""Name the inputs and parameters of a module by which its computed derivative is wrong or one-sided.

    Each number is moved a little to both sides, in a double precision copy of the module in evaluation mode. Where the
    two slopes differ there is a kink: what autograd says between them is a Clarke subderivative of that coordinate, and
    marked one-sided. What it says outside of them is wrong. At random reals neither happens; at zeros, at quantised or
    tied parameters and at ties of max-pooling both do.

    Args:
        model: any module; it is not changed.
        x: the input, or the tuple of inputs; integers among them are not moved.
        loss: from the output to one number; None is its sum.
        most: numbers of each tensor to check; a larger one is sampled.
        tolerance: by how much slopes may differ, relative to their size or 1.
        seed: of the sample.

    Raises:
        InputError: there is nothing to move, or the loss is no single number.

    Example:
        >>> class Cancelling(nn.Module):  # it is the identity, and has the derivative 1
        ...     def forward(self, x): return torch.relu(x) - torch.relu(-x)
        >>> print(derivative_faults(Cancelling(), torch.tensor([0.0, 2.0])))
        2 numbers checked, 0 left out: 1 wrong, 0 one-sided
        input[0]: WRONG, autograd says 0, the derivative is 1

    Limit: kinks closer than a millionth of a number's size count as hit.

    Source: Lee, Park and Aiken, "On the Correctness of Automatic Differentiation for Neural Networks with
    Machine-Representable Parameters", 2023.
    """
    check_number("most", most, low=1, integer=True)
    copied = copy.deepcopy(model).double().eval()
    inputs = [_widened(part) for part in (x if isinstance(x, (tuple, list)) else (x,))]
    tensors = {name: parameter.detach() for name, parameter in copied.named_parameters()}
    for place, part in enumerate(inputs):
        if isinstance(part, Tensor) and part.is_floating_point():
            tensors["input" if len(inputs) == 1 else f"input {place}"] = part
    if not any(tensor.numel() for tensor in tensors.values()):
        raise InputError("there is nothing to differentiate by", got="no floating numbers",
                         allowed="floating inputs or parameters", fix="pass a floating input")  # fmt: skip

    def value(name: str, tensor: Tensor) -> Tensor:
        if not name.startswith("input") or name in parameters:
            output = torch.func.functional_call(copied, {name: tensor}, tuple(inputs))
        else:
            place = 0 if len(inputs) == 1 else int(name.split()[1])
            output = copied(*inputs[:place], tensor, *inputs[place + 1 :])
        found: Tensor = output.sum() if loss is None else loss(output)
        return found

    parameters = dict(copied.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    faults: list[DerivativeFault] = []
    checked = 0
    for name, tensor in tensors.items():
        places = torch.randperm(tensor.numel(), generator=generator)[:most].sort().values.to(tensor.device)
        faults += _faults_of(name, tensor, places, value, tolerance)
        checked += len(places)
    total = sum(tensor.numel() for tensor in tensors.values())
    return FaultReport(tuple(sorted(faults, key=lambda fault: not fault.wrong)), checked, total - checked)


def _widened(part: Any) -> Any:
    return part.detach().double() if isinstance(part, Tensor) and part.is_floating_point() else part


def _faults_of(
    name: str, tensor: Tensor, places: Tensor, value: Callable[[str, Tensor], Tensor], tolerance: float
) -> list[DerivativeFault]:
    flat = tensor.flatten()

    def moved(numbers: Tensor) -> Tensor:
        return value(name, flat.index_copy(0, places, numbers).reshape(tensor.shape))

    sides = one_sided(moved, flat[places], tolerance=tolerance)
    kinked = (sides.high - sides.low) > 2 * tolerance * sides.autograd.abs().clamp_min(1.0)
    found = []
    for at in (kinked | ~sides.inside).nonzero().flatten().tolist():
        index = tuple(int(i) for i in torch.unravel_index(places[at], tensor.shape))
        here, low, high = (float(part[at]) for part in (sides.autograd, sides.low, sides.high))
        found.append(DerivativeFault(name, index, here, low, high, wrong=not bool(sides.inside[at])))
    return found


@capability("verb", papers=("ad-float-correctness",), cost="one forward pass without gradients")
def nondifferentiable_bound(model: nn.Module, x: Any, numbers: int) -> float:
    r"""Return the largest share of parameter settings at which a network may have no derivative.

    .. math:: \frac{1}{|M|} \sum_{\text{neurons}} (\text{kinks of the activation})

    It holds where every neuron has a bias of its own, as ``kink_report`` says, and is then tight.

    Args:
        model: any network; its activations have to be modules.
        x: the input, or the tuple of inputs.
        numbers: |M|, how many values a parameter can take: 256 for int8, or the points of a grid.

    Raises:
        InputError: ``numbers`` is below 1.

    Example:
        >>> nondifferentiable_bound(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.ones(1, 2), 256)
        0.01171875

    Limit: 0 as the numbers grow.

    Source: Lee, Park and Aiken, 2023.
    """
    check_number("numbers", numbers, low=1, integer=True)
    return sum(layer.units * layer.kinks for layer in kink_report(model, x).layers) / numbers
