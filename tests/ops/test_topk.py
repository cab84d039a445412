import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from softwood.core import InputError
from softwood.ops import NeuralSort, _topk, topk, topk_mask
from softwood.ops._topk_mask import MASKS

EACH = pytest.mark.parametrize("relax", _topk.KNOWN)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EACH
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("largest", [True, False])
def test_the_limit_is_torch_topk_on_every_axis(relax, dim, largest):
    x = drawn(6, 5, 7)
    wanted = x.topk(3, dim, largest)
    values, picks = topk(x, 3, dim, largest, relax=relax, temperature=1e-5)
    torch.testing.assert_close(values, wanted.values, atol=1e-4, rtol=0)
    assert torch.equal(picks.hard().movedim(-1, dim), wanted.indices)
    torch.testing.assert_close(picks.apply(x), wanted.values, atol=1e-4, rtol=0)
    hard, exact = topk(x, 3, dim, largest, relax=relax, hard=True)
    assert torch.equal(hard, wanted.values)
    assert torch.equal(exact.apply(x), wanted.values)


@EACH
def test_rows_are_distributions_and_the_product_is_that_of_the_matrix(relax):
    x, features = drawn(4, 9), drawn(4, 9, 2, seed=1)
    values, picks = topk(x, 4, relax=relax, temperature=0.6)
    matrix = picks.dense()
    assert matrix.shape == (4, 4, 9)
    assert (matrix > -1e-12).all()
    torch.testing.assert_close(matrix.sum(-1), torch.ones(4, 4).double())
    torch.testing.assert_close((matrix @ x.unsqueeze(-1)).squeeze(-1), values)
    torch.testing.assert_close(matrix @ features, picks.apply(features))
    torch.testing.assert_close(picks.log_dense().exp(), matrix.clamp_min(0), atol=1e-12, rtol=0)
    if relax in MASKS:
        torch.testing.assert_close(matrix.sum(-2), topk_mask(x, 4, relax=relax, temperature=0.6))


@EACH
def test_gradients_twice(relax):
    x, t = drawn(2, 6).requires_grad_(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def both(x, t):
        values, picks = topk(x, 3, relax=relax, temperature=t)
        return values, picks.dense()

    assert gradcheck(both, (x, t))
    assert gradgradcheck(both, (x, t))


@EACH
def test_blocks_of_rows_change_nothing(relax, monkeypatch):
    x, upstream = drawn(2, 8).requires_grad_(), drawn(2, 5, seed=1)
    whole = topk(x, 5, relax=relax)[0]
    monkeypatch.setattr(_topk, "_BLOCK", 32)  # two rows at a time
    blocks = topk(x, 5, relax=relax)[0]
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(*(torch.autograd.grad(values, x, upstream) for values in (whole, blocks)))


def test_a_hundred_thousand_values_and_a_thousand_places():
    x = drawn(100_000).float().requires_grad_()
    values, picks = topk(x, 1000, temperature=0.01)
    torch.testing.assert_close(picks.apply(torch.ones_like(x)), torch.ones(1000), atol=1e-2, rtol=0)
    torch.testing.assert_close(values[:10], x.topk(10).values, atol=0.05, rtol=0)
    assert torch.autograd.grad(values.sum(), x)[0].isfinite().all()


def test_sorts_own_neuralsort_is_understood():
    x = drawn(5)
    torch.testing.assert_close(topk(x, 2, relax=NeuralSort())[0], topk(x, 2, relax="neuralsort")[0])


def test_neuralsort_is_the_published_formula():
    x = drawn(7)
    n = torch.arange(1, 8, dtype=torch.float64)
    spread = (x[:, None] - x).abs().sum(1)
    wanted = (((8 - 2 * n)[:, None] * x - spread) / 0.5).softmax(-1)
    torch.testing.assert_close(topk(x, 7, relax="neuralsort", temperature=0.5)[1].dense(), wanted)


@EACH
def test_absent_entries_are_as_if_they_were_not_there(relax):
    x, mask = drawn(3, 8).requires_grad_(), torch.rand(3, 8, generator=torch.Generator().manual_seed(4)) < 0.7
    values, picks = topk(x, 3, relax=relax, mask=mask)
    for row in range(
        3 if relax not in ("halving", "network") else 0
    ):  # there the number of entries decides who meets whom
        torch.testing.assert_close(values[row], topk(x[row][mask[row]], 3, relax=relax)[0])
    assert (picks.dense().sum(-2)[~mask] == 0).all()
    assert (torch.autograd.grad(values.sum(), x)[0][~mask] == 0).all()


@EACH
def test_edges(relax):
    x = drawn(3, 5)
    assert topk(x, 0, relax=relax)[0].shape == (3, 0)
    assert topk(x[:0], 2, relax=relax)[0].shape == (0, 2)
    assert topk(x[:, :1], 1, relax=relax)[0].tolist() == x[:, :1].tolist()
    x[1, 2] = torch.nan
    values = topk(x, 2, relax=relax)[0]
    assert values[1].isnan().all()
    assert values[[0, 2]].isfinite().all()
    assert topk(drawn(4).bfloat16(), 2, relax=relax)[0].dtype == torch.bfloat16
    with pytest.raises(InputError, match="k is out of range"):
        topk(x, 6, relax=relax)


@EACH
def test_compiled_whole(relax):
    torch._dynamo.reset()
    x = drawn(3, 6).requires_grad_()
    compiled = torch.compile(lambda x: topk(x, 2, relax=relax)[0], backend="aot_eager", fullgraph=True)
    answers = compiled(x), topk(x, 2, relax=relax)[0]
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(*(torch.autograd.grad(y.sum(), x) for y in answers))


@pytest.mark.parametrize("relax", ["lapsum", "threshold", "budget", "neuralsort", "halving", "network"])
def test_picks_stay_when_x_changes_in_place(relax):
    x = torch.tensor([3.0, 1.0, 2.0])
    _, picks = topk(x, 2, relax=relax, temperature=1.0)
    before = picks.dense()
    x.neg_()
    assert torch.equal(picks.dense(), before)
    assert picks.hard().tolist() == [0, 2]
