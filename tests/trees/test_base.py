"""Tables in, certificates and errors out: what all learners of trees share."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from softwood.core import SoftwoodWarning
from softwood.trees import SoftModel, TreeClassifier, TreeRegressor
from softwood.trees._candidates import Effort, Setting, gradient_candidates
from softwood.trees._folds import held_out, make_groups
from softwood.trees._rows import Rows

QUICK = {"max_depth": 3, "effort": 0.05, "n_jobs": 1}


def exclusive_or(bits, n=2000, noise=0.05, seed=0):
    """Return a table whose class is the parity of ``bits`` of six columns, with ``noise`` wrong labels."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 6))
    labels = (x[:, :bits] > 0.5).sum(1) % 2
    return x, np.where(rng.random(n) < noise, 1 - labels, labels)


def checkerboard(n=2000, noise=0.05, seed=0):
    """Return a board of 4 x 2 fields, among four columns."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 4))
    labels = (np.floor(4 * x[:, 0]) + np.floor(2 * x[:, 1])).astype(int) % 2
    return x, np.where(rng.random(n) < noise, 1 - labels, labels)


def mixed_table(n=300, seed=0):
    """Return a frame with numbers, a category, a boolean and missing values, and a class that follows from them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "size": rng.normal(size=n),
        "colour": rng.choice(["red", "green", "blue"], n),
        "new": rng.random(n) < 0.5,
        "age": rng.integers(0, 50, n).astype(float),
    })  # fmt: skip
    labels = np.where((frame["colour"] == "red") ^ frame["new"], "yes", "no")
    frame.loc[rng.random(n) < 0.2, "age"] = np.nan
    frame.loc[rng.random(n) < 0.1, "colour"] = None
    return frame, labels


# ---------------------------------------------------------------- tables


def test_a_frame_with_categories_booleans_and_missing_values():
    frame, labels = mixed_table()
    model = TreeClassifier(max_depth=3, effort=0.2).fit(frame, labels)
    known = frame["colour"].notna()
    assert model.score(frame[known], labels[known]) > 0.97
    assert [column.kind for column in model.artifact_.columns] == ["number", "category", "boolean", "number"]
    assert model.feature_importances_.shape == (4,)
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert set(np.argsort(model.feature_importances_)[-2:]) == {1, 2}
    shuffled = frame[["age", "new", "colour", "size"]].assign(more=1)
    np.testing.assert_array_equal(model.artifact_.predict(shuffled), model.predict(frame))
    unseen = frame.assign(colour="violet")
    assert set(model.predict(unseen)) <= {"yes", "no"}
    assert "colour" in str(model.artifact_)


def test_categories_of_pandas_and_text_are_one():
    frame, labels = mixed_table()
    texts = TreeClassifier(**QUICK).fit(frame, labels)
    kinds = TreeClassifier(**QUICK).fit(frame.assign(colour=frame["colour"].astype("category")), labels)
    assert texts.artifact_.fingerprint == kinds.artifact_.fingerprint


def test_missing_numbers_are_learned_from():
    rng = np.random.default_rng(0)
    x = rng.random((300, 2))
    y = (rng.random(300) < 0.5).astype(int)
    x[y == 1, 0] = np.nan
    model = TreeClassifier(**QUICK).fit(x, y)
    assert model.score(x, y) == 1
    assert model.predict([[np.nan, 0.5], [1e300, 0.5], [-1e300, 0.5]]).tolist() == [1, 0, 0]


def test_a_column_that_cannot_be_used_is_named():
    frame, labels = mixed_table()
    with pytest.warns(SoftwoodWarning, match="'same'"):
        TreeClassifier(**QUICK).fit(frame.assign(same="x"), labels)


def test_numbers_past_float32_are_told_apart():
    x = np.array([1e308, 1.2e308, 1.5e308, 5.0] * 10)[:, None]
    y = np.tile([0, 1, 2, 3], 10)
    model = TreeClassifier(max_depth=2, effort=0.05, holdout=0).fit(x, y)
    assert model.score(x, y) == 1


