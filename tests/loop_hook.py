"""A server that somebody is told on."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOOK = """
[loop.notify.ops]
use = "webhook"
url = "{url}"
"""


class Hook:
    """A server that keeps what it was sent, and answers as it is told."""

    def __init__(self) -> None:
        hook = self
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.hang = threading.Event()
        self.location = ""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                if hook.status == 0:
                    hook.hang.wait(20)
                    return
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("location", hook.location)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                hook.got.append(({}, b"GET"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook/T0KEN"

    def close(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies()]
