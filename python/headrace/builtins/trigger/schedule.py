"""`trigger: schedule`: at the times of a cron expression, in a time zone."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headrace import Fired, TriggerContext


class ScheduleTrigger:
    """Fires once after each time of a cron expression; times that were missed while nothing ran count as one.

    Where the clocks change, it is as in Debian's cron: a time that does not exist that day comes right after the gap,
    and one that exists twice comes once (expressions with `*` in minute or hour follow the clock on the wall).
    """

    class Config(BaseModel):
        """Settings of `trigger:schedule`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        cron: str = Field(description='Five fields: minute, hour, day, month, weekday, as "0 3 * * MON".')
        timezone: str = Field(default="UTC", description="IANA name, as Europe/Zurich.")

        @field_validator("cron")
        @classmethod
        def _cron(cls, cron: str) -> str:
            from cronsim import CronSim, CronSimError

            if (fields := len(cron.split())) > 5:
                raise ValueError(
                    f"{cron!r} is no cron expression: it has {fields} fields, and five are read, no seconds"
                )
            try:
                CronSim(cron, dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
            except CronSimError as error:
                raise ValueError(f"{cron!r} is no cron expression: {error}") from error
            return cron

        @field_validator("timezone")
        @classmethod
        def _zone(cls, timezone: str) -> str:
            from zoneinfo import ZoneInfo

            try:
                ZoneInfo(timezone)
            except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError of the module's own
                raise ValueError(f"{timezone!r} is no time zone") from error
            except KeyError as error:
                raise ValueError(f"{timezone!r} is no time zone that this machine knows") from error
            return timezone

    def __init__(self, config: Config) -> None:
        self.config = config

    def due(self, since: dt.datetime) -> dt.datetime | None:
        """The first time of the expression after `since`, in UTC; None where there is none within fifty years."""
        from zoneinfo import ZoneInfo

        from cronsim import CronSim

        # Within an hour that exists twice the expression goes on by the clock on the wall, and may begin before it.
        times = CronSim(self.config.cron, since.astimezone(ZoneInfo(self.config.timezone)))
        return next((utc for found in times if (utc := found.astimezone(dt.UTC)) > since), None)

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Fire when a time of the expression lies after the last run, and not in the future."""
        due = self.due(ctx.since)
        if due is None or due > ctx.now:
            return None
        return Fired(f"it was due at {due:%Y-%m-%d %H:%M} UTC ({self.config.cron})", {"due": due.isoformat()})
