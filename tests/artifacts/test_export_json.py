from __future__ import annotations

import json

import numpy as np
import pytest

from softwood.artifacts import export, load_json
from softwood.core import DamagedFileError, InputError


@pytest.fixture
def saved(lab, tmp_path):
    model = lab.model(np.random.default_rng(4), "softmax", trees=2, depth=3)
    export(model, tmp_path / "model.json", "json")
    return model, tmp_path / "model.json"


def test_the_envelope_is_plain_json_and_says_how_to_read_it(saved):
    model, path = saved
    content = json.loads(path.read_text())
    assert set(content) == {"format", "version", "fingerprint", "about", "model"}
    assert (content["format"], content["version"]) == ("softwood-hard-ensemble", 1)
    assert content["model"] == json.loads(json.dumps(model.to_dict()))
    assert "value <= threshold" in content["about"]


@pytest.mark.parametrize("number", range(9))
def test_load_json_gives_the_same_model(lab, tmp_path, number):
    model = lab.model(np.random.default_rng(number), lab.cases[number], trees=2)
    export(model, tmp_path / "model.json", "json")
    assert load_json(tmp_path / "model.json") == model


def test_a_file_cut_anywhere_is_refused(saved):
    _, path = saved
    text = path.read_text().rstrip()
    for end in range(0, len(text), 97):
        path.write_text(text[:end])
        with pytest.raises(DamagedFileError, match="to fix"):
            load_json(path)


def test_an_altered_digit_is_refused(saved):
    model, path = saved
    text = path.read_text()
    start = text.index('"model"')
    rng = np.random.default_rng(0)
    places = [i for i in range(start, len(text)) if text[i] in "123456789"]
    for place in rng.choice(places, 40):
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        with pytest.raises(DamagedFileError):
            load_json(path)
    path.write_text(text)
    assert load_json(path) == model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "format version 2; this Softwood reads 1 to 1; to fix: upgrade"),
        ({"version": None}, "format version None"),
        ({"format": "another"}, "not a softwood-hard-ensemble file"),
        ({"fingerprint": "0" * 16}, "fingerprint differs"),
        ({"model": {}}, "describes no model"),
        ({"model": []}, "describes no model"),
        ({"model": None}, "describes no model"),
    ],
)
def test_other_content_is_refused(saved, change, message):
    _, path = saved
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DamagedFileError, match=message):
        load_json(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"\xff\xfe", b"[" * 100_000, b"PK\x03\x04"])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(DamagedFileError):
        load_json(tmp_path / "model.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        load_json(tmp_path / "model.json")
    with pytest.raises(InputError, match="no model here"):
        load_json(tmp_path)
