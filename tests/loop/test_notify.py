"""Who is told what the loop does: on a real HTTP server, with notifiers that fail, hang and are killed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace import Project
from headrace.builtins.notify.webhook import WebhookNotifier
from headrace.errors import ConfigError, ServingError, SpecError
from headrace.loop.mailbox import mailboxes
from headrace.loop.notices import EVENTS, notices_of
from headrace.loop.policy import LoopPolicy
from headrace.loop.post import Post, Subscriber
from headrace.loop.report import notifiers_of, status_of
from headrace.project.health import Health
from headrace.project.looping import controller_of, lease_of, once, say, status_document
from headrace.project.notifying import post_of
from headrace.registry import Registry
from headrace.store import Store
from headrace.store.loops import LogEntry
from loop_hook import HOOK, Hook
from loop_project import World, write_spec


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.close()


NOTICE = {
    "id": "tide/7/promoted",
    "event": "promoted",
    "project": "tide",
    "model": "tide",
    "version": 2,
    "at": 1_767_225_600.0,
    "time": "2026-01-01T00:00:00Z",
    "subject": "tide: version 2 is champion",
    "text": "version 2 <in place> of 1 & so on",
    "who": "headrace loop",
    "seq": 7,
    "evidence": {"version": 2},
}


def webhook(folder: Path, **config: Any) -> WebhookNotifier:
    return WebhookNotifier(WebhookNotifier.Config.model_validate(config, context={"folder": folder}))


# --- the webhook ------------------------------------------------------------------------------------------------------


def test_a_webhook_posts_json_with_a_text_as_slack_takes_it(hook: Hook, tmp_path: Path) -> None:
    webhook(tmp_path, url=hook.url).send(NOTICE)
    headers, body = hook.got[0]
    found = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert headers["headrace-id"] == "tide/7/promoted"
    assert found["text"] == "*tide: version 2 is champion*\nversion 2 &lt;in place&gt; of 1 &amp; so on"
    assert {key: found[key] for key in NOTICE if key != "text"} == {k: v for k, v in NOTICE.items() if k != "text"}
    assert "headrace-signature" not in headers


@pytest.mark.parametrize("kind", ["env", "file"])
def test_the_signature_is_hmac_sha256_of_the_body(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    (tmp_path / "key").write_text("s3cret\n")
    secret = "env:HOOK_SECRET" if kind == "env" else "file:key"
    webhook(tmp_path, url=hook.url, secret=secret, headers={"Authorization": "env:HOOK_SECRET", "x-a": "b"}).send(
        NOTICE
    )
    headers, body = hook.got[0]
    assert headers["headrace-signature"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert (headers["authorization"], headers["x-a"]) == ("s3cret", "b")
    assert b"s3cret" not in body


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_an_answer_that_says_no_is_an_error_and_is_not_followed(hook: Hook, tmp_path: Path, status: int) -> None:
    hook.status, hook.location = status, hook.url + "/elsewhere"
    with pytest.raises(ServingError, match=str(status)) as raised:
        webhook(tmp_path, url=hook.url).send(NOTICE)
    assert len(hook.got) == 1
    assert "T0KEN" not in str(raised.value)


def test_nobody_there_is_an_error_without_the_url(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as raised:
        webhook(tmp_path, url="http://127.0.0.1:1/T0KEN").send(NOTICE)
    assert "cannot be reached" in str(raised.value)
    assert "T0KEN" not in str(raised.value)


def test_the_url_itself_may_be_a_secret(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = webhook(tmp_path, url="env:HOOK_URL")
    with pytest.raises(ConfigError, match="HOOK_URL is not set"):
        found.send(NOTICE)
    monkeypatch.setenv("HOOK_URL", "ftp://T0KEN")
    with pytest.raises(ConfigError) as raised:
        found.send(NOTICE)
    assert "T0KEN" not in str(raised.value)
    monkeypatch.setenv("HOOK_URL", hook.url)
    found.send(NOTICE)
    assert len(hook.got) == 1


@pytest.mark.parametrize(
    "config",
    [
        {"url": "hunter2"},
        {"url": "file:///etc/passwd", "secret": "hunter2"},
        {"url": "http://me:hunter2@127.0.0.1/"},
        {"url": "http://127.0.0.1/", "secret": "hunter2"},
        {"url": "http://127.0.0.1/hunter2\r\nx: y"},
        {"url": "http://127.0.0.1/", "headers": {"a b": "hunter2"}},
        {"url": "http://127.0.0.1/", "headers": {"a": "hunter2\r\nb: c"}},
        {"url": "http://127.0.0.1/", "headers": {"Host": "hunter2"}},
        {"url": "http://127.0.0.1/", "sekret": "hunter2"},
    ],
)
def test_what_cannot_be_is_refused_and_never_shown(tmp_path: Path, config: dict[str, Any]) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.items() if key != "headers"]
    lines += [
        f"[loop.notify.ops.headers]\n{json.dumps(k)} = {json.dumps(v)}" for k, v in config.get("headers", {}).items()
    ]
    world = World(tmp_path, triggers='[loop.notify.ops]\nuse = "webhook"\n' + "\n".join(lines))
    with Project(world.folder) as project, pytest.raises(SpecError) as raised:
        post_of(controller_of(project), project)
    shown = f"{raised.value} {raised.value.hint} {raised.value.place}"
    assert "hunter2" not in shown
    assert "loop.notify.ops" in shown
    assert "headrace.toml:" in shown
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[loop.notify.webhok]\nurl = "http://127.0.0.1/"', "webhook"),
        ('[loop.notify.ops]\nuse = "webhook"\nurl = "http://127.0.0.1/"\nevents = ["promotd"]', "promoted"),
        ('[loop.notify.ops]\nuse = "webhook"\nurl = "http://127.0.0.1/"\ntimeout = "soon"', "timeout"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_one(tmp_path: Path, table: str, said: str) -> None:
    world = World(tmp_path, triggers=table)
    with Project(world.folder) as project, pytest.raises(SpecError) as raised:
        post_of(controller_of(project), project)
    assert said in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("token", ["hunter2\nhunter3\n", "hunter2\x7f", "hunter2\u20ac", "hunter2\0"])
def test_a_secret_that_fits_in_no_header_is_not_in_the_error(hook: Hook, tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(ConfigError, match="header 'authorization' refers to is not one line") as raised:
        webhook(tmp_path, url=hook.url, headers={"authorization": "file:token"}).send(NOTICE)
    assert "hunter" not in str(raised.value)
    assert hook.got == []


# --- which entries are news -------------------------------------------------------------------------------------------


def entry(kind: str, **body: Any) -> LogEntry:
    return LogEntry(9, kind, 1.0, "loop", body, "")


REASON = {"trigger": "quality", "why": "worse", "evidence": {}}


@pytest.mark.parametrize(
    ("found", "events"),
    [
        (entry("decided", cycle=1, reasons=[REASON], requests=[], data={}, champion=1), ["alarm"]),
        (entry("decided", cycle=1, reasons=[{**REASON, "trigger": "nightly"}], requests=[], data={}, champion=1), []),
        (entry("decided", cycle=1, reasons=[{**REASON, "trigger": "manual"}], requests=[], data={}, champion=1), []),
        (entry("held", rule="budget", why="none left", triggers=["nightly"], reasons=[]), ["budget_spent"]),
        (entry("held", rule="cooldown", why="too soon", triggers=["quality"], reasons=[REASON]), ["alarm"]),
        (entry("waiting", cycle=1, version=2), ["awaiting_approval"]),
        (entry("promoted", cycle=1, version=2, previous=1), ["promoted"]),
        (entry("rolled back", cycle=1, **{"from": 2, "to": 1, "why": "worse"}), ["rolled_back"]),
        (entry("ended", cycle=1, outcome="failed", why="no", version=None), ["run_failed"]),
        (entry("ended", cycle=1, outcome="kept", why="no", version=2), ["kept"]),
        (entry("ended", cycle=1, outcome="promoted", why="yes", version=2), []),
        (entry("problem", key="a: b", trigger="quality", error="b"), ["problem"]),
        (entry("problem", key="server: b", trigger="server", error="b", event="server_down"), ["server_down"]),
        (entry("problem", key="a: b", trigger="quality", error="b", event="plugin_hung"), ["plugin_hung"]),
        (entry("resolved", key="a: b", trigger="quality", error="b"), ["resolved"]),
        (entry("paused", reason="x"), ["paused"]),
        (entry("resumed", reason="x"), ["resumed"]),
        (entry("begun", policy={}), []),
        (entry("not notified", notifier="ops", of=1, event="kept", attempt=1, error="no", until=None), []),
    ],
)
def test_which_entries_are_news(found: LogEntry, events: list[str]) -> None:
    told = notices_of(found, {"quality": "performance", "nightly": "schedule"})
    assert [one.event for one in told] == events
    for one in told:
        assert one.event in EVENTS
        document = one.document("tide", "tide")
        assert document["id"] == f"tide/9/{one.event}"
        assert document["subject"].startswith("tide: ")
        json.dumps(document, allow_nan=False)


# --- the post ---------------------------------------------------------------------------------------------------------


class Sink:
    """A notifier that does as it is told."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.error: BaseException | None = None
        self.wait: threading.Event | None = None

    def send(self, notice: Any) -> str | None:
        if self.wait is not None:
            self.wait.wait(20)
        if self.error is not None:
            raise self.error
        self.got.append(notice["id"])
        return None


