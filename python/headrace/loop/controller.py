"""The controller: one step after the other, each written down before and after, so that any of them can be the last.

A step that acts is begun by an entry and ended by another; what lies between can be done again. To train: the rows are
in a file that the decision names by its hash, so the pipeline gives the same version again. To move an alias: only from
the version that the entry names, and not where it is already.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import AliasConflictError, DataError, HeadraceError, RegistryError, StageTimeoutError, StoreError
from headrace.loop import state as words
from headrace.loop.bounded import ELSEWHERE, INPUT_FILES, LIVE_ROWS, recordable
from headrace.loop.clock import moment
from headrace.loop.data import assemble, by_day, came_in, found_again, keep, sweep, window_start
from headrace.loop.judging import judge
from headrace.loop.moves import OWN, by_others, moves_of
from headrace.loop.policy import DAY, WEEK
from headrace.loop.state import Cycle, State, fold
from headrace.loop.workplace import Context, Place, Workshop
from headrace.pipeline.spec import recorded
from headrace.registry.names import CHAMPION
from headrace.types import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from headrace.hooks.triggers import Fired
    from headrace.loop.clock import Clock
    from headrace.loop.live import Live
    from headrace.loop.policy import Columns, LoopPolicy
    from headrace.store.loops import LogEntry, LoopLease
    from headrace.types import PackageView, TransformSource

HOUR = 3600.0
WAY_BACK, HARM = "the version before", "a promotion that hurts"
"""What a problem in the watch may be of; over with the watch."""
_PATIENCE = 5
"""How often the cooldown doubles at most."""


@dataclass
class Controller:
    """The loop of one project, while this process has its lease."""

    place: Place
    policy: LoopPolicy
    columns: Columns | None
    live: Live | None
    triggers: Mapping[str, Any]
    workshop: Workshop
    clock: Clock
    transforms: TransformSource
    lease: LoopLease | None = None
    who: str = "headrace loop"
    threads: int = 1
    gate_groups: str | None = None
    """The gate's `resample_by`: how the watch draws rows where `[loop.watch]` does not say."""
    told: Callable[[LogEntry], object] = field(default=lambda _entry: None)
    _state: State = field(default_factory=State)
    _quiet: tuple[Any, ...] | None = None
    _looked: float | None = None
    """When it last looked to the end."""

    def say(self, kind: str, body: Mapping[str, Any]) -> LogEntry:
        """Write an entry as the loop."""
        return self._write(kind, body)

    # --- looking and going on -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the loop stands, with what others have written meanwhile."""
        self._state = fold(self.place.loops.entries(self.place.project, after=self._state.seq), self._state)
        return self._state

    def now(self) -> float:
        """The clock's time, but never before the last entry: a clock that was set back repeats nothing."""
        return max(self.clock.now(), self._state.last_at)

    def once(self) -> list[LogEntry]:
        """Go on until there is nothing to do; returns what was written."""
        written: list[LogEntry] = []
        if self.state.begun_at is None:
            policy = recorded({"loop": self.policy.model_dump(mode="json")})["loop"]
            moves = moves_of(self.place.registry, self.place.model)
            body = {"policy": policy, "moves": moves, **self._inputs_now()}
            written.append(self._write(words.BEGUN, body))
        others = by_others(self.place.registry, self.place.model, self.state)
        written += [self._write(words.MOVED, moved) for moved in others]
        while (entry := self._step()) is not None:
            written.append(entry)
            # What is over is only seen by looking to the end.
            if entry.kind == words.PROBLEM or (entry.kind == words.HELD and not self.state.problems):
                break
        self._sweep()
        return written

    def _inputs_now(self) -> dict[str, str]:
        """The input files that changes count from; none where they cannot be read, which the look tells."""
        try:
            return {"inputs": self.workshop.inputs()}
        except (DataError, StageTimeoutError):
            return {}

    def look(self) -> list[LogEntry]:
        """As `once`, but it does not even look where nothing came in since it last found nothing to do."""
        try:
            seen: tuple[Any, ...] | None = self._signature()
        except (DataError, StageTimeoutError):
            seen = None  # what is wrong the look finds too, and tells
        if seen is not None and seen == self._quiet and self.clock.now() < self.due():
            return []
        at = self.now()
        written = self.once()
        self._looked = at
        # What it was before the look: whatever came in meanwhile has to be looked at.
        self._quiet = seen if not written else None
        return written

    def due(self) -> float:
        """When there is something to do at the latest, should nothing come in: seconds since the epoch.

        What was due at the last look was seen then, and is held back, or waits for the watch to end. Rows and labels
        may have times that are still to come, so once in a while it is looked in any case.
        """
        state = self.state
        seen = self._looked
        found = [(self.now() if seen is None else seen) + max(self.policy.every, HOUR)]
        since = moment(self._since(state))
        for trigger in self.triggers.values():
            when = trigger.due(since) if hasattr(trigger, "due") else None
            if when is not None:
                found.append(when.timestamp())
        if state.phase == "watch" and state.cycle is not None and state.cycle.promoted_at is not None:
            found.append(state.cycle.promoted_at + self.policy.watch.length)
        found += [when for when in (self._follow_up(state), self._again(state)) if when is not None]
        if state.held is not None and state.held.get("until") is not None:
            found.append(float(state.held["until"]))
        return min(when for when in found if seen is None or when > seen)

    def _signature(self) -> tuple[Any, ...]:
        state = self.state
        moves = moves_of(self.place.registry, self.place.model)
        return (state.seq, self.live.stamp() if self.live else None, self.workshop.inputs(), moves)

    def _step(self) -> LogEntry | None:
        state = self.state
        if state.paused is not None:
            return None
        try:
            entry = self._next(state)
        except (DataError, StageTimeoutError) as error:
            if state.phase not in ("idle", "wait", "watch"):
                raise
            # What comes in is not in our hands: it is said, and looked at again when something else has come in.
            hung = isinstance(error, StageTimeoutError)
            said = f"{error.place}: {error.message}" if error.place and not hung else error.message
            return self._problem(state, INPUT_FILES if error.place == INPUT_FILES else LIVE_ROWS, said, hung=hung)
        return entry or self._over(self.state, LIVE_ROWS) or self._over(self.state, INPUT_FILES)

    def _problem(self, state: State, what: str, said: str, *, hung: bool = False) -> LogEntry | None:
        """Write down once what keeps the loop from telling, until it is over: the words may differ at each look."""
        if any(found.what == what for found in state.problems.values()):
            return None
        body = {"key": f"{what}: {said}", "trigger": what, "error": said}
        return self._write(words.PROBLEM, body | ({"event": "plugin_hung"} if hung else {}))

    def _over(self, state: State, what: str) -> LogEntry | None:
        """Write down that a problem which was told of is over; None where there is none."""
        key = next((key for key, found in state.problems.items() if found.what == what), None)
        if key is None:
            return None
        body = {"key": key, "trigger": what, "error": state.problems[key].said, "since": state.problems[key].seq}
        return self._write(words.RESOLVED, body)

    def _next(self, state: State) -> LogEntry | None:
        cycle = state.cycle
        if self.policy.dry_run and cycle is not None:
            act = {"train": "train", "judge": "go on from its training", "promote": f"promote version {cycle.version}"}
            act |= {"roll back": f"roll back version {cycle.version}"}
            if state.phase == "wait" and state.answer == words.APPROVED:
                act["wait"] = f"promote version {cycle.version}"
            if state.phase in act:
                return self._would(state, act[state.phase])
        match state.phase:
            case "train" if cycle is not None:
                return self._train(cycle)
            case "judge" if cycle is not None:
                return self._judge(cycle)
            case "promote" if cycle is not None:
                return self._promote(cycle)
            case "wait" if cycle is not None and cycle.version == self._champion_number():
                return self._end(cycle, "promoted", f"version {cycle.version} was made champion by somebody else")
            case "wait" if cycle is not None and state.answer == words.APPROVED:
                return self._begin_promotion(cycle)
            case "wait" if cycle is not None and state.answer == words.REJECTED:
                return self._end(cycle, "rejected", "a person said no")
            case "watch" if cycle is not None:
                return self._watch(cycle)
            case "roll back" if cycle is not None:
                return self._roll_back(cycle)
        return self._decide(state)

    # --- deciding -------------------------------------------------------------------------------------------------

    def _decide(self, state: State) -> LogEntry | None:
        now = self.now()
        context = self._context(state, now)
        fired, problem = self._ask(context, state)
        if problem is not None:
            return problem
        reasons: list[dict[str, Any]] = [
            {"trigger": name, "why": f.why, "evidence": dict(f.evidence)} | ({"lasting": True} if f.lasting else {})
            for name, f in fired.items()
        ]
        reasons += [
            {"trigger": "manual", "why": why or "asked for by hand", "evidence": {}} for _, why in state.requests
        ]
        if context.champion is None:
            reasons += self._first(state, context, now)
        follow_up = self._follow_up(state)
        if follow_up is not None and now >= follow_up:
            why = f"the last promotion, on {moment(follow_up - self.policy.follow_up):%Y-%m-%d}, answered a change"
            reasons.append({"trigger": words.FOLLOW_UP, "why": why, "evidence": {}})
        if not reasons:
            return None
        against = self._against(state, context, reasons, now)
        if against is not None:
            return self._hold(state, reasons, *against)
        change, against = self._change(state, fired, reasons, now)
        if against is not None:
            return self._hold(state, reasons, *against)
        data, against = self._data(now, context, change)
        if against is not None:
            return self._hold(state, reasons, *against)
        if state.phase == "wait" and state.cycle is not None:
            return self._end(state.cycle, "superseded", "a new run was decided before anybody approved of it")
        body = {
            "cycle": state.cycles + 1,
            "reasons": reasons,
            "requests": [seq for seq, _ in state.requests],
            "data": data,
            "champion": self._champion_number(),
        }
        return self._write(words.DECIDED, body)

    def _first(self, state: State, context: Context, now: float) -> list[dict[str, Any]]:
        """Why a project without a champion is trained: that it has none; again, where that came to nothing."""
        why = "there is no champion yet"
        if state.decided:
            again = self._again(state)
            changed = state.last_data.get("inputs") not in (None, context.inputs)
            if state.phase != "idle" or not (changed or (again is not None and now >= again)):
                return []
            why = f"{why}, and {'the input files changed' if changed else 'the last run came to nothing'}"
        return [{"trigger": "first", "why": why, "evidence": {}}]

    def _again(self, state: State) -> float | None:
        """When a project without a champion is trained again, after a run that came to nothing."""
        if state.phase != "idle" or not state.fruitless or not state.decided:
            return None
        return state.decided[-1] + max(self.policy.cooldown, DAY) * (1 << min(state.fruitless - 1, _PATIENCE))

    def _follow_up(self, state: State) -> float | None:
        """When one more run is due after a promotion that answered a change: its rows were mostly of the old world."""
        if state.changed_at is None or not self.policy.follow_up or self.live is None:
            return None
        return state.changed_at + self.policy.follow_up

    def _ask(self, context: Context, state: State) -> tuple[dict[str, Fired], LogEntry | None]:
        """What fired; one that raises is written down once, and the others are asked all the same."""
        fired: dict[str, Fired] = {}
        failed: list[tuple[str, Exception]] = []
        for name, trigger in self.triggers.items():
            try:
                found = recordable(trigger.check(context))
            except Exception as error:  # noqa: BLE001  # a stranger's code; what it raised is recorded
                failed.append((name, error))
            else:
                if found is not None:
                    fired[name] = found
        for name, raised in failed:
            said = raised.message if isinstance(raised, HeadraceError) else f"{type(raised).__name__}: {raised}"
            hung = isinstance(raised, StageTimeoutError)
            entry = None if fired else self._problem(state, name, said, hung=hung)
            if entry is not None:
                return fired, entry
        names = {name for name, _ in failed}
        gone = {found.what for found in state.problems.values()} - names - ELSEWHERE
        return fired, self._over(state, min(gone)) if gone else None

    def _against(
        self, state: State, context: Context, reasons: Sequence[Mapping[str, Any]], now: float
    ) -> tuple[str, str, float | None] | None:
        """What speaks against a run: which rule, why, and until when."""
        policy, by_hand = self.policy, bool(state.requests)
        if policy.dry_run:
            return "dry run", "`dry_run` is set: nothing is done", None
        # What lasts would ask at every look, whether or not another run can help.
        times = 2 ** min(state.fruitless, _PATIENCE) if all(reason.get("lasting") for reason in reasons) else 1
        until = (state.resting_from or 0.0) + policy.cooldown * times
        if state.resting_from is not None and now < until and not by_hand:
            more = f", after {state.fruitless} in a row that came to nothing" if times > 1 else ""
            said = f"the last run or roll back is too recent{more}: not before {moment(until):%Y-%m-%d %H:%M} UTC"
            return "cooldown", said, until
        lately = [at for at in state.decided if at > now - WEEK]
        if len(lately) >= policy.budget:
            free = lately[-policy.budget] + WEEK if policy.budget else None
            again = "" if free is None else f": not before {moment(free):%Y-%m-%d %H:%M} UTC"
            return "budget", f"{len(lately)} of {policy.budget} runs within seven days are used up{again}", free
        if self.live is not None and context.new_labels < policy.min_rows and not by_hand and context.champion:
            found = f"{context.new_labels} labelled rows came in since the last run"
            return "labels", f"{found}, and `min_rows` is {policy.min_rows}", None
        return None

    def _hold(
        self, state: State, reasons: Sequence[Mapping[str, Any]], rule: str, why: str, until: float | None
    ) -> LogEntry | None:
        """Say once that nothing is done, not each time that it is looked."""
        triggers = sorted({str(reason["trigger"]) for reason in reasons})
        if state.held is not None and (state.held["rule"], state.held["triggers"]) == (rule, triggers):
            return None
        return self._write(
            words.HELD, {"rule": rule, "why": why, "until": until, "triggers": triggers, "reasons": reasons}
        )

    def _context(self, state: State, now: float) -> Context:
        since = moment(self._since(state))
        days = self._days(self.live.labelled(None, moment(now))) if self.live else {}
        return Context(
            now=moment(now),
            since=since,
            champion=self.place.registry.champion(self.place.model),
            live=self.live,
            new_labels=came_in(days, state.last_data),
            inputs=self.workshop.inputs(),
            inputs_seen=state.last_data.get("inputs"),
            transforms=self.transforms,
            threads=self.threads,
        )

    def _days(self, labelled: pl.DataFrame) -> dict[str, int]:
        return by_day(labelled, self.columns) if self.columns else {}

    def _since(self, state: State) -> float:
        began = state.begun_at if state.begun_at is not None else self.now()
        return state.decided[-1] if state.decided else began

    def _change(
        self, state: State, fired: Mapping[str, Fired], reasons: Sequence[Mapping[str, Any]], now: float
    ) -> tuple[dict[str, Any] | None, tuple[str, str, float | None] | None]:
        """The change of the world that a run would answer, and what speaks against doing so yet: too few rows of it."""
        told = {name: f.changed for name, f in fired.items() if f.changed is not None}
        known, pending = state.change, state.change is not None and not state.settled
        if self.live is None or not (told or known):
            return None, None
        if told:
            name, at = max(told.items(), key=lambda found: found[1])
        elif known is not None:
            name, at = known["trigger"], dt.datetime.fromisoformat(known["at"])
        # What asks because of the change has to wait for its rows; one more run for an older change has no use now.
        asking = {*told, words.FOLLOW_UP} if told else {name} if pending else set()
        rows = self.live.labelled(at, moment(now)).height
        enough = self.policy.change_rows
        over = at.timestamp() + self.policy.change_wait
        if now >= over:
            enough = min(enough, self.policy.min_rows)
        if rows < enough and {str(reason["trigger"]) for reason in reasons} <= asking:
            said = f"{rows:,} labelled rows came in since the change on {at:%Y-%m-%d %H:%M} UTC"
            return None, ("change", f"{said}, and {enough:,} are waited for", over if now < over else None)
        used = rows >= enough and (state.settled or bool(asking & fired.keys()))
        return {"at": at.isoformat(), "trigger": name, "rows": rows, "used": used}, None

    def _data(
        self, now: float, context: Context, change: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], tuple[str, str, None] | None]:
        """The rows of the run, kept in a file before the decision names them."""
        labelled = self.live.labelled(None, moment(now)) if self.live else None
        data: dict[str, Any] = {"inputs": context.inputs, "labelled": 0 if labelled is None else labelled.height}
        if labelled is None or self.columns is None:
            return data, None
        data["days"] = self._days(labelled)
        start = window_start(self.policy, moment(now))
        if change is not None:
            data["change"] = dict(change)
            if change["used"]:
                changed = dt.datetime.fromisoformat(change["at"])
                start = changed if start is None else max(start, changed)
        frame = assemble(self.workshop.base(), labelled, self.columns, start, moment(now))
        if not frame.height:
            return data, ("data", "there are no rows in the window that is to be trained on", None)
        digest, _ = keep(frame, self.place.folder)
        data |= {"file": digest, "rows": frame.height, "window": self.policy.window}
        return data | {"from": start.isoformat() if start else None, "until": moment(now).isoformat()}, None

    # --- acting ---------------------------------------------------------------------------------------------------

    def _train(self, cycle: Cycle) -> LogEntry:
        digest = cycle.decided["data"].get("file")
        triggers = ",".join(dict.fromkeys(str(reason["trigger"]) for reason in cycle.decided["reasons"]))
        path = found_again(self.place.folder, digest) if digest else None
        found = self.workshop.train(path, why=f"loop {cycle.number}: {triggers}"[:200])
        return self._write(words.TRAINED, {"cycle": cycle.number, **vars(found)})

    def _sweep(self) -> None:
        """Remove kept rows that no decision waits to be trained on: their run is over, or it was never written."""
        state = self.state
        training = state.cycle.decided["data"].get("file") if state.phase == "train" and state.cycle else None
        sweep(self.place.folder, training, self._still_mine)

    def _judge(self, cycle: Cycle) -> LogEntry:
        found = cycle.trained
        if found["status"] != "succeeded" or found["version"] is None:
            return self._end(cycle, "failed", found["why"] or f"the run ended as {found['status']}")
        if not found["passed"]:
            return self._end(cycle, "kept", found["why"])
        if found["version"] == self._champion_number():
            return self._end(cycle, "kept", f"version {found['version']} is the champion already")
        if self.policy.promote == "auto":
            return self._begin_promotion(cycle)
        return self._write(words.WAITING, {"cycle": cycle.number, "version": found["version"]})

    def _begin_promotion(self, cycle: Cycle) -> LogEntry:
        expected = cycle.trained["compared"]
        body = {"cycle": cycle.number, "version": cycle.version, "expected": expected}
        return self._write(words.PROMOTING, body)

    def _promote(self, cycle: Cycle) -> LogEntry:
        wanted, expected = cycle.promoting["version"], cycle.promoting["expected"]
        version = ModelVersion(self.place.model, wanted, str(cycle.trained["package"]))
        why = f"{OWN}{cycle.number}. {cycle.trained['why']}"[:1000]
        self._still_mine()
        try:
            self.place.registry.move_alias(version, CHAMPION, expected=expected, why=why, gate=cycle.trained["gate"])
        except AliasConflictError as error:
            return self._end(cycle, "conflict", error.message)
        return self._write(words.PROMOTED, {"cycle": cycle.number, "version": wanted, "previous": expected})

    def _watch(self, cycle: Cycle) -> LogEntry | None:
        new, previous = cycle.promoted["version"], cycle.promoted["previous"]
        began, policy, now = cycle.promoted_at or 0.0, self.policy.watch, self.now()
        if self._champion_number() != new:
            return self._end(cycle, "conflict", f"somebody made another version champion while {new} was watched")
        if self.live is None or previous is None or policy.length == 0:
            return self._end(cycle, "promoted", f"version {new} is the champion; there is nothing to watch it by")
        frame = self.live.labelled(moment(began), moment(min(now, began + policy.length)))
        evidence: dict[str, Any] = {"rows": frame.height}
        if frame.height >= policy.min_rows:
            package = self.place.registry.get(self.place.model, new)
            before, lost = self._before(previous)
            found = judge(package, before, frame, policy, self.transforms, gate_groups=self.gate_groups)
            evidence = found.evidence
            if lost is not None:
                said = lost if found.harm is None else f"{found.harm}, and there is no way back: {lost}"
                what = WAY_BACK if found.harm is None else HARM
                if (entry := self._problem(self.state, what, said)) is not None:
                    return entry
            elif found.harm is not None and self.policy.dry_run:
                return self._would(self.state, f"roll back version {new}: {found.harm}")
            elif found.harm is not None:
                body = {"cycle": cycle.number, "from": new, "to": previous, "why": found.harm, "evidence": evidence}
                return self._write(words.ROLLING_BACK, body)
        if now >= began + policy.length:
            return self._end(cycle, "promoted", f"version {new} was watched and stays", evidence)
        return None

    def _before(self, version: int) -> tuple[PackageView | None, str | None]:
        """The version that would be put back, or why there is none."""
        try:
            return self.place.registry.get(self.place.model, version), None
        except (RegistryError, StoreError) as error:
            return None, f"version {version}, which would be put back, cannot be read: {error.message}"

    def _would(self, state: State, what: str) -> LogEntry | None:
        """What a dry run does in place of acting."""
        reasons = [{"trigger": f"cycle {state.cycles}", "why": what, "evidence": {}}]
        return self._hold(state, reasons, "dry run", f"`dry_run` is set: else it would {what}", None)

    def _roll_back(self, cycle: Cycle) -> LogEntry:
        registry, model = self.place.registry, self.place.model
        bad, good = cycle.rolling_back["from"], cycle.rolling_back["to"]
        champion = self._champion_number()
        if champion == bad:
            if registry.store.versions.standing(model, CHAMPION)[1:2] != [good]:
                return self._end(cycle, "conflict", f"version {good} is not what stood before version {bad}")
            self._still_mine()
            moved = registry.rollback(model, CHAMPION, why=f"{OWN}{cycle.number}. {cycle.rolling_back['why']}")
            champion = moved.version
        if champion != good:
            return self._end(cycle, "conflict", f"the champion is version {champion}, and {good} was to be again")
        body = {"cycle": cycle.number, "from": bad, "to": good, "why": cycle.rolling_back["why"]}
        return self._write(words.ROLLED_BACK, body)

    def _end(self, cycle: Cycle, outcome: str, why: str, evidence: Mapping[str, Any] | None = None) -> LogEntry:
        body = {"cycle": cycle.number, "outcome": outcome, "why": why, "version": cycle.version}
        return self._write(words.ENDED, body | ({"evidence": dict(evidence)} if evidence else {}))

    # --- the rest -------------------------------------------------------------------------------------------------

    def _champion_number(self) -> int | None:
        return self.place.registry.aliased(self.place.model, CHAMPION)

    def _still_mine(self) -> None:
        """Refuse to act for one that was overtaken while it slept. `FencedError`."""
        if self.lease is not None:
            self.place.loops.renew(self.lease)

    def _write(self, kind: str, body: Mapping[str, Any]) -> LogEntry:
        entry = self.place.loops.append(self.place.project, kind, body, at=self.now(), who=self.who, lease=self.lease)
        self.told(entry)
        return entry
