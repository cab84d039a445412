import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from softwood.artifacts import Column
from softwood.data import QuantileCodec
from softwood.data._levels import fifths
from softwood.kernels import MISSING


def levels_and_noise(levels, n=3000, effect=0.0, slope=1.0, seed=0):
    """Return a category of so many levels with an effect on the class, beside a number that has one."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, levels, n)
    number = rng.normal(size=n)
    chance = 1 / (1 + np.exp(-slope * number - effect * rng.normal(size=levels)[level]))
    y = (rng.random(n) < chance).astype(int)
    columns = (Column("level", "category", tuple(map(str, range(levels)))), Column("number", "number"))
    return np.column_stack([level, number]).astype(float), columns, y


def test_levels_without_signal_do_not_tell_the_target_of_the_rows_they_are_learned_from():
    x, columns, y = levels_and_noise(500, slope=0.4)
    codec, codes = QuantileCodec.fit_codes(x, columns, np.eye(2)[y], np.ones(len(y)))
    plain = codec.transform(x)
    assert abs(np.corrcoef(plain[0], y)[0, 1]) > 0.3  # each level's place knows its few targets
    assert abs(np.corrcoef(codes[0], y)[0, 1]) < 0.1
    fooled, honest = (DecisionTreeClassifier(max_depth=1).fit(part.T, y) for part in (plain, codes))
    assert fooled.tree_.feature[0] == 0
    assert honest.tree_.feature[0] == 1  # the number that does tell


def test_levels_with_signal_are_still_found():
    x, columns, y = levels_and_noise(100, effect=2.0)
    codec, codes = QuantileCodec.fit_codes(x, columns, np.eye(2)[y], np.ones(len(y)))
    tree = DecisionTreeClassifier(max_depth=1).fit(codes.T, y)
    assert tree.tree_.feature[0] == 0
    fresh, _, y_fresh = levels_and_noise(100, effect=2.0)[0][::-1], None, y[::-1]
    assert tree.score(codec.transform(fresh).T, y_fresh) > 0.65


def test_a_row_is_placed_by_the_mean_of_the_other_fifths():
    x, columns, y = levels_and_noise(50, n=600)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 600)
    codec, codes = QuantileCodec.fit_codes(x, columns, np.eye(2)[y], weight)
    part, level = fifths(600, None), x[:, 0].astype(int)
    share = np.average(np.eye(2)[y], axis=0, weights=weight)
    target = np.eye(2)[y][:, share.argmax()]

    def place(rows):
        return ((weight * target)[rows].sum() + 10 * share.max()) / (weight[rows].sum() + 10)

    ladder = np.array([place(level == k) for k in range(50)])
    for row in range(0, 600, 7):
        nearest = np.abs(ladder - place((level == level[row]) & (part != part[row]))).argmin()
        assert codes[0, row] == codec.features[0].level_bin[nearest]


@pytest.mark.parametrize("levels", [2, 20, 21])
def test_few_levels_are_placed_by_all_their_rows(levels):
    x, columns, y = levels_and_noise(levels)
    codec, codes = QuantileCodec.fit_codes(x, columns, np.eye(2)[y], np.ones(len(y)))
    assert np.array_equal(codes, codec.transform(x)) == (levels <= 20)
    fitted = QuantileCodec.fit(x, columns, np.eye(2)[y], np.ones(len(y)))
    assert [f.to_dict() for f in fitted.features] == [f.to_dict() for f in codec.features]


def test_rows_that_are_not_learned_from_and_missing_values_have_the_usual_codes():
    x, columns, y = levels_and_noise(100)
    x[::10, 0] = np.nan
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    codec, codes = QuantileCodec.fit_codes(x, columns, np.eye(2)[y], weight)
    plain = codec.transform(x)
    assert (codes[:, weight == 0] == plain[:, weight == 0]).all()
    assert ((codes[0] == MISSING) == np.isnan(x[:, 0])).all()
    assert (codes[0] != plain[0]).any()


def test_a_group_lies_in_one_fifth():
    together = np.random.default_rng(0).integers(0, 40, 500)
    part = fifths(500, together)
    assert all(len(set(part[together == group])) == 1 for group in range(40))
    assert set(part) == set(range(5))
    assert np.bincount(fifths(500, None)).tolist() == [100] * 5
