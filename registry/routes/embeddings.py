"""Embeddings: sent, shown, changed, removed, and handed out in the form that a program loads."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import msgspec
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from embconv.converters import EmbconvError
from embconv.converters.display import printable
from embconv.converters.errors import CannotHold

from ..downloads import BYTES, FRESH, PRIVATE, Empty, Reply, etag, file_headers, send_bytes
from ..errors import (
    AmbiguousReference,
    BadParameter,
    BadUpload,
    Blocked,
    BodyTooLarge,
    Gone,
    NotMultipart,
    RegistryError,
    StorageFull,
    UnknownReference,
)
from ..forms import form_of
from ..ingest import Sent, ingest, take_away
from ..model import Entry, FileEntry, Ingested, Origin
from ..problems import BadRange, BadRequest, NotJson, TooSlow
from ..store import document, edit, resolve, shown
from ..times import now
from ..uploads import Upload, receive_upload
from .call import Body, Service, asked, flag, headers_of, json_body, must_be, reading, service_of, writing
from .operation import PROGRAM, Answer, Call, Operation, Parameter, serves
from .said import DTYPE, FILE, FOR, FORMAT, RATING, REF, ROLE, TEXT, wanted

FIELDS = ("name", "role", "tag", "tags", "origin")
CHANGES = 256 << 10  # bytes of a change
WHY = 1_000  # characters of a reason
FINDING = (UnknownReference, AmbiguousReference, Gone)
FLAG: dict[str, Any] = {"type": "boolean", "default": False}


class Told(Body, forbid_unknown_fields=True):
    """Where a file comes from, as the part `origin` says it."""

    source: str = "upload"
    id: str | None = None
    url: str | None = None
    seen: str | None = None
    state: str = "present"
    claims: dict[str, Any] = {}  # noqa: RUF012  # msgspec copies it; Body is a Struct


class Changes(Body):
    """What a person sets; no claim changes it from then on."""

    name: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    notes: str | UnsetType | None = UNSET
    nsfw: str | UnsetType | None = UNSET
    licence: str | UnsetType | None = UNSET


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload came to: `added` where at least one embedding is new, else `known`."""

    status: str
    embeddings: tuple[Entry, ...]
    file: FileEntry


UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {"multipart/form-data": {"schema": {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {
            "file": FILE,
            "name": {**TEXT, "minLength": 1, "maxLength": 200, "description": "What the embedding is to be called, where the file holds one."},
            "role": {**ROLE, "description": "Which prompt it is for."},
            "tag": {"type": "array", "items": {**TEXT, "maxLength": 100}, "maxItems": 3, "description": "Tags; the part may repeat."},
            "tags": {**TEXT, "maxLength": 2_000, "description": "Tags with commas between them."},
            "origin": {**TEXT, "maxLength": 2_000, "description": "Where it comes from: a URL, or JSON such as "
                       "`{\"source\": \"civitai\", \"id\": \"7808\", \"url\": \"https://...\", \"claims\": {\"creator\": \"...\"}}`."},
        },
    }}},
}  # fmt: skip

UPLOAD = Operation(
    id="ingestEmbedding", method="POST", path="/v1/embeddings", tag="embeddings", role="write", body=UPLOAD_BODY,
    summary="Remember a file",
    says="Sends one file. It is read piece by piece, and kept under its sha256 once it has proved to be an embedding; nothing is kept of one "
         "that is refused, but for a line in the log of refusals. The same vectors in another file join the embedding that is here.",
    parameters=(Parameter(name="unblock", says="Let in what was removed for good. Needs an admin's key.", schema=FLAG),),
    answers=(
        Answer(status=201, says="These bytes are new here.", type=Taken, headers=("location",)),
        Answer(status=200, says="These bytes are here already.", type=Taken, headers=("location",)),
    ),
    errors=(BadUpload, NotMultipart, BodyTooLarge, TooSlow, BadParameter, EmbconvError, Blocked, StorageFull),
)  # fmt: skip


