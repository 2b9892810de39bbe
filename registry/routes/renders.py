"""What test renders showed of an embedding, and the pictures of it."""

from __future__ import annotations

from litestar.types import ASGIApp
from msgspec import Struct

from ..downloads import FOREVER, FRESH, as_json, etag, file_headers, send_bytes
from ..errors import AmbiguousReference, BadParameter, Gone, UnknownReference
from ..problems import BadRange
from ..query import LEAST, MOST, USUAL, cursor_of, place_of
from ..render_errors import UnknownRender
from ..store import Store, digest_of, resolve
from ..store.validations import LATEST, Place, count_of, verdicts_of
from ..validations import picture
from ..verdicts import KeptVerdict
from .call import asked, base_url, headers_of, reading, service_of, whole
from .operation import Answer, Call, Operation, Parameter, serves
from .said import REF, SHA256, TEXT

WEBP = "image/webp"


class Renders(Struct, frozen=True, kw_only=True):
    """Verdicts on an embedding, the latest first. `total` counts all of them; `next` leads to those before."""

    items: tuple[KeptVerdict, ...]
    total: int
    next: str | None


LIST = Operation(
    id="listRenders", method="GET", path="/v1/embeddings/{ref}/renders", tag="validations", summary="The verdicts on an embedding, with their pictures",
    says="The latest first. Each picture is at `/v1/renders/{id}`; its `cell` says what it shows.",
    parameters=(REF, Parameter(name="limit", says="How many.", schema={"type": "integer", "minimum": LEAST, "maximum": MOST, "default": USUAL}),
                Parameter(name="cursor", says="From the `next` of an earlier page.", schema={**TEXT, "maxLength": 4000})),
    answers=(Answer(says="A page.", type=Renders, headers=("link",)),),
    errors=(UnknownReference, AmbiguousReference, Gone, BadParameter),
)  # fmt: skip


@serves(LIST)
async def renders_list(request: Call, ref: str) -> ASGIApp:
    """The verdicts on an embedding."""
    limit = whole(request, "limit", USUAL, LEAST, MOST) or USUAL
    found = await reading(request, page, service_of(request).store, ref, limit, asked(request, "cursor"), base_url(request))
    link = ((b"link", f'<{found.next}>; rel="next"'.encode("ascii")),) if found.next else ()
    return as_json(found, headers=(FRESH, *link))


def page(store: Store, ref: str, limit: int, cursor: str | None, base: str) -> Renders:
    """A page of them; `next` names the embedding by its digest, which means the same tomorrow."""
    id_ = resolve(store.read, ref)
    digest = digest_of(store.read, id_)
    after = LATEST if cursor is None else place_of(cursor, digest, Place)
    more = verdicts_of(store.read, id_, limit + 1, after)
    items, total = tuple(more[:limit]), count_of(store.read, id_)
    last = cursor_of(digest, (items[-1].made, items[-1].id)) if len(more) > limit else ""
    following = f"{base}/v1/embeddings/{digest}/renders?limit={limit}&cursor={last}" if last else None
    return Renders(items=items, total=total, next=following)


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
