"""Isotonic sort and rank against convex solvers that know nothing of pooling, and finite differences."""

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, isotonic_regression, minimize

import softwood as sw
from softwood.ops import Isotonic
from softwood.ops._isotonic import _project_batched, _sums_batched, block_sums, permutahedron

BOTH = ["isotonic-l2", "isotonic-kl"]


def rows(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def permuted(w):
    """Return all orders of w, one a row."""
    import itertools

    return np.array(list(itertools.permutations(w)))


def nearest(z, w):
    """Return the point nearest to z of the convex hull of all orders of w, by weights on its corners."""
    corners = permuted(w)
    m = len(corners)
    found = minimize(
        lambda a: ((a @ corners - z) ** 2).sum(), np.full(m, 1 / m), jac=lambda a: 2 * corners @ (a @ corners - z),
        bounds=[(0, 1)] * m, constraints=LinearConstraint(np.ones((1, m)), 1, 1), method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip
    return found.x @ corners


def test_rank_and_sort_are_the_nearest_points_of_the_permutahedron():
    for seed in range(4):
        x = rows(4, seed=seed)
        for temperature in (0.3, 1.0, 3.0):
            ranks = sw.ops.rank(x, temperature=temperature)
            np.testing.assert_allclose(ranks, nearest((x / temperature).numpy(), np.arange(1.0, 5)), atol=1e-6)
            values = sw.ops.sort(x, temperature=temperature)[0]
            np.testing.assert_allclose(values, nearest(np.arange(1.0, 5) / temperature, x.numpy()), atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 50, 2000])
def test_l2_agrees_with_scipys_isotonic_regression(n):
    x = rows(n, seed=n)
    for temperature in (1e-3, 0.02, 0.7, 40.0):
        z = x.sort().values.numpy() / temperature
        expected = z - isotonic_regression(z - np.arange(1, n + 1)).x
        found = sw.ops.rank(x, temperature=temperature).gather(0, x.argsort())
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)
        z = np.arange(1, n + 1) / temperature
        expected = z - isotonic_regression(z - x.sort().values.numpy()).x
        np.testing.assert_allclose(sw.ops.sort(x, temperature=temperature)[0], expected, rtol=1e-9, atol=1e-6)


def entropic(z, w):
    """Return z - v for z, w sorted downward, by minimising sum exp(z - v) + exp(w) v over falling v directly."""
    n = len(z)
    falls = np.tril(np.ones((n, n)))  # v = -falls @ u + v_1, u >= 0 except the first
    found = minimize(
        lambda u: (np.exp(z + falls @ u) - np.exp(w) * (falls @ u)).sum(), np.zeros(n),
        jac=lambda u: falls.T @ (np.exp(z + falls @ u) - np.exp(w)),
        bounds=[(None, None)] + [(0, None)] * (n - 1), method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-11},
    )  # fmt: skip
    return z + falls @ found.x


def test_kl_agrees_with_a_general_solver():
    for seed in range(5):
        x = rows(6, seed=seed)
        down, order = x.sort(descending=True)
        for temperature in (0.5, 2.0):
            ranks = sw.ops.rank(x, relax="isotonic-kl", temperature=temperature)
            expected = np.exp(entropic(down.numpy() / temperature, np.log(np.arange(6.0, 0, -1))))
            np.testing.assert_allclose(ranks[order], expected, atol=1e-5)
            values = sw.ops.sort(x, relax="isotonic-kl", temperature=temperature, descending=True)[0]
            np.testing.assert_allclose(values, entropic(np.arange(6.0, 0, -1) / temperature, down.numpy()), atol=1e-5)


