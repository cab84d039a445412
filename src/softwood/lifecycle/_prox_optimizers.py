"""Optimizers that take the loss by its gradient and the penalty exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from softwood.core import InputError, capability, check_choice, check_number
from softwood.lifecycle._prox import prox_group, prox_l0, prox_l1

Prox = Callable[[Tensor, Any], Tensor]
_PENALTIES: dict[str, Prox] = {"l1": prox_l1, "group": prox_group, "l0": prox_l0}


class _Proximal(Optimizer):
    """What both have in common: groups of parameters, a step each, and the penalty after it."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        for group in self.param_groups:
            check_number("lr", group["lr"], low=0)
            check_number("strength", group["strength"], low=0)
            if not callable(group["penalty"]):
                check_choice("penalty", group["penalty"], _PENALTIES)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure`` computes the loss with its gradients again, without the penalty."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            penalty = group["penalty"]
            prox = penalty if callable(penalty) else _PENALTIES[penalty]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise InputError("a gradient is sparse", got="a sparse tensor", allowed="dense gradients",
                                     fix="use sparse=False in the embedding")  # fmt: skip
                reach = self._move(parameter, self.state[parameter], group)
                if group["strength"] > 0:
                    parameter.copy_(prox(parameter, reach * group["strength"]))
        return loss

    def _move(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> float | Tensor:
        """Move along the gradient, and return the step size: a number, or one for each entry."""
        raise AssertionError("each optimizer has its own")


@capability("verb", papers=("nonsmooth-gd",), cost="O(n) a step; with momentum n numbers of memory")
class ProxSGD(_Proximal):
    r"""Stochastic proximal gradient descent: weights become exactly zero.

    .. math:: w \leftarrow \operatorname{prox}_{\eta \lambda R}\bigl(w - \eta\, m\bigr), \qquad
              m \leftarrow \mu m + \nabla L(w)

    A penalty that is added to the loss instead circles zero at a distance of :math:`\eta \lambda`: no weight is ever
    zero, and a larger penalty can give a larger norm.

    Args:
        params: parameters, or groups of them with options of their own, such as ``strength=0`` for biases.
        lr: step size :math:`\eta`.
        momentum: :math:`\mu` in [0, 1).
        penalty: R: ``"l1"``, ``"group"`` (rows of a weight), ``"l0"``, or a function from (x, threshold) to its
            proximal point.
        strength: :math:`\lambda`.

    Raises:
        InputError: an unknown penalty or a number out of range.

    Example:
        >>> w = torch.tensor([2.0, 0.1], requires_grad=True)
        >>> optimizer = ProxSGD([w], lr=0.1, strength=0.5)
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     ((w - torch.tensor([2.0, 0.1])) ** 2).sum().div(2).backward()
        ...     _ = optimizer.step()
        >>> [round(v, 4) for v in w.tolist()]
        [1.5, 0.0]

    Limit: ``strength=0`` is SGD.

    Source: Kumar, "GD doesn't make the cut: Three ways that non-differentiability affects neural network training",
    2023; Duchi and Singer, "Efficient Online and Batch Learning Using Forward Backward Splitting", 2009.
    """

    def __init__(
        self, params: Any, lr: float, *, momentum: float = 0.0, penalty: str | Prox = "l1", strength: float = 0.0
    ) -> None:
        check_number("momentum", momentum, low=0, high=1 - 1e-9)
        super().__init__(params, {"lr": lr, "momentum": momentum, "penalty": penalty, "strength": strength})

    def _move(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> float | Tensor:
        direction = parameter.grad
        assert direction is not None
        if group["momentum"]:
            state["momentum"] = group["momentum"] * state.get("momentum", torch.zeros_like(parameter)) + direction
            direction = state["momentum"]
        parameter.sub_(direction, alpha=group["lr"])
        return float(group["lr"])


@capability("verb", papers=("nonsmooth-gd",), cost="O(n) a step; 2n numbers of memory")
class ProxAdam(_Proximal):
    r"""Adam with a proximal step in its own diagonal metric.

    .. math:: d = \frac{\eta}{\sqrt{\hat v} + \epsilon}, \qquad
              w \leftarrow \arg\min_u \tfrac12 \sum_i \frac{(u_i - w_i + d_i \hat m_i)^2}{d_i} + \lambda R(u)

    Thresholds are :math:`\lambda d_i`, one for each weight: with a common one, the penalty of rarely moved weights
    would be another than that which was asked for. Where gradients vanish, d and with it the threshold is large.

    Args:
        params: parameters, or groups of them with options of their own, such as ``strength=0`` for biases.
        lr: step size :math:`\eta`.
        betas: decay of the means of the gradient and of its square.
        eps: :math:`\epsilon`.
        penalty: as in ``ProxSGD``.
        strength: :math:`\lambda`.

    Raises:
        InputError: an unknown penalty or a number out of range.

    Example:
        >>> w = torch.tensor([2.0, 0.1], requires_grad=True)
        >>> optimizer = ProxAdam([w], lr=0.05, strength=0.5)
        >>> for _ in range(300):
        ...     optimizer.zero_grad()
        ...     ((w - torch.tensor([2.0, 0.1])) ** 2).sum().div(2).backward()
        ...     _ = optimizer.step()
        >>> [round(v, 1) for v in w.tolist()]
        [1.5, 0.0]

    Limit: ``strength=0`` is Adam.

    Source: Yun, Lozano and Yang, "Adaptive Proximal Gradient Methods for Structured Neural Networks", 2021; Kumar,
    "GD doesn't make the cut", 2023.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        penalty: str | Prox = "l1",
        strength: float = 0.0,
    ) -> None:
        for beta in betas:
            check_number("betas", beta, low=0, high=1 - 1e-9)
        check_number("eps", eps, low=1e-300)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "penalty": penalty, "strength": strength})

    def _move(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> float | Tensor:
        slope = parameter.grad
        assert slope is not None
        if not state:
            state.update(steps=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        first, second = group["betas"]
        state["steps"] += 1
        state["mean"].lerp_(slope, 1 - first)
        state["square"].mul_(second).addcmul_(slope, slope, value=1 - second)
        root = (state["square"] / (1 - second ** state["steps"])).sqrt_()
        reach = group["lr"] / (root + group["eps"])
        parameter.sub_(reach * state["mean"] / (1 - first ** state["steps"]))
        return reach
