"""Linear chains: a label for each step of a sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.ops._structured import Plus, Structure

_LONG = 256
"""Chains with more steps keep no graph of their recursion where one can be done without."""


def _filtered(unary: Tensor, transition: Tensor, mask: Tensor | None, per_step: bool) -> list[Tensor]:
    """Return alpha after each step, ``[..., C]``: the log-weight of all labellings so far, by their last label."""
    alphas = [unary[..., 0, :]]
    for t in range(1, unary.shape[-2]):
        step = transition[..., t - 1, :, :] if per_step else transition
        after = torch.logsumexp(alphas[-1].unsqueeze(-1) + step, -2) + unary[..., t, :]
        alphas.append(after if mask is None else torch.where(mask[..., t : t + 1], after, alphas[-1]))
    return alphas


def _marginals(unary: Tensor, transition: Tensor, mask: Tensor | None, per_step: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log-partition function and both marginals, by a forward and a backward pass over the steps."""
    alphas = _filtered(unary, transition, mask, per_step)
    total = torch.logsumexp(alphas[-1], -1)
    labels: list[Tensor] = []
    moves: list[Tensor] = []
    counts = torch.zeros_like(transition)
    beta = torch.zeros_like(alphas[-1])
    for t in range(unary.shape[-2] - 1, -1, -1):
        here = (alphas[t] + beta - total.unsqueeze(-1)).exp()
        labels.append(here if mask is None else here * mask[..., t : t + 1])
        if t == 0:
            break
        step = transition[..., t - 1, :, :] if per_step else transition
        ahead = step + (unary[..., t, :] + beta).unsqueeze(-2)
        move = (alphas[t - 1].unsqueeze(-1) + ahead - total[..., None, None]).exp()
        before = torch.logsumexp(ahead, -1)
        if mask is not None:
            move = move * mask[..., t, None, None]
            before = torch.where(mask[..., t : t + 1], before, beta)
        beta = before
        if per_step:
            moves.append(move)
        else:
            counts = counts + move
    moved = torch.stack(moves[::-1], -3) if per_step and moves else counts
    return total, torch.stack(labels[::-1], -2), moved


