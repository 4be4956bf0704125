"""Live through the rest of the year: a server answers, what became of the flights is known days later, the loop acts.

    python live.py

January to March are the history. From April on, week by week on a simulated clock: each day's flights are asked of a
real server, a process that only knows the store and follows the promotions of the loop; what became of them comes in
three days late, to the server's `/feedback` and as a file to the loop; then the loop looks, and does what it decides.

In the end this shows the log of the loop, and the loss by month for three policies (this one, never training again,
training every four weeks): a table, a plot of letters, and `year.png`. Ends with 1 where the server does not do what
it should. `--weeks` makes a shorter year, and `--every` one of fewer flights: each fifth of a day, say.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

import headrace
from headrace.loop.clock import SimulatedClock
from headrace.loop.controller import Controller
from headrace.project.looping import controller_of, lease_of

HEADRACE = [sys.executable, "-c", "from headrace.cli.main import main; main()"]
HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
MODEL = "year"
FROM = dt.date(2013, 4, 1)
DAY = dt.timedelta(days=1)
WEEK, LATE, ALWAYS_EVERY = 7 * DAY, 3 * DAY, 28 * DAY
OURS, NEVER, ALWAYS = "ours", "never", "always"
WIDTH, PATIENCE = 56, 60


def noon(day: dt.date) -> dt.datetime:
    """The simulated clock shows noon, in UTC, whenever the loop looks."""
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


@dataclass
class Losses:
    """The log loss of each policy by month."""

    sums: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    )

    def add(self, policy: str, flights: pl.DataFrame, chances: Any) -> None:
        """The flights of a day, and how probable a policy's model said it was that each would be late."""
        p = np.clip(np.asarray(chances, dtype=np.float64), 1e-9, 1 - 1e-9)
        found = self.sums[policy][f"{flights['date'][0]:%Y-%m}"]
        found[0] += float(-np.log(np.where(flights["late"].to_numpy(), p, 1 - p)).sum())
        found[1] += flights.height

    def by_month(self, policy: str) -> dict[str, float]:
        """Month -> mean."""
        return {month: total / count for month, (total, count) in self.sums[policy].items()}

    def whole(self, policy: str) -> float:
        """The mean of all flights."""
        found = self.sums[policy].values()
        return sum(total for total, _ in found) / sum(count for _, count in found)


