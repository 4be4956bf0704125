"""`report:html`: one self-contained page that tells a person what came of a run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headrace import (
    Evaluation,
    GateReport,
    Model,
    ModelVersion,
    Report,
    SplitReport,
    StageContext,
    ValidationReport,
)


class HtmlReport:
    """A page with the verdict, metrics with their intervals, plots, slices, findings in the data, and digests.

    It is one file that loads nothing, needs no script, and is the same for the same inputs. The plots are drawn by
    matplotlib; where it is not installed, the page has the tables and says how to get the plots.
    """

    class Config(BaseModel):
        """Settings of `report:html`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        title: str | None = Field(default=None, description="Title of the page. Default: the project's name.")
        plots: bool = Field(default=True, description="Whether to draw plots; false: tables only.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(  # noqa: PLR0917  # inputs come by name
        self,
        ctx: StageContext,
        model: Model,
        evaluation: Evaluation,
        gate: GateReport,
        validation: ValidationReport | None = None,
        split: SplitReport | None = None,
        version: ModelVersion | None = None,
    ) -> Report:
        """Write the page."""
        from headrace.builtins.report.figures import available
        from headrace.builtins.report.page import page

        plots = self.config.plots and available()
        if self.config.plots and not plots:
            ctx.log("the report has no plots, since matplotlib is not installed: pip install 'headrace[report]'")
        title = self.config.title or ctx.project
        html = page(
            title,
            model=model,
            evaluation=evaluation,
            gate=gate,
            validation=validation,
            split=split,
            version=version,
            inputs=ctx.inputs,
            plots=plots,
        )
        return Report(title=title, html=html)
