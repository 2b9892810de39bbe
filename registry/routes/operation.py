"""What a route is, as a fact beside its function: by it requests are checked, and by it `openapi.yaml` describes them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct

from embconv.converters import EmbconvError

from ..errors import BadParameter, UnknownParameter
from ..problems import BadRequest

Call = Request[Any, Any, Any]
Pairs = tuple[tuple[str, str], ...]

QUERY = 64 << 10   # bytes of a query
PAIRS = 500        # parameters in it
PROGRAM = "application/octet-stream"
JSON = "application/json"


class Parameter(Struct, frozen=True, kw_only=True):
    """Something that a request may say. `schema` is its JSON Schema; one that `repeats` may be given several times."""

    name: str
    says: str
    schema: dict[str, Any]
    where: str = "query"
    example: Any = None
    repeats: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """A way in which a route answers when all is well. `type` is a Struct or a JSON Schema; None where there is no body."""

    says: str
    status: int = 200
    type: Any = None
    media: str = JSON
    example: Any = None
    headers: tuple[str, ...] = ()


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `role` is what a key must have: "" where nobody needs one. `errors` are those beside the common ones."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    says: str = ""
    role: str = "read"
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    answers: tuple[Answer, ...]
    errors: tuple[type[EmbconvError], ...] = ()

    @property
    def query(self) -> tuple[str, ...]:
        """The query parameters that it reads."""
        return tuple(each.name for each in self.parameters if each.where == "query")

    @property
    def repeating(self) -> frozenset[str]:
        """Those that may be given more than once."""
        return frozenset(each.name for each in self.parameters if each.where == "query" and each.repeats)


def serves(operation: Operation) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make a function the handler of an operation, behind `let_in`. One that is not `async` runs on the event loop, so it must be quick.

    Litestar's own guards and middleware would do the same, and cost each request twice as much as all that `let_in` does.
    """
    methods: Any = ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
    path = operation.path.replace("}", ":str}")

    def made(function: Callable[..., Any]) -> HTTPRouteHandler:
        waits = iscoroutinefunction(function)
        handler = HTTPRouteHandler(path, http_method=methods, status_code=200, opt={"operation": operation}, name=operation.id,
                                   sync_to_thread=None if waits else False, include_in_schema=False)  # fmt: skip
        return handler(behind(operation, function, waits=waits))

    return made


def behind(operation: Operation, function: Callable[..., Any], *, waits: bool) -> Callable[..., Any]:
    """The function, which is called once the request was let in, with the parts of the path that are its parameters.

    Litestar sees neither its parameters nor its types: looking at them costs each request a fifth of all that Litestar does.
    """

    async def later(request: Call) -> ASGIApp:
        let_in(request.scope, operation)
        answer: ASGIApp = await function(request, **request.scope["path_params"])
        return answer

    def now(request: Call) -> ASGIApp:
        let_in(request.scope, operation)
        answer: ASGIApp = function(request, **request.scope["path_params"])
        return answer

    return later if waits else now


def let_in(scope: Any, operation: Operation) -> None:
    """The key that is needed, and nothing in the query that is not read. Raises KeyNeeded, Forbidden, UnknownParameter ..."""
    state: dict[str, Any] = scope["state"]
    state["operation"] = operation
    state["role"] = state["access"].role(state["host"], state["headers"], operation.role)
    query: bytes = scope["query_string"]
    state["query"] = check_query(operation, query) if query else ()


def check_query(operation: Operation, query: bytes) -> Pairs:
    """The pairs of a query, all of which the operation reads; BadParameter for one that is given twice and may not be."""
    if len(query) > QUERY:
        raise BadRequest(f"The query has {len(query):,} bytes; at most {QUERY:,} are read.")
    try:
        pairs = tuple(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=PAIRS))
    except ValueError as exc:
        raise BadRequest(f"The query has more than {PAIRS} parameters.") from exc
    known, repeating, seen = operation.query, operation.repeating, set[str]()
    for name, value in pairs:
        if name not in known:
            raise UnknownParameter(name, known)
        if name in seen and name not in repeating:
            raise BadParameter(name, value, "it is given more than once")
        seen.add(name)
    return pairs
