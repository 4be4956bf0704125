"""Which format a file has: by its first bytes from a closed list; only text has none, and goes by its name.

Pickles are refused whatever the file is called, and so is every container that could hold one. Nothing here, and
nothing that comes after, would execute them; the refusal says early and clearly that they are not data.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from headrace.errors import DataError

Format = Literal["parquet", "ipc", "ipc-stream", "csv", "ndjson"]
Compression = Literal["none", "gzip", "zstd"]

SNIFF = 64 * 1024
_EXTENSIONS: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_STATED_TEXT: dict[str | None, Format] = {"csv": "csv", "ndjson": "ndjson"}
_COMPRESSED = (".gz", ".zst")
_BINARY_EXTENSIONS: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".ipc": "ipc", ".feather": "ipc", ".arrows": "ipc-stream",
}  # fmt: skip
_REFUSED = (
    (b"PK\x03\x04", "a zip archive (an Excel workbook, a saved NumPy or PyTorch object)"),
    (b"PARE", "an encrypted Parquet file"),
    (b"FEA1", "a Feather file of version 1"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"%PDF", "a PDF"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"x\x9c", "a zlib stream (perhaps a joblib file)"),
    (b"x\xda", "a zlib stream (perhaps a joblib file)"),
    (b"x\x01", "a zlib stream (perhaps a joblib file)"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HINT = "Give a Parquet, Arrow IPC, CSV or NDJSON file."


@dataclass(frozen=True)
class Sniffed:
    """The format of a file, and whether its text is compressed."""

    format: Format
    compression: Compression = "none"


def sniff(path: Path, *, shown: str, stated: str | None = None) -> Sniffed:
    """The format of the file at `path`; `shown` names it in messages; `stated` is what the person says that it is.

    Raises `DataError` for an empty file, a pickle, an unknown or refused format, a truncated Parquet file, and where
    the bytes contradict `stated` or, for a binary format, the file's name.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(SNIFF)
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(max(0, size - 8))
            tail = stream.read(8)
    except OSError as error:
        raise DataError(
            f"cannot read the file: {error.strerror}",
            place=shown,
            hint="Check that it exists and that you may read it.",
        ) from error
    if not head:
        raise DataError("the file is empty", place=shown, hint="Check how it was written.")
    refuse_pickle(head, whole=size <= len(head), tail=tail, shown=shown)
    binary = _by_magic(head, tail, size, shown)
    if binary is not None:
        if stated not in (None, binary) and not (stated == "ipc" and binary == "ipc-stream"):
            raise DataError(
                f"`format` says {stated}, and the file is {_spoken(binary)}", place=shown, hint="Leave `format` out."
            )
        return Sniffed(binary)
    compression: Compression = "none"
    if head.startswith(b"\x1f\x8b"):
        compression, head = "gzip", _gunzip(path, shown)
        refuse_pickle(head, whole=len(head) < SNIFF, tail=head[-8:] if len(head) < SNIFF else b".", shown=shown)
        _refuse_known(head, shown)
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        compression, head = "zstd", b""
    return Sniffed(_text_format(path, head, stated, shown), compression)


def _by_magic(head: bytes, tail: bytes, size: int, shown: str) -> Format | None:
    if head.startswith(b"PAR1"):
        if size < 12 or not tail.endswith(b"PAR1"):
            raise DataError(
                "the Parquet file is truncated: it does not end with PAR1", place=shown, hint="Write or copy it again."
            )
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "ipc"
    if head.startswith(b"\xff\xff\xff\xff"):
        return "ipc-stream"
    _refuse_known(head, shown)
    return None


def _refuse_known(head: bytes, shown: str) -> None:
    for magic, what in _REFUSED:
        if head.startswith(magic):
            raise DataError(f"the file is {what}", place=shown, hint=_HINT)
    if head.startswith(_UTF16):
        raise DataError(
            "the text is UTF-16, and must be UTF-8", place=shown, hint="Convert it: iconv -f utf-16 -t utf-8 OLD > NEW"
        )


