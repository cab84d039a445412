import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softwood.core import (
    DamagedFileError,
    InputError,
    artifact_exists,
    check_replaceable,
    load_artifact,
    save_artifact,
    write_atomic,
)
from softwood.core import _files as implementation

FIELDS = {"names": ["größe", "b"], "depth": 3, "rate": 0.1, "none": None}
ARRAYS = {
    "float": np.array([[1.5, np.nan], [-0.0, np.inf]]),
    "bool": np.array([True, False]),
    "scalar": np.array(7.25, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.int32),
}


@pytest.fixture
def saved(tmp_path):
    return save_artifact(tmp_path / "model", kind="demo", version=2, fields=FIELDS, arrays=ARRAYS)


def load(path, kind="demo", version=2):
    return load_artifact(path, kind=kind, version=version)


def names_beside(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_what_is_saved_comes_back_bit_for_bit(saved):
    fields, arrays = load(saved)
    assert fields == FIELDS
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
    assert names_beside(saved) == ["model"]


def test_columns_of_a_larger_array_come_back_in_order(tmp_path):
    table = np.arange(12.0).reshape(3, 4)
    path = save_artifact(tmp_path / "m", kind="demo", version=1, fields={}, arrays={"t": table.T, "c": table[:, 1]})
    arrays = load(path)[1]
    np.testing.assert_array_equal(arrays["t"], table.T)
    np.testing.assert_array_equal(arrays["c"], [1, 5, 9])


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save_artifact(tmp_path / name, kind="demo", version=1, fields=FIELDS, arrays=ARRAYS)
    for file in ("artifact.json", "arrays.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": float("inf")}, {"x": np.zeros(2)}, {"x": {1, 2}}])
def test_fields_that_are_no_json_are_refused_and_nothing_is_left(tmp_path, bad):
    with pytest.raises(InputError, match="fields cannot be written as JSON"):
        save_artifact(tmp_path / "model", kind="demo", version=1, fields=bad, arrays={})
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("file", ["artifact.json", "arrays.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, file, share):
    whole = (saved / file).read_bytes()
    (saved / file).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DamagedFileError, match=file):
        load(saved)


@pytest.mark.parametrize("file", ["artifact.json", "arrays.safetensors"])
def test_a_missing_file_is_refused(saved, file):
    (saved / file).unlink()
    with pytest.raises(DamagedFileError, match=f"{file} is missing"):
        load(saved)


def test_every_altered_byte_of_the_arrays_is_refused(saved):
    path = saved / "arrays.safetensors"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DamagedFileError, match=r"altered \(checksum differs\)"):
            load(saved)


@pytest.mark.parametrize("flip", [1, 2, 16, 128])
def test_an_altered_byte_of_the_json_is_refused_or_changes_nothing(saved, flip):
    path = saved / "artifact.json"
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
        try:
            fields, _ = load(saved)
        except DamagedFileError:
            refused += 1
        else:  # one blank became another blank
            assert fields == FIELDS
    assert refused > 0.75 * len(whole)


@pytest.mark.parametrize("change", ['"rate": 1e999', '"rate": NaN', '"rate": "\\ud800"'])
def test_json_that_we_would_not_write_is_refused(saved, change):
    path = saved / "artifact.json"
    path.write_text(path.read_text().replace('"rate": 0.1', change))
    with pytest.raises(DamagedFileError, match="was altered"):
        load(saved)


def test_another_kind_is_refused_by_name(saved):
    with pytest.raises(DamagedFileError, match="it holds a 'demo', not a 'circuit'"):
        load(saved, kind="circuit")


def test_a_newer_version_asks_for_an_upgrade_and_an_older_one_is_read(saved):
    with pytest.raises(DamagedFileError, match=r"version 2 is newer than 1.*upgrade softwood"):
        load(saved, version=1)
    assert load(saved, version=3)[0] == FIELDS


@pytest.mark.parametrize("content", ["[]", "3", '{"format": "other"}', "{}"])
def test_json_of_someone_else_is_refused(saved, content):
    (saved / "artifact.json").write_text(content)
    with pytest.raises(DamagedFileError, match="is not a softwood-artifact file"):
        load(saved)


