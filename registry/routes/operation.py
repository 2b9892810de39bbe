"""What a route is, as a fact beside its function: by it requests are checked, and by it `openapi.yaml` describes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct

from embconv.converters import EmbconvError

from ..errors import BadParameter, UnknownParameter
from ..guards import Told
from ..keys import BEGINNING
from ..problems import BadRequest

Call = Request[Any, Any, Any]
Pairs = tuple[tuple[str, str], ...]
Refuse = Callable[[Call, EmbconvError], ASGIApp]

QUERY = 64 << 10   # bytes of a query
PAIRS = 1_000      # parameters in it; a client of Civitai asks for 500 ids at once
PROGRAM = "application/octet-stream"
JSON = "application/json"


class Parameter(Struct, frozen=True, kw_only=True):
    """Something that a request may say. `schema` is its JSON Schema; one that `repeats` may be given several times.

    One that is `deep` is the rest of the path, with its slashes.
    """

    name: str
    says: str
    schema: dict[str, Any]
    where: str = "query"
    example: Any = None
    repeats: bool = False
    deep: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """A way in which a route answers when all is well. `type` is a Struct, a list of one, or a JSON Schema; None where there is no body."""

    says: str
    status: int = 200
    type: Any = None
    media: str = JSON
    example: Any = None
    headers: tuple[str, ...] = ()


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `role` is what a key must have: "" where nobody needs one. `errors` are those beside the common ones.

    For a route in the shape of another service: `any_query` passes over parameters that it does not read, `refuse` answers
    errors as that service does, and keys that begin with `foreign_key` are that service's and count as none; with `other_keys`
    all do that do not begin as ours.
    """

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
    any_query: bool = False
    refuse: Refuse | None = None
    foreign_key: str = ""
    other_keys: bool = False

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
    deep = {each.name for each in operation.parameters if each.deep}
    path = re.sub(r"\{(\w+)\}", lambda part: f"{{{part[1]}:{'path' if part[1] in deep else 'str'}}}", operation.path)

    def made(function: Callable[..., Any]) -> HTTPRouteHandler:
        waits = iscoroutinefunction(function)
        handler = HTTPRouteHandler(path, http_method=methods, status_code=200, opt={"operation": operation}, name=operation.id,
                                   sync_to_thread=None if waits or operation.refuse else False, include_in_schema=False)  # fmt: skip
        work = behind(operation, function, waits=waits)
        return handler(refusing(operation.refuse, work) if operation.refuse else work)

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


def refusing(refuse: Refuse, work: Callable[[Call], Any]) -> Callable[..., Any]:
    """The same with its errors in the shape of another service."""

    async def answering(request: Call) -> ASGIApp:
        try:
            answer = work(request)
            found: ASGIApp = await answer if isawaitable(answer) else answer
        except EmbconvError as exc:
            return refuse(request, exc)
        return found

    return answering


def let_in(scope: Any, operation: Operation) -> None:
    """The key that is needed, and nothing in the query that is not read. Raises KeyNeeded, Forbidden, UnknownParameter ..."""
    state: dict[str, Any] = scope["state"]
    state["operation"] = operation
    headers = own_key(scope, operation) if operation.foreign_key or operation.other_keys else state["headers"]
    state["role"] = state["access"].role(state["host"], headers, operation.role)
    query: bytes = scope["query_string"]
    state["query"] = check_query(operation, query) if query else ()


def own_key(scope: Any, operation: Operation) -> Told:
    """The headers without a key of another service: a program that has one sends it to whatever stands in for that service."""
    told: Told = scope["state"]["headers"]
    given = told.get(b"authorization", b"").lower()
    ours = given.startswith(f"bearer {BEGINNING}".encode("ascii"))
    foreign = not ours if operation.other_keys else given.startswith(f"bearer {operation.foreign_key}".encode("ascii"))
    return Told([(name, value) for name, value in scope["headers"] if name != b"authorization"]) if foreign else told


def check_query(operation: Operation, query: bytes) -> Pairs:
    """The pairs of a query, all of which the operation reads; BadParameter for one that is given twice and may not be."""
    if len(query) > QUERY:
        raise BadRequest(f"The query has {len(query):,} bytes; at most {QUERY:,} are read.")
    try:
        pairs = tuple(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=PAIRS))
    except ValueError as exc:
        raise BadRequest(f"The query has more than {PAIRS} parameters.") from exc
    if operation.any_query:
        return pairs
    known, repeating, seen = operation.query, operation.repeating, set[str]()
    for name, value in pairs:
        if name not in known:
            raise UnknownParameter(name, known)
        if name in seen and name not in repeating:
            raise BadParameter(name, value, "it is given more than once")
        seen.add(name)
    return pairs
