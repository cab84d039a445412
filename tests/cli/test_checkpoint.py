"""When a fit goes on, when it starts over, and what it never deletes."""

from __future__ import annotations

import pandas as pd
import pytest

from softwood.cli._checkpoint import checkpoint, settings_of
from softwood.core import InputError

SETTINGS = {"table": "00ff", "options": {"drop": ("a",), "effort": 1.0}, "versions": {"torch": "2"}}


class KilledError(Exception):
    """Stands for whatever ends a fit early."""


def _stopped(place, settings, content=True):
    """Leave a checkpoint as an unfinished fit does; return what was said."""
    said = []

    def fit():
        with checkpoint(place, settings, said.append) as folder:
            if content:
                (folder / "restarts").mkdir()
            raise KilledError

    with pytest.raises(KilledError):
        fit()
    return said


def test_a_finished_fit_leaves_nothing(tmp_path):
    with checkpoint(tmp_path / "c", SETTINGS, print) as folder:
        (folder / "restarts").mkdir()
    assert not (tmp_path / "c").exists()


def test_the_same_settings_go_on(tmp_path):
    assert _stopped(tmp_path / "c", SETTINGS) == []
    said = []
    with checkpoint(tmp_path / "c", SETTINGS, said.append) as folder:
        assert (folder / "restarts").exists()
    assert len(said) == 1
    assert said[0].startswith("going on from")


def test_other_settings_start_over(tmp_path):
    _stopped(tmp_path / "c", SETTINGS)
    said = []
    with checkpoint(tmp_path / "c", {**SETTINGS, "table": "00fe"}, said.append) as folder:
        assert not (folder / "restarts").exists()
    assert said[0].endswith("starting over")


def test_a_fit_that_stops_before_it_wrote_anything_leaves_nothing(tmp_path):
    _stopped(tmp_path / "c", SETTINGS, content=False)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_no_fit_wrote_is_not_touched(tmp_path, kind):
    place = tmp_path / "c"
    if kind == "folder":
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
    else:
        place.write_text("years of work")
    with pytest.raises(InputError, match="the place for checkpoints is taken"), checkpoint(place, SETTINGS, print):
        pass
    assert (place / "thesis.txt" if kind == "folder" else place).read_text() == "years of work"


def test_settings_tell_tables_and_options_apart():
    frame = pd.DataFrame({"a": [1.0, None], "b": ["x", None]})
    same = settings_of(frame.copy(), {"effort": 1.0})
    others = [frame.rename(columns={"a": "c"}), frame[::-1], frame.fillna({"a": 2.0}), frame.astype({"a": "float32"})]
    assert same == settings_of(frame, {"effort": 1.0})
    assert same != settings_of(frame, {"effort": 2.0})
    assert all(settings_of(other, {"effort": 1.0}) != same for other in others)
