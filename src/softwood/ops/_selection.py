"""Soft indices: a distribution over the items for each pick, multiplied without forming the matrix."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from softwood.core import InputError
from softwood.gradients import straight_through


class SoftSelection(ABC):
    """k picks out of n items, each a distribution: what a relaxed operation returns where torch returns indices.

    The matrix P, ``[..., k, n]`` over (pick, item), has rows that sum to 1. It is formed only by ``dense()``.

    Args:
        shape: of the tensor whose items are picked.
        dim: its axis of n items.
        straight: what ``apply`` and ``dense`` return is exact, and only their gradient is soft.

    Example:
        >>> picks = DenseSelection(torch.tensor([[0.25, 0.75, 0.0]]), shape=(3,))
        >>> picks.apply(torch.tensor([4.0, 8.0, 100.0])), picks.hard()
        (tensor([7.]), tensor([1]))
    """

    def __init__(self, shape: tuple[int, ...], dim: int = -1, straight: bool = False) -> None:
        self._shape = tuple(shape)
        self._dim = dim % len(shape)
        self._straight = straight

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of a tensor {self._shape} along dim {self._dim}>"

    @abstractmethod
    def _product(self, values: Tensor) -> Tensor:
        """Return P times values ``[*batch, f, n]``, as ``[*batch, f, k]``."""

    @abstractmethod
    def _matrix(self) -> Tensor:
        """Return P, ``[*batch, k, n]``."""

    @abstractmethod
    def hard(self) -> Tensor:
        """Return the index of the item that each pick would be without softness, int64 ``[*batch, k]``."""

    def apply(self, values: Tensor) -> Tensor:
        """Return P times ``values`` along the axis: the soft ``take_along_dim``.

        Args:
            values: of the shape of the tensor that was picked from, with any further axes behind it (the features
                of each item).

        Returns:
            The same axes, with k picks in place of n items, in the dtype of ``values``.

        Raises:
            InputError: the shape is another one.
        """
        rows = self._to_rows(values, self._shape)
        picked = self._product(self._raised(rows)).to(values.dtype)
        if self._straight:
            index = self.hard().unsqueeze(-2).expand(*rows.shape[:-1], -1)
            picked = straight_through(rows.gather(-1, index), picked)
        return self._from_rows(picked, values)

    def dense(self) -> Tensor:
        """Return the matrix P ``[*batch, k, n]``. It takes O(k n) memory."""
        soft = self._matrix()
        if not self._straight:
            return soft
        return straight_through(torch.zeros_like(soft).scatter(-1, self.hard().unsqueeze(-1), 1.0), soft)

    def log_dense(self) -> Tensor:
        """Return log P ``[*batch, k, n]``: -inf, without gradient, where P is exactly 0."""
        soft = self._matrix()
        present = soft > 0
        return torch.where(present, torch.where(present, soft, 1.0).log(), -torch.inf)

    @staticmethod
    def _raised(values: Tensor) -> Tensor:
        return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

    def _to_rows(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return values ``[*shape, *features]`` as ``[*batch, f, n]``."""
        axes = len(shape)
        if not values.is_floating_point():
            raise InputError("values are not floating", got=values.dtype, allowed="a floating tensor",
                             fix="pass values.float()")  # fmt: skip
        if values.shape[:axes] != shape:
            raise InputError("values do not fit the selection", got=f"shape {tuple(values.shape)}",
                             allowed=f"{shape}, with any axes behind", fix="pass one value for each item")  # fmt: skip
        moved = values.movedim(self._dim, axes - 1)
        return moved.reshape(*moved.shape[:axes], math.prod(moved.shape[axes:])).mT  # -1 is ambiguous for none

    def _from_rows(self, rows: Tensor, values: Tensor) -> Tensor:
        axes = len(self._shape)
        moved = rows.mT.reshape(*rows.shape[:-2], rows.shape[-1], *values.shape[axes:])
        return moved.movedim(axes - 1, self._dim)


