"""What a server is asked to offer: endpoints, and the versions that are behind each as long as aliases say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.serving.server import KEY

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A version by number, or by an alias, which is followed; or an ONNX file."""

    model: str
    which: str | int | Path

    def __str__(self) -> str:
        return str(self.which) if not isinstance(self.which, str | int) else f"{self.model}@{self.which}"


@dataclass(frozen=True)
class Route:
    """An endpoint: who gets how many of its requests, who is only tried on them, and which header decides.

    Parameters
    ----------
    endpoint
        The name that clients ask.
    weights
        How many requests each target gets, against the others.
    shadows
        Targets that compute the same requests after the answer has left, and are compared.
    key
        The header whose value decides who gets which version.

    """

    endpoint: str
    weights: tuple[tuple[Target, int], ...]
    shadows: tuple[Target, ...] = ()
    key: str = KEY

    @property
    def targets(self) -> tuple[Target, ...]:
        """All of them."""
        return (*(target for target, _ in self.weights), *self.shadows)
