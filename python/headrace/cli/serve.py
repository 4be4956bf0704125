"""`headrace serve`."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.command import Command
from headrace.cli.failure import INTERRUPTED
from headrace.cli.options import json_option, project_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from headrace.serving import Server
    from headrace.serving.watching import Watching
    from headrace.types import PackageView


@click.command(
    cls=Command,
    examples=[
        "headrace serve flights@champion",
        "headrace serve model.onnx --port 9000 --workers 2",
        "headrace serve flights@3 --deadline 0.2 --drain 5",
    ],
    keys={
        "url": "where it listens",
        "model, version": "what it serves",
        "engine": "what computes: trees (a tree ensemble, walked without ONNX Runtime, where faster) or onnxruntime",
        "batched": "whether requests that wait are computed together",
        "written": "with --write-dashboards: the files",
    },
)
@click.argument("model", metavar="REF|FILE.onnx", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of the loopback.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="0: any that is free.")
@click.option(
    "--workers", type=click.IntRange(1), help="Threads, each with a copy of the model.  [default: one a processor]"
)
@click.option(
    "--max-batch-rows",
    default=1024,
    show_default=True,
    type=click.IntRange(1),
    help="Rows that are computed together, at most; 1: each request by itself.",
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "onnxruntime", "trees"]),
    help="What computes; auto: tree ensembles are walked without ONNX Runtime where that was measured to be faster.",
)
@click.option(
    "--deadline",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.001, 86_400),
    help="Seconds that a request may wait for its answer.",
)
@click.option(
    "--drain",
    default=25.0,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    help="Seconds after SIGTERM or Ctrl-C in which what was asked is still answered.",
)
@click.option(
    "--window",
    default=3600.0,
    show_default=True,
    type=click.FloatRange(1, 86_400),
    help="Seconds of a live window: predicted rows are counted by period, and compared with the reference.",
)
@click.option(
    "--log-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where predictions are logged.  [default: predictions in the project's store; none for a file]",
)
@click.option("--no-log", is_flag=True, help="Log no predictions.")
@click.option(
    "--log-sample",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of requests that are logged.",
)
@click.option(
    "--write-dashboards",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write alert rules for Prometheus and a dashboard for Grafana into DIR, and serve nothing.",
)
@project_option
@json_option
def serve(
    *,
    model: str | None,
    host: str,
    port: int,
    workers: int | None,
    max_batch_rows: int,
    engine: str,
    deadline: float,
    drain: float,
    window: float,
    log_dir: Path | None,
    no_log: bool,
    log_sample: float,
    write_dashboards: Path | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Answer requests for predictions over HTTP, until SIGTERM or Ctrl-C.

    REF is MODEL@ALIAS, MODEL@NUMBER, or MODEL for its champion: raw columns in, the prediction out, computed by the
    feature plan of the package. A file ending in .onnx is served as it is. The Open Inference Protocol v2, KServe v1,
    MLflow's /invocations and SageMaker's /ping are answered on the same port, and /metrics for Prometheus.

    What is predicted is counted and logged after the answer, in the store of the project; no answer waits for that.
    """
    if write_dashboards is not None:
        from headrace.serving import dashboards

        written = [str(path) for path in dashboards.write(write_dashboards)]
        click.echo(json.dumps({"written": written}) if as_json else "\n".join(written))
        return
    if model is None:
        raise click.UsageError("name what to serve: REF, or FILE.onnx")
    from headrace.serving import Server

    if no_log and log_dir is not None:
        raise click.UsageError("--no-log and --log-dir say different things: leave one out")

    def start(source: object, log: Path | None) -> Server:
        return Server(
            source,  # type: ignore[arg-type]  # a package or a path, as below
            host=host,
            port=port,
            workers=workers,
            max_batch_rows=max_batch_rows,
            engine=engine,
            deadline=deadline,
            window=window,
            log=None if no_log else log,
            log_sample=log_sample,
        )

    watching = None

    with until_asked_to_stop() as asked:
        if model.endswith(".onnx"):
            server = start(Path(model), log_dir)
        else:
            from headrace.project import Project

            with Project(project_dir, env=env) as project:
                package = project.registry.resolve(model)
                root, url = project.store.root, project.store.url
                server = start(package, log_dir or root / "predictions")
                watching = _watch(server, package, root, url)
        try:
            if as_json:
                document = {
                    "url": server.url,
                    "model": server.model,
                    "version": server.version,
                    "engine": server.engine,
                    "batched": server.batched,
                }
                click.echo(json.dumps(document))
            else:
                click.echo(f"serving {server.model}@{server.version} on {server.url}; Ctrl-C stops it", err=True)
            asked()
        finally:
            server.stop(patience=drain)
            if watching is not None:
                watching.stop()


def _watch(server: Server, package: PackageView, root: Path, url: str | None) -> Watching:
    """What carries windows into the store, while it is there."""
    from headrace.serving.watching import Watching
    from headrace.store import Store

    def find(name: str, number: str) -> PackageView | None:
        version = package.version
        return package if (version.name, str(version.number)) == (name, number) and _has_profile(package) else None

    def say(trouble: str) -> None:
        click.echo(f"warning: {trouble}", err=True)

    watching = Watching(server, lambda: Store.open(root, url=url, create=False), find, say=say)
    watching.start()
    return watching


def _has_profile(package: PackageView) -> bool:
    return "profile.bin" in package.manifest["files"]


@contextmanager
def until_asked_to_stop() -> Iterator[Callable[[], object]]:
    """Gives what waits for SIGTERM or Ctrl-C; the second one leaves the process at once with code 130."""
    # A handler runs between two steps of the interpreter, which are none while it waits; the pipe is written at once.
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(INTERRUPTED)
        asked = True

    def wait() -> None:
        while not asked:
            os.read(told, 1)

    heard = (signal.SIGINT, signal.SIGTERM)
    awake = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(awake)
        os.close(told)
        os.close(tell)
