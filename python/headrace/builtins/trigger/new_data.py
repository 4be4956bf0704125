"""`trigger: new_data`: enough labelled rows came in, or the project's own input files changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headrace import Fired, TriggerContext


class NewDataTrigger:
    """Fires when labelled live rows came in since the last run, or when the input files of the project changed.

    Labels that are corrected are no new rows, and a file that is delivered twice adds none.
    """

    class Config(BaseModel):
        """Settings of `trigger:new_data`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        rows: int = Field(default=1, ge=1, description="How many labelled live rows since the last run are enough.")
        inputs: bool = Field(default=True, description="Whether changed input files of the project fire as well.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Compare counts and fingerprints with those of the last run."""
        if self.config.inputs and ctx.inputs_seen is not None and ctx.inputs != ctx.inputs_seen:
            return Fired("the input files of the project changed", {"inputs": ctx.inputs, "before": ctx.inputs_seen})
        if ctx.new_labels >= self.config.rows:
            return Fired(f"{ctx.new_labels:,} labelled rows came in", {"rows": ctx.new_labels})
        return None
