"""Noise around a function's argument, and the score of its density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, check_number

NOISES = ("gaussian", "gumbel")
SAMPLINGS = ("independent", "antithetic", "quasi-random")
_MOST_SOBOL = torch.quasirandom.SobolEngine.MAXDIM


def draw_noise(
    like: Tensor, n_samples: int, *, noise: str, sampling: str, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    r"""Return noise z ``[n_samples, *like.shape]`` and its score :math:`-\partial \log p(z) / \partial z`.

    Args:
        like: what is perturbed.
        n_samples: how often; even for antithetic pairs, which stand side by side.
        noise: ``"gaussian"`` or ``"gumbel"``.
        sampling: ``"independent"``, ``"antithetic"`` (quantiles u and 1 - u) or ``"quasi-random"`` (scrambled Sobol).
        generator: where it comes from.
    """
    shape = (n_samples, *like.shape)
    if sampling == "independent" and noise == "gaussian":
        z = torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)
        return z, z
    uniform = _uniform(shape, sampling, like.device, generator)
    z = (torch.special.ndtri(uniform) if noise == "gaussian" else -(-uniform.log()).log()).to(like.dtype)
    return z, z if noise == "gaussian" else 1 - (-z).exp()


def _uniform(shape: tuple[int, ...], sampling: str, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Return numbers strictly between 0 and 1, in float64: in float32, one in 10^7 would be at an end."""
    n_samples, each = shape[0], shape[1:]
    if sampling == "quasi-random":
        size = math.prod(each)
        if size > _MOST_SOBOL:
            raise InputError("there are too many numbers for a quasi-random set", got=size,
                             allowed=f"at most {_MOST_SOBOL}", fix='pass sampling="antithetic"')  # fmt: skip
        where = generator.device if generator is not None else None
        seed = int(torch.randint(2**31, (), generator=generator, device=where))
        engine = torch.quasirandom.SobolEngine(max(size, 1), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        uniform = engine.draw(n_samples, dtype=torch.float64)[:, :size].reshape(shape).to(device)
    elif sampling == "antithetic":
        half = torch.empty(n_samples // 2, *each, dtype=torch.float64, device=device).uniform_(generator=generator)
        uniform = torch.stack([half, 1 - half], 1).reshape(shape)
    else:
        uniform = torch.empty(shape, dtype=torch.float64, device=device).uniform_(generator=generator)
    return uniform.clamp(1e-15, 1 - 1e-15)


@dataclass(frozen=True)
class SumOfGamma:
    r"""Noise whose sum over a chosen k-subset is nearly Gumbel, as implicit MLE asks for.

    .. math:: \frac{1}{k} \Bigl( \sum_{i=1}^{s} \Gamma(1/k,\, k/i) - \log s \Bigr)

    Args:
        k: how many items a solution chooses.
        terms: s, where the series is cut off.

    Raises:
        InputError: a number below 1.

    Example:
        >>> SumOfGamma(3).draw(torch.zeros(2), 5, None).shape
        torch.Size([5, 2])
    """

    k: int
    terms: int = 10

    def __post_init__(self) -> None:
        check_number("k", self.k, low=1, integer=True)
        check_number("terms", self.terms, low=1, integer=True)

    def draw(self, like: Tensor, n_samples: int, generator: torch.Generator | None) -> Tensor:
        """Return noise ``[n_samples, *like.shape]``."""
        shape = (self.terms, n_samples, *like.shape)
        # torch._standard_gamma is what torch.distributions draws with; it takes a generator, the class does not
        draws = torch._standard_gamma(
            torch.full(shape, 1 / self.k, dtype=torch.float64, device=like.device), generator=generator
        )
        scale = self.k / torch.arange(1, self.terms + 1, dtype=torch.float64, device=like.device)
        total = torch.tensordot(scale, draws, 1) - math.log(self.terms)
        return (total / self.k).to(like)


def per_instance(solver: Callable[..., object], dims: int = 1) -> Callable[[Tensor], Tensor]:
    """Return a batched torch function from one that takes a single NumPy array.

    Args:
        solver: from one array of ``dims`` axes to one array or number, such as a call of scipy.
        dims: axes of one instance.

    Returns:
        A function of tensors ``[..., *instance]`` without gradient; it calls ``solver`` once for each instance.

    Raises:
        InputError: ``dims`` is below 0.

    Example:
        >>> import numpy as np
        >>> per_instance(np.sort)(torch.tensor([[2.0, 1.0], [3.0, 0.0]])).tolist()
        [[1.0, 2.0], [0.0, 3.0]]
    """
    check_number("dims", dims, low=0, integer=True)

    def batched(x: Tensor) -> Tensor:
        lead = x.shape[: x.ndim - dims]
        instances = x.detach().cpu().reshape(-1, *x.shape[x.ndim - dims :]).numpy()
        answers = [torch.as_tensor(solver(instance)) for instance in instances]
        stacked = torch.stack(answers) if answers else torch.zeros(instances.shape)
        return stacked.to(x).reshape(*lead, *stacked.shape[1:])

    return batched


def instance_axes(x: Tensor, dims: int) -> tuple[int, ...]:
    """Return the last ``dims`` axes of x, refusing what has fewer."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < dims:
        got = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError("the argument is not usable", got=got, allowed=f"a floating tensor with {dims} axes or more",
                         fix="set dims to the axes of one instance")  # fmt: skip
    return tuple(range(-dims, 0))


def sum_over(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sum over axes; none is none, where torch would take all."""
    return x.sum(axes) if axes else x


def called(fn: Callable[[Tensor], Tensor], x: Tensor, lead: torch.Size) -> Tensor:
    """Return ``fn(x)`` after a look at its leading axes."""
    found = fn(x)
    if not isinstance(found, Tensor) or found.shape[: len(lead)] != lead:
        raise InputError(
            "the function does not keep the leading axes",
            got=str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__,
            allowed=f"a tensor [{', '.join(map(str, lead))}, ...]",
            fix="write it for any leading axes, or wrap it in per_instance",
        )  # fmt: skip
    return found


def widened(x: Tensor, ndim: int) -> Tensor:
    """Return x with axes of size 1 at its end, until it has ``ndim``."""
    return x.reshape(*x.shape, *[1] * (ndim - x.ndim))
