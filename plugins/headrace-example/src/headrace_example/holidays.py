"""The stage `enrich:holidays`."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from headrace import Dataset, StageContext, errors


class Holidays:
    """Adds the number of days between each row and the nearest holiday: 0 on the day itself.

    People behave differently before and after a holiday, and nothing in a date says that one is near.
    """

    class Config(BaseModel):
        """Its keys in headrace.toml."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        column: str = Field(description="The column with the date, or date and time, of a row.")
        holidays: tuple[date, ...] = Field(min_length=1, description='The days, such as "2025-12-25".')
        at_most: int = Field(default=30, ge=1, description="Days further away than this count as this far.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, ctx: StageContext, data: Dataset) -> Dataset:
        """A table in, the same table with one more column out; empty where the date is missing."""
        import polars as pl

        column = self.config.column
        frame = data.frame()
        if not isinstance(frame.schema.get(column), pl.Date | pl.Datetime):
            dates = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Date | pl.Datetime)]
            raise errors.DataError(
                f"there is no column {column!r} with dates",
                place=f"stage {ctx.stage}",
                hint=f"Set `column` to a column with dates: {', '.join(dates) or 'this table has none'}.",
            )
        day = pl.col(column).cast(pl.Date)
        distances = [(day - holiday).dt.total_days().abs() for holiday in self.config.holidays]
        nearest = pl.min_horizontal(*distances, self.config.at_most)
        days = pl.when(day.is_not_null()).then(nearest).cast(pl.Int32).alias(f"{column}_to_holiday")
        ctx.log(f"{len(self.config.holidays)} holidays, {frame.height} rows")
        return Dataset.from_frame(frame.with_columns(days))
