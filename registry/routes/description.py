"""The service described in OpenAPI 3.1, made of the operations themselves; the same document as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, get_args

import msgspec

from embconv.converters import EmbconvError

from ..errors import Busy, Forbidden, HostNotAllowed, KeyNeeded, OriginNotAllowed, StorageFailed, UnknownParameter
from ..problems import STATUS, TYPE, BadRequest, InternalError, Problem, problem
from .operation import JSON, Answer, Operation, Parameter

REF = "#/components/schemas/{name}"
PROBLEM = "application/problem+json"
EARLY = (HostNotAllowed, OriginNotAllowed, InternalError)  # of those, what is answered before or after a route can say how
COMMON = (BadRequest, UnknownParameter, HostNotAllowed, Busy, StorageFailed, InternalError)  # of every route
SAFE = ("GET", "HEAD")
YAML = "application/yaml"
EVENTS = "text/event-stream"  # each of them, as an object of its fields
FOREIGN = {"type": "object", "required": ["error"], "properties": {"error": {"type": ["string", "object"]}}}  # in the shape of another service
HEADERS = {
    "etag": "The sha256 of the bytes.",
    "accept-ranges": "Parts can be asked for.",
    "content-disposition": "The name to save it under.",
    "content-range": "Which part it is.",
    "location": "Where the embedding is.",
    "link": "The next page, where there is one.",
    "x-repo-commit": "The commit that it is now.",
}
INFO = {
    "title": "embconv registry",
    "summary": "Textual-inversion embeddings: indexed, searched, and handed out in the form that a program loads.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
KEY = {"type": "http", "scheme": "bearer", "description": "A key of `embconv keys create NAME --role read|write|admin`. Where the registry "
       "is bound to this machine alone none is needed; elsewhere writing needs one, and with --private reading too."}  # fmt: skip


def described(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document."""
    every = sorted(operations, key=lambda one: (one.path, one.method))
    kinds = [Problem, *(kind for one in every for answer in one.answers for kind in (answer.type, *get_args(answer.type)) if isinstance(kind, type))]
    _, schemas = msgspec.json.schema_components(dict.fromkeys(kinds), ref_template=REF)
    paths: dict[str, Any] = {}
    for one in every:
        paths.setdefault(one.path, {})[one.method.lower()] = route(one)
    return {
        "openapi": "3.1.0",
        "info": {**INFO, "version": version("embconv")},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted({one.tag for one in every})],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "examples": examples(), "securitySchemes": {"key": KEY}},
    }


def route(one: Operation) -> dict[str, Any]:
    """One operation."""
    found: dict[str, Any] = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if one.says:
        found["description"] = one.says
    if one.parameters:
        found["parameters"] = [parameter(each) for each in one.parameters]
    if one.body:
        found["requestBody"] = one.body
    found["responses"] = {**{str(each.status): response(each) for each in one.answers}, **problems(one)}
    found["security"] = [{}, {"key": []}] if one.role else []
    return found


def parameter(one: Parameter) -> dict[str, Any]:
    """One parameter."""
    required = one.where == "path"
    found: dict[str, Any] = {"name": one.name, "in": one.where, "description": one.says, "required": required, "schema": one.schema}
    if one.repeats:
        found |= {"style": "form", "explode": True}
    return found if one.example is None else {**found, "example": one.example}


def response(one: Answer) -> dict[str, Any]:
    """One good answer."""
    found: dict[str, Any] = {"description": one.says}
    if one.headers:
        found["headers"] = {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in one.headers}
    if one.type is not None:
        kind = schema_of(one.type)
        raw = {"type": "string"} if one.media.startswith("text/") else {"type": "string", "contentMediaType": one.media}
        schema = kind if one.media in (JSON, YAML, EVENTS) else raw
        found["content"] = {one.media: {"schema": schema} | ({} if one.example is None else {"example": one.example})}
    return found


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a Struct, of a list of one, or what is given as such."""
    if each := get_args(kind):
        return {"type": "array", "items": schema_of(each[0])}
    found: dict[str, Any] = {"$ref": REF.format(name=kind.__name__)} if isinstance(kind, type) else kind
    return found


def problems(one: Operation) -> dict[str, Any]:
    """Every error of a route, those of one status together, each with an example."""
    common = [kind for kind in COMMON if not (one.any_query and kind is UnknownParameter)]
    shared = [*common, *((KeyNeeded, Forbidden) if one.role else ()), *(() if one.method in SAFE else (OriginNotAllowed,))]
    kinds = list(dict.fromkeys(kind for given in (*one.errors, *shared) for kind in families(given)))
    good, found = {answer.status for answer in one.answers}, {}
    for status in sorted({STATUS[kind] for kind in kinds} - good):
        these = [kind for kind in kinds if STATUS[kind] == status]
        says = " ".join((kind.__doc__ or "").strip().splitlines()[0] for kind in these)
        found[str(status)] = {"description": says, "content": refused(one, these)}
    return found


def refused(one: Operation, these: list[type[EmbconvError]]) -> dict[str, Any]:
    """How a route tells of these errors: as problems, or where it has the shape of another service as that does."""
    told = [kind for kind in these if kind in EARLY or not one.refuse]
    examples = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in told}
    found: dict[str, Any] = {PROBLEM: {"schema": {"$ref": REF.format(name="Problem")}, "examples": examples}} if told else {}
    return found if len(told) == len(these) else {JSON: {"schema": FOREIGN}, **found}


def families(kind: type[EmbconvError]) -> Iterator[type[EmbconvError]]:
    """An error, or for the root every error of a file."""
    if kind is not EmbconvError:
        yield kind
        return
    yield from (each for each, status in STATUS.items() if status == 422 and "code" in vars(each))


def examples() -> dict[str, Any]:
    """How each problem looks, by its code."""
    return {kind.code: {"value": example(kind)} for kind in sorted(STATUS, key=lambda kind: kind.code) if "code" in vars(kind)}


def example(kind: type[EmbconvError]) -> dict[str, Any]:
    """How such a problem looks."""
    made = EmbconvError((kind.__doc__ or "").strip().splitlines()[0], "What to do about it.")
    shown = msgspec.to_builtins(problem(made, "/v1/embeddings", "b1946ac9-1"))
    status = STATUS[kind]
    return {**shown, "code": kind.code, "status": status, "title": HTTPStatus(status).phrase, "type": f"{TYPE}{kind.code}"}


def as_yaml(value: Any, indent: int = 0) -> str:
    """A document of plain values as YAML in block style, with every text as a JSON string, which YAML reads as it is."""
    space = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{space}{plain_key(key)}:{below(each, indent)}" for key, each in value.items())
    if isinstance(value, (list, tuple)) and value:
        return "".join(f"{space}-{below(each, indent)}" for each in value)
    return f"{space}{json.dumps(value, ensure_ascii=False)}\n"


def below(value: Any, indent: int) -> str:
    """What stands behind a key or a dash."""
    nested = isinstance(value, (dict, list, tuple)) and value
    return f"\n{as_yaml(value, indent + 1)}" if nested else f" {json.dumps(value, ensure_ascii=False)}\n"


def plain_key(key: str) -> str:
    """A key, in quotes where it could be taken for something else than a word."""
    word = key.replace("_", "").replace("-", "").isalpha() and key not in ("null", "true", "false", "on", "off", "yes", "no", "y", "n")
    return key if word else json.dumps(key)