@serves(UPLOAD)
async def ingest_embedding(request: Call) -> ASGIApp:
    """Remember a file."""
    service = service_of(request)
    unblock = flag(request, "unblock")
    if unblock:
        must_be(request, "admin")
    limit = service.settings.max_upload
    upload = await receive_upload(service.blobs, request.receive, headers_of(request), service.writers, fields=FIELDS, limit=limit)
    try:
        found = await remember(request, upload, unblock=unblock)
        service.numbers.count("ingests", found.status)
    except EmbconvError as exc:
        if isinstance(exc, Blocked) or not isinstance(exc, RegistryError):
            service.numbers.count("refusals", exc.code)
        raise
    body = msgspec.json.encode({"status": found.status, "embeddings": found.embeddings, "file": found.file})
    location = where(found)
    return Reply(body, status=201 if found.new_file else 200, headers=(PRIVATE, *location))


async def remember(request: Call, upload: Upload, *, unblock: bool) -> Ingested:
    """Ingest what was uploaded: small files with whatever comes at the same time."""
    service, whole = service_of(request), upload.whole()
    service.numbers.count("uploaded_bytes", amount=upload.writer.size + sum(map(len, upload.rest)))
    if whole is None:
        return await writing(request, ingest_large, service, upload, unblock)
    upload.close()
    return await service.intake.do(Sent(whole, upload.name, {**said_of(upload.fields), "unblock": unblock}))


def ingest_large(service: Service, upload: Upload, unblock: bool) -> Ingested:
    """Ingest what the disk has already, for the most part."""
    try:
        return ingest(service.store, service.blobs, upload.finish(), name=upload.name, unblock=unblock, **said_of(upload.fields))
    finally:
        upload.close()


def where(found: Ingested) -> tuple[tuple[bytes, bytes], ...]:
    """Where the embedding is, if it is one."""
    if len(found.embeddings) != 1:
        return ()
    digest = msgspec.json.decode(found.embeddings[0], type=Named).digest
    return ((b"location", f"/v1/embeddings/{digest}".encode("ascii")),)


class Named(msgspec.Struct):
    """The one field of an entry that an address needs."""

    digest: str


def said_of(fields: dict[str, list[str]]) -> dict[str, Any]:
    """The fields of an upload as ingest takes them."""
    for name in ("name", "role", "tags", "origin"):
        if len(fields.get(name, ())) > 1:
            raise BadParameter(name, fields[name][1], "it is given more than once")
    tags = [*fields.get("tag", ()), *(",".join(fields.get("tags", ())).split(","))]
    given = {name: text for name in ("name", "role") if (text := "".join(fields.get(name, ())).strip())}
    origin = origin_of("".join(fields.get("origin", ())).strip())
    return {"given_name": given.get("name"), "role": given.get("role"), "tags": [tag for tag in tags if tag.strip()], "origin": origin}


def origin_of(text: str) -> Origin | None:
    """The part `origin`: JSON, or just a URL."""
    if not text:
        return None
    if not text.startswith("{"):
        return Origin(source="upload", url=text, seen=now())
    try:
        told = msgspec.json.decode(text, type=Told)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadUpload(f"The part origin is not what is expected: {printable(str(exc))}.") from exc
    return Origin(source=told.source, id=told.id, url=told.url, seen=told.seen or now(), state=told.state, claims=told.claims)


SHOW = Operation(
    id="showEmbedding", method="GET", path="/v1/embeddings/{ref}", tag="embeddings", parameters=(REF,),
    summary="Show an embedding", says="All that is known of it: its files with every hash, what they and others call it, and where they come from.",
    answers=(Answer(says="It.", type=Entry),), errors=FINDING,
)  # fmt: skip


@serves(SHOW)
def show_embedding(request: Call, ref: str) -> ASGIApp:
    """Show an embedding."""
    return Reply(shown(service_of(request).store.read, ref))


CHANGE = Operation(
    id="editEmbedding", method="PATCH", path="/v1/embeddings/{ref}", tag="embeddings", role="write", parameters=(REF,),
    summary="Change what a person may set", says="Fields that are not there stay; `null` empties notes, nsfw and licence.",
    body={"required": True, "content": {"application/json": {"schema": {
        "type": "object", "additionalProperties": False,
        "properties": {"name": {**TEXT, "minLength": 1, "maxLength": 200, "pattern": "^[A-Za-z0-9_. -]*[A-Za-z0-9_.-][A-Za-z0-9_. -]*$"},
                       "role": ROLE, "tags": {"type": "array", "items": {**TEXT, "maxLength": 100}, "maxItems": 200},
                       "notes": {"type": ["string", "null"], "maxLength": 10_000}, "nsfw": RATING,
                       "licence": {"type": ["string", "null"], "maxLength": 1_000}}},
        "example": {"role": "negative", "tags": ["quality", "hands"], "notes": "Good at 0.8."}}}},
    answers=(Answer(says="It, as it is now.", type=Entry),), errors=(*FINDING, BadParameter, BadRequest, NotJson, BodyTooLarge, TooSlow, StorageFull),
)  # fmt: skip


