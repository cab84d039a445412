import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from softwood.artifacts import Column
from softwood.core import InputError
from softwood.data import LARGEST, Feature, QuantileCodec
from softwood.data._codec import float32_safe_midpoints

MISSING = 255
NUMBER = Column("x", "number")


def fitted(values, **options):
    """Return the codec of one number column, all rows of weight 1."""
    x = np.asarray(values, float).reshape(-1, 1)
    return QuantileCodec.fit(x, [NUMBER], np.zeros((len(x), 1)), np.ones(len(x)), **options)


def codes_of(codec, values):
    return codec.transform(np.asarray(values, float).reshape(-1, 1))


def check_cuts_are_thresholds(codec, values):
    """Assert for every cut of every number feature that ``code <= cut`` and ``x <= t`` are one."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    codes = codes_of(codec, values)[0].astype(int)
    for cut in range(-1, codec.features[0].n_bins):
        np.testing.assert_array_equal(codes <= cut, values <= codec.threshold_of(0, cut))


SAMPLES = {
    "a few": [1.0, 2.0, 4.0, 4.0, 7.5],
    "negative": [-3.0, -2.5, 0.0, -0.0, 10.0],
    "whole numbers past float32": 1e9 + np.arange(50),
    "neighbours in float64": np.nextafter(1.0, 2.0) ** np.arange(6),
    "huge": [-1.7e308, -1e308, -3e200, 5.0, 1e39, 1e308, 1.2e308, 1.7e308],
    "tiny": [0.0, 5e-324, 1e-320, 2e-320, 1e-310, 1e-300, -1e-320],
    "every size": [*(10.0 ** np.arange(-30, 30)), *(-(10.0 ** np.arange(-30, 30)))],
    "four hundred": np.random.default_rng(0).normal(size=400),
    "two": [0.1, 0.3],
}


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_a_cut_is_a_threshold_on_the_raw_values(values):
    codec = fitted(values)
    cuts = codec.features[0].cuts
    assert np.isfinite(cuts).all()
    assert (np.diff(cuts) > 0).all()
    beside = np.concatenate([np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)])
    check_cuts_are_thresholds(codec, np.concatenate([values, cuts, beside, [LARGEST, -LARGEST / 2]]))


@given(arrays(np.float64, st.integers(2, 40), elements=st.floats(allow_nan=True, allow_infinity=False)))
def test_a_cut_is_a_threshold_whatever_the_values(values):
    codec = fitted(values)
    if codec.n_features == 0:
        assert len(np.unique(values)) == 1
        return
    assert (np.diff(codec.features[0].cuts) > 0).all()
    clipped = np.clip(values, -LARGEST / 2, LARGEST)
    check_cuts_are_thresholds(codec, np.concatenate([clipped, codec.features[0].cuts]))


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_every_distinct_value_has_its_own_bin_and_codes_count_upwards(values):
    distinct = np.unique(values)
    codes = codes_of(fitted(values), distinct)[0]
    if len(distinct) <= 255:
        assert codes.tolist() == list(range(len(distinct)))
    assert (np.diff(codes.astype(int)) >= 0).all()


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_float32_puts_every_training_value_on_the_same_side(values):
    x = np.asarray(values, float)
    with np.errstate(over="ignore", under="ignore"):
        narrow = x.astype(np.float32)
        for t in fitted(values).features[0].cuts:
            low, high = narrow[x <= t].max(), narrow[x > t].min()
            if low < high:  # else float32 cannot tell the neighbours apart, and no threshold can
                assert low <= np.float32(t) < high


@given(st.floats(-1e30, 1e30), st.floats(1e-30, 1e30))
def test_a_midpoint_separates_in_both_precisions(low, gap):
    high = low + gap
    if not low < high:
        return
    t = float32_safe_midpoints(np.array([low]), np.array([high]))[0]
    assert low <= t < high
    if np.float32(low) < np.float32(high):
        assert np.float32(low) <= np.float32(t) < np.float32(high)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (16.77, 16.82, 16.8),
        (0.1, 0.4, 0.2),
        (1, 2, 1.5),
        (40, 60, 50),
        (0, 1, 0.5),
        (1e9, 1e9 + 1, 1e9 + 0.5),
        (-1, 1, 0),
        (1e-9, 3e-9, 2e-9),
    ],
)
def test_thresholds_are_short_decimals(low, high, expected):
    assert float32_safe_midpoints(np.array([low], float), np.array([high], float)).tolist() == [expected]


def test_thresholds_of_a_measured_column_have_at_most_two_digits_more_than_it():
    values = np.round(np.random.default_rng(1).normal(20, 5, 200), 2)
    for t in fitted(values).features[0].cuts:
        assert round(t, 4) == t
    gaps = np.diff(np.unique(values))
    middle = np.unique(values)[:-1] + gaps / 2
    assert (np.abs(fitted(values).features[0].cuts - middle) <= gaps / 4 + 1e-12).all()


# ---------------------------------------------------------------- many values, few values, none


def test_more_values_than_bins_are_cut_at_quantiles():
    values = np.random.default_rng(2).exponential(size=5000)
    codec = fitted(values)
    sizes = np.bincount(codes_of(codec, values)[0])
    assert len(sizes) == codec.features[0].n_bins == 255
    assert sizes.max() <= 3 * 5000 / 255
    assert sizes.min() >= 1
    assert fitted(values, max_bins=4).features[0].n_bins == 4
    np.testing.assert_allclose(np.bincount(codes_of(fitted(values, max_bins=4), values)[0]) / 5000, 0.25, atol=0.01)


def test_exactly_as_many_values_as_bins_keep_one_each():
    values = np.arange(255.0)
    codec = fitted(values)
    assert codes_of(codec, values)[0].tolist() == list(range(255))
    assert codes_of(codec, [np.nan])[0].tolist() == [MISSING]
    assert fitted(np.arange(256.0)).features[0].n_bins == 255


def test_quantiles_count_weight():
    values, weight = np.arange(1000.0), np.where(np.arange(1000) < 100, 9.0, 0.1)
    codec = QuantileCodec.fit(values[:, None], [NUMBER], np.zeros((1000, 1)), weight, max_bins=10)
    assert (codec.features[0].cuts < 100).sum() >= 8


def test_a_constant_column_has_no_feature_and_one_that_is_present_or_missing_has_one():
    assert fitted([3.0, 3.0, 3.0]).features == ()
    assert fitted([np.nan, np.nan]).features == ()
    codec = fitted([3.0, np.nan, 3.0])
    assert codes_of(codec, [3.0, -7.0, np.nan]).tolist() == [[0, 0, MISSING]]
    assert codec.n_bins.tolist() == [1]
    assert codec.threshold_of(0, 0) == LARGEST
    assert codec.threshold_of(0, -1) == -LARGEST


def test_rows_without_weight_are_not_looked_at():
    x = np.array([[1.0, 0], [2.0, 1], [99.0, 2], [np.nan, np.nan]])
    columns = [NUMBER, Column("c", "category", ("a", "b", "c"))]
    targets = np.array([[0.0], [1.0], [50.0], [7.0]])
    codec = QuantileCodec.fit(x, columns, targets, np.array([1.0, 1.0, 0.0, 0.0]))
    other = x.copy()
    other[2:], targets[2:] = -5, -1
    other[2:, 1] = 0
    again = QuantileCodec.fit(other, columns, targets, np.array([1.0, 1.0, 0.0, 0.0]))
    assert [f.to_dict() for f in codec.features] == [f.to_dict() for f in again.features]
    assert codec.features[0].cuts.tolist() == [1.5]


def test_the_bins_are_checked():
    for bad in (1, 256, 2.5, "ten"):
        with pytest.raises(InputError, match="max_bins"):
            fitted([1.0, 2.0], max_bins=bad)


# ---------------------------------------------------------------- categories


def category(levels, codes, targets, weight=None, **options):
    x = np.asarray(codes, float).reshape(-1, 1)
    targets = np.asarray(targets, float).reshape(len(x), -1)
    column = Column("c", "category", tuple("abcdefghijklmnopqrstuvwxyz"[:levels]))
    return QuantileCodec.fit(x, [column], targets, np.ones(len(x)) if weight is None else weight, **options)


def test_levels_are_ordered_by_the_mean_target():
    codec = category(4, [0, 1, 2, 3] * 50, [3.0, 1.0, 4.0, 2.0] * 50)
    assert codec.n_features == 1
    assert codec.features[0].level_bin.tolist() == [2, 0, 3, 1]
    assert codec.levels_left(0, 1).tolist() == [False, True, False, True]
    assert codec.levels_left(0, -1).tolist() == [False] * 4
    assert codec.levels_left(0, 3).tolist() == [True] * 4


def test_a_rare_level_is_drawn_to_the_overall_mean():
    # the level with one row has the largest mean, but less of it is believed
    codec = category(3, [0] * 50 + [1] * 50 + [2], [0.0] * 50 + [1.0] * 50 + [1.2])
    assert codec.features[0].level_bin.tolist() == [0, 2, 1]


def test_a_cut_is_a_set_of_levels_for_known_missing_and_unseen_values():
    codes = [0, 1, 2, np.nan] * 20
    codec = category(3, codes, np.array([5.0, 0.0, 1.0, 9.0] * 20))
    found = codes_of(codec, [0, 1, 2, np.nan])[0].astype(int)
    assert found[3] == MISSING
    for cut in range(-1, 3):
        np.testing.assert_array_equal(found[:3] <= cut, codec.levels_left(0, cut))


def test_every_class_has_its_order_and_the_same_order_is_kept_once():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 6, 3000)
    chances = rng.dirichlet(np.ones(3), 6)
    labels = np.array([rng.choice(3, p=chances[v]) for v in level])
    codec = category(6, level, np.eye(3)[labels])
    orders = [tuple(f.level_bin) for f in codec.features]
    assert len(orders) == len(set(orders)) == 3
    means = np.array([[(labels[level == v] == k).mean() for v in range(6)] for k in range(3)])
    expected = {tuple(np.argsort(np.argsort(row))) for row in means}
    assert set(orders) == expected
    assert (
        category(6, level, np.eye(2)[(labels > 0).astype(int)]).n_features == 1
    )  # the order of class 1 is that of class 0, turned


def test_two_classes_give_one_order_with_equal_means_too():
    level, labels = [0, 1, 2, 3] * 10, [0, 1, 0, 1] * 10
    assert category(4, level, np.eye(2)[labels]).n_features == 1


def test_more_levels_than_bins_share_bins_with_their_neighbours():
    level = np.arange(26).repeat(4)
    codec = category(26, level, 100.0 - level, max_bins=5)
    bins = codec.features[0].level_bin
    assert codec.n_bins.tolist() == [5]
    assert (np.diff(bins) <= 0).all()
    assert np.bincount(bins).min() >= 5


def test_levels_that_no_row_has_still_have_a_place():
    codec = category(5, [0, 3] * 20, [0.0, 1.0] * 20)
    assert (np.diff(codec.features[0].ranks) > 0).all()
    assert len(set(codec.features[0].level_bin)) == 5
    assert category(5, [2] * 20, np.arange(20.0)).features == ()
    assert category(5, [2, np.nan] * 20, np.arange(40.0)).n_features == 1


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize("values", [*SAMPLES.values(), [3.0, np.nan], [1.0, 2.0, np.nan]], ids=[*SAMPLES, "one", "gap"])
def test_the_rank_of_a_cut_leads_back_to_it(values):
    codec = fitted(values)
    for cut in range(-1, codec.features[0].n_bins):
        assert codec.cut_of(0, codec.rank_of(0, cut)) == cut


def test_ranks_say_of_every_row_what_codes_say():
    values = np.append(np.random.default_rng(3).normal(size=500), np.nan)
    codec = fitted(values)
    codes = codes_of(codec, values)
    ranks = codec.ranks(codes)
    assert ranks.dtype == np.float32
    assert ranks.shape == (501, 1)
    assert np.isnan(ranks[-1, 0])
    assert (ranks[:-1] > 0).all()
    assert (ranks[:-1] < 1).all()
    for cut in range(-1, codec.features[0].n_bins):
        rank = np.float32(codec.rank_of(0, cut))
        np.testing.assert_array_equal(ranks[:-1, 0] <= rank, codes[0, :-1].astype(int) <= cut)


def test_ranks_are_middles_of_the_weight():
    codec = QuantileCodec.fit(np.array([[1.0], [2.0], [3.0]]), [NUMBER], np.zeros((3, 1)), np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(codec.features[0].ranks, [0.125, 0.5, 0.875])


def test_a_bin_of_next_to_no_weight_still_has_its_own_rank():
    weight = np.array([1e9, 1e-3, 1e-3, 1e9])
    codec = QuantileCodec.fit(np.arange(4.0)[:, None], [NUMBER], np.zeros((4, 1)), weight)
    assert (np.diff(codec.features[0].ranks) > 0).all()
    assert [codec.cut_of(0, float(np.float32(codec.rank_of(0, cut)))) for cut in range(-1, 4)] == [-1, 0, 1, 2, 3]


def test_a_rank_at_the_edge_belongs_to_the_nearest_live_cut():
    codec = fitted([1.0, 2.0, 3.0])
    assert [codec.cut_of(0, rank) for rank in (-0.2, 0.0, 0.49, 0.51, 1.0, 1.2)] == [0, 0, 0, 1, 1, 1]
    assert [codec.cut_of(0, rank) for rank in (-0.3, 1.3)] == [-1, 2]
    one = fitted([1.0, np.nan])
    assert [one.cut_of(0, rank) for rank in (0.2, 0.7)] == [-1, 0]


def test_features_survive_json():
    codec = category(3, [0, 1, 2] * 5, [1.0, 3.0, 2.0] * 5)
    for feature in (codec.features[0], fitted([1.0, 2.0, 5.0]).features[0]):
        again = Feature.from_dict(feature.to_dict())
        for name in ("cuts", "level_bin", "ranks"):
            np.testing.assert_array_equal(getattr(again, name), getattr(feature, name))
            assert getattr(again, name).dtype == getattr(feature, name).dtype
        assert again.column == feature.column