class Office:
    """A log with a post over it, on a simulated clock."""

    def __init__(self, root: Path, *sinks: Sink, timeout: float = 5.0, **more: Any) -> None:
        self.store = Store.open(root)
        self.clock = SimpleNamespace(at=1_000_000.0)
        self.sinks = sinks
        self.timeout = timeout
        self.more = more

    def post(self) -> Post:
        clock: Any = SimpleNamespace(now=lambda: self.clock.at)
        people = [
            Subscriber(f"s{number}", lambda sink=sink: sink, timeout=self.timeout, **self.more)
            for number, sink in enumerate(self.sinks)
        ]
        return Post("tide", "tide", self.store.loops, clock, people, {})

    def happens(self, kind: str = "paused", **body: Any) -> int:
        return self.store.loops.append("tide", kind, body or {"reason": "x"}, at=self.clock.at, who="me").seq

    def log(self) -> list[tuple[str, Any]]:
        found = self.store.loops.entries("tide")
        return [(e.kind, e.body.get("of")) for e in found if "notif" in e.kind]

    def errors(self) -> list[str]:
        return [e.body["error"] for e in self.store.loops.entries("tide") if e.kind == "not notified"]


def deliver(office: Office, post: Post | None = None) -> Post:
    post = post or office.post()
    post.begin()
    post.deliver()
    return post


