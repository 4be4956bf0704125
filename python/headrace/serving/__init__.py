"""The control side of the server: which model, with which options, from start to end."""

from headrace.serving.server import Server as Server

__all__ = ["Server"]
