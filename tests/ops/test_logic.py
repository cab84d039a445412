import itertools

import pytest
import torch
from torch.autograd import gradcheck

from softwood import ops
from softwood.core import InputError

NORMS = pytest.mark.parametrize("relax", ["product", "godel", "lukasiewicz"])
TWO = {
    ops.and_: lambda a, b: a and b,
    ops.or_: lambda a, b: a or b,
    ops.xor: lambda a, b: a != b,
    ops.implies: lambda a, b: not a or b,
}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@NORMS
def test_truth_tables(relax):
    for a, b in itertools.product([False, True], repeat=2):
        x, y = torch.tensor(float(a)), torch.tensor(float(b))
        for soft, exact in TWO.items():
            assert soft(x, y, relax=relax).item() == float(exact(a, b))
            assert soft(0.2 + 0.6 * x, 0.2 + 0.6 * y, relax=relax, hard=True).item() == float(exact(a, b))
        assert ops.not_(x).item() == float(not a)
    for values in itertools.product([0.0, 1.0], repeat=4):
        p = torch.tensor(values)
        assert ops.all(p, relax=relax).item() == all(values)
        assert ops.any(p, relax=relax).item() == any(values)
        assert ops.count(p).item() == sum(values)
        assert ops.majority(p, temperature=1e-4).item() == pytest.approx(
            0.5 if sum(values) == 2 else float(sum(values) > 2)
        )


def test_the_product_norm_is_the_probability_of_independent_events():
    p = drawn(4)
    whole = {"all": 0.0, "any": 0.0, "count": 0.0}
    for outcome in itertools.product([0, 1], repeat=4):
        chance = torch.where(torch.tensor(outcome) == 1, p, 1 - p).prod()
        whole["all"] += chance * all(outcome)
        whole["any"] += chance * any(outcome)
        whole["count"] += chance * sum(outcome)
    for name, wanted in whole.items():
        torch.testing.assert_close(getattr(ops, name)(p), wanted)
    torch.testing.assert_close(ops.xor(p[0], p[1]), p[0] * (1 - p[1]) + p[1] * (1 - p[0]))


@NORMS
def test_de_morgan_axes_masks_and_gradients(relax):
    p, mask = drawn(3, 4, 5).requires_grad_(), drawn(3, 4, 5, seed=1) < 0.6
    for dim in (0, 1, -1):
        torch.testing.assert_close(ops.any(p, dim, relax=relax), 1 - ops.all(1 - p, dim, relax=relax))
        torch.testing.assert_close(ops.all(p, dim, relax=relax), ops.all(p.movedim(dim, -1), relax=relax))
    for call in (ops.all, ops.any):
        masked = call(p, relax=relax, mask=mask)
        torch.testing.assert_close(masked[1, 2], call(p[1, 2][mask[1, 2]], relax=relax))
        assert torch.autograd.grad(masked.sum(), p)[0][~mask].eq(0).all()
    small = drawn(2, 3, seed=2).requires_grad_()
    assert gradcheck(lambda p: (ops.all(p, relax=relax), ops.any(p, relax=relax), ops.majority(p)), (small,))
    assert torch.equal(ops.majority(p, mask=mask, hard=True), ((p > 0.5) & mask).sum(-1).gt(mask.sum(-1) / 2).double())


def test_long_axes_in_logarithms():
    log = drawn(10_000).log().requires_grad_()
    assert ops.all(log.exp()).item() == 0
    torch.testing.assert_close(ops.all(log, log=True), log.sum())
    rare = torch.full((1000,), -50.0, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ops.any(rare, log=True).exp(), 1000 * rare[0].exp())
    assert torch.autograd.grad(ops.any(rare, log=True), rare)[0].isfinite().all()
    few = drawn(3, 5).log().requires_grad_()
    torch.testing.assert_close(ops.any(few, log=True).exp(), ops.any(few.exp()))
    assert gradcheck(lambda log: ops.any(log, log=True), (few,))
    with pytest.raises(InputError, match="product"):
        ops.all(few, relax="godel", log=True)
    with pytest.raises(InputError, match="lukasiewicz"):
        ops.and_(few, few, relax="min")
