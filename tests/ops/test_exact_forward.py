"""What ``hard=True`` answers where there is no answer."""

import pytest
import torch

from softwood import ops

NAN, INF = torch.nan, torch.inf
ROWS = torch.tensor([[1.0, NAN, 2.0, 0.0], [1.0, 5.0, 2.0, 0.0]])
OF_ROWS = {
    "topk": lambda x: ops.topk(x, 2, hard=True)[0],
    "topk halving": lambda x: ops.topk(x, 2, relax="halving", hard=True)[0],
    **{f"topk_mask {name}": lambda x, name=name: ops.topk_mask(x, 2, relax=name, hard=True)
       for name in ("threshold", "lapsum", "budget", "permutahedron", "transport")},
    "one_hot": lambda x: ops.one_hot(x, hard=True),
    "max": lambda x: ops.max(x, hard=True)[0].unsqueeze(-1),
    "sort": lambda x: ops.sort(x, hard=True)[0],
    "rank": lambda x: ops.rank(x, hard=True),
    "dense_rank": lambda x: ops.dense_rank(x, hard=True),
    "all": lambda x: ops.all(x / 5, hard=True).unsqueeze(-1),
    "count": lambda x: ops.count(x / 5, hard=True).unsqueeze(-1),
}  # fmt: skip
OF_ENTRIES = {
    **{name: lambda x, name=name: getattr(ops, name)(x, hard=True)
       for name in ("abs", "sign", "heaviside", "relu", "round", "floor", "ceil", "not_")},
    **{name: lambda x, name=name: getattr(ops, name)(x, 0.5, hard=True)
       for name in ("gt", "ge", "lt", "le", "eq", "isclose")},
    "and_": lambda x: ops.and_(x, torch.ones_like(x), hard=True),
    "where": lambda x: ops.where(x, torch.ones_like(x), torch.zeros_like(x), hard=True),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_nan_makes_its_own_row_nan_when_hard(name):
    answer = OF_ROWS[name](ROWS)
    assert answer[0].isnan().all()
    assert torch.equal(answer[1], OF_ROWS[name](ROWS[1:])[0])
    assert answer[1].isfinite().all()


@pytest.mark.parametrize("name", OF_ENTRIES)
def test_a_nan_stays_where_it_is_when_hard(name):
    assert OF_ENTRIES[name](ROWS).isnan().tolist() == ROWS.isnan().tolist()


def test_rounding_an_infinity_gives_it_back():
    x = torch.tensor([-INF, INF])
    assert torch.equal(ops.round(x, hard=True), x)


def test_equal_infinities_are_equal():
    x = torch.tensor([INF, -INF, INF])
    y = torch.tensor([INF, -INF, -INF])
    for hard in (False, True):
        assert ops.eq(x, y, hard=hard).tolist() == [1.0, 1.0, 0.0]
        assert ops.ge(x, y, hard=hard)[2] == 1.0
    assert ops.gt(x, y).tolist() == [0.5, 0.5, 1.0]


def test_the_gradient_beside_a_nan_is_the_soft_one():
    one = {hard: ROWS.clone().requires_grad_() for hard in (False, True)}
    for hard, x in one.items():
        ops.topk_mask(x, 2, temperature=1.0, hard=hard)[1, 1].backward()
    assert torch.equal(one[True].grad[1], one[False].grad[1])
    assert one[True].grad[1].abs().sum() > 0
