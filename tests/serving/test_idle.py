"""What a server costs that nobody asks."""

from __future__ import annotations

import select
import socket
import time

import pytest

ASK = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("clients", [1, 2, 5])
def test_clients_that_were_quick_and_ask_no_more_cost_no_processor_time(plain, clients):
    connections = [socket.create_connection((plain.host, plain.port), timeout=10) for _ in range(clients)]
    try:
        # Quick enough for the server to stay awake for the next request.
        for _ in range(300):
            for connection in connections:
                connection.sendall(ASK)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        # For a moment it may.
        assert not select.select(connections, [], [], 0.05)[0]
        before = time.process_time()
        assert not select.select(connections, [], [], 0.5)[0]
        assert time.process_time() - before < 0.1
    finally:
        for connection in connections:
            connection.close()


def test_a_client_that_thinks_is_not_stayed_awake_for(plain):
    with socket.create_connection((plain.host, plain.port), timeout=10) as client:
        for _ in range(100):
            client.sendall(ASK)
            assert client.recv(4096)
        before, began = time.process_time(), time.monotonic()
        while time.monotonic() < began + 0.6:
            client.sendall(ASK)
            assert client.recv(4096)
            assert not select.select([client], [], [], 0.02)[0]
        assert time.process_time() - before < 0.2
