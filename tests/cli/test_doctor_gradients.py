"""``softwood doctor gradients``: on functions of the user's, in their folder."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

MINE = """
import torch

def loss(z):
    return (z[..., 0, 0] - z[..., 1, 1]) ** 2

def curve(x):
    return (x ** 2).sum()

def problem():
    largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
    return {"fn": lambda y: (y[..., 0] - 1) ** 2, "x": torch.tensor([0.2, 0.3]), "solver": largest, "sigma": 0.3}

def black_box(z):
    raise ValueError("never")

def nonsense():
    return {"fn": loss, "x0": 1}

def no_problem():
    return 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    name = f"mine_{abs(hash(tmp_path)) % 10**8}"  # modules stay imported; every test has its own
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_loss_of_choices_gets_a_table_a_picture_and_a_recommendation(softwood, mine, tmp_path):
    words = ["doctor", "gradients", f"{mine}:loss", "--choices", "2,3", "--repeats", "300"]
    done = softwood(*words, "--plot", "found.svg")
    assert done.code == 0
    assert "enumeration of all 9 outcomes" in done.out
    assert "leave-one-out 4 *" in done.out
    assert "take: " in done.out
    ElementTree.parse(tmp_path / "found.svg")
    found = softwood(*words, "--json").json
    assert found["recommendation"] in done.out
    assert {row["name"] for row in found["rows"]} >= {"ReinMax", "score function", "Gumbel-softmax 1"}


def test_a_function_of_a_vector_and_a_whole_problem(softwood, mine):
    found = softwood("doctor", "gradients", f"{mine}:curve", "--at", "0.5,-1", "--repeats", "20", "--json").json
    assert found["reference"] == "finite differences"
    assert found["recommendation"] == "autograd"
    found = softwood("doctor", "gradients", f"{mine}:problem", "--repeats", "100", "--json").json
    assert found["reference"] == "smoothed"
    assert "blackbox" in {row["name"] for row in found["rows"]}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["curve"], "one of --choices SHAPE and --at NUMBERS"),
        (["curve", "--at", "a,b"], "--at is not usable"),
        (["absent", "--at", "1"], "not in the module"),
        (["nonsense"], "x0"),
        (["no_problem"], "a dict with"),
    ],
)
def test_bad_usage_is_explained(softwood, mine, words, says):
    done = softwood("doctor", "gradients", f"{mine}:{words[0]}", *words[1:])
    assert done.code == 2
    assert says in done.err


def test_calls_a_step_decide_what_is_taken(softwood, mine):
    words = ["doctor", "gradients", f"{mine}:loss", "--choices", "2,3", "--repeats", "300", "--json"]
    rich = softwood(*words, "--calls", "100000").json
    assert next(row for row in rich["rows"] if row["name"] == rich["recommendation"])["unbiased"]
