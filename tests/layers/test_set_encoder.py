"""Scores of items that see each other."""

from __future__ import annotations

import pytest
import torch

from softwood.core import InputError
from softwood.layers import SetOrdinalEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SetOrdinalEncoder(3, width=16, heads=2).double()


def test_it_does_not_see_places(encoder):
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order], atol=1e-12, rtol=0)


def test_an_item_sees_the_others_but_not_the_absent_ones(encoder):
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    mask = torch.arange(7) < 5
    other = x.clone()
    other[:, 5:] = 9.0
    torch.testing.assert_close(encoder(other, mask)[:, :5], encoder(x, mask)[:, :5])
    other = x.clone()
    other[:, 0] = 9.0
    assert (encoder(other)[:, 1:] - encoder(x)[:, 1:]).abs().max() > 1e-3


def test_any_batch_axes(encoder):
    x = torch.randn(2, 3, 5, 3, dtype=torch.float64)
    scores = encoder(x)
    assert scores.shape == (2, 3, 5)
    torch.testing.assert_close(encoder(x[1, 2]), scores[1, 2])


def test_what_cannot_be_built():
    with pytest.raises(InputError, match="no multiple of heads"):
        SetOrdinalEncoder(3, width=10, heads=4)
    with pytest.raises(InputError, match="depth"):
        SetOrdinalEncoder(3, depth=0)
