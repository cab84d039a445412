"""The base of every soft thing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import check_number


class SoftModule(nn.Module, ABC):
    r"""A module that holds a soft decision and can become discrete.

    As ``temperature`` :math:`\tau \to 0` its output tends to that of ``harden()`` (almost everywhere).

    Args:
        temperature: initial :math:`\tau > 0`, kept as a 0-dimensional float32 buffer, so that it travels with
            ``state_dict`` and ``.to()``, and changing it recompiles nothing.

    Raises:
        InputError: ``temperature`` is not a number > 0.

    Example:
        >>> import torch
        >>> class Step(SoftModule):
        ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
        ...     def margins(self, x): return x
        ...     def harden(self): return torch.nn.Threshold(0, 0)
        >>> Step(0.5).temperature.item()
        0.5
    """

    temperature: Tensor

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        value = check_number("temperature", temperature, low=1e-12)
        self.register_buffer("temperature", torch.tensor(value, dtype=torch.float32))

    @abstractmethod
    def harden(self) -> nn.Module:
        """Return the discrete module by plain rounding (argmax of each choice, side of each threshold)."""

    @abstractmethod
    def margins(self, *inputs: Any) -> Tensor:
        """Return the signed distances that ``temperature`` divides, for these inputs, in any shape.

        ``calibrate`` measures their scale, so that softness is given in units that do not change with the data.
        """


def soft_modules(model: nn.Module) -> Iterator[tuple[str, SoftModule]]:
    """Yield ``(name, module)`` for each soft module in a model, outermost first.

    Args:
        model: any network.

    Example:
        >>> list(soft_modules(nn.Linear(2, 2)))
        []
    """
    for name, module in model.named_modules():
        if isinstance(module, SoftModule):
            yield name, module
