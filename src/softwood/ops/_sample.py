"""Relaxed samples of independent choices: yes or no, one of n, a gate that can be exactly closed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._protocol import gumbel_like
from softwood.ops._axes import exact_forward, full_precision, mask_last, move_back, move_last, temperature_last
from softwood.ops._simplex import softmax_last
from softwood.ops._structured import working


def standard_noise(x: Tensor, noise: Tensor | None, generator: torch.Generator | None, kind: str) -> Tensor:
    """Return noise in the shape of x: the one given, or standard Gumbel or logistic noise.

    Args:
        x: in the dtype in which we compute; noise is never drawn in less.
        noise: what the user gave, or None.
        generator: of the draw.
        kind: ``"gumbel"`` or ``"logistic"``.

    Raises:
        InputError: the noise given does not fit x.
    """
    if noise is None:
        drawn = gumbel_like(x, generator)
        return drawn if kind == "gumbel" else drawn - gumbel_like(x, generator)
    fits = noise.ndim <= x.ndim and all(
        size in (1, whole) for size, whole in zip(noise.shape[::-1], x.shape[::-1], strict=False)
    )
    if not fits:
        raise InputError("noise does not fit", got=tuple(noise.shape), allowed=f"broadcasting to {tuple(x.shape)}",
                         fix=f"give one draw of standard {kind} noise for each entry")  # fmt: skip
    return noise.to(x.dtype).expand(x.shape)


@capability(
    "operation",
    papers=("gumbel-softmax",),
    cost="O(n) time and memory",
    example=lambda: (torch.randn(3, 5),),
)
@full_precision
def gumbel_softmax(
    logits: Tensor,
    dim: int = -1,
    *,
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return a relaxed sample of a categorical variable: the ``torch.nn.functional.gumbel_softmax`` that is safe.

    .. math:: y = \operatorname{softmax}((\ell + g) / \tau), \qquad g_i = -\log e_i, \quad e_i \sim \mathrm{Exp}(1) .

    The largest entry is a sample of ``softmax(logits)``, at any temperature. Noise is drawn from exponentials kept off
    zero, in float32 at least, so that no entry is ever infinite.

    Args:
        logits: ``[..., n, ...]``; -inf is absent; NaN or +inf makes the row NaN.
        dim: the axis.
        temperature: :math:`\tau > 0` in units of the logits, a number, or a tensor of size 1 along the axis.
        hard: one-hot forward, the gradient of y backward.
        mask: bool, True where an entry is present.
        noise: standard Gumbel noise in the shape of the logits, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, the one-hot of the largest of ``logits + noise``.

    Example:
        >>> y = gumbel_softmax(torch.zeros(2, 3), hard=True, generator=torch.Generator().manual_seed(0))
        >>> y.sum(-1)
        tensor([1., 1.])

    Cost: O(n) time and memory.

    Source: Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017.
    """
    z, present = move_last(logits, dim), mask_last(mask, logits, dim)
    drawn = standard_noise(working(logits), noise, generator, "gumbel")
    z = z + drawn.movedim(dim, -1)
    z = z if present is None else z.masked_fill(~present, -math.inf)
    soft = softmax_last(z / temperature_last(temperature, z))
    if hard and z.shape[-1]:
        best = torch.zeros_like(soft).scatter(-1, z.argmax(-1, keepdim=True), 1.0)
        some = (soft > 0).any(-1, keepdim=True)
        soft = exact_forward(best * some, soft)
    return move_back(soft, dim, logits.dtype)