def test_each_is_told_once_of_what_comes_after_it_was_named(tmp_path: Path) -> None:
    office = Office(tmp_path, Sink(), Sink())
    office.happens()
    post = deliver(office)
    assert [sink.got for sink in office.sinks] == [[], []]
    seq = office.happens()
    deliver(office, post)
    deliver(office, post)
    deliver(office)  # another process
    assert [sink.got for sink in office.sinks] == [[f"tide/{seq}/paused"]] * 2
    assert [kind for kind, _ in office.log()] == ["notifying", "notifying", "notified", "notified"]
    assert office.store.loops.verify("tide").problems == ()


def test_what_failed_is_sent_again_later_and_each_failure_is_written_down(tmp_path: Path) -> None:
    sink = Sink()
    office = Office(tmp_path, sink)
    post = deliver(office)
    seq = office.happens()
    sink.error = ServingError("no route\nto host \x1b[31m")
    deliver(office, post)
    assert office.errors() == ["no route to host \\x1b[31m"]
    assert post.due() == office.clock.at + 60
    office.clock.at += 59
    deliver(office, post)
    deliver(office)
    assert len(office.errors()) == 1
    office.clock.at += 1
    deliver(office)
    assert len(office.errors()) == 2
    office.clock.at += 300
    sink.error = None
    deliver(office)
    assert sink.got == [f"tide/{seq}/paused"]
    assert [kind for kind, _ in office.log()] == ["notifying", "not notified", "not notified", "notified"]
    assert mailboxes(office.store.loops.entries("tide"))["s0"].last_error is None


