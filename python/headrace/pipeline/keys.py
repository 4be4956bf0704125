"""Cache keys: what a stage's result depends on, as one digest.

A key is SHA-256 over a canonical encoding in which every value carries its type and its length, so that no two
different inputs share an encoding: `1`, `"1"`, `1.0` and `True` differ, and so do `["ab", "c"]` and `["a", "bc"]`.
Mappings are encoded in the order of their keys. What goes in is listed by `Fingerprint`; `SCHEMA` changes whenever the
meaning of any of it does.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = 1


def canonical(value: Any) -> bytes:
    """The canonical encoding of a JSON value. Raises `TypeError` for anything else."""
    match value:
        case None:
            return b"n"
        case bool():
            return b"t" if value else b"f"
        case int():
            return _framed(b"i", str(value).encode())
        case float():
            return b"d" + struct.pack(">d", value)
        case str():
            return _framed(b"s", value.encode("utf-8", "surrogatepass"))
        case Mapping():
            items = sorted((str(k), v) for k, v in value.items())
            return _framed(b"m", b"".join(canonical(k) + canonical(v) for k, v in items))
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return _framed(b"l", b"".join(canonical(item) for item in value))
    msg = f"{type(value).__name__} has no canonical encoding; only JSON values have"
    raise TypeError(msg)


def digest(domain: str, value: Any) -> str:
    """SHA-256, in hex, of a JSON value; `domain` separates uses from one another."""
    return hashlib.sha256(canonical(domain) + canonical(value)).hexdigest()


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + len(body).to_bytes(8, "big") + body


@dataclass(frozen=True)
class Fingerprint:
    """All that a stage's outputs depend on, besides the contents of its inputs.

    `source`: module name -> digest of its source, for the transitive first-party imports of the implementation.
    `lock`: the Python ABI, and the version of each distribution that those modules import. `external`: what the stage
    says that it reads besides its inputs.
    """

    kind: str
    use: str
    distribution: str
    version: str
    config: Mapping[str, Any]
    source: Mapping[str, str]
    lock: Mapping[str, str]
    seed: int
    external: Any = None

    def components(self, inputs: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
        """The parts by name, as JSON; `inputs` are (name, type, content digest), in order."""
        return {
            "implementation": [self.kind, self.use, self.distribution, self.version],
            "config": dict(self.config),
            "source": dict(self.source),
            "lock": dict(self.lock),
            "seed": self.seed,
            "external": self.external,
            "inputs": [list(item) for item in inputs],
        }

    def key(self, inputs: Sequence[tuple[str, str, str]]) -> str:
        """The cache key for these inputs."""
        return digest("headrace/stage-key", {"schema": SCHEMA, **self.components(inputs)})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two `Fingerprint.components`, in words, most telling first."""
    found: list[str] = []
    if old.get("implementation") != new.get("implementation"):
        found.append(
            f"the implementation changed: {_joined(old['implementation'])} -> {_joined(new['implementation'])}"
        )
    found += _changed("config", old.get("config", {}), new.get("config", {}), show=True)
    found += _changed("source of", old.get("source", {}), new.get("source", {}), show=False)
    found += _changed("version of", old.get("lock", {}), new.get("lock", {}), show=True)
    if old.get("seed") != new.get("seed"):
        found.append(f"the seed changed: {old.get('seed')} -> {new.get('seed')}")
    if old.get("external") != new.get("external"):
        found.append("what it reads from outside changed")
    before = {name: digest_ for name, _, digest_ in old.get("inputs", [])}
    after = {name: digest_ for name, _, digest_ in new.get("inputs", [])}
    found += [f"input {name!r} changed" for name in after if before.get(name) != after[name]]
    found += [f"input {name!r} is gone" for name in before if name not in after]
    return found


def _joined(parts: Sequence[Any]) -> str:
    kind, use, distribution, version = parts
    return f"{kind}:{use} ({distribution} {version})".rstrip()


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any], *, show: bool) -> list[str]:
    found = []
    for key in sorted({*old, *new}):
        if key not in old:
            found.append(f"{what} {key} is new")
        elif key not in new:
            found.append(f"{what} {key} is gone")
        elif old[key] != new[key] or type(old[key]) is not type(new[key]):
            found.append(f"{what} {key} changed" + (f": {old[key]!r} -> {new[key]!r}" if show else ""))
    return found
