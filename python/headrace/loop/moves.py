"""Promotions and roll backs that the loop did not do: a person moved the alias, or `headrace run` did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.registry.names import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.loop.state import State
    from headrace.registry import Registry

OWN = "Loop, cycle "
"""How the reason of each move begins that the loop does."""


def moves_of(registry: Registry, model: str) -> int:
    """How often the champion changed."""
    return len(registry.history(model, CHAMPION))


def by_others(registry: Registry, model: str, state: State) -> Iterator[dict[str, Any]]:
    """Bodies of entries for the moves of the champion that others did and the log does not know, oldest first.

    `move`: its number, from 1 on, by which each is written down once; those from before the loop began are not.
    """
    for number, move in enumerate(reversed(registry.history(model, CHAMPION)), start=1):
        known = number <= state.moves if state.moves is not None else move.at <= (state.begun_at or 0.0)
        if known or move.why.startswith(OWN):
            continue
        yield {
            "move": number,
            "version": move.version,
            "previous": move.previous,
            "action": move.action,
            "by": move.who,
            "why": move.why[:1000],
            "run": move.run_id,
            "moved_at": move.at,
        }
