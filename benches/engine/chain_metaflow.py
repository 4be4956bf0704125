"""Six no-op steps in Metaflow. The flow is written as text, because its steps are read from its source."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = int(sys.argv[1])
HEAD = "from metaflow import FlowSpec, step\n\nclass Chain(FlowSpec):\n"
STEP = "    @step\n    def {name}(self):\n        self.value = {value}\n        {then}\n"

lines = [HEAD]
names = ["start", *[f"step{i}" for i in range(1, STEPS - 1)], "end"]
for i, name in enumerate(names):
    then = f"self.next(self.{names[i + 1]})" if i + 1 < len(names) else "print(self.value)"
    lines.append(STEP.format(name=name, value="1" if i == 0 else "self.value + 1", then=then))
lines.append("\nif __name__ == '__main__':\n    Chain()\n")

with tempfile.TemporaryDirectory() as folder:
    flow = Path(folder) / "chain.py"
    flow.write_text("".join(lines))
    environment = os.environ | {"USERNAME": "bench", "METAFLOW_DATASTORE_SYSROOT_LOCAL": folder}
    run = subprocess.run(
        [sys.executable, flow, "run"], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    print(re.findall(r"\[\d+/end/.*\] (\d+)$", run.stdout, re.MULTILINE)[0])
