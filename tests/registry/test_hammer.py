"""Many processes at once: numbers are unique, one promoter of two wins, nothing is locked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from headrace.registry import Registry
from headrace.store import Store

WORK = """
import json, sys
from pathlib import Path
from headrace.errors import AliasConflictError
from headrace.registry import Registry
from headrace.store import Store

root, url, me = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
with Store.open(root, url=url) as store:
    registry = Registry(store, who=str(me))
    sys.stdin.read(1)
    numbers, won, lost = [], 0, 0
    for i in range(12):
        files = {"f": b"%d %d" % (me, i)} if i % 3 else {"f": b"shared %d" % i}
        version = registry.register("m", files, about={}, model_digest="0" * 64)
        numbers.append(version.number)
        seen = registry.champion("m")
        at = seen.version.number if seen else None
        try:
            registry.move_alias(version, "champion", expected=at, why=f"{me} {i}")
            won += 1
        except AliasConflictError:
            lost += 1
print(json.dumps([numbers, won, lost]))
"""


@pytest.mark.slow
def test_eight_processes_register_and_promote(root: Path, url: str | None) -> None:
    Store.open(root, url=url).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, root, url or "", str(me)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(8)
    ]
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, [error[-500:] for _, error in results]
    outcomes = [json.loads(text) for text, _ in results]
    with Store.open(root, url=url) as store:
        registry = Registry(store, who="judge")
        versions = registry.versions("m")
        assert [v.number for v in versions] == list(range(8 * 8 + 4, 0, -1)), "no gap, no number twice"
        assert len({v.package for v in versions}) == len(versions)
        shared = [numbers[i] for numbers, _, _ in outcomes for i in (0, 3, 6, 9)]
        assert sorted(Counter(shared).values()) == [8] * 4
        history = registry.history("m")
        moves = [(move.previous, move.version) for move in reversed(history)]
        assert moves[0][0] is None
        assert all(before[1] == after[0] for before, after in pairwise(moves)), "one chain"
        assert registry.resolve("m").version.number == moves[-1][1]
        assert 1 <= len(moves) <= sum(won for _, won, _ in outcomes)
        assert store.fsck().ok
