"""What comes for Prometheus and Grafana: alert rules and a dashboard, as files."""

from __future__ import annotations

from pathlib import Path

FILES = ("headrace.rules.yml", "headrace.json")


def write(folder: Path) -> tuple[Path, ...]:
    """Copy the files into a folder, which is made if it is not there; files of these names are replaced."""
    from headrace.errors import ServingError

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            target = folder / name
            target.write_bytes((Path(__file__).parent / name).read_bytes())
            written.append(target)
    except OSError as error:
        raise ServingError(
            f"the files cannot be written: {error.strerror}", place=str(folder), hint="Name a folder that can be."
        ) from error
    return tuple(written)
