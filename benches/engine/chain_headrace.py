"""Six no-op steps in headrace: argv[1] steps, in the folder argv[2], which keeps the store."""

import shutil
import sys
from pathlib import Path

import headrace

STEPS, FOLDER = int(sys.argv[1]), Path(sys.argv[2])

if not (FOLDER / "headrace.toml").exists():
    shutil.copy(Path(__file__).parent / "project" / "steps.py", FOLDER)
    stages = [f'[step{i}]\nkind = "step"\nuse = "steps:{"Step" if i else "Start"}"\n' for i in range(STEPS)]
    (FOLDER / "headrace.toml").write_text('[project]\nname = "chain"\n' + "".join(stages))
with headrace.Project(FOLDER) as project:
    run = project.run().raise_on_failure()
    print(run[f"step{STEPS - 1}"].value)
