"""What a class or function can do, declared where it is defined.

The paper table, the docs and the contract suite are made from these declarations, so they cannot go stale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from softwood.core._validation import check_choice

_KINDS = ("operation", "estimator", "soft module", "artefact", "learner", "loss", "verb")
_T = TypeVar("_T", bound=Callable[..., Any])
_REGISTRY: dict[str, Capability] = {}


@dataclass(frozen=True)
class Capability:
    """One declaration; see ``capability`` for the fields.

    Example:
        >>> Capability("demo", "verb", cost="O(n)").kind
        'verb'
    """

    name: str
    kind: str
    papers: tuple[str, ...] = ()
    hardens_to: str | None = None
    exports: tuple[str, ...] = ()
    cost: str = ""
    example: Callable[[], Any] | None = field(default=None, compare=False, repr=False)
    target: Any = field(default=None, compare=False, repr=False)


def capability(
    kind: str,
    *,
    papers: tuple[str, ...] = (),
    hardens_to: str | None = None,
    exports: tuple[str, ...] = (),
    cost: str = "",
    example: Callable[[], Any] | None = None,
) -> Callable[[_T], _T]:
    """Declare what the decorated class or function can do, and enter it for the contract suite.

    Args:
        kind: one of ``operation, estimator, soft module, artefact, learner, loss, verb``; it decides which
            contracts the suite runs.
        papers: ids of the papers whose method this is.
        hardens_to: the discrete thing that it becomes.
        exports: formats that it can be written in.
        cost: time and memory in n.
        example: a function without arguments that builds a small instance; the contract suite calls it.

    Raises:
        InputError: ``kind`` is unknown.

    Example:
        >>> @capability("verb", cost="O(1)")
        ... def nod(): return True
        >>> capability_of(nod).cost
        'O(1)'
    """
    check_choice("kind", kind, _KINDS)

    def declare(target: _T) -> _T:
        name = f"{target.__module__}.{target.__qualname__}"
        entry = Capability(name, kind, tuple(papers), hardens_to, tuple(exports), cost, example, target)
        _REGISTRY[name] = entry
        target.__softwood__ = entry  # type: ignore[attr-defined]
        return target

    return declare


def capability_of(target: Any) -> Capability | None:
    """Return the declaration of a class, function or instance, or None. Subclasses do not inherit it.

    Example:
        >>> capability_of(len) is None
        True
    """
    owner = target if isinstance(target, type) or not hasattr(type(target), "__softwood__") else type(target)
    entry = vars(owner).get("__softwood__") if isinstance(owner, type) else getattr(owner, "__softwood__", None)
    return entry if isinstance(entry, Capability) else None


def capabilities(kind: str | None = None) -> tuple[Capability, ...]:
    """Return all declarations of the rooms imported so far, sorted by name.

    Args:
        kind: keep this kind only.

    Example:
        >>> isinstance(capabilities(), tuple)
        True
    """
    if kind is not None:
        check_choice("kind", kind, _KINDS)
    return tuple(entry for _, entry in sorted(_REGISTRY.items()) if kind in (None, entry.kind))
