"""``partial_fit``: batches in order, concepts that switch, certificates before learning, limits that stay."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble
from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor, TreeClassifier, TreeRegressor

Rows = tuple[np.ndarray, np.ndarray]


def batch(seed: int, concept: int = 0, n: int = 200) -> Rows:
    """Concept 0 asks columns 0 and 1, concept 1 columns 2 and 3; 5 % of the labels are wrong."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, 6))
    high = (x[:, 0] > 0.3) & (x[:, 1] < 0.8) if concept == 0 else (x[:, 2] > -0.2) | (x[:, 3] > 1)
    return x, np.where(high ^ (r.random(n) < 0.05), "b", "a")


def values(seed: int, concept: int = 0, n: int = 200) -> Rows:
    x, y = batch(seed, concept, n)
    return x, 100 + 5.0 * (y == "b")


LEARNERS = {
    "tree": lambda: TreeClassifier(max_depth=3),
    "forest": lambda: ForestClassifier(60, max_depth=3),
    "tree of values": lambda: TreeRegressor(max_depth=3),
    "forest of values": lambda: ForestRegressor(60, max_depth=3),
}


def rows_for(learner: Any, *where: int) -> Rows:
    return batch(*where) if hasattr(learner, "predict_proba") else values(*where)


@pytest.mark.parametrize("kind", LEARNERS)
def test_model_follows_a_concept_that_switches(kind: str) -> None:
    learner = LEARNERS[kind]()
    for seed in range(6):
        learner.partial_fit(*rows_for(learner, seed, 0))
    frozen: HardEnsemble = learner.artifact_
    before = learner.score(*rows_for(learner, 90, 0, 2000))
    for seed in range(10, 22):
        learner.partial_fit(*rows_for(learner, seed, 1))
        if seed == 10:  # measured before the new concept was learned
            assert learner.certificate_.score.value < 0.7
    x, y = rows_for(learner, 91, 1, 2000)
    stale = frozen.predict(x)
    assert (stale == y).mean() < 0.6 if y.dtype.kind == "U" else ((stale - y) ** 2).mean() > y.var()
    now = learner.score(x, y)
    assert now > (0.88 if y.dtype.kind == "U" else 0.5)
    assert now > before - 0.12
    assert learner.record_["stream"] == {"batches": 18, "rows": 3600}


@pytest.mark.parametrize("kind", LEARNERS)
def test_same_batches_in_the_same_order_give_the_same_artefact(kind: str) -> None:
    one, two = LEARNERS[kind](), LEARNERS[kind]()
    for seed in range(3):
        one.partial_fit(*rows_for(one, seed))
        two = pickle.loads(pickle.dumps(two)).partial_fit(*rows_for(two, seed))  # a pause changes nothing
    assert one.artifact_ == two.artifact_
    assert one.certificate_ == two.certificate_
    other = LEARNERS[kind]()
    for seed in (1, 0, 2):
        other.partial_fit(*rows_for(other, seed))
    assert other.artifact_ != one.artifact_


@pytest.mark.parametrize("kind", LEARNERS)
def test_certificate_is_about_the_model_before_the_batch(kind: str) -> None:
    learner = LEARNERS[kind]().partial_fit(*rows_for(LEARNERS[kind](), 0))
    assert "first batch" in learner.certificate_.rows
    x, y = rows_for(learner, 1)
    expected = learner.score(x, y)
    learner.partial_fit(x, y)
    certificate = learner.certificate_
    assert certificate.score.value == pytest.approx(expected)
    assert "before they were learned from" in certificate.rows
    assert any("it has learned from these rows since" in limit for limit in certificate.not_covered)
    again = learner.certify(x, y)
    assert again.loss_soft is not None
    assert again.loss_rounded == pytest.approx(again.loss_shipped, abs=1e-6)