def test_of_a_strangers_error_only_the_type_is_written_down(tmp_path: Path) -> None:
    sink = Sink()
    office = Office(tmp_path, sink)
    post = deliver(office)
    office.happens()
    sink.error = ValueError("Invalid header value b'Bearer hunter2'")
    deliver(office, post)
    assert office.errors() == ["it raised ValueError"]


def test_it_is_given_up_in_the_end_and_news_that_came_later_do_not_wait_for_it(tmp_path: Path) -> None:
    sink = Sink()
    office = Office(tmp_path, sink)
    post = deliver(office)
    office.happens()
    sink.error = OSError("no")
    for _ in range(8):
        deliver(office, post)
        office.clock.at += 43_200
    entries = office.store.loops.entries("tide")
    assert len(office.errors()) == 6
    assert entries[-1].body["until"] is None
    assert mailboxes(entries)["s0"].given_up == 1
    sink.error = None
    seq = office.happens()
    deliver(office, post)
    assert sink.got == [f"tide/{seq}/paused"]


def test_one_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    bad, good = Sink(), Sink()
    office = Office(tmp_path, bad, good)
    post = deliver(office)
    bad.error = SystemExit(3)
    office.happens()
    office.happens()
    deliver(office, post)
    assert len(good.got) == 2
    assert len(office.errors()) == 1  # one failure a look


def test_one_that_hangs_costs_its_timeout_and_is_not_called_twice_at_once(tmp_path: Path) -> None:
    sink = Sink()
    sink.wait = threading.Event()
    office = Office(tmp_path, sink, timeout=0.2)
    post = deliver(office)
    office.happens()
    office.happens()
    deliver(office, post)
    assert office.errors() == ["it did not come back within 0.2 s"]
    before = threading.active_count()
    for _ in range(8):
        assert post.due() is None
        office.clock.at += 43_200
        deliver(office, post)
    assert threading.active_count() == before
    assert len(office.errors()) == 1  # no attempt of another notice was used up
    sink.wait.set()
    for thread in threading.enumerate():
        if thread.name == "notifier s0":
            thread.join(5)
    deliver(office, post)
    deliver(office, post)
    assert len(sink.got) == len(set(sink.got)) == 2
    assert [kind for kind, _ in office.log()] == ["notifying", "not notified", "notified", "notified"]
    found = mailboxes(office.store.loops.entries("tide"))["s0"]
    assert (found.waiting(), found.given_up, found.last_error) == ([], 0, None)


def test_what_comes_late_and_fails_is_sent_again(tmp_path: Path) -> None:
    sink = Sink()
    sink.wait, sink.error = threading.Event(), ServingError("no")
    office = Office(tmp_path, sink, timeout=0.2)
    post = deliver(office)
    seq = office.happens()
    deliver(office, post)
    sink.wait.set()
    for thread in threading.enumerate():
        if thread.name == "notifier s0":
            thread.join(5)
    sink.error = None
    assert post.due() == office.clock.at + 60
    deliver(office, post)
    assert sink.got == []
    office.clock.at += 60
    deliver(office, post)
    assert sink.got == [f"tide/{seq}/paused"]


