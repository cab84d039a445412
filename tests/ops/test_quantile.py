import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore, rankdata, trim_mean

import softwood as sw
from softwood.core import InputError
from softwood.ops._sort import RELAXATIONS


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("relax", sorted(set(RELAXATIONS) - {"network"}))  # its swaps harden slowly
def test_as_the_temperature_goes_to_zero_they_are_the_exact_ones(relax):
    x = rows(3, 7, 4)
    cold = {"relax": relax, "temperature": 1e-5}
    for dim in (0, 1, -1):
        for keepdim in (False, True):
            expected = torch.quantile(x, 0.3, dim, keepdim)
            torch.testing.assert_close(sw.ops.quantile(x, 0.3, dim, keepdim, **cold), expected)
            expected = torch.from_numpy(np.median(x, axis=dim, keepdims=keepdim))
            torch.testing.assert_close(sw.ops.median(x, dim, keepdim, **cold), expected)
        expected = torch.from_numpy(np.asarray(trim_mean(x, 0.3, axis=dim)))
        torch.testing.assert_close(sw.ops.trimmed_mean(x, 0.3, dim, **cold), expected)
    levels = torch.tensor([0.0, 0.25, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(sw.ops.quantile(x, levels, 1, **cold), torch.quantile(x, levels, 1))


def test_hard_is_exact_and_soft_backward():
    x = rows(4, 9).requires_grad_()
    for call in (lambda **o: sw.ops.quantile(x, 0.4, **o), lambda **o: sw.ops.trimmed_mean(x, 0.2, **o)):
        soft, hard, cold = call(temperature=5.0), call(temperature=5.0, hard=True), call(temperature=1e-6)
        assert (soft - cold).abs().max() > 1e-3
        torch.testing.assert_close(hard, cold)
        assert torch.equal(torch.autograd.grad(soft.sum(), x)[0], torch.autograd.grad(hard.sum(), x)[0])


def test_masks_empty_axes_and_levels_out_of_range():
    x, mask = rows(3, 8), torch.rand(3, 8, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[2] = False
    for call in (lambda x, **o: sw.ops.quantile(x, 0.8, **o), lambda x, **o: sw.ops.trimmed_mean(x, 0.2, **o)):
        found = call(torch.where(mask, x, torch.nan), temperature=2.0, mask=mask)
        for row in (0, 1):
            torch.testing.assert_close(found[row], call(x[row][mask[row]], temperature=2.0))
        assert found[2].isnan()
        assert call(torch.zeros(2, 0)).isnan().all()
    for wrong in (-0.1, 1.1, "half"):
        with pytest.raises(InputError, match="q is"):
            sw.ops.quantile(x, wrong)
    assert sw.ops.quantile(x, torch.tensor([0.5, 2.0]))[1].isnan().all()
    with pytest.raises(InputError, match="too many axes"):
        sw.ops.quantile(x, torch.ones(1, 1))
    with pytest.raises(InputError, match="proportion is out of range"):
        sw.ops.trimmed_mean(x, 0.5)


@pytest.mark.parametrize("relax", ["isotonic-l2", "lapsum"])
def test_gradients(relax):
    x = rows(2, 6).requires_grad_()
    for call in (
        lambda x: sw.ops.quantile(x, torch.tensor([0.2, 0.77]), relax=relax, temperature=2.0),
        lambda x: sw.ops.median(x, relax=relax, temperature=2.0),
        lambda x: sw.ops.trimmed_mean(x, 0.2, relax=relax, temperature=2.0),
        lambda x: sw.ops.dense_rank(x, temperature=0.4),
        lambda x: sw.ops.percentile_rank(x, relax=relax, temperature=0.4),
    ):
        assert torch.autograd.gradcheck(call, x)


def test_dense_ranks_count_equal_entries_once():
    x = torch.randint(0, 5, (4, 12), generator=torch.Generator().manual_seed(0)).double()
    expected = torch.from_numpy(rankdata(x, method="dense", axis=-1)).double()
    torch.testing.assert_close(sw.ops.dense_rank(x, temperature=0.01), expected)
    assert torch.equal(sw.ops.dense_rank(x, hard=True), expected)
    assert torch.equal(
        sw.ops.dense_rank(x.T, 0, descending=True, hard=True), (expected.amax(-1, True) + 1 - expected).T
    )
    mask = torch.rand(4, 12, generator=torch.Generator().manual_seed(1)) < 0.6
    for hard in (False, True):
        found = sw.ops.dense_rank(torch.where(mask, x, torch.nan), temperature=0.01, hard=hard, mask=mask)
        for row in range(4):
            alone = torch.from_numpy(rankdata(x[row][mask[row]], method="dense")).double()
            torch.testing.assert_close(found[row][mask[row]], alone)
        assert found[~mask].eq(0).all()
    y = rows(2, 7)
    tail = (y[:, :, None] - y[:, None, :]) / 0.5
    alike = (-tail.abs()).exp().sum(-1)
    steps = torch.where(tail > 0, 1 - 0.5 * (-tail.abs()).exp(), 0.5 * (-tail.abs()).exp())
    torch.testing.assert_close(sw.ops.dense_rank(y, temperature=0.5), 0.5 + (steps / alike[:, None, :]).sum(-1))


def test_percentile_ranks_are_those_of_scipy():
    x = rows(9)
    expected = [percentileofscore(x, one, "mean") / 100 for one in x]
    np.testing.assert_allclose(sw.ops.percentile_rank(x, hard=True), expected)
    np.testing.assert_allclose(sw.ops.percentile_rank(x, temperature=1e-6), expected)
    mask = x > -1
    few = sw.ops.percentile_rank(x, mask=mask)
    torch.testing.assert_close(few[mask], sw.ops.percentile_rank(x[mask]))
    assert few[~mask].eq(0).all()
