"""Secrets by reference: `env:NAME` or `file:PATH`. The value is read when it is used, and kept nowhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from headrace import errors

_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
MOST_BYTES = 65_536


def is_reference(text: str) -> bool:
    """Whether a text says where a secret is."""
    return text.startswith(("env:", "file:"))


def reference(text: str, info: ValidationInfo) -> str:
    """The reference with a whole path. `ValueError`, without the text, for what is none: it may be the secret."""
    if text.startswith("env:"):
        if _VARIABLE.fullmatch(text) is None:
            raise ValueError("after `env:` stands the name of an environment variable")
        return text
    if not text.startswith("file:") or text == "file:":
        raise ValueError("write where the secret is, env:NAME or file:PATH, and not the secret itself")
    folder = (info.context or {}).get("folder", Path())
    return f"file:{(folder / text.removeprefix('file:')).resolve()}"


SecretReference = Annotated[str, AfterValidator(reference)]


def read(where: str) -> str:
    """What a reference stands for, without the line's end. `ConfigError` where it is not there, or is empty."""
    kind, _, name = where.partition(":")
    if kind == "env":
        value, what = os.environ.get(name), f"the environment variable {name}"
    else:
        what = f"the file {name}"
        try:
            with Path(name).open("rb") as stream:
                value = stream.read(MOST_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.ConfigError(f"{what} cannot be read: {getattr(error, 'strerror', 'no UTF-8')}") from None
    if value is None or not value.strip():
        raise errors.ConfigError(f"{what} is {'not set' if value is None else 'empty'}")
    return value.rstrip("\r\n")
