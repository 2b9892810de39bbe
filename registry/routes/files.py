"""Files, byte for byte as they were uploaded."""

from __future__ import annotations

from typing import IO

from litestar.types import ASGIApp

from ..downloads import (
    BYTES,
    FOREVER,
    PIECE,
    Empty,
    Sending,
    etag,
    file_headers,
    kept,
    part,
    send_bytes,
    unchanged,
    within,
)
from ..errors import Gone, UnknownFile
from ..model import FileEntry
from ..problems import BadRange
from ..store import file_of
from .call import Service, headers_of, reading, service_of
from .operation import PROGRAM, Answer, Call, Operation, Parameter, serves
from .said import SHA256, TEXT

SENT = ("etag", "accept-ranges", "content-disposition")
FILE = Operation(
    id="downloadFile", method="GET", path="/v1/files/{sha256}", tag="files",
    summary="The exact bytes once uploaded", says="What is called by its own hash never changes, so that it may be kept for ever.",
    parameters=(Parameter(name="sha256", where="path", says="The sha256 of the file.", example=SHA256,
                          schema={"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),),
    answers=(
        Answer(says="The file.", type=TEXT, media=PROGRAM, headers=SENT),
        Answer(status=206, says="The part of it that was asked for.", type=TEXT, media=PROGRAM, headers=(*SENT, "content-range")),
        Answer(status=304, says="You have it."),
    ),
    errors=(UnknownFile, Gone, BadRange),
)  # fmt: skip


@serves(FILE)
async def download_file(request: Call, sha256: str) -> ASGIApp:
    """The exact bytes once uploaded."""
    service, asked = service_of(request), sha256.lower()
    file, entry = await reading(request, opened, service, asked)
    try:
        return answer(service, request.scope["method"], headers_of(request), file, entry)
    except BaseException:
        file.close()
        raise


def opened(service: Service, sha256: str) -> tuple[IO[bytes], FileEntry]:
    """The bytes, open, and what is known of them."""
    if len(sha256) != 64:
        raise UnknownFile(sha256)
    entry = file_of(service.store.read, sha256)
    return service.blobs.open(sha256), entry


def answer(service: Service, method: str, headers: list[tuple[bytes, bytes]], file: IO[bytes], entry: FileEntry) -> ASGIApp:
    """All of it, a part, nothing because the caller has it, or just what a HEAD is told."""
    tag = etag(entry.sha256)
    shared = file_headers(tag, BYTES, entry.name, (b"private, " if service.settings.private else b"public, ") + FOREVER)
    if unchanged(headers, tag):
        file.close()
        return Empty(304, kept(shared))
    if entry.size <= PIECE and method == "GET":
        with file:
            data = file.read()
        service.numbers.count("downloaded_bytes", amount=len(data))
        return send_bytes(headers, data, shared, tag)
    wanted = part(headers, tag, entry.size) if method == "GET" else None
    start, stop = wanted or (0, entry.size)
    file.seek(start)
    return Sending(file, stop - start, service.readers, status=206 if wanted else 200, headers=[*shared, *within(wanted, entry.size)],
                   done=lambda sent: service.numbers.count("downloaded_bytes", amount=sent))  # fmt: skip


ROUTES = (download_file,)
