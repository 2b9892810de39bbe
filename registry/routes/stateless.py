"""Bytes in, answer out: nothing is kept, and nothing is written down."""

from __future__ import annotations

import hashlib
from typing import Any

from litestar.types import ASGIApp

from embconv.converters import EmbconvError, Report
from embconv.converters.errors import CannotHold
from embconv.converters.hashes import hashes as hashes_of
from embconv.converters.inspect import report
from embconv.converters.source import Source

from ..downloads import BYTES, PRIVATE, as_json, etag, file_headers, send_bytes
from ..errors import BadParameter, BadUpload, BodyTooLarge, NotMultipart, StorageFull
from ..forms import Form, Wanted, converted, looked_at
from ..prepare import file_name
from ..problems import TooSlow
from ..uploads import Upload, receive_upload
from .call import headers_of, service_of, writing
from .operation import PROGRAM, Answer, Call, Operation, serves
from .said import DTYPE, FOR, FORMAT, ONE_FILE, TEXT, wanted

UPLOADED = (BadUpload, NotMultipart, BodyTooLarge, TooSlow, EmbconvError, StorageFull)

INSPECT = Operation(
    id="inspectFile", method="POST", path="/v1/inspect", tag="stateless", body=ONE_FILE,
    summary="Everything knowable about a file", says="The same document as `embconv inspect --json`. Nothing of the file is kept.",
    answers=(Answer(says="The report.", type=Report),), errors=UPLOADED,
)  # fmt: skip


@serves(INSPECT)
async def inspect_file(request: Call) -> ASGIApp:
    """Everything knowable about a file."""
    return as_json(await writing(request, inspected, await received(request)), headers=(PRIVATE,))


CONVERT = Operation(
    id="convertFile", method="POST", path="/v1/convert", tag="stateless", body=ONE_FILE, parameters=(FORMAT, FOR, DTYPE),
    summary="A file in another form", says="As `embconv IN OUT`. Nothing of the file is kept.",
    answers=(Answer(says="The file.", type=TEXT, media=PROGRAM, headers=("etag", "content-disposition")),),
    errors=(*UPLOADED, BadParameter, CannotHold),
)  # fmt: skip


@serves(CONVERT)
async def convert_file(request: Call) -> ASGIApp:
    """A file in another form."""
    form = wanted(request)
    made = await writing(request, made_of, await received(request), form)
    service_of(request).numbers.count("downloaded_bytes", amount=len(made.data))
    tag = etag(hashlib.sha256(made.data).hexdigest())
    return send_bytes([], made.data, file_headers(tag, BYTES, made.name, PRIVATE[1]), tag)


async def received(request: Call) -> Upload:
    """The file of the body."""
    service = service_of(request)
    limit = service.settings.max_upload
    return await receive_upload(service.blobs, request.receive, headers_of(request), service.writers, limit=limit)


def inspected(upload: Upload) -> Any:
    """The report on an upload, which is thrown away."""
    try:
        with Source(upload.finish().path, file_name(upload.name)) as opened:
            reading = looked_at(opened)
            return report(reading, opened.size, hashes_of(opened))
    finally:
        upload.close()


def made_of(upload: Upload, form: Wanted) -> Form:
    """An upload in another form."""
    try:
        writer = upload.finish()
        return converted(writer.path, file_name(upload.name), writer.digest(), form)
    finally:
        upload.close()


ROUTES = (inspect_file, convert_file)