def test_first_call_goes_on_from_what_fit_has_shipped() -> None:
    x, y = batch(0, 0, 600)
    learner = TreeClassifier(max_depth=3, effort=0.05, n_jobs=1).fit(x, y)
    shipped, held = learner.score(*batch(5, 0, 2000)), learner.artifact_
    learner.partial_fit(*batch(1))
    assert learner.artifact_ != held
    assert learner.score(*batch(5, 0, 2000)) > shipped - 0.04
    assert learner.certificate_.n == 200
    assert "then trained on 0" not in learner.certificate_.ships
    assert learner.fit(x, y).artifact_ == held


def test_sizes_and_forbidden_columns_are_kept() -> None:
    tree = TreeClassifier(max_depth=4, max_leaf_nodes=3, forbidden=["x3"])
    forest = ForestClassifier(24, max_depth=2, forbidden=["x3"])
    for seed in range(5):
        tree.partial_fit(*batch(seed, seed % 2))
        forest.partial_fit(*batch(seed, seed % 2))
        assert tree.artifact_.n_leaves <= 3
        assert forest.artifact_.n_leaf_values <= 24
        assert forest.artifact_.depth <= 2
        for learner in (tree, forest):
            tested = learner.artifact_.feature[learner.artifact_.feature >= 0]
            assert 3 not in tested
            assert any("x3" in told for told in learner.certificate_.verified)


def test_classes_that_the_first_batch_lacks_are_learned_later() -> None:
    tree = TreeClassifier(max_depth=2).partial_fit(*batch(0), classes=["a", "b", "c"])
    assert list(tree.classes_) == ["a", "b", "c"]
    assert tree.predict_proba(batch(1)[0]).shape == (200, 3)
    for seed in range(8):
        x = batch(seed)[0]
        tree.partial_fit(x, np.where(x[:, 4] > 0, "c", "a"))
    x = batch(50)[0]
    assert (tree.predict(x) == np.where(x[:, 4] > 0, "c", "a")).mean() > 0.9
    with pytest.raises(InputError, match="labels that the model does not know"):
        tree.partial_fit(x, np.full(len(x), "d"))
    with pytest.raises(InputError, match="classes do not fit"):
        TreeClassifier().partial_fit(x, np.full(len(x), "d"), classes=["a", "b"])


def test_weights_and_frames_with_text_and_missing_values() -> None:
    def frame(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        r = np.random.default_rng(seed)
        table = pd.DataFrame({"city": r.choice(["Oslo", "Rome", "Bonn"], 200), "size": r.normal(size=200)})
        y = np.where((table.city == "Rome") | (table["size"] > 1), "yes", "no")
        table.loc[::11, "size"] = np.nan
        return table, y

    tree = TreeClassifier(max_depth=2)
    for seed in range(6):
        table, y = frame(seed)
        weight = np.r_[np.ones(150), np.zeros(50)]
        tree.partial_fit(table, np.r_[y[:150], np.where(y[150:] == "yes", "no", "yes")], sample_weight=weight)
    assert tree.score(*frame(50)) > 0.93
    assert tree.certificate_.n == 150


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        (TreeRegressor(loss="poisson"), "does not take this loss"),
        (ForestRegressor(monotonic_cst={"x0": 1}), "keeps to no directions"),
    ],
    ids=["loss", "directions"],
)
def test_what_gradients_on_batches_do_not_keep_is_refused(learner: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        learner.partial_fit(*values(0))


def test_quantiles_are_followed_batch_by_batch() -> None:
    learner = ForestRegressor(60, max_depth=2, loss="quantile", quantile=0.9)
    r = np.random.default_rng(0)
    for _ in range(25):
        x = r.normal(size=(200, 2))
        learner.partial_fit(x, 10 * (x[:, 0] > 0) + r.normal(size=200))
    x = r.normal(size=(4000, 2))
    below = (10 * (x[:, 0] > 0) + r.normal(size=4000) < learner.predict(x)).mean()
    assert 0.8 < below < 0.97
