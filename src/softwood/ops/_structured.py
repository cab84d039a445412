"""Distributions over discrete structures: the part that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from softwood.core import check_number
from softwood.ops._axes import exact_forward

Plus = Callable[[Tensor, int], Tensor]
NEVER = -1e30
"""Score of what is not allowed: finite, so that sums and gradients stay finite, and exp(NEVER) is 0."""


def log_plus(x: Tensor, dim: int) -> Tensor:
    """Return the logarithm of the sum: the DP computes the log-partition function."""
    return torch.logsumexp(x, dim)


def max_plus(x: Tensor, dim: int) -> Tensor:
    """Return the maximum; its gradient goes to one entry, so that of the DP is one best structure."""
    return x.max(dim).values


def sample_plus(generator: torch.Generator | None) -> Plus:
    """Return a sum whose gradient goes to one entry, drawn by its share: that of the DP is an exact sample."""

    def plus(x: Tensor, dim: int) -> Tensor:
        noise = torch.empty_like(x).exponential_(generator=generator).clamp_min(torch.finfo(x.dtype).tiny)
        drawn = (x.detach() - noise.log()).argmax(dim, keepdim=True)
        picked = x.gather(dim, drawn).squeeze(dim)
        return torch.logsumexp(x, dim).detach() + (picked - picked.detach())

    return plus


def working(x: Tensor) -> Tensor:
    """Return x in the precision in which sums of exponentials are computed."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def scaled(scores: Tensor, temperature: float | Tensor, event_dims: int) -> Tensor:
    """Return ``scores / temperature`` in working precision, with a floor that stands for -inf."""
    scores = working(scores)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(scores.dtype)[(..., *(None,) * event_dims)]
        temperature = torch.where(temperature > 0, temperature, torch.nan)  # unread: reading waits for the device
    elif not torch.compiler.is_compiling():  # the compiler holds a changing number as a symbol
        temperature = check_number("temperature", temperature, low=1e-12)
    return (scores / temperature).clamp(min=NEVER)


def pulled(total: Callable[..., Tensor], *scores: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """Return the value of a function and its pullback, differentiable again and under ``torch.compile``."""
    value, pullback, *_ = torch.func.vjp(total, *scores)
    return value, pullback


def skewed(x: Tensor) -> Tensor:
    """Return ``[..., n, n + m - 1]`` whose entry (i, i + j) is ``x[..., i, j]``: antidiagonals become columns."""
    n, m = x.shape[-2:]
    wide = pad(x, (0, n), value=NEVER).flatten(-2)
    return wide[..., : n * (n + m - 1)].reshape(*x.shape[:-2], n, n + m - 1)


class Structure(ABC):
    r"""A Gibbs distribution :math:`p(z) \propto e^{\langle z, \theta\rangle / \tau}` over discrete structures z.

    A subclass says how to sum over all structures; everything else follows. The marginals are the gradient of
    the log-partition function, the best structure is the gradient of the same recursion with max for sum, and a
    sample is the gradient of the same recursion with a drawn term for sum.
    """

    _dims: tuple[int, ...]
    """Number of axes of a structure, for each tensor of scores."""
    _least: float | Tensor = NEVER / 2
    """No structure is allowed where the log-partition function is below this."""

    def __init__(self, scores: tuple[Tensor, ...], temperature: float | Tensor) -> None:
        self._dtype = scores[0].dtype
        self._scores = tuple(scaled(s, temperature, d) for s, d in zip(scores, self._dims, strict=True))

    @abstractmethod
    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        """Return the sum over all structures, one number for each member of the batch."""

    @abstractmethod
    def _indicators(self, structure: Any) -> tuple[Tensor, ...]:
        """Return the 0/1 tensors of a structure, one for each tensor of scores."""

    @abstractmethod
    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        """Return the natural form of a structure from its 0/1 tensors."""

    def _gradients(self, plus: Plus, *scores: Tensor) -> tuple[Tensor, ...]:
        total, pullback = pulled(lambda *s: self._total(plus, *s), *scores)
        return pullback(torch.ones_like(total))

    def _or(self, total: Tensor, value: Tensor, otherwise: float) -> Tensor:
        """Return ``value``, or ``otherwise`` where no structure is allowed."""
        missing = (total < self._least)[(..., *(None,) * (value.ndim - total.ndim))]
        return torch.where(missing, otherwise, value)

    def _best(self) -> tuple[Tensor, ...]:
        return self._gradients(max_plus, *(s.detach() for s in self._scores))

    def _draw(self, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        return self._gradients(sample_plus(generator), *(s.detach() for s in self._scores))

    def _all_marginals(self, hard: bool) -> tuple[Tensor, ...]:
        total, pullback = pulled(lambda *s: self._total(log_plus, *s), *self._scores)
        # where nothing is allowed, or a score is NaN, there is no probability to speak of
        soft = tuple(self._or(total, s, torch.nan) for s in pullback(torch.ones_like(total)))
        if hard:
            sure = zip(self._best(), soft, strict=True)
            soft = tuple(exact_forward(best, s) for best, s in sure)
        return tuple(s.to(self._dtype) for s in soft)

    def log_partition(self) -> Tensor:
        r"""Return :math:`\log \sum_z e^{\langle z, \theta\rangle / \tau}`, ``[...]``; -inf if none is allowed."""
        total = self._total(log_plus, *self._scores)
        return self._or(total, total, -torch.inf)

    def marginals(self, *, hard: bool = False) -> Tensor:
        r"""Return the probability of each part, in the shape and type of the scores.

        Args:
            hard: the best structure forward, the gradient of the marginals backward.
        """
        return self._all_marginals(hard)[0]

    def argmax(self) -> Tensor:
        """Return a structure with the largest score, int64; of several, always the same one."""
        return self._structure(self._best())

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return an exact sample, int64, without a gradient; ``log_prob`` of it has one.

        Args:
            generator: source of the draws.
        """
        return self._structure(self._draw(generator))

    def log_prob(self, structure: Tensor) -> Tensor:
        """Return the log-probability of a structure, ``[...]``, with a gradient by the scores.

        That it is one of the structures (a tree, a path, k items) is not checked.

        Args:
            structure: as ``argmax`` returns it.
        """
        score = sum(
            ((s * z.to(s.dtype)).sum(tuple(range(-d, 0)))
             for s, z, d in zip(self._scores, self._indicators(structure), self._dims, strict=True)),
            torch.zeros((), dtype=self._scores[0].dtype, device=self._scores[0].device),
        )  # fmt: skip
        return score - self.log_partition()

    def entropy(self) -> Tensor:
        """Return the entropy in nats, ``[...]``."""
        soft = self._gradients(log_plus, *self._scores)
        mean = sum(
            ((s * m).sum(tuple(range(-d, 0))) for s, m, d in zip(self._scores, soft, self._dims, strict=True)),
            torch.zeros((), dtype=soft[0].dtype, device=soft[0].device),
        )
        return self.log_partition() - mean
