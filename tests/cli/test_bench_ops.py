"""``softwood bench ops``: end to end, against its schema, with absent and failing libraries."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec

import pytest
import torch

from softwood.cli._bench_ops import METHODS, _Method, bench_ops

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
         "null": type(None)}  # fmt: skip


def check(value, schema, place="$"):
    """Assert that a value fits a JSON schema, of the words that ours use."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    assert not kinds or any(isinstance(value, KINDS[kind]) for kind in kinds), place
    assert value == schema.get("const", value), place
    assert not isinstance(value, float) or value > schema.get("exclusiveMinimum", -1e9), place
    if isinstance(value, list):
        for number, part in enumerate(value):
            check(part, schema["items"], f"{place}[{number}]")
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), place
        for name, part in value.items():
            rule = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            assert isinstance(rule, dict), f"{place}.{name}"
            check(part, rule, f"{place}.{name}")


def test_the_command_times_every_operation(softwood, tmp_path):
    file = tmp_path / "ops.json"
    done = softwood("bench", "ops", "--quick", "--threads", 1, "--json", "--out", file)
    assert done.code == 0, done.err
    found = done.json
    check(found, json.loads(files("softwood.cli").joinpath("schemas/bench_ops.json").read_text()))
    assert json.loads(file.read_text()) == found
    assert set(found["absent"]) == {one.module for one in METHODS if not find_spec(one.module)}
    assert [row for row in found["failed"] if row["library"] == "softwood"] == []
    ours = [(one.operation, one.name) for one in METHODS if one.module == "softwood"]
    for rows, n in ((8, 16), (2, 100)):
        here = [row for row in found["results"] if (row["rows"], row["n"]) == (rows, n)]
        assert [(row["operation"], row["method"]) for row in here if row["library"] == "softwood"] == ours
        assert [row["multiple"] for row in here if row["library"] == "torch"] == [1.0]
    assert [row["n"] for row in found["growth"] if row["method"] == "lapsum"][:2] == [100, 1000]


def test_others_are_compared_and_what_fails_or_is_absent_is_named(softwood):
    def broken(module, n):
        raise ValueError("no such thing")

    methods = (
        _Method("rank", "ours", "softwood", lambda m, n: lambda x: m.ops.rank(x)),
        _Method("rank", "theirs", "math", lambda m, n: lambda x: x * m.pi),
        _Method("rank", "broken", "math", broken),
        _Method("rank", "gone", "no_such_module", broken),
        _Method("rank", "short", "math", broken, 4),
    )
    before = torch.get_num_threads()
    found = bench_ops(threads=(2,), sizes=((3, 5),), growth=(4, 8), quick=True, methods=methods)
    assert torch.get_num_threads() == before
    assert found["absent"] == ["no_such_module"]
    assert [(row["method"], row["error"]) for row in found["failed"]] == [("broken", "ValueError: no such thing")]
    (ratio,) = found["ratios"]
    assert (ratio["against"], ratio["threads"], ratio["n"]) == ("math theirs", 2, 5)
    assert ratio["ratio"] > 0
    assert [row["exponent"] is None for row in found["growth"]] == [True, False]


def test_the_table_is_readable_and_a_wrong_name_is_refused(softwood):
    done = softwood("bench", "ops", "--quick", "--threads", 1, "--only", "sparsemax")
    assert done.code == 0, done.err
    for text in ("Multiples of torch.sort", "softwood sparsemax", "Growth", "Not installed, so not compared"):
        assert text in done.out
    done = softwood("bench", "ops", "--only", "sorting")
    assert done.code == 2
    assert "topk_mask" in done.err


@pytest.mark.parametrize("one", [m for m in METHODS if m.module == "softwood"], ids=lambda m: f"{m.operation}-{m.name}")
def test_our_methods_answer_in_the_shape_of_their_input(one):
    import softwood

    assert one.make(softwood, 6)(torch.randn(2, 6)).shape == (2, 6)
