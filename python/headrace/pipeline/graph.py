"""The graph: which stage gives what to which.

Arrows follow from the stages' annotations. An input is taken from where `inputs` says; else from the latest earlier
stage that has an output of the same type and name; else from the nearest earlier stage that has exactly one output of
that type. Everything else is an error that lists the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, GraphError, PluginConflictError, SpecError
from headrace.hooks.catalog import nearest
from headrace.pipeline.spec import Spec, StageSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from headrace.hooks.catalog import StageEntry
    from headrace.hooks.contract import InputSpec, StageContract

Resolver = Callable[[StageSpec], "tuple[StageEntry, type, StageContract]"]


@dataclass(frozen=True)
class Edge:
    """An output of a stage."""

    stage: str
    output: str


@dataclass(frozen=True)
class Node:
    """A stage that is ready to be planned: its class, its validated config, and where its inputs come from."""

    spec: StageSpec
    entry: StageEntry
    implementation: type
    contract: StageContract
    config: BaseModel
    inputs: Mapping[str, Edge]

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def needs(self) -> frozenset[str]:
        """The stages that must have ended before this one can begin."""
        return frozenset(edge.stage for edge in self.inputs.values()) | frozenset(self.spec.after)


@dataclass(frozen=True)
class Graph:
    """All stages, each after those that it needs."""

    spec: Spec
    nodes: tuple[Node, ...]

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def artifact_class(self, type_name: str) -> type | None:
        """The class that some stage's annotations give for an artifact type; None if no stage has to do with it."""
        for node in self.nodes:
            for type_ in (*node.contract.outputs.values(), *(spec.type for spec in node.contract.inputs.values())):
                if _type_name(type_) == type_name:
                    return type_
        return None

    def downstream(self, name: str) -> frozenset[str]:
        """`name` and every stage that depends on it, directly or not."""
        found = {name}
        for node in self.nodes:
            if node.needs & found:
                found.add(node.name)
        return frozenset(found)

    def upstream(self, name: str) -> frozenset[str]:
        """`name` and every stage that it depends on, directly or not."""
        found = {name}
        for node in reversed(self.nodes):
            if node.name in found:
                found |= node.needs
        return frozenset(found)


def build(spec: Spec, resolve: Resolver) -> Graph:
    """Connect the stages of `spec`. `resolve` finds the implementation of each (and imports it)."""
    resolved = {stage.name: _resolved(spec, stage, resolve) for stage in spec.stages}
    contracts = {name: contract for name, (_, _, contract) in resolved.items()}
    nodes = []
    for position, stage in enumerate(spec.stages):
        entry, implementation, contract = resolved[stage.name]
        _check_engine_references(spec, stage, contract)
        inputs: dict[str, Edge] = {}
        for name, wanted in contract.inputs.items():
            edge = _producer(spec, position, name, wanted, contracts)
            if edge is not None:
                inputs[name] = edge
        config = validate_config(spec, stage, contract)
        nodes.append(Node(stage, entry, implementation, contract, config, inputs))
    return Graph(spec, _ordered(spec, [_answered(spec, node, nodes) for node in nodes]))


def _answered(spec: Spec, node: Node, nodes: Sequence[Node]) -> Node:
    """With the keys filled in that the spec leaves out and that those who take the stage's outputs answer.

    A field with `json_schema_extra={"asked_of": NAME}` has the answer of the static method NAME(config) of the stages
    that are connected to this one and have such a method, if all answer the same. It is part of the config, so the
    cache keys and `headrace plan` see it.
    """
    answers: dict[str, Any] = {}
    for key, field in node.contract.config.model_fields.items():
        extra = field.json_schema_extra
        asked = extra.get("asked_of") if isinstance(extra, dict) else None
        if not isinstance(asked, str) or key in node.config.model_fields_set:
            continue
        takers = [other for other in nodes if any(edge.stage == node.name for edge in other.inputs.values())]
        found = {getattr(o.implementation, asked)(o.config) for o in takers if hasattr(o.implementation, asked)}
        if len(found) == 1:
            answers[key] = found.pop()
    if not answers:
        return node
    return replace(node, config=validate_config(spec, node.spec, node.contract, answers))


def _resolved(spec: Spec, stage: StageSpec, resolve: Resolver) -> tuple[StageEntry, type, StageContract]:
    try:
        return resolve(stage)
    except (SpecError, PluginConflictError) as error:
        error.place = error.place or spec.place(stage.name, "use")
        raise


def validate_config(
    spec: Spec, stage: StageSpec, contract: StageContract, answers: Mapping[str, Any] | None = None
) -> BaseModel:
    """The stage's own keys, with the shared keys of `[project]` and with what others answer, as its `Config`."""
    from pydantic import ValidationError

    fields = contract.config.model_fields
    values = dict(answers or {}) | {k: v for k, v in spec.shared.items() if k in fields} | dict(stage.config)
    known = [field.alias or name for name, field in fields.items()]
    for key in stage.config:
        if key not in known and key not in fields:
            raise ConfigError(
                f"stage [{stage.name}] ({stage.kind}:{stage.use}) has no key {key!r}",
                place=spec.place(stage.name, key),
                hint=f"{nearest(key, known)} {_ask_show(stage)}".strip(),
            )
    try:
        return contract.config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = tuple(str(part) for part in first["loc"])
        key = ".".join(where) or "its config"
        found = "" if first["type"] == "missing" else f" (found {first['input']!r})"
        shared = ""
        if first["type"] == "missing" and where and where[0] in ("target", "task", "time_column", "id_columns"):
            shared = f" `{where[0]}` may also stand in [project]."
        raise ConfigError(
            f"stage [{stage.name}] ({stage.kind}:{stage.use}), key {key!r}: {first['msg']}{found}",
            place=spec.place(*_written(spec, stage, where)),
            hint=f"{_ask_show(stage)}{shared}",
        ) from error


