from dataclasses import dataclass

import pytest

from softwood.core import InputError
from softwood.ops._relax import resolve


@dataclass(frozen=True)
class Power:
    p: float = 2.0


KNOWN = {"square": Power(), "cube": Power(3.0)}


def test_a_name_or_an_instance_is_taken():
    assert resolve("cube", KNOWN) == Power(3.0)
    assert resolve(Power(1.5), KNOWN) == Power(1.5)


def test_an_unknown_relaxation_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'square', 'cube'.*did you mean 'cube'"):
        resolve("cub", KNOWN)
    with pytest.raises(InputError, match=r"'square', 'cube'; or Power\(...\)"):
        resolve(2.0, KNOWN)
