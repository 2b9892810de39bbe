"""What test renders showed of an embedding, and the pictures of it."""

from __future__ import annotations

from litestar.types import ASGIApp
from msgspec import Struct

from ..downloads import FOREVER, FRESH, as_json, etag, file_headers, send_bytes
from ..errors import AmbiguousReference, Gone, UnknownReference
from ..problems import BadRange
from ..render_errors import UnknownRender
from ..store import resolve
from ..store.validations import verdicts_of
from ..validations import picture
from ..verdicts import KeptVerdict
from .call import headers_of, reading, service_of
from .operation import Answer, Call, Operation, Parameter, serves
from .said import REF, SHA256, TEXT

WEBP = "image/webp"


class Renders(Struct, frozen=True, kw_only=True):
    """The verdicts on an embedding, the latest first."""

    items: tuple[KeptVerdict, ...]


LIST = Operation(
    id="listRenders", method="GET", path="/v1/embeddings/{ref}/renders", tag="validations", summary="The verdicts on an embedding, with their pictures",
    says="Each picture is at `/v1/renders/{id}`; its `cell` says what it shows.",
    parameters=(REF,), answers=(Answer(says="The verdicts, the latest first.", type=Renders),), errors=(UnknownReference, AmbiguousReference, Gone),
)  # fmt: skip


@serves(LIST)
async def renders_list(request: Call, ref: str) -> ASGIApp:
    """The verdicts on an embedding."""
    store = service_of(request).store
    found = await reading(request, lambda: verdicts_of(store.read, resolve(store.read, ref)))
    return as_json(Renders(items=tuple(found)), headers=(FRESH,))


SENT = ("etag", "accept-ranges", "content-disposition")
SHOW = Operation(
    id="showRender", method="GET", path="/v1/renders/{id}", tag="validations", summary="A picture of a test render",
    says="Its id is the sha256 of its bytes, so that it may be kept for ever.",
    parameters=(Parameter(name="id", where="path", says="The id of the picture.", example=SHA256, schema={"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),),
    answers=(
        Answer(says="The picture.", type=TEXT, media=WEBP, headers=SENT),
        Answer(status=206, says="The part of it that was asked for.", type=TEXT, media=WEBP, headers=(*SENT, "content-range")),
        Answer(status=304, says="You have it."),
    ),
    errors=(UnknownRender, BadRange),
)  # fmt: skip


@serves(SHOW)
async def render_show(request: Call, id: str) -> ASGIApp:  # noqa: A002  # as the path has it
    """A picture."""
    service, asked = service_of(request), id.lower()
    data = await reading(request, picture, service.store, service.blobs, asked)
    tag = etag(asked)
    cache = (b"private, " if service.settings.private else b"public, ") + FOREVER
    return send_bytes(headers_of(request), data, file_headers(tag, WEBP.encode("ascii"), f"{asked[:12]}.webp", cache), tag)


ROUTES = (renders_list, render_show)
