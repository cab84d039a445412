"""What every relaxation of sort and rank keeps: axes, dtypes, hard values, masks, limits, compilation, vmap."""

import pytest
import torch
from scipy.stats import rankdata
from torch._dynamo.testing import CompileCounterWithBackend

import softwood as sw
from softwood.core import InputError
from softwood.ops import _rank, _sort

# a network depends on the order of what comes in, and has tests of its own
SORTS, RANKS = sorted(set(_sort.RELAXATIONS) - {"network"}), sorted(_rank.RELAXATIONS)
EVERY = [("sort", name) for name in SORTS] + [("rank", name) for name in RANKS]


def call(which, x, **options):
    found = getattr(sw.ops, which)(x, **options)
    return found[0] if which == "sort" else found


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_any_axis_and_any_batch_axes(which, relax):
    x = rows(2, 3, 4)
    for dim in (0, 1, 2, -1, -2, -3):
        expected = call(which, x.movedim(dim, -1).reshape(-1, x.shape[dim]), relax=relax)
        expected = expected.reshape(x.movedim(dim, -1).shape).movedim(-1, dim)
        torch.testing.assert_close(call(which, x, dim=dim, relax=relax), expected)
    torch.testing.assert_close(call(which, x[0, 0], relax=relax), call(which, x, relax=relax)[0, 0])


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_empty_and_single_axes(which, relax):
    for shape in ((3, 0), (0, 3), (0,)):
        assert call(which, torch.zeros(shape), relax=relax).shape == shape
    x = rows(5, 1)
    expected = x if which == "sort" else torch.ones_like(x)
    torch.testing.assert_close(call(which, x, relax=relax), expected)