@dataclass
class Server:
    """What a client knows of the server: where it is."""

    netloc: str

    def talk(self, method: str, path: str, document: object = None, request: str = "") -> tuple[Any, str]:
        """The answer, and the version that gave it."""
        connection = HTTPConnection(self.netloc, timeout=30)
        try:
            body = None if document is None else json.dumps(document, default=str)
            headers = {"Content-Type": "application/json"} | ({"X-Request-Id": request} if request else {})
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            said = reply.read()
        finally:
            connection.close()
        if reply.status != 200:
            sys.exit(f"the server answered {reply.status} at {path}: {said.decode(errors='replace')}")
        return json.loads(said), str(reply.getheader("headrace-version"))

    def ask(self, flights: pl.DataFrame, request: str) -> tuple[list[float], int]:
        """How probable it is that each flight will be late, and which version says so."""
        instances = {"instances": flights.drop("late", "id").to_dicts()}
        document, version = self.talk("POST", f"/v1/models/{MODEL}:predict", instances, request)
        return [one["probability_true"] for one in document["predictions"]], int(version.rpartition("@")[2])

    def tell(self, flights: pl.DataFrame, known: dt.datetime) -> int:
        """What became of flights that it was asked about."""
        labels = []
        for name, late in flights.select("id", "late").iter_rows():
            request, _, row = name.rpartition("/")
            labels.append({"id": request, "row": int(row), "label": late, "time": known.isoformat()})
        document, _ = self.talk("POST", "/feedback", labels)
        if document["labels"] != len(labels) or document["unknown"]:
            sys.exit(f"the server took {len(labels)} labels of flights that it was asked about as {document}")
        return len(labels)

    def follow(self, version: int) -> None:
        """Wait until it, whom nobody tells, serves a version."""
        until = time.monotonic() + PATIENCE
        while str(version) not in self.talk("GET", f"/v2/models/{MODEL}")[0]["versions"]:
            if time.monotonic() > until:
                sys.exit(f"the server does not follow to version {version}")
            time.sleep(0.1)


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a process of its own."""
    words = [*HEADRACE, "serve", f"{MODEL}@champion", "--port", "0", "--json", "--project", str(HERE)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command line
    try:
        said = process.stdout.readline() if process.stdout else ""
        if not said:
            sys.exit("the server did not start")
        document = json.loads(said)
        print(f"serving {document['model']}@{document['version']} on {document['url']}", flush=True)
        yield Server(urlsplit(document["url"]).netloc)
    finally:
        process.terminate()
        process.wait()


def headrace_says(*words: str) -> str:
    """Run the command line in this folder."""
    command = [*HEADRACE, *words, "--project", str(HERE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own command line
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def prepare(every: int) -> pl.DataFrame:
    """Begin anew: the history in a file, and the flights that take part, named by day and row of the request."""
    for name in (".headrace", "data"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    for name in ("live", "labels", "always/data"):
        (DATA / name).mkdir(parents=True)
    flights = pl.read_parquet(HERE.parent / "data" / "flights.parquet")
    flights = flights.filter(pl.int_range(pl.len()).over("date") % every == 0)
    named = pl.format("{}/{}", pl.col("date").cast(pl.String), pl.int_range(pl.len()).over("date"))
    flights = flights.with_columns(named.alias("id"))
    flights.filter(pl.col("date") < FROM).write_parquet(DATA / "history.parquet")
    return flights


def always_trained(flights: pl.DataFrame, day: dt.date) -> headrace.Predictor:
    """What the same stages make of all flights whose answers are known, with no gate to ask."""
    folder = DATA / "always"
    known = pl.col("date") < day - LATE
    flights.filter(known).write_parquet(folder / "data" / "history.parquet")
    making = (HERE / "headrace.toml").read_text(encoding="utf-8").partition("[evaluate]")[0]
    (folder / "headrace.toml").write_text(making, encoding="utf-8")
    with headrace.Project(folder) as project:
        run = project.run().raise_on_failure()
        made: Any = run["features", "plan"], run["train"]
        return headrace.Predictor(*made)


@dataclass
class Year:
    """The year from April on, as it is lived."""

    project: headrace.Project
    loop: Controller
    clock: SimulatedClock
    flights: pl.DataFrame
    until: dt.date
    losses: Losses = field(default_factory=Losses)
    asked: int = 0
    told: int = 0
    always: int = 1

    def live(self, server: Server) -> None:
        """Week by week."""
        day, known = FROM, FROM
        champion = self.champion()
        never = always = self.project.registry.get(MODEL, champion).predictor()
        while day < self.until:
            week = self.flights.filter(pl.col("date").is_between(day, day + WEEK, closed="left"))
            for (date,), flights in week.group_by("date", maintain_order=True):
                chances, version = server.ask(flights, str(date))
                if version != champion:
                    sys.exit(f"version {version} answered on {date}, and {champion} is champion")
                self.losses.add(OURS, flights, chances)
                self.losses.add(NEVER, flights, never.scores(flights)[:, 1])
                self.losses.add(ALWAYS, flights, always.scores(flights)[:, 1])
            self.asked += week.height
            day += WEEK
            self.deliver(server, week, known, day)
            known = day - LATE
            self.clock.at = noon(day).timestamp()
            self.loop.once()
            if self.champion() != champion:
                champion = self.champion()
                server.follow(champion)
                print(f"{day}  the server has followed to version {champion}", flush=True)
            if not (day - FROM) % ALWAYS_EVERY:
                always, self.always = always_trained(self.flights, day), self.always + 1

    def champion(self) -> int:
        """The number of the version that is."""
        number = self.project.registry.aliased(MODEL, "champion")
        if number is None:
            sys.exit(f"there is no champion: see `headrace timeline` in {HERE}")
        return number

    def deliver(self, server: Server, week: pl.DataFrame, known: dt.date, day: dt.date) -> None:
        """The flights of the week for the loop; and what became of those that landed three days ago or before."""
        week.drop("late").write_parquet(DATA / "live" / f"{day}.parquet")
        landed = self.flights.filter(pl.col("date").is_between(known, day - LATE, closed="left"))
        landed.select("id", "late", known=pl.lit(noon(day))).write_parquet(DATA / "labels" / f"{day}.parquet")
        self.told += server.tell(landed, noon(day))


def show(losses: Losses, trainings: dict[str, int]) -> None:
    """The loss by month as a table, and as letters on a scale: the more to the left, the better."""
    months = {policy: losses.by_month(policy) for policy in trainings}
    found = [value for means in months.values() for value in means.values()]
    low, high = min(found), max(found)
    print("\nlog loss by month: o ours, n never training again, a always (every four weeks), * several")
    print(f"\n{'month':<9}" + "".join(f"{policy:>9}" for policy in months) + f"   {low:<.3f}{high:>{WIDTH - 5}.3f}")
    for month in months[NEVER]:
        line = [" "] * WIDTH
        for policy, means in months.items():
            at = round((means[month] - low) / ((high - low) or 1.0) * (WIDTH - 1))
            line[at] = policy[0] if line[at] == " " else "*"
        print(f"{month:<9}" + "".join(f"{means[month]:>9.4f}" for means in months.values()) + f"  |{''.join(line)}|")
    print(f"{'all':<9}" + "".join(f"{losses.whole(policy):>9.4f}" for policy in months))
    print(f"{'trained':<9}" + "".join(f"{count:>9}" for count in trainings.values()))
    draw(months)


def draw(months: dict[str, dict[str, float]]) -> None:
    """The same as a picture: by month, and what was gained by training again."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for policy, style in ((NEVER, ":"), (ALWAYS, "--"), (OURS, "-")):
        means = months[policy]
        left.plot(list(means), list(means.values()), style, marker=".", label=policy)
        gain = [months[NEVER][month] - value for month, value in means.items()]
        right.plot(list(means), gain, style, marker=".", label=policy)
    left.set(title="log loss", xlabel="month")
    right.set(title="log loss gained over never training again", xlabel="month")
    for axes in (left, right):
        axes.tick_params(axis="x", rotation=45)
        axes.legend()
    figure.savefig(HERE / "year.png", dpi=110)
    print(f"\n{HERE / 'year.png'}")


