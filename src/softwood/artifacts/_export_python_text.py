"""The fixed parts of an exported Python file. They are written for whoever reads that file."""

from __future__ import annotations

HEADER = '''\
#!/usr/bin/env python3
"""{summary}

Softwood model {fingerprint}. Needs Python 3.8 or newer and nothing else.

In Python:       predict({{"column": value, ...}}), predict_proba(...) for a classifier
Command line:    python FILE table.csv > answers.csv      ("-" reads standard input)

A row goes left (into the "if") when its value is at most the threshold, compared as a 64-bit float, or when its
text is in the set. Missing values are None, NaN and empty cells; a text that was not seen in training counts as
missing. Which way they go differs from test to test: "not x > 1" and "not in" take them in, "x <= 1" and "in" do
not.
"""

{imports}
'''

READING = '''\
def read_number(name, value):
    """Return a float; NaN is missing."""
    if value is None:
        return math.nan
    text = value.strip().lower() if isinstance(value, str) else None
    if text in MISSING:
        return math.nan
    try:
        if text is not None and ("_" in text or not text.isascii()):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise ValueError("column %r holds %r, which is no finite number" % (name, value))
    return number


def read_boolean(name, value):
    """Return 0.0 or 1.0; NaN is missing."""
    text = value.strip().lower() if isinstance(value, str) else None
    if text in TRUE:
        return 1.0
    if text in FALSE:
        return 0.0
    number = read_number(name, value)
    if number not in (0.0, 1.0) and number == number:
        raise ValueError("column %r holds %r, which is neither true nor false" % (name, value))
    return number


def read_category(name, value):
    """Return a text, or None if it is missing. Whole numbers print as integers: 1 and 1.0 are both '1'."""
    if value is None or value != value:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(float(value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


READERS = {"number": read_number, "boolean": read_boolean, "category": read_category}


def read(row):
    """Return the tested values of a raw row."""
    row = with_date_parts(row)
    absent = [name for name in TESTED if name not in row]
    if absent:
        raise KeyError("the row lacks the column %r; where a value is unknown, pass None" % absent[0])
    return {name: READERS[kind](name, row[name]) for name, kind in TESTED.items()}
'''

WITHOUT_DATES = '''\
def date_source(name, names):
    """Return None: this model tests no part of a date."""
    return None


def with_date_parts(row):
    """Return the row as it is: this model tests no part of a date."""
    return row
'''

DATES = '''\
PARTS = ["year", "month", "day", "weekday", "hour"]
ZONE = r"\\s*(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
TIME = r"(?:[T ]\\s*(?P<hour>[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\\.[0-9]+)?)?" + ZONE + r")?\\s*"
YEAR_FIRST = re.compile(r"\\s*(?P<year>[0-9]{4})(?P<sep>[-/])(?P<month>[0-9]{1,2})(?P=sep)(?P<day>[0-9]{1,2})" + TIME)
DAY_FIRST = re.compile(r"\\s*(?P<day>[0-9]{1,2})\\.(?P<month>[0-9]{1,2})\\.(?P<year>[0-9]{4})" + TIME)
DAY_NAME = re.compile(r"\\s*(?P<day>[0-9]{1,2})[ -](?P<name>[A-Za-z]{3,9})\\.?[ ,-]+(?P<year>[0-9]{4})" + TIME)
NAME_DAY = re.compile(r"\\s*(?P<name>[A-Za-z]{3,9})\\.? (?P<day>[0-9]{1,2}),? +(?P<year>[0-9]{4})" + TIME)
MONTH = re.compile(r"\\s*(?P<year>(?:19|20)[0-9]{2})-(?P<month>0[1-9]|1[0-2])\\s*")
NAMES = "january february march april may june july august september october november december".split()


def date_source(name, names):
    """Return the column of dates that a tested column is part of, if that is what there is; else None."""
    source, _, part = name.rpartition(".")
    return source if part in PARTS and name not in names and source in names else None


def with_date_parts(row):
    """Return the row with the tested parts of its dates: of "sold", sold.year, sold.month and so on."""
    made = {}
    for name in TESTED:
        source = date_source(name, row)
        if source is not None:
            made[name] = date_parts(source, row[source])[PARTS.index(name.rpartition(".")[2])]
    return dict(row, **made) if made else row


def month_of(name):
    """Return the number of a month from its name, or the first three letters of it."""
    short = "sep" if name.lower() == "sept" else name.lower()
    return (NAMES if short in NAMES else [month[:3] for month in NAMES]).index(short) + 1


def date_parts(name, value):
    """Return year, month, day, weekday (0 is Monday) and hour of a date of Python, or of a text such as 2024-03-05,
    2024/3/5, 05.03.2024, 5 March 2024 or Mar 5, 2024, with or without a time; of the month 2024-03 year and month;
    NaN where it is missing. An offset such as +02:00 is dropped."""
    if value is None or value != value:
        return [math.nan] * 5
    if isinstance(value, datetime.date):
        return [value.year, value.month, value.day, value.weekday(), getattr(value, "hour", 0)]
    text = str(value)
    if text.strip().lower() in MISSING:
        return [math.nan] * 5
    found = MONTH.fullmatch(text)
    if found:
        return [int(found.group("year")), int(found.group("month")), math.nan, math.nan, math.nan]
    found = YEAR_FIRST.fullmatch(text) or DAY_FIRST.fullmatch(text)
    named = None if found else DAY_NAME.fullmatch(text) or NAME_DAY.fullmatch(text)
    try:
        month = month_of(named.group("name")) if named else int(found.group("month"))
        found = found or named
        day = datetime.date(int(found.group("year")), month, int(found.group("day")))
    except (AttributeError, ValueError):
        raise ValueError("column %r holds %r, which is no date" % (name, value))
    return [day.year, day.month, day.day, day.weekday(), int(found.group("hour") or 0)]
'''