@capability(
    "operation",
    papers=("gumbel-softmax",),
    cost="O(n) time and memory",
    example=lambda: (torch.randn(3, 4).softmax(-1), torch.randn(3, 4)),
)
@full_precision
def concrete_log_prob(value: Tensor, logits: Tensor, dim: int = -1, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Return the log-density of a relaxed sample, as ``gumbel_softmax`` draws it.

    .. math:: \log (n-1)! + (n-1) \log \tau + \sum_i \big(\ell_i - (\tau + 1) \log y_i\big)
              - n \log \sum_i e^{\ell_i - \tau \log y_i} .

    Args:
        value: y ``[..., n, ...]``, inside the simplex.
        logits: of the same shape.
        dim: the axis.
        temperature: :math:`\tau > 0` of the draw.

    Returns:
        The log-density by Lebesgue measure on the first n - 1 coordinates, without the axis.

    Raises:
        InputError: an argument does not fit.

    Limit: none: as :math:`\tau \to 0` the density ends on the corners, where it is not finite.

    Example:
        >>> concrete_log_prob(torch.tensor([0.5, 0.5]), torch.zeros(2)).exp()
        tensor(1.)

    Cost: O(n) time and memory.

    Source: Maddison, Mnih and Teh 2017.
    """
    ell, y = move_last(logits, dim), move_last(value, dim)
    n = ell.shape[-1]
    tau = temperature_last(temperature, ell)
    log_tau = (
        tau.log().squeeze(-1) if isinstance(tau, Tensor) and tau.ndim else torch.as_tensor(tau, dtype=ell.dtype).log()
    )
    log_y = y.clamp_min(torch.finfo(y.dtype).tiny).log()
    terms = (ell - (tau + 1) * log_y).sum(-1) - n * torch.logsumexp(ell - tau * log_y, -1)
    return math.lgamma(max(n, 1)) + (n - 1) * log_tau + terms


@capability(
    "operation",
    papers=("gumbel-softmax",),
    cost="O(n) time and memory",
    example=lambda: (torch.randn(3, 5),),
)
@full_precision
def sample_bernoulli(
    logits: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return relaxed samples of yes or no: :math:`y = \sigma((\ell + L) / \tau)` with logistic noise L.

    y is above 1/2 with probability :math:`\sigma(\ell)`, at any temperature.

    Args:
        logits: any shape of one axis or more.
        temperature: :math:`\tau > 0` in units of the logits, a number, or a tensor of size 1 along the last axis.
        hard: 0 or 1 forward, the gradient of y backward.
        mask: bool, True where an entry is present; the others are 0.
        noise: standard logistic noise in the shape of the logits, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 where ``logits + noise`` is positive and 0 elsewhere.

    Example:
        >>> sample_bernoulli(torch.tensor([-50.0, 50.0]), hard=True)
        tensor([0., 1.])

    Cost: O(n) time and memory.

    Source: Maddison, Mnih and Teh 2017.
    """
    z, present = move_last(logits, -1), mask_last(mask, logits, -1)
    z = z + standard_noise(z, noise, generator, "logistic")
    soft = torch.sigmoid(z / temperature_last(temperature, z))
    if hard:
        soft = exact_forward(z > 0, soft)
    soft = soft if present is None else soft.masked_fill(~present, 0.0)
    return soft.to(logits.dtype)


def _stretch(low: float, high: float) -> tuple[float, float]:
    return check_number("low", low, high=-1e-6), check_number("high", high, low=1 + 1e-6)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5),))
@full_precision
def hard_concrete(
    logits: Tensor,
    *,
    temperature: float | Tensor = 2 / 3,
    low: float = -0.1,
    high: float = 1.1,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return gates in [0, 1] that are exactly 0 or 1 with positive probability.

    :math:`z = \operatorname{clamp}(\sigma((\ell + L) / \tau)\,(b - a) + a,\ 0, 1)` with logistic noise L and
    :math:`a < 0,\ b > 1`. ``hard_concrete_probability`` is the probability that a gate is not 0.

    Args:
        logits: any shape of one axis or more.
        temperature: :math:`\tau > 0` in units of the logits, a number, or a tensor of size 1 along the last axis.
        low: a < 0.
        high: b > 1.
        hard: 0 or 1 forward (at 1/2), the gradient of z backward.
        mask: bool, True where a gate is present; the others are 0.
        noise: standard logistic noise in the shape of the logits; zeros give the gate of the median draw.
        generator: source of the draw where no noise is given.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 where ``logits + noise`` is positive and 0 elsewhere.

    Example:
        >>> hard_concrete(torch.tensor([-4.0, 0.0, 4.0]), noise=torch.zeros(3))
        tensor([0.0000, 0.5000, 1.0000])

    Cost: O(n) time and memory.

    Source: Louizos, Welling and Kingma 2018.
    """
    low, high = _stretch(low, high)
    soft = sample_bernoulli(logits, temperature=temperature, noise=noise, generator=generator)
    wide = move_last(soft, -1) * (high - low) + low
    gate = wide.clamp(0.0, 1.0)
    if hard:
        gate = exact_forward(wide > 0.5, gate)
    present = mask_last(mask, logits, -1)
    gate = gate if present is None else gate.masked_fill(~present, 0.0)
    return gate.to(logits.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5),))
@full_precision
def hard_concrete_probability(
    logits: Tensor, *, temperature: float | Tensor = 2 / 3, low: float = -0.1, high: float = 1.1
) -> Tensor:
    r"""Return the probability that a gate of ``hard_concrete`` is not exactly 0; their sum is the expected L0 norm.

    :math:`\sigma(\ell - \tau \log(-a / b))`.

    Args:
        logits: as in ``hard_concrete``.
        temperature: as there.
        low: as there.
        high: as there.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, :math:`\sigma(\ell)`.

    Example:
        >>> hard_concrete_probability(torch.tensor([0.0]))
        tensor([0.8318])

    Cost: O(n) time and memory.

    Source: Louizos, Welling and Kingma 2018.
    """
    low, high = _stretch(low, high)
    z = move_last(logits, -1)
    return torch.sigmoid(z - temperature_last(temperature, z) * math.log(-low / high)).to(logits.dtype)
