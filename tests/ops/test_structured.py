"""Every structure against the list of all structures, at n <= 6; gradients, limits, masks, forbidden parts."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck

from softwood.core import InputError
from softwood.ops import Alignment, Arborescence, DagPath, Knapsack, KSubset, LinearChain, ProjectiveTree, SpanningTree


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def is_tree(heads, single_root=True):
    roots = [d for d, h in enumerate(heads) if h == d]
    if not roots or (single_root and len(roots) != 1):
        return False
    for start in range(len(heads)):
        node = start
        for _ in heads:
            node = heads[node]
        if heads[node] != node:
            return False
    return True


def is_projective(heads):
    arcs = [(min(h, d), max(h, d)) for d, h in enumerate(heads) if h != d]
    root = next(d for d, h in enumerate(heads) if h == d)
    crossing = any(a < c < b < d for (a, b), (c, d) in itertools.permutations(arcs, 2))
    return not crossing and not any(a < root < b for a, b in arcs)


def heads_of(n, keep):
    return [torch.tensor(heads) for heads in itertools.product(range(n), repeat=n) if keep(heads)]


def paths(n, m, diagonal):
    def grow(cells):
        i, j = cells[-1]
        if (i, j) == (n - 1, m - 1):
            yield cells
        for di, dj in ((0, 1), (1, 0), (1, 1))[: 3 if diagonal else 2]:
            if i + di < n and j + dj < m:
                yield from grow([*cells, (i + di, j + dj)])

    for cells in grow([(0, 0)]):
        grid = torch.zeros(n, m, dtype=torch.int64)
        grid[tuple(zip(*cells, strict=True))] = 1
        yield grid


def dag_paths(n):
    for size in range(n - 1):
        for middle in itertools.combinations(range(1, n - 1), size):
            nodes, grid = [0, *middle, n - 1], torch.zeros(n, n, dtype=torch.int64)
            grid[nodes[:-1], nodes[1:]] = 1
            yield grid


def spanning_trees(n):
    pairs = list(itertools.combinations(range(n), 2))
    for edges in itertools.combinations(pairs, n - 1):
        grid = torch.zeros(n, n, dtype=torch.int64)
        grid[tuple(zip(*edges, strict=True))] = 1
        grid = grid + grid.T
        if ((torch.eye(n) + grid).matrix_power(n) > 0).all():
            yield grid


def subsets(n, keep):
    return [torch.tensor(s) for s in itertools.product((0, 1), repeat=n) if keep(s)]


def tree_score(s, heads):
    return s[heads, torch.arange(len(heads))].sum()


def tree_parts(heads):
    return torch.nn.functional.one_hot(heads, len(heads)).T


def grid_score(s, grid):
    return (s * grid).sum()


def same(grid):
    return grid


WEIGHTS = [3, 1, 2, 2, 0]
CHAIN, STEPS = draw(3, 3, seed=5), draw(3, 3, 3, seed=6)
# name -> scores, structure from scores, all structures, score of one, parts of one
CASES = {
    "chain": (
        draw(4, 3),
        lambda s, **k: LinearChain(s, CHAIN, **k),
        [torch.tensor(y) for y in itertools.product(range(3), repeat=4)],
        lambda s, y: s[torch.arange(4), y].sum() + CHAIN[y[:-1], y[1:]].sum(),
        lambda y: torch.nn.functional.one_hot(y, 3),
    ),
    "chain per step": (
        draw(4, 3),
        lambda s, **k: LinearChain(s, STEPS, per_step=True, **k),
        [torch.tensor(y) for y in itertools.product(range(3), repeat=4)],
        lambda s, y: s[torch.arange(4), y].sum() + STEPS[torch.arange(3), y[:-1], y[1:]].sum(),
        lambda y: torch.nn.functional.one_hot(y, 3),
    ),
    "arborescence": (draw(5, 5), Arborescence, heads_of(5, is_tree), tree_score, tree_parts),
    "arborescence, many roots": (
        draw(4, 4),
        lambda s, **k: Arborescence(s, single_root=False, **k),
        heads_of(4, lambda h: is_tree(h, False)),
        tree_score,
        tree_parts,
    ),
    "projective": (
        draw(5, 5), ProjectiveTree, heads_of(5, lambda h: is_tree(h) and is_projective(h)), tree_score, tree_parts,
    ),
    "spanning tree": (
        draw(5, 5), SpanningTree, list(spanning_trees(5)), lambda s, g: (s * g).sum() / 2, same,
    ),
    "alignment": (draw(4, 3), Alignment, list(paths(4, 3, True)), grid_score, same),
    "lattice": (
        draw(3, 4), lambda s, **k: Alignment(s, diagonal=False, **k), list(paths(3, 4, False)), grid_score, same,
    ),
    "dag": (draw(6, 6), DagPath, list(dag_paths(6)), grid_score, same),
    "subset": (draw(6), lambda s, **k: KSubset(s, 3, **k), subsets(6, lambda s: sum(s) == 3), grid_score, same),
    "knapsack": (
        draw(5),
        lambda s, **k: Knapsack(s, WEIGHTS, 4, **k),
        subsets(5, lambda s: sum(w * x for w, x in zip(WEIGHTS, s, strict=True)) <= 4),
        grid_score,
        same,
    ),
}  # fmt: skip
cases = pytest.mark.parametrize("name", CASES)


@cases
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_totals_marginals_best_and_probabilities_agree_with_enumeration(name, temperature):
    scores, build, everything, score, parts = CASES[name]
    if name.startswith("chain"):  # the second tensor of scores is divided too
        values = torch.stack([score(scores, z) for z in everything]) / temperature
    else:
        values = torch.stack([score(scores / temperature, z) for z in everything])
    total = values.logsumexp(0)
    found = build(scores, temperature=temperature)
    torch.testing.assert_close(found.log_partition(), total)
    share = (values - total).exp()
    expected = sum(p * parts(z) for p, z in zip(share, everything, strict=True))
    torch.testing.assert_close(found.marginals(), expected)
    best = everything[values.argmax()]
    assert torch.equal(found.argmax(), best)
    assert torch.equal(found.marginals(hard=True), parts(best).double())
    for z in everything[:: max(1, len(everything) // 5)]:
        torch.testing.assert_close(found.log_prob(z), score(scores, z) / temperature - total)
    torch.testing.assert_close(found.entropy(), -(share * share.log()).sum())


@cases
def test_gradients_of_marginals_and_log_partition(name):
    scores, build, *_ = CASES[name]
    scores = scores.clone().requires_grad_()
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda s, t: build(s, temperature=t).marginals(), (scores, temperature))
    assert gradcheck(lambda s, t: build(s, temperature=t).log_partition(), (scores, temperature))


@cases
def test_hard_marginals_have_the_gradient_of_the_soft_ones(name):
    scores, build, *_ = CASES[name]
    gradients = []
    for hard in (False, True):
        leaf = scores.clone().requires_grad_()
        answer = build(leaf).marginals(hard=hard)
        gradients.append(torch.autograd.grad((answer * draw(*answer.shape, seed=9)).sum(), leaf)[0])
    torch.testing.assert_close(*gradients)


@cases
def test_a_cold_structure_is_the_best_one_and_stays_finite(name):
    scores, build, *_ = CASES[name]
    hard = build(scores).marginals(hard=True)
    gaps = [(build(scores, temperature=t).marginals() - hard).abs().max() for t in (0.3, 0.03, 1e-5)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-9
    assert torch.isfinite(build(scores, temperature=1e-6).log_partition())
    if not name.startswith("chain"):  # which has scores beside these
        torch.testing.assert_close(build(1e3 * scores, temperature=1e3).marginals(), build(scores).marginals())


@cases
def test_samples_are_structures_with_the_right_frequencies(name):
    scores, build, everything, *_ = CASES[name]
    count = 4000
    many = scores.expand(count, *scores.shape)
    drawn = build(many).sample(torch.Generator().manual_seed(0))
    kinds, counts = torch.unique(drawn.flatten(1), dim=0, return_counts=True)
    allowed = torch.stack(everything).flatten(1)
    assert all((allowed == kind).all(1).any() for kind in kinds)
    shape = everything[0].shape
    p = torch.stack([build(scores).log_prob(kind.reshape(shape)) for kind in kinds]).exp()
    # chi-squared of the frequent kinds, against its mean plus 4 standard deviations
    often = count * p > 10
    chi2 = ((counts - count * p) ** 2 / (count * p))[often].sum()
    assert often.sum() > 3
    assert chi2 < often.sum() + 4 * math.sqrt(2 * often.sum())
    assert p.sum() > 0.95


@cases
def test_batches_axes_and_types(name):
    scores, build, *_ = CASES[name]
    one = build(scores).marginals()
    many = torch.stack([scores, scores.flip(-1)]).expand(3, 2, *scores.shape)
    torch.testing.assert_close(build(many).marginals()[1, 0], one)
    torch.testing.assert_close(build(many).log_partition()[2, 1], build(scores.flip(-1)).log_partition())
    assert build(many[:0]).marginals().shape == (0, *many.shape[1:])
    temperatures = torch.tensor([0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(
        build(many, temperature=temperatures).marginals()[0, 1], build(many[0, 1], temperature=2.0).marginals()
    )
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        answer = build(scores.to(dtype)).marginals()
        assert answer.dtype == dtype
        torch.testing.assert_close(answer.double(), one, atol=0.03, rtol=0.03)
    vmapped = torch.func.vmap(lambda s: build(s).marginals())(many[0])
    torch.testing.assert_close(vmapped, build(many[0]).marginals())


@cases
def test_not_a_number_stays_in_its_row(name):
    scores, build, *_ = CASES[name]
    many = torch.stack([scores, scores]).clone()
    many[(0, *(0 for _ in scores.shape[:-1]), 1)] = torch.nan
    for hard in (False, True):
        answer = build(many).marginals(hard=hard)
        assert answer[0].isnan().any()
        torch.testing.assert_close(answer[1], build(scores).marginals(hard=hard))
    assert build(many).log_partition().isnan().tolist() == [True, False]


def test_where_nothing_is_allowed_there_is_no_probability():
    never = torch.full((3, 3), -torch.inf)
    for build in (Arborescence, ProjectiveTree, SpanningTree, Alignment, DagPath):
        assert build(never).log_partition() == -torch.inf
        assert build(never).marginals().isnan().any()
    assert KSubset(torch.zeros(3), 3, mask=torch.tensor([True, False, True])).log_partition() == -torch.inf


def test_forbidden_parts_are_never_used():
    scores = draw(5, 5)
    scores[0, 1] = scores[3, 2] = scores[2, 3] = -torch.inf
    for build, everything in (
        (Arborescence, heads_of(5, is_tree)),
        (ProjectiveTree, heads_of(5, lambda h: is_tree(h) and is_projective(h))),
    ):
        values = torch.stack([tree_score(scores, heads) for heads in everything])
        torch.testing.assert_close(build(scores).log_partition(), values.logsumexp(0))
        assert build(scores).marginals()[0, 1] == 0
        assert tree_score(scores, build(scores).argmax()) == values.max()


def test_a_chain_counts_its_transitions():
    y = CASES["chain"][2]
    scores, build, _, score, _ = CASES["chain"]
    share = torch.stack([score(scores, z) for z in y]).softmax(0)
    counts = torch.zeros(3, 3, dtype=torch.float64)
    for p, z in zip(share, y, strict=True):
        counts.index_put_((z[:-1], z[1:]), p.expand(3), accumulate=True)
    torch.testing.assert_close(build(scores).transition_marginals(), counts)


PADDED = {
    "chain": (lambda s, **k: LinearChain(s, CHAIN[:3, :3], **k), lambda n: (n, 3), 1),
    "arborescence": (Arborescence, lambda n: (n, n), 1),
    "arborescence, many roots": (lambda s, **k: Arborescence(s, single_root=False, **k), lambda n: (n, n), 1),
    "projective": (ProjectiveTree, lambda n: (n, n), 1),
    "spanning tree": (SpanningTree, lambda n: (n, n), 1),
    "subset": (lambda s, **k: KSubset(s, 2, **k), lambda n: (n,), 1),
    "alignment": (Alignment, lambda n: (n, n), 2),
}


@pytest.mark.parametrize("name", PADDED)
def test_what_is_masked_out_changes_nothing(name):
    build, shape, axes = PADDED[name]
    scores = draw(2, *shape(5), seed=3) + 3
    scores[0, 3:] = 1e9  # rubbish behind the present part of the first member
    if len(shape(5)) == 2 and name != "chain":
        scores[0, :, 3:] = 1e9
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 3:] = False
    full = mask if axes == 1 else mask[:, :, None] & mask[:, None, :]
    inner = scores[0, :3] if name in ("chain", "subset") else scores[0, :3, :3]
    found = build(scores, mask=full)
    torch.testing.assert_close(
        found.log_partition(), torch.stack([build(inner).log_partition(), build(scores[1]).log_partition()])
    )
    for hard in (False, True):
        answer = found.marginals(hard=hard)
        cut = answer[0, :3] if inner.ndim == 1 or name == "chain" else answer[0, :3, :3]
        torch.testing.assert_close(cut, build(inner).marginals(hard=hard))
        torch.testing.assert_close(answer[0].sum(), cut.sum())
    best = found.argmax()
    torch.testing.assert_close(found.log_prob(best)[0], build(inner).log_prob(build(inner).argmax()))
    drawn = found.sample(torch.Generator().manual_seed(0))
    assert torch.isfinite(found.log_prob(drawn)).all()


def test_soft_dtw_is_the_recursion_of_the_paper():
    cost = draw(5, 4, seed=8) ** 2
    table = torch.full((6, 5), torch.inf, dtype=torch.float64)
    table[0, 0] = 0
    for i in range(5):
        for j in range(4):
            before = torch.stack([table[i, j], table[i, j + 1], table[i + 1, j]])
            table[i + 1, j + 1] = cost[i, j] - 0.1 * torch.logsumexp(-before / 0.1, 0)
    torch.testing.assert_close(-0.1 * Alignment(-cost, temperature=0.1).log_partition(), table[5, 4])


def test_the_best_arborescence_of_larger_graphs_beats_every_change_of_one_head():
    scores = draw(40, 12, 12, seed=4)
    heads = Arborescence(scores).argmax()
    for s, h in zip(scores, heads, strict=True):
        assert is_tree(h.tolist())
        for d, other in itertools.product(range(12), repeat=2):
            changed = h.clone()
            changed[d] = other
            if is_tree(changed.tolist()):
                assert tree_score(s, changed) <= tree_score(s, h)


def test_the_size_of_a_subset_may_differ_by_row():
    scores = draw(3, 5)
    found = KSubset(scores, torch.tensor([0, 2, 5])).marginals()
    torch.testing.assert_close(found.sum(-1), torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64))
    torch.testing.assert_close(found[1], KSubset(scores[1], 2).marginals())


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="transition"):
        LinearChain(torch.zeros(3, 2), torch.zeros(3, 3))
    with pytest.raises(InputError, match="pairs"):
        Arborescence(torch.zeros(3, 2))
    with pytest.raises(InputError, match="weights"):
        Knapsack(torch.zeros(3), [1, 2], 3)
    with pytest.raises(InputError, match="k "):
        KSubset(torch.zeros(3), 4)
    with pytest.raises(InputError, match="temperature"):
        DagPath(torch.zeros(3, 3), temperature=0)
