"""Asks at a fixed rate, whether it is answered or not, and says how long each answer took from when it was due.

    python open_loop.py HOST PORT RATE SECONDS CONNECTIONS [DEADLINE] < REQUEST

REQUEST is one request of HTTP/1.1 as it goes over the wire. Request i is due at i / RATE; it goes out on the first
connection that is free from then on. What it waits for one counts: a server that stops for a while is charged for what
was due meanwhile (no coordinated omission). Prints JSON: `rate` (answers a second), `p50`, `p99`, `p999` and `max` in
seconds, `good` (answers a second within DEADLINE), `behind` (later answers), `refused` (503 and 504), `bare` (503
without Retry-After), `errors` (all that are no answers), `unanswered` (due, and not answered 5 s after the end),
`late`, the 99th percentile of how much later than due and possible this program sent, which says if it kept up, and
`processor`, the seconds of one that it took.

It leaves the processors to the server: one thread, one wait for whatever has arrived, and of an answer no more is read
than its first line and its length.
"""

import json
import select
import socket
import sys
import time
from collections import deque

PATIENCE = 5.0
REFUSED = (503, 504)


class Connection:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.read = b""

    def answer(self) -> bytes | None:
        """All of it, once it is whole."""
        piece = self.socket.recv(65_536)
        if not piece:
            raise ConnectionError("closed")
        read = self.read + piece if self.read else piece
        end = read.find(b"\r\n\r\n")
        head = read[: max(end, 0)].lower()
        at = head.find(b"\r\ncontent-length:")
        if end < 0:
            whole = False
        elif at < 0:
            whole = read.endswith(b"0\r\n\r\n")
        else:
            whole = len(read) >= end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        self.read = b"" if whole else read
        return read if whole else None


def main() -> None:
    host, port, rate, seconds, count = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:6])
    deadline = float(sys.argv[6]) if len(sys.argv) > 6 else float("inf")
    request = sys.stdin.buffer.read()
    free = deque(Connection(host, port) for _ in range(int(count)))
    by_number = {connection.socket.fileno(): connection for connection in free}
    arrived = select.epoll()
    for number in by_number:
        arrived.register(number, select.EPOLLIN)
    total, sent, errors, refused, bare = int(rate * seconds), 0, 0, 0, 0
    took: list[float] = []
    late: list[float] = []
    began = time.process_time()
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
            sent += 1
            late.append(time.perf_counter() - max(connection.due, could))
        next_due = start + sent / rate if free and sent < total else now + 0.1
        for number, _ in arrived.poll(max(0.0, next_due - time.perf_counter())):
            connection = by_number[number]
            answer = connection.answer()
            if answer is None:
                continue
            status = int(answer[9:12])
            if status == 200:
                took.append(time.perf_counter() - connection.due)
            else:
                errors += 1
                refused += status in REFUSED
                bare += status == 503 and b"\r\nretry-after:" not in answer.lower()
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
        "good": sum(one <= deadline for one in took) / (end - start),
        "behind": sum(one > deadline for one in took),
        "refused": refused,
        "bare": bare,
        "errors": errors,
        "unanswered": total - len(took) - errors,
        "late": quantile(late, 0.99),
        "processor": time.process_time() - began,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
