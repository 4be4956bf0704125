"""What the loop tells people: which entries of its log are news, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.loop.clock import moment
from headrace.loop.policy import WEEK
from headrace.loop.report import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.store.loops import LogEntry

_MEANINGS = {
    "alarm": "a trigger found that the world has changed: drift, performance, or one of a plugin",
    "run_failed": "a run did not end well",
    "awaiting_approval": "a version waits for `headrace models approve`",
    "promoted": "a version became champion",
    "kept": "a run is over, and the champion stays",
    "rolled_back": "the version before is champion again",
    "budget_spent": "a run was due, and there is none left this week",
    "server_down": "the server of `[loop] server` does not answer, or serves another version",
    "plugin_hung": "a trigger, or a file that is read, does not come back",
    "problem": "something else keeps the loop from telling",
    "resolved": "a problem is over",
    "paused": "somebody stopped the loop",
    "resumed": "and lets it go on",
}
EVENTS = tuple(_MEANINGS)
"""What one can be told of, by the names that `events` takes."""
_CALM = frozenset({"schedule", "new_data", "first", "follow-up", "manual"})
"""What asks for a run in the ordinary course of things."""


@dataclass(frozen=True)
class Notice:
    """One piece of news. `of` is the number of the entry; with `event` it names the notice."""

    event: str
    of: int
    at: float
    subject: str
    text: str
    who: str
    version: int | None
    evidence: Mapping[str, Any]

    def document(self, project: str, model: str) -> dict[str, Any]:
        """What a notifier is given: JSON."""
        return {
            "id": f"{project}/{self.of}/{self.event}",
            "event": self.event,
            "project": project,
            "model": model,
            "version": self.version,
            "at": self.at,
            "time": f"{moment(self.at):%Y-%m-%dT%H:%M:%SZ}",
            "subject": f"{project}: {self.subject}",
            "text": self.text,
            "who": self.who,
            "seq": self.of,
            "evidence": dict(self.evidence),
        }


def notices_of(entry: LogEntry, uses: Mapping[str, str]) -> list[Notice]:
    """The news in an entry. `uses`: name of a trigger -> what it uses."""
    found = []
    for event, subject in _news(entry, uses):
        version = entry.body.get("version", entry.body.get("to"))
        number = version if isinstance(version, int) else None
        about = (sentence(entry), str(entry.body.get("by", entry.who)), number, entry.body)
        found.append(Notice(event, entry.seq, entry.at, subject, *about))
    return found


def _news(entry: LogEntry, uses: Mapping[str, str]) -> list[tuple[str, str]]:
    body, found = entry.body, list[tuple[str, str]]()
    match entry.kind:
        case "decided" | "held":
            names = [str(reason["trigger"]) for reason in body.get("reasons", ())]
            alarms = [name for name in names if uses.get(name, name) not in _CALM]
            if alarms:
                found.append(("alarm", f"alarm of {', '.join(alarms)}"))
            if body.get("rule") == "budget":
                found.append(("budget_spent", "a run was due, and the budget is spent"))
        case "waiting":
            found.append(("awaiting_approval", f"version {body['version']} waits for approval"))
        case "promoted":
            found.append(("promoted", f"version {body['version']} is champion"))
        case "moved" if body["moved_at"] >= entry.at - WEEK:
            rolled = body["action"] == "rollback"
            said = "rolled back to version" if rolled else "promoted by hand: version"
            found.append(("rolled_back" if rolled else "promoted", f"{said} {body['version']}"))
        case "rolled back":
            found.append(("rolled_back", f"rolled back to version {body['to']}"))
        case "ended" if body["outcome"] == "failed":
            found.append(("run_failed", "a run failed"))
        case "ended" if body["outcome"] != "promoted":
            found.append(("kept", f"the champion stays: {body['outcome']}"))
        case "problem" | "resolved":
            what = str(body.get("event", "problem"))
            event = "resolved" if entry.kind == "resolved" else what if what in EVENTS else "problem"
            titles = {"server_down": "the server is not well", "plugin_hung": f"{body['trigger']} hangs"}
            title = (
                f"over: {body['trigger']}"
                if event == "resolved"
                else titles.get(event, f"a problem: {body['trigger']}")
            )
            found.append((event, title))
        case "paused" | "resumed":
            found.append((entry.kind, f"the loop was {entry.kind}"))
    return found
