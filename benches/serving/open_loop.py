"""Asks at a fixed rate, whether it is answered or not, and says how long each answer took from when it was due.

    python open_loop.py HOST PORT RATE SECONDS CONNECTIONS < REQUEST

REQUEST is one request of HTTP/1.1 as it goes over the wire. Request i is due at i / RATE; it goes out on the first
connection that is free from then on. What it waits for one counts: a server that stops for a while is charged for what
was due meanwhile (no coordinated omission). Prints JSON: `rate` (answers a second), `p50`, `p99`, `p999` and `max` in
seconds, `errors`, `unanswered` (due, and not answered 5 s after the end), and `late`, the 99th percentile of how much
later than due and possible this program sent, which says whether it kept up itself.
"""

import json
import select
import socket
import sys
import time
from collections import deque

PATIENCE = 5.0


class Connection:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.read = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def answer(self) -> int | None:
        """The status, once the answer is whole."""
        self.read += self.socket.recv(65_536)
        head, found, body = self.read.partition(b"\r\n\r\n")
        if not found:
            if not self.read:
                raise ConnectionError("closed")
            return None
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b":", 1) for line in lines[1:])
        if b"content-length" in fields:
            whole = len(body) >= int(fields[b"content-length"])
        else:
            whole = body.endswith(b"0\r\n\r\n")
        if not whole:
            return None
        self.read = b""
        return int(lines[0].split()[1])


def main() -> None:
    host, port, rate, seconds, count = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:6])
    request = sys.stdin.buffer.read()
    free = deque(Connection(host, port) for _ in range(int(count)))
    busy: set[Connection] = set()
    total, sent, errors = int(rate * seconds), 0, 0
    took: list[float] = []
    late: list[float] = []
    start = time.perf_counter() + 0.1
    could = start
    while len(took) + errors < total:
        now = time.perf_counter()
        if now > start + seconds + PATIENCE:
            break
        while free and sent < total and start + sent / rate <= now:
            connection = free.popleft()
            connection.due = start + sent / rate
            connection.socket.sendall(request)
            busy.add(connection)
            sent += 1
            late.append(time.perf_counter() - max(connection.due, could))
        next_due = start + sent / rate if free and sent < total else now + 0.1
        ready, _, _ = select.select(list(busy), [], [], max(0.0, next_due - time.perf_counter()))
        for connection in ready:
            status = connection.answer()
            if status is None:
                continue
            took.append(time.perf_counter() - connection.due)
            errors += status != 200
            if status != 200:
                took.pop()
            busy.discard(connection)
            if not free:
                could = time.perf_counter()
            free.append(connection)
    end = time.perf_counter()
    took.sort()
    late.sort()

    def quantile(values: list[float], q: float) -> float | None:
        return values[min(int(len(values) * q), len(values) - 1)] if values else None

    document = {
        "rate": len(took) / (end - start),
        "p50": quantile(took, 0.5),
        "p99": quantile(took, 0.99),
        "p999": quantile(took, 0.999),
        "max": quantile(took, 1.0),
        "errors": errors,
        "unanswered": total - len(took) - errors,
        "late": quantile(late, 0.99),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
