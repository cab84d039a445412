"""From a path or standard input to plain bytes: compression, encoding, and clear words where there is no table."""

from __future__ import annotations

import bz2
import codecs
import gzip
import importlib.util
import io
import lzma
import sys
import zipfile
import zlib
from pathlib import Path

from softwood.core import InputError, MissingExtraError, require

TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".tab",
    ".txt",
    ".dat",
    ".data",
    ".psv",
    ".parquet",
    ".pq",
    ".feather",
    ".arrow",
    ".ipc",
)
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip", ".zst")
ALLOWED = "CSV, TSV, Parquet or Feather, plain or packed (.gz .bz2 .xz .zip .zst), or - for standard input"

_MARKS = (  # longest first: the mark of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 26}) + b"\x7f"
_MOST_CONTROL = 0.001  # share of control characters above which bytes are no text


def read_bytes(source: str | Path) -> bytes:
    """Read a file, or standard input for ``"-"``, and unpack it. What it is packed with is told from its content.

    Args:
        source: path, or ``"-"``.

    Returns:
        The unpacked bytes; never empty.

    Raises:
        InputError: no such file, a directory, no permission, an unknown kind of file, empty, or damaged.
        MissingExtraError: packed with zstd, and nothing that unpacks it is installed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "t.csv.gz"
        >>> _ = path.write_bytes(gzip.compress(b"a,b"))
        >>> read_bytes(path)
        b'a,b'
    """
    name = "standard input" if str(source) == "-" else str(source)
    packed = sys.stdin.buffer.read() if str(source) == "-" else _read_file(Path(source))
    try:
        content = _unpack(packed, name)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        if isinstance(error, (InputError, MissingExtraError)):
            raise
        raise InputError(
            "the file is damaged: it cannot be unpacked",
            got=f"{name} ({error})",
            allowed=ALLOWED,
            fix="copy or download it again, or unpack it yourself",
        ) from None
    if not content.strip():
        raise InputError("the table is empty", got=f"no bytes in {name}", allowed=ALLOWED, fix="check what wrote it")
    return content


def to_utf8(content: bytes, name: str, encoding: str | None = None) -> tuple[bytes, str]:
    r"""Turn text of any encoding into UTF-8.

    Without ``encoding``: a byte order mark decides, then UTF-8 if the bytes are valid UTF-8, else cp1252 (and
    latin-1 where cp1252 has no such character).

    Args:
        content: the bytes of a text file.
        name: of the file, for the messages.
        encoding: Python's name of an encoding, or None to detect it.

    Returns:
        The text in UTF-8 without a mark, and the name of the encoding that it was in.

    Raises:
        InputError: the bytes are no text, or not in ``encoding``, or there is no such encoding.

    Cost: O(bytes).

    Example:
        >>> to_utf8("é".encode("cp1252"), "t.csv")
        (b'\xc3\xa9', 'cp1252')
    """
    if encoding is None:
        encoding = next((label for mark, label in _MARKS if content.startswith(mark)), None)
        if encoding is None:
            _check_is_text(content, name)
            encoding = next(label for label in ("utf-8", "cp1252", "latin-1") if _decodes(content, label))
    try:
        text = content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(
            f"the file is not in the encoding {encoding!r}",
            got=f"{name} ({error})",
            allowed="utf-8, utf-16, cp1252, latin-1 or another that Python knows",
            fix="leave encoding out, so that it is detected",
        ) from None
    return text.removeprefix("\ufeff").encode("utf-8", "replace"), encoding


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _check_is_text(content: bytes, name: str) -> None:
    zeros = content.count(0)
    control = len(content) - len(content.translate(None, delete=_CONTROL))
    if not zeros and control <= _MOST_CONTROL * len(content):
        return
    fix = "save it as CSV (in a spreadsheet: File, Save as, CSV)"
    if zeros > len(content) / 4:  # every second byte of Latin text in UTF-16
        fix = "if this is UTF-16, pass encoding='utf-16-le'; else save it as CSV"
    raise InputError("these bytes are no text", got=f"{name}, which begins {content[:12]!r}", allowed=ALLOWED, fix=fix)


def _read_file(path: Path) -> bytes:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix not in PACKED_SUFFIXES), "")
    if path.is_dir():
        raise InputError("this is a directory", got=str(path), allowed=ALLOWED, fix="name one file in it")
    if not path.exists():
        near = sorted(entry.name for entry in path.parent.glob(f"{path.stem[:3]}*"))[:5] if path.parent.is_dir() else []
        fix = f"check the path; that folder holds {', '.join(near)}" if near else "check the path"
        raise InputError("there is no such file", got=str(path), allowed=ALLOWED, fix=fix)
    if kind and kind not in TABLE_SUFFIXES and not kind[1:].isdigit():
        raise InputError(
            f"files of kind {kind!r} are not read",
            got=str(path),
            allowed=ALLOWED,
            fix="convert it to CSV or Parquet; if it is text with delimiters, rename it to .csv",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "the file cannot be read", got=f"{path} ({error.strerror})", allowed=ALLOWED, fix="check its permissions"
        ) from None


def _unpack(packed: bytes, name: str) -> bytes:
    if packed.startswith(b"\x1f\x8b"):
        return gzip.decompress(packed)
    if packed.startswith(b"BZh"):
        return bz2.decompress(packed)
    if packed.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(packed)
    if packed.startswith(b"PK\x03\x04"):
        return _unpack_zip(packed, name)
    if packed.startswith(b"\x28\xb5\x2f\xfd"):
        return _unpack_zstd(packed)
    return packed


def _unpack_zip(packed: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
        if len(members) != 1:
            held = ", ".join(info.filename for info in members[:5]) or "nothing"
            raise InputError(
                "the archive has to hold one table",
                got=f"{name} with {held}",
                allowed="one file",
                fix="unpack it and name the table; if it is a workbook, save the sheet as CSV",
            )
        return archive.read(members[0])


def _unpack_zstd(packed: bytes) -> bytes:
    if importlib.util.find_spec("zstandard") is not None:
        content: bytes = require("zstandard", "parquet").ZstdDecompressor().decompressobj().decompress(packed)
        return content
    arrow = require("pyarrow", "parquet")
    with arrow.input_stream(arrow.BufferReader(packed), compression="zstd") as stream:
        return bytes(stream.read())
