import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softwood.core import DamagedFileError, InputError
from softwood.lifecycle import flatten_state, unflatten_state

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=["Cs"]))
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    ),
    max_leaves=10,
)
TENSORS = [
    torch.tensor([1.5, math.nan, -0.0]),
    torch.tensor(3, dtype=torch.int64),
    torch.zeros(0, 4, dtype=torch.float64),
    torch.tensor([True, False]),
    torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    torch.tensor(0.1, dtype=torch.bfloat16),
    torch.tensor([0.5], dtype=torch.float16),
    torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn),
    torch.arange(6.0).reshape(2, 3).T,
    torch.arange(256, dtype=torch.uint8),
    torch.nn.Parameter(torch.ones(2)),
]


def through_json(state):
    fields, arrays = flatten_state(state)
    return unflatten_state(json.loads(json.dumps(fields, allow_nan=False)), arrays)


@given(nested)
def test_nested_values_come_back_as_they_were(state):
    assert repr(through_json(state)) == repr(state)


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}-{tuple(t.shape)}")
def test_tensors_come_back_bit_for_bit(tensor):
    back = through_json({"a": [tensor]})["a"][0]
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert (
        back.detach()
        .reshape(-1)
        .contiguous()
        .view(torch.uint8)
        .equal(tensor.detach().reshape(-1).contiguous().view(torch.uint8))
    )
    assert not back.requires_grad


def test_arrays_and_numpy_numbers_come_back():
    back = through_json({"x": np.array([[1, 2]], dtype=np.int8), "y": np.float32(0.1), "z": np.bool_(True)})
    assert back["x"].dtype == np.int8
    assert back["x"].tolist() == [[1, 2]]
    assert back["y"] == float(np.float32(0.1))
    assert back["z"] is True


def test_names_that_look_alike_are_kept_apart():
    state = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, 1: torch.tensor(3), "1": torch.tensor(4)}
    back = through_json(state)
    assert [back["a.b"].item(), back["a"]["b"].item(), back[1].item(), back["1"].item()] == [1, 2, 3, 4]


def test_what_is_flattened_and_what_comes_back_are_copies():
    tensor = torch.zeros(2)
    fields, arrays = flatten_state(tensor)
    tensor += 1
    first = unflatten_state(fields, arrays)
    first += 5
    assert unflatten_state(fields, arrays).tolist() == [0, 0]


def test_an_optimiser_goes_on_bit_for_bit():
    def make():
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        return weight, torch.optim.AdamW([weight], lr=0.1, amsgrad=True)

    def advance(weight, optimiser):
        optimiser.zero_grad()
        (weight**4).sum().backward()
        optimiser.step()

    through, stopped, resumed = make(), make(), make()
    for _ in range(6):
        advance(*through)
    for _ in range(3):
        advance(*stopped)
    resumed[0].data.copy_(through_json(stopped[0]))
    resumed[1].load_state_dict(through_json(stopped[1].state_dict()))
    for _ in range(3):
        advance(*resumed)
    assert torch.equal(resumed[0], through[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"a": [object()]}, r"builtins\.object at a\.0"),
        ({"a": {1, 2}}, r"builtins\.set at a"),
        ({("x", 1): 2}, r"the key \('x', 1\) at the top"),
        ({True: 2}, "the key True"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.ones(2).to_sparse(), "layout torch.sparse_coo"),
        (np.array(["x"]), "ndarray at the top"),
    ],
)
def test_what_cannot_be_saved_is_refused_with_its_place(bad, message):
    with pytest.raises(InputError, match=message):
        flatten_state(bad)


@pytest.mark.parametrize(
    "fields", [{"tensor": "missing"}, {"what": 1}, {"dict": 3}, {"dict": [[1, 2, 3]]}, {"float": "x"}]
)
def test_fields_that_are_not_ours_are_refused(fields):
    with pytest.raises(DamagedFileError, match="no flattened state"):
        unflatten_state(fields, {})
