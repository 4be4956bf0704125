"""What is said on stderr while a run works: bars on a terminal, lines elsewhere, nothing with `--quiet`."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

import click

from headrace.cli.failure import color_allowed
from headrace.cli.output import number, seconds
from headrace.errors import printable

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

    from headrace.runtime.context import Event

OUTCOME_COLORS = {
    "executed": "green",
    "cached": "blue",
    "failed": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
    "succeeded": "green",
    "crashed": "red",
    "running": "cyan",
}


class Watcher(Protocol):
    """Is told of each event of a run, from the threads of the stages; a context manager around the run."""

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...


def watcher(*, quiet: bool) -> Watcher:
    """The watcher for this stderr."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Silent:
    """Says nothing."""

    def __call__(self, event: Event) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""


class Lines:
    """One line an event that matters, for logs: `train: started`, `train: executed in 3.20 s: first time`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        text = _line(event)
        if text is not None:
            with self._lock:
                click.echo(f"{event.stage}: {printable(text)}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do."""


class Bars:
    """A bar for each stage that runs, and a lasting line for each that has ended.

    rich is imported when the first stage begins, so that a run that finds everything in the cache does not pay for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._show(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
                self._progress = None

    def _show(self, event: Event) -> None:
        match event.kind:
            case "started":
                self._begin(event.stage)
            case "progress":
                total = event.data["total"]
                self._update(event.stage, completed=event.data["done"], total=total)
            case "metric" if event.data["step"] is not None:
                self._update(event.stage, said=f"{event.data['name']} {number(event.data['value'])}")
            case "ended":
                self._end(event)
            case "log" | "retry":
                self._print(f"  {event.stage}: {_line(event)}", dim=True)

    def _begin(self, stage: str) -> None:
        if self._progress is None:
            self._progress = _bars()
            self._progress.start()
        self._tasks[stage] = self._progress.add_task(printable(stage), total=None, said="")

    def _update(self, stage: str, **fields: Any) -> None:
        if self._progress is not None and stage in self._tasks:
            self._progress.update(self._tasks[stage], **fields)

    def _end(self, event: Event) -> None:
        if self._progress is not None and event.stage in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.stage))
        self._print(f"{event.stage}: {_line(event)}", color=OUTCOME_COLORS.get(event.data["outcome"]))

    def _print(self, text: str, *, color: str | None = None, dim: bool = False) -> None:
        if self._progress is None:
            styled = click.style(printable(text), fg=color, dim=dim or None)
            click.echo(styled, err=True, color=None if color_allowed() else False)
        else:
            style = "dim" if dim else color
            from rich.text import Text

            # A Text of its own: a style of `print` would colour the bars below it as well.
            self._progress.console.print(Text(printable(text), style=style or ""))


def _line(event: Event) -> str | None:
    data = event.data
    match event.kind:
        case "started":
            return "started"
        case "log":
            return str(data["message"])
        case "retry":
            return f"attempt {data['attempt']} of {data['of']} failed, trying again: {data['error']}"
        case "ended":
            took = f" in {seconds(data['seconds'])} s" if data["outcome"] == "executed" else ""
            return f"{data['outcome']}{took}: {data['why']}"
    return None


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False, style="dim"),
        console=Console(stderr=True, no_color=not color_allowed() or None),
        transient=True,
    )