@pytest.mark.parametrize(("which", "relax"), EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_keep_their_dtype_and_ranks_are_float32_at_least(which, relax, dtype):
    x = rows(4, 6, dtype=dtype).requires_grad_()
    computed = dtype if dtype == torch.float64 else torch.float32
    answer = call(which, x, relax=relax)
    assert answer.dtype == (dtype if which == "sort" else computed)
    torch.testing.assert_close(answer, call(which, x.to(computed), relax=relax).to(answer.dtype))
    assert torch.autograd.grad(answer.sum(), x)[0].dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(call(which, x, relax=relax), answer, rtol=0, atol=0)


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_as_the_temperature_goes_to_zero_it_is_the_hard_answer(which, relax):
    x = rows(5, 9)
    hard = x.sort().values if which == "sort" else torch.from_numpy(rankdata(x, axis=-1))
    gaps = [(call(which, x, relax=relax, temperature=t) - hard).abs().max().item() for t in (30.0, 1.0, 1e-5)]
    assert gaps[0] > gaps[1] >= gaps[2]
    assert gaps[2] < 1e-6


@pytest.mark.parametrize(("which", "relax"), EVERY)
@pytest.mark.parametrize("descending", [False, True])
def test_hard_is_exact_forward_and_soft_backward(which, relax, descending):
    x = rows(4, 7).requires_grad_()
    x.data[0, 3] = x.data[0, 5]
    mask = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) < 0.8
    for present in (None, mask):
        options = {"descending": descending, "relax": relax, "temperature": 0.6, "mask": present}
        soft, hard = (call(which, x, hard=one, **options) for one in (False, True))
        for row in range(4):
            few = x[row].detach() if present is None else x[row][mask[row]].detach()
            if which == "sort":
                expected = few.sort(descending=descending).values
                assert torch.equal(hard[row, : len(few)], expected)
            else:
                expected = torch.from_numpy(rankdata(-few if descending else few))
                assert torch.equal(hard[row] if present is None else hard[row][mask[row]], expected)
        upstream = rows(4, 7, seed=1)
        pair = [torch.autograd.grad(one, x, upstream)[0] for one in (soft, hard)]
        assert torch.equal(*pair)
        assert pair[0].abs().sum() > 0


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_it_is_the_same_in_any_order_of_the_items_and_in_other_units(which, relax):
    x = rows(4, 9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    answer = call(which, x, relax=relax, temperature=0.5)
    shuffled = call(which, x[:, order], relax=relax, temperature=0.5)
    torch.testing.assert_close(shuffled, answer if which == "sort" else answer[:, order])
    torch.testing.assert_close(
        call(which, x + 5, relax=relax, temperature=0.5), answer + 5 if which == "sort" else answer
    )
    down = call(which, x, descending=True, relax=relax, temperature=0.5)
    mirrored = call(which, -x, relax=relax, temperature=0.5)
    torch.testing.assert_close(down, -mirrored if which == "sort" else mirrored)


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_absent_entries_count_for_nothing(which, relax):
    x, mask = rows(4, 9), torch.rand(4, 9, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[3] = False
    for descending in (False, True):
        filled = torch.where(mask, x, torch.nan).requires_grad_()
        options = {"descending": descending, "relax": relax, "temperature": 0.7}
        answer = call(which, filled, mask=mask, **options)
        for row in range(4):
            few = call(which, x[row][mask[row]], **options)
            if which == "sort":
                torch.testing.assert_close(answer[row, : len(few)], few)
                assert answer[row, len(few) :].eq(0).all()
            else:
                torch.testing.assert_close(answer[row][mask[row]], few)
                assert answer[row][~mask[row]].eq(0).all()
        gradient = torch.autograd.grad((answer * rows(4, 9, seed=5)).sum(), filled)[0]
        assert gradient.isfinite().all()
        assert gradient[~mask].eq(0).all()


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_a_nan_spoils_its_row_and_no_other(which, relax):
    x = rows(3, 6)
    x[1, 2] = torch.nan
    for hard in (False, True):
        answer = call(which, x, relax=relax, hard=hard)
        assert answer[1].isnan().all()
        assert torch.equal(answer[[0, 2]], call(which, x[[0, 2]], relax=relax, hard=hard))


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_gradients_by_x_and_by_the_temperature_of_each_row(which, relax):
    x = rows(2, 6, seed=4).requires_grad_()
    temperature = torch.tensor([[0.4], [1.3]], dtype=torch.float64, requires_grad=True)
    for descending in (False, True):

        def function(x, temperature, descending=descending):
            return call(which, x, relax=relax, temperature=temperature, descending=descending)

        assert torch.autograd.gradcheck(function, (x, temperature))
        assert torch.autograd.gradgradcheck(function, (x, temperature))


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_vmap_and_torch_func(which, relax):
    x, upstream = rows(3, 4, 5), rows(4, 5, seed=7)

    def scalar(x):
        return (call(which, x, relax=relax, temperature=0.5) * upstream).sum()

    expected = torch.stack([torch.func.grad(scalar)(one) for one in x])
    torch.testing.assert_close(torch.vmap(torch.func.grad(scalar))(x), expected)
    plain = x.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(sum(scalar(one) for one in plain), plain)[0], expected)


@pytest.mark.parametrize(("which", "relax"), EVERY)
def test_compiled_whole_it_is_the_same_and_a_new_temperature_compiles_nothing(which, relax):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def function(x, temperature):
        return call(which, x, relax=relax, temperature=temperature)

    compiled = torch.compile(function, backend=counter, fullgraph=True)
    x = rows(3, 8, dtype=torch.float32).requires_grad_()
    for temperature in (0.1, 0.5, 3.0):
        pair, gradients = [], []
        for one in (function, compiled):
            pair.append(one(x, torch.tensor(temperature)))
            gradients.append(torch.autograd.grad((pair[-1] * rows(3, 8, seed=1).float()).sum(), x)[0])
        torch.testing.assert_close(*pair)
        torch.testing.assert_close(*gradients)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@pytest.mark.parametrize("relax", SORTS)
def test_a_permutation_multiplies_as_its_matrix_does_and_is_hard_where_asked(relax):
    x, values, features = rows(2, 6, 3), rows(2, 6, 3, seed=1), rows(2, 6, 3, 2, seed=2)
    for descending in (False, True):
        soft, hard = (sw.ops.argsort(x, 1, descending, relax=relax, temperature=0.7, hard=one) for one in (False, True))
        dense = soft.dense().double()
        assert dense.shape == (2, 3, 6, 6)
        torch.testing.assert_close(dense.sum(-1), torch.ones_like(dense[..., 0]))
        torch.testing.assert_close(soft.log_dense().double().exp(), dense)
        torch.testing.assert_close(soft.apply(values), torch.einsum("bckn,bnc->bkc", dense, values))
        torch.testing.assert_close(soft.apply(features), torch.einsum("bckn,bncf->bkcf", dense, features))
        torch.testing.assert_close(soft.transpose_apply(values), torch.einsum("bckn,bkc->bnc", dense, values))
        order = x.argsort(1, descending=descending)
        assert torch.equal(soft.hard(), order.movedim(1, -1))
        assert torch.equal(hard.apply(values), values.take_along_dim(order, 1))
        assert torch.equal(hard.transpose_apply(hard.apply(values)), values)


def test_an_unknown_relaxation_lists_the_known_ones():
    for which in ("sort", "rank"):
        with pytest.raises(InputError, match="'isotonic-l2'"):
            call(which, rows(3), relax="isotonic")
