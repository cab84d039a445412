"""Dates as numbers: the parts of a date that a tree can test."""

from __future__ import annotations

import numpy as np
import pandas as pd

DATE_PARTS = ("year", "month", "day", "weekday", "hour")

# 2024-03-05 or 2024/3/5 (year first), 05.03.2024 (dots: day first), 5 March 2024, March 5, 2024, and the month 2024-03.
# 05/03/2024 is left out on purpose: whether it is March or May cannot be told from the value, and a guess from other
# rows would differ between two files.
_YEAR_FIRST = r"^\s*(?P<year>\d{4})(?P<sep>[-/])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"
_DAY_FIRST = r"^\s*(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})"
_DAY_NAME = r"^\s*(?P<day>\d{1,2})[ -](?P<name>[A-Za-z]{3,9})\.?[ ,-]+(?P<year>\d{4})"
_NAME_DAY = r"^\s*(?P<name>[A-Za-z]{3,9})\.? (?P<day>\d{1,2}),? +(?P<year>\d{4})"
_MONTH = r"^\s*(?P<year>(?:19|20)\d{2})-(?P<month>0[1-9]|1[0-2])\s*$"
_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTHS = {form: str(at) for at, name in enumerate(_NAMES, 1) for form in (name, name[:3])} | {"sept": "9"}
_TIME = r"(?:[T ]\s*(?P<hour>[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?\s*(?:Z|[+-]\d{2}:?\d{2})?)?\s*$"


def split_dates(texts: pd.Series) -> pd.DataFrame:
    """Split date texts into their parts.

    Each value is read by itself, so that one row and a whole file give the same answer. Times are taken as
    written: an offset such as ``+02:00`` is dropped, not applied.

    Args:
        texts: strings [n]: ``2024-03-05``, ``2024/3/5``, ``05.03.2024``, ``5 Mar 2024``, ``March 5, 2024``, each with
            or without ``14:30[:59]``; or the month ``2024-03``.

    Returns:
        float64 [n, 5], columns ``DATE_PARTS``; weekday is 0 on Monday; hour is 0 where no time is written; a month
        has year and month only; all five are NaN where there is no date.

    Cost: O(n).

    Example:
        >>> split_dates(pd.Series(["2024-03-05 14:30", "31.02.2024"])).to_numpy().tolist()
        [[2024.0, 3.0, 5.0, 1.0, 14.0], [nan, nan, nan, nan, nan]]
    """
    texts = texts.astype(object)
    fields = ["year", "month", "day", "hour"]
    found = texts.str.extract(_YEAR_FIRST + _TIME)[fields]
    found = found.fillna(texts.str.extract(_DAY_FIRST + _TIME)[fields])
    for pattern in (_DAY_NAME, _NAME_DAY):
        named = texts.str.extract(pattern + _TIME)
        found = found.fillna(named.assign(month=named["name"].str.lower().map(_MONTHS))[fields])
    month = texts.str.extract(_MONTH)
    is_month = month["year"].notna()
    found = found.fillna(month.assign(day=month["year"].where(~is_month, "1"), hour=None)[fields])
    numbers = found.astype(np.float64)
    dates = pd.to_datetime(numbers[["year", "month", "day"]], errors="coerce")
    numbers["hour"] = numbers["hour"].fillna(0.0)
    numbers["weekday"] = dates.dt.day_of_week
    numbers.loc[is_month, ["day", "weekday", "hour"]] = np.nan
    return numbers[list(DATE_PARTS)].where(dates.notna(), np.nan).astype(np.float64)


def stamp_parts(stamps: pd.Series) -> pd.DataFrame:
    """Split timestamps (any pandas datetime type, with or without time zone) into ``DATE_PARTS``.

    Args:
        stamps: datetimes [n].

    Returns:
        float64 [n, 5]; NaN where the date is missing. Local wall time, as it is printed.

    Cost: O(n).

    Example:
        >>> stamp_parts(pd.Series(pd.to_datetime(["2024-03-05"]))).to_numpy().tolist()
        [[2024.0, 3.0, 5.0, 1.0, 0.0]]
    """
    parts = {part: getattr(stamps.dt, part.replace("weekday", "day_of_week")) for part in DATE_PARTS}
    return pd.DataFrame(parts, index=stamps.index).astype(np.float64)