class SoftPermutation(SoftSelection):
    """n picks out of n items: a soft permutation matrix.

    Example:
        >>> swap = DensePermutation(torch.tensor([[0.1, 0.9], [0.9, 0.1]]), torch.tensor([1, 0]), shape=(2,))
        >>> swap.transpose_apply(torch.tensor([10.0, 0.0]))
        tensor([1., 9.])
    """

    @abstractmethod
    def _transpose_product(self, values: Tensor) -> Tensor:
        """Return the transpose of P times values ``[*batch, f, n]``, as ``[*batch, f, n]``."""

    def transpose_apply(self, values: Tensor) -> Tensor:
        """Return the transpose of P times ``values`` along the axis: what stands at each place goes back to its item.

        Args:
            values: of the shape of the tensor that was picked from, with any further axes behind it.

        Raises:
            InputError: the shape is another one.
        """
        rows = self._to_rows(values, self._shape)
        back = self._transpose_product(self._raised(rows)).to(values.dtype)
        if self._straight:
            index = self.hard().unsqueeze(-2).expand(*rows.shape[:-1], -1)
            back = straight_through(torch.zeros_like(rows).scatter(-1, index, rows), back)
        return self._from_rows(back, values)


class DenseSelection(SoftSelection):
    """A soft selection whose matrix is at hand.

    Args:
        matrix: P, ``[*batch, k, n]``.
        indices: int64 ``[*batch, k]``, the hard picks; None for the largest entry of each row.
        shape: of the tensor that was picked from; None for ``[*batch, n]``.
        dim: its axis of n items.
        log: log P where the operation has it.
        straight: see ``SoftSelection``.

    Example:
        >>> DenseSelection(torch.tensor([[0.25, 0.75]])).hard()
        tensor([1])
    """

    def __init__(
        self,
        matrix: Tensor,
        indices: Tensor | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        dim: int = -1,
        log: Tensor | None = None,
        straight: bool = False,
    ) -> None:
        super().__init__((*matrix.shape[:-2], matrix.shape[-1]) if shape is None else shape, dim, straight)
        self._entries = matrix
        self._indices = indices
        self._log = log

    def _product(self, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            dtype = torch.promote_types(values.dtype, self._entries.dtype)
            return values.to(dtype) @ self._entries.to(dtype).mT

    def _matrix(self) -> Tensor:
        return self._entries

    def log_dense(self) -> Tensor:
        """Return log P ``[*batch, k, n]``: -inf, without gradient, where P is exactly 0."""
        return super().log_dense() if self._log is None else self._log

    def hard(self) -> Tensor:
        """Return the index of the item that each pick would be without softness, int64 ``[*batch, k]``."""
        return self._entries.argmax(-1) if self._indices is None else self._indices


class DensePermutation(DenseSelection, SoftPermutation):
    """A soft permutation whose matrix is at hand.

    Args:
        matrix: P, ``[*batch, n, n]``.
        indices: int64 ``[*batch, n]``, the hard permutation (the largest entry of each row need not be one).
        shape: of the tensor that was permuted; None for ``[*batch, n]``.
        dim: its axis of n items.
        log: log P where the operation has it.
        straight: see ``SoftSelection``.

    Example:
        >>> DensePermutation(torch.eye(2), torch.tensor([0, 1])).apply(torch.tensor([3.0, 4.0]))
        tensor([3., 4.])
    """

    def __init__(
        self,
        matrix: Tensor,
        indices: Tensor,
        *,
        shape: tuple[int, ...] | None = None,
        dim: int = -1,
        log: Tensor | None = None,
        straight: bool = False,
    ) -> None:
        super().__init__(matrix, indices, shape=shape, dim=dim, log=log, straight=straight)

    def _transpose_product(self, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            dtype = torch.promote_types(values.dtype, self._entries.dtype)
            return values.to(dtype) @ self._entries.to(dtype)
