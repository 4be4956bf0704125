"""The page on feature hashing is executed as it stands."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from pages import blocks

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "feature-hashing.md"


def test_the_page_can_be_followed():
    (block,) = (block for block in blocks(PAGE) if block.language == "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, str(PAGE), "exec"), {})  # noqa: S102  # our own page
    lines = printed.getvalue().splitlines()
    assert lines[0] == "(3, 262144) 7 float64"
    assert lines[1:5] == ["0", "[-1]", "float32", "5 True"]
    assert lines[5:] == ["True True"]
