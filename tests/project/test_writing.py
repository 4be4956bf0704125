"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.project.writing import replacing, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "out.csv"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["out.csv"])


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")

    def half() -> None:
        with replacing(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["out.csv"])


def test_a_link_stays_and_leads_to_the_new_content(tmp_path):
    (tmp_path / "there").mkdir()
    path, link = tmp_path / "there" / "out.csv", tmp_path / "link.csv"
    path.write_bytes(b"old")
    link.symlink_to(path)
    write_whole(link, b"new")
    assert (link.is_symlink(), path.read_bytes(), names(tmp_path / "there")) == (True, b"new", ["out.csv"])


def test_a_pipe_is_written_into_and_not_replaced(tmp_path):
    """As `-o /dev/stdout` and `-o /dev/null` are: root would have put a file in the device's place."""
    path, seen = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: seen.append(path.read_bytes()))
    reader.start()
    write_whole(path, b"content")
    reader.join(timeout=10)
    assert (seen, path.is_fifo()) == ([b"content"], True)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_device_that_takes_nothing_is_an_error_and_stays():
    with pytest.raises(StoreError, match="No space left on device"):
        write_whole(Path("/dev/full"), b"content")
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match="cannot be written") as caught:
        write_whole(tmp_path / "no" / "out.csv", b"")
    assert "mkdir -p" in (caught.value.hint or "")
