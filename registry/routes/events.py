"""Server-sent events of work that goes on: `progress` whenever there is news, `end` with it as it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from ..downloads import PRIVATE, departure
from ..errors import RegistryError
from .said import TEXT

QUIET = 15.0  # seconds without news after which a line says that we are still there
HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), PRIVATE]
EVENT: dict[str, Any] = {"type": "object", "properties": {"event": {**TEXT, "enum": ["progress", "end"]}, "data": TEXT}}


class Look(NamedTuple):
    """How the work stands: what is told of it, and whether that is its end. `news` differs whenever there is something to tell."""

    value: Any
    news: Any
    ended: bool


class Events:
    """The events of one piece of work, looked at `every` so many seconds until it has ended or nobody listens any more."""

    def __init__(self, look: Callable[[], Awaitable[Look]], *, every: float) -> None:
        self._look, self._every = look, every

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        gone, told, quiet = asyncio.ensure_future(departure(receive)), None, 0.0
        try:
            while not (found := await self._look()).ended and not gone.done():
                if found.news != told:
                    told, quiet = found.news, 0.0
                    await send(event("progress", found.value))
                elif quiet >= QUIET:
                    quiet = 0.0
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
                await asyncio.wait({gone}, timeout=self._every)
                quiet += self._every
            await send({**event("end", found.value), "more_body": False})
        finally:
            gone.cancel()


def event(kind: str, value: Any) -> dict[str, Any]:
    """A server-sent event."""
    return {"type": "http.response.body", "body": b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(value)), "more_body": True}


def number_of(text: str, unknown: Callable[[str], RegistryError]) -> int:
    """A number in a path; `unknown` for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise unknown(text)
    return int(text)