@serves(CHANGE)
async def edit_embedding(request: Call, ref: str) -> ASGIApp:
    """Change what a person may set."""
    changes = await json_body(request, Changes, CHANGES)
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    return Reply(await writing(request, changed, service_of(request), ref, given), headers=(PRIVATE,))


def changed(service: Service, ref: str, given: dict[str, Any]) -> bytes:
    """The document of an embedding after a change."""

    def work(db: Any) -> bytes:
        id_ = resolve(db, ref)
        if given:
            edit(db, id_, given)
        return document(db, id_)

    return service.store.write(work)


REMOVE = Operation(
    id="removeEmbedding", method="DELETE", path="/v1/embeddings/{ref}", tag="embeddings", role="write",
    summary="Remove an embedding",
    says="It is not found any more, and asking for it answers 410 with when and why. Its files go, unless they hold another embedding. "
         "Uploading it again brings it back, unless it was blocked.",
    parameters=(REF, Parameter(name="why", says="The reason, for those who ask for it later.", schema={**TEXT, "maxLength": WHY}),
                Parameter(name="block", says="For good: uploading it again is refused. Needs an admin's key.", schema=FLAG)),
    answers=(Answer(status=204, says="It is gone."),), errors=(*FINDING, BadParameter, StorageFull),
)  # fmt: skip


@serves(REMOVE)
async def remove_embedding(request: Call, ref: str) -> ASGIApp:
    """Remove an embedding."""
    service, why, block = service_of(request), asked(request, "why") or "", flag(request, "block")
    if block:
        must_be(request, "admin")
    if len(why) > WHY:
        raise BadParameter("why", why, f"a reason of at most {WHY:,} characters")
    id_ = resolve(service.store.read, ref)
    await writing(request, partial(take_away, service.store, service.blobs, id_, why=why, block=block))
    return Empty()


HAND_OUT = Operation(
    id="downloadEmbedding", method="GET", path="/v1/embeddings/{ref}/file", tag="files", parameters=(REF, FORMAT, FOR, DTYPE),
    summary="An embedding as a file that a program loads",
    says="Converted as it goes out, with what is known of it in the header where the kind of file has one. Equal requests get equal bytes.",
    answers=(
        Answer(says="The file.", type=TEXT, media=PROGRAM, headers=("etag", "accept-ranges", "content-disposition")),
        Answer(status=206, says="The part of it that was asked for.", type=TEXT, media=PROGRAM, headers=("etag", "content-range")),
        Answer(status=304, says="It has not changed."),
    ),
    errors=(*FINDING, BadParameter, CannotHold, BadRange),
)  # fmt: skip


@serves(HAND_OUT)
async def download_embedding(request: Call, ref: str) -> ASGIApp:
    """An embedding as a file that a program loads."""
    service, form = service_of(request), wanted(request)
    id_ = resolve(service.store.read, ref)
    made = await reading(request, form_of, service.store, service.blobs, service.cache, id_, form)
    service.numbers.count("conversions", "hit" if made.kept else "miss")
    service.numbers.count("downloaded_bytes", amount=len(made.data))
    tag = etag(hashlib.sha256(made.data).hexdigest())
    headers = headers_of(request) if request.scope["method"] == "GET" else without_range(request)
    return send_bytes(headers, made.data, file_headers(tag, BYTES, made.name, FRESH[1]), tag)


def without_range(request: Call) -> list[tuple[bytes, bytes]]:
    """The headers of a HEAD, which asks for no part."""
    return [(name, value) for name, value in headers_of(request) if name != b"range"]


ROUTES = (ingest_embedding, show_embedding, edit_embedding, remove_embedding, download_embedding)
