"""The ONNX file, fed by hand: nothing of the exporter's own checking is used here."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softwood.artifacts import Column, HardEnsemble, probes
from softwood.artifacts._export_onnx import write_onnx
from softwood.core import UnsupportedError


def _run(content, model, rows):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    fed = {}
    for column in model.columns:
        values = [row[column.name] for row in rows]
        if column.kind == "category":
            fed[column.name] = np.array(["" if value is None else value for value in values], dtype=object)
        else:
            fed[column.name] = np.array([np.nan if value is None else float(value) for value in values])
        fed[column.name] = fed[column.name].reshape(len(rows), 1)
    assert [entry.name for entry in session.get_inputs()] == list(fed)
    return session.run(None, fed)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 6), trees=st.integers(1, 5), depth=st.integers(0, 5))
def test_it_gives_the_answers_of_the_definition(lab, seed, number, trees, depth):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, lab.cases[number], trees=trees, depth=depth)
    rows = lab.as_dicts(model, lab.rows(rng, model, 20)) + lab.as_dicts(model, probes(model, limit=60))
    totals = [lab.walk(model, row) for row in rows]
    found = _run(write_onnx(model), model, rows)
    assert found[-1].dtype == np.float64
    np.testing.assert_allclose(found[-1], [lab.link(model, total) for total in totals], rtol=0, atol=1e-12)
    if model.classes is not None:
        assert found[0].tolist() == [lab.label(model, total) for total in totals]
        assert type(found[0].tolist()[0]) is type(model.classes[0])


def test_the_signature_is_readable_and_the_checker_accepts_it(lab):
    columns = (Column("label", "number"), Column("ok", "boolean"), Column("city", "category", ("Ulm",)))
    model = lab.model(np.random.default_rng(1), "three classes", columns=columns)
    proto = onnx.load_from_string(write_onnx(model))
    onnx.checker.check_model(proto, full_check=True)
    kinds = {i.name: i.type.tensor_type.elem_type for i in proto.graph.input}
    assert kinds == {"label": onnx.TensorProto.DOUBLE, "ok": onnx.TensorProto.DOUBLE, "city": onnx.TensorProto.STRING}
    kinds = {o.name: o.type.tensor_type.elem_type for o in proto.graph.output}
    assert kinds == {"label_": onnx.TensorProto.INT64, "probabilities": onnx.TensorProto.DOUBLE}
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "softwood.fingerprint": model.fingerprint,
        "softwood.link": "probability",
    }
    assert "unseen level counts as missing" in proto.doc_string


def test_one_row_no_row_and_many_rows(lab):
    rng = np.random.default_rng(2)
    model = lab.model(rng, "regression", trees=3)
    content = write_onnx(model)
    for count in (0, 1, 5000):
        table = lab.rows(rng, model, count)
        found = _run(content, model, lab.as_dicts(model, table))[0]
        np.testing.assert_array_equal(found, model.raw(table).reshape(count, 1))


def test_a_model_without_columns_is_refused():
    model = HardEnsemble.single_leaf([], np.zeros(1), outputs=["y"])
    with pytest.raises(UnsupportedError, match="without columns"):
        write_onnx(model)
