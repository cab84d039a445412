"""read_table: what is detected in a file, and what is said where there is no table."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from softwood.artifacts._columns import Column
from softwood.core import InputError, MissingExtraError
from softwood.data import read_table

TEXT = "city,size,price\nOslo,1,1.5\nRome,2,NA\n"
ROWS = {"city": ["Oslo", "Rome"], "size": [1, 2], "price": [1.5, None]}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path, **options)

    return write_and_read


def same(frame, rows):
    pd.testing.assert_frame_equal(frame, pd.DataFrame(rows), check_dtype=False)


# ------------------------------------------------------------------ delimiters, packing, encoding
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(read, delimiter):
    table = read(TEXT.replace(",", delimiter))
    same(table.frame, ROWS)
    assert table.delimiter == delimiter


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("inner.csv", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "t.csv.gz"),
        (bz2.compress, "t.csv.bz2"),
        (lzma.compress, "t.tsv.xz"),
        (zipped, "t.zip"),
        (gzip.compress, "t.csv"),
        (bytes, "t"),
        (bytes, "t.txt"),
        (bytes, "sales.2024"),
    ],
)
def test_packed_files(read, pack, name):
    same(read(pack(TEXT.encode()), name).frame, ROWS)


def test_zstd(read):
    arrow = pytest.importorskip("pyarrow")
    sink = arrow.BufferOutputStream()
    with arrow.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(TEXT.encode())
    content = sink.getvalue().to_pybytes()
    same(read(content, "t.csv.zst").frame, ROWS)


@pytest.mark.parametrize("content", [TEXT.encode(), gzip.compress(TEXT.encode(), mtime=0)])
def test_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    same(read_table("-").frame, ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(read, encoding):
    table = read("ört;preis\nKöln;€ 5\n".encode(encoding))
    same(table.frame, {"ört": ["Köln"], "preis": [5.0]})
    assert table.encoding == encoding


def test_a_given_encoding(read):
    same(read("a,b\nж,1\n".encode("koi8-r"), encoding="koi8-r").frame, {"a": ["ж"], "b": [1]})
    for wrong in ("ascii", "no-such"):
        with pytest.raises(InputError, match=wrong):
            read("a,b\nж,1\n".encode("koi8-r"), encoding=wrong)


def test_line_ends_quotes_and_blank_lines(read):
    same(read('a,b\r\n"x, ""y""",1\r\n\r\n"two\r\nlines",2\r\n').frame, {"a": ['x, "y"', "two\r\nlines"], "b": [1, 2]})
    same(read("a,b\rx,1\ry,2").frame, {"a": ["x", "y"], "b": [1, 2]})
    same(
        read('size,b\n5" pipe,1\n6" pipe,2\n7 pipe,3\n').frame,
        {"size": ['5" pipe', '6" pipe', "7 pipe"], "b": [1, 2, 3]},
    )


def test_a_long_file_is_counted_in_blocks(read):
    rows = [f'"{"quoted, " * 20}{number}",{number}' for number in range(30_000)]
    table = read("a,b\n" + "\n".join(rows) + "\n")
    assert_array_equal(table.frame["b"], np.arange(30_000))
    with pytest.raises(InputError, match="3 fields in line 30002"):
        read("a,b\n" + "\n".join(rows) + "\n1,2,3\n")


def test_a_single_column(read):
    same(read("x\n1\n2\n").frame, {"x": [1, 2]})
    same(read("x\n1,5\n2,5\n").frame, {"x": [1.5, 2.5]})


# ------------------------------------------------------------------ numbers
def test_a_european_file_reads_like_the_original(read):
    original = pd.DataFrame(
        {
            "größe": [0.1, 1234567.875, -3.0, None],
            "gruppe": ["für", "groß", "für", "ä"],
            "zahl": [1, 2, 3, 4],
        }
    )
    text = original.to_csv(index=False, sep=";", decimal=",", na_rep="NA")
    table = read(text.encode("cp1252"))
    same(table.frame, original)
    assert (table.delimiter, table.encoding, table.decimal) == (";", "cp1252", ",")


