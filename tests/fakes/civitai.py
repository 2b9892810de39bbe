"""A fake Civitai in this process, or of its own: `with serve() as fake: ...`, or `python tests/fakes/civitai.py --models 12`."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from msgspec import Struct

if str(Path(__file__).parents[1]) not in sys.path:  # started by its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.civitai_catalogue import Catalogue, File, Model
from fakes.civitai_downloads import download, login_page
from fakes.civitai_endpoints import (
    by_hash,
    by_hash_bulk,
    by_hash_ids,
    creators,
    enums,
    gallery,
    me,
    mini,
    one_model,
    one_version,
    tags,
    training_data,
)
from fakes.civitai_faults import Account, Faults, Log, Reply, Seen, after, always, error, first, html, seen_of
from fakes.civitai_generate import ODDITIES, generate
from fakes.civitai_list import list_models
from fakes.civitai_storage import bomb, storage_app
from fakes.civitai_world import World

__all__ = ["ODDITIES", "Account", "Catalogue", "Fake", "Faults", "File", "Log", "Model", "Seen", "after", "always", "civitai_app", "first",
           "generate", "serve", "storage_app"]  # fmt: skip

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
PUBLIC = {"Cache-Control": "public, s-maxage=300, stale-while-revalidate=150"}
HASHED = {"Cache-Control": "public, s-maxage=3600, stale-while-revalidate=1800"}
PRIVATE = {"Cache-Control": "max-age=0, private, no-cache"}
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "GET"}


class Route(NamedTuple):
    """One path of the API: what answers, whether it is Mixed, its cache header."""

    path: str
    answer: Callable[..., Reply]
    mixed: bool = False
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed


ROUTES = (
    Route("/api/v1/models", list_models, mixed=True),
    Route("/api/v1/models/{id:str}", one_model, headers=PUBLIC),
    Route("/api/v1/model-versions/{id:str}", one_version, mixed=True),
    Route("/api/v1/model-versions/by-hash", by_hash_bulk, headers=PUBLIC),
    Route("/api/v1/model-versions/by-hash/ids", by_hash_ids, headers=PUBLIC),
    Route("/api/v1/model-versions/by-hash/{hash:str}", by_hash, headers=HASHED),
    Route("/api/v1/model-versions/mini/{id:str}", mini, mixed=True),
    Route("/api/v1/creators", creators, headers=PUBLIC),
    Route("/api/v1/tags", tags, headers=PUBLIC),
    Route("/api/v1/enums", enums),
    Route("/api/v1/me", me, headers=PRIVATE),
    Route("/api/v1/images", gallery, headers=PUBLIC),
    Route("/api/download/models/{id:str}", download),
    Route("/api/download/training-data/{id:str}", training_data),
    Route("/login", login_page),
    Route("/model-versions/{id:str}", lambda world, seen, value: html(200, f"Version {value}")),
)


def civitai_app(catalogue: Catalogue, faults: Faults, storage_url: str, *, log: Log | None = None) -> Litestar:
    """The API host."""
    world = World(catalogue, faults, storage_url, log)

    def lost(request: Request[Any, Any, Any], exc: HTTPException) -> Response[bytes]:
        seen = seen_of(request.scope, "api")
        world.log.requests.append(seen)
        return _response(html(404, "404: This page could not be found."), seen)

    return Litestar([_handler(world, each) for each in ROUTES], exception_handlers={HTTPException: lost}, openapi_config=None, logging_config=None)


def _handler(world: World, described: Route) -> Any:
    async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        seen = seen_of(request.scope, "api", await request.body() if request.method == "POST" else b"")
        world.log.requests.append(seen)
        if world.faults.fires("api_slow", seen):
            await asyncio.sleep(world.faults.api_seconds)
        reply = instead(world.faults, seen) or _answer(world, described, seen, *request.path_params.values())
        return _response(_spoilt(world.faults, seen, reply), seen)

    return route(described.path, http_method=METHODS, status_code=200)(handler)


def _answer(world: World, described: Route, seen: Seen, *values: str) -> Reply:
    """The right answer, with the headers of its kind of endpoint."""
    if described.mixed and seen.method != "GET":
        return error(405, "Method not allowed")
    cache = described.headers if not described.mixed else PRIVATE if world.account(seen) else PUBLIC
    reply = described.answer(world, seen, *values)
    return Reply(reply.status, reply.body, CORS | cache | reply.headers, reply.media)


def _response(reply: Reply, seen: Seen) -> Response[bytes]:
    media = reply.media.partition(";")[0] if reply.media.startswith("text/") else reply.media  # Litestar adds the charset to text
    return Response(b"" if seen.method == "HEAD" else reply.data(), status_code=reply.status, headers=reply.headers, media_type=media)


# faults that any path may have

REGION = "Access to this service is not available in your region due to legal restrictions."


def instead(faults: Faults, seen: Seen) -> Reply | None:
    """What the edge answers in the API's place."""
    wait = {"Retry-After": faults.retry_after} if faults.retry_after else {}
    answers: dict[str, Callable[[], Reply]] = {
        "region_451": lambda: Reply(451, {"error": REGION, "code": "REGION_BLOCKED"}),
        "html_503": lambda: html(faults.html_status, "We'll be right back"),
        "html_403": lambda: html(403, "Just a moment...", {"Server": "cloudflare", "CF-Mitigated": "challenge"}),
        "html_404": lambda: html(404, "404: This page could not be found."),
        "maintenance_text_200": lambda: Reply(200, b"Down for a few adjustments, back in some minutes...", {}, "text/plain; charset=utf-8"),
        "rate_429": lambda: Reply(429, {"error": "Too many requests"}, wait),
        "json_503": lambda: Reply(503, {"error": "Service unavailable"}, wait),
        "error_500": lambda: Reply(500, {"message": "An unexpected error occurred", "error": "URI malformed"}),
        "api_invalid_json": lambda: Reply(200, b'{"items": [{"id": 1, ]}'),
        "api_gzip_bomb": lambda: Reply(200, bomb(faults.bomb_bytes, b" "), {"Content-Encoding": "gzip"}),
        "api_huge": lambda: Reply(200, b'{"items":[' + b" " * faults.huge_bytes + b'],"metadata":{}}'),
    }
    return next((answer() for name, answer in answers.items() if faults.fires(name, seen)), None)


