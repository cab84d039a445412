"""Levels that have an order: words that stand on a ladder, ranges of numbers, ordinal numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

_FEWEST = 3  # two levels are cut in one way only

# One ladder a line, its rungs from low to high; words on one rung mean the same.
_LADDERS = """
xxs; xs|extra small|very small|tiny; s|small; m|medium|mid; l|large|big; xl|extra large|very large|huge; xxl; xxxl
none|zero; very low|lowest; low; medium low|below average; medium|moderate|mid|middle|average|normal; medium high|above average; high; very high|highest; extreme|extremely high|critical
none|no|absent; minimal|very mild; mild|slight|minor; moderate|medium; severe|major|serious; very severe|critical|extreme|fatal
never; almost never|very rarely; rarely|seldom; occasionally; sometimes; often|frequently; very often|usually|almost always; always
daily; weekly; biweekly|fortnightly; monthly; quarterly; semiannually|half yearly; yearly|annually|annual
strongly disagree|completely disagree; disagree; somewhat disagree|slightly disagree; neutral|neither agree nor disagree|undecided; somewhat agree|slightly agree; agree; strongly agree|completely agree
very dissatisfied|very unsatisfied; dissatisfied|unsatisfied; somewhat dissatisfied; neutral; somewhat satisfied; satisfied; very satisfied
very unlikely; unlikely; neutral|possible; likely; very likely; certain
terrible|awful; very poor|very bad; poor|bad; fair; below average; average|typical|ok|okay|acceptable; above average; good; very good; excellent; outstanding
fair; good; very good; premium; ideal
very negative; negative; neutral; positive; very positive
freezing|very cold; cold; cool; mild; warm; hot; very hot
very slow; slow; medium|normal|average; fast; very fast
very light; light; medium|normal|average; heavy; very heavy
very short; short; medium|normal|average; long|tall; very long|very tall
very young; young; middle aged|middle age|middle|adult; old|elderly; very old
weak; moderate|medium|normal; strong; very strong
lower|lower class; lower middle; middle|middle class; upper middle; upper|upper class
early; mid|middle; late
infant|baby; toddler; child; teen|teenager|adolescent; young adult; adult; middle aged|middle age; senior|elderly
novice|beginner; elementary; intermediate; advanced; expert
intern|trainee; junior; mid|mid level; senior; lead; principal
bronze; silver; gold; platinum; diamond
dry; moist; wet
before; during; after
no schooling|illiterate; preschool|kindergarten; primary|primary school|primary education|elementary|elementary school; middle school|lower secondary; secondary|secondary school|secondary education|high school|hs grad|high school graduate|upper secondary; some college; associate|associates|associate degree|associates degree; tertiary|bachelor|bachelors|bachelor degree|bachelors degree; master|masters|master degree|masters degree; doctorate|phd|doctoral|doctoral degree|doctor
january|jan; february|feb; march|mar; april|apr; may; june|jun; july|jul; august|aug; september|sep|sept; october|oct; november|nov; december|dec
monday|mon; tuesday|tue|tues; wednesday|wed; thursday|thu|thur|thurs; friday|fri; saturday|sat; sunday|sun
zero; one; two; three; four; five; six; seven; eight; nine; ten; eleven; twelve
first; second; third; fourth; fifth; sixth; seventh; eighth; ninth; tenth
"""  # noqa: E501

_NUMBER = r"(?:0|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d*)(?:\.\d+)?"  # no leading zeros: "01-02" is a code
_AMOUNT = rf"[$€£]?\s*({_NUMBER})([km]?)"
_UNIT = r"\s*(%|[a-z]{2,}\.?)?"
_BELOW = r"(?:<=?|under|below|less than|fewer than|up to)"
_ABOVE = r"(?:>=?|over|above|more than|greater than|at least)"
_RANGES = {
    "between": re.compile(rf"[\[(]?\s*{_AMOUNT}\s*(?:-|–|—|to|\.\.|,\s)\s*{_AMOUNT}{_UNIT}\s*[\])]?"),
    "below": re.compile(rf"{_BELOW}\s*{_AMOUNT}{_UNIT}"),
    "above": re.compile(rf"{_ABOVE}\s*{_AMOUNT}{_UNIT}"),
    "from": re.compile(rf"{_AMOUNT}\s*(?:\+|(?:or|and) (?:more|over|above|older|up)){_UNIT}"),
    "exact": re.compile(rf"{_AMOUNT}{_UNIT}"),
}
_ORDINAL = re.compile(r"([1-9]\d*)(?:st|nd|rd|th)(\s+[a-z]+)?")
_NUMBERED = re.compile(r"(grade|level|stage|tier|phase|rank|year|week|quarter|q|step|round)\s*(\d+)")


def find_order(levels: Sequence[str]) -> list[str] | None:
    """Return levels from low to high where all of them stand on one ladder, else None.

    Known are words for amounts, sizes, quality, agreement, frequency, education, months, weekdays and the like;
    ranges that do not overlap ("1-5", "6 to 10", "<18", "65+", "$10k-20k"), with one unit; ordinal numbers (1st,
    2nd); numbered grades, levels, stages, tiers, phases, ranks, years, weeks, quarters, steps and rounds. Case,
    blanks, hyphens and underscores do not matter. Fewer than three levels, or one level that is not known, or two on
    one rung, have no order: an order that is wrong costs more than one that is missed.

    Args:
        levels: distinct texts.

    Cost: O(m) for m levels.

    Example:
        >>> find_order(["high", "low", "Medium"]), find_order(["6-10", "<6", "11+"]), find_order(["a", "b", "c"])
        (['low', 'Medium', 'high'], ['<6', '6-10', '11+'], None)
    """
    if not _FEWEST <= len(levels) <= 100:
        return None
    texts = [str(level).strip().lower() for level in levels]
    words = [re.sub(r"[\s_\-]+", " ", text.replace("'", "").replace("\u2019", "")).strip() for text in texts]
    keys: Sequence[tuple[float, ...]] | None = _rungs(words) or _numbered(words) or _ranges(texts)
    if keys is None or len(set(keys)) < len(keys):
        return None
    return [str(levels[place]) for place in sorted(range(len(keys)), key=lambda place: keys[place])]


@cache
def _ladders() -> list[dict[str, int]]:
    ladders = [line.split(";") for line in _LADDERS.strip().splitlines()]
    return [{word.strip(): at for at, rung in enumerate(rungs) for word in rung.split("|")} for rungs in ladders]


def _rungs(words: Sequence[str]) -> list[tuple[float, ...]] | None:
    for ladder in _ladders():
        if all(word in ladder for word in words):
            return [(ladder[word],) for word in words]
    return None


def _numbered(words: Sequence[str]) -> list[tuple[float, ...]] | None:
    """Ordinal numbers, and numbered things that come one after the other; all with the same word."""
    for pattern, number, word in ((_ORDINAL, 1, 2), (_NUMBERED, 2, 1)):
        found = [pattern.fullmatch(text) for text in words]
        kept = [match for match in found if match]
        if len(kept) == len(words) and len({match[word] for match in kept}) == 1:
            return [(float(match[number]),) for match in kept]
    return None


def _ranges(texts: Sequence[str]) -> list[tuple[float, ...]] | None:
    """The ends of ranges that do not overlap."""
    found = [_range(text.replace("_", " ")) for text in texts]
    kept = [ends for ends in found if ends is not None]
    if len(kept) < len(texts) or len({unit for _, _, unit in kept if unit}) > 1:
        return None
    if all(low == high for low, high, _ in kept):
        return None  # plain numbers are no ranges
    ordered = sorted((low, high) for low, high, _ in kept)
    if any(after[0] < before[1] for before, after in pairwise(ordered)):
        return None
    return [(low, high) for low, high, _ in kept]


def _range(text: str) -> tuple[float, float, str | None] | None:
    for kind, pattern in _RANGES.items():
        match = pattern.fullmatch(text)
        if match is None:
            continue
        parts = match.groups()
        low = _value(parts[0], parts[1] or (parts[3] if kind == "between" else ""))  # 10-20k is 10k to 20k
        if kind == "between":
            high = _value(parts[2], parts[3])
            return (low, high, parts[4]) if low <= high else None
        ends = {"below": (-math.inf, low), "above": (low, math.inf), "from": (low, math.inf), "exact": (low, low)}
        return *ends[kind], parts[2]
    return None


def _value(number: str, scale: str) -> float:
    return float(number.replace(",", "")) * {"k": 1e3, "m": 1e6}.get(scale, 1.0)
