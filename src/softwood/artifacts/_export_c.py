"""The C format: a model as one C99 file that needs only the C library."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._cells_csv import read_answers, write_cells
from softwood.artifacts._columns import FALSE_TEXTS, TRUE_TEXTS
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._exact import as_comment, check_text, is_sure
from softwood.artifacts._export_c_main import CLASSIFIER_ANSWER, MAIN, OPENING, READER, REGRESSION_ANSWER
from softwood.artifacts._export_c_text import (
    BEST_OF_ONE,
    BEST_OF_SEVERAL,
    CLASSIFIER,
    CLASSIFIER_FACE,
    COMPARE,
    EXPONENTIAL,
    HEADER,
    LEVEL,
    LISTED,
    NESTED,
    PROBABILITIES,
    REGRESSION,
    REGRESSION_FACE,
    TABLES,
)
from softwood.artifacts._values import MISSING_AMONG_NUMBERS
from softwood.artifacts._verify import Answers, ExportMismatchError, NotRunError, refuse_empty_level

# Nested ifs are the form a person reads; C promises 127 levels of them, a reader gives up long before
_DEEPEST, _MOST_SPLITS, _MOST_SET_ITEMS = 16, 4_000, 20_000
_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O1")
_INDENT = "    "


def write_c(model: HardEnsemble) -> str:
    """Return the model as the text of a C99 file, in ASCII.

    The file has a ``struct softwood_row`` of raw inputs (double for numbers and booleans, NAN is missing; UTF-8 text
    for categories, NULL and "" are missing), ``softwood_predict`` and, for a classifier, ``softwood_predict_proba``;
    compiled with ``-DSOFTWOOD_MAIN`` it is a program that reads a CSV table. Small models are nested ifs, a function
    for each tree; deep or large ones are tables and a loop. Only tested columns are inputs.

    Args:
        model: the ensemble.

    Raises:
        UnsupportedError: a level is the empty text, or a text holds a NUL character or is no valid Unicode.

    Cost: O(nodes + levels of the tested sets).
    """
    refuse_empty_level(model, "c")
    check_text(model, "c")
    inputs = _inputs(model)
    body = _nested(model, inputs) if _is_readable(model) else _tables(model, inputs)
    header = HEADER.format(summary=repr(model), fingerprint=model.fingerprint)
    parts = [header, _face(model, inputs), *body, _functions(model)]
    answer = REGRESSION_ANSWER if model.classes is None else CLASSIFIER_ANSWER
    parts += [OPENING, _main_facts(model, inputs), READER, _fill(model, inputs), answer, MAIN]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _is_readable(model: HardEnsemble) -> bool:
    listed = model.levels_left.sum(axis=1)
    sizes = np.maximum(listed, model.levels_left.shape[1] - listed)
    items = sizes[model.level_set[model.level_set >= 0]].sum()
    return model.depth <= _DEEPEST and model.n_splits <= _MOST_SPLITS and items <= _MOST_SET_ITEMS


def _inputs(model: HardEnsemble) -> dict[int, str]:
    """Name the member of the struct for each tested column; the prefix keeps clear of keywords and macros."""
    names: dict[int, str] = {}
    for column in sorted({int(f) for f in model.feature[model.feature >= 0]}):
        wanted = name = "col_" + (re.sub(r"[^0-9A-Za-z]+", "_", model.columns[column].name).strip("_")[:40] or "x")
        number = 2
        while name in names.values():
            name, number = f"{wanted}_{number}", number + 1
        names[column] = name
    return names


def _face(model: HardEnsemble, inputs: dict[int, str]) -> str:
    lines = ["/* The raw inputs: the columns that are tested; the model knows no others. */", "struct softwood_row {"]
    for column, name in inputs.items():
        kind = model.columns[column].kind
        type_, missing = ("const char *", 'text; NULL or "" is') if kind == "category" else ("double ", "NAN is")
        about = "0 or 1; " if kind == "boolean" else "number; " if kind == "number" else ""
        comment = as_comment(model.columns[column].name)
        lines.append(f"{_INDENT}{type_}{name}; /* {comment}: {about}{missing} missing */")
    if not inputs:
        lines.append(f"{_INDENT}char nothing; /* the model answers the same for every row */")
    lines.append("};\n")
    if model.classes is None:
        outputs = ", ".join(map(as_comment, model.outputs))
        return "\n".join([*lines, f"enum {{ SOFTWOOD_OUTPUTS = {model.n_outputs} }};\n"]) + "\n" + (
            REGRESSION_FACE.replace("{outputs}", outputs)
        )  # fmt: skip
    lines.append(f"enum {{ SOFTWOOD_OUTPUTS = {model.n_outputs}, SOFTWOOD_CLASSES = {len(model.classes)} }};\n")
    return "\n".join([*lines, CLASSIFIER_FACE])


def _functions(model: HardEnsemble) -> str:
    if model.classes is None:
        return REGRESSION % (EXPONENTIAL if model.link == "exp" else "")
    labels = _wrapped(_quoted(str(label)) for label in model.classes)
    key = "one probability" if model.link == "probability" and model.n_outputs == 1 else model.link
    best = BEST_OF_SEVERAL if model.n_outputs > 1 else BEST_OF_ONE % (0.5 if model.link == "probability" else 0.0)
    classes = f"const char *const softwood_classes[SOFTWOOD_CLASSES] = {labels};\n"
    return "\n".join([classes, best, CLASSIFIER % PROBABILITIES[key]])


# ------------------------------------------------------------------ small models: nested ifs
def _nested(model: HardEnsemble, inputs: dict[int, str]) -> list[str]:
    sets: list[str] = []
    functions = [_tree(model, tree, inputs, sets) for tree in range(model.n_trees)]
    names = ", ".join(f"tree_{tree}" for tree in range(model.n_trees))
    trees = f"static const double *(*const trees[])(const struct softwood_row *row) = {{{names}}};\n"
    return [*([COMPARE, LISTED, *sets] if sets else []), _values(model), *functions, trees, NESTED]


def _tree(model: HardEnsemble, tree: int, inputs: dict[int, str], sets: list[str]) -> str:
    body: list[str] = []
    _write_node(model, int(model.roots[tree]), _INDENT, inputs, sets, body)
    unused = [] if any("row->" in line for line in body) else [f"{_INDENT}(void)row;"]
    head = f"static const double *tree_{tree}(const struct softwood_row *row)"
    return "\n".join([head, "{", *unused, *body, "}\n"])


def _write_node(
    model: HardEnsemble, node: int, indent: str, inputs: dict[int, str], sets: list[str], lines: list[str]
) -> None:
    if model.feature[node] < 0:
        leaf = int(model.leaf[node])
        shown = ", ".join(f"{value:.6g}" for value in model.values[leaf])
        count = f"; n = {model.counts[leaf]:g}" if model.counts[leaf] > 0 else ""
        lines.append(f"{indent}return values[{leaf}]; /* {shown}{count} */")
        return
    condition = _condition(model, node, inputs, sets)
    children = [int(model.left[node]), int(model.right[node])]
    if condition is None:  # the set lists nothing: every row takes the missing direction
        _write_node(model, children[not model.missing_left[node]], indent, inputs, sets, lines)
        return
    lines.append(f"{indent}if ({condition}) {{")
    _write_node(model, children[0], indent + _INDENT, inputs, sets, lines)
    lines.append(f"{indent}}} else {{")
    _write_node(model, children[1], indent + _INDENT, inputs, sets, lines)
    lines.append(f"{indent}}}")


def _condition(model: HardEnsemble, node: int, inputs: dict[int, str], sets: list[str]) -> str | None:
    """Return the test under which a row goes left; a comparison with NAN is false, which decides missing values."""
    missing_left, value = bool(model.missing_left[node]), f"row->{inputs[int(model.feature[node])]}"
    if model.level_set[node] < 0:
        threshold = _number(float(model.threshold[node]))
        return f"!({value} > {threshold})" if missing_left else f"{value} <= {threshold}"
    goes_left = model.levels_left[model.level_set[node]].tolist()
    levels = model.columns[model.feature[node]].levels
    members = sorted((v for v, left in zip(levels, goes_left, strict=False) if left != missing_left), key=str.encode)
    if not members:
        return None
    name = f"set_{len(sets)}"
    sets.append(f"static const char *const {name}[] = {_wrapped(map(_quoted, members))};\n")
    return f"{'!' if missing_left else ''}listed({value}, {name}, {len(members)})"


# ------------------------------------------------------------------ large models: tables
def _tables(model: HardEnsemble, inputs: dict[int, str]) -> list[str]:
    places = {column: place for place, column in enumerate(inputs)}
    inner = model.feature >= 0
    tested = [(int(s), int(f)) for s, f in zip(model.level_set, model.feature, strict=True)]
    pairs = {pair: i for i, pair in enumerate(sorted({pair for pair in tested if pair[0] >= 0}))}
    orders = {f: sorted(range(len(model.columns[f].levels)), key=lambda i: model.columns[f].levels[i].encode())
              for f in sorted({column for _, column in pairs})}  # fmt: skip
    # in the order of the sorted texts; two columns may share a row of levels_left, and sort it differently
    sets = ["".join(model.levels_left[row, orders[f]].astype(int).astype(str)) for row, f in pairs]
    arrays: list[tuple[str, Iterable[Any]]] = [
        ("int feature", (places[int(f)] if f >= 0 else -1 for f in model.feature)),
        ("double threshold", (_number(0.0 if np.isnan(t) else float(t)) for t in model.threshold)),
        ("unsigned char missing_left", model.missing_left.astype(int).tolist()),
        ("int left", np.where(inner, model.left, 0).tolist()),
        ("int right", np.where(inner, model.right, 0).tolist()),
        ("int set_of", (pairs.get(pair, -1) for pair in tested)),
        ("int leaf", model.leaf.tolist()),
        ("char *const sets", [_quoted(row) for row in sets] or ['""']),
        ("int roots", model.roots.tolist()),
    ]
    parts = [f"static const {name}[] = {_wrapped(map(str, items))};\n" for name, items in arrays]
    for column, order in orders.items():
        texts = _wrapped(_quoted(model.columns[column].levels[i]) for i in order)
        parts.append(f"static const char *const levels_{places[column]}[] = {texts};\n")
    return [*([COMPARE, LEVEL] if orders else []), _values(model), *parts, _read_cells(inputs, orders, places), TABLES]


def _read_cells(inputs: dict[int, str], orders: dict[int, list[int]], places: dict[int, int]) -> str:
    lines = [f"enum {{ CELLS = {max(len(inputs), 1)} }};\n"]
    lines += ["static void read_cells(const struct softwood_row *row, double cell[])", "{"]
    for column, name in inputs.items():
        place, value = places[column], f"row->{name}"
        if column in orders:
            value = f"level({value}, levels_{place}, {len(orders[column])})"
        lines.append(f"{_INDENT}cell[{place}] = {value};")
    if not inputs:
        lines += [f"{_INDENT}(void)row;", f"{_INDENT}cell[0] = NAN;"]
    return "\n".join([*lines, "}\n"])


# ------------------------------------------------------------------ numbers, text, facts
def _values(model: HardEnsemble) -> str:
    rows = _wrapped(["{" + ", ".join(map(_number, row)) + "}" for row in model.values.tolist()], 1)
    base = ", ".join(map(_number, model.base.tolist()))
    return (
        f"static const double values[][SOFTWOOD_OUTPUTS] = {rows};\n"
        f"static const double base[SOFTWOOD_OUTPUTS] = {{{base}}};\n"
    )


def _number(value: float) -> str:
    """Write a float so that every compiler reads the same one: C lets decimal numbers become a neighbour."""
    return repr(value) if is_sure(value) else f"{value.hex()} /* {value!r} */"


def _quoted(text: str) -> str:
    """Write a text as a C string in ASCII, without trigraphs.

    Octal escapes have three digits, so that none takes in the character that follows.
    """
    plain = {ord("\\"): "\\\\", ord('"'): '\\"', ord("?"): "\\?"}
    return '"' + "".join(
        plain.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode()
    ) + '"'  # fmt: skip


def _wrapped(items: Iterable[str], in_line: int = 8) -> str:
    texts = list(items)
    lines = [", ".join(texts[start : start + in_line]) for start in range(0, len(texts), in_line)]
    return "{\n" + ",\n".join(_INDENT + line for line in lines) + "\n}"


def _main_facts(model: HardEnsemble, inputs: dict[int, str]) -> str:
    if model.classes is None:
        header = ["value"] if model.n_outputs == 1 else [f"value of {name}" for name in model.outputs]
    else:
        header = ["label", *(f"probability of {label}" for label in model.classes)]
    texts = {
        "missing_texts": sorted(MISSING_AMONG_NUMBERS),
        "true_texts": sorted(TRUE_TEXTS),
        "false_texts": sorted(FALSE_TEXTS),
        "names": [model.columns[column].name for column in inputs],
        "header": header,
    }
    lists = [
        f"static const char *const {name}[] = {_wrapped([*map(_quoted, t), 'NULL'])};" for name, t in texts.items()
    ]
    text_labels = model.classes is not None and isinstance(model.classes[0], str)
    facts = f"enum {{ WANTED = {max(len(inputs), 1)}, LABELS_ARE_TEXT = {int(text_labels)} }};"
    return "\n".join([facts, *lists]) + "\n"


def _fill(model: HardEnsemble, inputs: dict[int, str]) -> str:
    lines = ["static void fill(struct softwood_row *row, char **cells, const long at[])", "{"]
    for place, (column, name) in enumerate(inputs.items()):
        kind, cell = model.columns[column].kind, f"cells[at[{place}]]"
        number = f"number({cell}, {int(kind == 'boolean')})"
        lines.append(f"{_INDENT}row->{name} = {cell if kind == 'category' else number};")
    if not inputs:
        lines += [f"{_INDENT}(void)cells;", f"{_INDENT}(void)at;", f"{_INDENT}row->nothing = 0;"]
    if all(model.columns[column].kind == "category" for column in inputs):
        lines.append(f"{_INDENT}(void)number;")
    return "\n".join([*lines, "}\n"])


# ------------------------------------------------------------------ checking
def run_c(path: Path, model: HardEnsemble, cells: pd.DataFrame) -> Answers:
    """Answer from the file: compile it, and run it on a CSV file with every number written to its last digit.

    Args:
        path: the file.
        model: the ensemble that it was made from; only its labels are looked at.
        cells: n rows, as ``cells`` makes them.

    Raises:
        NotRunError: there is no C compiler.
        ExportMismatchError: the file does not compile without a warning, or its program stops with an error.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "model"
        command = [_compiler(), *_FLAGS, "-DSOFTWOOD_MAIN", "-x", "c", str(path), "-o", str(program), "-lm"]
        built = subprocess.run(command, capture_output=True, check=False)
        if built.returncode != 0:
            message = built.stderr.decode(errors="replace").strip()[:500]
            raise ExportMismatchError("c", f"the file does not compile: {message}")
        write_cells(folder / "rows.csv", cells)
        with (folder / "rows.csv").open("rb") as rows:
            done = subprocess.run([str(program)], stdin=rows, capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()[-500:]
        raise ExportMismatchError("c", f"the program stopped with exit code {done.returncode}: {message}")
    return read_answers(done.stdout, model)


def _compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if found is None:
        raise NotRunError("there is no C compiler here: no gcc, cc or clang")
    return found


def c_verifier() -> str:
    """Name the compiler and the flags."""
    version = subprocess.run([_compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return f"{version.splitlines()[0]}, {' '.join(_FLAGS)}"
