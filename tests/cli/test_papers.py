"""``softwood papers`` and ``softwood reproduce`` end to end."""

from __future__ import annotations

import json

import pytest


def test_papers_lists_all_and_one_family(softwood):
    done = softwood("papers", "--json")
    assert (done.code, len(done.json["papers"])) == (0, 127)
    assert sum(done.json["counts"].values()) == 127
    text = softwood("papers", "--family", "ops")
    assert "18 papers" in text.out
    assert "gumbel-softmax" in text.out
    assert "darts" not in text.out


def test_one_paper_says_what_it_is_for_built_or_not(softwood):
    done = softwood("papers", "gumbel-softmax")
    assert "softwood.gradients.GumbelSoftmax" in done.out
    assert "softwood reproduce gumbel-softmax" in done.out
    assert softwood("papers", "hourglass-trees", "--json").json["verdict"] in (
        "not built",
        "holds",
        "stale",
        "falls short",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("papers", "gumbel"), "did you mean"),
        (("papers", "--family", "cars"), "--family is unknown"),
        (("reproduce",), "which papers?"),
        (("reproduce", "sau", "--all"), "which papers?"),
        (("reproduce", "nope"), "id is unknown"),
        (("reproduce", "gumbel-softmax", "--size", "tiny"), "size is unknown"),
        (("reproduce", "gumbel-softmax", "--seeds", "0"), "--seeds is out of range"),
        (("reproduce", "--family", "ops", "--eject", "x.py"), "a script is of one paper"),
    ],
)
def test_what_cannot_be_done_is_said(softwood, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = softwood(*words)
    assert done.code == 2
    assert message in done.err


def test_reproduce_measures_records_and_goes_on(softwood, tmp_path):
    words = ("reproduce", "gumbel-softmax", "--size", "smoke", "--seeds", "1", "--work", tmp_path / "work")
    done = softwood(*words, "--record", tmp_path / "evidence")
    assert done.code == 0, done.err
    for part in ("met    bias falls", "Verdict: holds", "The paper: ", "Here: ", "leave-one-out, 4 samples"):
        assert part in done.out
    record = json.loads((tmp_path / "evidence" / "gumbel-softmax.json").read_text())
    assert record["size"] == "smoke"
    assert record["versions"]["torch"]
    again = softwood(*words, "--json").json["papers"][0]
    assert again["verdict"] == "holds"
    assert again["record"]["seconds"] == record["seconds"]  # not run again


def test_a_script_to_start_from(softwood, tmp_path):
    path = tmp_path / "start.py"
    assert softwood("reproduce", "gumbel-softmax", "--eject", path).code == 0
    assert "def use(" in path.read_text()
