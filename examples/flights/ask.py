"""Serve the champion and ask it over HTTP about new flights, one request a flight.

    python ask.py

Run it where `headrace run` has made a champion and `headrace predict` has written `predictions.csv`. The server has to
say of each flight what stands there, or this ends with 1.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection

import polars as pl

import headrace

ASKED = 200
SHOWN = 5


def ask(connection: HTTPConnection, flight: dict[str, object]) -> float:
    """How probable the server says it is that the flight will be late."""
    body = json.dumps({"instances": [flight]}, default=str)
    connection.request("POST", "/v1/models/flights:predict", body)
    document = json.load(connection.getresponse())
    if "error" in document:
        sys.exit(document["error"])
    return document["predictions"][0]["probability_true"]


def some(flights: pl.DataFrame) -> pl.DataFrame:
    """Flights of several days."""
    return flights.gather_every(flights.height // ASKED).head(ASKED)


def main() -> None:
    """Ask, show, compare."""
    flights = some(pl.read_parquet("data/new.parquet"))
    predicted = some(pl.read_csv("predictions.csv", columns=["probability_true"]))["probability_true"].to_list()
    with headrace.Project(".") as project, headrace.Server(project.registry.resolve("flights@champion")) as server:
        print(f"serving {server.model}@{server.version} on {server.url}")
        connection = HTTPConnection(server.host, server.port, timeout=10)
        began = time.perf_counter()
        served = [ask(connection, flight) for flight in flights.iter_rows(named=True)]
        took = time.perf_counter() - began
        connection.close()
    for flight, late in zip(flights.head(SHOWN).iter_rows(named=True), served, strict=False):
        route = f"{flight['origin']}-{flight['dest']}"
        print(f"{flight['date']}  {flight['carrier']} {flight['flight']:<5}{route}  late: {late:.1%}")
    print(f"{ASKED} requests, {took / ASKED * 1000:.2f} ms each with Python's own client")
    if served != predicted:
        sys.exit("the server does not say what `headrace predict` wrote to predictions.csv")
    print("each as `headrace predict` wrote it to predictions.csv, to the last bit")


if __name__ == "__main__":
    main()
