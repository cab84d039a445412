import itertools

import numpy as np

from softwood.kernels import best_arborescences


def _is_tree(heads):
    for node in range(1, len(heads)):
        for _ in heads:
            node = 0 if node == 0 else heads[node]
        if node != 0:
            return False
    return True


def test_no_other_arborescence_has_a_larger_sum():
    rng = np.random.default_rng(0)
    trees = [(-1, *heads) for heads in itertools.product(range(5), repeat=4)]
    trees = np.array([heads for heads in trees if _is_tree(heads)])
    score = np.concatenate([rng.normal(size=(150, 5, 5)), rng.integers(0, 3, (150, 5, 5)).astype(float)])
    score[rng.random(score.shape) < 0.05] = -1e6
    values = score[:, trees[:, 1:], np.arange(1, 5)].sum(-1)
    heads = best_arborescences(score)
    assert all(_is_tree(tree) for tree in heads.tolist())
    found = np.take_along_axis(score, heads[:, None, :].clip(0), 1)[:, 0, 1:].sum(-1)
    np.testing.assert_allclose(found, values.max(1))


def test_a_node_alone_and_no_graph():
    assert best_arborescences(np.zeros((2, 1, 1))).tolist() == [[-1], [-1]]
    assert best_arborescences(np.zeros((0, 3, 3))).shape == (0, 3)
