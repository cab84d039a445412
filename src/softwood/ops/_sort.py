"""Soft sorting: values in order, and the soft permutation that puts them there."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from softwood.core import capability
from softwood.ops._axes import exact_forward, full_precision, mask_last, move_back, move_last, temperature_last
from softwood.ops._isotonic import Isotonic
from softwood.ops._lapsum import LapSum
from softwood.ops._networks import Network
from softwood.ops._pairwise import NeuralSort, SoftSort
from softwood.ops._relax import resolve
from softwood.ops._selection import SoftPermutation

RELAXATIONS = {
    "isotonic-l2": Isotonic("l2"),
    "isotonic-kl": Isotonic("kl"),
    "lapsum": LapSum(),
    "softsort": SoftSort(),
    "neuralsort": NeuralSort(),
    "network": Network(),
}


@capability("operation", cost="O(n log n) time, O(n) memory (isotonic, lapsum, softsort); neuralsort O(n^2) time")
@full_precision
def sort(
    x: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, SoftPermutation]:
    r"""Return soft sorted values, and the soft permutation that sorts: the soft ``torch.sort``.

    ``"isotonic-l2"`` is the point nearest to :math:`(1, \dots, n) / \tau` of all convex mixtures of the orders of x.
    It is the hard sort, exactly, where no two neighbours are further apart than :math:`1 / \tau`; a larger gap shrinks
    to that, and its ends share their gradient. Its temperature is therefore in units of 1 / x. The permutation is the
    derivative of the values: averages over blocks. ``"isotonic-kl"`` is nearest in relative entropy of exponentials.

    The others have a temperature in units of x, and a permutation with a gradient. ``"lapsum"``: the values at which
    the sum of Laplace distribution functions around the entries is 1/2, 3/2, ...; rows and columns of the permutation
    sum to 1. ``"softsort"``: softmaxes of the distance to each sorted value, with all items or, as
    ``SoftSort(window)``, those whose place is near. ``"neuralsort"``: softmaxes of
    :math:`(n + 1 - 2 k) x_i - \sum_j |x_i - x_j|`, counted from the largest.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        descending: largest first.
        relax: ``"isotonic-l2"``, ``"isotonic-kl"``, ``"lapsum"``, ``"softsort"``, ``"neuralsort"``,
            ``"network"``, or the dataclass.
        temperature: :math:`\tau > 0`, a number, or a tensor of size 1 along the axis.
        hard: sorted values forward, the soft gradient backward; so for products of the permutation.
        mask: bool, True where an entry is present. The present come first; places behind them hold 0.

    Returns:
        Values of x's shape and dtype, and the permutation over (place, item).

    Infinities stand at the ends and leave the others alone; beside a mask, where they cannot be told from the absent,
    they make the row NaN (isotonic; neuralsort always). So does a NaN. Ties are sorted as ``torch.sort`` does.

    Raises:
        InputError: x is not floating or has no such axis; ``relax``, ``temperature`` or ``mask`` is not usable.

    Example:
        >>> import torch
        >>> values, permutation = sort(torch.tensor([3.0, 1.0, 2.0]), temperature=0.1)
        >>> values, permutation.apply(torch.tensor([30.0, 10.0, 20.0]))
        (tensor([1., 2., 3.]), tensor([10., 20., 30.]))
        >>> sort(torch.tensor([3.0, 1.0, 2.0]), temperature=2.0)[0]
        tensor([1.5000, 2.0000, 2.5000])

    Limit: as :math:`\tau \to 0`, ``torch.sort``.

    Cost: O(n log n) time, O(n) memory for each row, forward and backward; a window w O(n log n + n w) and O(n w);
    neuralsort O(n^2) time, a block of rows of its matrix in memory.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020; Struski et al.,
    "LapSum - One Method to Differentiate Them All: Ranking, Sorting and Top-k Selection", 2025; Prillo and
    Eisenschlos, "SoftSort", 2020; Grover, Wang, Zweig and Ermon, "Stochastic Optimization of Sorting Networks via
    Continuous Relaxations", 2019.
    """
    relaxation = resolve(relax, RELAXATIONS)
    data = move_last(x, dim)
    frame = {"shape": tuple(x.shape), "dim": dim, "straight": hard}
    present = mask_last(mask, x, dim)
    values, permutation = relaxation.sort(data, temperature_last(temperature, data), descending, present, frame)
    if hard:
        order = permutation.hard()
        exact = data.gather(-1, order)
        if present is not None:
            exact = exact.masked_fill(~present.gather(-1, order), 0.0)
        values = exact_forward(exact, values)
    return move_back(values, dim, x.dtype), permutation


@capability("operation", cost="as sort")
def argsort(
    x: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> SoftPermutation:
    r"""Return the soft permutation that sorts: the soft ``torch.argsort``.

    It is the second of what ``sort`` returns, with the same arguments. With an isotonic relaxation its entries do not
    move with x (only its blocks do, in steps), so no gradient goes from its products to x; with the others one does.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        descending: largest first.
        relax: as in ``sort``.
        temperature: :math:`\tau > 0`.
        hard: exact products forward, the soft gradient backward.
        mask: bool, True where an entry is present.

    Raises:
        InputError: as ``sort``.

    Example:
        >>> import torch
        >>> argsort(torch.tensor([3.0, 1.0, 2.0])).hard()
        tensor([1, 2, 0])

    Limit: as :math:`\tau \to 0`, the permutation of ``torch.argsort``.

    Cost: as ``sort``.

    Source: as ``sort``.
    """
    return sort(x, dim, descending, relax=relax, temperature=temperature, hard=hard, mask=mask)[1]
