"""The SQL formats: a model as one SELECT over a table of raw columns."""

from __future__ import annotations

from collections.abc import Sequence

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._exact import as_comment, check_text
from softwood.artifacts._export_sql_dialects import DIALECTS, Dialect
from softwood.artifacts._export_sql_tree import Conditions, flat_case, nested_case, put_leaf
from softwood.artifacts._verify import refuse_empty_level
from softwood.core import InputError, UnsupportedError

_DEEPEST = 9  # T-SQL takes ten levels of CASE; deeper trees become a list of paths
_TREES_IN_STEP = 50  # SQLite takes 1,000 levels of expression, and a sum of 50 trees has 50
_MOST_TREES, _MOST_CHARACTERS = 1_000, 4_000_000

HEADER = """\
-- {summary}
-- Softwood model {fingerprint}, for {title}. One SELECT: run it, or put CREATE VIEW ... AS before it.
-- From the table {table}: numbers in any numeric type, booleans as {booleans}, categories as text.
-- Missing is NULL, also NaN; a text that was not seen in training counts as missing. Which way missing values go
-- differs from test to test: where they meet the condition, it says OR ... IS NULL.
-- All arithmetic is in 64-bit floats, and no threshold is rounded.
"""


def write_sql(model: HardEnsemble, dialect: str, *, table: str = "input", keys: Sequence[str] = ()) -> str:
    """Return the model as the text of one SELECT statement.

    Its columns: the keys (without keys the tested columns), then ``softwood_label`` and ``softwood_probability_0``
    ... in the order of the classes; for a regression ``softwood_value``, or ``softwood_value_0`` ... Trees of up to
    9 levels are nested CASEs, deeper ones a CASE with the whole path to each leaf.

    Args:
        model: the ensemble.
        dialect: a name in ``DIALECTS``.
        table: the table to read; dots separate schema and table. Names are quoted: write them as the engine does.
        keys: columns that name a row and are passed through.

    Raises:
        InputError: a key is repeated.
        UnsupportedError: the engine cannot hold the names or texts of this model, or the statement would be longer
            than 4 million characters or have more than 1,000 trees.

    Cost: O(nodes + levels of the tested sets); O(leaves times columns) for deep trees.
    """
    engine = DIALECTS[dialect]
    refuse_empty_level(model, dialect)
    check_text(model, dialect)
    if model.n_trees > _MOST_TREES:
        raise _too_large(f"{model.n_trees} trees, and SQL takes {_MOST_TREES}")
    statement = _Statement(model, engine, keys).text(table)
    if len(statement) > _MOST_CHARACTERS:
        raise _too_large(f"{len(statement)} characters of SQL, and databases stop at about {_MOST_CHARACTERS}")
    return statement


def _too_large(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the model is too large for SQL: {what}; fit a smaller one (budget=480), or export to c, onnx or python"
    )


