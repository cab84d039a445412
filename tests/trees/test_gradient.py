from functools import partial

import numpy as np
import pytest
import torch

from softwood.lifecycle import train
from softwood.trees import SoftTree, _gradient
from softwood.trees._candidates import Effort, gradient_candidates, polished_settings
from softwood.trees._coded_tree import Hardening, soft_parameters, to_dense, to_hard
from softwood.trees._dense_tree import DenseTree, grown
from softwood.trees._folds import make_groups
from softwood.trees._gradient import _AnnealLearner, _one_tree, anneal_copies, hardened, make_batch, train_restarts
from softwood.trees._restarts import BatchLearner, SoftTreeBatch, row_losses
from softwood.trees._rows import Rows

EFFORT = Effort(kicks=3, restarts=3, epochs=30, most_steps=40, survivors=2)


def groups_of(make, classes=3, n=200, folds=2):
    return make_groups(make.rows(n=n, classes=classes, weighted=True), folds, 1, np.random.default_rng(0))


def batch_of(groups):
    return make_batch(groups, np.random.default_rng(0))


def same_trees(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return all(
        all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("feature", "cut", "missing_left"))
        for a, b in pairs
    )


# ---------------------------------------------------------------- the batch


@pytest.mark.parametrize("classes", [3, None])
def test_the_batch_holds_ranks_targets_and_weights_of_each_group(make, classes):
    groups = groups_of(make, classes)
    batch = batch_of(groups)
    rows, width = groups[0].rows, max(group.codec.n_features for group in groups)
    assert batch.x.shape == (3, 200, width)
    assert batch.missing
    for x, weight, group in zip(batch.x, batch.weight, groups, strict=True):
        features = group.codec.n_features
        np.testing.assert_array_equal(x[:, :features], group.codec.ranks(group.codes))
        assert (x[:, features:] == 0).all()
        assert (weight[torch.from_numpy(~group.active)] == 0).all()
        assert weight.mean().item() == pytest.approx(1)
        inside = torch.from_numpy(group.active)
        ratio = weight[inside] / torch.from_numpy(rows.weight).float()[inside]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    expected = rows.labels if classes else rows.targets
    np.testing.assert_allclose(batch.target, expected, rtol=1e-6)


def test_too_many_cells_leave_a_sample_of_the_rows(make, monkeypatch):
    monkeypatch.setattr("softwood.trees._gradient._MOST_CELLS", 10)
    monkeypatch.setattr("softwood.trees._gradient.BATCH", 50)
    batch = batch_of(groups_of(make))
    assert batch.x.shape[1] == len(batch.target) == batch.weight.shape[1] == 50
    np.testing.assert_allclose(batch.weight.mean(1), 1, rtol=1e-5)


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("kind", ["sigmoid", "smooth_step"])
def test_every_tree_of_a_batch_answers_as_it_would_alone(straight_through, kind):
    options = {"gate": kind, "straight_through": straight_through, "temperature": 0.3}
    batch = SoftTreeBatch(2, 3, 4, 5, 3, generator=torch.Generator().manual_seed(0), **options)
    batch.missing_logit.data.normal_()
    x = torch.rand(2, 20, 4)
    x[torch.rand(x.shape) < 0.2] = torch.nan
    answers, hard = batch(x), batch.harden()(x)
    for g, r in np.ndindex(2, 3):
        alone = SoftTree(4, 5, 3, **options)
        names = ("feature_logits", "threshold", "missing_logit", "leaf")
        alone.load_state_dict({**alone.state_dict(), **{name: getattr(batch, name)[g, r] for name in names}})
        torch.testing.assert_close(answers[g, r].mT, alone(x[g]))
        torch.testing.assert_close(hard[g, r].mT, alone.harden()(x[g]))
        torch.testing.assert_close(batch.margins(x)[g, r].mT, alone.margins(x[g]))
        feature, threshold, missing_left = (part[g, r] for part in batch.tests())
        plain = alone.harden()
        assert torch.equal(feature, plain.feature)
        assert torch.equal(threshold, plain.threshold)
        assert torch.equal(missing_left, plain.missing_left)


def test_the_loss_of_a_row_is_torchs():
    answer, labels = torch.randn(2, 3, 4, 10), torch.arange(10) % 4
    expected = torch.nn.functional.cross_entropy(answer[1, 2].mT, labels, reduction="none")
    torch.testing.assert_close(row_losses(answer, labels)[1, 2], expected)
    values = torch.randn(10, 4)
    expected = torch.nn.functional.mse_loss(answer[1, 2].mT, values, reduction="none").mean(-1)
    torch.testing.assert_close(row_losses(answer, values)[1, 2], expected)


