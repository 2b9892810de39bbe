"""The fake Civitai's second host: sends files to whoever has a signature, and refuses whoever shows a token."""

import asyncio
import gzip
import hashlib
import re
import time
import zlib
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

from fakes.civitai_catalogue import Catalogue
from fakes.civitai_faults import Faults, Log, Reply, Seen, html, seen_of
from fakes.civitai_world import World, signed


def storage_app(catalogue: Catalogue, faults: Faults, *, log: Log | None = None) -> Litestar:
    """Files, pictures and hops; one raw handler, because faults cut answers in the middle."""
    world = World(catalogue, faults, "", log)
    uses: dict[str, int] = {}

    @asgi("/", is_mount=True, copy_scope=False)
    async def everything(scope: Scope, receive: Receive, send: Send) -> None:
        seen = seen_of(scope, "storage")
        world.log.requests.append(seen)
        reply = _answer(world, seen, uses)
        await _send(world.faults, seen, reply, send, scope)

    return Litestar([everything], openapi_config=None, logging_config=None)


def _xml(status: int, code: str, text: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>'
    return Reply(status, body.encode(), {}, "application/xml")


def _answer(world: World, seen: Seen, uses: dict[str, int]) -> Reply:
    """What is sent if nothing cuts it."""
    if "authorization" in seen.headers:
        return _xml(400, "InvalidRequest", "Only one auth mechanism allowed")
    if seen.path.startswith("/images/"):
        return _picture(world, seen)
    if seen.path.startswith("/hop/"):
        left = int(seen.path.split("/")[2]) - 1
        to = seen.one("to") or ""
        place = to if left <= 0 else f"/hop/{left}?{urlencode({'to': to})}"
        return Reply(307, b"", {"Location": place})
    return _refused(world, seen, uses) or _file(world, seen)


def _picture(world: World, seen: Seen) -> Reply:
    name = seen.path.rpartition("/")[2]
    image = world.catalogue.images.get(int(name.partition(".")[0])) if name.partition(".")[0].isdecimal() else None
    if image is None:
        return _xml(404, "NoSuchKey", "The specified key does not exist.")
    return Reply(200, image.content(), {"Cache-Control": "public, max-age=31536000"}, "image/jpeg" if name.endswith("jpeg") else "image/png")


def _refused(world: World, seen: Seen, uses: dict[str, int]) -> Reply | None:
    """Signature first, then the host's own troubles."""
    faults, mark = world.faults, seen.one("X-Amz-Signature") or ""
    about = signed(mark) if len(mark) == 64 else None
    if about is None or about.file_id not in world.catalogue.files:
        return _xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
    uses[mark] = uses.get(mark, 0) + 1
    used_up = faults.storage_expired_after is not None and uses[mark] > faults.storage_expired_after
    if about.expires < time.time() or used_up or faults.fires("storage_expired", seen):
        return _xml(403, "AccessDenied", "Request has expired")
    if faults.fires("storage_html_200", seen):
        return html(200, "Just a moment...")
    if faults.fires("storage_500", seen):
        return _xml(500, "InternalError", "We encountered an internal error. Please try again.")
    if faults.fires("storage_404", seen):
        return _xml(404, "NoSuchKey", "The specified key does not exist.")
    return None


def _file(world: World, seen: Seen) -> Reply:
    """All of it, or the part that is asked for."""
    faults, about = world.faults, signed(seen.one("X-Amz-Signature") or "")
    assert about is not None
    data = _data(world, seen, about.file_id)
    etag = f'"{hashlib.md5(data).hexdigest()}"'
    if faults.fires("storage_new_etag", seen):
        etag = f'"{next(world.turns):032x}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Last-Modified": "Sat, 01 Aug 2026 00:00:00 GMT"}
    shown = seen.one("response-content-disposition")
    if shown and not faults.fires("storage_no_disposition", seen):
        headers["Content-Disposition"] = shown
    wanted = seen.headers.get("range")
    fresh = seen.headers.get("if-range", etag) == etag
    if wanted and fresh and not faults.fires("storage_ignores_range", seen):
        return _part(data, wanted, headers, refuse=faults.fires("storage_416", seen))
    return Reply(200, data, headers, "application/octet-stream")


def _data(world: World, seen: Seen, file_id: int) -> bytes:
    data, faults = world.catalogue.files[file_id].content(), world.faults
    if faults.fires("storage_wrong_bytes", seen):
        data = data[:-1] + bytes([data[-1] ^ 1]) if data else b"?"
    if faults.fires("storage_bigger_than_said", seen):
        data += bytes(faults.extra_bytes)
    return data


def _part(data: bytes, wanted: str, headers: dict[str, str], *, refuse: bool) -> Reply:
    """206, or 416 where nothing is left."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if match is None or match.groups() == ("", ""):
        return Reply(200, data, headers, "application/octet-stream")
    first, last = match.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if refuse or start >= len(data) or start >= stop:
        return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"}, "application/xml")
    return Reply(206, data[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, "application/octet-stream")


# sending


@lru_cache(maxsize=4)
def bomb(size: int, filler: bytes = b"\0") -> bytes:
    """A small gzip of very much of nothing."""
    packer, piece = zlib.compressobj(1, wbits=31), filler * (1 << 20)
    return b"".join(packer.compress(piece) for _ in range(max(size >> 20, 1))) + packer.flush()


def _packed(faults: Faults, seen: Seen, reply: Reply) -> Reply:
    if reply.status in {200, 206} and faults.fires("storage_gzip_bomb", seen):
        return Reply(200, bomb(faults.bomb_bytes), reply.headers | {"Content-Encoding": "gzip"}, reply.media)
    if reply.status in {200, 206} and faults.fires("storage_gzipped", seen):
        return Reply(reply.status, gzip.compress(reply.data(), mtime=0), reply.headers | {"Content-Encoding": "gzip"}, reply.media)
    return reply


async def _send(faults: Faults, seen: Seen, reply: Reply, send: Send, scope: Any) -> None:
    """Body by body; an answer that is cut leaves uvicorn to close the connection."""
    reply = _packed(faults, seen, reply)
    body, sends_file = reply.data(), reply.status in {200, 206} and seen.method != "HEAD"
    endless = sends_file and faults.fires("storage_endless", seen)
    length = {} if endless or (sends_file and faults.fires("storage_no_length", seen)) else {"Content-Length": str(len(body))}
    headers = {"Content-Type": reply.media} | length | reply.headers
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    if endless:
        await _forever(send)
    elif sends_file and faults.fires("storage_truncates", seen):
        await _piece(send, body[: faults.storage_truncate_at])
    elif sends_file and faults.fires("storage_drops", seen):
        await _piece(send, body[: faults.storage_drop_at])
        await asyncio.sleep(0.05)  # so that the piece is out before the reset
        scope.get("fake.abort", lambda: None)()
    else:
        await _body(faults, seen, b"" if seen.method == "HEAD" else body, send)


async def _piece(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def _body(faults: Faults, seen: Seen, body: bytes, send: Send) -> None:
    if faults.fires("storage_slow", seen):
        for start in range(0, len(body), faults.storage_piece):
            await asyncio.sleep(faults.storage_seconds)
            await _piece(send, body[start : start + faults.storage_piece])
        body = b""
    await _piece(send, body, more=False)


async def _forever(send: Send) -> None:
    """Till the client has had enough, or a gigabyte."""
    for _ in range(16384):
        await _piece(send, bytes(1 << 16))
        await asyncio.sleep(0)