def _text_format(path: Path, head: bytes, stated: str | None, shown: str) -> Format:
    """Text has no magic: what is stated or the extension decides, after a look that it is text at all."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    named = _BINARY_EXTENSIONS.get(suffix)
    if named or stated in ("parquet", "ipc"):
        says = f"is called {suffix}" if named else f"is said to be {stated} by `format`"
        raise DataError(
            f"the file {says}, but begins with {head[:8]!r}",
            place=shown,
            hint="Check how it was written, or give it the name and format that fit.",
        )
    if b"\x00" in head:
        raise DataError(
            f"the file is binary and of no known format: it begins with {head[:8]!r}", place=shown, hint=_HINT
        )
    if stated in _STATED_TEXT:
        return _STATED_TEXT[stated]
    if suffix in _EXTENSIONS:
        return _EXTENSIONS[suffix]
    what = f"the extension {suffix!r}" if suffix else "no extension"
    raise DataError(
        f"the file is text with {what}, and text does not say what it is",
        place=shown,
        hint='Call it .csv, .tsv, .ndjson or .jsonl, or set `format = "csv"` or `format = "ndjson"`.',
    )


def _spoken(format_: Format) -> str:
    return {
        "parquet": "Parquet",
        "ipc": "Arrow IPC",
        "ipc-stream": "an Arrow IPC stream",
        "csv": "CSV",
        "ndjson": "NDJSON",
    }[format_]


def open_unpacked(path: Path, compression: Compression) -> IO[bytes]:
    """The bytes of a text file, unpacked if it is gzip. zstd is not for Python to read before 3.14."""
    return cast("IO[bytes]", gzip.open(path)) if compression == "gzip" else path.open("rb")


def _gunzip(path: Path, shown: str) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read(SNIFF)
    except (OSError, EOFError) as error:
        raise DataError(f"the gzip file is damaged: {error}", place=shown, hint="Copy it again.") from error


# --- pickles ----------------------------------------------------------------------------------------------------------

_NO_ARGUMENT = frozenset(b"()]}N.012abdelostuQR")
_ONE_LINE = frozenset(b"ILFSVPpg")
_TWO_LINES = frozenset(b"ci")
_FIXED = {ord("K"): 1, ord("q"): 1, ord("h"): 1, ord("M"): 2, ord("J"): 4, ord("j"): 4, ord("r"): 4, ord("G"): 8}
_COUNTED = {ord("U"): 1, ord("T"): 4, ord("X"): 4, ord("B"): 4, ord("C"): 1}


def refuse_pickle(head: bytes, *, whole: bool, tail: bytes, shown: str) -> None:
    """Raise `DataError` if the bytes are a pickle of any protocol.

    Protocols 2 and up begin with an opcode that says so. Protocols 0 and 1 are told by their grammar: the file, or its
    first 64 KiB, is a sequence of their opcodes and, as far as can be seen, ends with STOP.
    """
    if is_pickle(head, whole=whole, tail=tail):
        raise DataError(
            "the file is a pickle, which can run code when it is opened; headrace reads none",
            place=shown,
            hint="Write the data as Parquet, for instance with `frame.to_parquet(...)`.",
        )


def is_pickle(head: bytes, *, whole: bool, tail: bytes) -> bool:
    """Whether `head` (the `whole` file, or its beginning) is a pickle; `tail` is how the file ends."""
    if len(head) >= 2 and head[0] == 0x80 and head[1] <= 16:
        return True
    if not tail.rstrip(b"\r\n").endswith(b"."):
        return False
    at, count = 0, 0
    while at < len(head):
        opcode = head[at]
        if opcode == ord("."):
            return count > 0 and not head[at + 1 :].strip() if whole else False
        step = _length(head, at)
        if step is None:
            # Cut off in the middle of an argument: what was seen so far must convince.
            return not whole and count >= 3 and _cut(head, at)
        at += step
        count += 1
    return not whole


def _length(data: bytes, at: int) -> int | None:
    """Bytes of the instruction at `at`; None if there is no such opcode, or if its argument is cut off."""
    opcode = data[at]
    if opcode in _NO_ARGUMENT:
        return 1
    if opcode in _FIXED:
        size = 1 + _FIXED[opcode]
    elif opcode in _COUNTED:
        width = _COUNTED[opcode]
        size = 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "little")
    elif opcode in _ONE_LINE or opcode in _TWO_LINES:
        end = at
        for _ in range(2 if opcode in _TWO_LINES else 1):
            end = data.find(b"\n", end + 1)
            if end < 0:
                return None
        size = end + 1 - at
    else:
        return None
    return size if at + size <= len(data) else None


def _cut(data: bytes, at: int) -> bool:
    opcode = data[at]
    return opcode in _FIXED or opcode in _COUNTED or opcode in _ONE_LINE or opcode in _TWO_LINES
