from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softwood.artifacts import Column, HardEnsemble
from softwood.core import InputError

SVG = "{http://www.w3.org/2000/svg}"


def parts(text):
    """Return the box groups, the texts outside of them, and the edges of a picture."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    groups = root.findall(f"{SVG}g")
    return root, groups, root.findall(f"{SVG}text"), root.findall(f"{SVG}path")


def frame(group):
    box = group.find(f"{SVG}rect")
    return tuple(float(box.get(name)) for name in ("x", "y", "width", "height"))


@pytest.fixture(scope="module")
def small():
    columns = (
        Column("age", "number"),
        Column("member", "boolean"),
        Column("city", "category", ("Bonn", "Kiel", "Ulm")),
    )
    nan = np.nan
    return HardEnsemble(
        columns=columns, outputs=("p",), link="probability", classes=("no", "yes"),
        feature=[1, 0, -1, -1, 2, -1, -1], threshold=[0.5, 30.25, nan, nan, nan, nan, nan],
        missing_left=[True, False, False, False, True, False, False], left=[1, 2, 0, 0, 5, 0, 0],
        right=[4, 3, 0, 0, 6, 0, 0], level_set=[-1, -1, -1, -1, 0, -1, -1], levels_left=[[True, False, True]],
        leaf=[-1, -1, 0, 1, -1, 2, 3], values=[[0.1], [0.9], [0.25], [0.75]], counts=[10, 20, 30, 40.5], roots=[0],
        base=[0.0],
    )  # fmt: skip


def test_tests_answers_counts_and_directions_are_there(small):
    _, groups, texts, edges = parts(small.draw())
    lines = [[text.text for text in group.findall(f"{SVG}text")] for group in groups]
    assert lines == [
        ["member is false?"], ["age ≤ 30.25?"], ["city in {Bonn, Ulm}?"],
        ["no: 0.900", "n = 10"], ["yes: 0.900", "n = 20"], ["no: 0.750", "n = 30"], ["yes: 0.750", "n = 40.5"],
    ]  # fmt: skip
    assert [text.text for text in texts] == [
        "leaves hold probabilities", "yes, missing", "no", "yes", "no, missing", "yes, missing", "no",
    ]  # fmt: skip
    assert len(edges) == 6
    assert groups[3].find(f"{SVG}rect").get("fill") == groups[5].find(f"{SVG}rect").get("fill")
    assert groups[3].find(f"{SVG}rect").get("fill") != groups[4].find(f"{SVG}rect").get("fill")
    thick = [float(edge.get("stroke-width")) for edge in edges]
    assert thick[0] < thick[1]  # 30 rows against 70.5


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 6), depth=st.integers(0, 6))
def test_every_picture_is_xml_without_overlaps_or_outside_resources(lab, seed, number, depth):
    model = lab.model(np.random.default_rng(seed), lab.cases[number], trees=2, depth=depth)
    text = model.draw(1)
    for word in ("href", "url(", "<script", "<image", "@import", "<foreignObject"):
        assert word not in text
    root, groups, _, edges = parts(text)
    assert len(edges) == len(groups) - 1
    width, height = float(root.get("width")), float(root.get("height"))
    frames = [frame(group) for group in groups]
    for number, (x, y, w, h) in enumerate(frames):
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in frames[:number]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_names_are_escaped():
    name = "<script>alert(1)</script>&\x00\x1b\ud800\"'"
    model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=(name,))
    text = model.draw()
    assert "<script" not in text
    _, groups, _, _ = parts(text)
    assert groups[0].find(f"{SVG}title").text == "<script>alert(1)</script>&\ufffd\ufffd\ufffd\"' = 2"
    text.encode()


def test_deep_trees_are_cut_and_counted(lab):
    chain = lab.chain(1500)
    _, groups, _, _ = parts(chain.draw(max_depth=3))
    assert [text.text for text in groups[-1].findall(f"{SVG}text")] == ["... 1498 leaves"]
    assert len(groups) == 7
    _, groups, _, _ = parts(chain.draw(max_depth=0))
    assert len(groups) == 1


def test_a_split_into_known_and_missing_says_so(small):
    threshold = [0.5, np.finfo(float).max, *[np.nan] * 5]
    fields = {name: getattr(small, name) for name in small.__dataclass_fields__}
    assert ">age is known?<" in HardEnsemble(**{**fields, "threshold": threshold}).draw()


def test_a_tree_that_is_not_there(small):
    for tree in (1, -1):
        with pytest.raises(InputError, match="no such tree"):
            small.draw(tree)


def test_rules_say_is_known_where_only_missing_values_go_the_other_way(lab):
    model = lab.chain(1)
    known = replace(model, threshold=[np.finfo(float).max, np.nan, np.nan], missing_left=[False] * 3)
    assert "if x is known:" in str(known)
    assert "if x is anything:" in str(replace(known, missing_left=[True] * 3))
    assert "if x <= 0:" in str(replace(model, missing_left=[False] * 3))
