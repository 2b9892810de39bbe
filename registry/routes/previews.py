"""Pictures of an embedding: those that are here, and those that Civitai shows, fetched when somebody asks for them."""

from __future__ import annotations

from functools import partial

from litestar.types import ASGIApp
from msgspec import Struct

from ..civitai.choose import LEVELS
from ..civitai.client import Client
from ..civitai.errors import AddressRefused, BadToken, CivitaiBusy, CivitaiUnclear, CivitaiUnreachable, RegionBlocked
from ..civitai.previews import fetch_previews
from ..civitai.run import Trouble
from ..civitai.site import site
from ..downloads import FOREVER, FRESH, PRIVATE, Reply, as_json, etag
from ..errors import AmbiguousReference, BadParameter, BodyTooLarge, Gone, StorageFull, UnknownFile, UnknownReference
from ..model import Preview
from ..problems import BadRequest, NotJson, TooSlow
from ..store import resolve
from ..store.previews import preview_by_sha256, previews_of
from .call import Body, Service, base_url, json_body, reading, service_of, writing
from .operation import Answer, Call, Operation, Parameter, serves
from .said import REF, SHA256, TEXT

SMALL, MOST = 4 << 10, 20
WEBP = b"image/webp"


class Pictures(Struct, frozen=True, kw_only=True):
    """The pictures of an embedding. `urls` are where each is served, in the same order; `failed` those that could not be fetched now."""

    items: tuple[Preview, ...]
    urls: tuple[str, ...]
    failed: tuple[Trouble, ...] = ()


class Wanted(Body):
    """Pictures that are wanted: how many there are to be, and of which rating at most."""

    nsfw: str = "pg"
    limit: int = 4


LIST = Operation(
    id="listPreviews", method="GET", path="/v1/embeddings/{ref}/previews", tag="previews", summary="The pictures of an embedding that are here",
    says="`recipe` is how a picture was made, as its source tells it: prompt, seed, sampler.",
    parameters=(REF,), answers=(Answer(says="The pictures, with where each is.", type=Pictures),), errors=(UnknownReference, AmbiguousReference, Gone),
)  # fmt: skip


@serves(LIST)
async def previews_list(request: Call, ref: str) -> ASGIApp:
    """The pictures of an embedding that are here."""
    store = service_of(request).store
    found = await reading(request, lambda: previews_of(store.read, resolve(store.read, ref)))
    return as_json(shown(request, found), headers=(FRESH,))


def shown(request: Call, found: list[Preview], failed: tuple[Trouble, ...] = ()) -> Pictures:
    """Pictures with where they are."""
    return Pictures(items=tuple(found), urls=tuple(f"{base_url(request)}/v1/previews/{each.sha256}" for each in found), failed=failed)


FETCH = Operation(
    id="fetchPreviews", method="POST", path="/v1/embeddings/{ref}/previews", tag="previews", role="write", summary="Fetch pictures from Civitai",
    says="Those of the versions that the embedding is known as, up to a rating. They are made anew as WebP, without what else was in the file.",
    parameters=(REF,),
    body={"required": True, "content": {"application/json": {"schema": {"type": "object", "additionalProperties": False, "properties": {
        "nsfw": {**TEXT, "enum": [*LEVELS], "default": "pg"}, "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": 4}}},
        "example": {"nsfw": "pg", "limit": 4}}}},
    answers=(Answer(says="All that are here now.", type=Pictures),),
    errors=(UnknownReference, AmbiguousReference, Gone, CivitaiUnreachable, CivitaiBusy, CivitaiUnclear, RegionBlocked, BadToken, AddressRefused,
            BadParameter, BadRequest, NotJson, BodyTooLarge, TooSlow, StorageFull),
)  # fmt: skip


@serves(FETCH)
async def previews_fetch(request: Call, ref: str) -> ASGIApp:
    """Fetch pictures from Civitai."""
    wanted = await json_body(request, Wanted, SMALL)
    if not 1 <= wanted.limit <= MOST:
        raise BadParameter("limit", str(wanted.limit), f"from 1 to {MOST}")
    found, failed = await writing(request, partial(fetched, service_of(request), ref, wanted))
    return as_json(shown(request, found, tuple(failed)), headers=(PRIVATE,))


def fetched(service: Service, ref: str, wanted: Wanted) -> tuple[list[Preview], list[Trouble]]:
    """Fetch them."""
    id_ = resolve(service.store.read, ref)
    with Client(site(home=service.settings.home)) as client:
        return fetch_previews(service.store, service.blobs, client, id_, nsfw=wanted.nsfw, limit=wanted.limit)


SHOW = Operation(
    id="showPreview", method="GET", path="/v1/previews/{sha256}", tag="previews", summary="A picture",
    parameters=(Parameter(name="sha256", where="path", says="The sha256 of the picture.", example=SHA256,
                          schema={"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),),
    answers=(Answer(says="The picture.", type=TEXT, media="image/webp", headers=("etag",)),), errors=(UnknownFile,),
)  # fmt: skip


@serves(SHOW)
async def preview_show(request: Call, sha256: str) -> ASGIApp:
    """A picture."""
    service, asked = service_of(request), sha256.lower()
    data = await reading(request, bytes_of, service, asked)
    cache = (b"cache-control", (b"private, " if service.settings.private else b"public, ") + FOREVER)
    return Reply(data, media=WEBP, headers=((b"etag", etag(asked)), cache))


def bytes_of(service: Service, sha256: str) -> bytes:
    """The bytes of a picture; UnknownFile for whatever is none."""
    if len(sha256) != 64 or preview_by_sha256(service.store.read, sha256) is None:
        raise UnknownFile(sha256)
    return service.blobs.read(sha256)


ROUTES = (previews_list, previews_fetch, preview_show)