# ---------------------------------------------------------------- the certificate


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_no_row_of_the_certificate_reaches_the_artefact(kind):
    x, y = exclusive_or(2, n=400)
    y = y if kind == "classes" else y + x[:, 3]
    learner = (TreeClassifier if kind == "classes" else TreeRegressor)(**QUICK, holdout=0.2)
    first = learner.fit(x, y)
    model, certificate, soft = first.artifact_, first.certificate_, first.soft_
    aside = rows_set_aside(first, x, y, 0.2)
    assert aside.sum() == certificate.n == 80
    changed, labels = x.copy(), y.copy()
    changed[aside] = np.random.default_rng(3).random((80, 6)) * 100
    if kind == "values":
        labels[aside] *= -50
    other = learner.fit(changed, labels)
    assert other.artifact_ == model
    assert other.certificate_.loss_shipped != certificate.loss_shipped
    assert (soft is None) == (other.soft_ is None)


def rows_set_aside(learner, x, y, share):
    seed = learner.record_["options"]["seed"]
    is_classes = hasattr(learner, "classes_")
    labels = np.unique(y, return_inverse=True)[1].astype(np.int32) if is_classes else np.zeros(0, np.int32)
    rows = Rows((), x, labels, y[:, None], np.ones(len(x)))
    return held_out(rows, share, 5000, np.random.default_rng(seed))


def test_no_label_of_the_certificate_reaches_the_artefact():
    """Swap the labels of two held-out rows, where that leaves the held-out rows as they are."""
    x, y = exclusive_or(2, n=400)
    model = TreeClassifier(**QUICK, holdout=0.3).fit(x, y)
    artifact = model.artifact_
    aside = rows_set_aside(model, x, y, 0.3)
    swapped = 0
    for i, j in [(i, j) for i in np.flatnonzero(aside) for j in np.flatnonzero(aside) if y[i] < y[j]]:
        labels = y.copy()
        labels[[i, j]] = labels[[j, i]]
        if (rows_set_aside(model, x, labels, 0.3) == aside).all():
            other = TreeClassifier(**QUICK, holdout=0.3).fit(x, labels)
            assert other.artifact_ == artifact
            swapped += 1
            if swapped == 2:
                break
    assert swapped == 2


def test_a_certificate_compares_what_ships_with_its_soft_parent():
    x, y = checkerboard(n=600)
    model = TreeClassifier(effort=0.1).fit(x, y)
    certificate = model.certificate_
    assert "held out from training and selection" in certificate.rows
    assert certificate.n == model.record_["held_out_rows"] == 60
    if model.soft_ is None:
        assert certificate.loss_soft is None
    else:
        assert certificate.agreement.value > 0.9
        assert certificate.loss_soft == pytest.approx(certificate.loss_shipped, abs=0.1)
    again = model.certify(x, y, rows="all rows")
    assert (again.n, again.rows) == (600, "all rows")


def test_where_cart_ships_the_certificate_has_no_soft_parent_and_says_so():
    rng = np.random.default_rng(0)
    x = rng.random((200, 2))
    y = (x[:, 0] > 0.5).astype(int)
    model = TreeClassifier(max_depth=1, effort=0.05).fit(x, y)
    assert model.record_["shipped"]["search"] == "cart"
    assert model.soft_ is None
    assert model.certificate_.loss_soft is None
    assert model.certificate_.agreement is None
    assert any("soft" in limit for limit in model.certificate_.not_covered)


@pytest.mark.parametrize(("n", "holdout"), [(60, 0.1), (200, 0.0)])
def test_without_held_out_rows_the_certificate_says_that_it_is_optimistic(n, holdout):
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(150)[: min(n, 150)]
    certificate = TreeClassifier(**QUICK, holdout=holdout).fit(x[chosen], y[chosen]).certificate_
    assert "training rows" in certificate.rows
    assert any("optimistic" in limit for limit in certificate.not_covered)


