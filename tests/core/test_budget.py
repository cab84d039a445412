import pytest

from softwood.core import Budget, InputError


def test_a_budget_allows_up_to_its_limit():
    budget = Budget(480, "leaf values")
    assert budget.allows(480)
    assert not budget.allows(481)
    assert budget.check(480) == 480
    assert str(budget) == "at most 480 leaf values"


def test_too_large_a_model_is_refused_with_the_way_out():
    with pytest.raises(InputError) as caught:
        Budget(480, "leaf values").check(481)
    assert str(caught.value) == (
        "the model is larger than its budget: got 481 leaf values; allowed: at most 480 leaf values; "
        "to fix: raise budget to 481 or more, or let harden prune"
    )


@pytest.mark.parametrize("limit", [0, -1, 2.5, "8", None, True, float("nan")])
def test_a_limit_that_is_no_count_is_refused(limit):
    with pytest.raises(InputError, match="budget"):
        Budget(limit, "gates")


def test_a_whole_float_becomes_an_int():
    assert Budget(8.0, "gates") == Budget(8, "gates")
    assert type(Budget(8.0, "gates").limit) is int