def test_what_was_given_up_and_came_after_all_is_not_given_up(tmp_path: Path) -> None:
    office = Office(tmp_path, Sink())
    deliver(office)
    said = {"notifier": "s0", "of": office.happens(), "event": "paused"}
    office.happens("not notified", **said, attempt=6, error="no", until=None)
    assert mailboxes(office.store.loops.entries("tide"))["s0"].given_up == 1
    office.happens("notified", **said)
    assert mailboxes(office.store.loops.entries("tide"))["s0"].given_up == 0


def test_what_failed_and_is_no_longer_asked_for_keeps_nobody_awake(tmp_path: Path) -> None:
    sink = Sink()
    office = Office(tmp_path, sink)
    post = deliver(office)
    office.happens()
    sink.error = ServingError("no")
    deliver(office, post)
    assert post.due() is not None
    office.more = {"events": frozenset({"resumed"})}
    assert deliver(office).due() is None
    policy = LoopPolicy.model_validate({"notify": {"s0": {"use": "webhook", "events": ["resumed"]}}})
    (told,) = notifiers_of(office.store.loops.entries("tide"), policy)
    assert (told["waiting"], told["again_at"]) == (0, None)
    registry = Registry(office.store, who="test")

    def open_now(policy: LoopPolicy) -> list[str]:
        found = status_of("tide", "tide", policy, office.store.loops, registry, now=office.clock.at)
        return [one["what"] for one in found["incidents"]]

    assert open_now(policy) == ["notifier s0"]
    assert open_now(LoopPolicy.model_validate({})) == []


@pytest.mark.parametrize("name", ["server", "live rows"])
def test_a_trigger_that_is_called_as_the_loops_own_problems_is_refused(tmp_path: Path, name: str) -> None:
    world = World(tmp_path, triggers=f'[loop.triggers."{name}"]\nuse = "performance"')
    with Project(world.folder) as project, pytest.raises(SpecError, match="a trigger cannot be called") as raised:
        controller_of(project)
    assert "headrace.toml:" in str(raised.value.place)
    assert "Call it otherwise" in str(raised.value.hint)


