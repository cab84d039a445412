"""The errors a user may meet. Each says what came, what is allowed, and what to do next."""

from __future__ import annotations

from typing import Any

_LONGEST = 300  # a message is read by a person: long values are cut


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _restore(kind: type[Exception], args: tuple[Any, ...], fields: dict[str, Any]) -> Exception:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class SoftwoodError(Exception):
    """Base of every error that Softwood raises on purpose.

    Example:
        >>> issubclass(InputError, SoftwoodError)
        True
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # a worker process sends its error home; by default Python would call __init__ with the message alone
        return _restore, (type(self), self.args, self.__dict__)


class InputError(SoftwoodError, ValueError):
    """Something given by the user cannot be used.

    Args:
        what: the problem in one clause.
        got: what came.
        allowed: what is accepted.
        fix: what to do next.

    Example:
        >>> print(InputError("max_depth is too small", got=0, allowed="an integer >= 1", fix="pass max_depth=4"))
        max_depth is too small: got 0; allowed: an integer >= 1; to fix: pass max_depth=4
    """

    def __init__(self, what: str, *, got: Any, allowed: Any, fix: str) -> None:
        self.what, self.got, self.allowed, self.fix = what, got, allowed, fix
        super().__init__(f"{what}: got {_short(got)}; allowed: {_short(allowed)}; to fix: {fix}")


class DamagedFileError(SoftwoodError):
    """A file of ours is truncated, altered, of another kind, or written by a newer version.

    Args:
        path: the file or directory.
        reason: what is wrong with it.
        fix: what to do next.

    Example:
        >>> print(DamagedFileError("model", "arrays.safetensors is missing", "copy the directory again"))
        cannot read model: arrays.safetensors is missing; to fix: copy the directory again
    """

    def __init__(self, path: Any, reason: str, fix: str) -> None:
        self.path, self.reason, self.fix = path, reason, fix
        super().__init__(f"cannot read {path}: {reason}; to fix: {fix}")


class MissingExtraError(SoftwoodError, ImportError):
    """An optional library is needed and not installed.

    Args:
        module: the module that could not be imported.
        extra: the extra of the ``softwood`` package that brings it.

    Example:
        >>> print(MissingExtraError("onnx", "export"))
        onnx is not installed; to fix: pip install "softwood[export]"
    """

    def __init__(self, module: str, extra: str) -> None:
        self.module, self.extra = module, extra
        super().__init__(f'{module} is not installed; to fix: pip install "softwood[{extra}]"')


class UnsupportedError(SoftwoodError):
    """What was asked for is well formed, but this object cannot do it.

    Example:
        >>> raise UnsupportedError("a regression model has no predict_proba; use predict")
        Traceback (most recent call last):
        softwood.core._errors.UnsupportedError: a regression model has no predict_proba; use predict
    """


class SoftwoodWarning(UserWarning):
    """Something worth knowing that does not stop the work (a column left out, a limit that cut a search).

    Example:
        >>> issubclass(SoftwoodWarning, UserWarning)
        True
    """
