"""Smooth activations: piecewise-linear functions convolved with a kernel whose width is the temperature."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_choice
from softwood.layers._hard import PiecewiseLinear, split_pieces
from softwood.layers._soft_module import SoftModule


def _gaussian(z: Tensor) -> Tensor:
    return 0.5 * z * (1 + torch.erf(z / math.sqrt(2))) + torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _laplace(z: Tensor) -> Tensor:
    # |z| has no derivative at 0, where both branches meet smoothly
    return torch.where(z > 0, z + 0.5 * torch.exp(-z.clamp(min=0)), 0.5 * torch.exp(z.clamp(max=0)))


def _logistic(z: Tensor) -> Tensor:
    return -nn.functional.logsigmoid(-z)  # softplus is cut off at 20


def _uniform(z: Tensor) -> Tensor:
    return torch.where(z >= 1, z, 0.25 * (z.clamp(-1, 1) + 1) ** 2)


KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "gaussian": (_gaussian, 1 / math.sqrt(2 * math.pi)),
    "laplace": (_laplace, 0.5),
    "logistic": (_logistic, math.log(2)),
    "uniform": (_uniform, 0.25),
}
"""The smoothed ramp max(z, 0), and its value at 0: how far it is above the ramp there, and nowhere more."""


@capability(
    "soft module",
    papers=("sau",),
    hardens_to="PiecewiseLinear",
    cost="O(n m) time and memory, m knots",
    example=lambda: SmoothActivation([-1.0, 0.5], [0.2, 1.0, -0.3], temperature=0.1),
)
class SmoothActivation(SoftModule):
    r"""A piecewise-linear function, smoothed by convolution: :math:`f * k_\tau`.

    With knots t and slopes s, :math:`f(x) = f(t_1) + s_0 (x - t_1) + \sum_j (s_j - s_{j-1}) (x - t_j)_+`, and each
    ramp becomes :math:`\tau\, r((x - t_j) / \tau)`, with r the ramp convolved with the kernel of unit width. Smooth at
    every knot, and no further from f anywhere than ``sup_error()``.

    Args:
        knots: ``[m]``, ascending, at least one.
        slopes: ``[m + 1]``, of the pieces from left to right.
        start: f at the first knot.
        kernel: ``"gaussian"`` (standard deviation :math:`\tau`), ``"laplace"`` or ``"logistic"`` (scale :math:`\tau`),
            ``"uniform"`` (from :math:`-\tau` to :math:`\tau`).
        temperature: :math:`\tau > 0`, the width of the kernel in units of x.
        hard: what ``harden`` returns a copy of; ``PiecewiseLinear`` by default.

    Raises:
        InputError: knots do not ascend, or there is not one slope more than knots.

    Limit: as :math:`\tau \to 0`, the piecewise-linear function.

    Example:
        >>> smooth_relu = SmoothActivation([0.0], [0.0, 1.0], temperature=0.1)
        >>> smooth_relu(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=4)
        tensor([0.0000, 0.0399, 1.0000])

    Cost: O(n m) time and memory, m knots.

    Source: Biswas et al. 2022 (SAU).
    """

    knots: Tensor
    slopes: Tensor
    start: Tensor

    def __init__(
        self,
        knots: Sequence[float],
        slopes: Sequence[float],
        start: float = 0.0,
        *,
        kernel: str = "gaussian",
        temperature: float = 0.1,
        hard: nn.Module | None = None,
    ) -> None:
        super().__init__(temperature)
        if len(slopes) != len(knots) + 1 or not knots or list(knots) != sorted(knots):
            raise InputError("knots and slopes do not fit", got=(list(knots), list(slopes)),
                             allowed="m >= 1 ascending knots, m + 1 slopes", fix="give each piece a slope")  # fmt: skip
        self.kernel = check_choice("kernel", kernel, KERNELS)
        self.register_buffer("knots", torch.tensor(list(knots), dtype=torch.float32))
        self.register_buffer("slopes", torch.tensor(list(slopes), dtype=torch.float32))
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self._hard = (hard,)  # in a tuple, so that it is no submodule

    def forward(self, x: Tensor) -> Tensor:
        """Return the smoothed value of each entry, in the type of x."""
        fine = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        knots, slopes = self.knots.to(fine.dtype), self.slopes.to(fine.dtype)
        width = self.temperature.to(fine.dtype)
        ramp = KERNELS[self.kernel][0]
        # further from all knots the smoothed ramps are the ramps, to the last bit
        inner, outside = split_pieces(fine, knots[0] - 40 * width, knots[-1] + 40 * width, slopes)
        ramps = width * ramp((inner.unsqueeze(-1) - knots) / width)
        y = self.start.to(fine.dtype) + slopes[0] * (inner - knots[0]) + (ramps * slopes.diff()).sum(-1)
        return (y + outside).to(x.dtype)

    def margins(self, x: Tensor) -> Tensor:
        """Return the distance of each entry from its nearest knot."""
        distance = x.unsqueeze(-1) - self.knots.to(x.dtype)
        nearest = distance.abs().argmin(-1, keepdim=True)
        return distance.gather(-1, nearest).squeeze(-1)

    def harden(self) -> nn.Module:
        """Return the activation that was smoothed."""
        if self._hard[0] is not None:
            return copy.deepcopy(self._hard[0])
        return PiecewiseLinear(self.knots, self.slopes, float(self.start))

    def sup_error(self) -> float:
        r"""Return :math:`\tau\, r(0) \sum_j |s_j - s_{j-1}|`, which no distance from the hard function exceeds.

        With one knot it is reached there.
        """
        return float(self.temperature * self.slopes.diff().abs().sum()) * KERNELS[self.kernel][1]


@capability(
    "soft module",
    papers=("sau",),
    hardens_to="LeakyReLU",
    cost="O(n) time and memory",
    example=lambda: SAU(temperature=0.1, learn_width=True),
)
class SAU(SoftModule):
    r"""The smooth activation unit: leaky ReLU convolved with a Gaussian, with a slope that is learned.

    .. math:: \tfrac{1 + a}{2} x + \tfrac{1 - a}{2} \Big(x \operatorname{erf}\tfrac{x}{\sqrt2 \tau}
              + \tau \sqrt{\tfrac2\pi}\, e^{-x^2 / 2 \tau^2}\Big)

    Args:
        slope: a, the slope of the negative side at the start.
        temperature: :math:`\tau > 0`, the standard deviation in units of x; the paper's 1 / n.
        learn_width: multiply :math:`\tau` by a factor that is learned (the exponential of a parameter, 1 at the
            start).

    Raises:
        InputError: a parameter is out of range.

    Limit: as :math:`\tau \to 0`, leaky ReLU; ``sup_error()`` is how far it is from that, reached at 0.

    Example:
        >>> sau = SAU(0.25, temperature=0.1)
        >>> sau.harden(), round(sau.sup_error(), 6)
        (LeakyReLU(negative_slope=0.25), 0.029921)

    Cost: O(n) time and memory.

    Source: Biswas et al. 2022 (SAU).
    """

    def __init__(self, slope: float = 0.15, *, temperature: float = 0.1, learn_width: bool = False) -> None:
        super().__init__(temperature)
        self.slope = nn.Parameter(torch.tensor(float(slope)))
        self.log_width = nn.Parameter(torch.zeros(())) if learn_width else None

    def _width(self, dtype: torch.dtype) -> Tensor:
        width = self.temperature.to(dtype)
        return width if self.log_width is None else width * self.log_width.to(dtype).exp()

    def forward(self, x: Tensor) -> Tensor:
        """Return the smoothed value of each entry, in the type of x."""
        fine = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        slope, width = self.slope.to(fine.dtype), self._width(fine.dtype)
        return (slope * fine + (1 - slope) * width * _gaussian(fine / width)).to(x.dtype)

    def margins(self, x: Tensor) -> Tensor:
        """Return the distance of each entry from the kink at 0."""
        return x

    def harden(self) -> nn.Module:
        """Return the leaky ReLU with the slope now."""
        return nn.LeakyReLU(float(self.slope.detach()))

    def sup_error(self) -> float:
        r"""Return :math:`|1 - a|\, \tau / \sqrt{2 \pi}`: the distance from the leaky ReLU at 0, nowhere exceeded."""
        error = (1 - self.slope.double()).abs() * self._width(torch.float64)
        return float(error.detach()) / math.sqrt(2 * math.pi)


def _pieces(module: nn.Module) -> tuple[list[float], list[float], float] | None:
    """Return knots, slopes and first value of an activation of torch, or None."""
    if isinstance(module, nn.ReLU6):  # a Hardtanh, so it comes first
        return [0.0, 6.0], [0.0, 1.0, 0.0], 0.0
    if isinstance(module, nn.Hardtanh):
        return [module.min_val, module.max_val], [0.0, 1.0, 0.0], module.min_val
    if isinstance(module, nn.ReLU):
        return [0.0], [0.0, 1.0], 0.0
    if isinstance(module, nn.LeakyReLU):
        return [0.0], [module.negative_slope, 1.0], 0.0
    if isinstance(module, nn.Hardsigmoid):
        return [-3.0, 3.0], [0.0, 1 / 6, 0.0], 0.0
    if isinstance(module, PiecewiseLinear):
        return module.knots.tolist(), module.slopes.tolist(), float(module.start)
    return None


def smooth(module: nn.Module, *, kernel: str = "gaussian", temperature: float = 0.1) -> SmoothActivation:
    """Return the smooth version of a piecewise-linear activation; ``harden()`` gives the activation back.

    Args:
        module: ReLU, LeakyReLU, ReLU6, Hardtanh, Hardsigmoid, or a ``PiecewiseLinear`` of any knots and slopes.
        kernel: as in ``SmoothActivation``.
        temperature: width of the kernel, in units of x.

    Raises:
        InputError: it is another module.

    Example:
        >>> smooth(nn.ReLU6(), temperature=0.01).harden()
        ReLU6()
    """
    found = _pieces(module)
    if found is None:
        raise InputError("this is no piecewise-linear activation that we know", got=type(module).__name__,
                         allowed="ReLU, LeakyReLU, ReLU6, Hardtanh, Hardsigmoid, PiecewiseLinear",
                         fix="describe it: smooth(PiecewiseLinear(knots, slopes, start))")  # fmt: skip
    return SmoothActivation(*found, kernel=kernel, temperature=temperature, hard=module)


def smooth_activation_(model: nn.Module, *, kernel: str = "gaussian", temperature: float = 0.1) -> nn.Module:
    """Smooth every piecewise-linear activation inside a model, in place, and return the model.

    ``sw.calibrate`` sets the widths in units of what reaches them; ``sw.harden`` puts the activations back.

    Args:
        model: any network; an activation that is used in several places stays one module.
        kernel: as in ``SmoothActivation``.
        temperature: width of the kernel, in units of x.

    Raises:
        InputError: a parameter is out of range or unknown.

    Example:
        >>> smooth_activation_(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))[1].kernel
        'gaussian'
    """
    made: dict[nn.Module, nn.Module] = {}
    if _pieces(model) is not None:
        return smooth(model, kernel=kernel, temperature=temperature)
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # named_children would leave out a repeated one
            if child is not None and _pieces(child) is not None and not isinstance(parent, SoftModule):
                if child not in made:
                    made[child] = smooth(child, kernel=kernel, temperature=temperature)
                setattr(parent, name, made[child])
    return model