class _LongTotal(torch.autograd.Function):
    """The log-partition function of a chain in memory O(T C): its gradient makes both passes again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(unary: Tensor, transition: Tensor, mask: Tensor | None, per_step: bool) -> Tensor:
        """Return the total."""
        return torch.logsumexp(_filtered(unary, transition, mask, per_step)[-1], -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs."""
        unary, transition, mask, ctx.per_step = inputs
        ctx.save_for_backward(unary, transition, mask)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the marginals times what comes from above."""
        unary, transition, mask = ctx.saved_tensors
        _, labels, moves = _marginals(unary, transition, mask, ctx.per_step)
        g = upstream[0]
        by_moves = g[(..., *(None,) * (3 if ctx.per_step else 2))] * moves
        return g[..., None, None] * labels, by_moves, None, None


@capability(
    "operation",
    cost="O(T C^2) time in T steps; O(T C) memory beyond the scores, O(T C^2) for a gradient of marginals",
    example=lambda: (torch.randn(2, 4, 3), torch.randn(3, 3)),
)
class LinearChain(Structure):
    r"""A conditional random field on a chain: labels :math:`y_1 \dots y_T`, one of C each.

    :math:`\log p(y) = \frac1\tau \Big(\sum_t u_{t, y_t} + \sum_t W_{y_t, y_{t+1}}\Big) - \log Z`.

    Args:
        unary: u ``[..., T, C]``; -inf forbids a label.
        transition: W ``[..., C, C]`` (from, to), or one for each step, ``[..., T - 1, C, C]``; -inf forbids.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., T]``, True where a step is present; absent steps follow the present ones.
        per_step: is ``transition`` one matrix for each step? By default it is if it has an axis more than
            ``unary``.

    Limit: as :math:`\tau \to 0` the marginals tend to the best labelling (Viterbi), where it is unique.

    Raises:
        InputError: shapes do not agree.

    Example:
        >>> chain = LinearChain(torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]]), torch.eye(2))
        >>> chain.argmax()
        tensor([0, 0, 0])
        >>> chain.marginals()[0].round(decimals=2)
        tensor([0.8800, 0.1200])

    Cost: O(T C^2) time in T steps. Beyond the scores, O(T C) memory for the log-partition function with its gradient
    (so for training by ``log_prob``) and for marginals of chains of more than 256 steps; O(T C^2) for a gradient of
    marginals, and for ``argmax`` and ``sample``.

    Source: Lafferty, McCallum and Pereira 2001; marginals as a gradient: Darwiche 2003, Eisner 2016.
    """

    _dims = (2, 2)

    def __init__(
        self,
        unary: Tensor,
        transition: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        mask: Tensor | None = None,
        per_step: bool | None = None,
    ) -> None:
        per_step = transition.ndim > unary.ndim if per_step is None else per_step
        steps, labels = unary.shape[-2:]
        wanted = (max(steps - 1, 0), labels, labels) if per_step else (labels, labels)
        if labels == 0 or tuple(transition.shape[-len(wanted) :]) != wanted:
            raise InputError(
                "unary and transition do not agree",
                got=f"{tuple(unary.shape)} and {tuple(transition.shape)}",
                allowed="[..., T, C] and [..., C, C], or [..., T - 1, C, C]",
                fix="give both the same number of labels, at least one",
            )
        self._dims = (2, 3 if per_step else 2)
        self._mask = mask
        super().__init__((unary, transition.to(unary.dtype)), temperature)
        shapes = unary.shape[:-2], self._scores[1].shape[: -self._dims[1]]
        batch = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        unary_now, transition_now = self._scores
        self._scores = (
            unary_now.expand(*batch, steps, labels),
            transition_now.expand(*batch, *transition_now.shape[-self._dims[1] :]),
        )
        if mask is not None:
            # an absent step takes label 0 at no cost, so that it adds nothing anywhere
            self._scores = (self._scores[0].masked_fill(~mask.unsqueeze(-1), 0.0), self._scores[1])

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        unary, transition = scores
        if unary.shape[-2] == 0:
            return unary.sum((-1, -2))
        alpha = unary[..., 0, :]
        for t in range(1, unary.shape[-2]):
            step = transition[..., t - 1, :, :] if self._dims[1] == 3 else transition
            after = plus(alpha.unsqueeze(-1) + step, -2) + unary[..., t, :]
            alpha = after if self._mask is None else torch.where(self._mask[..., t : t + 1], after, alpha)
        total = plus(alpha, -1)
        # an empty sequence has one labelling
        return total if self._mask is None else torch.where(self._mask.any(-1), total, 0.0)

    def _is_long(self) -> bool:
        return self._scores[0].shape[-2] > _LONG and not torch.compiler.is_compiling()

    def log_partition(self) -> Tensor:
        """Return the log of the sum over all labellings; of long chains in memory O(T C), also for its gradient."""
        if not self._is_long():
            return super().log_partition()
        unary, transition = self._scores
        total = _LongTotal.apply(unary, transition, self._mask, self._dims[1] == 3)  # type: ignore[no-untyped-call]
        total = total if self._mask is None else torch.where(self._mask.any(-1), total, 0.0)
        return self._or(total, total, -torch.inf)

    def _all_marginals(self, hard: bool) -> tuple[Tensor, ...]:
        needed = torch.is_grad_enabled() and any(s.requires_grad for s in self._scores)
        if hard or needed or not self._is_long():
            return super()._all_marginals(hard)
        unary, transition = self._scores
        total, *soft = _marginals(unary, transition, self._mask, self._dims[1] == 3)
        return tuple(self._or(total, s, torch.nan).to(self._dtype) for s in soft)

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        labels = self._scores[0].shape[-1]
        at = torch.nn.functional.one_hot(structure, labels)
        if self._mask is not None:
            at = at * self._mask.unsqueeze(-1)
        moves = at[..., :-1, :, None] * at[..., 1:, None, :]
        return at, moves if self._dims[1] == 3 else moves.sum(-3)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        return indicators[0].argmax(-1)

    def transition_marginals(self, *, hard: bool = False) -> Tensor:
        """Return the probability of each transition in the shape of ``transition``; expected counts if shared.

        Args:
            hard: those of the best labelling forward, the gradient of the soft ones backward.
        """
        return self._all_marginals(hard)[1]