def _spoilt(faults: Faults, seen: Seen, reply: Reply) -> Reply:
    """The right answer, cut: as if whole, or with the length of the whole so that the connection ends early."""
    if faults.fires("api_cut", seen):
        return Reply(reply.status, reply.data()[: len(reply.data()) // 2], reply.headers, reply.media)
    if faults.fires("api_drops", seen):
        whole = reply.data()
        return Reply(reply.status, whole[: len(whole) // 2], reply.headers | {"Content-Length": str(len(whole))}, reply.media)
    return reply


# serving


class Fake(Struct, frozen=True):
    """A fake that runs: where it is, and what a test may turn and read."""

    api_url: str
    storage_url: str
    catalogue: Catalogue
    faults: Faults
    log: Log


def _abortable(app: Any) -> Any:
    """Gives the handlers a way to reset their connection."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope["fake.abort"] = transport.abort
        await app(scope, receive, send)

    return outer


def _bound(host: str, port: int) -> tuple[socket.socket, str]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    return listening, f"http://{host}:{listening.getsockname()[1]}"


def _server(app: Any) -> uvicorn.Server:
    settings = {"log_level": "critical", "access_log": False, "lifespan": "off", "ws": "none", "timeout_graceful_shutdown": 1}
    return uvicorn.Server(uvicorn.Config(_abortable(app), **settings))  # type: ignore[arg-type]


@contextmanager
def serve(
    catalogue: Catalogue | None = None, faults: Faults | None = None, host: str = "127.0.0.1", *, port: int = 0, storage_port: int = 0
) -> Iterator[Fake]:
    """Both hosts on free ports, each in a thread; they end with the block."""
    (api, api_url), (storage, storage_url) = _bound(host, port), _bound(host, storage_port)
    fake = Fake(api_url, storage_url, generate() if catalogue is None else catalogue, Faults() if faults is None else faults, Log())
    servers = (
        _server(civitai_app(fake.catalogue, fake.faults, storage_url, log=fake.log)),
        _server(storage_app(fake.catalogue, fake.faults, log=fake.log)),
    )
    listening = (api, storage)
    threads = [threading.Thread(target=server.run, args=([sock],), daemon=True) for server, sock in zip(servers, listening, strict=True)]
    try:
        for thread in threads:
            thread.start()
        _wait(servers)
        yield fake
    finally:
        for server in servers:
            server.should_exit = True
        for thread in threads:
            thread.join(timeout=10)


def _wait(servers: tuple[uvicorn.Server, ...]) -> None:
    deadline = time.monotonic() + 20
    while not all(server.started for server in servers):
        if time.monotonic() > deadline:
            raise TimeoutError("the fake Civitai did not start")
        time.sleep(0.005)


def main() -> None:
    """Serve until killed; the addresses go to stdout as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=80)
    parser.add_argument("--files", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="no odd models")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--storage-port", type=int, default=0)
    asked = parser.parse_args()
    made = generate(asked.models, files=asked.files, seed=asked.seed, oddities=not asked.plain)
    with serve(made, host=asked.host, port=asked.port, storage_port=asked.storage_port) as fake:
        print(json.dumps({"api": fake.api_url, "storage": fake.storage_url}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
