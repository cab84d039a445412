"""``softwood bench estimators``: the reference table, in the order that theory gives it, and its document."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from softwood.cli._bench_estimators import SCHEMA, bench_estimators, table_rows


@pytest.fixture(scope="module")
def found():
    return bench_estimators(repeats=4000)


@pytest.fixture(scope="module")
def choices(found):
    return {row["name"]: row for row in found["problems"][0]["rows"]}


def test_bias_falls_and_variance_rises_as_gumbel_softmax_cools(choices):
    hot, warm, cold = (choices[f"Gumbel-softmax {tau}"] for tau in ("1", "0.5", "0.1"))
    assert hot["bias_low"] > warm["bias_high"]
    assert warm["bias"] > cold["bias"]
    assert hot["variance"] < warm["variance"] / 2 < cold["variance"] / 4


def test_the_estimators_stand_in_the_order_that_their_papers_give(choices):
    assert choices["ReinMax"]["bias_high"] < choices["ST softmax"]["bias_low"]
    assert choices["Rao-Blackwell ST-GS 0.5"]["variance"] < 0.6 * choices["ST Gumbel-softmax 0.5"]["variance"]
    assert choices["leave-one-out 4"]["variance"] < choices["score function"]["variance"] / 4
    for row in choices.values():
        assert not row["failure"]
        assert not row["unbiased"] or row["bias_low"] < 1e-6


def test_each_problem_has_the_truth_it_should_have(found):
    references = {problem["name"]: problem["reference"] for problem in found["problems"]}
    assert references == {
        "choices": "enumeration", "binary": "enumeration", "solver": "smoothed", "unroll": "smoothed"
    }  # fmt: skip
    rows = {row["name"]: row for row in found["problems"][3]["rows"]}
    assert rows["autograd"]["bias"] > 1e6  # of a chaotic system
    assert rows["inverse-variance mix"]["bias_low"] < 0.1
    assert all(len(line) == 8 for problem in found["problems"] for line in table_rows(problem))


def test_the_command_writes_a_document_that_fits_its_schema(softwood, tmp_path):
    words = ["bench", "estimators", "--repeats", "100", "--no-progress"]
    done = softwood(*words, "--out", tmp_path / "found.json")
    assert done.code == 0
    assert "enumeration of all 216 outcomes" in done.out
    document = json.loads((tmp_path / "found.json").read_text())
    schema = json.loads(files("softwood.cli").joinpath("schemas/bench_estimators.json").read_text())
    assert document["schema"] == SCHEMA == schema["properties"]["schema"]["const"]
    assert set(document) == set(schema["required"])
    problem = schema["properties"]["problems"]["items"]
    for found in document["problems"]:
        assert set(found) == set(problem["required"])
        for row in found["rows"]:
            assert set(row) == set(problem["properties"]["rows"]["items"]["required"])
