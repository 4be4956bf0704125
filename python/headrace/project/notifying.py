"""Who is told what the loop of a project does: `[loop.notify]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.errors import ConfigError, PluginError, SpecError
from headrace.hooks.catalog import nearest
from headrace.hooks.notifiers import check_notifier, notifier_settings
from headrace.hooks.wording import wrong
from headrace.loop.notices import EVENTS
from headrace.loop.policy import Span  # noqa: TC001  # pydantic reads it
from headrace.loop.post import Post, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.hooks.catalog import NotifierEntry
    from headrace.loop.controller import Controller
    from headrace.project import Project


class _Common(BaseModel):
    """The keys that every notifier has."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    events: tuple[str, ...] = EVENTS
    timeout: Span = Field(default=10.0, gt=0, le=300)


def post_of(controller: Controller, project: Project) -> Post:
    """What delivers the news of a controller's loop. `SpecError` where `[loop.notify]` is not as it must be."""
    place, policy = controller.place, controller.policy
    return Post(
        project=place.project,
        model=place.model,
        loops=place.loops,
        clock=controller.clock,
        subscribers=[_subscriber(project, name, table) for name, table in policy.notify.items()],
        uses={name: str(table.get("use", name)) for name, table in policy.triggers.items()},
        lease=controller.lease,
        who=controller.who,
        told=controller.told,
    )


def _subscriber(project: Project, name: str, table: Mapping[str, Any]) -> Subscriber:
    spec, catalog = project.spec, project.plugins.notifiers
    place = spec.place("loop", "notify", name)
    use = table.get("use", name)
    if not isinstance(use, str) or use not in catalog.names():
        raise SpecError(
            f"[loop.notify.{name}]: there is no notifier {use!r}",
            place=place,
            hint=nearest(str(use), catalog.names()) + " Or set `use`.",
        )
    try:
        common = _Common.model_validate({key: table[key] for key in ("events", "timeout") if key in table})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, said = str(first["loc"][0]), wrong(first)
        raise SpecError(
            f"`{key}` of [loop.notify.{name}]: {said}", place=spec.place("loop", "notify", name, key)
        ) from None
    for event in common.events:
        if event not in EVENTS:
            raise SpecError(
                f"`events` of [loop.notify.{name}]: there is no event {event!r}",
                place=spec.place("loop", "notify", name, "events"),
                hint=nearest(event, EVENTS),
            )
    config = {key: value for key, value in table.items() if key not in ("use", "events", "timeout")}
    make = _maker(project, catalog.entry(use), name, config, timeout=common.timeout, place=place)
    return Subscriber(name, make, frozenset(common.events), common.timeout)


def _maker(
    project: Project, entry: NotifierEntry, name: str, config: dict[str, Any], *, timeout: float, place: str
) -> Callable[[], Any]:
    """What makes the notifier. Settings are checked now; one that cannot be imported fails when it is to send."""
    try:
        found: Any = project.plugins.notifiers.load(entry)
        model = check_notifier(found)
    except PluginError as error:
        broken = error

        def fail() -> Any:
            raise broken

        return fail
    if "timeout" in model.model_fields:
        config = {**config, "timeout": timeout}
    try:
        settings = notifier_settings(entry, found, name, config, folder=project.spec.project_dir, place=place)
    except ConfigError as error:
        wrong = next((key for key in config if repr(key) in error.message), None)
        error.place = project.spec.place("loop", "notify", name, *([wrong] if wrong else []))
        raise
    return lambda: found(settings)
