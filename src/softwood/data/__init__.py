"""Data: tables as they come, and what is learned from their columns before any model is.

``read_table`` reads CSV, TSV, Parquet, Feather or a frame and says what it detected; ``describe`` finds the kind of
each column and leaves out, with a reason, what no tree can use; ``read_target`` does the same for the column that is
predicted; ``row_weights``, ``row_groups`` and ``row_times`` read the columns that say how rows count. None of the
first three ends a fit because of a column that it cannot use; all of them name what they did.
"""

from softwood.data._codec import LARGEST, MAX_BINS, QuantileCodec
from softwood.data._describe import Description, describe
from softwood.data._digit_numbers import digit_numbers
from softwood.data._feature import Feature
from softwood.data._read import Table, read_table
from softwood.data._roles import row_groups, row_times, row_weights
from softwood.data._target import Target, read_target

__all__ = [
    "LARGEST",
    "MAX_BINS",
    "Description",
    "Feature",
    "QuantileCodec",
    "Table",
    "Target",
    "describe",
    "digit_numbers",
    "read_table",
    "read_target",
    "row_groups",
    "row_times",
    "row_weights",
]
