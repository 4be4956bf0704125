"""The parts of one artifact on their way into the store and out of it: `ArtifactWriter` and `ArtifactReader`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.compute.hashing import frame_digest
from headrace.errors import ArtifactError, DataError
from headrace.store import frames
from headrace.types import JSON, FileReference, SupportsArrowStream

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.objects import Blob, Objects

INLINE_BYTES = 64 << 10
"""JSON parts below this size live in the database row: no file, no flush."""

Bytes = bytes  # `bytes` is also the name of a method below
_PART_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9]+)?")
_BYTES_FORMATS = frozenset(("onnx", "lightgbm", "html", "svg", "text", "binary"))
_JSON_FORMATS = frozenset(("json", "files"))
# A pickle with a protocol mark, a zip (what torch and skops pickle into), and joblib's compressed forms.
_PICKLES = (*(bytes((0x80, n)) for n in range(2, 6)), b"PK\x03\x04", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


@dataclass(frozen=True)
class Part:
    """One part, not yet in the store. `content` is its identity; `data` its bytes, or `keep` writes its file."""

    name: str
    format: str
    content: str
    data: bytes | None
    keep: Callable[[Objects], Blob] | None

    @property
    def is_inline(self) -> bool:
        """Whether it becomes a row and no file."""
        return self.format in _JSON_FORMATS and self.data is not None and len(self.data) < INLINE_BYTES


@dataclass(frozen=True)
class KeptPart:
    """One part in the store: `inline` holds its bytes where they are not an object."""

    name: str
    format: str
    content: str
    sha256: str
    size: int
    inline: bytes | None


class PartWriter:
    """Takes the parts of one artifact and works out what they are; writes nothing yet."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name
        self.parts: dict[str, Part] = {}

    @property
    def digest(self) -> str:
        """The artifact's identity: its type, and each part's name, sort and content, framed, in the order of names."""
        hashing = hashlib.sha256(b"headrace/artifact/1")
        _feed(hashing, self.type_name)
        for name in sorted(self.parts):
            part = self.parts[name]
            for text in (name, "frame" if part.format in ("parquet", "arrow") else part.format, part.content):
                _feed(hashing, text)
        return hashing.hexdigest()

    def json(self, name: str, value: JSON) -> None:
        self._json(name, "json", value)

    def bytes(self, name: str, data: bytes, *, format: str) -> None:  # noqa: A002  # the protocol's name
        if format not in _BYTES_FORMATS:
            raise self._refused(name, f"{format!r} is not a format", f"One of: {', '.join(sorted(_BYTES_FORMATS))}.")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise self._refused(name, f"{type(data).__name__} is not bytes", "Give bytes, or use `json` or `frame`.")
        copy = bytes(data)
        if copy.startswith(_PICKLES):
            raise self._refused(
                name, "these bytes look like a pickle or an archive of pickles", "Keep ONNX, LightGBM text, or JSON."
            )
        self._add(Part(name, format, _sha256(copy), copy, None))

    def frame(self, name: str, frame: SupportsArrowStream) -> None:
        made = frames.to_polars(frame, self._place(name))
        file_format = frames.format_of(made, self._place(name))
        try:
            content = frame_digest(made)
        except DataError as error:
            raise self._refused(name, f"the frame cannot be kept: {error}", "Cast that column, or drop it.") from error

        def keep(objects: Objects) -> Blob:
            return objects.put_written(lambda path: frames.write(made, path, file_format))

        self._add(Part(name, file_format, content, None, keep))

    def files(self, name: str, references: Sequence[FileReference]) -> None:
        self._json(name, "files", [{"path": r.path, "sha256": r.sha256, "size": r.size} for r in references])

    def _json(self, name: str, part_format: str, value: JSON) -> None:
        try:
            data = canonical_json(value)
        except (TypeError, ValueError) as error:
            raise self._refused(
                name, f"this is not JSON: {error}", "JSON has no NaN, no infinities, and no keys but strings."
            ) from error
        self._add(Part(name, part_format, _sha256(data), data, None))

    def _add(self, part: Part) -> None:
        if _PART_NAME.fullmatch(part.name) is None:
            raise self._refused(part.name, "this is not a name of a part", "Letters a-z, digits, _ and one dot.")
        if part.name in self.parts:
            raise self._refused(part.name, "there is a part of this name already", "Give each part its own name.")
        self.parts[part.name] = part

    def _place(self, name: str) -> str:
        return f"part {name!r:.100} of a {self.type_name}"

    def _refused(self, name: str, message: str, hint: str) -> ArtifactError:
        return ArtifactError(message, place=self._place(name), hint=hint)


def keep_part(part: Part, objects: Objects) -> KeptPart:
    """Put a part into the store; a small JSON part becomes a row and no file."""
    if part.keep is not None:
        blob = part.keep(objects)
    else:
        data = part.data or b""
        if part.is_inline:
            return KeptPart(part.name, part.format, part.content, part.content, len(data), data)
        blob = objects.put_bytes(data)
    return KeptPart(part.name, part.format, part.content, blob.sha256, blob.size, None)


class PartReader:
    """Gives back the parts of one artifact, each checked as it is read. Works after the store closed."""

    def __init__(self, parts: Mapping[str, KeptPart], objects: Objects, place: str) -> None:
        self._parts = parts
        self._objects = objects
        self._place = place

    def json(self, name: str) -> Any:
        return json.loads(self._bytes(self._part(name, _JSON_FORMATS)))

    def bytes(self, name: str) -> bytes:
        return self._bytes(self._part(name, _BYTES_FORMATS))

    def frame(self, name: str) -> pl.DataFrame:
        part = self._part(name, frozenset(("parquet", "arrow")))
        return frames.read(self._objects.open_path(part.sha256))

    def files(self, name: str) -> tuple[FileReference, ...]:
        entries = json.loads(self._bytes(self._part(name, frozenset(("files",)))))
        return tuple(FileReference(str(e["path"]), str(e["sha256"]), int(e["size"])) for e in entries)

    def has(self, name: str) -> bool:
        return name in self._parts

    def _part(self, name: str, formats: frozenset[str]) -> KeptPart:
        part = self._parts.get(name)
        if part is None:
            raise ArtifactError(
                f"the artifact has no part {name!r}",
                place=self._place,
                hint=f"It has: {', '.join(sorted(self._parts)) or 'none'}.",
            )
        if part.format not in formats:
            raise ArtifactError(f"part {name!r} is {part.format}, and was read as something else", place=self._place)
        return part

    def _bytes(self, part: KeptPart) -> Bytes:
        if part.inline is None:
            return self._objects.read(part.sha256)
        if not inline_is_whole(part):
            raise ArtifactError(
                f"part {part.name!r} is damaged in the database",
                place=self._place,
                hint="Run again to make it anew; `headrace store fsck` checks everything.",
            )
        return part.inline


def inline_is_whole(part: KeptPart) -> bool:
    """Whether the bytes in the row are those that were put there."""
    return part.inline is not None and _sha256(part.inline) == part.sha256


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, without spaces, in UTF-8. Raises `TypeError` or `ValueError` for what JSON cannot say."""
    _check_keys(value)
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode("utf-8")


def _check_keys(value: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _feed(hashing: Any, text: str) -> None:
    data = text.encode()
    hashing.update(len(data).to_bytes(8, "big"))
    hashing.update(data)