@pytest.mark.parametrize("relax", BOTH)
def test_ranks_and_values_keep_their_sums_and_their_order(relax):
    x = rows(7, 30)
    ranks = sw.ops.rank(x, relax=relax, temperature=0.5)
    torch.testing.assert_close(ranks.sum(-1), torch.full((7,), 465.0, dtype=torch.float64))
    assert (ranks.gather(-1, x.argsort(-1)).diff() >= -1e-12).all()
    torch.testing.assert_close(sw.ops.rank(x + 3, relax=relax, temperature=0.5), ranks)
    torch.testing.assert_close(sw.ops.rank(100 * x, relax=relax, temperature=50.0), ranks)
    torch.testing.assert_close(sw.ops.rank(x, descending=True, relax=relax), sw.ops.rank(-x, relax=relax))
    values, permutation = sw.ops.sort(x, relax=relax, temperature=5.0)
    assert (values.diff() >= -1e-12).all()
    if relax == "isotonic-l2":
        torch.testing.assert_close(values.sum(-1), x.sum(-1))
        torch.testing.assert_close(sw.ops.sort(x, descending=True, temperature=5.0)[0], values.flip(-1))
        jacobian = torch.func.jacrev(lambda row: sw.ops.sort(row, temperature=5.0)[0])(x[0])
        torch.testing.assert_close(jacobian, permutation.dense().double()[0])
    else:
        down = sw.ops.sort(x, descending=True, relax=relax, temperature=5.0)[0]
        torch.testing.assert_close(down.exp().sum(-1), x.exp().sum(-1))


@pytest.mark.parametrize("relax", BOTH)
@pytest.mark.parametrize("descending", [False, True])
def test_gradients_agree_with_finite_differences(relax, descending):
    x = rows(3, 8, seed=3).requires_grad_()
    temperature = torch.tensor([[0.4], [1.0], [2.5]], dtype=torch.float64, requires_grad=True)
    for call in (
        lambda x, t: sw.ops.sort(x, descending=descending, relax=relax, temperature=t)[0],
        lambda x, t: sw.ops.rank(x, descending=descending, relax=relax, temperature=t),
    ):
        assert torch.autograd.gradcheck(call, (x, temperature))
        assert torch.autograd.gradgradcheck(call, (x, temperature))


