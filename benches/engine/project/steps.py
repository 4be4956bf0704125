"""No-op steps: each gives its input plus one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from headrace import ArtifactReader, ArtifactWriter, StageContext


@dataclass(frozen=True)
class Number:
    """A whole number."""

    type_name: ClassVar[str] = "number"
    value: int

    def save(self, to: ArtifactWriter) -> None:
        to.json("value", self.value)

    @classmethod
    def load(cls, source: ArtifactReader) -> Self:
        return cls(int(source.json("value")))


class Config(BaseModel):
    """Nothing to configure."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Start:
    """Gives 1."""

    Config = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, ctx: StageContext) -> Number:
        return Number(1)


class Step:
    """Gives its input plus one."""

    Config = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, ctx: StageContext, number: Number) -> Number:
        return Number(number.value + 1)
