"""``straight_through``: the hard value to the last bit, the soft gradient, also under transformations."""

from __future__ import annotations

import pytest
import torch

from softwood.gradients import straight_through


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_value_is_exactly_the_hard_one_in_the_dtype_of_the_soft_one(dtype):
    soft = (torch.randn(200) * 1e3).to(dtype).requires_grad_()
    hard = torch.randint(0, 9, (200,))
    out = straight_through(hard, soft)
    assert out.dtype == dtype
    assert torch.equal(out, hard.to(dtype))


def test_the_gradient_is_that_of_the_soft_value_and_the_hard_one_gets_none():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    hard = torch.ones(5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(5, dtype=torch.float64)
    grads = torch.autograd.grad(straight_through(hard, x.sin()), (x, hard), upstream, allow_unused=True)
    torch.testing.assert_close(grads[0], upstream * x.cos())
    assert grads[1] is None


def test_what_is_not_finite_keeps_the_value_and_gets_no_gradient():
    x = torch.tensor([float("inf"), float("nan"), 1.0], requires_grad=True)
    out = straight_through(torch.tensor([1.0, 2.0, 3.0]), x)
    assert out.tolist() == [1.0, 2.0, 3.0]
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [0.0, 0.0, 1.0]


def test_it_broadcasts_differentiates_twice_and_goes_through_vmap_and_compile():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)

    def f(row):
        return straight_through(row.round(), row.sigmoid())

    assert straight_through(torch.tensor(1), x).shape == x.shape
    first = torch.autograd.grad(f(x).square().sum() + x.sigmoid().square().sum(), x, create_graph=True)[0]
    assert torch.isfinite(torch.autograd.grad(first.sum(), x)[0]).all()
    torch.testing.assert_close(torch.vmap(f)(x), f(x))
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), x), torch.autograd.grad(f(x).sum(), x))
    torch._dynamo.reset()
