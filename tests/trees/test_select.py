import numpy as np
import pytest
from scipy.stats import sem
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error, zero_one_loss

from softwood.artifacts import Column
from softwood.trees._candidates import Candidate, Setting, cart_candidates
from softwood.trees._coded_tree import CodedTree, Hardening, leaf_logits, soft_parameters
from softwood.trees._dense_tree import DenseTree
from softwood.trees._folds import make_groups
from softwood.trees._loss import METRICS
from softwood.trees._rows import Group, Rows
from softwood.trees._select import PRICES, STRENGTHS, Limits, choose, paired_difference

COLUMNS = tuple(Column(name, "number") for name in "abc")


def xor_groups(seed=0, n=400, noise=0.05, repeats=1):
    """Return groups of rows whose class is an exclusive or that no greedy split sees; column c is noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    labels = ((x[:, 0] > 0) ^ (x[:, 1] > 0) ^ (rng.random(n) < noise)).astype(np.int32)
    return make_groups(Rows(COLUMNS, x, labels, np.eye(2)[labels], np.ones(n)), 4, repeats, rng)


def true_tree(group):
    """Return the tree that made the labels."""
    cuts = [int((group.codec.features[f].cuts <= 0).sum()) for f in (0, 1, 1)]
    return DenseTree(np.array([0, 1, 1], np.int32), np.array(cuts, np.int32), np.zeros(3, bool))


def candidate(search, groups, make_tree, criterion="entropy"):
    return Candidate(Setting(search, criterion, 1.0), [make_tree(group) for group in groups])


def with_parent(groups, make_tree, leaf):
    """Return a gradient candidate whose soft parents round to the same tests, with leaves from ``leaf(group)``."""
    found, soft = candidate("gradient", groups, make_tree), []
    for group, tree in zip(groups, found.trees, strict=True):
        parent = CodedTree(Hardening(group.codec, group.problem("entropy", 1.0, 1.0), True), in_features=3,
                           out_features=2, depth=2)  # fmt: skip
        state = {**parent.state_dict(), **soft_parameters(tree, group.codec, 3)}
        parent.load_state_dict(state)
        parent.leaf.data.copy_(parent.leaf.new_tensor(leaf_logits(leaf(group, tree), True)))
        soft.append(parent)
    return Candidate(found.setting, found.trees, soft)


def fitted_leaf(group, tree):
    return tree.values(group.problem("entropy", 0.0, 1.0), 1.0)


def cart(groups, depth=2):
    return cart_candidates(groups, depth, 1, 1)


def test_the_same_trees_under_another_name_do_not_win():
    groups = xor_groups(repeats=2)
    same = cart(groups)[-1]
    rival = Candidate(Setting("kicks", same.setting.criterion, same.setting.min_leaf), same.trees)
    choice = choose(groups, [same, rival], "accuracy", Limits())
    assert choice.candidate is same
    assert (choice.difference, choice.error) == (0.0, 0.0)
    assert "is not better" in choice.reason


def test_a_candidate_that_is_clearly_better_wins():
    groups = xor_groups()
    rival = candidate("kicks", groups, true_tree)
    choice = choose(groups, [*cart(groups), rival], "accuracy", Limits())
    assert choice.candidate is rival
    assert choice.difference < -0.1
    assert 0 < choice.error < 0.05
    assert "kicks is better" in choice.reason
    np.testing.assert_array_equal(choice.tree.feature, [0, 1, 1])
    assert {trial.setting.search: trial.loss for trial in choice.trials}["kicks"] < 0.1


def test_a_candidate_wins_by_more_than_one_standard_error_or_not_at_all():
    rng = np.random.default_rng(0)
    n = 200
    x = rng.normal(size=(n, 3))
    labels = (x[:, 0] > 0).astype(np.int32)
    groups = make_groups(Rows(COLUMNS, x, labels, np.eye(2)[labels], np.ones(n)), 4, 1, rng)

    def off_by(bins):
        def make_tree(group):
            cut = (group.codec.features[0].cuts <= 0).sum() + bins
            return DenseTree(np.array([0], np.int32), np.array([cut], np.int32), np.zeros(1, bool))

        return make_tree

    wins = {}
    for bins in (0, 1, 2, 20):
        poor, good = candidate("cart", groups, off_by(bins)), candidate("kicks", groups, off_by(0))
        choice = choose(groups, [poor, good], "accuracy", Limits())
        assert choice.difference <= 0
        wins[bins] = choice.candidate is good
        assert wins[bins] == (choice.difference < -choice.error)
    assert not wins[0]
    assert wins[20]


def test_without_folds_only_cart_can_ship():
    groups = xor_groups()[:1]
    choice = choose(groups, cart(groups), "accuracy", Limits())
    assert choice.reason == "CART was the only candidate"
    assert choice.strength == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_record_holds_mean_losses_of_rows_that_were_not_learned_from(metric):
    groups = xor_groups(noise=0.2)
    rival = candidate("kicks", groups, true_tree)
    choice = choose(groups, [*cart(groups), rival], metric, Limits())
    trial = next(trial for trial in choice.trials if trial.setting.search == "kicks")
    assert trial.price in PRICES
    answers = np.zeros((400, 2))
    for group in groups[1:]:
        tree = true_tree(group)
        for leaf in range(4):
            mine = tree.leaf_of(group.codes) == leaf
            seen = group.rows.targets[mine & group.active]
            answers[mine & ~group.active] = (seen.sum(0) + group.prior) / (len(seen) + 1)
    labels = groups[0].rows.labels
    assert trial.smooth == pytest.approx(log_loss(labels, answers))
    expected = zero_one_loss(labels, answers.argmax(1)) if metric == "accuracy" else log_loss(labels, answers)
    assert trial.loss == pytest.approx(expected)


def test_the_loss_of_a_row_is_that_of_its_metric(make):
    rng = np.random.default_rng(0)
    rows, answers = make.rows(classes=3), rng.dirichlet(np.ones(3), 200)
    assert METRICS["accuracy"](answers, rows).mean() == pytest.approx(zero_one_loss(rows.labels, answers.argmax(1)))
    assert METRICS["log_loss"](answers, rows).mean() == pytest.approx(log_loss(rows.labels, answers))
    values = make.rows(classes=None)
    guess = rng.normal(size=values.targets.shape)
    assert METRICS["squared"](guess, values).mean() == pytest.approx(mean_squared_error(values.targets, guess))
    assert METRICS["absolute"](guess, values).mean() == pytest.approx(mean_absolute_error(values.targets, guess))


def test_a_sure_wrong_answer_has_a_finite_log_loss(make):
    rows = make.rows()
    assert np.isfinite(METRICS["log_loss"](1.0 - rows.targets, rows)).all()


def test_the_paired_difference_is_a_mean_with_its_standard_error():
    difference = np.random.default_rng(0).normal(0.1, 1, 300)
    mean, error = paired_difference(difference, np.ones(300))
    assert mean == pytest.approx(difference.mean())
    assert error == pytest.approx(sem(difference))
    np.testing.assert_allclose(paired_difference(difference, np.full(300, 7.0)), (mean, error))
    weight = np.where(np.arange(300) < 20, 1.0, 1e-9)
    np.testing.assert_allclose(
        paired_difference(difference, weight), (difference[:20].mean(), sem(difference[:20])), rtol=1e-4
    )


def test_the_metric_decides_what_wins():
    """A tree with one leaf less of the right shape: better in log-loss, equal in accuracy."""
    rng = np.random.default_rng(0)
    n = 2000
    x = rng.normal(size=(n, 3))
    chance = np.where(x[:, 0] > 0, 0.9, 0.6)  # class 1 is the likelier one on both sides
    labels = (rng.random(n) < chance).astype(np.int32)
    groups = make_groups(Rows(COLUMNS, x, labels, np.eye(2)[labels], np.ones(n)), 4, 1, rng)

    def nothing(group):
        return DenseTree(np.array([-1], np.int32), np.array([0], np.int32), np.zeros(1, bool))

    def split(group):
        cut = int((group.codec.features[0].cuts <= 0).sum())
        return DenseTree(np.array([0], np.int32), np.array([cut], np.int32), np.zeros(1, bool))

    pair = [candidate("cart", groups, nothing), candidate("kicks", groups, split)]
    assert choose(groups, pair, "accuracy", Limits()).candidate is pair[0]
    assert choose(groups, pair, "log_loss", Limits()).candidate is pair[1]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_largest_number_of_leaves_holds(most):
    groups = xor_groups()
    choice = choose(groups, [*cart(groups), candidate("kicks", groups, true_tree)], "accuracy", Limits(most))
    assert choice.tree.n_leaves <= most


def test_the_smoothing_of_leaves_is_the_best_out_of_fold():
    clear, vague = (choose(groups, cart(groups), "log_loss", Limits()).strength for groups in (
        [Group(g.rows, g.active) for g in separable()], xor_groups(n=60, noise=0.5)))  # fmt: skip
    assert {clear, vague} <= set(STRENGTHS)
    assert clear < vague


def separable():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3))
    labels = (x[:, 0] > 0).astype(np.int32)
    x[:, 0] += np.sign(x[:, 0])
    return make_groups(Rows(COLUMNS, x, labels, np.eye(2)[labels], np.ones(400)), 4, 1, rng)


def test_plain_rounding_ships_unless_fitting_leaves_anew_is_clearly_better():
    groups = xor_groups()
    plain = with_parent(groups, true_tree, fitted_leaf)
    choice = choose(groups, [*cart(groups), plain], "accuracy", Limits())
    assert choice.candidate is plain
    assert choice.leaf is not None
    np.testing.assert_allclose(choice.leaf, fitted_leaf(groups[0], true_tree(groups[0])), rtol=1e-4)

    def turned(group, tree):
        return 1 - fitted_leaf(group, tree)

    wrong = with_parent(groups, true_tree, turned)
    choice = choose(groups, [*cart(groups), wrong], "accuracy", Limits())
    assert choice.candidate is wrong
    assert choice.leaf is None
