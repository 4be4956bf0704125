"""`headrace serve`."""

from __future__ import annotations

import json
import os
import resource
import signal
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command
from headrace.cli.failure import INTERRUPTED
from headrace.cli.options import json_option, project_option
from headrace.cli.platform import PLATFORMS
from headrace.cli.platform import platform as platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from headrace.serving import Server


_FILES = 65_536


@click.command(
    cls=Command,
    examples=[
        "headrace serve flights@champion",
        "headrace serve model.onnx --port 9000 --workers 2",
        "headrace serve flights@3 --deadline 0.2 --drain 5",
        "headrace serve --config serve.toml",
        "headrace serve flights --host 0.0.0.0 --tokens tokens.json",
        "headrace serve model.onnx --route /score=predict --route /alive=live",
        "HEADRACE_PLATFORM=sagemaker HEADRACE_MODEL=/opt/ml/model/model.onnx headrace serve",
    ],
    keys={
        "url": "where it listens",
        "model, version": "what it serves first",
        "engine": "what computes: trees (a tree ensemble, walked without ONNX Runtime, where faster) or onnxruntime",
        "batched": "whether requests that wait are computed together",
        "routes": "the versions behind each endpoint, and their weights",
        "written": "with --write-dashboards: the files",
    },
)
@click.argument("models", metavar="[REF|FILE.onnx]...", nargs=-1)
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    help="A serve.toml with endpoints and options; what is given here wins over it.",
)
@click.option("--host", help="An address of this machine; others than the loopback take tokens.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="0: any that is free.  [default: 8080]")
@click.option(
    "--tokens",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HEADRACE_TOKENS",
    metavar="FILE",
    help="Let in only who shows a token of this file, as `headrace tokens` makes them.  "
    "[default: tokens.json in the project's store, if it is there]",
)
@click.option(
    "--platform",
    type=click.Choice(PLATFORMS),
    envvar="HEADRACE_PLATFORM",
    help="Take port and paths from what this platform says to its containers, in its environment variables.",
)
@click.option(
    "--route",
    "paths",
    multiple=True,
    metavar="PATH=KIND",
    help="One more path: live, ready (GET), or predict (POST, as /invocations).",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Threads, each with a copy of the model.  [default: one a processor]"
)
@click.option(
    "--max-batch-rows",
    type=click.IntRange(1),
    help="Rows that are computed together, at most; 1: each request by itself.  [default: 1024]",
)
@click.option(
    "--max-batch-delay",
    type=click.FloatRange(0, 86_400),
    help="Seconds that a request waits for others to be computed with.  [default: 0]",
)
@click.option(
    "--max-queue-time",
    type=click.FloatRange(0, 86_400),
    help="Seconds that what waits may take, before more is refused with 503.  [default: 1]",
)
@click.option(
    "--max-bulk-rows", type=click.IntRange(1), help="Rows of a request that is an Arrow stream.  [default: 1000000]"
)
@click.option(
    "--max-bulk-bytes", type=click.IntRange(1), help="Bytes of a request that is an Arrow stream.  [default: 128 MiB]"
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnxruntime", "trees"]),
    help="What computes; auto: tree ensembles are walked without ONNX Runtime where that was measured to be faster.  "
    "[default: auto]",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.001, 86_400),
    help="Seconds that a request may wait for its answer.  [default: 10]",
)
@click.option(
    "--drain",
    type=click.FloatRange(0, 86_400),
    help="Seconds after SIGTERM or Ctrl-C in which what was asked is still answered.  [default: 25]",
)
@click.option(
    "--window",
    type=click.FloatRange(1, 86_400),
    help="Seconds of a live window: predicted rows are counted by period, and compared with the reference.  "
    "[default: 3600]",
)
@click.option(
    "--log-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where predictions are logged.  [default: predictions in the project's store; none for a file]",
)
@click.option("--no-log", is_flag=True, help="Log no predictions.")
@click.option("--log-sample", type=click.FloatRange(0, 1), help="The share of requests that are logged.  [default: 1]")
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
    models: tuple[str, ...],
    config: str | None,
    host: str | None,
    port: int | None,
    tokens: Path | None,
    platform: str | None,
    paths: tuple[str, ...],
    workers: int | None,
    max_batch_rows: int | None,
    max_batch_delay: float | None,
    max_queue_time: float | None,
    max_bulk_rows: int | None,
    max_bulk_bytes: int | None,
    engine: str | None,
    deadline: float | None,
    drain: float | None,
    window: float | None,
    log_dir: Path | None,
    no_log: bool,
    log_sample: float | None,
    write_dashboards: Path | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Answer requests for predictions over HTTP, until SIGTERM or Ctrl-C.

    REF is MODEL@ALIAS, MODEL@NUMBER, or MODEL for its champion: raw columns in, the prediction out, computed by the
    feature plan of the package. When the alias moves, whoever moves it, the server goes over to the new version without
    a gap. A file ending in .onnx is served as it is. Several are served under their names; routes without a name lead
    to the first. The Open Inference Protocol v2, KServe v1, MLflow's /invocations and SageMaker's /ping are answered on
    the same port, and /metrics for Prometheus.

    A platform that starts a container says in its environment where it asks: AIP_HTTP_PORT, AIP_HEALTH_ROUTE and
    AIP_PREDICT_ROUTE (vertex), SAGEMAKER_BIND_TO_PORT (sagemaker). Azure ML asks where the deployment says; with
    `--platform azure` that is port 5001, /, /ready and /score.

    Without tokens the server listens on the loopback only, and refuses to start elsewhere; with them, health is open
    and everything else takes one, on the loopback as well.

    What is predicted is counted and logged after the answer, in the store of the project; no answer waits for that.
    """
    if write_dashboards is not None:
        from headrace.serving import dashboards

        made = [str(path) for path in dashboards.write(write_dashboards)]
        click.echo(json.dumps({"written": made}) if as_json else "\n".join(made))
        return
    if not models and (named := os.environ.get("HEADRACE_MODEL", "").strip()):
        models = of_environment(named)
    if not models and config is None:
        raise click.UsageError("name what to serve: REF, or FILE.onnx, or --config FILE")
    # Before what takes long to import: a platform that changes its mind at once is heard as well.
    asked = click.get_current_context().with_resource(until_asked_to_stop())
    from headrace.project import serving
    from headrace.serving import Server
    from headrace.serving.config import load
    from headrace.serving.tokens import FILE as TOKENS

    if no_log and log_dir is not None:
        raise click.UsageError("--no-log and --log-dir say different things: leave one out")
    given = {
        "host": host,
        "port": port,
        "tokens": tokens,
        "workers": workers,
        "max_batch_rows": max_batch_rows,
        "max_batch_delay": max_batch_delay,
        "max_queue_time": max_queue_time,
        "max_bulk_rows": max_bulk_rows,
        "max_bulk_bytes": max_bulk_bytes,
        "engine": engine,
        "deadline": deadline,
        "drain": drain,
        "window": window,
        "log": log_dir,
        "log_sample": log_sample,
    }
    written = load(Path(config)) if config is not None else None
    options: dict[str, Any] = {"port": 8080, "drain": 25.0} | (written.options if written else {})
    for name in ("tokens", "log") if config is not None else ():
        # What a file names lies beside it, wherever the server is started.
        if name in options:
            options[name] = Path(config or "").parent / options[name]
    options |= {name: value for name, value in given.items() if value is not None}
    if no_log:
        options.pop("log", None)
    place = platform_of(platform, os.environ) if platform else None
    if place is not None and port is None:
        options["port"] = place.port
    options["paths"] = (place.routes if place else {}) | dict(map(_path, paths))
    patience = options.pop("drain")
    routes = serving.routes_of(models, written, folder=Path(config).parent if config is not None else None)

    def say(line: str) -> None:
        click.echo(line, err=True)

    _allow_connections()
    with ExitStack() as ending:
        if serving.needs_registry(routes):
            from headrace.project import Project

            with Project(project_dir, env=env) as project:
                kept = project.existing_store.root / TOKENS
                if kept.exists():
                    options.setdefault("tokens", kept)
                if not no_log:
                    options.setdefault("log", project.existing_store.root / "predictions")
                server = Server([], **options)
                stopping = ending.enter_context(_stopping(server, patience))
                follower = serving.follow(server, project, routes, say=say)
                log = Path(options["log"]) if "log" in options else None
                keeping = serving.keep(server, project, log, say=lambda trouble: say(f"warning: {trouble}"))
                watching = serving.watch(server, project, say=lambda trouble: say(f"warning: {trouble}"))
            # Windows are carried into the store once more after the last answer.
            stopping.callback(watching.stop)
            stopping.callback(keeping.stop)
            ending.callback(follower.stop)
            follower.start()
            watching.start()
            keeping.start()
        else:
            server = Server([], **options)
            ending.enter_context(_stopping(server, patience))
            serving.offer_files(server, routes)
        server.open()
        if not server.on_loopback:
            say("warning: tokens and data travel unencrypted; let a proxy that speaks TLS stand in front of the server")
        if as_json:
            document = {
                "url": server.url,
                "model": server.model,
                "version": server.version,
                "engine": server.engine,
                "batched": server.batched,
                "routes": server.routes,
            }
            click.echo(json.dumps(document))
        else:
            offered = ", ".join(name for versions in server.routes.values() for name in versions)
            click.echo(f"serving {offered} on {server.url}; Ctrl-C stops it", err=True)
        asked()


def _allow_connections() -> None:
    """As many files as the system lets the process have: each connection is one, and many systems begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def of_environment(text: str) -> tuple[str, ...]:
    """The models that HEADRACE_MODEL names, apart by blanks; a path may have blanks, and is taken whole."""
    return (text,) if text.endswith(".onnx") and Path(text).exists() else tuple(text.split())


def _path(text: str) -> tuple[str, str]:
    path, equals, kind = text.rpartition("=")
    if not equals:
        raise click.UsageError(f"--route is {text!r}, expected PATH=KIND, such as /score=predict")
    return path, kind


@contextmanager
def _stopping(server: Server, patience: float) -> Iterator[ExitStack]:
    """Stops the server at the end; what is given back ends after it."""
    with ExitStack() as after:
        try:
            yield after
        finally:
            server.stop(patience=patience)


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
