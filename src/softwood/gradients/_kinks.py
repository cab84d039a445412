"""Where automatic differentiation may be wrong: at kinks, which finite numbers do hit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_choice, check_number

# what an activation has as kinks; a leaky slope of 1 is none, but nobody writes that
_KINKS: dict[type[nn.Module], tuple[float, ...]] = {
    nn.ReLU: (0.0,), nn.LeakyReLU: (0.0,), nn.PReLU: (0.0,), nn.RReLU: (0.0,), nn.ELU: (0.0,), nn.ReLU6: (0.0, 6.0),
    nn.Hardtanh: (-1.0, 1.0), nn.Hardsigmoid: (-3.0, 3.0), nn.Hardswish: (-3.0, 3.0), nn.Softshrink: (-0.5, 0.5),
}  # fmt: skip
_NUMBERS = {"float64": 2**64 - 2**53, "float32": 2**32 - 2**24, "float16": 2**16 - 2**11, "bfloat16": 2**16 - 2**8,
            "int8": 2**8}  # fmt: skip


@dataclass(frozen=True)
class KinkLayer:
    """What ``kink_report`` saw at one activation.

    Args:
        name: of the module.
        units: how many numbers of one row it is applied to.
        kinks: of the activation.
        hits: inputs that lay exactly on a kink, over all rows.
        near: share of inputs within a thousandth of their spread of a kink.
        own_bias: whether what feeds it has a bias of its own for each unit.

    Example:
        >>> KinkLayer("1", 4, 1, 0, 0.0, True).own_bias
        True
    """

    name: str
    units: int
    kinks: int
    hits: int
    near: float
    own_bias: bool


@dataclass(frozen=True)
class KinkReport:
    """What ``kink_report`` found.

    Args:
        layers: the activations with kinks, in the order in which they ran.
        bound: largest share of parameter settings, of all that the number format has, at which the network is not
            differentiable; it holds where every layer has a bias of its own.
        covered: whether it holds, and with it that automatic differentiation is right wherever there is a derivative.
        dtype: the number format.

    Example:
        >>> KinkReport((), 0.0, True, "float32").covered
        True
    """

    layers: tuple[KinkLayer, ...]
    bound: float
    covered: bool
    dtype: str

    def __str__(self) -> str:
        lines = [
            f"{layer.name}: {layer.units} units, {layer.kinks} kinks each, {layer.hits} exact hits, "
            f"{100 * layer.near:.2g} % near{'' if layer.own_bias else ', NO BIAS OF ITS OWN'}"
            for layer in self.layers
        ]
        says = "holds" if self.covered else "does not hold: a layer has no bias for each of its units"
        return "\n".join([*lines, f"bound on settings without derivative in {self.dtype}: {self.bound:.2g}; it {says}"])


@capability("verb", papers=("ad-float-correctness",), cost="one forward pass without gradients")
def kink_report(model: nn.Module, x: Any, *, dtype: str = "float32") -> KinkReport:
    r"""Say where a network's activations lie on their kinks, and how often numbers of a format can do so at all.

    With a bias of its own for every neuron, automatic differentiation is right wherever the network has a derivative,
    and the share of parameter settings without one is at most

    .. math:: \frac{1}{|M|} \sum_{\text{neurons}} (\text{kinks of the activation})

    where M are the numbers of the format. Shared biases (convolutions) and missing ones are not covered, nor are ties
    in max-pooling and sorting; ``one_sided`` settles single cases.

    Args:
        model: any network; its activations have to be modules.
        x: the input, or the tuple of inputs.
        dtype: ``"float64"``, ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"``.

    Raises:
        InputError: an unknown format.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> report = kink_report(model, torch.ones(5, 2))
        >>> report.covered, report.layers[0].units
        (True, 3)

    Limit: the bound goes to 0 as the format gets finer.

    Cost: one forward pass without gradients.

    Source: Lee, Park and Aiken, "On the Correctness of Automatic Differentiation for Neural Networks with
    Machine-Representable Parameters", 2023.
    """
    check_choice("dtype", dtype, tuple(_NUMBERS))
    layers: list[KinkLayer] = []
    with _watched(model, layers), torch.no_grad():
        model(*x) if isinstance(x, (tuple, list)) else model(x)
    total = sum(layer.units * layer.kinks for layer in layers)
    return KinkReport(tuple(layers), total / _NUMBERS[dtype], all(layer.own_bias for layer in layers), dtype)


@contextmanager
def _watched(model: nn.Module, layers: list[KinkLayer]) -> Iterator[None]:
    """Record what goes into each activation while a model runs in evaluation mode."""
    biased: dict[int, Tensor] = {}  # outputs of layers whose units have a bias each; held, so that no id comes twice

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, nn.Linear) and module.bias is not None:
            biased[id(output)] = output

    def before(name: str, kinks: tuple[float, ...]) -> Callable[[nn.Module, Any], None]:
        def look(module: nn.Module, inputs: Any) -> None:
            found = inputs[0].detach()
            gap = torch.stack([(found - kink).abs() for kink in kinks]).amin(0)
            width = 1e-3 * float(found.std()) if found.numel() > 1 else 0.0
            near = float((gap <= width).double().mean()) if found.numel() else 0.0
            units = found[0].numel() if found.ndim > 1 and len(found) else found.numel()
            layers.append(KinkLayer(name, units, len(kinks), int((gap == 0).sum()), near, id(inputs[0]) in biased))

        return look

    handles: list[Any] = []
    modes = [(module, module.training) for module in model.modules()]
    for name, module in model.named_modules():
        if type(module) in _KINKS:
            handles.append(module.register_forward_pre_hook(before(name, _KINKS[type(module)])))
        else:
            handles.append(module.register_forward_hook(after))
    model.eval()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training


@dataclass(frozen=True)
class OneSided:
    """What ``one_sided`` found along each coordinate.

    Args:
        low: the smaller of the two one-sided derivatives.
        high: the larger one.
        autograd: what automatic differentiation says.
        inside: whether it lies between them.

    Example:
        >>> zero = torch.zeros(1)
        >>> OneSided(zero, zero, zero, zero == 0).inside.item()
        True
    """

    low: Tensor
    high: Tensor
    autograd: Tensor
    inside: Tensor


@capability("verb", papers=("ad-float-correctness",), cost="2n + 2 calls for n numbers")
def one_sided(fn: Callable[[Tensor], Tensor], x: Tensor, *, step: float = 1e-6, tolerance: float = 1e-4) -> OneSided:
    r"""Compare automatic differentiation with the two one-sided derivatives along each coordinate.

    .. math:: f'_\pm(x; e_i) = \lim_{h \downarrow 0} \frac{f(x \pm h e_i) - f(x)}{\pm h}

    At a kink the two differ, and any number between them is a Clarke subderivative of that coordinate: no fault. Where
    they agree there is a derivative, and a number outside is wrong, as for relu(x) - relu(-x) at 0. Central differences
    would call every kink a fault.

    Args:
        fn: from x to one number.
        x: where, in float64 for sharp answers.
        step: h, relative to the size of each coordinate or 1.
        tolerance: by how much automatic differentiation may lie outside, relative to its size or 1.

    Raises:
        InputError: ``fn`` gives more than one number, or x is not floating.

    Example:
        >>> x = torch.zeros(1, dtype=torch.float64)
        >>> one_sided(lambda x: torch.relu(x).sum(), x).inside.tolist()
        [True]
        >>> one_sided(lambda x: (torch.relu(x) - torch.relu(-x)).sum(), x).inside.tolist()
        [False]

    Limit: exact as the step goes to 0, until rounding takes over.

    Cost: 2n + 1 calls, one of them with its gradient.

    Source: Clarke, "Optimization and Nonsmooth Analysis", 1983; Lee, Park and Aiken, 2023.
    """
    check_number("step", step, low=1e-300)
    check_number("tolerance", tolerance, low=0)
    leaf = x.detach().clone().requires_grad_()
    value = fn(leaf)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = str(getattr(value, "shape", type(value).__name__))
        raise InputError("the function does not give one number", got=got, allowed="a tensor with one number",
                         fix="sum what it gives")  # fmt: skip
    found = torch.zeros_like(leaf)
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.reshape(()), leaf, allow_unused=True, materialize_grads=True)
    sides = []
    with torch.no_grad():
        flat, at = x.detach().flatten(), value.detach().reshape(())
        sizes = step * flat.abs().clamp_min(1.0)
        for sign in (1.0, -1.0):
            moved = [
                fn(
                    (flat.index_add(0, torch.tensor([place], device=x.device), sign * size[None])).reshape(x.shape)
                ).reshape(())
                for place, size in enumerate(sizes)
            ]
            sides.append(((torch.stack(moved) - at) / (sign * sizes)).reshape(x.shape))
    low, high = torch.minimum(*sides), torch.maximum(*sides)
    room = tolerance * found.abs().clamp_min(1.0)
    return OneSided(low, high, found, (found >= low - room) & (found <= high + room))
