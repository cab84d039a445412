import pytest
import torch
from torch.autograd import gradcheck

from softwood import ops
from softwood.core import InputError


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_where_and_soft_if():
    x, y, c = drawn(6).requires_grad_(), drawn(6, seed=1).requires_grad_(), drawn(6, seed=2).sigmoid().requires_grad_()
    torch.testing.assert_close(ops.where((c > 0.5).double(), x, y), torch.where(c > 0.5, x, y))
    assert torch.equal(ops.where(c, x, y, hard=True), torch.where(c > 0.5, x, y))
    torch.testing.assert_close(ops.soft_if(c, lambda: x, lambda: y), c * x + (1 - c) * y)
    gradients = [torch.autograd.grad(ops.where(c, x, y, hard=hard).sum(), (c, x, y)) for hard in (False, True)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_one_hot_weights_are_torchs_operations(dim):
    x = drawn(5, 5, 5)
    index = torch.tensor([3, 0, 3])
    hot = torch.nn.functional.one_hot(index, 5).double()
    torch.testing.assert_close(ops.index_select(x, hot, dim), x.index_select(dim, index))
    torch.testing.assert_close(ops.index_select(x, hot.to_sparse(), dim), x.index_select(dim, index))
    y = x.narrow(dim, 0, 3)
    torch.testing.assert_close(ops.scatter(y, hot, dim), torch.zeros_like(x).index_add(dim, index, y))
    weights = drawn(3, 5, seed=1)  # the transpose: <W x, y> = <x, W' y>
    product = (ops.index_select(x, weights, dim) * y).sum()
    torch.testing.assert_close(product, (x * ops.scatter(y, weights, dim)).sum())
    picks = ops.argmax(x, dim, temperature=1e-9)
    torch.testing.assert_close(ops.take_along_dim(x, picks), x.amax(dim, keepdim=True))
    torch.testing.assert_close(
        ops.gather(x, torch.tensor([0.0, 2.0]), dim, temperature=1e-3), x.index_select(dim, torch.tensor([0, 2]))
    )


def test_lookup_takes_rows_of_any_shape():
    table = drawn(4, 2, 3)
    torch.testing.assert_close(ops.lookup(table, torch.eye(4).double()), table)
    assert ops.lookup(table, torch.ones(5, 6, 4).double()).shape == (5, 6, 2, 3)


def test_positions():
    x, start = drawn(2, 9).requires_grad_(), torch.tensor([[2.2], [4.0]], dtype=torch.float64, requires_grad=True)
    wanted = torch.stack([x[0, 2:5], x[1, 4:7]])
    torch.testing.assert_close(ops.slice(x, start, 3, temperature=1e-3), wanted)
    assert torch.equal(ops.slice(x, start, 3, hard=True), wanted)
    torch.testing.assert_close(ops.slice(x.T, start.T, 3, 0), ops.slice(x, start, 3).T)
    assert gradcheck(lambda x, s: ops.slice(x, s, 3, temperature=0.7), (x, start))
    torch.testing.assert_close(ops.gather(x, torch.tensor([-4.0, 99.0]), temperature=1e-3), x[:, [0, 8]])
    with pytest.raises(InputError, match="no places"):
        ops.gather(x[:, :0], torch.tensor([0.0]))
