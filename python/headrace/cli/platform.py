"""What a platform says to the container that it starts: read only where `--platform` asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORMS = ("azure", "sagemaker", "vertex")


@dataclass(frozen=True)
class Platform:
    """Where it asks."""

    port: int
    routes: dict[str, str] = field(default_factory=dict)


def platform(name: str, environment: Mapping[str, str]) -> Platform:
    """The port and the paths by the platform's own rules.

    Vertex AI's `AIP_*` variables as its custom containers have them; SageMaker's `SAGEMAKER_BIND_TO_PORT`; Azure ML has
    no variables, its routes are declared with the deployment: these are those of its own inference server.

    Raises `ServingError` where a variable holds what it cannot.
    """
    if name == "vertex":
        mode = environment.get("AIP_MODE", "PREDICTION")
        if mode != "PREDICTION":
            raise ServingError(f"AIP_MODE is {mode!r}, expected 'PREDICTION'", place="AIP_MODE")
        endpoint = environment.get("AIP_ENDPOINT_ID", "0")
        own = f"/v1/endpoints/{endpoint}/deployedModels/{environment.get('AIP_DEPLOYED_MODEL_ID', '0')}"
        health = environment.get("AIP_HEALTH_ROUTE") or own
        predict = environment.get("AIP_PREDICT_ROUTE") or f"{own}:predict"
        if health == predict:
            raise ServingError(f"health and predictions are both asked at {health}", place="AIP_PREDICT_ROUTE")
        return Platform(_port(environment, "AIP_HTTP_PORT"), {health: "ready", predict: "predict"})
    if name == "sagemaker":
        return Platform(_port(environment, "SAGEMAKER_BIND_TO_PORT"))
    return Platform(5001, {"/": "live", "/ready": "ready", "/score": "predict"})


def _port(environment: Mapping[str, str], variable: str) -> int:
    text = environment.get(variable) or "8080"
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65_535):
        raise ServingError(f"{variable} is {text!r}, expected 1 to 65535", place=variable)
    return int(text)