def test_floats_are_read_to_the_last_digit(read):
    values = np.random.default_rng(0).normal(size=1000) * 1e-7
    assert_array_equal(read(pd.DataFrame({"x": values, "y": 1}).to_csv(index=False)).frame["x"], values)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,234.5", "7"], [1234.5, 7]),
        (["1.234,5", "7"], [1234.5, 7]),
        (["1 234,5", "-7"], [1234.5, -7]),
        (["1'234.5", "1"], [1234.5, 1]),
        (["1,234", "5,678"], [1234, 5678]),
        (["$1,200.50", "-$3"], [1200.5, -3]),
        (["12,5 €", "€ 3"], [12.5, 3]),
        (["12%", "5.5 %"], [12, 5.5]),
        (["1e3", "none"], [1000, np.nan]),
        (["-", "2"], [np.nan, 2]),
        ([".", "2.5"], [np.nan, 2.5]),
        (["?", "2.5"], [np.nan, 2.5]),
    ],
)
def test_numbers_however_written(read, cells, expected):
    table = read("a\tb\n" + "".join(f"x\t{cell}\n" for cell in cells))
    assert_array_equal(table.frame["b"].to_numpy(dtype=float), expected)


def test_an_ambiguous_number_follows_the_other_columns(read):
    same(read("a;b\n1,234;0,5\n5,678;1,5\n").frame, {"a": [1.234, 5.678], "b": [0.5, 1.5]})
    same(read("a;b\n1.234;0,5\n5.678;1,5\n").frame, {"a": [1234.0, 5678.0], "b": [0.5, 1.5]})
    same(read("a;b\n1.234;0,5\n5.6;1,5\n").frame, {"a": [1.234, 5.6], "b": [0.5, 1.5]})
    same(read("a;b\n1,234;x\n").frame, {"a": [1234.0], "b": ["x"]})
    same(read("a;b\n1.5;0,5\ninf;1,5\n").frame, {"a": [1.5, np.inf], "b": [0.5, 1.5]})
    same(read("a;b\n1,234;x\n", decimal=",").frame, {"a": [1.234], "b": ["x"]})


@pytest.mark.parametrize("cells", [["00501", "10001"], ["5%", "0.5"], ["$5", "€5"], ["1.2.3", "4"], ["12a", "3"]])
def test_what_stays_text(read, cells):
    table = read("a\tb\n" + "".join(f"x\t{cell}\n" for cell in cells))
    assert table.frame["b"].tolist() == cells


def test_what_was_detected_is_noted(read):
    cells = [*["1,200.5"] * 20, "abc"]
    table = read("zip;fee;odd;rate\n" + "".join(f"007;$ 1,200;{cell};5%\n" for cell in cells) + "008;?;1;6%\n")
    notes = " | ".join(table.notes)
    for said in (
        "22 rows x 4 columns, semicolon",
        "utf-8",
        "leading zeros: zip",
        "missing: empty cells, ?",
        "fee: thousands separators, currency $",
        "rate: percent",
        "odd is kept as text",
        "'abc'",
    ):
        assert said in notes


def test_missing_markers(read):
    table = read('a,b\nx,1\nNA,n/a\n"N/A",NaN\nnull,NULL\n?,<NA>\n nan ,\nNone,2\n-,3\n.,4\n')
    assert table.frame["a"].isna().tolist() == [False, *[True] * 5, *[False] * 3]
    assert table.frame["b"].isna().tolist() == [False, *[True] * 5, *[False] * 3]


def test_the_columns_of_a_model_keep_categories_as_text(read):
    columns = [Column("a", "category", ("1.0", "x"))]
    assert read("a,b\n1.0,1\n", columns=columns).frame["a"].tolist() == ["1.0"]
    assert read("a,b\n1.0,1\n").frame["a"].tolist() == [1.0]


