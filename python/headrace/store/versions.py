"""Versions."""

from __future__ import annotations

from typing import Any


class Versions:
    def __init__(self, database: Any, objects: Any) -> None:
        self._database = database
