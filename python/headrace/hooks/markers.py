"""The two markers. A plugin needs only `hookimpl`, which is `headrace.hookimpl`."""

from __future__ import annotations

import pluggy

PROJECT = "headrace"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
