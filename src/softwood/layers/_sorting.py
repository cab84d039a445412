"""Sorting as a layer: a network of soft swaps."""

from __future__ import annotations

from torch import Tensor, nn

from softwood.core import capability
from softwood.layers._hard import Sort
from softwood.layers._soft_module import SoftModule
from softwood.ops import Network, SoftPermutation, sort


@capability(
    "soft module",
    papers=("monotonic-sortnet", "error-free-swap"),
    hardens_to="Sort",
    cost="O(n log2(n)^2) time for values (odd-even O(n^2)), O(n) memory",
    example=lambda: SortingNetwork(temperature=0.1),
)
class SortingNetwork(SoftModule):
    r"""Sorts along the last axis by a network of soft swaps, so that every output has a gradient by every input.

    Each swap mixes two entries by a share s of their difference: ``min = a s(b - a) + b s(a - b)``, and max the other
    way round. With ``"cauchy"``, ``"reciprocal"`` and ``"optimal"`` no output falls when an input rises; with
    ``"logistic"`` it may.

    Args:
        swap: ``"cauchy"``, ``"reciprocal"``, ``"optimal"``, ``"logistic"`` or ``"art"``.
        layout: ``"bitonic"`` or ``"odd-even"``.
        error_free: every swap is hard forward and soft backward, so that no softness adds up over the layers.
        descending: largest first.
        temperature: :math:`\tau > 0` in units of x; all shares have slope :math:`1 / 4 \tau` at a tie.

    Shape: ``[..., n]`` to ``[..., n]``.

    Raises:
        InputError: a parameter is out of range or unknown.

    Limit: as :math:`\tau \to 0`, the sorted values.

    Example:
        >>> import torch
        >>> network = SortingNetwork(temperature=0.01, error_free=True)
        >>> network(torch.tensor([3.0, 1.0, 2.0])), network.permutation(torch.tensor([3.0, 1.0, 2.0])).hard()
        (tensor([1., 2., 3.]), tensor([1, 2, 0]))

    Cost: O(n log2(n)^2) time for values and for each product of the permutation (odd-even O(n^2)), O(n) memory.

    Source: Petersen et al. 2021 and 2022 (monotonic swaps); Kim et al. 2024 (error-free swaps).
    """

    def __init__(
        self,
        swap: str = "cauchy",
        *,
        layout: str = "bitonic",
        error_free: bool = False,
        descending: bool = False,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(temperature)
        self.network = Network(swap, layout, error_free)
        self.descending = descending

    def forward(self, x: Tensor) -> Tensor:
        """Return the soft sorted values."""
        return sort(x, -1, self.descending, relax=self.network, temperature=self.temperature)[0]

    def permutation(self, x: Tensor) -> SoftPermutation:
        """Return the soft permutation that sorts; ``.apply`` sorts anything else alike, ``.dense()`` is its matrix."""
        return sort(x, -1, self.descending, relax=self.network, temperature=self.temperature)[1]

    def softening_error(self, x: Tensor) -> Tensor:
        """Return the largest distance of a soft sorted value from the sorted one, ``[...]``; 0 if ``error_free``."""
        return (self(x) - self.harden()(x)).abs().amax(-1)

    def margins(self, x: Tensor) -> Tensor:
        """Return the gaps between neighbours in order."""
        return x.sort(dim=-1).values.diff(dim=-1)

    def harden(self) -> nn.Module:
        """Return the sort."""
        return Sort(self.descending)