def test_the_permutation_multiplies_as_its_matrix_does():
    x = rows(2, 5, 3)
    values, features = rows(2, 5, 3, seed=1), rows(2, 5, 3, 4, seed=2)
    for permutation in (sw.ops.argsort(x, 1, temperature=3.0), sw.ops.argsort(x, 1, temperature=3.0, descending=True)):
        dense = permutation.dense().double()
        assert dense.shape == (2, 3, 5, 5)
        torch.testing.assert_close(dense.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
        torch.testing.assert_close(dense.sum(-2), torch.ones(2, 3, 5, dtype=torch.float64))
        torch.testing.assert_close(permutation.apply(values), torch.einsum("bckn,bnc->bkc", dense, values))
        torch.testing.assert_close(permutation.apply(features), torch.einsum("bckn,bncf->bkcf", dense, features))
        torch.testing.assert_close(permutation.transpose_apply(values), torch.einsum("bckn,bkc->bnc", dense, values))
        assert torch.autograd.gradcheck(permutation.apply, values.clone().requires_grad_())
        assert torch.autograd.gradcheck(permutation.transpose_apply, values.clone().requires_grad_())


@pytest.mark.parametrize("relax", BOTH)
def test_absent_entries_change_nothing(relax):
    x, mask = rows(4, 9), torch.rand(4, 9, generator=torch.Generator().manual_seed(1)) < 0.6
    filled = torch.where(mask, x, 77.0).requires_grad_()
    for descending in (False, True):
        ranks = sw.ops.rank(filled, descending=descending, relax=relax, temperature=0.7, mask=mask)
        values, permutation = sw.ops.sort(filled, descending=descending, relax=relax, temperature=3.0, mask=mask)
        for row in range(4):
            few = x[row][mask[row]]
            torch.testing.assert_close(
                ranks[row][mask[row]], sw.ops.rank(few, descending=descending, relax=relax, temperature=0.7)
            )
            alone, matrix = sw.ops.sort(few, descending=descending, relax=relax, temperature=3.0)
            torch.testing.assert_close(values[row, : len(few)], alone)
            assert values[row, len(few) :].eq(0).all()
            dense = permutation.dense()[row]
            torch.testing.assert_close(dense[: len(few)][:, mask[row]], matrix.dense())
            assert dense[:, ~mask[row]].eq(0).all()
        assert ranks[~mask].eq(0).all()
        upstream = rows(4, 9, seed=5)
        for answer in (ranks, values, permutation.apply(filled)):
            gradient = torch.autograd.grad((answer * upstream).sum(), filled, retain_graph=True, allow_unused=True)[0]
            assert gradient.isfinite().all()
            assert gradient[~mask].eq(0).all()


@pytest.mark.parametrize("relax", BOTH)
def test_infinities_stand_at_the_ends_and_a_nan_spoils_its_row_only(relax):
    x = torch.tensor([[torch.inf, 0.3, -torch.inf, 0.1, torch.inf], [1.0, torch.nan, 2.0, 3.0, 4.0]]).double()
    ranks = sw.ops.rank(x, relax=relax, temperature=1.0)
    assert ranks[0, [0, 2, 4]].tolist() == pytest.approx([4.5, 1.0, 4.5])
    assert ranks[0, [1, 3]].sum().item() == pytest.approx(5.0)
    assert ranks[1].isnan().all()
    values = sw.ops.sort(x, relax=relax, temperature=0.1)[0]
    assert values[0].tolist() == pytest.approx([-np.inf, 0.1, 0.3, np.inf, np.inf])
    assert values[1].isnan().all()
    masked = torch.tensor([True, True, True, True, False])
    ranks = sw.ops.rank(x[0], relax=relax, mask=masked)
    assert ranks.tolist() == pytest.approx([4.0, 3.0, 1.0, 2.0, 0.0])
    assert sw.ops.sort(x[0], relax=relax, mask=masked)[0].isnan().all()


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize("unsort", [False, True])
def test_the_path_of_other_devices_agrees_with_the_kernel(kl, unsort):
    data = torch.cat([rows(6, 40, scale=s) for s in (0.01, 1.0, 30.0)])
    data[0, :3], data[1, 5], data[2, 7] = torch.inf, -torch.inf, torch.nan
    data[3] = data[3].round()
    for descending in (True,) if kl else (True, False):
        given = torch.arange(1.0, 41, dtype=torch.float64)
        given = (given.flip(0) if descending else given).repeat(18, 1)
        data[4, 30:] = -torch.inf if descending else torch.inf
        given[4, 30:] = torch.nan
        ours, order, start = permutahedron(data, given, unsort, descending, kl)
        theirs, order_too, start_too = _project_batched(data, given, unsort, descending, kl)
        torch.testing.assert_close(ours, theirs, equal_nan=True)
        assert torch.equal(order, order_too)
        good = ~ours.isnan().any(-1)
        assert torch.equal(start[good], start_too[good])
        values = rows(18, 40, seed=9)
        for how in ((True, False, True), (False, True, False), (True, True, True), (False, False, False)):
            torch.testing.assert_close(
                block_sums(values, order, start, *how), _sums_batched(values, order, start, *how)
            )


def test_the_operators_pass_opcheck():
    x, given = rows(2, 6).requires_grad_(), torch.arange(6.0, 0, -1, dtype=torch.float64).repeat(2, 1)
    for kl in (False, True):
        torch.library.opcheck(torch.ops.softwood.permutahedron.default, (x, given, True, True, kl))
    order, start = permutahedron(x.detach(), given, True, True, False)[1:]
    torch.library.opcheck(torch.ops.softwood.block_sums.default, (x, order, start, True, False, True))


def test_large_and_equal_entries_share_their_ranks():
    for scale in (1e17, 1e300):
        x = scale * torch.tensor([2.0, 1.0, 1.0, -3.0, 1.0], dtype=torch.float64)
        assert sw.ops.rank(x).tolist() == [5.0, 3.0, 3.0, 1.0, 3.0]


def test_memory_does_not_grow_as_a_square():
    x = rows(200_000).float().requires_grad_()
    values, permutation = sw.ops.sort(x, temperature=10.0)  # a matrix would take 160 GB
    (values.sum() + sw.ops.rank(x).sum() + permutation.apply(x).sum()).backward()
    assert x.grad.isfinite().all()


def test_a_divergence_is_one_of_two():
    assert Isotonic("kl") == sw.ops._sort.RELAXATIONS["isotonic-kl"]
    with pytest.raises(sw.core.InputError, match="divergence is unknown"):
        Isotonic("l1")
