"""Scores of items that see each other: a Transformer without places."""

from __future__ import annotations

from torch import Tensor, nn

from softwood.core import InputError, check_number


class SetOrdinalEncoder(nn.Module):
    r"""One score for each item of a list, from all items together.

    Attention without places: :math:`f(\Pi x) = \Pi f(x)` for every permutation :math:`\Pi`. What is sorted by these
    scores can depend on the company, which a network that sees one item at a time cannot.

    Args:
        in_features: numbers of each item.
        width: of the inner layers, a multiple of ``heads``.
        heads: of attention.
        depth: layers of attention.

    Raises:
        InputError: a number is out of range, or ``width`` is no multiple of ``heads``.

    Cost: O(depth n (n + width) width) for a list of n items.

    Example:
        >>> import torch
        >>> encoder = SetOrdinalEncoder(3)
        >>> encoder(torch.zeros(2, 5, 3)).shape
        torch.Size([2, 5])

    Source: Kim, Yoon and Cho, "Generalized Neural Sorting Networks with Error-Free Differentiable Swap Functions",
    2024.
    """

    def __init__(self, in_features: int, *, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("width", width), ("heads", heads), ("depth", depth)):
            check_number(name, value, low=1, integer=True)
        if width % heads:
            raise InputError("width is no multiple of heads", got=f"{width} and {heads}", allowed="a multiple",
                             fix=f"pass width={heads * -(-width // heads)}")  # fmt: skip
        self.inward = nn.Linear(in_features, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.outward = nn.Linear(width, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return scores ``[..., n]`` of items ``[..., n, in_features]``; ``mask`` is True where an item is present."""
        items = self.inward(x).flatten(0, -3) if x.ndim > 2 else self.inward(x).unsqueeze(0)
        absent = None if mask is None else ~mask.expand(x.shape[:-1]).reshape(items.shape[:-1])
        scores: Tensor = self.outward(self.attention(items, src_key_padding_mask=absent)).squeeze(-1)
        return scores.reshape(x.shape[:-1])
