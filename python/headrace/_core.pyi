"""The extension module. Only `headrace.compute` imports it; its functions are documented there."""

from headrace.types import SupportsArrowStream

__all__ = ["frame_digest"]

def frame_digest(frame: SupportsArrowStream, *, threads: int | None = None) -> str: ...
