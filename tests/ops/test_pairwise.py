"""SoftSort, NeuralSort and pairwise ranks against their matrices written out."""

import pytest
import torch

import softwood as sw
from softwood.ops import SoftSort, _pairwise, _topk


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softsort(x, temperature, descending=False):
    found = x.sort(-1, descending).values
    return (-(found[..., :, None] - x[..., None, :]).abs() / temperature).softmax(-1)


def neuralsort(x, temperature):
    n = x.shape[-1]
    spread = (x[..., :, None] - x[..., None, :]).abs().sum(-1)
    weight = n + 1 - 2 * torch.arange(1, n + 1, dtype=x.dtype)
    return ((weight[:, None] * x[..., None, :] - spread[..., None, :]) / temperature).softmax(-1)


@pytest.mark.parametrize("descending", [False, True])
def test_the_matrices_are_those_of_the_papers(descending):
    x = rows(3, 9)
    found, permutation = sw.ops.sort(x, descending=descending, relax="softsort", temperature=0.4)
    expected = softsort(x, 0.4, descending)
    torch.testing.assert_close(permutation.dense(), expected)
    torch.testing.assert_close(found, (expected @ x[..., None])[..., 0])
    found, permutation = sw.ops.sort(x, descending=descending, relax="neuralsort", temperature=0.4)
    expected = neuralsort(x, 0.4) if descending else neuralsort(-x, 0.4)
    torch.testing.assert_close(permutation.dense(), expected)
    torch.testing.assert_close(found, (expected @ x[..., None])[..., 0])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("window", [0, 1, 3, 8, 20])
def test_a_band_holds_the_items_near_each_place(descending, window):
    x, values = rows(2, 9, 3), rows(2, 9, 3, 2, seed=1)
    permutation = sw.ops.argsort(x, 1, descending, relax=SoftSort(window), temperature=0.4)
    last = x.movedim(1, -1)
    place = last.argsort(-1, descending=descending).argsort(-1)
    near = (torch.arange(9)[:, None] - place[..., None, :]).abs() <= window
    expected = softsort(last, 0.4, descending) * near
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(permutation.dense(), expected)
    torch.testing.assert_close(permutation.apply(values), torch.einsum("bckn,bncf->bkcf", expected, values))
    torch.testing.assert_close(permutation.transpose_apply(values), torch.einsum("bckn,bkcf->bncf", expected, values))


@pytest.mark.parametrize("relax", ["softsort", "neuralsort", SoftSort(2)])
def test_absent_items_and_places_hold_nothing(relax):
    x, mask = rows(3, 8), torch.rand(3, 8, generator=torch.Generator().manual_seed(1)) < 0.6
    permutation = sw.ops.argsort(torch.where(mask, x, torch.nan), relax=relax, temperature=0.4, mask=mask)
    dense, places = permutation.dense(), torch.arange(8) < mask.sum(-1, keepdim=True)
    torch.testing.assert_close(dense.sum(-1), places.double())
    assert dense.mT[~mask].eq(0).all()
    values = torch.where(mask, rows(3, 8, seed=2), torch.nan)
    torch.testing.assert_close(permutation.apply(values), (dense @ values.nan_to_num(0)[..., None])[..., 0])
    given = torch.where(places, rows(3, 8, seed=3), torch.nan)
    torch.testing.assert_close(permutation.transpose_apply(given), (dense.mT @ given.nan_to_num(0)[..., None])[..., 0])


@pytest.mark.parametrize("relax", ["softsort", "neuralsort", SoftSort(2)])
def test_products_have_gradients_by_x_and_by_the_values(relax):
    def products(x, values):
        permutation = sw.ops.argsort(x, descending=True, relax=relax, temperature=0.7)
        return permutation.apply(values), permutation.transpose_apply(values), permutation.dense()

    inputs = rows(2, 5).requires_grad_(), rows(2, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(products, inputs)
    assert torch.autograd.gradgradcheck(products, inputs)


def test_blocks_of_rows_give_the_same(monkeypatch):
    x = rows(3, 11).requires_grad_()

    def results():
        values, permutation = sw.ops.sort(x, relax="neuralsort", temperature=0.5)
        back = permutation.transpose_apply(rows(3, 11, seed=1))
        ranks = sw.ops.rank(x, relax="pairwise", temperature=0.5)
        parts = (values, back, ranks)
        return parts, torch.autograd.grad(sum((part * rows(3, 11, seed=2)).sum() for part in parts), x)

    whole = results()
    for module in (_pairwise, _topk):
        monkeypatch.setattr(module, "_BLOCK", 70)
    torch.testing.assert_close(results(), whole)


def test_pairwise_ranks_are_sums_over_all_pairs():
    x = rows(3, 9)
    expected = 0.5 + ((x[..., :, None] - x[..., None, :]) / 0.3).sigmoid().sum(-1)
    torch.testing.assert_close(sw.ops.rank(x, relax="pairwise", temperature=0.3), expected)


def test_infinities():
    x = torch.tensor([torch.inf, 0.3, -torch.inf, 0.1, torch.inf], dtype=torch.float64)
    assert sw.ops.rank(x, relax="pairwise", temperature=0.01).tolist() == pytest.approx([4.5, 3.0, 1.0, 2.0, 4.5])
    expected = [-torch.inf, 0.1, 0.3, torch.inf, torch.inf]
    assert sw.ops.sort(x, relax="softsort", temperature=0.01)[0].tolist() == pytest.approx(expected)
    assert sw.ops.sort(x, relax="neuralsort", temperature=0.01)[0].isnan().all()


def test_softsort_of_half_a_million_entries():
    x = rows(500_000).float().requires_grad_()
    for relax in ("softsort", SoftSort(4)):
        values, permutation = sw.ops.sort(x, relax=relax, temperature=1e-4)
        gradient = torch.autograd.grad(values.square().sum() + permutation.transpose_apply(x).sum(), x)[0]
        assert gradient.isfinite().all()
