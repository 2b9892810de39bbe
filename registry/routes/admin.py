"""What the operator does from elsewhere: keys, the log of refusals, verification, a backup."""

from __future__ import annotations

import os
from functools import partial
from typing import IO, Any

from litestar.types import ASGIApp
from msgspec import Struct
from msgspec.structs import asdict

from embconv.converters.errors import CannotWrite, NotEqual
from embconv.converters.locks import TemporaryFolder

from ..backup import backup
from ..downloads import PRIVATE, Empty, Sending, as_json, disposition
from ..errors import BadParameter, BodyTooLarge, KeyExists, StorageFailed, StorageFull, UnknownKey
from ..keys import create_key, revoke
from ..model import KEY_ROLES, Key, Refusal
from ..problems import BadRequest, NotJson, TooSlow
from ..settings import SHARE, share_of
from ..store import list_keys, refusals
from ..times import now
from ..verify import verify
from .call import Body, Service, asked, base_url, flag, json_body, service_of, whole, writing
from .operation import Answer, Call, Operation, Parameter, serves
from .said import TEXT

SMALL = 16 << 10
MOST = 500


class Keys(Struct, frozen=True, kw_only=True):
    """Every key, without its secret."""

    keys: tuple[Key, ...]


class NewKey(Body):
    """A key that is wanted."""

    name: str
    role: str = "write"
    expires: str | None = None


class Made(Struct, frozen=True, kw_only=True):
    """A new key and its secret, which is shown once."""

    key: Key
    secret: str


LIST = Operation(
    id="listKeys", method="GET", path="/v1/keys", tag="admin", role="admin", summary="Every key, without its secret",
    answers=(Answer(says="The keys, by name; revoked and expired ones too.", type=Keys),),
)  # fmt: skip


@serves(LIST)
def keys_list(request: Call) -> ASGIApp:
    """Every key, without its secret."""
    return as_json(Keys(keys=tuple(list_keys(service_of(request).store.read))), headers=(PRIVATE,))


CREATE = Operation(
    id="createKey", method="POST", path="/v1/keys", tag="admin", role="admin", summary="Make a key",
    body={"required": True, "content": {"application/json": {
        "schema": {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {
            "name": {**TEXT, "pattern": "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"}, "role": {"type": "string", "enum": [*KEY_ROLES], "default": "write"},
            "expires": {"type": ["string", "null"], "pattern": "^[1-9][0-9]{0,3}[smhdw]$", "description": "A span such as 90d. A moment such as 2030-12-31 is read too."}}},
        "example": {"name": "uploader", "role": "write", "expires": "90d"}}}},
    answers=(Answer(status=201, says="The key with its secret, which is kept nowhere.", type=Made),),
    errors=(KeyExists, BadParameter, BadRequest, NotJson, BodyTooLarge, TooSlow, StorageFull),
)  # fmt: skip


@serves(CREATE)
async def keys_create(request: Call) -> ASGIApp:
    """Make a key."""
    wanted = await json_body(request, NewKey, SMALL)
    return as_json(await writing(request, created, service_of(request), wanted), status=201, headers=(PRIVATE,))


def created(service: Service, wanted: NewKey) -> Made:
    """A new key and its secret."""

    def work(db: Any) -> Made:
        secret = create_key(db, wanted.name, wanted.role, wanted.expires)
        return Made(key=next(key for key in list_keys(db) if key.name == wanted.name), secret=secret)

    return service.store.write(work)


REVOKE = Operation(
    id="revokeKey", method="DELETE", path="/v1/keys/{name}", tag="admin", role="admin", summary="End a key",
    parameters=(Parameter(name="name", where="path", says="The key's name.", example="uploader", schema={**TEXT, "minLength": 1, "maxLength": 64}),),
    answers=(Answer(status=204, says="It opens nothing any more."),), errors=(UnknownKey, StorageFull),
)  # fmt: skip


@serves(REVOKE)
async def keys_revoke(request: Call, name: str) -> ASGIApp:
    """End a key."""
    await writing(request, revoke, service_of(request).store, name)
    return Empty()


class Refused(Refusal, frozen=True, kw_only=True):
    """A line of the log of refusals."""

    id: int


class Refusals(Struct, frozen=True, kw_only=True):
    """A part of that log, the latest first; `next` leads to the part before it."""

    items: tuple[Refused, ...]
    next: str | None