def test_killed_between_sending_and_writing_sends_it_once_more_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    office = Office(tmp_path, sink)
    post = deliver(office)
    seq = office.happens()
    append = office.store.loops.append

    def dies(project: str, kind: str, *args: Any, **more: Any) -> Any:
        if kind == "notified":
            raise KeyboardInterrupt
        return append(project, kind, *args, **more)

    monkeypatch.setattr(office.store.loops, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        deliver(office, post)
    monkeypatch.undo()
    deliver(office)
    deliver(office)
    assert sink.got == [f"tide/{seq}/paused"] * 2


def test_only_the_events_that_were_asked_for(tmp_path: Path) -> None:
    office = Office(tmp_path, Sink(), events=frozenset({"resumed"}))
    post = deliver(office)
    office.happens("paused")
    seq = office.happens("resumed")
    deliver(office, post)
    assert office.sinks[0].got == [f"tide/{seq}/resumed"]


def test_news_of_a_week_ago_is_no_news(tmp_path: Path) -> None:
    office = Office(tmp_path, Sink())
    deliver(office)
    office.happens()
    office.clock.at += 8 * 86_400
    deliver(office)
    assert office.sinks[0].got == []


# --- the loop with it -------------------------------------------------------------------------------------------------


def look(world: World) -> None:
    with Project(world.folder) as project, lease_of(project) as lease:
        controller = controller_of(project, lease=lease, clock=world.clock)
        once(controller, post_of(controller, project), Health.of(controller))


def test_the_whole_loop_tells_a_real_server(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "hunter2")
    world = World(tmp_path, triggers=HOOK.format(url=hook.url) + 'secret = "env:HOOK_SECRET"\n')
    look(world)
    assert hook.events() == ["promoted"]
    assert hook.bodies()[0]["version"] == 1
    kinds = world.kinds()
    assert kinds[0] == "notifying"
    assert kinds[-1] == "notified"
    look(world)
    assert len(hook.got) == 1
    # Neither the secret nor the URL is in the store: not in the log, not in the record of a run.
    whole = b"".join(path.read_bytes() for path in (world.folder / ".headrace").rglob("*") if path.is_file())
    assert b"T0KEN" not in whole
    assert b"hunter2" not in whole
    assert b"(not shown)" in whole


def test_a_hook_that_is_down_neither_stops_nor_changes_the_loop(hook: Hook, tmp_path: Path) -> None:
    hook.status = 503
    world = World(tmp_path, triggers=HOOK.format(url=hook.url))
    look(world)
    assert world.champions() == [(None, 1)]
    with Project(world.folder) as project:
        found = status_document(project)
    assert found["notifiers"][0]["waiting"] == 1
    assert found["notifiers"][0]["last_error"] == "the webhook answered 503"
    assert [one["what"] for one in found["incidents"]] == ["notifier ops"]
    hook.status = 200
    world.clock.at += 61
    look(world)
    with Project(world.folder) as project:
        found = status_document(project)
    assert (found["incidents"], found["notifiers"][0]["waiting"]) == ([], 0)


def test_a_look_that_held_is_not_held_again_because_somebody_was_told(hook: Hook, tmp_path: Path) -> None:
    world = World(tmp_path, loop="dry_run = true", triggers=HOOK.format(url=hook.url))
    for _ in range(3):
        look(world)
        world.clock.at += 60
    assert world.kinds().count("held") == 1
    with Project(world.folder) as project:
        say(project, "paused", {"reason": "x"})
    look(world)
    assert hook.events() == ["paused"]


STRANGER = """
from pathlib import Path
import os, signal
import pydantic
import headrace

@headrace.hookimpl
def headrace_notifiers(registry):
    registry.add("pigeon", "pigeon:Pigeon")

class Pigeon:
    "Writes notices into a file."

    class Config(pydantic.BaseModel):
        loft: str = pydantic.Field(description="The file.")

    def __init__(self, config):
        self.config = config

    def send(self, notice):
        with Path(self.config.loft).open("a") as stream:
            stream.write(notice["id"] + "\\n")
            stream.flush()
        if os.environ.get("HAWK"):
            os.kill(os.getpid(), signal.SIGKILL)
        return "coo"
"""


@pytest.fixture
def stranger(tmp_path: Path) -> dict[str, str]:
    """An environment in which a distribution of a stranger is installed."""
    site = tmp_path / "site"
    info = site / "pigeon-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "pigeon.py").write_text(STRANGER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrace]\npigeon = pigeon\n")
    return {**os.environ, "PYTHONPATH": str(site)}


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace.cli.main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_notifier_of_a_stranger_through_a_kill(stranger: dict[str, str], tmp_path: Path) -> None:
    listed = run(stranger, "plugins", "list", "--json")
    assert [n["name"] for n in json.loads(listed.stdout)["notifiers"]] == ["pigeon", "smtp", "webhook"]
    shown = run(stranger, "plugins", "show", "notifier:pigeon")
    assert "Writes notices into a file." in shown.stdout
    assert "loft" in shown.stdout
    loft = tmp_path / "loft"
    world = World(tmp_path / "project", triggers=f'[loop.notify.pigeon]\nloft = "{loft}"')
    args = ("loop", "--once", "--project", str(world.folder))
    assert run(stranger, *args).returncode == 0
    assert run(stranger, "loop", "pause", "--project", str(world.folder)).returncode == 0
    assert run({**stranger, "HAWK": "1"}, *args).returncode == -9
    (first,) = loft.read_text().splitlines()
    done = run(stranger, *args)
    assert done.returncode == 0, done.stderr
    assert run(stranger, *args).returncode == 0
    # Said once, told twice: the kill came after the sending and before it was written down.
    assert loft.read_text().splitlines() == [first, first]
    assert first.endswith("/paused")
    assert world.kinds().count("paused") == 1
    assert "coo" in run(stranger, "timeline", "--project", str(world.folder)).stdout
    # Where the plugin is gone, its name is said.
    gone = run(dict(os.environ), *args)
    assert gone.returncode != 0
    assert "no notifier 'pigeon'" in gone.stderr


