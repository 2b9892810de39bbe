"""The description agrees with itself: what it refers to is there, and its own examples are what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from embconv.registry.problems import STATUS
from embconv.registry.routes import ROUTES
from embconv.registry.routes.schema import document

DOCUMENT = document()
OPERATIONS = [(f"{method.upper()} {path}", operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()]
every_operation = pytest.mark.parametrize("operation", [operation for _, operation in OPERATIONS], ids=[name for name, _ in OPERATIONS])


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in it."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for each in value if isinstance(value, list | tuple) else ():
        yield from walk(each)


def fits(schema: Any, value: Any) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]} if isinstance(schema, dict) else schema
    return bool(jsonschema_rs.is_valid(whole, value))


def test_what_is_referred_to_is_there() -> None:
    for one in walk(DOCUMENT):
        if isinstance(ref := one.get("$ref"), str):
            found: Any = DOCUMENT
            for part in ref.removeprefix("#/").split("/"):
                found = found[part]


def test_every_schema_is_one() -> None:
    for one in walk(DOCUMENT):
        if isinstance(one.get("schema"), dict):
            jsonschema_rs.validator_for({**one["schema"], "components": DOCUMENT["components"]})


@every_operation
def test_an_example_is_what_is_asked_for(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            assert fits(parameter["schema"], parameter["example"]), parameter["name"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "example" in content:
            assert fits(content["schema"], content["example"])


@every_operation
def test_every_error_has_an_example_that_is_a_problem(operation: dict[str, Any]) -> None:
    statuses = [status for status in operation["responses"] if int(status) >= 400]
    assert {"400", "403", "500"} <= set(statuses)
    for status in statuses:
        for media, content in operation["responses"][status].get("content", {}).items():
            if media == "application/problem+json":
                assert content["examples"]
                for name in content["examples"]:
                    example = DOCUMENT["components"]["examples"][name]["value"]
                    assert (example["code"], example["status"]) == (name, int(status))
                    assert fits(content["schema"], example)


def test_every_error_is_described() -> None:
    assert set(DOCUMENT["components"]["examples"]) == {kind.code for kind in STATUS if "code" in vars(kind)}


@every_operation
def test_an_operation_says_what_it_does(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["tags"]
    assert all(parameter["description"] for parameter in operation.get("parameters", ()))
    assert operation["operationId"] in {handler.opt["operation"].id for handler in ROUTES}


def test_no_address_of_elsewhere_is_in_it() -> None:
    """The page shows it, and must not make a browser ask anybody else."""
    assert [one for one in walk(DOCUMENT) if any(str(one.get(name, "")).startswith(("http:", "https:")) for name in ("url", "$ref", "externalValue"))] == []
