"""Whether the server that `[loop] server` names answers, and with the champion."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from headrace.loop import state as words
from headrace.loop.bounded import SERVER
from headrace.registry.names import CHAMPION

if TYPE_CHECKING:
    from headrace.loop.controller import Controller

PATIENCE = 2.0
"""Seconds for each answer."""


def ailing(url: str, model: str, champion: int | None) -> str | None:
    """What is wrong with a server, or None: it does not answer, or is not ready to answer with the champion.

    Asked as the Open Inference Protocol asks, by what needs no key.
    """
    path = f"/v2/models/{quote(model, safe='')}/versions/{champion}/ready" if champion else "/v2/health/ready"
    try:
        status = _asked(url, path)
        if status != 200 and champion and _asked(url, "/v2/health/live") == 200:
            return f"it answers, but does not serve version {champion} of {model}, the champion"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"it does not answer: {error or type(error).__name__}"
    return None if status == 200 else f"it answers {status} when asked whether it is ready"


def _asked(url: str, path: str) -> int:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path + path)
        return connection.getresponse().status
    finally:
        connection.close()


@dataclass
class Health:
    """Looks at the server of one project's loop, and writes down when it is not well and when it is again."""

    controller: Controller

    @classmethod
    def of(cls, controller: Controller) -> Health:
        """For the loop of this controller."""
        return cls(controller)

    def look(self) -> None:
        """Ask once."""
        controller = self.controller
        url, place = controller.policy.server, controller.place
        problems = {key: found for key, found in controller.state.problems.items() if found.what == SERVER}
        if url is None and not problems:
            return
        why = None if url is None else ailing(url, place.model, place.registry.aliased(place.model, CHAMPION))
        if why is not None and not problems:
            # Each look may find it unwell in another way, and it is the same incident.
            key = f"{SERVER}: {why}"
            controller.say(words.PROBLEM, {"key": key, "trigger": SERVER, "error": why, "event": "server_down"})
        for key, found in problems.items() if why is None else ():
            body = {"key": key, "trigger": SERVER, "error": found.said, "since": found.seq}
            controller.say(words.RESOLVED, body)
