from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from softwood.artifacts import FORMATS, Column, ExportMismatchError, HardEnsemble, export, probes
from softwood.core import InputError, MissingExtraError, UnsupportedError

# SQL that there is no engine for is parsed, not run: it is never verified, and has its own tests
RUN = [to for to in FORMATS if to not in {"sql-tsql", "sql-oracle", "sql-snowflake", "sql-bigquery"}]


def _fitting(to, model):
    """LightGBM takes numbers beside zero for zero; models for it are split elsewhere."""
    if to != "lightgbm":
        return model
    return dataclasses.replace(model, threshold=np.where(np.abs(model.threshold) < 1e-35, 0.25, model.threshold))


@pytest.fixture
def model(lab):
    """A forest with every kind of test in it."""
    rng = np.random.default_rng(5)
    while True:
        found = lab.model(rng, "binary, probability", trees=3, depth=3)
        kinds = {found.columns[feature].kind for feature in found.feature[found.feature >= 0]}
        if kinds == {"number", "boolean", "category"}:
            return found


def _broken_writer(monkeypatch, to, change):
    """Make one exporter write a model that differs a little from the one it is given."""
    form = FORMATS[to]

    def write(model: HardEnsemble) -> str | bytes:
        return form.write(change(model))

    monkeypatch.setitem(FORMATS, to, dataclasses.replace(form, write=write))


def _first(model, kind):
    return next(n for n in np.flatnonzero(model.feature >= 0) if model.columns[model.feature[n]].kind == kind)


def _edited(name, edit):
    def change(model):
        array = getattr(model, name).copy()
        edit(model, array)
        return dataclasses.replace(model, **{name: array})

    return change


def _next_float(model, thresholds):
    node = _first(model, "number")
    thresholds[node] = np.nextafter(thresholds[node], np.inf)


def _previous_float(model, thresholds):
    node = _first(model, "number")
    thresholds[node] = np.nextafter(thresholds[node], -np.inf)


def _float32(model, thresholds):
    thresholds[:] = np.float32(np.clip(thresholds, -1e38, 1e38))


def _other_missing_way(kind):
    def edit(model, missing_left):
        node = _first(model, kind)
        missing_left[node] = not missing_left[node]

    return edit


def _one_level(model, levels_left):
    node = _first(model, "category")
    row = model.level_set[node]
    levels_left[row, 0] = not levels_left[row, 0]


FAULTS = {
    "a threshold one float up": _edited("threshold", _next_float),
    "a threshold one float down": _edited("threshold", _previous_float),
    "thresholds in float32": _edited("threshold", _float32),
    "missing number goes the other way": _edited("missing_left", _other_missing_way("number")),
    "missing level goes the other way": _edited("missing_left", _other_missing_way("category")),
    "one level on the other side": _edited("levels_left", _one_level),
    "a score off by 1e-8": lambda model: dataclasses.replace(model, base=model.base + 1e-8),
    "labels swapped": lambda model: dataclasses.replace(model, classes=model.classes[::-1]),
    "a class of another type": lambda model: dataclasses.replace(model, classes=(False, True)),
}


def _distinct(model):
    """The same trees with a different number in each leaf, so that a row in the wrong leaf shows."""
    return dataclasses.replace(model, values=np.linspace(0.01, 0.3, model.n_leaves)[:, None])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("to", RUN)
def test_a_wrong_file_is_not_handed_over(model, tmp_path, monkeypatch, to, fault):
    model = _fitting(to, _distinct(model))
    target = tmp_path / "model.out"
    assert export(model, target, to).verified
    content = target.read_bytes()
    _broken_writer(monkeypatch, to, FAULTS[fault])
    with pytest.raises(ExportMismatchError, match=f"{to} export differs"):
        export(model, target, to)  # no rows given: the probes alone have to find it
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.out"]
    assert target.read_bytes() == content


