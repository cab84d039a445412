"""A script to start from: what a paper's file shows of its use, on its own, with the user's data."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from softwood.core import InputError
from softwood.papers._shelf import load

MOST_LINES = 80
_MAIN = """

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="{help}")
    use(parser.parse_args().data)
"""


def eject(id: str) -> str:
    """Return a script of at most 80 lines that uses the paper's method through public names alone.

    It holds the function ``use(data=None)`` of the paper's file, what that function calls from the same file, and the
    imports that they need; ``--data FILE`` reaches it, and without it the script makes its own data.

    Args:
        id: of a paper that is built.

    Raises:
        InputError: the paper is not built.

    Example:
        >>> print(eject("gumbel-softmax").splitlines()[2])
        import argparse
    """
    module = load(id)
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    tree = ast.parse(source)
    defined = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    constants = {
        target.id: node for node in tree.body if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    known: dict[str, ast.stmt] = {**defined, **constants}
    used = [known[name] for name in _reached("use", known)]
    parts = [node for node in tree.body if node in used]  # in the order of the file
    names = {name for part in parts for name in _names(part)}
    imports = [text for node in tree.body if (text := _import_of(node, names))]
    docstring = ast.get_docstring(defined["use"]) or ""
    help_text = docstring.partition("data:")[2].strip().splitlines()[0] if "data:" in docstring else "a table"
    body = "\n\n\n".join(ast.get_source_segment(source, part) or "" for part in parts)
    head = f'"""{module.PAPER.title}: {module.PAPER.does[0].lower()}{module.PAPER.does[1:]}."""'
    text = "\n".join([head, "", "import argparse", *imports, "", "", body]) + _MAIN.format(help=help_text)
    _check(id, text)
    return text


def _check(id: str, text: str) -> None:
    lines = text.count("\n")
    private = re.findall(r"from softwood[\w.]*\._\w+|from softwood\.papers", text)
    if lines > MOST_LINES or private:
        raise InputError(f"{id} cannot be ejected", got=f"{lines} lines, {', '.join(private) or 'public names'}",
                         allowed=f"{MOST_LINES} lines of public names", fix="shorten use() in its file")  # fmt: skip


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _reached(start: str, known: dict[str, ast.stmt]) -> set[str]:
    """Return the names of what ``start`` calls, directly or not."""
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting += _names(known[name])
    return found


def _import_of(node: ast.stmt, names: set[str]) -> str | None:
    """Return an import cut down to what is used, or None."""
    if not isinstance(node, (ast.Import, ast.ImportFrom)) or getattr(node, "module", None) == "__future__":
        return None
    kept = [alias for alias in node.names if (alias.asname or alias.name.partition(".")[0]) in names]
    if not kept:
        return None
    node.names = kept
    return ast.unparse(node)