@pytest.mark.parametrize("classes", [2, 3, None])
def test_the_soft_model_is_a_function_of_the_raw_table(make, classes):
    rows = make.rows(classes=classes)
    groups = make_groups(rows, 2, 1, np.random.default_rng(0))
    setting = Setting("gradient", "entropy" if classes else "squared", 1.0)
    effort = Effort(kicks=2, restarts=2, epochs=10, most_steps=20, survivors=1)
    parent = gradient_candidates(groups, [setting], 3, 1, effort, 0, told=lambda stage: lambda share: None)[0].soft[0]
    scale = None if classes else (np.array([100.0, -1.0]), np.array([3.0, 0.1]))
    soft = SoftModel.of(parent, scale)
    levels = np.array([*make.columns[2].levels, None], dtype=object)
    frame = pd.DataFrame(
        {"a": rows.x[:, 0], "b": rows.x[:, 1], "c": levels[np.nan_to_num(rows.x[:, 2], nan=4).astype(int)]}
    )
    ranks = torch.from_numpy(groups[0].codec.ranks(groups[0].codes))
    for answers, module in ((soft(frame), parent), (soft.rounded(frame), parent.harden())):
        raw = module(ranks).detach().double()
        expected = raw.softmax(-1) if classes else raw * torch.tensor(scale[1]) + torch.tensor(scale[0])
        np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)
    outside = ~soft.in_band(frame)
    assert 0.1 < outside.mean() <= 1
    again = SoftModel.from_dict(json.loads(json.dumps(soft.to_dict())))
    np.testing.assert_array_equal(again(frame), soft(frame))
    np.testing.assert_array_equal(again.rounded(frame), soft.rounded(frame))


# ---------------------------------------------------------------- errors


IRIS = load_iris(return_X_y=True)


def bad_fits():
    x, y = IRIS
    hole, infinite = y.astype(float), x.copy()
    hole[3], infinite[2, 1] = np.nan, np.inf
    return {
        "one class": (TreeClassifier(), x, np.zeros(150), "one class"),
        "unknown target": (TreeClassifier(), x, hole, "NaN"),
        "unknown value": (TreeRegressor(), x, hole, "NaN"),
        "infinity": (TreeClassifier(), infinite, y, "infinity"),
        "infinity in a frame": (
            TreeClassifier(),
            pd.DataFrame(infinite).assign(t=list("ab") * 75).rename(columns=str),
            y,
            "inf",
        ),
        "continuous classes": (TreeClassifier(), x, y + 0.5, "continuous"),
        "lengths": (TreeClassifier(), x, y[:-1], "inconsistent|length"),
        "lengths of a frame": (TreeClassifier(), mixed_table(149)[0], y, "length|inconsistent"),
        "depth": (TreeClassifier(max_depth=0), x, y, "max_depth.*to fix"),
        "metric": (TreeClassifier(metric="acuracy"), x, y, "metric.*accuracy"),
        "metric of the other task": (TreeRegressor(metric="accuracy"), x, y, "metric.*squared"),
        "holdout": (TreeClassifier(holdout=0.9), x, y, "holdout.*to fix"),
        "effort": (TreeClassifier(effort=0), x, y, "effort.*to fix"),
        "leaves": (TreeClassifier(max_leaf_nodes=0), x, y, "max_leaf_nodes.*to fix"),
        "jobs": (TreeClassifier(n_jobs=-3), x, y, "n_jobs.*to fix"),
        "time": (TreeClassifier(time_limit=0), x, y, "time_limit.*to fix"),
    }


@pytest.mark.parametrize("case", bad_fits())
def test_bad_input_is_refused_with_the_reason(case):
    learner, x, y, message = bad_fits()[case]
    with pytest.raises(ValueError, match=message):
        learner.fit(x, y)


def test_weights_are_checked():
    x, y = IRIS
    for weight, message in ((np.zeros(150), "non-zero|no row has weight"), (np.full(150, -1.0), "negative|Negative")):
        with pytest.raises(ValueError, match=message):
            TreeClassifier(**QUICK).fit(x, y, sample_weight=weight)


def test_a_model_that_is_not_fitted_and_a_table_that_does_not_fit_are_refused():
    x, y = IRIS
    with pytest.raises(NotFittedError):
        TreeClassifier().predict(x)
    model = TreeClassifier(**QUICK).fit(x, y)
    with pytest.raises(ValueError, match="features"):
        model.predict(x[:, :3])
    frame, labels = mixed_table()
    fitted = TreeClassifier(**QUICK).fit(frame, labels)
    with pytest.raises(ValueError, match="age"):
        fitted.predict(frame.drop(columns="age"))