def _written(spec: Spec, stage: StageSpec, where: tuple[str, ...]) -> tuple[str, ...]:
    """The key path of the spec that gave a config key: the stage's own table, or `[project]` for a shared one."""
    inherited = where and where[0] not in stage.config and where[0] in spec.shared
    return ("project", *where) if inherited else (stage.name, *where)


def _ask_show(stage: StageSpec) -> str:
    return f"`headrace plugins show {stage.kind}:{stage.use}` explains each key."


def _check_engine_references(spec: Spec, stage: StageSpec, contract: StageContract) -> None:
    names = [s.name for s in spec.stages]
    for other in stage.after:
        if other not in names:
            raise GraphError(
                f"stage [{stage.name}] is to run after {other!r}, which is not a stage",
                place=spec.place(stage.name, "after"),
                hint=nearest(str(other), names),
            )
    for name in stage.inputs:
        if name not in contract.inputs:
            raise GraphError(
                f"stage [{stage.name}] has no input {name!r}",
                place=spec.place(stage.name, "inputs", name),
                hint=nearest(name, contract.inputs),
            )


def _producer(
    spec: Spec, position: int, name: str, wanted: InputSpec, contracts: Mapping[str, StageContract]
) -> Edge | None:
    stage = spec.stages[position]
    if name in stage.inputs:
        return _stated(spec, stage, name, wanted, contracts)
    earlier = [s.name for s in spec.stages[:position]]
    offers = {
        producer: [out for out, type_ in contracts[producer].outputs.items() if issubclass(type_, wanted.type)]
        for producer in earlier
    }
    for producer in reversed(earlier):
        if name in offers[producer]:
            return Edge(producer, name)
    for producer in reversed(earlier):
        if len(offers[producer]) == 1:
            return Edge(producer, offers[producer][0])
        if offers[producer]:
            break
    if wanted.optional:
        return None
    candidates = [f"{producer}.{out}" for producer, outs in offers.items() for out in outs]
    found = f"several fit: {', '.join(candidates)}" if candidates else "no earlier stage gives one"
    raise GraphError(
        f"stage [{stage.name}] needs {name!r} (a {wanted.type_name}), and {found}",
        place=spec.place(stage.name),
        hint=f'Say which: inputs = {{ {name} = "{candidates[0] if candidates else "STAGE.OUTPUT"}" }}'
        if candidates
        else f"Put a stage before [{stage.name}] that gives a {wanted.type_name}.",
    )


def _stated(spec: Spec, stage: StageSpec, name: str, wanted: InputSpec, contracts: Mapping[str, StageContract]) -> Edge:
    stated = stage.inputs[name]
    producer, _, output = stated.rpartition(".") if stated not in contracts else (stated, "", "")
    place = spec.place(stage.name, "inputs", name)
    if producer not in contracts:
        raise GraphError(
            f"input {name!r} of [{stage.name}] comes from {stated!r}, which is not a stage",
            place=place,
            hint=nearest(producer or stated, contracts),
        )
    outputs = contracts[producer].outputs
    if not output:
        fitting = [out for out, type_ in outputs.items() if issubclass(type_, wanted.type)]
        if len(fitting) != 1:
            raise GraphError(
                f"stage [{producer}] gives {len(fitting)} outputs of type {wanted.type_name}",
                place=place,
                hint=f'Name one as "{producer}.OUTPUT"; it gives: {", ".join(outputs)}.',
            )
        output = fitting[0]
    if output not in outputs:
        raise GraphError(f"stage [{producer}] has no output {output!r}", place=place, hint=nearest(output, outputs))
    if not issubclass(outputs[output], wanted.type):
        raise GraphError(
            f"{producer}.{output} is a {_type_name(outputs[output])}; input {name!r} of [{stage.name}] "
            f"wants a {wanted.type_name}",
            place=place,
        )
    return Edge(producer, output)


def _ordered(spec: Spec, nodes: list[Node]) -> tuple[Node, ...]:
    """File order where it is possible, which it is but for explicit `inputs` and `after` that point forward."""
    done: list[Node] = []
    names: set[str] = set()
    waiting = list(nodes)
    while waiting:
        ready = next((node for node in waiting if node.needs <= names), None)
        if ready is None:
            stuck = ", ".join(f"[{node.name}]" for node in waiting)
            raise GraphError(
                f"these stages wait for each other: {stuck}",
                place=spec.place(waiting[0].name),
                hint="Mend their `inputs` or `after`.",
            )
        waiting.remove(ready)
        done.append(ready)
        names.add(ready.name)
    return tuple(done)


def _type_name(type_: Any) -> str:
    return str(getattr(type_, "type_name", type_.__name__))
