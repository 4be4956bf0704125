"""Six no-op steps in Kedro, in memory, from a script: its quickest way to run."""

import sys

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner

STEPS = int(sys.argv[1])


def step(value):
    return value + 1


steps = pipeline([node(step, f"v{i}", f"v{i + 1}", name=f"step{i}") for i in range(STEPS)])
catalog = DataCatalog({"v0": MemoryDataset(0)})
result = SequentialRunner().run(steps, catalog)
print(result[f"v{STEPS}"].load())
