"""The description of the service, and a page that shows it, from files of this machine."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from ..downloads import FRESH, Reply
from ..errors import RegistryError
from ..problems import UnknownRoute
from .description import as_yaml, described
from .operation import Answer, Call, Operation, Parameter, serves
from .said import TEXT

ASSETS = {"swagger-ui.css": b"text/css", "swagger-ui-bundle.js": b"text/javascript"}  # of Swagger UI, as swagger-ui-py ships them
OWN = {"start.js": b"text/javascript"}
PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>embconv registry</title>
<link rel="stylesheet" href="/schema/swagger-ui.css">
<div id="page"></div>
<script src="/schema/swagger-ui-bundle.js"></script>
<script src="/schema/start.js"></script>
</html>
"""
START = b'SwaggerUIBundle({url: "/schema/openapi.json", dom_id: "#page", validatorUrl: null, deepLinking: true});\n'
POLICY = (b"content-security-policy", b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")

DOCUMENT = Operation(
    id="openapiJson", method="GET", path="/schema/openapi.json", tag="description", role="", summary="This description as JSON",
    answers=(Answer(says="OpenAPI 3.1.", type={"type": "object"}),),
)  # fmt: skip
YAML = Operation(
    id="openapiYaml", method="GET", path="/schema/openapi.yaml", tag="description", role="", summary="This description as YAML",
    answers=(Answer(says="OpenAPI 3.1.", type={"type": "object"}, media="application/yaml"),),
)  # fmt: skip
SHOWN = Operation(
    id="schemaPage", method="GET", path="/schema", tag="description", role="", summary="This description as a page",
    answers=(Answer(says="Swagger UI, with nothing from elsewhere.", type=TEXT, media="text/html"),),
)  # fmt: skip
ASSET = Operation(
    id="schemaAsset", method="GET", path="/schema/{name}", tag="description", role="", summary="A part of that page",
    parameters=(Parameter(name="name", where="path", says="The part.", schema={"type": "string", "enum": [*ASSETS, *OWN]}, example="swagger-ui.css"),),
    answers=(Answer(says="It.", type=TEXT, media="text/*"),), errors=(UnknownRoute,),
)  # fmt: skip


@cache
def document() -> dict[str, Any]:
    """The description of all routes."""
    from . import ROUTES as EVERY  # this module is a part of it

    return described(handler.opt["operation"] for handler in EVERY)


@serves(DOCUMENT)
def openapi_json(request: Call) -> ASGIApp:
    """The description as JSON."""
    return Reply(msgspec.json.encode(document()), headers=(FRESH,))


@serves(YAML)
def openapi_yaml(request: Call) -> ASGIApp:
    """The description as YAML."""
    return Reply(as_yaml(document()).encode(), media=b"application/yaml", headers=(FRESH,))


@serves(SHOWN)
def schema_page(request: Call) -> ASGIApp:
    """The description as a page."""
    return Reply(PAGE, media=b"text/html; charset=utf-8", headers=(FRESH, POLICY))


@serves(ASSET)
def schema_asset(request: Call, name: str) -> ASGIApp:
    """A part of the page."""
    if name in OWN:
        return Reply(START, media=OWN[name], headers=(FRESH,))
    if name not in ASSETS:
        raise UnknownRoute(f"/schema/{name}")
    return Reply(asset(name), media=ASSETS[name], headers=(FRESH,))


@cache
def asset(name: str) -> bytes:
    """A file of Swagger UI, without importing the package that brings it."""
    try:
        return Path(str(distribution("swagger-ui-py").locate_file(f"swagger_ui/static/{name}"))).read_bytes()
    except OSError as exc:
        raise RegistryError(f"The page's part {name} is not installed.", "The description itself is at /schema/openapi.json.") from exc


ROUTES: tuple[HTTPRouteHandler, ...] = (openapi_json, openapi_yaml, schema_page, schema_asset)
