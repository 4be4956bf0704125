from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from headrace.cli import failure
from headrace.cli.command import Command, LazyGroup
from headrace.cli.main import cli
from headrace.errors import HeadraceError, StoreError

COMMAND = [sys.executable, "-c", "from headrace.cli.main import main; main()"]
HEAVY = ("polars", "pyarrow", "numpy", "pydantic", "sqlalchemy", "rich", "lightgbm", "onnxruntime", "pluggy")


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None, f"{path} {name}"
            found += commands(inner, (*path, name))
    return found


OURS = [(path, command) for path, command in commands(cli) if path[:1] != ("plugins",)]


def processor_seconds(*command: str, times: int = 9) -> float:
    """The least of several: what the machine's other work does to a clock, it does not do to this."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(times))


def test_help_is_fast():
    bare = processor_seconds(sys.executable, "-c", "pass")
    assert processor_seconds(*COMMAND, "--help") <= 2.5 * bare + 0.060


def test_help_imports_only_click():
    code = f"import sys\ntry:\n    {COMMAND[2]}\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    assert not [name for name in loaded if name.startswith("headrace.") and not name.startswith("headrace.cli")
                and name != "headrace.errors"]  # fmt: skip


def test_the_list_of_commands_says_what_each_says_of_itself():
    assert isinstance(cli, LazyGroup)
    ctx = click.Context(cli)
    for section in cli.sections.values():
        for name, lazy in section.items():
            command = cli.get_command(ctx, name)
            assert command is not None
            assert name in (command.name, "plugins")
            assert lazy.help.endswith(".")
            assert len(lazy.help) <= 60


@pytest.mark.parametrize(("path", "command"), OURS, ids=[" ".join(path) or "headrace" for path, _ in OURS])
def test_every_command_has_help_and_examples(path, command, headrace):
    done = headrace(*path, "--help")
    assert done.code == 0
    assert done.err == ""
    assert command.help
    assert command.examples
    assert "Examples:" in done.out
    for example in command.examples:
        assert example in done.out
        assert "headrace " in example
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    assert max(map(len, done.out.splitlines())) <= 130


def test_no_line_of_a_list_of_commands_is_cut_off(headrace):
    for path, command in OURS:
        if isinstance(command, click.Group):
            listed = headrace(*path, "--help").out.partition("Commands:")[2].partition("Examples:")[0]
            assert "..." not in listed, path


@pytest.mark.parametrize(("path", "command"), OURS, ids=[" ".join(path) or "headrace" for path, _ in OURS])
def test_a_command_with_json_says_which_keys(path, command, headrace):
    takes_json = any(parameter.name == "as_json" for parameter in command.params)
    assert takes_json == bool(getattr(command, "keys", None))
    if isinstance(command, Command) and path != ("init",):
        assert any("--project" in parameter.opts for parameter in command.params)


def test_every_exit_code_of_the_errors_is_documented(headrace):
    def codes(error: type[HeadraceError]) -> set[int]:
        return {error.exit_code}.union(*(codes(inner) for inner in error.__subclasses__()))

    assert codes(HeadraceError) <= set(failure.EXIT_CODES)
    shown = headrace("--help").out
    for code, meaning in failure.EXIT_CODES.items():
        assert f"  {code} " in shown
        assert meaning.split()[0] in shown


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", [["run"], ["run", "--json"], ["runs", "list"], ["--help"]])
def test_a_closed_stream_is_nowhere(project, headrace, closed, command):
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *COMMAND, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) == (not closed.startswith(">"))
    if command[0] == "run":
        assert headrace("store", "fsck").code == 0  # nothing was written into the file that got the stream's number


def test_version(headrace):
    from importlib.metadata import version

    assert headrace("--version").out == f"headrace {version('headrace')}\n"


def test_an_unknown_command_names_the_nearest(headrace):
    done = headrace("rnu")
    assert done.code == 2
    assert done.out == ""
    assert "there is no command 'rnu'; did you mean run" in done.err


def test_an_unknown_option(headrace):
    done = headrace("runs", "list", "--limti", "3")
    assert done.code == 2
    assert "--limti" in done.err
    assert "`headrace runs list --help` shows the usage" in done.err


def test_no_project_is_an_error_with_the_way_out(headrace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = headrace("run")
    assert done.code == 2
    assert done.err.startswith("error: headrace.toml: there is no headrace.toml here")
    assert "headrace init" in done.err
    assert list(tmp_path.iterdir()) == []


# --- errors ---------------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> click.Command:
    def callback() -> None:
        raise error

    return Command("broken", callback=callback)


@pytest.fixture
def broken(monkeypatch, headrace):
    """Runs a command that raises."""

    def run(error: BaseException, *args: str):
        monkeypatch.setattr(LazyGroup, "get_command", lambda *_: raising(error))
        monkeypatch.setattr(LazyGroup, "list_commands", lambda *_: ["broken"])
        return headrace(*args, "broken")

    return run


def test_an_error_shows_place_message_and_hint(broken):
    done = broken(StoreError("it is full", place="disk 1", hint="Make room."))
    assert done.code == 5
    assert done.err == "error: disk 1: it is full\n  hint: Make room.\n"
    assert done.out == ""


def test_control_characters_do_not_reach_the_terminal(broken):
    done = broken(StoreError("column '\x1b[31mred\x07'"))
    assert done.err == "error: column '\\x1b[31mred\\x07'\n"


def test_traceback_only_when_asked(broken):
    assert "Traceback" not in broken(StoreError("x")).err
    assert "Traceback" in broken(StoreError("x"), "--traceback").err


def test_traceback_by_environment(broken, monkeypatch):
    monkeypatch.setenv("HEADRACE_TRACEBACK", "1")
    assert "Traceback" in broken(StoreError("x")).err


def test_a_bug_is_called_one_and_its_traceback_is_kept(broken):
    done = broken(RuntimeError("oh"))
    assert done.code == 1
    assert "error: this is a bug of headrace or of a plugin: RuntimeError: oh" in done.err
    assert "Traceback" not in done.err
    path = Path(done.err.split("The traceback is in ")[1].split(";")[0])
    assert "Traceback" in path.read_text()
    path.unlink()


def test_an_interrupt(broken):
    done = broken(KeyboardInterrupt())
    assert done.code == 130
    assert done.err == "error: interrupted\n"


def test_an_os_error_names_the_file(broken):
    done = broken(PermissionError(13, "Permission denied", "/some/file"))
    assert done.code == 5
    assert done.err == "error: /some/file: Permission denied\n"


def test_colours_only_on_a_terminal_and_never_with_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert failure.color_allowed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not failure.color_allowed()
    monkeypatch.setenv("NO_COLOR", "")
    assert failure.color_allowed()
    monkeypatch.setenv("TERM", "dumb")
    assert not failure.color_allowed()


# --- pipes ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error():
    with subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_disk_under_stdout_is_an_error():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 5
    assert b"No space left on device" in done.stderr


def test_a_terminal_that_lacks_a_character_gets_an_escape(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [*COMMAND, "run", "--project", str(tmp_path / "é🚀")], env=env, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"\xe9\\U0001f680" in done.stderr


def test_completion_script():
    env = {**os.environ, "_HEADRACE_COMPLETE": "bash_source"}
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, check=False)
    assert "_headrace_completion" in done.stdout
