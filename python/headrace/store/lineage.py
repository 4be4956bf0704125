"""Lineage: what made an artifact, and what came of it."""

from __future__ import annotations

from typing import Any


class Lineage:
    def __init__(self, database: Any) -> None:
        self._database = database
