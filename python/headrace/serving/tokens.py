"""Tokens: who may ask a server what, kept in a file by their hashes. The server reads that file again as it changes."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import InvalidNameError, NotFoundError, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCOPES = ("predict", "observe", "admin")
"""What a token may allow: predictions and what a client must know to ask for them, `/metrics`, and everything."""

FILE = "tokens.json"
"""What the file is called beside a store."""

_FORMAT = 1
_PREFIX = "hrt_"
_BYTES = 32
_MOST = 1000
_LONGEST = 3650 * 86_400.0
_FORGET = 90 * 86_400.0
"""Seconds after its end in which a token is still listed; the next change of the file drops it then."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATIENCE = 10.0


@dataclass(frozen=True)
class Token:
    """What is known of a token; never the token itself.

    Attributes
    ----------
    id
        Eight hexadecimal digits, which name it and say nothing about it.
    name
        Whose it is, or what for; no two that are valid have the same.
    scopes
        Some of `SCOPES`.
    created, expires, revoked
        Seconds since 1970 in UTC.

    """

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    created: int
    expires: int
    revoked: int | None = None

    def state(self, now: float | None = None) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.expires > (time.time() if now is None else now) else "expired"


def create(
    path: Path, name: str, *, scopes: Sequence[str], seconds: float, now: float | None = None
) -> tuple[Token, str]:
    """Make a token, which is valid for so many seconds, and the file where there is none.

    Gives what is kept of it, and the token, which nobody can show again.

    Raises
    ------
    InvalidNameError
        The name cannot be one, or a valid token has it.
    ServingError
        The scopes, the time or the file are not as they must be.
    StoreError
        The file cannot be written.

    """
    now = time.time() if now is None else now
    if _NAME.fullmatch(name) is None:
        hint = "Up to 64 letters, digits, dots, dashes and underscores; the first a letter or a digit."
        raise InvalidNameError(f"{name!r} cannot be the name of a token", place="NAME", hint=hint)
    wrong = [scope for scope in scopes if scope not in SCOPES]
    if wrong or not scopes:
        found = repr(wrong[0]) if wrong else "none"
        raise ServingError(f"the scope is {found}, expected {', '.join(SCOPES)}", place="scope")
    if not 1 <= seconds <= _LONGEST:
        raise ServingError(f"a token cannot be valid for {seconds:g} s, expected 1 s to ten years", place="expires")
    with _changing(path):
        before = read(path) if path.exists() else []
        valid = [token for token in before if token.state(now) == "valid"]
        if any(token.name == name for token in valid):
            hint = f"Choose another name, or revoke it: `headrace tokens revoke {name}`."
            raise InvalidNameError(f"there is a valid token of the name {name!r}", place=str(path), hint=hint)
        if len(valid) >= _MOST:
            raise ServingError(f"there are {_MOST} valid tokens, which is the most", place=str(path))
        ended = [token for token in before if token.state(now) != "valid"]
        ended = [token for token in ended if now - (token.revoked or token.expires) < _FORGET][-_MOST:]
        secret = _PREFIX + secrets.token_urlsafe(_BYTES)
        made = Token(
            id=secrets.token_hex(4),
            name=name,
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            created=int(now),
            expires=int(now + seconds),
        )
        _write(path, [*ended, *valid, made])
    return made, secret


def revoke(path: Path, which: str, *, now: float | None = None) -> Token:
    """Take a token back, by its name or its id. One that is revoked already stays as it is.

    Raises `NotFoundError` where there is none, `ServingError` where the file is damaged, and `StoreError` where it
    cannot be written.
    """
    now = time.time() if now is None else now
    with _changing(path):
        tokens = read(path)
        named = [token for token in tokens if which in (token.id, token.name)]
        if not named:
            known = ", ".join(token.name for token in tokens if token.state(now) == "valid")
            hint = f"Those that are valid: {known}." if known else "No token is valid."
            raise NotFoundError(f"there is no token {which!r}", place=str(path), hint=hint)
        # A name may be that of one that has ended and of one that is valid; the id comes first.
        found = min(named, key=lambda token: (token.id != which, token.state(now) != "valid", -token.created))
        if found.revoked is not None:
            return found
        gone = replace(found, revoked=int(now))
        _write(path, [gone if token.id == found.id else token for token in tokens])
    return gone


def read(path: Path) -> list[Token]:
    """All the tokens of a file. Raises `NotFoundError` where there is none, `ServingError` where it is damaged."""
    try:
        document = json.loads(path.read_bytes())
        if document["format_version"] != _FORMAT:
            found = document["format_version"]
            raise ServingError(f"the file of tokens has the format {found}, expected {_FORMAT}", place=str(path))
        return [_token(entry) for entry in document["tokens"]]
    except FileNotFoundError:
        hint = "`headrace tokens create NAME` makes one, and the file."
        raise NotFoundError("there is no file of tokens", place=str(path), hint=hint) from None
    except OSError as error:
        raise ServingError(f"the file of tokens cannot be read: {error.strerror}", place=str(path)) from error
    except (ValueError, KeyError, TypeError):
        # What stands there is not shown.
        hint = "Take it from a backup, or delete it and make the tokens anew."
        raise ServingError("is no file of tokens", place=str(path), hint=hint) from None


def _token(entry: dict[str, Any]) -> Token:
    token = Token(**{**entry, "scopes": tuple(entry["scopes"])})
    numbers = (token.created, token.expires, 0 if token.revoked is None else token.revoked)
    texts = (token.id, token.name, token.sha256)
    if not all(isinstance(one, int) for one in numbers) or not all(isinstance(one, str) for one in texts):
        raise TypeError
    if re.fullmatch(r"[0-9a-f]{64}", token.sha256) is None or not set(token.scopes) <= set(SCOPES):
        raise ValueError
    return token


def _write(path: Path, tokens: list[Token]) -> None:
    from headrace.store.durable import explained, replace_file

    document = {"format_version": _FORMAT, "tokens": [vars(token) for token in tokens]}
    with explained(path, "write the tokens"):
        replace_file(path, (json.dumps(document, indent=2) + "\n").encode(), private=True)


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Two that change the file at once do it one after the other."""
    from headrace.store.locks import FileLock

    end = time.monotonic() + _PATIENCE

    def check() -> None:
        if time.monotonic() > end:
            raise ServingError("somebody else has been changing the tokens for ten seconds", place=str(path))

    if not path.parent.is_dir():
        raise NotFoundError("there is no such folder", place=str(path.parent), hint="Make it first.")
    lock = FileLock.acquire(path.with_name(f".{path.name}.lock"), check)
    try:
        yield
    finally:
        lock.release()
