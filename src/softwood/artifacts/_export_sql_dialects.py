"""What differs from one SQL engine to the next: how names, text and numbers are written, and what a cell is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from softwood.artifacts._exact import is_sure
from softwood.core import UnsupportedError


@dataclass(frozen=True)
class Dialect:
    """The SQL of one engine.

    Args:
        title: the engine's name.
        number: float -> a literal that the engine reads as exactly this double.
        text: text -> a literal, without control characters.
        cells: kind of a column -> template that makes double (NULL for NaN) or text out of a raw cell ``{}``.
        types: kind of a column -> type to declare it with; ``"key"`` is that of a row number.
        booleans: how false and true are written.
        quotes: before and after a name.
        fence: ends a subquery, so that the optimiser does not copy its expressions into each place of their use.
        ignores_case: columns whose names differ in case only cannot stand in one table.
        longest_list: members that ``IN (...)`` takes.
        parser: sqlglot's name of the dialect.

    Example:
        >>> DIALECTS["sql-tsql"].name("a]b")
        '[a]]b]'
    """

    title: str
    number: Callable[[float], str]
    text: Callable[[str], str]
    cells: Mapping[str, str]
    types: Mapping[str, str]
    booleans: tuple[str, str] = ("FALSE", "TRUE")
    quotes: tuple[str, str] = ('"', '"')
    fence: str = ""
    ignores_case: bool = False
    longest_list: int = 1_000_000
    parser: str = ""
    level: Callable[[str], str] | None = field(default=None)

    def name(self, text: str) -> str:
        """Quote the name of a column.

        Raises:
            UnsupportedError: Oracle has no way to write a name with quotes in it.
        """
        before, after = self.quotes
        if self.parser == "oracle" and '"' in text:
            raise UnsupportedError(f"Oracle takes no quotes in a name, and the column {text!r} has some; rename it")
        if self.parser == "bigquery":
            text = text.replace("\\", "\\\\").replace("`", "\\`")
        return before + text.replace(after, after * 2 if self.parser != "bigquery" else after) + after

    def table(self, text: str) -> str:
        """Quote the name of a table; dots separate schema and table."""
        return ".".join(self.name(part) for part in text.split("."))

    def level_text(self, text: str) -> str:
        """Write a text that a category cell is compared with."""
        return (self.level or self.text)(text)


# ------------------------------------------------------------------ numbers
def _by_powers_of_two(value: float) -> str:
    """Write a double as a whole number divided by powers of two, each step of which is exact.

    SQLite reads a decimal literal of 17 digits wrongly now and then, differently from version to version.
    """
    if is_sure(value):
        return repr(value)
    whole, power = int(math.frexp(value)[0] * 2**53), math.frexp(value)[1] - 53
    while whole % 2 == 0:
        whole, power = whole // 2, power + 1
    steps = [60] * (abs(power) // 60) + [abs(power) % 60]
    operator = "/" if power < 0 else "*"
    return f"({whole} * 1.0{''.join(f' {operator} {2**step}' for step in steps if step)} /* {value!r} */)"


def _with_exponent(value: float) -> str:
    """Write a literal that the standard calls approximate: without an exponent it would be a DECIMAL."""
    return repr(value) if "e" in repr(value) else f"{value!r}e0"


def _oracle_number(value: float) -> str:
    # a NUMBER holds 1e-130 to 1e125; beyond, only text can become the double
    plain = value == 0 or 1e-125 < abs(value) < 1e125
    return f"CAST({value!r} AS BINARY_DOUBLE)" if plain else f"TO_BINARY_DOUBLE('{value!r}')"


# ------------------------------------------------------------------ text
def _pieces(joiner: str, character: str, prefix: str = "", special: str = "") -> Callable[[str], str]:
    """Return a writer of text literals in which control characters are spelled: tools change line ends in files."""
    pattern = re.compile(f"([\x01-\x1f\x7f{re.escape(special)}])")

    def write(text: str) -> str:
        parts = [part for part in pattern.split(text) if part] or [""]
        quoted = {part: f"{prefix}'" + part.replace("'", "''") + "'" for part in parts}
        spelled = [character.format(ord(part)) if pattern.fullmatch(part) else quoted[part] for part in parts]
        return spelled[0] if len(spelled) == 1 else f"({joiner.join(spelled)})"

    return write


def _escaped(quote: str, prefix: str = "") -> Callable[[str], str]:
    """Return a writer of text literals with backslash escapes; ``prefix`` stands only where one is needed."""

    def write(text: str) -> str:
        body = text.replace("\\", "\\\\").replace("'", quote)
        body = re.sub("[\x01-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", body)
        return f"{prefix if chr(92) in body else ''}'{body}'"

    return write


def _tsql_level(text: str) -> str:
    # a full stop at both ends of the comparison: T-SQL takes 'a' and 'a ' for equal, the model does not
    return _pieces(" + ", "NCHAR({})", "N")(text + ".")


# ------------------------------------------------------------------ the engines
_TWICE = "CAST(CAST({} AS INTEGER) AS DOUBLE PRECISION)"
# text in a column of numbers: empty is missing, a number is read, anything else stops with "malformed JSON"
_SQLITE_NUMBER = "CASE WHEN typeof({0}) <> 'text' THEN CAST({0} AS REAL) WHEN {0} <> '' THEN json_extract({0}, '$') END"
# 1.0 and '1' are the same category; in a CASE, a collation that the column was declared with has no effect
_SQLITE_TEXT = (
    "CASE WHEN typeof({0}) = 'real' AND {0} = CAST({0} AS INTEGER) THEN CAST(CAST({0} AS INTEGER) AS TEXT) "
    "ELSE CAST({0} AS TEXT) END"
)
_DUCKDB_TEXT = (
    "CASE WHEN typeof({0}) IN ('DOUBLE', 'FLOAT') THEN regexp_replace(CAST({0} AS VARCHAR), '[.]0$', '') "
    "ELSE CAST({0} AS VARCHAR) END"
)

DIALECTS = {
    "sql": Dialect(
        "SQLite", _by_powers_of_two, _pieces(" || ", "char({})"),
        {"number": _SQLITE_NUMBER, "boolean": _SQLITE_NUMBER, "category": _SQLITE_TEXT},
        {"number": "REAL", "boolean": "INTEGER", "category": "TEXT", "key": "INTEGER"},
        booleans=("0", "1"), fence=" LIMIT -1 OFFSET 0", ignores_case=True, parser="sqlite",
    ),
    "sql-duckdb": Dialect(
        "DuckDB", _with_exponent, _pieces(" || ", "chr({})"),
        {"number": "NULLIF(CAST({} AS DOUBLE), CAST('NaN' AS DOUBLE))", "boolean": "CAST({} AS DOUBLE)",
         "category": _DUCKDB_TEXT},
        {"number": "DOUBLE", "boolean": "BOOLEAN", "category": "VARCHAR", "key": "BIGINT"},
        ignores_case=True, parser="duckdb",
    ),
    "sql-postgres": Dialect(
        "PostgreSQL", lambda value: f"{value!r}::float8", _escaped("''", "E"),
        {"number": "NULLIF(CAST({} AS DOUBLE PRECISION), 'NaN'::float8)", "boolean": _TWICE,
         "category": 'CAST({} AS TEXT) COLLATE "C"'},
        {"number": "DOUBLE PRECISION", "boolean": "BOOLEAN", "category": "TEXT", "key": "BIGINT"},
        fence=" OFFSET 0", parser="postgres",
    ),
    "sql-tsql": Dialect(
        "T-SQL", _with_exponent, _pieces(" + ", "NCHAR({})", "N"),
        {"number": "CAST({} AS FLOAT(53))", "boolean": "CAST({} AS FLOAT(53))",
         "category": "(CAST({} AS NVARCHAR(MAX)) + N'.') COLLATE Latin1_General_100_BIN2"},
        {"number": "FLOAT(53)", "boolean": "BIT", "category": "NVARCHAR(450)", "key": "BIGINT"},
        booleans=("CAST(0 AS BIT)", "CAST(1 AS BIT)"), quotes=("[", "]"), ignores_case=True, parser="tsql",
        level=_tsql_level,
    ),
    "sql-oracle": Dialect(
        "Oracle", _oracle_number, _pieces(" || ", "CHR({})", special="&"),
        {"number": "NANVL(CAST({} AS BINARY_DOUBLE), NULL)", "boolean": "CAST({} AS BINARY_DOUBLE)",
         "category": "CAST({} AS VARCHAR2(4000))"},
        {"number": "BINARY_DOUBLE", "boolean": "NUMBER(1)", "category": "VARCHAR2(4000)", "key": "NUMBER(19)"},
        booleans=("0", "1"), longest_list=1000, parser="oracle",
    ),
    "sql-snowflake": Dialect(
        "Snowflake", lambda value: f"'{value!r}'::FLOAT", _escaped("''"),
        {"number": "NULLIF(CAST({} AS FLOAT), 'NaN'::FLOAT)", "boolean": "CAST(CAST({} AS INTEGER) AS FLOAT)",
         "category": "CAST({} AS VARCHAR)"},
        {"number": "FLOAT", "boolean": "BOOLEAN", "category": "VARCHAR", "key": "BIGINT"}, parser="snowflake",
    ),
    "sql-bigquery": Dialect(
        "BigQuery", repr, _escaped("\\'"),
        {"number": "IF(IS_NAN(CAST({0} AS FLOAT64)), NULL, CAST({0} AS FLOAT64))",
         "boolean": "CAST(CAST({} AS INT64) AS FLOAT64)", "category": "CAST({} AS STRING)"},
        {"number": "FLOAT64", "boolean": "BOOL", "category": "STRING", "key": "INT64"},
        quotes=("`", "`"), ignores_case=True, parser="bigquery",
    ),
}  # fmt: skip
