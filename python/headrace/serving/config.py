"""`serve.toml`: what a server offers, and how, as a file."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.compute.plan.nearest import did_you_mean
from headrace.errors import ConfigError
from headrace.pipeline.locate import Places
from headrace.serving.server import KEY

if TYPE_CHECKING:
    from pathlib import Path

_Count = Annotated[int, Field(ge=1, lt=2**32)]
_Time = Annotated[float, Field(ge=0.001, le=86_400.0)]
_Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerTable(_Table):
    """`[server]`: options of `headrace.Server`, and `drain` of `headrace serve`. What is not there has its default."""

    host: str | None = None
    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    workers: _Count | None = None
    max_batch_rows: _Count | None = None
    max_batch_delay: _Seconds | None = None
    engine: Literal["auto", "onnxruntime", "trees"] | None = None
    max_queue_rows: _Count | None = None
    max_queue_bytes: _Count | None = None
    max_queue_time: _Seconds | None = None
    max_rows: _Count | None = None
    max_body_bytes: _Count | None = None
    max_bulk_rows: _Count | None = None
    max_bulk_bytes: _Count | None = None
    max_connections: _Count | None = None
    deadline: _Time | None = None
    body_timeout: _Time | None = None
    head_timeout: _Time | None = None
    answer_timeout: _Time | None = None
    max_held_bytes: _Count | None = None
    window: Annotated[float, Field(ge=1.0, le=86_400.0)] | None = None
    log: str | None = None
    tokens: str | None = None
    log_sample: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    drain: _Seconds | None = None


class RouteTable(_Table):
    """A version behind an endpoint: `MODEL@ALIAS`, `MODEL@NUMBER`, `MODEL` or `FILE.onnx`."""

    model: str
    weight: Annotated[int, Field(ge=0, lt=2**32)] = 1


class EndpointTable(_Table):
    """`[endpoints.NAME]`: either one `model`, or `routes` that share the requests."""

    model: str | None = None
    routes: list[RouteTable] = []
    shadows: list[str] = []
    key: str = KEY


class ServeConfig(_Table):
    """The whole file."""

    server: ServerTable = ServerTable()
    endpoints: dict[str, EndpointTable] = {}

    @property
    def options(self) -> dict[str, Any]:
        """What `[server]` sets."""
        return self.server.model_dump(exclude_none=True)


def load(path: Path) -> ServeConfig:
    """Read the file. `ConfigError` names the line, the key, and for a key that is not known the nearest that is."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError("there is no such file", place=str(path), hint="Give the path of a serve.toml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", place=str(path), hint="It must be a UTF-8 text file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not valid TOML: {error}", place=path.name, hint="Mend that line.") from error
    places = Places(path.name, text, document)
    try:
        config = ServeConfig.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(key) for key in first["loc"]]
        hint = None
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(keys[-1], list(_table(keys).model_fields))
        what = "is not a key here" if hint else f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        named = [str(key) for key in first["loc"] if not isinstance(key, int)]
        raise ConfigError(f"{'.'.join(keys)}: {what}", place=places.of(*named), hint=hint) from error
    for name, endpoint in config.endpoints.items():
        if (endpoint.model is None) == (not endpoint.routes):
            raise ConfigError(
                f"endpoints.{name}: expected either `model` or `routes`",
                place=places.of("endpoints", name),
                hint='Write model = "MODEL@champion", or a list of routes with weights.',
            )
        if endpoint.routes and not any(route.weight for route in endpoint.routes):
            place = places.of("endpoints", name, "routes")
            raise ConfigError(f"endpoints.{name}.routes: every weight is 0", place=place, hint="Give one a weight.")
    return config


def _table(keys: list[str]) -> type[BaseModel]:
    """The table that the key stands in."""
    match keys[:-1]:
        case ["server", *_]:
            return ServerTable
        case ["endpoints", _]:
            return EndpointTable
        case ["endpoints", _, "routes", *_]:
            return RouteTable
        case _:
            return ServeConfig
