"""What the status screen and the timeline show, as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.loop.clock import moment
from headrace.loop.mailbox import Mailbox, mailboxes
from headrace.loop.policy import WEEK
from headrace.loop.state import NOT_NOTIFIED, NOTIFIED, NOTIFYING, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.loop.policy import LoopPolicy
    from headrace.loop.state import State
    from headrace.registry import Registry
    from headrace.store.loops import LogEntry, Loops

_BEHIND = 60.0
POSTAL = frozenset({NOTIFYING, NOTIFIED, NOT_NOTIFIED})
"""Entries that say what became of news, and nothing else."""


def sentence(entry: LogEntry) -> str:
    """An entry in a line."""
    body = entry.body
    match entry.kind:
        case "begun":
            return "the loop began"
        case "requested" | "paused" | "resumed":
            reason = body.get("reason")
            return f"{reason}" if reason else "by hand"
        case "approved" | "rejected":
            return f"version {body['version']}" + (f": {body['reason']}" if body.get("reason") else "")
        case "held":
            return f"{body['why']} (fired: {', '.join(body['triggers'])})"
        case "problem":
            return f"{body['trigger']}: {body['error']}"
        case "decided":
            rows = body["data"].get("rows")
            why = "; ".join(f"{reason['trigger']}: {reason['why']}" for reason in body["reasons"])
            return why + (f" ({rows:,} rows)" if rows is not None else "")
        case "trained":
            passed = "passed the gate" if body["passed"] else "did not pass the gate"
            made = f"version {body['version']}, which {passed}" if body["version"] else body["status"]
            return f"run {body['run']}: {made}"
        case "waiting":
            return f"version {body['version']} waits for somebody to approve of it"
        case "promoting" | "promoted":
            was = body.get("expected", body.get("previous"))
            return f"version {body['version']}" + (f" in place of {was}" if was is not None else "")
        case "rolling back" | "rolled back":
            return f"from version {body['from']} to {body['to']}: {body['why']}"
        case "ended":
            return f"{body['outcome']}: {body['why']}"
        case "moved":
            was = f" in place of {body['previous']}" if body["previous"] is not None else ""
            how = "rolled back" if body["action"] == "rollback" else "promoted"
            return f"version {body['version']}{was} was {how} by {body['by']}: {body['why']}"
        case "resolved":
            return f"{body['trigger']}: {body['error']}"
        case "notifying":
            return f"{body['notifier']}, of what follows entry {body['after']}"
        case "notified":
            remark = f": {body['remark']}" if body.get("remark") else ""
            return f"{body['notifier']} of {body['event']}, entry {body['of']}{remark}"
        case "not notified":
            again = f"again after {moment(body['until']):%Y-%m-%d %H:%M} UTC" if body["until"] else "given up"
            return f"{body['notifier']} of {body['event']}, entry {body['of']}: {body['error']} ({again})"
    return ""


def incidents(entries: Sequence[LogEntry], *, open_only: bool = False) -> list[dict[str, Any]]:
    """What went wrong, oldest first: `since` and `until` (None: it is not over) in seconds since the epoch.

    A problem lasts until the loop writes that it is over; a run that failed, until another one ends otherwise.
    """
    found: list[dict[str, Any]] = []
    opened: dict[str, dict[str, Any]] = {}

    def close(key: str, entry: LogEntry) -> None:
        if key in opened:
            opened.pop(key).update(until=entry.at, closed_by=entry.seq)

    def open_(key: str, entry: LogEntry, what: str, said: str) -> None:
        if key not in opened:
            one = {"seq": entry.seq, "what": what, "said": said, "since": entry.at, "until": None, "closed_by": None}
            opened[key] = one
            found.append(one)

    for entry in entries:
        body = entry.body
        match entry.kind:
            case "problem":
                open_(f"problem {body['key']}", entry, str(body["trigger"]), str(body["error"]))
            case "resolved":
                close(f"problem {body['key']}", entry)
            case "ended" if body["outcome"] == "failed":
                close("run", entry)
                open_("run", entry, "run", f"cycle {body['cycle']} failed: {body['why']}")
            case "trained" if body["status"] == "succeeded" and body["version"] is not None:
                close("run", entry)
            case "not notified":
                open_(f"notifier {body['notifier']}", entry, f"notifier {body['notifier']}", str(body["error"]))
            case "notified":
                close(f"notifier {body['notifier']}", entry)
    return [one for one in found if one["until"] is None] if open_only else found


def notifiers_of(entries: Sequence[LogEntry], policy: LoopPolicy) -> list[dict[str, Any]]:
    """Each notifier of the policy: what is to be sent again, when, what was given up, and the last error."""
    boxes = mailboxes(entries)
    found = []
    for name, table in sorted(policy.notify.items()):
        box = boxes.get(name, Mailbox(0))
        asked = table.get("events")
        events = [str(one) for one in asked] if isinstance(asked, list | tuple) else None
        found.append(
            {
                "name": name,
                "use": str(table.get("use", name)),
                "waiting": len(box.waiting(events)),
                "again_at": box.until(events),
                "given_up": box.given_up,
                "last_error": box.last_error,
            }
        )
    return found


def entry_document(entry: LogEntry) -> dict[str, Any]:
    """An entry for machines."""
    return {
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.kind,
        "who": entry.who,
        "what": sentence(entry),
        "body": dict(entry.body),
        "hash": entry.hash,
    }


def status_of(
    project: str, model: str, policy: LoopPolicy, loops: Loops, registry: Registry, *, now: float, last: int = 8
) -> dict[str, Any]:
    """One screen: who is champion, what the loop does, what speaks against a run, what was done last."""
    entries = loops.entries(project)
    state = fold(entries)
    used = len([at for at in state.decided if at > now - WEEK])
    moves = registry.history(model, "champion")
    clock = state.last_at - now
    return {
        "project": project,
        "model": model,
        "champion": registry.aliased(model, "champion"),
        "champion_since": moves[0].at if moves else None,
        "doing": _doing(state),
        "working_on": loops.working(project),
        "paused": state.paused,
        "cycle": state.cycle.number if state.cycle else None,
        "asked_for": [reason for _, reason in state.requests],
        "held": dict(state.held) if state.held else None,
        "problems": sorted(state.problems),
        "incidents": [one for one in incidents(entries, open_only=True) if _asked_for(one, policy)],
        "notifiers": notifiers_of(entries, policy),
        "budget": policy.budget,
        "budget_left": max(policy.budget - used, 0),
        "cooldown_until": _cooldown(state, policy, now),
        "clock_behind": clock if clock > _BEHIND else None,
        "triggers": sorted(policy.triggers),
        "entries": len(entries),
        "last": [entry_document(entry) for entry in [e for e in entries if e.kind not in POSTAL][-last:]],
    }


def _asked_for(incident: dict[str, Any], policy: LoopPolicy) -> bool:
    """Whether it is not of a notifier that the policy no longer has, which nothing can close."""
    kind, _, name = str(incident["what"]).partition(" ")
    return kind != "notifier" or name in policy.notify


def _doing(state: State) -> str:
    version = state.cycle.version if state.cycle else None
    names = {
        "idle": "waits for a trigger" if state.begun_at is not None else "has not begun",
        "train": "trains",
        "judge": "judges what was trained",
        "promote": f"promotes version {version}",
        "wait": f"waits for somebody to approve of version {version}",
        "watch": f"watches version {version}",
        "roll back": "rolls back",
    }
    return names[state.phase]


def _cooldown(state: State, policy: LoopPolicy, now: float) -> float | None:
    if state.resting_from is None or state.resting_from + policy.cooldown <= now:
        return None
    return state.resting_from + policy.cooldown


def since(entries: Sequence[LogEntry], at: float | None) -> list[LogEntry]:
    """The entries from a moment on."""
    return [entry for entry in entries if at is None or entry.at >= at]