class _Statement:
    """One SELECT as a chain of named subqueries: cells, sums (50 trees at a time), best, powers, answer."""

    def __init__(self, model: HardEnsemble, engine: Dialect, keys: Sequence[str]) -> None:
        self.model, self.engine = model, engine
        self.tested = sorted({int(f) for f in model.feature[model.feature >= 0]})
        names = [model.columns[f].name for f in self.tested]
        self.keys = [key for key in keys if key not in names]
        self._check_names([*names, *self.keys], keys)
        # what the answer shows beside label and scores
        self.shown = list(keys) or names
        self.sums = [f"softwood_sum_{k}" for k in range(model.n_outputs)]
        self.steps: list[str] = []

    def _check_names(self, names: list[str], keys: Sequence[str]) -> None:
        if isinstance(keys, str) or len(set(keys)) < len(keys):
            fix = "pass a list without repetition, such as keys=['id']"
            raise InputError("keys are not usable", got=repr(keys), allowed="names of columns, each once", fix=fix)
        seen: dict[str, str] = {}
        for name in names:
            if name.lower().startswith("softwood_"):
                raise UnsupportedError(f"the column {name!r} begins like the columns that the SQL makes; rename it")
            other = seen.setdefault(name.lower() if self.engine.ignores_case else name, name)
            if other != name:
                raise UnsupportedError(
                    f"{self.engine.title} takes the columns {other!r} and {name!r} for one; rename one"
                )

    def text(self, table: str) -> str:
        model, engine = self.model, self.engine
        source = engine.table(table)
        self._cells(source)
        for start in range(0, model.n_trees, _TREES_IN_STEP):
            self._add_trees(range(start, min(start + _TREES_IN_STEP, model.n_trees)), first=start == 0)
        if not model.n_trees:
            self._step([f"{engine.number(float(b))} AS {s}" for b, s in zip(model.base, self.sums, strict=True)])
        answer = self._values() if model.classes is None else self._label_and_probabilities()
        shown = [engine.name(name) for name in self.shown]
        header = HEADER.format(
            summary=repr(model), fingerprint=model.fingerprint, title=engine.title, table=as_comment(table),
            booleans="BOOLEAN, or whole numbers 0 and 1" if engine.booleans[1] == "TRUE" else "0 and 1",
        )  # fmt: skip
        explained = "".join(f"-- {line}\n" for line in self._explained())
        last = len(self.steps) - 1
        body = f"SELECT\n  {_lines([*shown, *answer])}\nFROM softwood_{last}"
        chain = ",\n".join(f"softwood_{i} AS (\n{step}\n)" for i, step in enumerate(self.steps))
        return f"{header}{explained}WITH {chain}\n{body}\n"

    def _step(self, columns: list[str], *, carry: Sequence[str] = ()) -> None:
        """Add a subquery that carries on the shown columns and ``carry``, and computes ``columns``."""
        shown = [self.engine.name(name) for name in self.shown]
        last = len(self.steps) - 1
        self.steps.append(
            f"SELECT\n  {_lines([*dict.fromkeys([*shown, *carry]), *columns])}\nFROM softwood_{last}{self.engine.fence}"
        )

    def _cells(self, source: str) -> None:
        columns = []
        for name in self.keys:
            columns.append(f"t.{self.engine.name(name)} AS {self.engine.name(name)}")
        for feature in self.tested:
            name = self.engine.name(self.model.columns[feature].name)
            columns.append(f"{self.engine.cells[self.model.columns[feature].kind].format('t.' + name)} AS {name}")
        columns = columns or ["0 AS softwood_nothing"]
        self.steps.append(f"SELECT\n  {_lines(columns)}\nFROM {source} t{self.engine.fence}")

    # -------------------------------------------------------------- trees
    def _add_trees(self, trees: Sequence[int], *, first: bool) -> None:
        """Add some trees to the sums, one after another as the model does it."""
        model, engine = self.model, self.engine
        tests = Conditions(model, engine)
        names = [engine.name(model.columns[f].name) for f in self.tested]
        carried = names if trees[-1] + 1 < model.n_trees else []
        write = nested_case if model.depth <= _DEEPEST else flat_case
        if model.n_outputs == 1:
            start = [] if first else self.sums
            # the base goes into the first tree's leaves: the model adds these two first, too
            values = model.values[:, 0] + (model.base[0] if first else 0.0)
            terms = []
            for tree in trees:
                terms.append(write(model, tree, tests, put_leaf(model, engine, values)))
                values = model.values[:, 0]
            self._step([_sum([*start, *terms]) + f" AS {self.sums[0]}"], carry=carried)
            return
        leaves = [f"softwood_leaf_{tree}" for tree in trees]
        cases = [write(model, tree, tests, put_leaf(model, engine, None)) for tree in trees]
        before = [] if first else self.sums
        self._step([f"{case} AS {leaf}" for case, leaf in zip(cases, leaves, strict=True)], carry=[*carried, *before])
        columns = []
        for k, name in enumerate(self.sums):
            terms = [engine.number(float(model.base[k]))] if first else [name]
            terms += [self._leaf_values(tree, leaf, k) for tree, leaf in zip(trees, leaves, strict=True)]
            columns.append(f"{_sum(terms)} AS {name}")
        self._step(columns, carry=carried)

    def _leaf_values(self, tree: int, name: str, output: int) -> str:
        """Return the CASE that turns the number of a leaf into one of its values."""
        leaves = Conditions(self.model, self.engine).leaves(tree)
        lines = [f"WHEN {leaf} THEN {self.engine.number(float(self.model.values[leaf, output]))}" for leaf in leaves]
        return f"CASE {name}\n    " + "\n    ".join(lines) + " END"

    # -------------------------------------------------------------- sums -> answer
    def _values(self) -> list[str]:
        names = ["softwood_value"] if len(self.sums) == 1 else [f"softwood_value_{k}" for k in range(len(self.sums))]
        sums = [_exp(total) for total in self.sums] if self.model.link == "exp" else self.sums
        return [f"{total} AS {name}" for total, name in zip(sums, names, strict=True)]

    def _label_and_probabilities(self) -> list[str]:
        model, sums = self.model, self.sums
        classes = model.classes or ()
        if len(sums) == 1:
            even = self.engine.number(0.5 if model.link == "probability" else 0.0)
            best = [f"CASE WHEN {sums[0]} > {even} THEN 1 ELSE 0 END AS softwood_best"]
        else:  # the sums are compared, not the probabilities, as the model does it; the first of equal ones
            best = [_largest(sums, [str(k) for k in range(len(sums))]) + " AS softwood_best"]
        if model.link == "softmax":
            best.append(_largest(sums, sums) + " AS softwood_top")
        self._step(best, carry=sums)
        carry = ["softwood_best", *sums]
        if model.link == "softmax":
            # PostgreSQL stops where exp underflows; exp(-700) is 1e-304, nothing beside 1
            powers = [_exp(f"{total} - softwood_top") + f" AS softwood_power_{k}" for k, total in enumerate(sums)]
            self._step(powers, carry=["softwood_best"])
            names = [f"softwood_power_{k}" for k in range(len(sums))]
            scores = [f"{name} / ({' + '.join(names)})" for name in names]
        elif model.link == "sigmoid":
            self._step([f"{_exp(f'-ABS({sums[0]})')} AS softwood_power"], carry=carry)
            share = (
                f"CASE WHEN {sums[0]} >= 0 THEN 1 / (1 + softwood_power) ELSE softwood_power / (1 + softwood_power) END"
            )
            self._step([f"{share} AS softwood_share"], carry=carry)
            scores = ["1 - softwood_share", "softwood_share"]
        else:
            scores = [f"1 - {sums[0]}", sums[0]] if len(sums) == 1 else sums
        labels = "\n    ".join(f"WHEN {k} THEN {self._label(label)}" for k, label in enumerate(classes))
        label = f"CASE softwood_best\n    {labels} END AS softwood_label"
        return [label, *(f"{score} AS softwood_probability_{k}" for k, score in enumerate(scores))]

    def _label(self, label: object) -> str:
        return label_literal(self.engine, label)

    def _explained(self) -> list[str]:
        if self.model.classes is None:
            names = (
                ["softwood_value"] if len(self.sums) == 1 else [f"softwood_value_{k}" for k in range(len(self.sums))]
            )
            return [f"{name}: {as_comment(output)}" for name, output in zip(names, self.model.outputs, strict=True)]
        return [f"softwood_probability_{k}: of {as_comment(str(c))}" for k, c in enumerate(self.model.classes)]


def label_literal(engine: Dialect, label: object) -> str:
    """Write a label as the engine does."""
    if isinstance(label, bool):
        return engine.booleans[label]
    if isinstance(label, float):
        return engine.number(label)
    return engine.text(label) if isinstance(label, str) else str(label)


def _exp(term: str) -> str:
    return f"EXP(CASE WHEN {term} < -700 THEN -700 ELSE {term} END)"


def _largest(sums: list[str], answers: list[str]) -> str:
    """Return what stands in ``answers`` where the largest of ``sums`` stands, the first of equal ones."""
    lines = []
    for k in range(len(sums) - 1):
        beats = " AND ".join(f"{sums[k]} >= {other}" for other in sums[k + 1 :])
        lines.append(f"WHEN {beats} THEN {answers[k]}")
    return "CASE " + "\n    ".join(lines) + f"\n    ELSE {answers[-1]} END"


def _sum(terms: Sequence[str]) -> str:
    return "\n  + ".join(terms)


def _lines(columns: Sequence[str]) -> str:
    return ",\n  ".join(columns)
