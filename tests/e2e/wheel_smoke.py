"""Installs the built wheel and a plugin's wheel into an empty environment outside the checkout, and runs them.

    python tests/e2e/wheel_smoke.py dist

What only an installed package shows: a file missing from the wheel, a dependency missing from its metadata, an entry
point that is not found, an import that worked because the checkout was the working directory.
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugins" / "headrace-example"
MEGABYTES = 15


def say(text: str) -> None:
    print(f"smoke: {text}", flush=True)


def check(fact: object, message: str) -> None:
    if not fact:
        sys.exit(f"smoke: FAILED: {message}")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed; it sees no setting that could lead back to the checkout."""
    env = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    line = " ".join(map(str, command))
    check(done.returncode == 0, f"`{line}` ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def check_contents(wheel: Path) -> None:
    check("-cp311-abi3-" in wheel.name, f"{wheel.name} is not an abi3 wheel for Python 3.11 and newer")
    size = wheel.stat().st_size / 1e6
    check(size <= MEGABYTES, f"{wheel.name} has {size:.1f} MB, more than {MEGABYTES}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = run("git", "ls-files", "python/headrace", cwd=ROOT).splitlines()
    missing = [name for name in tracked if name.removeprefix("python/") not in names]
    check(tracked and not missing, f"{wheel.name} lacks {missing}")
    check(any(name.startswith("headrace/_core.") and name.endswith((".so", ".pyd")) for name in names), "no _core")
    strange = sorted(name for name in names if not name.startswith(("headrace/", "headrace-")))
    check(not strange, f"{wheel.name} holds what is not headrace: {strange}")
    say(f"{wheel.name}: {size:.1f} MB, {len(names)} files")


def write_data(path: Path) -> None:
    chance = random.Random(7)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["size", "colour", "day", "bought"])
        for index in range(600):
            size, colour = chance.gauss(0, 1), chance.choice(["red", "green", "blue"])
            bought = size + (colour == "red") + chance.gauss(0, 0.5) > 0.5
            rows.writerow([f"{size:.4f}", colour, f"2024-{index // 60 + 1:02}-{index % 28 + 1:02}", int(bought)])


def main() -> None:
    dist = Path(sys.argv[1]).resolve()
    wheels = sorted(dist.glob("headrace-*.whl"))
    check(len(wheels) == 1, f"expected one wheel in {dist}, found {[wheel.name for wheel in wheels]}")
    check_contents(wheels[0])
    with tempfile.TemporaryDirectory(prefix="headrace smoke ") as scratch:
        room = Path(scratch)
        run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", room, PLUGIN, cwd=room)
        (plugin,) = room.glob("headrace_example-*.whl")
        run(sys.executable, "-m", "venv", room / "venv", cwd=room)
        python, headrace = room / "venv" / "bin" / "python", room / "venv" / "bin" / "headrace"
        constraints = ROOT / "constraints.txt"
        run(python, "-m", "pip", "install", "--quiet", "-c", constraints, wheels[0], plugin, cwd=room)
        where = run(python, "-c", "import headrace; print(headrace.__file__)", cwd=room).strip()
        check(Path(where).is_relative_to(room), f"headrace comes from {where}, not from the wheel")
        say(run(headrace, "--version", cwd=room).strip())
        plugins = run(headrace, "plugins", "list", cwd=room)
        check("headrace-example" in plugins, f"the plugin is not listed:\n{plugins}")
        write_data(room / "visits.csv")
        run(headrace, "init", "shop", "--data", "visits.csv", "--target", "bought", cwd=room)
        first = json.loads(run(headrace, "run", "--json", cwd=room / "shop"))
        again = json.loads(run(headrace, "run", "--json", cwd=room / "shop"))
        executed = [stage["name"] for stage in again["stages"] if stage["outcome"] != "cached"]
        check(first["stages"] and not executed, f"the second run executed {executed}")
        say(f"{len(first['stages'])} stages ran, and none the second time")
    say("passed")


if __name__ == "__main__":
    main()
