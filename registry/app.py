"""The registry as an ASGI application: guards before everything, errors as problems, one line of log for each request."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from inspect import isawaitable
from typing import Any

from litestar import Litestar, Request
from litestar.utils import normalize_path

from .civitai.mirror import Mirror
from .civitai.mirror_index import Index
from .downloads import FRESH, Empty, Reply
from .guards import Told, check_host, check_origin
from .observe import SHOWN, Line, Log
from .problems import MEDIA, UnknownRoute, body_of, headers_of, ours, problem, status_of
from .routes import ROUTES
from .routes.call import Service
from .routes.operation import Operation
from .settings import Settings
from .uploads import Disconnected

NOSNIFF = (b"x-content-type-options", b"nosniff")
NOTHING = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
TOGETHER = 0.05  # seconds of which the lines of log are written at once
GONE = 499  # nginx's word for a caller who did not wait


def create_app(settings: Settings, *, log: Log | None = None) -> Litestar:
    """An application with a registry of its own, which it opens now and closes with its lifespan. Raises NoStore."""
    service = Service(settings, log or Log(settings.log_level))
    app = Litestar(
        route_handlers=[*ROUTES],
        lifespan=[partial(serving, service)],
        openapi_config=None,  # ours is made of the operations: see routes/schema.py
        logging_config=None,
    )
    app.state["service"] = service
    app.state["mirror"] = Mirror(service.store, service.columns, Index(service.store))
    # Litestar puts middleware behind its router, and a bad Host is one on every path; what it does with errors, Front does too
    app.asgi_handler = Front(app.asgi_router.handle_routing, service)
    return app


@asynccontextmanager
async def serving(service: Service, app: Litestar) -> AsyncIterator[None]:
    """What is done before the first request and after the last."""
    mirror: Mirror = app.state["mirror"]
    for work in (service.columns.warm, mirror.index.warm, service.sweep):
        service.readers.submit(quietly, service, work)
    try:
        yield
    finally:
        mirror.index.stop()
        service.close()
        service.log.flush()


def quietly(service: Service, work: Callable[[], None]) -> None:
    """What is done while the first requests are served; they do without it where it fails."""
    try:
        work()
    except Exception as exc:  # noqa: BLE001  # a thread has nobody to raise it to
        service.log.failure("", exc)


def answered(service: Service, scope: Any, exc: Exception) -> Reply:
    """Any error as a problem; a mistake of ours goes to the log with all that is known, and to the caller without."""
    if isinstance(exc, Disconnected):
        return Reply(b"", status=GONE, headers=())
    state: dict[str, Any] = scope["state"]
    error = ours(exc, str(scope.get("method", "")), scope["path"])
    status = status_of(error)
    if status == 500:
        service.log.failure(state["request"], exc)
    state["code"] = error.code
    service.numbers.count("problems", error.code)
    return Reply(body_of(problem(error, scope["path"], state["request"])), status=status, media=MEDIA, headers=headers_of(error))


def allowed(path: str) -> Empty:
    """What may be asked of a path; Litestar names the methods of only one of its handlers. UnknownRoute where it is none."""
    every: list[Operation] = [handler.opt["operation"] for handler in ROUTES]
    routes = [one for one in every if one.path == path] or every  # a path without parameters goes before one that has some
    methods = {one.method for one in routes if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(one.path)), path)}
    if not methods:
        raise UnknownRoute(path)
    names = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})
    return Empty(headers=((b"allow", ", ".join(names).encode("ascii")), FRESH))


class Front:
    """Before the router: whose Host and Origin these are, the request's id, and what is noted of each answer."""

    def __init__(self, routed: Callable[..., tuple[Any, ...]], service: Service) -> None:
        self.routed, self.service = routed, service
        self.lines = service.log.takes("info")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        service, start, told = self.service, time.perf_counter(), Told(scope["headers"])
        state: dict[str, Any] = scope["state"]
        state["request"] = request = service.ids.take(told.get(b"x-request-id"))
        noted = Noted(send, request)
        service.numbers.running += 1
        try:
            state["host"] = host = check_host(service.hosts, told)
            check_origin(scope["method"], host, told)
            state["access"], state["headers"] = service.access, told
            if scope["method"] == "OPTIONS":
                await allowed(scope["path"])(scope, receive, noted)
            else:
                await self.route(scope, receive, noted)
        except Exception as exc:
            if noted.status:  # only the connection can tell now
                service.log.failure(request, exc)
                raise
            await answered(service, scope, exc)(scope, receive, noted)
        finally:
            service.numbers.running -= 1
            self.note(scope, noted, time.perf_counter() - start)

    async def route(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the function of a route and send what it answers.

        Litestar would look for guards, dependencies, hooks and cookies first, of which our routes have none: that is two
        thirds of the time that a route takes which does nothing.
        """
        _, handler, _, scope["path_params"], _ = self.routed(path=normalize_path(scope["path"]), method=scope["method"])
        answer = handler.fn(Request(scope, receive, send))
        await (await answer if isawaitable(answer) else answer)(scope, receive, send)

    def note(self, scope: Any, noted: Noted, seconds: float) -> None:
        """Count a request, and note its line, to be written with those of the next moment."""
        state: dict[str, Any] = scope["state"]
        operation: Operation | None = state.get("operation")
        status, method = noted.status or GONE, scope["method"]
        if operation is None:
            route = ""
            self.service.numbers.request("", "", status, seconds)
        else:
            route = operation.path
            self.service.numbers.request(route, method, status, seconds)
        if self.lines or noted.status >= 500:
            log, client = self.service.log, scope.get("client")
            line = Line(
                log.now(), "error" if noted.status >= 500 else "info", "request", state["request"], method, scope["path"][:SHOWN], route,
                status, int(seconds * 1e5) / 100, noted.sent, state.get("code", ""), client[0] if client else "",
            )  # fmt: skip
            if log.note(line):
                asyncio.get_running_loop().call_later(TOGETHER, log.flush)


class Noted:
    """`send` that adds the headers every answer has, and notes what went out."""

    __slots__ = ("request", "send", "sent", "status")

    def __init__(self, send: Any, request: str) -> None:
        self.send, self.request, self.status, self.sent = send, request, 0, 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, headers = message["status"], message["headers"]
            own = () if NOTHING[0] in dict(headers) else (NOTHING,)
            message["headers"] = [*headers, NOSNIFF, *own, (b"x-request-id", self.request.encode("ascii"))]
        else:
            self.sent += len(message.get("body", b""))
        await self.send(message)
