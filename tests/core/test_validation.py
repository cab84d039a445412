import math
from fractions import Fraction

import numpy as np
import pytest

from softwood.core import InputError, MissingExtraError, check_choice, check_number, require


def test_a_known_choice_passes():
    assert check_choice("gate", "b", ["a", "b"]) == "b"
    assert check_choice("depth", None, [None, 1]) is None


def test_an_unknown_choice_lists_all_and_suggests_the_nearest():
    with pytest.raises(InputError) as caught:
        check_choice("gate", "sigmoit", ["sigmoid", "smooth_step"])
    assert str(caught.value) == (
        "gate is unknown: got 'sigmoit'; allowed: 'sigmoid', 'smooth_step'; to fix: did you mean 'sigmoid'?"
    )


@pytest.mark.parametrize(("value", "choices"), [(True, [1, 2]), (1, [True]), (1.0, [1]), ("1", [1])])
def test_a_choice_of_another_type_is_no_choice(value, choices):
    with pytest.raises(InputError, match="is unknown"):
        check_choice("k", value, choices)


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (4, {"integer": True}, 4),
        (4.0, {"integer": True}, 4),
        (np.int64(4), {"integer": True, "low": 4, "high": 4}, 4),
        (10**400, {"integer": True, "low": 1}, 10**400),
        (np.float32(0.5), {}, 0.5),
        (Fraction(1, 2), {"low": 0}, 0.5),
        (-3, {"high": -3}, -3.0),
    ],
)
def test_usable_numbers_come_back_as_int_or_float(value, options, expected):
    number = check_number("x", value, **options)
    assert number == expected
    assert type(number) is (int if options.get("integer") else float)


@pytest.mark.parametrize("value", [True, "3", None, math.nan, math.inf, -math.inf, 1j, np.array([1, 2]), [1]])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(InputError, match=r"x is not usable: got .*; allowed: a number; to fix: pass x as a number"):
        check_number("x", value)


def test_a_fraction_is_refused_where_whole_numbers_are_wanted():
    with pytest.raises(InputError, match=r"got 2\.5; allowed: a whole number"):
        check_number("depth", 2.5, integer=True)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"low": 1}, "a number >= 1"),
        ({"high": -5}, "a number <= -5"),
        ({"low": 1, "high": 3, "integer": True}, "a whole number >= 1 and <= 3"),
    ],
)
def test_a_number_out_of_range_gets_the_range_and_the_direction(options, allowed):
    with pytest.raises(InputError) as caught:
        check_number("x", 0, **options)
    assert caught.value.allowed == allowed
    assert str(caught.value).endswith("pass a smaller x" if "low" not in options else "pass a larger x")


def test_bounds_belong_to_the_range():
    assert check_number("x", 1, low=1, high=2) == 1.0
    assert check_number("x", 2, low=1, high=2) == 2.0


def test_require_imports_or_names_the_extra():
    assert require("json", "export").__name__ == "json"
    with pytest.raises(MissingExtraError, match=r'no_such_module is not installed.*"softwood\[export\]"'):
        require("no_such_module", "export")
