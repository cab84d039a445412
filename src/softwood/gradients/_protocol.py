"""The two ways in which an estimator is used, and what the members of each share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from softwood.core import InputError, check_number

LossFn = Callable[[Tensor], Tensor]


class ChoiceEstimator(ABC):
    r"""An estimator of the gradient of an expected loss by the logits of categorical choices.

    .. math:: \nabla_\theta \, \mathbb{E}_{z \sim \mathrm{Cat}(\theta)}[\, f(z) \,]

    A member is a frozen dataclass of its settings. What learns while the model trains (a moving baseline, a control
    variate) is an ``nn.Module`` in one of its fields, so that ``state_dict`` can save it.

    Example:
        >>> from softwood.gradients import ScoreFunction
        >>> isinstance(ScoreFunction(), ChoiceEstimator)
        True
    """

    unbiased: ClassVar[bool] = False
    # whether the gradient of the loss by its argument is used: False means that any black box will do
    uses_loss_gradient: ClassVar[bool] = True

    @abstractmethod
    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss, with the estimate as its gradient by ``logits``.

        Args:
            loss_fn: from choices ``[n_samples, ..., K]``, one-hot or relaxed, to losses ``[n_samples, *first]``, where
                ``first`` are as many of the leading axes of ``logits`` as have a loss of their own: the batch.
                Gradients by what else it holds (a decoder's weights) flow as usual.
            logits: ``[..., K]``, K classes in the last axis; any number of independent choices before it.
            n_samples: samples of each choice.
            generator: where the noise comes from; None is torch's own.

        Returns:
            Losses ``[*first]``; call ``.mean().backward()``.
        """


class PathwiseEstimator(ChoiceEstimator):
    """A choice estimator that makes differentiable samples; ``sample`` alone serves inside a model.

    Example:
        >>> from softwood.gradients import GumbelSoftmax
        >>> isinstance(GumbelSoftmax(), PathwiseEstimator)
        True
    """

    @abstractmethod
    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return samples ``[..., K]`` that carry the gradient, one for each choice in ``logits`` ``[..., K]``."""

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss of ``n_samples`` differentiable samples; see ``ChoiceEstimator.estimate``."""
        repeated = repeat(logits, n_samples)
        return losses(loss_fn, self.sample(repeated, generator=generator)).mean(0)


class FunctionEstimator(ABC):
    """An estimator that stands around a function or solver whose own gradient is zero, absent or useless.

    Example:
        >>> sorted(FunctionEstimator.__abstractmethods__)
        ['wrap']
    """

    @abstractmethod
    def wrap(
        self, fn: Callable[[Tensor], Tensor], *, generator: torch.Generator | None = None
    ) -> Callable[[Tensor], Tensor]:
        """Return a differentiable function to call in the place of ``fn``.

        Args:
            fn: takes ``[..., *instance]`` with any leading axes and gives ``[..., *answer]`` with the same ones; a
                solver gives an answer in the shape of its scores, the one that maximises their inner product.
                ``per_instance`` makes one from a function of single NumPy arrays.
            generator: where the noise comes from; None is torch's own.
        """


def repeat(logits: Tensor, n_samples: int) -> Tensor:
    """Return logits with a leading axis of samples, which shares their memory."""
    check_logits(logits)
    n_samples = check_number("n_samples", n_samples, low=1, integer=True)
    return logits.expand(n_samples, *logits.shape)


def check_logits(logits: Tensor) -> None:
    """Refuse what is no floating tensor with classes in its last axis."""
    if not (isinstance(logits, Tensor) and logits.is_floating_point() and logits.ndim and logits.shape[-1]):
        got = f"{tuple(logits.shape)} {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            "logits are not usable", got=got, allowed="a floating tensor [..., K] with K >= 1 classes",
            fix="pass scores, one for each class, before any softmax",
        )  # fmt: skip


def losses(loss_fn: LossFn, choices: Tensor) -> Tensor:
    """Return the losses of choices ``[n, ..., K]`` after a look at their shape."""
    found = loss_fn(choices)
    if (
        not isinstance(found, Tensor)
        or found.ndim < 1
        or found.shape != choices.shape[: min(found.ndim, choices.ndim - 1)]
    ):
        raise InputError(
            "loss_fn returned another shape than it should",
            got=str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__,
            allowed=f"losses of the first axes of {tuple(choices.shape[:-1])}, that of the samples included",
            fix="sum or average over the choices of one sample only",
        )  # fmt: skip
    return found


def sum_to(terms: Tensor, ndim: int) -> Tensor:
    """Sum the axes of ``terms`` that come after the first ``ndim``."""
    return terms.flatten(ndim).sum(-1) if terms.ndim > ndim else terms


def wide(x: Tensor) -> Tensor:
    """Return x in float32 at least: noise and probabilities in half precision are not worth having."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def gumbel_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return standard Gumbel noise in the shape of x; from exponentials, whose logarithm is always finite."""
    draws = torch.empty(x.shape, dtype=x.dtype, device=x.device).exponential_(generator=generator)
    return -draws.clamp_min(torch.finfo(x.dtype).tiny).log()


def one_hot(logits: Tensor) -> Tensor:
    """Return the one-hot of the largest logit, in their dtype: the first of equal ones, NaN in a row that holds NaN."""
    index = logits.argmax(-1, keepdim=True)  # of NaN where there is one
    return torch.zeros_like(logits).scatter_(-1, index, 1.0) + 0 * logits.gather(-1, index).clamp(-1, 1)


def draw_choices(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one-hot samples of the choices, without gradient."""
    with torch.no_grad():
        fine = wide(logits)
        return one_hot(fine + gumbel_like(fine, generator)).to(logits.dtype)


def log_probability(logits: Tensor, choices: Tensor, ndim: int) -> Tensor:
    """Return the log-probability of one-hot choices, summed over all axes but the first ``ndim``.

    Classes of probability 0 (logit -inf) are left out by ``gather``: a product with the one-hot gives 0 * inf.
    """
    log_p = torch.log_softmax(wide(logits), -1)
    return sum_to(log_p.gather(-1, choices.argmax(-1, keepdim=True)).squeeze(-1), ndim)


def with_gradient(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return ``value`` as it is, gradient included, plus the gradient of ``surrogate`` (whose value drops out)."""
    return value + (surrogate - surrogate.detach()).to(value.dtype)