@pytest.mark.parametrize("version", [None, "2", 2.0])
def test_a_version_that_is_no_number_is_refused(saved, version):
    document = json.loads((saved / "artifact.json").read_text())
    document["version"] = version
    (saved / "artifact.json").write_text(json.dumps(document))
    with pytest.raises(DamagedFileError, match="no format version"):
        load(saved)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("x")])
def test_where_there_is_no_directory_there_is_no_model(tmp_path, make):
    make(tmp_path / "nothing")
    with pytest.raises(InputError, match="there is no model here"):
        load(tmp_path / "nothing")


# ---------------------------------------------------------------- replacement


def test_an_earlier_artefact_is_replaced_with_all_its_files(tmp_path):
    first = {"kind": "demo", "version": 1, "arrays": {}}
    save_artifact(tmp_path / "m", fields={"a": 1}, extras={"note.txt": "one"}, **first)
    assert (tmp_path / "m" / "note.txt").read_text() == "one"
    save_artifact(tmp_path / "m", fields={"a": 2}, **first)
    assert load(tmp_path / "m")[0] == {"a": 2}
    assert sorted(entry.name for entry in (tmp_path / "m").iterdir()) == ["arrays.safetensors", "artifact.json"]
    assert names_beside(tmp_path / "m") == ["m"]


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "m").mkdir()
    save_artifact(tmp_path / "m", kind="demo", version=1, fields={"a": 1}, arrays={})
    assert load(tmp_path / "m")[0] == {"a": 1}


def test_foreign_files_are_never_replaced(tmp_path, saved):
    (saved / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.csv").write_text("mine")
    for path, named in ((saved, "thesis.txt"), (tmp_path / "file", "file"), (tmp_path / "folder", "data.csv")):
        with pytest.raises(InputError, match=f"would replace files.*{named}"):
            save_artifact(path, kind="demo", version=1, fields={}, arrays={})
        with pytest.raises(InputError):
            check_replaceable(path)
    assert (saved / "thesis.txt").read_text() == "years of work"
    assert load(saved)[0] == FIELDS
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("failing", ["_write_synced", "_swap"])
def test_a_write_that_fails_leaves_the_old_artefact_and_no_rest(saved, monkeypatch, failing):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(implementation, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        save_artifact(saved, kind="demo", version=2, fields={"a": "new"}, arrays={})
    assert load(saved)[0] == FIELDS
    assert names_beside(saved) == ["model"]


def test_a_second_rename_that_fails_puts_the_old_artefact_back(saved, monkeypatch):
    rename = Path.replace

    def fail_into_place(self, target):
        if self.suffix == ".tmp":
            raise OSError("no such device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_into_place)
    with pytest.raises(OSError, match="no such device"):
        save_artifact(saved, kind="demo", version=2, fields={"a": "new"}, arrays={})
    assert names_beside(saved) == ["model"]
    assert load(saved)[0] == FIELDS


def test_a_writer_killed_between_its_two_renames_leaves_the_old_artefact_readable(saved):
    aside = implementation._temporary(saved, "old")
    saved.rename(aside)  # this is where a killed writer leaves it
    assert artifact_exists(saved)
    assert load(saved)[0] == FIELDS
    save_artifact(saved, kind="demo", version=2, fields={"a": "new"}, arrays={})
    assert load(saved)[0] == {"a": "new"}
    assert names_beside(saved) == ["model"]


def test_what_stands_beside_under_a_similar_name_is_left_alone(saved):
    for name in (".model.backup.old", ".model.0123456.old", ".other.01234567.old", "model.01234567.old"):
        (saved.parent / name).mkdir()
    before = names_beside(saved)
    save_artifact(saved, kind="demo", version=2, fields={}, arrays={})
    assert names_beside(saved) == before
    shutil.rmtree(saved)
    assert not artifact_exists(saved)


def test_artifact_exists_says_yes_to_a_damaged_one(saved):
    assert artifact_exists(saved)
    (saved / "arrays.safetensors").unlink()
    assert artifact_exists(saved)


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary()))
def test_write_atomic_writes_exactly_that(tmp_path_factory, content):
    path = write_atomic(tmp_path_factory.mktemp("w") / "new folder" / "a.txt", content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names_beside(path) == ["a.txt"]


def test_write_atomic_refuses_a_directory_and_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="add a file name"):
        write_atomic(tmp_path, "x")
    write_atomic(tmp_path / "a", "old")
    monkeypatch.setattr(implementation.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert names_beside(tmp_path / "a") == ["a"]
