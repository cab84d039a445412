"""``softwood doctor``: it sees what is there, what is missing, and what does not work."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from softwood.artifacts import FORMATS
from softwood.cli import _doctor


def test_a_healthy_installation_passes(softwood):
    done = softwood("doctor", "--json")
    found = done.json
    assert done.code == 0
    assert found["passed"] is True
    assert {entry["name"]: entry["version"] for entry in found["packages"]}["numpy"] == version("numpy")
    names = [check["name"] for check in found["checks"]]
    assert names == ["imports", "numba cache", "fit", "save", *(f"export {to}" for to in FORMATS)]
    assert all(check["seconds"] >= 0 for check in found["checks"])
    assert found["cores"] >= found["usable_cores"] >= 1


def test_a_missing_package_is_named_with_the_command_that_brings_it(softwood, monkeypatch):
    def pretend(name):
        if name in ("scipy", "onnx", "ray"):
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(_doctor, "version", pretend)
    done = softwood("doctor")
    assert done.code == 1  # without scipy nothing works; without an extra all else does
    assert 'missing: pip install "softwood"\n' in done.out
    assert 'missing: pip install "softwood[export]"  (extra export)' in done.out
    assert 'missing: pip install "softwood[scale]"  (extra scale)' in done.out


def test_a_self_test_that_fails_is_a_failed_check(softwood, monkeypatch):
    def broken(*_args, **_options):
        raise OSError("the disk is full")

    monkeypatch.setattr("softwood.artifacts.HardEnsemble.save", broken)
    done = softwood("doctor")
    assert done.code == 1
    assert "FAILED save" in done.out
    assert "the disk is full" in done.out


def test_a_cache_that_cannot_be_written_is_a_failed_check(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_doctor.os, "access", lambda *_: False)
    found = _doctor._try("numba cache", _doctor._cache)
    assert found["passed"] is False
    assert "set NUMBA_CACHE_DIR" in found["message"]
