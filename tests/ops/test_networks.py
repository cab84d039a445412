import itertools

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from softwood.core import InputError
from softwood.ops import Network, argsort, sort
from softwood.ops._networks import _SWAPS, _batched, _network, _share

MONOTONE = ("reciprocal", "cauchy", "optimal")
EACH = pytest.mark.parametrize("swap", _SWAPS)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_dense_matrices(x, swap, odd_even):
    """Multiply a matrix for each layer; places behind n hold infinity, which the swaps leave alone."""
    n = len(x)
    padded = 1 << max(n - 1, 0).bit_length()
    matrix, y = torch.eye(n, dtype=x.dtype), x
    if odd_even:
        layers = [[(i, i + 1) for i in range(start % 2, n - 1, 2)] for start in range(n)]
    else:
        layers = []
        for log in range(1, padded.bit_length()):
            block = 1 << log
            layers.append([(b + i, b + block - 1 - i) for b in range(0, padded, block) for i in range(block // 2)])
            for step in (1 << k for k in reversed(range(log - 1))):
                pairs = itertools.product(range(0, padded, 2 * step), range(step))
                layers.append([(b + i, b + i + step) for b, i in pairs])
    for pairs in layers:
        layer = torch.eye(n, dtype=x.dtype)
        for i, j in pairs:
            if j < n:
                s = _share(y[j] - y[i], _SWAPS[swap], 0.25)
                layer[i, i] = layer[j, j] = s
                layer[i, j] = layer[j, i] = 1 - s
        matrix, y = layer @ matrix, layer @ y
    return y, matrix


@EACH
@pytest.mark.parametrize("layout", ["bitonic", "odd-even"])
@pytest.mark.parametrize("n", [1, 3, 8, 11])
def test_swaps_are_the_product_of_dense_matrices(swap, layout, n):
    x = drawn(n)
    values, permutation = sort(x, relax=Network(swap, layout), temperature=0.5)
    wanted, matrix = by_dense_matrices(x / 0.5, swap, layout == "odd-even")
    torch.testing.assert_close(values, wanted * 0.5)
    torch.testing.assert_close(permutation.dense(), matrix)
    torch.testing.assert_close(permutation.apply(x), values)
    torch.testing.assert_close(permutation.transpose_apply(x), matrix.T @ x)
    for axis in (0, 1):  # nothing leaks to padding
        torch.testing.assert_close(permutation.dense().sum(axis), torch.ones(n).double())


@EACH
@pytest.mark.parametrize("error_free", [False, True])
def test_gradients(swap, error_free):
    x, v = drawn(2, 5).requires_grad_(), drawn(2, 5, seed=1).requires_grad_()
    if not error_free:
        t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

        def every(x, v, t):
            values, permutation = sort(x, relax=Network(swap), temperature=t)
            return values, permutation.apply(v), permutation.transpose_apply(v)

        assert gradcheck(every, (x, v, t))
        if swap == "cauchy":
            assert gradgradcheck(lambda x, v: every(x, v, t.detach())[:2], (x, v))
    else:  # the swaps of the torch path say what hard forward and soft backward means
        size = torch.tensor([5, 4])
        both = [f(x, v.unsqueeze(1), size, False, _SWAPS[swap], 0.25, True) for f in (_network, _batched)]
        torch.testing.assert_close(*both)
        upstream = [drawn(2, 5, seed=2), drawn(2, 1, 5, seed=3)]
        torch.testing.assert_close(*(torch.autograd.grad(found, (x, v), upstream) for found in both))


@pytest.mark.parametrize("swap", ["logistic", *MONOTONE])
def test_monotone_swaps_have_no_negative_gradient_and_logistic_ones_have(swap):
    x = drawn(100, 8)
    for temperature in (1.0, 0.25, 0.06):

        def values(x, t=temperature):
            return sort(x, relax=Network(swap), temperature=t)[0]

        jacobian = torch.vmap(torch.func.jacrev(values))(x)
        falling = (jacobian < -1e-12).double().mean()
        if swap in MONOTONE:
            assert falling == 0
        elif temperature < 1:
            assert falling >= 0.1


def test_at_equal_slope_the_optimal_swap_errs_least():
    x = drawn(200, 5)
    error = {swap: (sort(x, relax=Network(swap, "odd-even"), temperature=0.0625)[0] - x.sort(-1)[0]).abs().mean()
             for swap in MONOTONE}  # fmt: skip
    assert error["optimal"] < error["cauchy"] < error["reciprocal"]


@EACH
def test_error_free_swaps_sort_exactly_and_keep_a_gradient(swap):
    x = drawn(4, 11).requires_grad_()
    values, permutation = sort(x, relax=Network(swap, error_free=True), temperature=0.5)
    torch.testing.assert_close(values, x.sort(-1)[0], atol=1e-12, rtol=0)
    assert (permutation.dense().argmax(-1) == x.argsort(-1)).all()
    assert (sort(x, relax=Network(swap), temperature=0.5)[0] - values).abs().max() > 1e-3
    gradient = torch.autograd.grad(values, x, drawn(4, 11, seed=1))[0]
    if swap in MONOTONE:
        assert (torch.autograd.grad(sort(x, relax=Network(swap, error_free=True))[0][:, 0].sum(), x)[0] >= -1e-12).all()
    assert ((gradient != 0).sum(-1) == 11).all()


@pytest.mark.parametrize("dim", [0, -1])
def test_limits_axes_masks_and_nan(dim):
    x, mask = drawn(6, 7), torch.rand(6, 7, generator=torch.Generator().manual_seed(2)) < 0.7
    for descending in (False, True):
        wanted = x.sort(dim, descending)
        values, permutation = sort(x, dim, descending, relax="network", temperature=1e-7)
        torch.testing.assert_close(values, wanted.values, atol=1e-5, rtol=0)
        assert torch.equal(permutation.hard().movedim(-1, dim), wanted.indices)
    values, permutation = sort(x, relax="network", mask=mask)
    exact = sort(x, relax="network", mask=mask, temperature=1e-7)[0]
    for row in range(6):
        m = int(mask[row].sum())
        torch.testing.assert_close(exact[row, :m], x[row][mask[row]].sort()[0], atol=1e-5, rtol=0)
        assert values[row, m:].eq(0).all()
        matrix = permutation.dense()[row]
        assert matrix[:, ~mask[row]].eq(0).all()
        for axis in (0, 1):
            torch.testing.assert_close(matrix[:m, mask[row]].sum(axis), torch.ones(m).double())
        torch.testing.assert_close(matrix[:m] @ x[row], values[row, :m])
    x[1, 2] = torch.nan
    values = sort(x, relax="network")[0]
    assert values[1].isnan().all()
    assert values[0].isfinite().all()


def test_operators_compile_and_vmap():
    x, v, size = drawn(2, 5).requires_grad_(), drawn(2, 1, 5).requires_grad_(), torch.tensor([5, 4])
    torch.library.opcheck(torch.ops.softwood.network.default, (x, v, size, False, 1, 0.25, False))
    calls = [lambda x: sort(x, relax="network")[0], lambda x: argsort(x, relax="network").apply(x**2)]
    for call in calls:
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), call(x))
        torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), x), torch.autograd.grad(call(x).sum(), x))
    stack = drawn(3, 2, 4)
    torch.testing.assert_close(torch.vmap(calls[0])(stack), calls[0](stack))
    with pytest.raises(InputError, match="optimal"):
        Network("optimum")
