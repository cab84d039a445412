"""The fixed parts of a kit. They are written for whoever checks a model without Softwood."""

from __future__ import annotations

README = """\
How to check this model without Softwood
========================================

{summary}
Fingerprint {fingerprint}; every exported file of this model carries it.

{listing}

rows.csv holds {count} made-up rows, none from training: for each test in the model a row exactly on the threshold, on
the 64-bit and 32-bit floats beside it, and with the value missing (an empty cell); for each category its levels and a
text that was never seen. Beside the raw columns stand the expected answers: {expected}.
A score agrees if it differs by at most {tolerance:g} times the larger of 1 and the expected score; a label has to be
equal.

{steps}
What Softwood itself found when it wrote the model:
{report}
"""

SQL_LISTING = """\
{model:<12} the model: one SELECT
load.sql     makes the tables {table} and softwood_expected and fills them with the rows of rows.csv
check.sql    one query that returns every row on which model and expectation differ
rows.csv     the same rows as a table"""

SQL_STEPS = """\
In an empty database ({engine}):

1. Run load.sql. Then SELECT COUNT(*) FROM softwood_expected has to say {count}.
2. Make a view of the model: CREATE VIEW softwood_answers AS, followed by the text of {model}.
3. Run check.sql. No row: the model gives every expected answer. Otherwise each row shows what was expected and found.
{commands}"""

SQL_COMMANDS = """
On a command line, with {client} as the client:

    {client} < load.sql
    (echo "CREATE VIEW softwood_answers AS"; cat {model}; echo ";") | {client}
    {client} < check.sql
"""

CLIENTS = {
    "sql": "sqlite3 check.db",
    "sql-duckdb": "duckdb check.duckdb",
    "sql-postgres": "psql -q -d NAME_OF_AN_EMPTY_DATABASE",
}

PROGRAM_LISTING = """\
{model:<12} the model
rows.csv     rows and the answers that are expected
compare.py   compares two tables; needs Python and nothing else"""

PROGRAM_STEPS = """\
{run}
Then

    python3 compare.py rows.csv answers.csv

says how many rows were compared, prints those that differ, and ends with exit code 0 if there are none, else 1.
"""

RUNS = {
    "c": """\
Compile and run it:

    cc -std=c99 -O2 -DSOFTWOOD_MAIN {model} -o model -lm
    ./model < rows.csv > answers.csv
""",
    "python": """\
Run it:

    python3 {model} rows.csv > answers.csv
""",
}

ANY_RUN = """\
Let the program that is to use {model} answer the rows of rows.csv, in their order, and write a table answers.csv with a
header line and one line for each row: {answer}, numbers to 17 digits.
"""

COMPARE = '''\
"""Compare answers with the expected ones: python3 compare.py rows.csv answers.csv"""

import csv
import sys

TOLERANCE = {tolerance!r}
HAS_LABEL = {has_label!r}
EXPECTED = {expected!r}  # columns of rows.csv


def read(path):
    with open(path, newline="", encoding="utf-8") as source:
        return list(csv.reader(source))


def agree(expected, found):
    if HAS_LABEL:
        if expected[0] != found[0]:
            return False
        expected, found = expected[1:], found[1:]
    try:
        pairs = [(float(a), float(b)) for a, b in zip(expected, found)]
    except ValueError:
        return False
    return all(abs(a - b) <= TOLERANCE * max(1.0, abs(a)) for a, b in pairs)


def main(rows_path, answers_path):
    rows, answers = read(rows_path), read(answers_path)
    places = [rows[0].index(name) for name in EXPECTED]
    wrong = 0
    if len(rows) != len(answers):
        print("%d rows, and %d answers" % (len(rows) - 1, len(answers) - 1))
        wrong = 1
    for number, (row, found) in enumerate(zip(rows[1:], answers[1:])):
        expected = [row[place] for place in places]
        if len(found) != len(expected) or not agree(expected, found):
            print("row %d: expected %r, found %r" % (number, expected, found))
            wrong += 1
    print("%d rows compared, %d differ" % (min(len(rows), len(answers)) - 1, wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
'''