def main() -> None:
    """Live, then tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weeks", type=int, default=39, help="how many, from April on; default: all 39")
    parser.add_argument(
        "--every", type=int, default=1, help="one in so many flights of a day takes part; default: 1, all"
    )
    options = parser.parse_args()
    if options.weeks < 1 or options.every < 1:
        parser.error("--weeks and --every are 1 or more")
    began = time.perf_counter()
    flights = prepare(options.every)
    last: Any = flights["date"].max()
    until = min(FROM + options.weeks * WEEK, last + DAY)
    clock = SimulatedClock(dt.datetime.combine(FROM, dt.time(), dt.UTC).timestamp())
    with headrace.Project(HERE) as project, lease_of(project) as lease:
        if lease is None:
            sys.exit("another loop works on this store")
        loop = controller_of(project, lease=lease, clock=clock)
        loop.once()
        year = Year(project, loop, clock, flights, until)
        with serving() as server:
            year.live(server)
        trainings = {OURS: loop.state.cycles, NEVER: 1, ALWAYS: year.always}
    print("\n" + headrace_says("timeline"))
    print(headrace_says("feedback", "--summary"))
    took = time.perf_counter() - began
    part = "all" if options.every == 1 else f"one in {options.every}"
    print(f"{part} flights: {year.asked:,} asked, {year.told:,} labels told, {took:.0f} s")
    show(year.losses, trainings)


if __name__ == "__main__":
    main()
