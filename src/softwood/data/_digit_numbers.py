"""Pictures of numbers, made from scikit-learn's handwritten digits."""

from __future__ import annotations

from functools import cache

import numpy as np

from softwood.core import check_choice, check_number

_TEST = 360  # of 1797 digits


def digit_numbers(
    count: int, *, digits: int = 2, part: str = "train", random_state: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of numbers, written with digits that are drawn from scikit-learn's, and the numbers.

    The digits of the two parts come from different pictures: what is learned on one is tested on the other.

    Args:
        count: how many.
        digits: of each number, 1 to 9.
        part: ``"train"`` or ``"test"``.
        random_state: seed.

    Returns:
        Pictures float32 ``[count, 8, 8 digits]`` in [0, 1], numbers int64 ``[count]``.

    Raises:
        InputError: an argument is out of range.

    Cost: O(count digits).

    Example:
        >>> pictures, numbers = digit_numbers(3)
        >>> pictures.shape, numbers.tolist()
        ((3, 8, 16), [35, 60, 65])
    """
    check_number("count", count, low=0, integer=True)
    check_number("digits", digits, low=1, high=9, integer=True)
    images, labels = _digits(check_choice("part", part, ("train", "test")))
    chosen = np.random.default_rng(random_state).integers(len(labels), size=(count, digits))
    pictures = images[chosen].transpose(0, 2, 1, 3).reshape(count, 8, 8 * digits)
    return pictures, labels[chosen] @ 10 ** np.arange(digits - 1, -1, -1)


@cache
def _digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    rows = order[:_TEST] if part == "test" else order[_TEST:]
    return (bunch.images[rows] / 16).astype(np.float32), bunch.target[rows].astype(np.int64)
