"""Linear chains: a label for each step of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.ops._structured import Plus, Structure


@capability(
    "operation",
    cost="O(T C^2) time in T steps, O(T C^2) memory",
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

    Cost: O(T C^2) time in T steps, O(T C^2) memory.

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