REFUSALS = Operation(
    id="listRefusals", method="GET", path="/v1/refusals", tag="admin", role="admin", summary="Files that were not taken, and why",
    parameters=(Parameter(name="limit", says="How many.", schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}),
                Parameter(name="before", says="Those before this one.", schema={"type": "integer", "minimum": 0, "maximum": 2**53})),
    answers=(Answer(says="The latest first.", type=Refusals),), errors=(BadParameter,),
)  # fmt: skip


@serves(REFUSALS)
def refusals_list(request: Call) -> ASGIApp:
    """Files that were not taken, and why."""
    limit, before = whole(request, "limit", 50, 1, MOST) or 50, whole(request, "before", None, 0, 2**53)
    more = refusals(service_of(request).store.read, limit + 1, before)
    found = more[:limit]
    following = f"{base_url(request)}/v1/refusals?limit={limit}&before={found[-1][0]}" if len(more) > limit else None
    link = ((b"link", f'<{following}>; rel="next"'.encode("ascii")),) if following else ()
    items = tuple(Refused(id=id_, **asdict(each)) for id_, each in found)
    return as_json(Refusals(items=items, next=following), headers=(PRIVATE, *link))


class Defect(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `kind`: database, missing, rotten, changed, orphan, stale or index; `ref` names what."""

    kind: str
    ref: str
    says: str
    repaired: bool


class Verified(Struct, frozen=True, kw_only=True):
    """What a verification found; `good` where everything is right or was put right."""

    good: bool
    files: int
    checked: int
    embeddings: int
    problems: tuple[Defect, ...]


VERIFY = Operation(
    id="verifyRegistry", method="POST", path="/v1/verify", tag="admin", role="admin", summary="Look at everything again",
    says="Bytes against their hashes, vectors against their digests, rows against bytes. It answers when it is done, which takes a while.",
    parameters=(Parameter(name="sample", says="The share of the files whose bytes are read: `5%` or `0.05`.", example="5%",
                          schema={**TEXT, "pattern": f"^({SHARE})$", "default": "100%"}),
                Parameter(name="repair", says="Make anew what is derived, and remove what belongs to nothing.", schema={"type": "boolean", "default": False})),
    answers=(Answer(says="What was found.", type=Verified),), errors=(BadParameter, StorageFull),
)  # fmt: skip


@serves(VERIFY)
async def verify_registry(request: Call) -> ASGIApp:
    """Look at everything again."""
    service, sample, repair = service_of(request), asked(request, "sample"), flag(request, "repair")
    part = 1.0 if sample is None else share_of("sample", sample)
    report = await writing(request, partial(verify, service.store, service.blobs, sample=part, repair=repair))
    facts = {**asdict(report), "problems": tuple(Defect(**asdict(problem)) for problem in report.problems)}
    return as_json(Verified(good=report.good, **facts), headers=(PRIVATE,))


BACKUP = Operation(
    id="backupRegistry", method="GET", path="/v1/backup", tag="admin", role="admin", summary="The whole registry as one file",
    says="A zip that, unpacked, is a home again. It is proven before the first byte is sent.",
    answers=(Answer(says="The zip.", type=TEXT, media="application/zip", headers=("content-disposition",)),),
    errors=(CannotWrite, NotEqual, StorageFull),
)  # fmt: skip


@serves(BACKUP)
async def backup_registry(request: Call) -> ASGIApp:
    """The whole registry as one file."""
    service = service_of(request)
    if request.scope["method"] == "HEAD":
        return Empty(200, headers=ZIP)
    file, folder = await writing(request, packed, service)
    size = os.fstat(file.fileno()).st_size
    return Sending(file, size, service.readers, status=200, headers=[*ZIP, disposition(f"embconv-{now()[:10]}.zip")],
                   done=lambda sent: folder.discard())  # fmt: skip


ZIP = [(b"content-type", b"application/zip"), PRIVATE]


def packed(service: Service) -> tuple[IO[bytes], TemporaryFolder]:
    """A backup, open, in a folder that goes when it has been sent."""
    try:
        os.makedirs(service.blobs.temporary, exist_ok=True)
        folder = TemporaryFolder(service.blobs.temporary)
    except OSError as exc:
        raise StorageFailed(exc.strerror or str(exc)) from exc
    try:
        path = os.path.join(folder.path, "backup.zip")
        backup(service.store, service.blobs, path)
        return open(path, "rb"), folder  # the one who sends it closes it
    except BaseException:
        folder.discard()
        raise


ROUTES = (keys_list, keys_create, keys_revoke, refusals_list, verify_registry, backup_registry)
