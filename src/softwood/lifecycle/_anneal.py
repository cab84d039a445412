"""Cool the soft decisions of a model, as fast as the gap to the discrete model allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_number
from softwood.layers import soft_modules
from softwood.lifecycle._calibrate import as_inputs, measuring


@capability("verb", cost="O(number of soft modules) a step")
class Annealer:
    r"""Cool every soft module of a model, driven by the measured gap; for anyone's training loop.

    The gap is the loss of the relaxed forward pass minus the loss of the hard model, on the same rows, also under
    straight-through training; negative where the soft model is the better one, as it mostly is. Only :math:`|gap|`
    is used. Each ``step(gap)`` does one of three things:

    - **done**: :math:`|gap| \le` ``target_gap``, or the last call already found the model at the floor;
    - **hold**: the last cooling raised :math:`|gap|` by more than ``tolerance``: temperatures stay, so that the
      weights can adapt; at most ``patience`` calls in a row;
    - **cool**: every temperature is multiplied by ``rate`` in place.

    An untrained model has no gap either, so begin to call ``step`` when training has begun to fit. Temperatures
    travel with the model's own ``state_dict``; ``Annealer.state_dict`` holds the rest.

    Args:
        model: any network with soft modules, best calibrated before.
        target_gap: gap at which soft and hard agree well enough, >= 0, in units of the loss.
        rate: factor of one cooling, in (0, 1).
        tolerance: by how much :math:`|gap|` may grow after a cooling without a hold, >= 0, in units of the loss.
        floor: smallest temperature as a share of the one at the start, in (0, 1).
        patience: longest hold, in calls, >= 0.

    Raises:
        InputError: a parameter is out of range, or the model has no soft module.

    Example:
        >>> from softwood.layers import SoftModule
        >>> class Step(SoftModule):
        ...     def margins(self, x): return x
        ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
        ...     def harden(self): return nn.Threshold(0, 0)
        >>> model = Step(temperature=1.0)
        >>> annealer = Annealer(model, rate=0.5)
        >>> annealer.step(gap=-0.2), model.temperature.item()
        (False, 0.5)
        >>> annealer.step(gap=-0.001), model.temperature.item()
        (True, 0.5)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        target_gap: float = 0.005,
        rate: float = 0.7,
        tolerance: float = 0.005,
        floor: float = 1e-3,
        patience: int = 5,
    ) -> None:
        if not dict(soft_modules(model)):
            raise InputError(
                "there is nothing to cool",
                got=f"a {type(model).__name__} without soft modules",
                allowed="a model with at least one SoftModule",
                fix="anneal the soft model, before harden",
            )
        self.model = model
        self.target_gap = check_number("target_gap", target_gap, low=0)
        self.rate = check_number("rate", rate, low=1e-6, high=1 - 1e-9)
        self.tolerance = check_number("tolerance", tolerance, low=0)
        self.floor = check_number("floor", floor, low=1e-9, high=1)
        self.patience = check_number("patience", patience, low=0, integer=True)
        self.scale = 1.0
        """Temperatures now, as a share of those at the start."""
        self._scheduled = False
        self._held = 0
        self._gap_before = math.inf

    @classmethod
    def geometric(cls, model: nn.Module, start: float, end: float, steps: int) -> Annealer:
        r"""Return an annealer that follows a fixed schedule and ignores the gap.

        Temperatures are multiples of those that the model has now, so they keep the units that ``calibrate``
        measured: :math:`\tau_k = \tau \cdot start \cdot (end / start)^{k / (steps - 1)}`. The first step of training
        runs at ``start`` (set here), the last at ``end``; ``step()`` after each says True at the end of the last.

        Args:
            model: any network with soft modules.
            start: first multiple, > ``end``.
            end: last multiple, > 0.
            steps: steps of training, >= 2.

        Raises:
            InputError: a parameter is out of range, or the model has no soft module.

        Example:
            >>> from softwood.layers import SoftModule
            >>> class Step(SoftModule):
            ...     def margins(self, x): return x
            ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
            ...     def harden(self): return nn.Threshold(0, 0)
            >>> model = Step(temperature=4.0)
            >>> annealer = Annealer.geometric(model, start=1.0, end=0.25, steps=3)
            >>> [(model.temperature.item(), annealer.step()) for _ in range(3)]
            [(4.0, False), (2.0, False), (1.0, True)]
        """
        end = check_number("end", end, low=1e-9)
        start = check_number("start", start, low=end * (1 + 1e-9))
        steps = check_number("steps", steps, low=2, integer=True)
        annealer = cls(model, rate=(end / start) ** (1 / (steps - 1)), floor=end / start)
        annealer._multiply(start)
        annealer._scheduled = True
        return annealer

    def step(self, gap: float | Tensor | None = None) -> bool:
        """Cool, hold, or find that cooling is over.

        Args:
            gap: relaxed-forward loss minus hard loss, now. Not needed by a fixed schedule.

        Returns:
            True when done: temperatures will not change any more.

        Raises:
            InputError: ``gap`` is not a finite number.

        Example:
            See the class.
        """
        if self._scheduled:
            return self._cool()
        size = abs(check_number("gap", float(gap.detach()) if isinstance(gap, Tensor) else gap))
        if size <= self.target_gap:
            return True
        if size > self._gap_before + self.tolerance and self._held < self.patience:
            self._held += 1
            return False
        self._held, self._gap_before = 0, size
        return self._cool()

    def _cool(self) -> bool:
        """Cool by one factor; say True where the floor was reached before, so that weights had a step at it."""
        if self.scale <= self.floor:
            return True
        # a relative 1e-9 absorbs the rounding of repeated products: the last one lands on the floor exactly
        scale = self.scale * self.rate
        scale = self.floor if scale <= self.floor * (1 + 1e-9) else scale
        self._multiply(scale / self.scale)
        self.scale = scale
        return False

    def _multiply(self, factor: float) -> None:
        with torch.no_grad():
            for _, module in soft_modules(self.model):
                module.temperature.mul_(factor)

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run needs beside the model's own state; numbers only.

        Example:
            See ``load_state_dict``.
        """
        return {"scale": self.scale, "held": self._held, "gap_before": self._gap_before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another annealer with the same parameters. Temperatures come with the model.

        Args:
            state: what ``state_dict`` returned.

        Raises:
            InputError: it is the state of something else.

        Example:
            >>> from softwood.layers import SoftModule
            >>> class Step(SoftModule):
            ...     def margins(self, x): return x
            ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
            ...     def harden(self): return nn.Threshold(0, 0)
            >>> first, second = Annealer(Step()), Annealer(Step())
            >>> _ = first.step(0.3)
            >>> second.load_state_dict(first.state_dict())
            >>> second.scale
            0.7
        """
        if set(state) != set(self.state_dict()):
            raise InputError(
                "this is not the state of an Annealer",
                got=sorted(state),
                allowed=sorted(self.state_dict()),
                fix="pass what state_dict() returned",
            )
        self.scale, self._held = float(state["scale"]), int(state["held"])
        self._gap_before = float(state["gap_before"])


@capability("verb", cost="one forward pass of each model, without gradients")
def measure_gap(
    model: nn.Module,
    hard: nn.Module,
    inputs: Any,
    target: Any,
    loss: Callable[[Any, Any], Tensor],
) -> float:
    """Return the relaxed-forward loss minus the hard loss on the same rows, as ``Annealer.step`` takes it.

    Args:
        model: the soft model, in a mode in which its forward pass is relaxed (not straight-through).
        hard: the discrete model, such as ``harden(model).model``.
        inputs: the input, or the tuple of positional inputs, of both.
        target: passed to ``loss``.
        loss: ``(output, target)`` -> scalar tensor.

    Returns:
        The gap; negative where the soft model is better.

    Example:
        >>> measure_gap(nn.Identity(), nn.ReLU(), torch.tensor([-1.0, 1.0]), torch.zeros(2), nn.functional.mse_loss)
        0.5
    """
    with measuring(model), measuring(hard):
        arguments = as_inputs(inputs)
        return float(loss(model(*arguments), target)) - float(loss(hard(*arguments), target))
