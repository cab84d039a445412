"""Checks of single parameters. One validator, one style of message."""

from __future__ import annotations

import difflib
import importlib
import math
import numbers
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from softwood.core._errors import InputError, MissingExtraError


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``.

    Args:
        name: the parameter, as the user spells it.
        value: what came.
        choices: every accepted value; all are listed in the message.

    Raises:
        InputError: ``value`` is none of them; the nearest one is suggested.

    Example:
        >>> check_choice("gate", "sigmoid", ["sigmoid", "smooth_step"])
        'sigmoid'
    """
    allowed = list(choices)
    if any(type(value) is type(choice) and value == choice for choice in allowed):
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in allowed], n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"choose one of the {len(allowed)} listed values"
    raise InputError(f"{name} is unknown", got=repr(value), allowed=", ".join(map(repr, allowed)), fix=fix)


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    integer: bool = False,
) -> Any:
    """Return ``value`` (as ``int`` or ``float``) if it is a finite number in ``[low, high]``.

    Args:
        name: the parameter, as the user spells it.
        value: what came. Booleans are not numbers here.
        low: smallest accepted value, or None.
        high: largest accepted value, or None.
        integer: accept whole numbers only.

    Raises:
        InputError: not a number, not finite, not whole where it has to be, or out of range.

    Example:
        >>> check_number("max_depth", 4, low=1, high=12, integer=True)
        4
    """
    bounds = [f"{sign} {bound}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    allowed = " ".join(["a whole number" if integer else "a number", " and ".join(bounds)]).strip()
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and _is_finite(value)
    if not is_number or (integer and value != int(value)):
        raise InputError(f"{name} is not usable", got=repr(value), allowed=allowed, fix=f"pass {name} as {allowed}")
    if (low is not None and value < low) or (high is not None and value > high):
        fix = f"pass a {'larger' if low is not None and value < low else 'smaller'} {name}"
        raise InputError(f"{name} is out of range", got=value, allowed=allowed, fix=fix)
    return int(value) if integer else float(value)


def _is_finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of float is usable where whole numbers are
        return isinstance(value, numbers.Integral)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say which extra brings it.

    Args:
        module: dotted module name.
        extra: extra of the ``softwood`` package.

    Raises:
        MissingExtraError: the module is not installed.

    Example:
        >>> require("json", "export").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(module, extra) from error


def entry_point(source: str, what: str) -> Callable[..., Any]:
    """Return the function that MODULE:FUNCTION names; modules of the current directory are found.

    Args:
        source: ``"module:function"``.
        what: what the function is, for errors.

    Raises:
        InputError: there is no such module, or no such function in it.

    Example:
        >>> entry_point("json:dumps", "the loss")([1])
        '[1]'
    """
    module, _, name = source.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{what} cannot be imported", got=f"{source}: {error}", allowed="MODULE:FUNCTION",
            fix="run softwood where MODULE.py is, or install it",
        ) from error  # fmt: skip
    finally:
        sys.path.remove(here)
    if not callable(function):
        raise InputError(
            f"{what} is not in the module", got=source, allowed="MODULE:FUNCTION", fix=f"define {name} in {module}"
        )
    found: Callable[..., Any] = function
    return found