NESTED = '''\
def add_trees(row):
    """Return the sum of the base and what each tree answers."""
    row = read(row)
    total = BASE
    for tree in TREES:
        total = [a + b for a, b in zip(total, tree(row))]
    return total
'''

TABLES = '''

def walk(row, node):
    """Return the values of the leaf that a row reaches from this node."""
    while FEATURE[node] >= 0:
        value = row[NAMES[FEATURE[node]]]
        if LEVEL_SET[node] >= 0:
            place = LEVELS[FEATURE[node]].get(value)
            left = MISSING_LEFT[node] if place is None else SETS[LEVEL_SET[node]][place] == "1"
        elif value != value:
            left = MISSING_LEFT[node]
        else:
            left = value <= THRESHOLD[node]
        node = LEFT[node] if left else RIGHT[node]
    return VALUES[LEAF[node]]


def add_trees(row):
    """Return the sum of the base and what each tree answers."""
    row = read(row)
    total = BASE
    for root in ROOTS:
        total = [a + b for a, b in zip(total, walk(row, root))]
    return total
'''

CLASSIFIER = '''\
def probabilities(total):
    """Turn the sum into one probability for each class, in the order of CLASSES."""
    if LINK == "softmax":
        powers = [math.exp(value - max(total)) for value in total]
        return [power / sum(powers) for power in powers]
    if LINK == "sigmoid":
        power = math.exp(-abs(total[0]))
        total = [1.0 / (1.0 + power) if total[0] >= 0 else power / (1.0 + power)]
    return [1.0 - total[0], total[0]] if len(total) == 1 else list(total)


def label(total):
    """Return the class with the largest sum, the first of equal ones."""
    if len(total) == 1:
        return CLASSES[total[0] > (0.5 if LINK == "probability" else 0.0)]
    return CLASSES[total.index(max(total))]


def predict(row):
    """Return the label of a row, given as a dict of raw values."""
    return label(add_trees(row))


def predict_proba(row):
    """Return the probability of each class, in the order of CLASSES."""
    return probabilities(add_trees(row))


HEADER = ["label"] + ["probability of %s" % name for name in CLASSES]


def answer(row):
    """Return one line of the output table."""
    total = add_trees(row)
    return [label(total)] + probabilities(total)
'''

REGRESSION = '''\
def answer(row):
    """Return the values of a row, given as a dict of raw values: one line of the output table."""
    return [math.exp(total) if LINK == "exp" else total for total in add_trees(row)]


def predict(row):
    """Return the value of a row; a list if there are several outputs."""
    values = answer(row)
    return values[0] if len(values) == 1 else values


HEADER = ["value"] if len(OUTPUTS) == 1 else ["value of %s" % name for name in OUTPUTS]
'''

RUNNING = '''\
def convert(source, target):
    """Read a CSV table with a header line, and write a CSV table with one answer for each row."""
    reader = csv.reader(source)
    names = next(reader, [])
    for name in TESTED:
        name = date_source(name, names) or name
        if names.count(name) != 1:
            raise ValueError("column %r is in the table %d times instead of once" % (name, names.count(name)))
    writer = csv.writer(target, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\\n")
    writer.writerow(HEADER)
    for cells in reader:
        if not cells:
            continue  # a blank line
        if len(cells) != len(names):
            raise ValueError("line %d has %d cells instead of %d" % (reader.line_num, len(cells), len(names)))
        try:
            writer.writerow(answer(dict(zip(names, cells))))
        except ValueError as error:
            raise ValueError("line %d: %s" % (reader.line_num, error))


def main(arguments):
    """Run the command line; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python FILE table.csv > answers.csv\\n")
        return 2
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    try:
        if arguments[0] == "-":
            sys.stdin.reconfigure(encoding="utf-8-sig", newline="")
            convert(sys.stdin, sys.stdout)
        else:
            with open(arguments[0], newline="", encoding="utf-8-sig") as source:
                convert(source, sys.stdout)
    except (OSError, ValueError, csv.Error) as error:
        sys.stderr.write("%s\\n" % error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''
