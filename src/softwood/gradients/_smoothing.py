"""Functions smoothed by convolution with a Gaussian: in closed form where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._perturbed import Perturbed
from softwood.gradients._protocol import FunctionEstimator

Fn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PiecewiseLinear:
    r"""An element-wise function of finitely many straight pieces.

    .. math:: f(x) = a + b x + \sum_i \bigl( j_i\, [x > t_i] + k_i \max(x - t_i, 0) \bigr)

    Args:
        knots: :math:`t_i`.
        jumps: :math:`j_i`, by how much the value jumps at each knot.
        kinks: :math:`k_i`, by how much the slope changes there.
        offset: a.
        slope: b.

    Raises:
        InputError: knots, jumps and kinks differ in number.

    Example:
        >>> leaky = PiecewiseLinear((0.0,), (0.0,), (0.9,), slope=0.1)
        >>> leaky(torch.tensor([-10.0, 10.0])).tolist()
        [-1.0, 10.0]
    """

    knots: tuple[float, ...]
    jumps: tuple[float, ...]
    kinks: tuple[float, ...]
    offset: float = 0.0
    slope: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.knots) == len(self.jumps) == len(self.kinks):
            raise InputError(
                "the pieces do not fit together", got=f"{len(self.knots)} knots, {len(self.jumps)} jumps, "
                f"{len(self.kinks)} kinks", allowed="as many of each", fix="give 0.0 where there is no jump or kink",
            )  # fmt: skip

    def __call__(self, x: Tensor) -> Tensor:
        """Return f at each entry; at a jump the value to its left."""
        total = self.offset + self.slope * x
        for knot, jump, kink in zip(self.knots, self.jumps, self.kinks, strict=True):
            total = total + jump * (x > knot).to(x.dtype) + kink * torch.relu(x - knot)
        return total

    def smoothed(self, x: Tensor, sigma: float) -> Tensor:
        r"""Return the convolution with a Gaussian of standard deviation ``sigma``, differentiable to any order."""
        total = self.offset + self.slope * x
        for knot, jump, kink in zip(self.knots, self.jumps, self.kinks, strict=True):
            z = (x - knot) / sigma
            above = torch.special.ndtr(z)
            total = total + jump * above
            if kink:
                density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
                total = total + kink * sigma * (z * above + density)
        return total


# sign is 0 at 0, which no mean over noise can see
_KNOWN: dict[Callable[..., Tensor], PiecewiseLinear] = {
    torch.relu: PiecewiseLinear((0.0,), (0.0,), (1.0,)),
    torch.nn.functional.relu: PiecewiseLinear((0.0,), (0.0,), (1.0,)),
    torch.nn.functional.relu6: PiecewiseLinear((0.0, 6.0), (0.0, 0.0), (1.0, -1.0)),
    torch.nn.functional.hardtanh: PiecewiseLinear((-1.0, 1.0), (0.0, 0.0), (1.0, -1.0), offset=-1.0),
    torch.nn.functional.hardsigmoid: PiecewiseLinear((-3.0, 3.0), (0.0, 0.0), (1 / 6, -1 / 6)),
    torch.abs: PiecewiseLinear((0.0,), (0.0,), (2.0,), slope=-1.0),
    torch.sign: PiecewiseLinear((0.0,), (2.0,), (0.0,), offset=-1.0),
}


@capability("estimator", cost="closed form: O(n pieces); Monte Carlo: n_samples calls")
@dataclass(frozen=True)
class Smoothing(FunctionEstimator):
    r"""The convolution of a function with a Gaussian, with its exact gradient where there is a closed form.

    .. math:: f_\sigma(x) = \mathbb{E}\, f(x + \sigma z), \qquad z \sim N(0, 1)

    A ``PiecewiseLinear`` and torch's relu, relu6, hardtanh, hardsigmoid, abs and sign are smoothed element by element
    in closed form, without noise; anything else as ``Perturbed`` does it, with antithetic samples. Where f is smooth
    already the bias is :math:`O(\sigma^2)`.

    Args:
        sigma: :math:`\sigma > 0`, in units of the argument.
        n_samples: for Monte Carlo; even.
        dims: axes of one instance, for Monte Carlo.

    Raises:
        InputError: a number out of range, an odd number of samples.

    Example:
        >>> x = torch.zeros(1, requires_grad=True)
        >>> y = Smoothing(1.0).wrap(torch.sign)(x)
        >>> round(torch.autograd.grad(y, x)[0].item(), 4)  # twice the Gaussian density at 0
        0.7979

    Limit: :math:`\sigma \to 0` gives f; at a jump, its middle.

    Cost: O(n) for each piece in closed form, ``n_samples`` calls otherwise.

    Source: Ermoliev, Norkin and Wets, "The Minimization of Semicontinuous Functions: Mollifier Subgradients", 1995.
    """

    sigma: float = 0.1
    n_samples: int = 16
    dims: int = 1

    def __post_init__(self) -> None:
        self._sampled()

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the smoothed function; see ``FunctionEstimator.wrap``."""
        pieces = fn if isinstance(fn, PiecewiseLinear) else _KNOWN.get(fn)
        if pieces is None:
            return self._sampled().wrap(fn, generator=generator)

        def smoothed(x: Tensor) -> Tensor:
            return pieces.smoothed(x, self.sigma)

        return smoothed

    def _sampled(self) -> Perturbed:
        return Perturbed(self.sigma, self.n_samples, sampling="antithetic", dims=self.dims)


