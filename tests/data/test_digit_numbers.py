"""Pictures of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from softwood.core import InputError
from softwood.data import digit_numbers


def test_a_picture_holds_the_digits_of_its_number():
    pictures, numbers = digit_numbers(50, digits=3, random_state=1)
    known = {(image / 16).astype(np.float32).tobytes(): label for image, label in zip(*_bunch(), strict=True)}
    for picture, number in zip(pictures, numbers, strict=True):
        read = [known[np.ascontiguousarray(picture[:, 8 * i : 8 * i + 8]).tobytes()] for i in range(3)]
        assert int("".join(map(str, read))) == number


def _bunch():
    bunch = load_digits()
    return bunch.images, bunch.target


def test_the_parts_share_no_picture_and_the_seed_decides():
    train, test = (digit_numbers(3000, digits=1, part=part)[0] for part in ("train", "test"))
    assert not {p.tobytes() for p in train} & {p.tobytes() for p in test}
    assert (digit_numbers(9)[1] == digit_numbers(9)[1]).all()
    assert (digit_numbers(9)[1] != digit_numbers(9, random_state=1)[1]).any()


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": 1, "digits": 0}, {"count": 1, "part": "both"}])
def test_what_cannot_be_made(wrong):
    with pytest.raises(InputError):
        digit_numbers(**wrong)