def test_trees_of_a_batch_are_trained_apart(make):
    """Each has its own loss, so that what the others are does not matter."""
    groups = groups_of(make)
    batch = batch_of(groups)
    together = SoftTreeBatch(3, 2, batch.x.shape[2], 3, 2, generator=torch.Generator().manual_seed(0))
    alone = SoftTreeBatch(1, 1, batch.x.shape[2], 3, 2)
    for name, parameter in alone.named_parameters():
        parameter.data.copy_(getattr(together, name)[1:2, 1:2])
    for model, part in ((together, slice(None)), (alone, slice(1, 2))):
        learner = BatchLearner(model, batch.x[part], batch.target, batch.weight[part], 15, 64, 1.0)
        train(learner, steps=15, random_state=3)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(getattr(together, name)[1:2, 1:2], parameter, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- restarts


@pytest.mark.parametrize("classes", [2, None])
def test_restarts_follow_the_seed_and_learn(make, classes):
    groups = groups_of(make, classes)
    options = {"depth": 3, "restarts": 4, "steps": 60}
    first, again, other = (train_restarts(groups, batch_of(groups), seed=seed, **options) for seed in (0, 0, 1))
    assert [len(trees) for trees in first] == [4, 4, 4]
    assert all(same_trees(a, b) for a, b in zip(first, again, strict=True))
    assert not all(same_trees(a, b) for a, b in zip(first, other, strict=True))
    rows = groups[0].rows
    problem = groups[0].problem("gini" if classes else "squared", 1.0, 0.0)
    values = first[0][0].values(problem, 1.0)
    answers = values[first[0][0].leaf_of(groups[0].codes)]
    before = ((rows.targets - rows.targets.mean(0)) ** 2).sum()
    best = min(
        ((rows.targets - tree.values(problem, 1.0)[tree.leaf_of(groups[0].codes)]) ** 2).sum() for tree in first[0]
    )
    assert answers.shape == rows.targets.shape
    assert best < 0.9 * before


def test_a_group_with_fewer_features_never_ships_a_test_on_padding(make):
    rows = make.rows(n=120, classes=4)
    active = np.arange(120) < 60
    x = rows.x.copy()
    x[active, 2] = np.where(np.arange(120) % 2, 0, 1)[active]  # two levels have one order, four classes more
    groups = make_groups(Rows(rows.columns, x, rows.labels, rows.targets, rows.weight), 0, 0, None)
    groups.append(make.group(groups[0].rows, active))
    assert groups[1].codec.n_features < groups[0].codec.n_features
    batch = batch_of(groups)
    for tree in train_restarts(groups, batch, depth=4, restarts=6, steps=3, seed=0)[1]:
        assert tree.feature.max() < groups[1].codec.n_features
        tree.leaf_of(groups[1].codes)
    found = gradient_candidates(
        groups,
        polished_settings("gradient", rows, "accuracy", 1),
        3,
        1,
        EFFORT,
        0,
        told=lambda stage: lambda share: None,
    )
    for candidate in found:
        assert candidate.trees[1].feature.max() < groups[1].codec.n_features
        assert candidate.soft[1].in_features == groups[1].codec.n_features


def test_a_soft_test_on_padding_sends_every_row_left(make):
    group = groups_of(make)[0]
    width = group.codec.n_features
    model = SoftTreeBatch(1, 1, width + 1, 3, 2, gate="smooth_step", straight_through=False)
    with torch.no_grad():
        model.feature_logits[..., width] = 99.0
        model.threshold[:] = 0.5
        model.missing_logit[:] = -3.0
    tree = _one_tree(model, 0, 0, Hardening(group.codec, group.problem("entropy", 1.0, 1.0), True))
    assert (tree.dense().feature == -1).all()
    ranks = torch.from_numpy(group.codec.ranks(group.codes))
    torch.testing.assert_close(tree(ranks), model.leaf[0, 0, :1].expand(len(ranks), -1))


def test_a_stopped_training_goes_on_to_the_same_trees(make, tmp_path, monkeypatch):
    groups = groups_of(make)
    batch, options = batch_of(groups), {"depth": 3, "restarts": 3, "steps": 30, "seed": 0}
    straight = train_restarts(groups, batch, **options)

    monkeypatch.setattr(_gradient, "train", partial(train, checkpoint_every=0))

    def stop(at):
        if at.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_restarts(groups, batch, **options, checkpoint=tmp_path / "c", progress=stop)
    steps = []
    resumed = train_restarts(
        groups, batch, **options, checkpoint=tmp_path / "c", progress=lambda at: steps.append(at.step)
    )
    assert steps[0] == 8
    assert all(same_trees(a, b) for a, b in zip(straight, resumed, strict=True))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 6, 10])
def test_any_number_of_steps_can_be_trained(make, steps):
    groups = groups_of(make, n=60)
    assert len(train_restarts(groups, batch_of(groups), depth=2, restarts=2, steps=steps, seed=0)) == 3


# ---------------------------------------------------------------- soft copies


def annealed(groups, batch, settings, steps=60, **options):
    trees = [[grown(group.problem(s, 1.0, 1.0), 3) for group in groups] for s in settings]
    is_classes = groups[0].rows.is_classification
    means = [[Hardening(g.codec, g.problem(s, 1.0, 1.0), is_classes) for g in groups] for s in settings]
    return trees, anneal_copies(groups, trees, means, batch, steps=steps, seed=0, **options)


