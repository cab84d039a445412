import functools

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import gradcheck, gradgradcheck

from softwood.core import InputError
from softwood.ops import entmax, entmax15, softmax, sparsemax
from softwood.ops._simplex import _batched, _batched_pullback, _simplex, _simplex_pullback

SOFTWOOD = torch.ops.softwood
MAPS = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "entmax 1.2": functools.partial(entmax, alpha=1.2),
    "entmax 3": functools.partial(entmax, alpha=3.0),
}
EACH = pytest.mark.parametrize("mapped", MAPS.values(), ids=MAPS)


def drawn(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_sorting(x, power):
    """Sparsemax (1) and entmax-1.5 (2) by the published sort of a single vector."""
    s = torch.sort(x / power, descending=True).values
    k = torch.arange(1, len(x) + 1, dtype=x.dtype)
    if power == 1:
        tau = ((s.cumsum(0) - 1) / k)[(1 + k * s > s.cumsum(0)).sum() - 1]
    else:
        mean, square = s.cumsum(0) / k, (s * s).cumsum(0) / k
        taus = mean - ((1 - k * (square - mean**2)) / k).clamp_min(0).sqrt()
        tau = taus[(taus <= s).sum() - 1]
    return (x / power - tau).clamp_min(0) ** power


def test_values_are_those_of_the_published_algorithms():
    for seed in range(20):
        x = drawn(30, seed=seed, scale=0.5 + seed)
        torch.testing.assert_close(sparsemax(x), by_sorting(x, 1))
        torch.testing.assert_close(entmax15(x), by_sorting(x, 2))
        torch.testing.assert_close(entmax(x, alpha=2.0), sparsemax(x))
    torch.testing.assert_close(entmax(x, alpha=1.0001), softmax(x), atol=1e-3, rtol=0)


def test_values_of_the_entmax_package():
    # entmax 1.3: entmax15(x), sparsemax(x), entmax_bisect(x, alpha=1.3, n_iter=100) of this x
    x = torch.tensor([1.2, 0.3, -0.5, 0.9, 0.0], dtype=torch.float64)
    wanted = {
        1.5: [0.5478522529, 0.0841988735, 0.0, 0.3483011265, 0.0196477471],
        2.0: [0.65, 0.0, 0.0, 0.35, 0.0],
        1.3: [0.4769062713, 0.1210967378, 0.0162942734, 0.3205137628, 0.0651889548],
    }
    for alpha, values in wanted.items():
        torch.testing.assert_close(entmax(x, alpha=alpha), torch.tensor(values, dtype=torch.float64))


@EACH
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_every_axis_is_the_last_one_moved(mapped, dim):
    x = drawn(3, 4, 5)
    torch.testing.assert_close(mapped(x, dim), mapped(x.movedim(dim, -1)).movedim(-1, dim))
    torch.testing.assert_close(mapped(x, dim).sum(dim), torch.ones(()).double().expand(mapped(x, dim).sum(dim).shape))


@EACH
def test_gradients_by_x_and_temperature_twice(mapped):
    x, t = drawn(3, 6).requires_grad_(), torch.tensor([[0.7], [1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, t: mapped(x, temperature=t), (x, t))
    assert gradgradcheck(lambda x, t: mapped(x, temperature=t), (x, t))


def test_the_gradient_by_alpha():
    x = drawn(3, 6).requires_grad_()
    alpha = torch.tensor([[1.1], [1.5], [2.6]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, a: entmax(x, alpha=a), (x, alpha))
    assert gradgradcheck(lambda x, a: entmax(x, alpha=a), (x, alpha))
    rows = torch.stack([entmax(x[i], alpha=alpha[i].item()) for i in range(3)])
    torch.testing.assert_close(entmax(x, alpha=alpha), rows)
    assert entmax(x, alpha=torch.tensor(1.0)).isnan().all()


@EACH
def test_absent_entries_have_no_weight_and_no_gradient(mapped):
    x, mask = drawn(4, 7).requires_grad_(), torch.rand(4, 7, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[2] = False
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    p = mapped(x, mask=mask, temperature=t)
    assert (p[~mask] == 0).all()
    for row in (0, 1, 3):
        torch.testing.assert_close(p[row][mask[row]], mapped(x[row][mask[row]], temperature=0.7))
    by_x, by_t = torch.autograd.grad((p * drawn(4, 7, seed=2)).sum(), (x, t))
    assert (by_x[~mask] == 0).all()
    assert by_x[0].abs().sum() > 0
    assert by_t.isfinite()
    below = x.detach().masked_fill(~mask, -torch.inf)
    torch.testing.assert_close(mapped(below, temperature=0.7), p)


@EACH
def test_nan_and_plus_infinity_make_their_row_nan(mapped):
    x = drawn(3, 4)
    x[0, 1], x[1, 2] = torch.nan, torch.inf
    p = mapped(x)
    assert p[:2].isnan().all()
    assert p[2].isfinite().all()


@EACH
def test_dtypes_sizes_and_autocast(mapped):
    x = drawn(5, 9)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        p = mapped(x.to(dtype))
        assert p.dtype == dtype
        torch.testing.assert_close(p, mapped(x.to(dtype).double()).to(dtype))
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(mapped(x.to(dtype)), p, rtol=0, atol=0)
    assert mapped(x[:, :0]).shape == (5, 0)
    assert mapped(x[:0]).shape == (0, 9)
    assert mapped(x[:, :1]).eq(1).all()


@EACH
def test_the_limit_is_one_hot_and_ties_share(mapped):
    x = torch.tensor([[0.0, 3.0, 2.99, 1.0], [1.0, 1.0, 0.0, 1.0]])
    wanted = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1 / 3, 1 / 3, 0.0, 1 / 3]])
    torch.testing.assert_close(mapped(x, temperature=1e-4), wanted)


@EACH
def test_compiled_whole_with_one_compilation_for_all_temperatures(mapped):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x, t: mapped(x, 0, temperature=t), backend=counter, fullgraph=True)
    for t in (0.3, 1.0, 2.5):
        x, t = drawn(6, 4).float().requires_grad_(), torch.tensor(t, requires_grad=True)
        theirs, ours = mapped(x, 0, temperature=t), compiled(x, t)
        torch.testing.assert_close(ours, theirs)
        upstream = drawn(6, 4, seed=3).float()
        gradients = [torch.autograd.grad(answer, (x, t), upstream) for answer in (ours, theirs)]
        torch.testing.assert_close(*gradients)
    assert counter.frame_count == 1


@EACH
def test_vmap_and_its_gradient(mapped):
    x = drawn(3, 2, 5)
    torch.testing.assert_close(torch.vmap(mapped)(x), mapped(x))
    by_row = torch.vmap(torch.func.grad(lambda row: (mapped(row) ** 2).sum()))(x[0])
    torch.testing.assert_close(by_row, torch.func.grad(lambda rows: (mapped(rows) ** 2).sum())(x[0]))


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0, 3.0])
def test_the_batched_torch_path_gives_the_same(alpha):
    x = drawn(6, 8)
    x[1, 2:5], x[2], x[3, 0], x[4, 1] = -torch.inf, -torch.inf, torch.inf, torch.nan
    p, each = _simplex(x, alpha), torch.full((6,), alpha, dtype=torch.float64)
    torch.testing.assert_close(_batched(x, alpha), p, equal_nan=True)
    torch.testing.assert_close(_batched(x, each), p, equal_nan=True)
    good = p[[0, 1, 2, 5]]
    torch.testing.assert_close(_simplex_pullback(good, good.cos(), alpha), _batched_pullback(good, good.cos(), alpha))


def test_the_operators_pass_opcheck():
    x, each = drawn(3, 5).requires_grad_(), torch.tensor([1.2, 1.5, 2.0], dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(SOFTWOOD.simplex.default, (x, 1.5))
    torch.library.opcheck(SOFTWOOD.simplex_each.default, (x, each))
    torch.library.opcheck(SOFTWOOD.simplex_pullback.default, (_simplex(x, 1.5).detach(), x.detach(), 1.5))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="alpha"):
        entmax(torch.zeros(3), alpha=1.0)
    with pytest.raises(InputError, match="temperature"):
        sparsemax(torch.zeros(3), temperature=0.0)
    with pytest.raises(InputError, match="floating"):
        softmax(torch.zeros(3, dtype=torch.int64))
