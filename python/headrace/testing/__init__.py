"""For authors of plugins: the checks that every stage, transform and plugin must pass, as pytest classes.

    from headrace.testing import stage_conformance

    TestMyStage = stage_conformance("enrich", "geo", config={"lat": "y"}, inputs={"data": {"y": [48.1, None]}})

That is a whole test file. Each check is a test of its own whose message says what to change. The package must be
installed (`pip install -e .`), as its users will have it. `run_stage` runs a stage once, for tests of what it computes.
"""

from __future__ import annotations

from headrace.testing.hooks import hook_conformance
from headrace.testing.stage import Refusal, run_stage, stage_conformance
from headrace.testing.transform import transform_conformance

__all__ = ["Refusal", "hook_conformance", "run_stage", "stage_conformance", "transform_conformance"]