def test_a_soft_copy_rounds_to_what_it_copies(make):
    group = make.group(make.rows(n=200, classes=3))
    rng = np.random.default_rng(0)
    codec = group.codec
    for _ in range(5):
        feature = rng.integers(-1, codec.n_features, 15).astype(np.int32)
        cut = np.array([rng.integers(-1, codec.n_bins[f]) for f in feature], np.int32)
        tree = DenseTree(feature, cut, rng.random(15) < 0.5)
        copy = SoftTree(codec.n_features + 2, 3, 4)
        copy.load_state_dict({**copy.state_dict(), **soft_parameters(tree, codec, codec.n_features + 2)})
        ranks = torch.from_numpy(codec.ranks(group.codes))
        wide = torch.cat([ranks, torch.zeros(200, 2)], 1)
        np.testing.assert_array_equal(copy.harden().leaf_of(wide), tree.leaf_of(group.codes))
        hard = to_hard(tree, codec, np.zeros((16, 3)))
        np.testing.assert_array_equal(hard.leaf_of(ranks), tree.leaf_of(group.codes))
        back = to_dense(hard.feature.numpy(), hard.threshold.numpy(), hard.missing_left.numpy(), codec)
        live = feature >= 0
        np.testing.assert_array_equal(back.feature, feature)
        np.testing.assert_array_equal(back.cut[live], cut[live])


@pytest.mark.parametrize("classes", [3, None])
def test_annealing_ends_with_a_small_gap(make, classes):
    groups = groups_of(make, classes)
    batch = batch_of(groups)
    criterion = "entropy" if classes else "squared"
    _, copies = annealed(groups, batch, [criterion], steps=400)
    for index, copy in enumerate(copies[0]):
        assert copy.temperature < 0.1
        x = batch.x[index][:, : copy.in_features]
        soft, hard = (row_losses(model(x).mT, batch.target) for model in (copy, SoftTree.harden(copy)))
        gap = ((soft - hard) * batch.weight[index]).mean()
        assert abs(gap) < 0.02 * (hard * batch.weight[index]).mean()
        outside = ~copy.in_band(x)
        assert outside.double().mean() > 0.5
        torch.testing.assert_close(copy(x)[outside], SoftTree.harden(copy)(x)[outside])


def test_the_annealer_sees_the_widest_gap_of_all_trees(make):
    groups = groups_of(make)
    batch = batch_of(groups)
    model = SoftTreeBatch(3, 2, batch.x.shape[2], 3, 2, straight_through=False, temperature=0.5)
    learner = _AnnealLearner(None, model, batch.x, batch.target, batch.weight, 5, 64, 0.1)
    gaps = []
    with torch.no_grad():
        for g, r in np.ndindex(3, 2):
            soft, hard = (row_losses(m(batch.x)[g, r], batch.target) for m in (model, model.harden()))
            gaps.append(((soft - hard) * batch.weight[g]).mean().item())
    assert learner.gap() == pytest.approx(max(gaps, key=abs), rel=1e-4)


def test_hardening_a_copy_is_never_worse_than_its_plain_rounding(make):
    groups = groups_of(make)
    batch = batch_of(groups)
    _, copies = annealed(groups, batch, ["entropy", "error"], steps=40)
    for row in copies:
        for index, copy in enumerate(row):
            dense, record = hardened(copy, batch, index)
            kept = next(step for step in record.steps if step.kept)
            assert record.steps[0].name == "plain rounding"
            assert kept.loss <= record.steps[0].loss
            assert dense.feature.max() < copy.hardening.codec.n_features
            plain = copy.dense()
            np.testing.assert_array_equal(
                plain.leaf_of(groups[index].codes),
                copy.harden().leaf_of(torch.from_numpy(groups[index].codec.ranks(groups[index].codes))),
            )


def test_a_stopped_annealing_goes_on_to_the_same_copies(make, tmp_path):
    groups = groups_of(make)
    batch = batch_of(groups)
    straight = annealed(groups, batch, ["entropy"])[1][0]

    def interrupt(at):
        if at.step == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # the search has to hear of it
        annealed(groups, batch, ["entropy"], checkpoint=tmp_path / "a", progress=interrupt)
    resumed = annealed(groups, batch, ["entropy"], checkpoint=tmp_path / "a")[1][0]
    for ours, theirs in zip(straight, resumed, strict=True):
        assert ours.temperature == theirs.temperature
        assert torch.equal(ours.threshold, theirs.threshold)
        assert torch.equal(ours.leaf, theirs.leaf)


@pytest.mark.parametrize("classes", [2, None])
def test_gradient_candidates_have_a_tree_and_a_parent_for_every_group(make, classes):
    groups = groups_of(make, classes)
    settings = polished_settings("gradient", groups[0].rows, "accuracy" if classes else "squared", 1)
    found, again = (
        gradient_candidates(groups, settings, 3, jobs, EFFORT, 0, told=lambda stage: lambda share: None)
        for jobs in (1, 2)
    )
    assert [c.setting for c in found] == settings
    assert len(settings) == (4 if classes else 2)
    for candidate, same in zip(found, again, strict=True):
        assert len(candidate.trees) == len(candidate.soft) == 3
        assert same_trees(candidate.trees, same.trees)
        assert candidate.steps.steps[0].name == "plain rounding"
