"""`headrace`: the root of the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from headrace.cli import failure
from headrace.cli.command import Lazy, LazyGroup, Settings, traceback_option

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPLETE = "_HEADRACE_COMPLETE"
_SECTIONS = {
    "Make a model": {
        "init": Lazy("headrace.cli.init:init", "Look at a data file and write a headrace.toml that fits it."),
        "run": Lazy("headrace.cli.run:run", "Run the pipeline; what is known is taken from the cache."),
        "plan": Lazy("headrace.cli.run:plan", "Show what a run would execute, without running it."),
        "validate": Lazy("headrace.cli.validate:validate", "Check data against expectations, or suggest some."),
        "predict": Lazy("headrace.cli.predict:predict", "Predict the rows of a file with a registered model."),
    },
    "Look at what was done": {
        "explain": Lazy("headrace.cli.run:explain", "Say for each stage of a run why it was executed or not."),
        "runs": Lazy("headrace.cli.runs:runs", "List, show and compare runs."),
        "report": Lazy("headrace.cli.report:report", "Write the HTML report of a run to a file."),
        "lineage": Lazy("headrace.cli.lineage:lineage", "Show what made an artifact, and what came of it."),
        "reproduce": Lazy("headrace.cli.reproduce:reproduce", "Execute again what made a model version, and compare."),
        "artifacts": Lazy("headrace.cli.artifacts:artifacts", "Show and export artifacts."),
    },
    "Serve": {
        "serve": Lazy("headrace.cli.serve:serve", "Answer requests for predictions over HTTP."),
        "tokens": Lazy("headrace.cli.tokens:tokens", "Make, list and revoke the tokens with which clients ask."),
        "feedback": Lazy("headrace.cli.feedback:feedback", "Take labels for what was predicted, and show metrics."),
    },
    "Watch": {
        "profile": Lazy("headrace.cli.drift:profile", "Write what the columns of DATA look like, in few bytes."),
        "drift": Lazy("headrace.cli.drift:drift", "Say which columns of LIVE changed since REF."),
    },
    "Close the loop": {
        "loop": Lazy("headrace.cli.loop:loop", "Watch, decide, train, compare, promote or keep, by itself."),
        "status": Lazy("headrace.cli.status:status", "Show what the loop does, what keeps it, what it did last."),
        "timeline": Lazy("headrace.cli.status:timeline", "Show everything that the loop decided and did."),
        "rehearse": Lazy("headrace.cli.rehearse:rehearse", "Play the loop through a made-up world with known faults."),
        "audit": Lazy("headrace.cli.status:audit", "Check that the log of the loop is as it was written."),
    },
    "Keep": {
        "models": Lazy("headrace.cli.models:models", "List, show, promote and roll back model versions."),
        "store": Lazy("headrace.cli.store:store", "Check, clean and merge the store."),
        "plugins": Lazy("headrace.cli.plugins:group", "List, explain, check and write plugins."),
    },
}


class Root(LazyGroup):
    """The root group: turns whatever goes wrong into a message and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and leave the process, or with `standalone_mode=False` return the exit code."""
        if os.environ.get(_COMPLETE):
            return super().main(args, prog_name or "headrace", complete_var or _COMPLETE, **extra)
        _open_streams()
        settings = Settings(traceback=bool(os.environ.get("HEADRACE_TRACEBACK")))
        if not failure.color_allowed():
            extra.setdefault("color", False)
        _never_fail_to_encode()
        words = list(sys.argv[1:] if args is None else args)
        code = failure.OK
        try:
            with self.make_context(prog_name or "headrace", words, obj=settings, **extra) as ctx:
                self.invoke(ctx)
            sys.stdout.flush()
        except click.exceptions.Exit as ended:
            code = ended.exit_code
        except BrokenPipeError:
            _reader_has_left()
        except BaseException as error:  # noqa: BLE001  # the last door: whatever it is, a person must be told
            code = failure.report(error, show_traceback=settings.traceback)
        if standalone_mode:
            sys.exit(code)
        return code

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Exit codes, environment, examples."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in failure.EXIT_CODES.items()])
        with formatter.section("Environment"):
            formatter.write_dl(
                [
                    ("NO_COLOR", "no colours, if set and not empty"),
                    ("HEADRACE_TRACEBACK", "as --traceback, if set and not empty"),
                ]
            )
        super().format_epilog(ctx, formatter)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"headrace {version('headrace')}")
    ctx.exit()


cli = Root(
    name="headrace",
    sections=_SECTIONS,
    help="From a data file to a gated, registered, reproducible model: in one process, without a server.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Show the version and exit.",
        ),
        traceback_option(),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    examples=[
        "headrace init flights --data flights.parquet --target late",
        "headrace run --project flights",
        "headrace predict flights@champion new.parquet --project flights",
    ],
)


def main() -> None:
    """Entry point of the console script."""
    # Threads of OpenMP that wait by spinning take the processor from stages that run beside this one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    cli.main()


def _open_streams() -> None:
    """`headrace run >&-`: a stream that the caller closed is nowhere, and no file of ours gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:  # the lowest free number is the one that is given: this one
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # a stage's process must not get it either
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _never_fail_to_encode() -> None:
    """A name that the terminal cannot show is shown as an escape, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _reader_has_left() -> None:
    """`headrace runs list | head`: whoever reads has seen enough, which is no failure."""
    # What is still in the buffer would fail again, noisily, when the interpreter closes the stream.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
