"""Bytes out: answers with their headers, parts of files, what has not changed, and names that no header trips over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import IO, Any
from urllib.parse import quote

import msgspec

from embconv.converters.names import in_unicode

from .problems import BadRange

Header = tuple[bytes, bytes]

JSON = b"application/json"
BYTES = b"application/octet-stream"
FRESH = (b"cache-control", b"no-cache")       # it may be kept, and is asked for again each time
PRIVATE = (b"cache-control", b"no-store")
FOREVER = b"max-age=31536000, immutable"      # what is called by its own hash never changes
PIECE = 1 << 18
STALLED = 60.0                                # seconds in which a caller takes nothing
SMALL = 1 << 16                               # sent in one piece, read at once
RANGE = re.compile(rb"bytes\s*=\s*(?:(\d{1,30})\s*-\s*(\d{0,30})|-\s*(\d{1,30}))\s*")
TAGS = re.compile(rb'(?:W/)?("[^"]*")')
LONGEST = 4_096                               # bytes of a header that is looked at
NAME_SAFE = "!#$&+-.^_`|~"                    # RFC 8187 attr-char, beside letters and digits


class Reply:
    """An answer that is all there: an ASGI application of two messages."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, *, status: int = 200, media: bytes = JSON, headers: Sequence[Header] = (FRESH,)) -> None:
        self.status, self.body = status, body
        self.headers = [*headers, (b"content-type", media), (b"content-length", b"%d" % len(body))]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body if scope["method"] != "HEAD" else b"", "more_body": False})


class Empty:
    """An answer without a body: 204 or 304."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int = 204, headers: Sequence[Header] = (PRIVATE,)) -> None:
        self.status, self.headers = status, list(headers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Sending:
    """`count` bytes from where an open file stands, piece by piece, read off the event loop; `done` is called at the end in any case."""

    __slots__ = ("count", "done", "file", "headers", "status", "threads")

    def __init__(
        self, file: IO[bytes], count: int, threads: Executor, *, status: int, headers: Sequence[Header], done: Callable[[int], None]
    ) -> None:
        self.file, self.count, self.threads, self.status, self.done = file, count, threads, status, done
        self.headers = [*headers, (b"content-length", b"%d" % count)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent, gone = 0, asyncio.ensure_future(departure(receive))
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            if self.count == 0 or scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            loop = asyncio.get_running_loop()
            while sent < self.count and not gone.done():
                piece = await loop.run_in_executor(self.threads, self.file.read, min(PIECE, self.count - sent))
                if not piece:
                    raise EOFError("a file became shorter while it was sent")
                sent += len(piece)
                async with asyncio.timeout(STALLED):
                    await send({"type": "http.response.body", "body": piece, "more_body": sent < self.count})
        finally:
            gone.cancel()
            self.file.close()
            self.done(sent)


async def departure(receive: Any) -> None:
    """Wait until the caller is gone; a server takes what is sent to nobody without a word."""
    while (await receive())["type"] != "http.disconnect":
        pass


def as_json(value: Any, *, status: int = 200, headers: Sequence[Header] = (FRESH,)) -> Reply:
    """A value as an answer."""
    return Reply(msgspec.json.encode(value), status=status, headers=headers)


def etag(sha256: str) -> bytes:
    """The tag of bytes, strong, as equal bytes have equal hashes."""
    return b'"sha256:%s"' % sha256.encode("ascii")


def header(headers: list[Header], name: bytes) -> bytes | None:
    """The value of a header, or None. One that is sent twice, or is endless, counts as not sent."""
    found = [value for given, value in headers if given == name]
    return found[0] if len(found) == 1 and len(found[0]) <= LONGEST else None


def unchanged(headers: list[Header], tag: bytes) -> bool:
    """Does the caller have these bytes already (If-None-Match)?"""
    given = header(headers, b"if-none-match")
    return given is not None and (given.strip() == b"*" or tag in TAGS.findall(given))


def part(headers: list[Header], tag: bytes, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that are asked for; None for all of them. BadRange where there are none such.

    Several ranges at once are answered with the whole file: putting them together is not worth what it costs.
    """
    given = header(headers, b"range")
    condition = header(headers, b"if-range")
    if given is None or b"," in given or not given.lower().startswith(b"bytes") or (condition is not None and condition.strip() != tag):
        return None
    match = RANGE.fullmatch(given.strip().lower())
    if match is None:
        raise BadRange(given.decode("latin-1"), size)
    first, last, tail = match.groups()
    if tail is not None:
        start, stop = max(0, size - int(tail)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if start >= stop:
        raise BadRange(given.decode("latin-1"), size)
    return start, stop


def disposition(name: str) -> Header:
    """Save it under this name (RFC 6266): ASCII for old programs, and in full (RFC 8187). No name ends the header or begins another."""
    clean = "".join(c if c.isprintable() else "_" for c in in_unicode(name))
    plain = "".join(c if c.isascii() and c not in '"\\%' else "_" for c in clean)
    value = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe=NAME_SAFE)}"
    return b"content-disposition", value.encode("ascii")


def file_headers(tag: bytes, media: bytes, name: str, cache: bytes) -> list[Header]:
    """What every download has, also where only a part of it is sent."""
    return [(b"etag", tag), (b"accept-ranges", b"bytes"), (b"cache-control", cache), (b"content-type", media), disposition(name)]


def send_bytes(headers: list[Header], data: bytes, shared: list[Header], tag: bytes) -> Reply | Empty:
    """Bytes that are all there, or the part of them, or that they have not changed."""
    if unchanged(headers, tag):
        return Empty(304, kept(shared))
    wanted = part(headers, tag, len(data))
    start, stop = wanted or (0, len(data))
    reply = Reply(data[start:stop], status=206 if wanted else 200, headers=shared)
    reply.headers = [*shared, *within(wanted, len(data)), (b"content-length", b"%d" % (stop - start))]
    return reply


def kept(shared: list[Header]) -> list[Header]:
    """The headers of a 304."""
    return [(name, value) for name, value in shared if name in (b"etag", b"cache-control")]


def within(wanted: tuple[int, int] | None, size: int) -> list[Header]:
    """Which part it is."""
    return [(b"content-range", b"bytes %d-%d/%d" % (wanted[0], wanted[1] - 1, size))] if wanted else []
