"""Subsets: of a given size, or within a capacity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from softwood.core import InputError, capability, check_number
from softwood.ops._structured import NEVER, Plus, Structure, skewed


def _product(a: Tensor, b: Tensor, plus: Plus, most: int) -> Tensor:
    """Return the product of polynomials in the semiring, up to the power ``most``; coefficients on the last axis."""
    pairs = skewed(a.unsqueeze(-1) + b.unsqueeze(-2))
    return plus(pairs[..., : most + 1], -2).clamp(min=NEVER)


@capability(
    "operation",
    cost="O(n k) time in log2(n) steps, O(n k) memory",
    example=lambda: (torch.randn(2, 5), 2),
)
class KSubset(Structure):
    r"""Subsets of exactly k of n items (the conditional Bernoulli distribution).

    :math:`p(S) = e^{\sum_{i \in S} s_i / \tau} / e_k(e^{s / \tau})` for :math:`|S| = k`, where :math:`e_k` is the
    elementary symmetric polynomial; the marginals are the probabilities of inclusion, and sum to k.

    Args:
        scores: ``[..., n]``; -inf leaves an item out.
        k: size, ``0 <= k <= n``; or an int64 tensor that broadcasts with the batch axes.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., n]``, True where an item is present.

    Limit: as :math:`\tau \to 0` the marginals tend to the mask of the top k, where it is unique.

    Raises:
        InputError: k is out of range.

    Example:
        >>> KSubset(torch.zeros(4), 2).marginals()
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
        >>> KSubset(torch.tensor([1.0, 3.0, 2.0]), 2).argmax()
        tensor([0, 1, 1])

    Cost: O(n k) time in log2(n) steps, O(n k) memory.

    Source: Chen and Liu 1997; Ahmed et al. 2023 (SIMPLE).
    """

    _dims = (1,)

    def __init__(
        self,
        scores: Tensor,
        k: int | Tensor,
        *,
        temperature: float | Tensor = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        n = scores.shape[-1]
        # a tensor is not read here: that would wait for the device; a size that cannot be has log-partition NEVER
        self._k = k if isinstance(k, Tensor) else check_number("k", k, low=0, high=n, integer=True)
        super().__init__((scores,), temperature)
        if mask is not None:
            self._scores = (self._scores[0].masked_fill(~mask, NEVER),)

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        items = scores[0]
        n = items.shape[-1]
        most = n if isinstance(self._k, Tensor) else self._k
        leaves = 1 << max(n - 1, 0).bit_length()
        items = pad(items, (0, leaves - n), value=NEVER)
        polynomials = torch.stack([torch.zeros_like(items), items], -1)[..., : most + 1]
        while polynomials.shape[-2] > 1:
            polynomials = _product(polynomials[..., ::2, :], polynomials[..., 1::2, :], plus, most)
        whole = polynomials[..., 0, :]
        if isinstance(self._k, Tensor):
            at = self._k.expand(whole.shape[:-1]).unsqueeze(-1)
            return whole.gather(-1, at).squeeze(-1)
        return whole[..., self._k]

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        return (structure,)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        return indicators[0].round().long()


@capability(
    "operation",
    cost="O(n W) time in n steps, O(n W) memory, W the capacity",
    example=lambda: (torch.randn(2, 4), [2, 1, 1, 3], 4),
)
class Knapsack(Structure):
    r"""Subsets whose total weight is at most a capacity.

    :math:`p(S) \propto e^{\sum_{i \in S} s_i / \tau}` for :math:`\sum_{i \in S} w_i \le W`.

    Args:
        scores: ``[..., n]``, worth of each item; -inf leaves an item out.
        weights: n whole numbers >= 0, the same for the whole batch.
        capacity: W, a whole number >= 0.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.

    Limit: as :math:`\tau \to 0` the marginals tend to the best packing, where it is unique.

    Raises:
        InputError: weights or capacity are not whole numbers >= 0, or not one weight for each item.

    Example:
        >>> Knapsack(torch.tensor([3.0, 2.0, 2.0]), [3, 2, 2], 4).argmax()
        tensor([0, 1, 1])

    Cost: O(n W) time in n steps, O(n W) memory, W the capacity.

    Source: Mensch and Blondel 2018 (differentiable dynamic programming).
    """

    _dims = (1,)

    def __init__(
        self,
        scores: Tensor,
        weights: Sequence[int],
        capacity: int,
        *,
        temperature: float | Tensor = 1.0,
    ) -> None:
        self._weights = [check_number("weights", w, low=0, integer=True) for w in weights]
        self._capacity = check_number("capacity", capacity, low=0, integer=True)
        if len(self._weights) != scores.shape[-1]:
            raise InputError(
                "weights do not fit the scores", got=len(self._weights), allowed=f"{scores.shape[-1]} weights",
                fix="give one weight for each item",
            )  # fmt: skip
        super().__init__((scores,), temperature)

    def _total(self, plus: Plus, *scores: Tensor) -> Tensor:
        items = scores[0]
        room = self._capacity + 1
        best = torch.full((*items.shape[:-1], room), NEVER, dtype=items.dtype, device=items.device)
        best = torch.cat([torch.zeros_like(best[..., :1]), best[..., 1:]], -1)  # nothing packed weighs 0
        for i, weight in enumerate(self._weights):
            if weight < room:
                packed = pad(best[..., : room - weight] + items[..., i : i + 1], (weight, 0), value=NEVER)
                best = plus(torch.stack([best, packed], -1), -1).clamp(min=NEVER)
        return plus(best, -1)

    def _indicators(self, structure: Tensor) -> tuple[Tensor, ...]:
        return (structure,)

    def _structure(self, indicators: tuple[Tensor, ...]) -> Tensor:
        return indicators[0].round().long()
