import pytest
import torch

from softwood.core import InputError
from softwood.ops import DensePermutation, DenseSelection, sort


def matrix(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).softmax(-1)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_apply_is_the_product_with_the_matrix_along_the_axis(dim):
    shape = (2, 3, 4)
    batch = [size for axis, size in enumerate(shape) if axis != dim % 3]
    p = matrix(*batch, 5, shape[dim])
    picks = DenseSelection(p, shape=shape, dim=dim)
    values = torch.randn(shape, dtype=torch.float64)
    expected = torch.einsum("abkn,abn->abk", p, values.movedim(dim, -1)).movedim(-1, dim)
    torch.testing.assert_close(picks.apply(values), expected)
    features = torch.randn(*shape, 6, 2, dtype=torch.float64)
    for f in range(6):
        torch.testing.assert_close(picks.apply(features)[..., f, 1], picks.apply(features[..., f, 1]))


def test_a_transposed_permutation_undoes_a_hard_one():
    order = torch.tensor([[2, 0, 1], [0, 2, 1]])
    hard = DensePermutation(torch.nn.functional.one_hot(order, 3).double(), order)
    values = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.equal(hard.apply(values), values.take_along_dim(order[..., None], 1))
    assert torch.equal(hard.transpose_apply(hard.apply(values)), values)


def test_a_straight_selection_is_exact_and_has_the_soft_gradient():
    p = matrix(2, 4, 4).requires_grad_()
    order = torch.stack([torch.randperm(4, generator=torch.Generator().manual_seed(s)) for s in (1, 2)])
    soft, hard = (DensePermutation(p, order, straight=straight) for straight in (False, True))
    values = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(hard.apply(values), values.gather(-1, order))
    assert torch.equal(hard.transpose_apply(hard.apply(values)), values)
    assert torch.equal(hard.dense().argmax(-1), order)
    assert hard.dense().unique().tolist() == [0.0, 1.0]
    upstream = torch.randn(2, 4, dtype=torch.float64)
    for call in ("apply", "transpose_apply"):
        pair = [torch.autograd.grad(getattr(one, call)(values), (p, values), upstream) for one in (soft, hard)]
        for ours, theirs in zip(*pair, strict=True):
            assert torch.equal(ours, theirs)


def test_the_logarithm_of_an_exact_zero_has_no_gradient():
    p = torch.tensor([[0.25, 0.75, 0.0]], requires_grad=True)
    log = DenseSelection(p).log_dense()
    assert log[0, 2] == -torch.inf
    torch.testing.assert_close(torch.autograd.grad(log[0, :2].sum(), p)[0], torch.tensor([[4.0, 4 / 3, 0.0]]))
    given = torch.tensor([[-1.0, -2.0, -200.0]])
    assert DenseSelection(given.exp(), log=given).log_dense() is given


def test_values_keep_their_dtype_also_under_autocast():
    picks = DenseSelection(matrix(2, 3, dtype=torch.float32))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert picks.apply(torch.ones(3, dtype=dtype)).dtype == dtype
    values = torch.full((3,), 1.001)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(picks.apply(values), torch.full((2,), 1.001))


def test_values_of_another_shape_are_refused():
    picks = DenseSelection(matrix(2, 3, 4))
    for shape in ((4,), (3, 4), (2, 5), (1, 4)):
        with pytest.raises(InputError, match="values do not fit"):
            picks.apply(torch.ones(shape))


@pytest.mark.parametrize("relax", ["isotonic-l2", "lapsum", "softsort", "neuralsort", "network"])
def test_products_with_the_permutation_of_nothing_are_nothing(relax):
    permutation = sort(torch.randn(3, 0), relax=relax)[1]
    for found in (permutation.apply(torch.ones(3, 0)), permutation.transpose_apply(torch.ones(3, 0))):
        assert found.shape == (3, 0)
    assert permutation.apply(torch.ones(3, 0, 2)).shape == (3, 0, 2)
