"""`headrace profile` and `headrace drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, size

if TYPE_CHECKING:
    from headrace.project.drift import Found

_FORMATS = ["parquet", "csv", "ndjson", "ipc"]
_VERDICTS = {"drift": "red", "not enough data": "yellow", "no drift": "green"}
_READ = "What the data files are.  [default: by their first bytes; text by its extension]"


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(name for name in value.split(",") if name)


@click.command(
    cls=Command,
    examples=[
        "headrace profile january.parquet -o january.profile",
        "headrace profile january.csv -o january.profile --columns carrier,delay --segments origin",
        "headrace profile july.parquet --on january.profile -o july.window",
    ],
    keys={
        "path, bytes": "where it was written, and how much",
        "rows": "how many rows were counted",
        "columns": "name -> what it is read as",
        "segments": "the values that have counts of their own",
        "fingerprint": "SHA-256 of the bins",
    },
)
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where to write.")
@click.option("--columns", metavar="NAME,...", callback=_names, help="Only these columns, whatever they look like.")
@click.option("--segments", metavar="NAME", help="A column whose most frequent values get counts of their own.")
@click.option(
    "--on",
    metavar="PROFILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Count on the bins of this profile: gives a window, to be compared with it.",
)
@click.option("--format", "stated", type=click.Choice(_FORMATS), help=_READ)
@project_option
@json_option
def profile(
    *,
    data: Path,
    output: Path,
    columns: tuple[str, ...] | None,
    segments: str | None,
    on: Path | None,
    stated: str | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Write what the columns of DATA look like, in a few kilobytes.

    DATA is a Parquet, Arrow IPC, CSV or NDJSON file, read as the project reads its own where there is a headrace.toml,
    and in batches, twice: once to choose bins, once to count on them. Memory does not grow with its rows.
    Columns in which (nearly) every value is its own name rows, and are left out unless --columns names them.
    """
    from headrace.project.drift import Options, Source, profile_file, window_of_file
    from headrace.project.writing import write_whole

    if on is not None and (columns is not None or segments is not None):
        raise click.UsageError("--on takes the columns and segments of the profile: leave out --columns and --segments")
    source = Source(project_dir, env, stated)
    facts: dict[str, Any] = {"path": str(output)}
    if on is not None:
        window = window_of_file(source, data, on)
        content = window.to_bytes()
        facts |= {"bytes": len(content), "rows": window.rows}
    else:
        made = profile_file(source, data, Options(columns=columns, segments=segments), _say)
        content = made.to_bytes()
        facts |= {"bytes": len(content), "rows": made.rows, "columns": made.columns, "segments": list(made.segments)}
        facts |= {"fingerprint": made.fingerprint}
    write_whole(output, content)
    if as_json:
        echo_json(facts)
    else:
        what = f"{facts['rows']:,} rows" + (f" of {len(facts['columns'])} columns" if "columns" in facts else "")
        click.echo(f"{what} -> {click.format_filename(output)} ({size(len(content))})", err=True)


@click.command(
    cls=Command,
    examples=[
        "headrace drift january.parquet july.parquet",
        "headrace drift january.profile july.window --json",
        "headrace drift flights@champion new.parquet --html drift.html --fail-on-drift",
        "headrace drift january.parquet year.parquet --time-column date --period week --html drift.html",
        "headrace drift january.parquet july.parquet --segment carrier",
        "headrace drift flights@champion new.parquet --prometheus /var/lib/node_exporter/flights.prom",
    ],
    keys={
        "drift": "whether any column drifted, of all rows or in a segment",
        "reference, live": "what was compared, and how many rows each has",
        "settings": "delta, alpha and the others that hold for all columns",
        "about": "of a registered model: its name, version and package",
        "columns": "ranked: name, verdict, effect, importance, statistics with n's, bounds and what is detectable",
        "periods": "start, rows, drifted, undecided, the effect of each column, and what drifted in each segment",
        "segments": "by (the column), segment (its value), rows of both, drifted, undecided and its columns",
    },
)
@click.argument("ref", metavar="REF")
@click.argument("live", metavar="LIVE", type=click.Path(path_type=Path))
@click.option("--columns", metavar="NAME,...", callback=_names, help="Only these columns.")
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="The size of a change, from 0 to 1, up to which it does not matter.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="The share of false alarms among the alarms that is accepted.",
)
@click.option("--time-column", metavar="NAME", help="Dates or moments of the live rows, for --period.")
@click.option("--period", type=click.Choice(["day", "week", "month"]), help="Compare each of these by itself too.")
@click.option(
    "--segment",
    metavar="COLUMN",
    help="Compare the rows of each frequent value of this column by themselves too. A profile or a model must have "
    "been made so, and is then without being asked.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots to this file.")