@capability("estimator", papers=("gradient-chaos",), cost="n_samples calls with their gradient")
@dataclass(frozen=True)
class InverseVarianceMix(FunctionEstimator):
    r"""Back-propagation and evolution strategies on the same noise, weighted by their inverse variances.

    .. math:: \hat g = \frac{v_e\, \hat g_b + v_b\, \hat g_e}{v_b + v_e}, \qquad
              \hat g_b = \tfrac{1}{S} \sum_s \nabla f(x + \sigma z_s), \quad
              \hat g_e = \tfrac{1}{S} \sum_s f(x + \sigma z_s) \tfrac{z_s}{\sigma}

    Both estimate the gradient of the smoothed function where f is differentiable. Through a long unroll of a chaotic
    system the variance of the first explodes, and the second takes over; where f is tame, the first does. A gradient
    that is not finite gets no weight. The weights come from the same samples, which biases by O(1/S).

    Args:
        sigma: :math:`\sigma > 0`, in units of the argument.
        n_samples: S >= 2.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: a number out of range; f does not give one number for each instance.

    Example:
        >>> x = torch.tensor([1.0], requires_grad=True)
        >>> y = InverseVarianceMix(0.01, 100).wrap(lambda x: x.square().sum(-1))(x)
        >>> round(torch.autograd.grad(y, x)[0].item(), 1)
        2.0

    Limit: :math:`\sigma \to 0` is back-propagation.

    Cost: S calls with their gradient.

    Source: Metz, Freeman, Schoenholz and Kachman, "Gradients are Not All You Need", 2021; Parmas, Rasmussen, Peters and
    Doya, "PIPPS", 2018.
    """

    sigma: float = 0.1
    n_samples: int = 16
    dims: int = 1

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, low=1e-12)
        check_number("n_samples", self.n_samples, low=2, integer=True)
        check_number("dims", self.dims, low=0, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the smoothed function; see ``FunctionEstimator.wrap``. ``fn`` gives one number an instance."""
        perturbed = Perturbed(self.sigma, self.n_samples, dims=self.dims)

        def smoothed(x: Tensor) -> Tensor:
            leaf: Tensor | None = None

            def watched(at: Tensor) -> Tensor:
                nonlocal leaf
                leaf = at.detach().requires_grad_(torch.is_grad_enabled())
                return fn(leaf)

            answers, _, score = perturbed.answers(watched, x, generator)
            lead = x.shape[: x.ndim - self.dims]
            if answers.shape[1:] != lead:
                raise InputError("the function does not give one number for each instance",
                                 got=str(tuple(answers.shape[1:])), allowed=str(tuple(lead)),
                                 fix="sum its outputs, or take Perturbed()")  # fmt: skip
            value = answers.mean(0)
            if leaf is None or not (torch.is_grad_enabled() and x.requires_grad):
                return value
            (by_path,) = torch.autograd.grad(answers.sum(), leaf, retain_graph=True)
            found = answers.detach()
            excess = (found - found.mean(0)) * (self.n_samples / (self.n_samples - 1))
            by_score = excess.reshape(*excess.shape, *[1] * self.dims) * score / self.sigma
            flat = [part.reshape(*found.shape, -1) for part in (by_path, by_score)]
            mixed, _ = inverse_variance_mix(*flat)
            along = (mixed.detach() * (x - x.detach()).reshape(*lead, -1)).sum(-1)
            # the path through fn's argument ends at the leaf; what else fn holds keeps its gradient
            return value + along.to(value.dtype)

        return smoothed


@capability("estimator", papers=("gradient-chaos",), cost="O(S n) time and memory")
def inverse_variance_mix(*estimates: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the mean of several estimators, weighted by the inverse variances of their means.

    .. math:: \hat g = \sum_e w_e \bar g_e, \qquad w_e \propto \frac{1}{\operatorname{tr}\operatorname{Var}(\bar g_e)}

    Args:
        estimates: for each estimator its samples ``[S_e, ..., n]``, S_e >= 2; one weight for all n entries, others for
            each of the axes between. An estimator with a sample that is not finite gets no weight.

    Returns:
        The mix ``[..., n]`` and the weights ``[estimators, ...]``; zeros where no estimator was finite.

    Raises:
        InputError: fewer than two samples of an estimator.

    Example:
        >>> noisy, exact = torch.tensor([[0.0], [9.0]]), torch.tensor([[1.0], [1.0]])
        >>> mix, weights = inverse_variance_mix(noisy, exact)
        >>> mix.item(), weights.tolist()
        (1.0, [0.0, 1.0])

    Limit: there is no temperature.

    Cost: O(S n) time and memory.

    Source: Parmas, Rasmussen, Peters and Doya, "PIPPS", 2018.
    """
    if not estimates or min(len(part) for part in estimates) < 2:
        raise InputError("a variance needs samples", got=str([len(part) for part in estimates]),
                         allowed="2 or more of each estimator", fix="draw more")  # fmt: skip
    # double: squares of exploding gradients leave the range of float32 long before the gradients do
    wide = [part.double() for part in estimates]
    finite = [part.isfinite().all(-1).all(0) for part in wide]
    kept = [torch.where(ok.unsqueeze(-1), part, torch.zeros_like(part)) for part, ok in zip(wide, finite, strict=True)]
    variance = torch.stack([part.var(0).sum(-1) / len(part) for part in kept])
    usable = torch.stack(finite) & variance.isfinite()
    least = torch.where(usable, variance, torch.full_like(variance, math.inf)).amin(0)
    # the least variance over each: 1 for the best, without a division by 0 where it is exact
    share = torch.where(variance == least, 1.0, least / variance.clamp_min(1e-300))
    share = torch.where(usable, share, torch.zeros_like(share))
    weights = share / share.sum(0).clamp_min(1e-300)
    means = torch.stack([part.mean(0) for part in kept])
    return (weights.unsqueeze(-1) * means).sum(0).to(estimates[0].dtype), weights.to(estimates[0].dtype)
