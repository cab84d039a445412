"""Numbers and text that an exported file has to carry to the last bit and the last character."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from softwood.core import UnsupportedError

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

_SURE_DIGITS = 15


def is_sure(value: float) -> bool:
    """Say whether every reader of decimal numbers, careful or not, turns the text of a float into that float.

    Sure are those that 15 decimal digits and a small power of ten give *exactly*, such as 30.25. Of others, such as
    0.1, compilers and databases may take a neighbour: C allows it, and SQLite 3.40 does it about once in 10,000.

    Args:
        value: a finite float64.

    Example:
        >>> is_sure(30.25), is_sure(0.1)
        (True, False)
    """
    exact = Decimal(value).normalize().as_tuple()
    return len(exact.digits) <= _SURE_DIGITS and abs(int(exact.exponent)) <= _SURE_DIGITS


def check_text(model: HardEnsemble, format: str) -> None:
    """Refuse texts that a format cannot carry: with a NUL character, or no valid Unicode.

    Args:
        model: the ensemble.
        format: its name, for the message.

    Raises:
        UnsupportedError: naming the first such text.
    """
    texts = [text for column in model.columns for text in (column.name, *column.levels)]
    texts += [*model.outputs, *(label for label in model.classes or () if isinstance(label, str))]
    for text in texts:
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise UnsupportedError(
                f"{text!r} holds a character that {format} cannot carry; rename it before fit, or export to json"
            )


def as_comment(text: str) -> str:
    r"""Return a text in printable ASCII that neither ends a comment nor continues a line.

    Args:
        text: any text.

    Example:
        >>> as_comment("a */ b\n?")
        'a * / b\\n?'
    """
    plain = repr(text)[1:-1].encode("ascii", "backslashreplace").decode()
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\")
