"""Six no-op steps in Dagster, in one process, on a temporary instance that keeps its results."""

import sys
import tempfile

from dagster import DagsterInstance, asset, materialize

STEPS = int(sys.argv[1])


def make(i):
    if i == 0:

        @asset(name="v0")
        def first():
            return 1

        return first

    from dagster import AssetIn

    @asset(name=f"v{i}", ins={"value": AssetIn(f"v{i - 1}")})
    def later(value):
        return value + 1

    return later


with tempfile.TemporaryDirectory() as folder:
    instance = DagsterInstance.local_temp(folder)
    result = materialize([make(i) for i in range(STEPS)], instance=instance)
    print(result.output_for_node(f"v{STEPS - 1}"))
