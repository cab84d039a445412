import pytest
import torch
from torch.autograd import gradcheck

from softwood import ops
from softwood.core import InputError
from softwood.ops._steps import STEPS


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("relax", STEPS)
def test_a_histogram_counts_everything_once_and_becomes_the_exact_one(relax):
    x, edges = drawn(200), torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = torch.histogram(x, edges).hist
    torch.testing.assert_close(ops.histogram(x, edges, relax=relax, temperature=1e-6), exact, atol=1e-3, rtol=0)
    wide = torch.tensor([-1e3, *edges[1:-1].tolist(), 1e3], dtype=torch.float64)
    torch.testing.assert_close(ops.histogram(x, wide, relax=relax).sum(), torch.tensor(200.0).double())
    small, few = drawn(2, 4).requires_grad_(), edges[2:6].clone().requires_grad_()
    if relax != "c0":
        assert gradcheck(lambda x, e: ops.histogram(x, e, relax=relax, temperature=0.8), (small, few))
    rows, mask = drawn(3, 5, 4), drawn(3, 5, 4, seed=1) > 0
    torch.testing.assert_close(ops.histogram(rows, edges, 1), ops.histogram(rows.mT, edges).mT)
    masked = ops.histogram(rows, edges, mask=mask, relax=relax)
    torch.testing.assert_close(masked[1, 2], ops.histogram(rows[1, 2][mask[1, 2]], edges, relax=relax))
    with pytest.raises(InputError, match="edges"):
        ops.histogram(x, edges[:1])


def test_soft_argmax_finds_the_peak_of_a_grid():
    image = drawn(3, 4, 6)
    flat = image.flatten(1).argmax(-1)
    wanted = torch.stack([flat // 6, flat % 6], -1).double()
    torch.testing.assert_close(ops.soft_argmax(image, 2, temperature=1e-4), wanted)
    torch.testing.assert_close(ops.soft_argmax(torch.zeros(5, 7), 2), torch.tensor([2.0, 3.0]))
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1, 5] = True
    torch.testing.assert_close(ops.soft_argmax(image, 2, mask=mask), torch.tensor([[1.0, 5.0]]).double().expand(3, 2))
    assert gradcheck(lambda x: ops.soft_argmax(x, 2, temperature=0.7), (image.requires_grad_(),))
    with pytest.raises(InputError, match="n_axes"):
        ops.soft_argmax(image, 4)


def test_the_nearest_neighbour_is_that_of_all_distances():
    query, keys, values = drawn(5, 3), drawn(8, 3, seed=1), drawn(8, seed=2)
    distance = torch.cdist(query, keys)
    found = ops.nearest_neighbour(query, keys, temperature=0.5)
    torch.testing.assert_close(found.dense(), (-(distance**2) / 0.5).softmax(-1))
    torch.testing.assert_close(found.log_dense(), (-(distance**2) / 0.5).log_softmax(-1))
    nearest = distance.argmin(-1)
    assert torch.equal(found.hard(), nearest)
    assert torch.equal(ops.nearest_neighbour(query, keys, hard=True).apply(values), values[nearest])
    mask = torch.arange(8) != nearest[0]
    assert ops.nearest_neighbour(query, keys, mask=mask).hard()[0] != nearest[0]
    assert gradcheck(lambda q, k: ops.nearest_neighbour(q, k).dense(), (query.requires_grad_(), keys.requires_grad_()))
