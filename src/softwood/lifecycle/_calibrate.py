"""Set every temperature of a model once, in units of the data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import InputError, SoftwoodWarning, capability, check_number
from softwood.layers import soft_modules

_SMALLEST = 1e-12  # as in SoftModule


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Run a model without gradients and in evaluation mode, and put each submodule's mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def as_inputs(x: Any) -> tuple[Any, ...]:
    """Return the positional inputs of a model as a tuple."""
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _scale(margins: list[Tensor]) -> float:
    """Median of |margin| over those that are finite and not zero; NaN if there is none."""
    sizes = torch.cat([part.detach().double().abs().flatten() for part in margins])
    sizes = sizes[sizes.isfinite() & (sizes > 0)]
    return float(sizes.median()) if len(sizes) else math.nan


@capability("verb", cost="one forward pass without gradients, and a median over all margins")
def calibrate(module: nn.Module, x: Any, softness: float = 0.1) -> dict[str, float]:
    r"""Set the temperature of every soft module to ``softness`` times the typical size of its margins.

    For each soft module :math:`\tau = s \cdot \operatorname{median}\{|m| : 0 < |m| < \infty\}`, where the m are all
    entries of ``margins(*inputs)`` for the inputs that reach the module when ``module`` runs on ``x``. The median
    of absolute values is homogeneous, so inputs in other units (x times 1000) give temperatures in those units,
    and it estimates a property of the distribution, so more rows (or each row twice) do not change it. Modules
    are set in the order in which they run, each before its own forward pass; what reaches a later module has
    therefore gone through the calibrated earlier ones, and calibrating twice changes nothing.

    Left out are margins that are NaN or infinite (a missing value has no side) and those that are exactly zero
    (many ties would drive the median, and the temperature, to zero). Where none remains, or a module was not
    reached, its temperature stays as it was and a ``SoftwoodWarning`` names it.

    Args:
        module: any network; it runs once, in evaluation mode and without gradients.
        x: the input, or the tuple of positional inputs, of ``module``.
        softness: s > 0. At 0.1, a row at the typical distance from a threshold is 10 temperatures away from it.

    Returns:
        Name of each soft module in ``module`` (``""`` is the module itself) -> its temperature now.

    Raises:
        InputError: ``softness`` is not a number > 0, or margins are too large for a float32 temperature.

    Example:
        >>> from softwood.layers import SoftModule
        >>> class Step(SoftModule):
        ...     def margins(self, x): return x
        ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
        ...     def harden(self): return nn.Threshold(0, 0)
        >>> calibrate(Step(), torch.tensor([-20.0, 0.0, 40.0, 60.0]))
        {'': 4.0}
    """
    softness = check_number("softness", softness, low=_SMALLEST)
    found = dict(soft_modules(module))
    measured: dict[str, list[Tensor]] = {name: [] for name in found}

    def listen(name: str) -> Any:
        def before_forward(soft: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # a module that is called several times is set by everything that has reached it so far
            measured[name].append(soft.margins(*args, **kwargs))
            scale = _scale(measured[name])
            if not math.isnan(scale):
                soft.temperature.fill_(_checked(name, softness * scale))

        return before_forward

    hooks = [soft.register_forward_pre_hook(listen(name), with_kwargs=True) for name, soft in found.items()]
    try:
        with measuring(module):
            module(*as_inputs(x))
    finally:
        for hook in hooks:
            hook.remove()
    _warn_unset([name for name, margins in measured.items() if not margins or math.isnan(_scale(margins))])
    return {name: float(soft.temperature) for name, soft in found.items()}


def _checked(name: str, temperature: float) -> float:
    if temperature > torch.finfo(torch.float32).max:
        raise InputError(
            "margins are too large for a float32 temperature",
            got=f"a temperature of {temperature:.3g} for module {name!r}",
            allowed="at most 3.4e38",
            fix="rescale the inputs",
        )
    return max(temperature, _SMALLEST)


def _warn_unset(names: list[str]) -> None:
    if names:
        warnings.warn(
            f"calibrate left the temperature of {', '.join(map(repr, names))} as it was: no finite, non-zero margin "
            "was measured there; to fix: pass rows that reach these modules and differ from their thresholds",
            SoftwoodWarning,
            stacklevel=3,
        )