def test_two_plugins_of_one_name_are_a_conflict() -> None:
    from headrace import hookimpl
    from headrace.hooks.manager import PluginManager

    class Other:
        @hookimpl
        def headrace_notifiers(self, registry: Any) -> None:
            registry.add("webhook", "mine:Mine")

    found = PluginManager.discover(extra=[Other()])
    assert "webhook" not in found.notifiers.names()
    assert any("the notifier 'webhook'" in problem.message for problem in found.problems)


def test_the_server_that_is_down_is_named_and_told_and_closed(hook: Hook, tmp_path: Path, monkeypatch: Any) -> None:
    refused, slow = "it does not answer: refused", "it does not answer: timed out"
    seen: list[str | None] = [refused, slow, refused, None]
    monkeypatch.setattr("headrace.project.health.ailing", lambda *_: seen[0])
    world = World(tmp_path, loop='server = "http://127.0.0.1:9"', triggers=HOOK.format(url=hook.url))
    for _ in range(3):
        look(world)
        seen.pop(0)
    assert hook.events() == ["server_down", "promoted"]
    look(world)
    assert hook.events() == ["server_down", "promoted", "resolved"]
    with Project(world.folder) as project:
        assert status_document(project)["incidents"] == []
    write_spec(world.folder, triggers="")


def test_a_real_server_is_asked_whether_it_serves_the_champion(packages: Any, tmp_path: Path) -> None:
    from headrace import Server
    from headrace.project.health import ailing

    found = packages[False]
    with Store.open(tmp_path) as store:
        from headrace.registry import Registry

        registry = Registry(store, who="test")
        registry.register("tide", found["files"], about=found["about"], model_digest=found["digest"])
        with Server(registry.get("tide", 1)) as server:
            url = f"http://127.0.0.1:{server.port}"
            assert ailing(url, "tide", 1) is None
            assert ailing(url, "tide", None) is None
            assert "does not serve version 2 of tide, the champion" in (ailing(url, "tide", 2) or "")
        assert "does not answer" in (ailing(url, "tide", 1) or "")


def test_of_two_looks_beside_each_other_one_tells_and_the_other_does_nothing(tmp_path: Path) -> None:
    """`headrace loop --once` from cron may overtake the one before, whose notifier is slow: there is one lease."""
    hook = Hook()
    hook.status = 0  # answers when it is let go
    world = World(tmp_path, triggers=HOOK.format(url=hook.url) + "timeout = 30\n", loop="promote = 'wait'")
    spec = tmp_path / "headrace.toml"
    spec.write_text(spec.read_text().replace('window = "sliding"\nlength = "60d"', ""))  # the machine's clock is ahead
    words = [sys.executable, "-c", "from headrace.cli.main import main; main()", "loop", "--once", "--project"]
    first = subprocess.Popen([*words, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not hook.got and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert hook.got, first.communicate(timeout=5)
        second = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 0
        assert "another process is the loop of this project: nothing was done" in second.stderr
        assert len(hook.got) == 1
        hook.status = 200
        hook.hang.set()
        first.communicate(timeout=60)
    finally:
        first.kill()
        first.wait()
        hook.hang.set()
        hook.close()
    third = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert third.stdout == "nothing to do\n"
    told = [entry for entry in world.log() if entry.kind in ("notified", "not notified")]
    assert [entry.body["event"] for entry in told][:1] == ["awaiting_approval"]
    assert len(hook.got) == 1
