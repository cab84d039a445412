"""Projective dependency trees: no two arcs cross."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from softwood.core import InputError, capability
from softwood.ops._structured import NEVER, Plus, Structure


class _Spans:
    """A chart of spans, kept by their first and by their last node: both are read as rows of widths."""

    def __init__(self, shortest: Tensor) -> None:
        self.by_first, self.by_last = shortest.unsqueeze(-1), shortest.unsqueeze(-1)

    def add(self, spans: Tensor) -> None:
        """Append all spans that are one wider, ``[..., n - width]``."""
        missing = self.by_first.shape[-2] - spans.shape[-1]
        self.by_first = torch.cat([self.by_first, pad(spans, (0, missing), value=NEVER).unsqueeze(-1)], -1)
        self.by_last = torch.cat([self.by_last, pad(spans, (missing, 0), value=NEVER).unsqueeze(-1)], -1)


@capability(
    "operation",
    cost="O(n^3) time in n steps, O(n^3) memory",
    example=lambda: (torch.randn(2, 4, 4),),
)
class ProjectiveTree(Structure):
    r"""Projective dependency trees: a head for each of n words, no arcs cross.

    :math:`p(T) \propto \exp\big(\tfrac1\tau \sum_d s_{h_d, d}\big)` over trees in which the words below any word are
    neighbours. Eisner's recursion: complete and incomplete spans, each built from two shorter ones.

    Args:
        scores: ``[..., n, n]`` (head, dependent), on the diagonal the score of being the root; -inf forbids.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., n]``, True where a word is present; absent words follow the present ones, and are their own
            heads.

    Limit: as :math:`\tau \to 0` the marginals tend to the best tree, where it is unique. There is one root.

    Raises:
        InputError: scores are not ``[..., n, n]``.

    Example:
        >>> scores = torch.tensor([[2.0, 3.0, 0.0], [0.0, 0.0, 3.0], [4.0, 0.0, 0.0]])
        >>> ProjectiveTree(scores).argmax()
        tensor([0, 0, 1])

    Cost: O(n^3) time in n steps, O(n^3) memory.

    Source: Eisner 1996.
    """

    _dims = (2,)

    def __init__(
        self,
        scores: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        if scores.ndim < 2 or scores.shape[-1] != scores.shape[-2] or scores.shape[-1] == 0:
            raise InputError(
                "scores are not of the pairs of a sentence", got=tuple(scores.shape), allowed="[..., n, n], n >= 1",
                fix="give one score for each pair of words",
            )  # fmt: skip
        self._mask = mask
        super().__init__((scores,), temperature)

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        arcs = scores[0]
        n = arcs.shape[-1]
        nothing = torch.zeros_like(arcs[..., 0])
        never = torch.full_like(nothing, NEVER)
        # complete spans have all words below their head; incomplete ones end in an arc between their two ends
        right, left = _Spans(nothing), _Spans(nothing)
        open_right, open_left = _Spans(never), _Spans(never)
        for w in range(1, n):
            first, last = slice(0, n - w), slice(w, n)
            halves = right.by_first[..., first, :w] + left.by_last[..., last, :w].flip(-1)
            joined = plus(halves, -1)
            open_right.add((joined + arcs.diagonal(w, -2, -1)).clamp(min=NEVER))
            open_left.add((joined + arcs.diagonal(-w, -2, -1)).clamp(min=NEVER))
            right.add(plus(open_right.by_first[..., first, 1 : w + 1] + right.by_last[..., last, :w].flip(-1), -1))
            left.add(plus(left.by_first[..., first, :w] + open_left.by_last[..., last, 1 : w + 1].flip(-1), -1))
        root = arcs.diagonal(0, -2, -1)
        below_left = left.by_first[..., 0, :]  # of words 0 to r, headed by r
        position = torch.arange(n, device=arcs.device)
        if self._mask is None:
            below_right = right.by_last[..., n - 1, :].flip(-1)
            return plus(below_left + root + below_right, -1)
        length = self._mask.expand(arcs.shape[:-1]).sum(-1, keepdim=True)
        ends = right.by_last.gather(-2, (length - 1).clamp_min(0).unsqueeze(-1).expand(*length.shape, n)).squeeze(-2)
        below_right = ends.gather(-1, (length - 1 - position).clamp_min(0))
        total = plus(torch.where(position < length, below_left + root + below_right, NEVER), -1)
        return torch.where(length.squeeze(-1) > 0, total, 0.0)

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        chosen = one_hot(structure, structure.shape[-1]).transpose(-1, -2)
        if self._mask is not None:
            chosen = chosen * self._mask.unsqueeze(-2)
        return (chosen.to(self._scores[0].dtype),)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        chosen = indicators[0]
        own = torch.arange(chosen.shape[-1], device=chosen.device)
        return torch.where(chosen.sum(-2) > 0.5, chosen.argmax(-2), own)