@click.option(
    "--prometheus",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write Prometheus text to this file, whole or not at all.",
)
@click.option("--fail-on-drift", is_flag=True, help="Exit with 6 if a column drifted, of all rows or in a segment.")
@click.option("--format", "stated", type=click.Choice(_FORMATS), help=_READ)
@project_option
@json_option
def drift(
    *,
    ref: str,
    live: Path,
    columns: tuple[str, ...] | None,
    delta: float,
    alpha: float,
    time_column: str | None,
    period: Literal["day", "week", "month"] | None,
    segment: str | None,
    html: Path | None,
    prometheus: Path | None,
    fail_on_drift: bool,
    stated: str | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Say which columns of LIVE changed since REF.

    REF is a data file, a profile, or a registered model (MODEL@ALIAS, MODEL@NUMBER): then what the model says of the
    rows is compared too, columns are ranked by their importance to it, and the hook on_drift is told. LIVE is a data
    file, or counts on the bins of REF (`headrace profile --on`). Data files are read in batches: memory does not grow
    with their rows.

    A column drifted if it surely changed by more than --delta; with too few rows to tell, it is "not enough data", and
    "visible from" says how large a change these rows would show. Exits with 0 whether or not there is drift; with
    --fail-on-drift, with 6 if there is.
    """
    from headrace.project.drift import Options, Source, compare_sources, tell

    options = Options(
        columns=columns, delta=delta, alpha=alpha, time_column=time_column, period=period, segment=segment
    )
    source = Source(project_dir, env, stated)
    found = compare_sources(source, ref, live, options, _say)
    report = found.report
    if prometheus is not None:
        from headrace.compute.drift.exposition import prometheus_text
        from headrace.project.writing import write_whole

        write_whole(prometheus, prometheus_text(report).encode())
        _say(f"wrote {click.format_filename(prometheus)}")
    if html is not None:
        _write_page(found, ref, live, html)
    if as_json:
        echo_json(_document(found, ref, live))
    else:
        _print(found)
    if report.drifted or report.drifted_segments:
        if "model" in report.about:
            tell(source, report)
        if fail_on_drift:
            from headrace.cli.failure import DriftFoundError

            found_ones = report.drifted or [
                f"{name} ({s.segment})" for s in report.segments for name in s.report.drifted
            ]
            names = ", ".join(found_ones[:5]) + (" and more" if len(found_ones) > 5 else "")
            raise DriftFoundError(f"{names} drifted", place=str(live))


def _say(message: str) -> None:
    from headrace.errors import printable

    click.echo(printable(message), err=True)


def _print(found: Found) -> None:
    report = found.report
    weighted = any(column.importance != 1 for column in report)
    heads = [Column("column"), Column("verdict", colors=_VERDICTS), Column("what")]
    heads += [Column(name, "right") for name in ("size", "at least", "at most", "delta", "visible from", "p adjusted")]
    heads += [Column("importance", "right")] if weighted else []
    rows: list[list[Any]] = []
    for column in report:
        part = column.effect
        shown = [_short(v) for v in (part.size, part.low, part.high, part.delta, part.detectable)]
        row = [column.name, column.verdict, part.name, *shown, _small(column.pvalue_adjusted)]
        rows.append([*row, _short(column.importance)] if weighted else row)
    echo_table(heads, rows)
    click.echo()
    summary = f"{len(report.drifted)} of {len(report)} columns drifted"
    if report.undecided:
        summary += f"; for {len(report.undecided)} there are not enough data"
    click.echo(click.style(summary, fg="red" if report.drifted else None))
    if found.periods:
        click.echo()
        columns = [Column("period"), Column("rows", "right"), Column("drifted", "right"), Column("which")]
        periods = []
        for p in found.periods:
            which = ", ".join(p.report.drifted_somewhere())
            periods.append((p.start, f"{p.rows:,}", len(p.report.drifted), which))
        echo_table(columns, periods)
    if report.segments:
        click.echo()
        columns = [Column("segment"), Column("rows", "right"), Column("drifted", "right")]
        columns += [Column("not enough data", "right"), Column("which")]
        segments = []
        for one in report.segments:
            drifted, undecided = one.report.drifted, one.report.undecided
            segments.append((one.segment, f"{one.rows[1]:,}", len(drifted), len(undecided), ", ".join(drifted)))
        echo_table(columns, segments)


def _document(found: Found, ref: str, live: Path) -> dict[str, Any]:
    document: dict[str, Any] = {
        "drift": bool(found.report.drifted or found.report.drifted_segments),
        "reference": {"name": ref, "rows": found.reference.inputs.rows},
        "live": {"name": str(live), "rows": found.windows.rows},
        **found.report.to_dict(),
    }
    document["periods"] = [
        {
            "start": one.start,
            "rows": one.rows,
            "drifted": list(one.report.drifted),
            "undecided": list(one.report.undecided),
            "effects": {column.name: column.effect.size for column in one.report},
            "segments": {part.segment: list(part.report.drifted) for part in one.report.segments},
        }
        for one in found.periods
    ]
    return document


def _write_page(found: Found, ref: str, live: Path, path: Path) -> None:
    from headrace.builtins.report.drift_page import drift_page
    from headrace.builtins.report.figures import available
    from headrace.project.writing import write_whole

    plots = available()
    if not plots:
        _say("the page has no plots, since matplotlib is not installed: pip install 'headrace[report]'")
    page = drift_page(
        found.report,
        reference=ref,
        live=str(live),
        rows=(found.reference.inputs.rows, found.windows.rows),
        counts=found.counts(),
        kinds=found.kinds(),
        periods=[(one.start, one.rows, one.report) for one in found.periods],
        plots=plots,
    )
    write_whole(path, page.encode())
    _say(f"wrote {click.format_filename(path)}")


def _short(value: float) -> str:
    if value != value:  # noqa: PLR0124  # NaN
        return "-"
    return "never" if value == float("inf") else f"{value:.3f}"


def _small(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 or value != value else f"{value:.0e}"  # noqa: PLR0124  # NaN
