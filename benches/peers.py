"""Installs the peers that benches and tests run beside headrace, each in an environment of its own (`.peers/NAME`).

    python benches/peers.py              # all of them
    python benches/peers.py kedro dagster

They are kept apart because their pins disagree with one another. A peer that does not install is named, and its bench
is skipped with the reason.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".peers"
PEERS = {
    "kedro": ("kedro==1.5.0",),
    "metaflow": ("metaflow==2.19.38", "setuptools<81"),
    "dagster": ("dagster",),
    "prefect": ("prefect>=3,<4",),
    "mlflow": ("mlflow==3.17.2",),
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "whylogs": ("whylogs==1.6.4", "numpy<2", "pandas<3", "setuptools<81"),
    "kserve": ("kserve==0.19.0",),
    "litserve": ("litserve==0.2.19", "onnxruntime==1.32.0"),
    "bentoml": ("bentoml==1.4.39", "onnxruntime==1.32.0"),
    "mlserver": ("mlserver==1.7.1", "onnxruntime==1.32.0"),
    "rayserve": ("ray[serve]==2.60.0", "onnxruntime==1.32.0"),
}
# Prefect 3.8.8 asks for a FastAPI with which its own server does not start (`Body() got ... 'min_items'`); with this
# one it does. MLServer 1.7.1's workers ask uvloop for an event loop in a way that 0.22 took away.
AFTERWARDS = {"prefect": ("fastapi<0.120",), "mlserver": ("uvloop<0.22",)}


def python_of(name: str) -> Path:
    return FOLDER / name / "bin" / "python"


def install(name: str) -> bool:
    if not python_of(name).exists():
        venv.create(FOLDER / name, with_pip=True)
    pip = [python_of(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [PEERS[name], *([AFTERWARDS[name]] if name in AFTERWARDS else [])]
    return all(subprocess.run([*pip, *step], check=False).returncode == 0 for step in steps)


def main() -> int:
    wanted = sys.argv[1:] or list(PEERS)
    failed = [name for name in wanted if not install(name)]
    for name in failed:
        print(f"{name}: did not install; its bench is left out", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