@pytest.mark.parametrize("to", RUN)
def test_a_file_that_does_not_run_is_not_handed_over(model, tmp_path, monkeypatch, to):
    form, model = FORMATS[to], _fitting(to, model)
    for content in (b"", b"\x00nonsense", form.write(model)[:-40], form.write(model)[:100]):
        monkeypatch.setitem(FORMATS, to, dataclasses.replace(form, write=lambda _, content=content: content))
        with pytest.raises(ExportMismatchError):
            export(model, tmp_path / "model.out", to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", RUN)
@pytest.mark.parametrize("number", range(9))
def test_every_format_gives_the_models_answers(lab, tmp_path, to, number):
    for seed, trees, depth in ((1, 1, 0), (2, 1, 4), (3, 6, 3), (4, 2, 5)):
        rng = np.random.default_rng([number, seed])
        model = _fitting(to, lab.model(rng, lab.cases[number], trees=trees, depth=depth))
        table = lab.rows(rng, model, 80)
        if to == "lightgbm" and model.link == "exp" and model.n_outputs > 1:
            with pytest.raises(UnsupportedError, match="one count at a time"):
                export(model, tmp_path / f"{seed}.out", to, rows=table)
            continue
        report = export(model, tmp_path / f"{seed}.out", to, rows=table)
        assert report.verified
        assert (report.user_rows, report.probe_rows) == (80, len(probes(model)))
        assert report.rows == report.user_rows + report.probe_rows
        assert report.largest_difference <= 1e-12
        assert report.label_mismatches == 0


def test_the_report_says_what_was_checked(model, tmp_path, lab):
    table = lab.rows(np.random.default_rng(0), model, 10)
    report = export(model, tmp_path / "model.onnx", "onnx", rows=table)
    assert report.verifier.startswith("onnxruntime 1.")
    assert report.to_dict() == {**dataclasses.asdict(report), "verified": True, "format": "onnx"}
    assert f"verified on {report.rows} rows (10 of your table, {report.probe_rows} probes" in str(report)
    assert report.fingerprint == model.fingerprint
    python = export(model, tmp_path / "model.py", "python").verifier
    assert python == f"python {sys.version.split()[0]} in a subprocess"
    assert export(model, tmp_path / "model.json", "json").verifier.startswith("softwood ")


@pytest.mark.parametrize("to", FORMATS)
def test_every_file_names_the_model(model, tmp_path, to):
    model = _fitting(to, model)
    export(model, tmp_path / "model.out", to)
    assert model.fingerprint.encode() in (tmp_path / "model.out").read_bytes()


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_model_gives_the_same_bytes(model, tmp_path, to):
    model = _fitting(to, model)
    contents = {export(model, tmp_path / f"{i}.out", to).path for i in range(2)}
    assert len({Path(path).read_bytes() for path in contents}) == 1


def test_without_a_runtime_the_file_is_marked_unverified(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = export(model, tmp_path / "model.onnx", "onnx")
    assert not report.verified
    assert report.largest_difference is None
    assert report.rows == 0
    assert "UNVERIFIED (onnxruntime is not installed" in str(report)
    assert (tmp_path / "model.onnx").exists()


def test_without_the_writing_library_nothing_is_written(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="softwood\\[export\\]"):
        export(model, tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_requests_that_cannot_be_met(model, tmp_path):
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        export(model, tmp_path / "model", "onx")
    with pytest.raises(InputError, match="add a file name"):
        export(model, tmp_path, "json")
    with pytest.raises(InputError, match="lacks"):
        export(model, tmp_path / "model.json", "json", rows={"something else": [1]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", [to for to in FORMATS if to not in ("json", "lightgbm", "sklearn")])
def test_a_level_without_text_is_refused_where_it_means_missing(tmp_path, to):
    model = HardEnsemble.single_leaf([Column("city", "category", ("", "Ulm"))], np.zeros(1), outputs=["y"])
    with pytest.raises(UnsupportedError, match="empty text as a level"):
        export(model, tmp_path / "model", to)
    assert export(model, tmp_path / "model.json", "json").verified


@pytest.mark.parametrize("to", RUN)
def test_a_tree_of_1200_levels(tmp_path, to, lab):
    report = export(_fitting(to, lab.chain(1200)), tmp_path / "model", to)
    assert report.verified
    assert report.rows > 5000


@pytest.mark.parametrize("to", RUN)
def test_a_category_of_20000_levels(tmp_path, to):
    levels = tuple(f"level {i}" for i in range(20_000))
    goes_left = np.random.default_rng(0).random((3, 20_000)) < 0.5
    model = HardEnsemble(
        columns=(Column("c", "category", levels),), outputs=("y",), link="identity", classes=None,
        feature=[0, 0, 0, -1, -1, -1, -1], threshold=[np.nan] * 7, missing_left=[True, False, True] + [False] * 4,
        left=[1, 3, 5, 0, 0, 0, 0], right=[2, 4, 6, 0, 0, 0, 0], level_set=[0, 1, 2, -1, -1, -1, -1],
        levels_left=goes_left, leaf=[-1, -1, -1, 0, 1, 2, 3], values=[[0.0], [1.0], [2.0], [3.0]], counts=[0] * 4,
        roots=[0], base=[0.0],
    )  # fmt: skip
    assert export(model, tmp_path / "model", to, rows={"c": [*levels, "else", None]}).user_rows == 20_002