def test_headers(read):
    table = read(",b\n1,2\n")
    assert list(table.frame.columns) == ["column_1", "b"]
    assert "column_1" in " ".join(table.notes)
    table = read("a b,c\nr1,1,2\nr2,3,4\n")
    same(table.frame, {"row_names": ["r1", "r2"], "a b": [1, 3], "c": [2, 4]})
    same(read("a,b\n1,2,\n3,4,\n").frame, {"a": [1, 3], "b": [2, 4]})
    assert any("header missing" in note for note in read("1.5,2.5\n3.5,4.5\n").notes)


# ------------------------------------------------------------------ parquet, feather, frames
@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_binary_tables(tmp_path, name):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "n": [1.5, None],
            "c": pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True),
            "price": ["$1,200", "3"],
            "when": pd.to_datetime(["2024-01-01", "2024-01-02"]),
        }
    )
    getattr(frame, "to_" + name[2:])(tmp_path / name)
    table = read_table(tmp_path / name)
    assert_array_equal(table.frame["price"], [1200, 3])
    pd.testing.assert_frame_equal(table.frame.drop(columns="price"), frame.drop(columns="price"), check_dtype=False)
    damaged = (tmp_path / name).read_bytes()[:-20]
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(InputError, match="file is damaged"):
        read_table(tmp_path / name)


def test_parquet_without_pyarrow(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"softwood\[parquet\]"):
        read(b"PAR1xxxxPAR1", "t.parquet")


def test_frames_pass_through():
    frame = pd.DataFrame({"a": ["$5"], 3: [1]}, index=[9])
    same(read_table(frame).frame, {"a": ["$5"], "3": [1]})
    assert frame.index[0] == 9
    same(read_table(np.array([[1.0, 2.0]])).frame, {"x0": [1.0], "x1": [2.0]})
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    same(read_table(polars.DataFrame({"a": [1, 2]})).frame, {"a": [1, 2]})
    same(read_table(arrow.table({"a": [1, 2]})).frame, {"a": [1, 2]})
    with pytest.raises(InputError, match="repeated"):
        read_table(arrow.table([[1], [2]], names=["a", "a"]))


# ------------------------------------------------------------------ hostile input
@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("", "t.csv", "the table is empty"),
        ("\n \n", "t.csv", "the table is empty"),
        ("a,b\n", "t.csv", "no rows"),
        ("a,b,a\n1,2,3\n", "t.csv", "repeated: got a"),
        ("a,b\n1,2\n3\n4,5\n", "t.csv", "1 fields in line 3"),
        ("a,b\n1,2\n3,4,5\n", "t.csv", "3 fields in line 3"),
        ('a,b\n1,"2\n3,4\n', "t.csv", "fields|quotation mark"),
        (b"\x00\x01\x02\x03" * 50, "t.csv", "no text"),
        (bytes(range(1, 256)) * 4, "t.csv", "no text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv", "utf-16-le"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-12], "t.csv.gz", "damaged"),
        (b"\x1f\x8bnot gzip at all", "t.csv.gz", "damaged"),
        (b"BZhnothing", "t.csv.bz2", "damaged"),
        (b"PK\x03\x04nothing", "t.zip", "damaged"),
        ("a,b\n1,2\n", "t.json", "kind '.json' are not read"),
        ("a,b\n1,2\n", "t.xlsx", "kind '.xlsx' are not read"),
    ],
)
def test_hostile_files(read, content, name, said):
    with pytest.raises(InputError, match=said) as caught:
        read(content, name)
    assert "to fix:" in str(caught.value)


def test_an_archive_of_two_tables(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    with pytest.raises(InputError, match=r"a\.csv, b\.csv"):
        read_table(tmp_path / "t.zip")


def test_paths_that_are_no_file(tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"no such file.*holds table\.csv"):
        read_table(tmp_path / "tabel.csv")
    with pytest.raises(InputError, match="this is a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize("bad", [{"delimiter": ",,"}, {"delimiter": ""}, {"decimal": ";"}])
def test_bad_options(read, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        read(TEXT, **bad)


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame({"a": []}), {}, np.empty((0, 2))])
def test_frames_without_rows_or_columns(table):
    with pytest.raises(InputError, match=r"no rows|no columns|needs columns"):
        read_table(table)
