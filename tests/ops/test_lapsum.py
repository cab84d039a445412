"""LapSum against the sums written out, and its quantiles against bisection."""

import pytest
import torch

import softwood as sw
from softwood.ops._lapsum import _quantiles_batched, _sums_batched, laplace_quantiles, laplace_sums


def rows(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(q, x, v, kind):
    u = q[:, :, None] - x[:, None, :]
    tail = 0.5 * (-u.abs()).exp()
    kernel = (torch.where(u > 0, 1 - tail, torch.where(u < 0, tail, 0.5)), tail, -tail * u.sign())[kind]
    return (kernel * v[:, None, :]).sum(-1)


def inputs():
    q, x = (torch.cat([rows(2, n, seed=n, scale=s) for s in (0.1, 3.0, 200.0)]) for n in (7, 12))
    q[:, 3], x[:, 5] = x[:, 2], x[:, 2]  # ties within x, and between x and q
    return q, x, rows(6, 12, seed=3)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_the_sums_are_those_written_out(kind):
    q, x, v = inputs()
    torch.testing.assert_close(laplace_sums(q, x, v, kind), written_out(q, x, v, kind))
    torch.testing.assert_close(_sums_batched(q, x, v, kind), written_out(q, x, v, kind))
    for empty in (q[:, :0], q[:0, :]):
        assert laplace_sums(empty, x[: len(empty)], v[: len(empty)], kind).shape == empty.shape
    assert laplace_sums(q, x[:, :0], v[:, :0], kind).eq(0).all()


def test_quantiles_are_the_inverse_of_the_sums():
    _, x, _ = inputs()
    v = rows(6, 12, seed=4).abs()
    v[:, 4] = 0.0
    t = torch.linspace(0.001, 0.999, 9, dtype=torch.float64) * v.sum(-1, keepdim=True)
    b = laplace_quantiles(t, x, v)
    torch.testing.assert_close(laplace_sums(b, x, v, 0), t)
    torch.testing.assert_close(_quantiles_batched(t, x, v), b)
    assert (b.diff() > 0).all()


def test_quantiles_far_between_two_entries_and_at_infinity():
    x = torch.tensor([[-torch.inf, 0.0, 1e4, 3e4, torch.inf]], dtype=torch.float64)
    t = torch.tensor([[0.0, 0.5, 1.5, 2.0, 3.0, 4.0, 4.5]], dtype=torch.float64)
    expected = [-torch.inf, -torch.inf, 0.0, 5e3, 2e4, torch.inf, torch.inf]
    for call in (laplace_quantiles, _quantiles_batched):
        assert call(t, x, torch.ones_like(x))[0].tolist() == pytest.approx(expected, abs=1e-6)
    spoilt = x.clone()
    spoilt[0, 1] = torch.nan
    for call in (laplace_quantiles, _quantiles_batched):
        assert call(t, spoilt, torch.ones_like(x)).isnan().all()


def test_derivatives_of_sums_and_quantiles():
    q, x, v = (one.requires_grad_() for one in (rows(2, 3, seed=1), rows(2, 5, seed=2), rows(2, 5, seed=3)))
    for kind in (0, 1):
        assert torch.autograd.gradcheck(laplace_sums, (q, x, v, kind))
        assert torch.autograd.gradgradcheck(laplace_sums, (q, x, v, kind))
    t = torch.tensor([[0.3, 1.1, 2.0]] * 2, dtype=torch.float64, requires_grad=True)
    weights = (v.detach().abs() + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(laplace_quantiles, (t, x, weights))
    assert torch.autograd.gradgradcheck(laplace_quantiles, (t, x, weights))
    torch.library.opcheck(torch.ops.softwood.laplace_sums.default, (q, x, v, 0))
    torch.library.opcheck(torch.ops.softwood.laplace_quantiles.default, (t, x, weights))


def test_ranks_are_sums_over_all_pairs():
    x = rows(3, 20)
    expected = 0.5 + written_out(x / 0.3, x / 0.3, torch.ones_like(x), 0)
    torch.testing.assert_close(sw.ops.rank(x, relax="lapsum", temperature=0.3), expected)
    torch.testing.assert_close(expected.sum(-1), torch.full((3,), 210.0, dtype=torch.float64))


def test_the_permutation_is_doubly_stochastic_and_has_a_gradient():
    x, mask = rows(3, 8), torch.rand(3, 8, generator=torch.Generator().manual_seed(1)) < 0.7
    for present in (None, mask):
        permutation = sw.ops.argsort(x, relax="lapsum", temperature=0.4, mask=present)
        dense = permutation.dense()
        assert (dense >= 0).all()
        kept = torch.ones(3, 8).bool() if present is None else present
        torch.testing.assert_close(dense.sum(-2), kept.double())
        places = torch.arange(8) < kept.sum(-1, keepdim=True)
        torch.testing.assert_close(dense.sum(-1), places.double())
        values = torch.where(kept, rows(3, 8, seed=2), torch.nan)
        filled = values.nan_to_num(0)
        torch.testing.assert_close(permutation.apply(values), (dense @ filled[..., None])[..., 0])
        given = torch.where(places, rows(3, 8, seed=3), torch.nan)
        back = (dense.mT @ given.nan_to_num(0)[..., None])[..., 0]
        torch.testing.assert_close(permutation.transpose_apply(given), back)

    def product(x, values):
        permutation = sw.ops.argsort(x, relax="lapsum", temperature=0.4, descending=True)
        return permutation.apply(values), permutation.transpose_apply(values), permutation.dense()

    assert torch.autograd.gradcheck(product, (rows(2, 5).requires_grad_(), rows(2, 5, seed=1).requires_grad_()))


def test_infinities_stand_at_the_ends():
    x = torch.tensor([torch.inf, 0.3, -torch.inf, 0.1, torch.inf], dtype=torch.float64)
    ranks = sw.ops.rank(x, relax="lapsum", temperature=0.01)
    assert ranks.tolist() == pytest.approx([4.5, 3.0, 1.0, 2.0, 4.5])
    values = sw.ops.sort(x, relax="lapsum", temperature=0.01)[0]
    assert values.tolist() == pytest.approx([-torch.inf, 0.1, 0.3, torch.inf, torch.inf])


def test_far_neighbours_keep_their_gradient():
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    middle = laplace_quantiles(torch.ones(1, 1), x[None] / 0.002, torch.ones(1, 2))
    torch.testing.assert_close(torch.autograd.grad(middle.sum() * 0.002, x)[0], torch.tensor([0.5, 0.5]))


def test_a_million_entries():
    x = rows(1_000_000).float().requires_grad_()
    values, permutation = sw.ops.sort(x, relax="lapsum", temperature=0.01)
    ranks = sw.ops.rank(x, relax="lapsum", temperature=0.01)
    (values.sum() + 1e-6 * ranks.square().sum() + permutation.apply(x).square().sum()).backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(ranks.double().mean(), torch.tensor(500_000.5).double(), rtol=1e-5, atol=0)
