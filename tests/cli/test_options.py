"""How durations are written."""

from __future__ import annotations

import pytest

from softwood.cli._options import read_duration
from softwood.core import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5 h", 5400), (" 2M ", 120), ("none", None)],
)
def test_durations(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "-5", "0", "0m", "1e3", "5m30s", "nan", "inf"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="write 90, 90s, 5m or 1h"):
        read_duration(text)
