"""Syncs, for an admin: begun, watched as they go, paused, resumed, cancelled, and what the earlier ones came to."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import ASGIApp
from msgspec import Struct

from ..civitai.choose import LEVELS, Options
from ..civitai.errors import AddressRefused, BadToken, SyncRuns, UnknownSync
from ..civitai.site import site
from ..downloads import PRIVATE, as_json
from ..errors import BadParameter, BodyTooLarge, StorageFull
from ..problems import BadRequest, NotJson, TooSlow
from ..syncs import Recorded, civitai
from .call import Service, base_url, json_body, service_of, whole, writing
from .events import EVENT, Events, Look, number_of
from .operation import Answer, Call, Operation, Parameter, serves
from .said import TEXT

SMALL, MOST = 16 << 10, 200
EVERY = 0.25      # seconds between looks at a sync that is watched


class NewSync(Options, frozen=True, kw_only=True):
    """A sync that is wanted: the options of `embconv sync civitai`, and what is to be mirrored."""

    source: str = "civitai"


class History(Struct, frozen=True, kw_only=True):
    """Syncs, the latest first; `next` leads to those before."""

    items: tuple[Recorded, ...]
    next: str | None


NUMBER = Parameter(name="number", where="path", says="The number of a sync.", example=1, schema={"type": "integer", "minimum": 1, "maximum": 2**53})
PROPERTIES: dict[str, Any] = {
    "source": {**TEXT, "enum": ["civitai"], "default": "civitai"},
    "base": {"type": "array", "items": TEXT, "description": "Only these bases: ours (`sdxl`) or Civitai's (`SD 1.5`)."},
    "query": {**TEXT, "description": "Only what Civitai finds for these words."},
    "creator": {**TEXT, "description": "Only what this creator made."},
    "since": {**TEXT, "description": "`last`, or a date."},
    "limit": {"type": "integer", "minimum": 0, "description": "Files at most; 0 is all."},
    "metadata_only": {"type": "boolean", "default": False},
    "nsfw": {**TEXT, "enum": [*LEVELS], "default": "pg", "description": "The highest level that is taken."},
    "rate": {"type": "number", "minimum": 0, "default": 1, "description": "Requests a second; 0 is no limit."},
    "downloads": {"type": "integer", "minimum": 1, "maximum": 32, "default": 2},
    "dry_run": {"type": "boolean", "default": False},
}

START = Operation(
    id="startSync", method="POST", path="/v1/syncs", tag="syncs", role="admin", summary="Begin a sync",
    says="It goes on where the last one was interrupted. Which Civitai is asked, and with which token, is the operator's to set.",
    body={"required": True, "content": {"application/json": {
        "schema": {"type": "object", "additionalProperties": False, "properties": PROPERTIES},
        "example": {"source": "civitai", "nsfw": "pg", "base": ["sdxl"]}}}},
    answers=(Answer(status=202, says="It has begun.", type=Recorded, headers=("location",)),),
    errors=(SyncRuns, BadToken, AddressRefused, BadParameter, BadRequest, NotJson, BodyTooLarge, TooSlow, StorageFull),
)  # fmt: skip


@serves(START)
async def sync_start(request: Call) -> ASGIApp:
    """Begin a sync."""
    wanted = await json_body(request, NewSync, SMALL)
    begun = await writing(request, begin, service_of(request), wanted)
    location = f"{base_url(request)}/v1/syncs/{begun.id}".encode("ascii")
    return as_json(begun, status=202, headers=(PRIVATE, (b"location", location)))


def begin(service: Service, wanted: NewSync) -> Recorded:
    """Begin it."""
    if wanted.source != "civitai":
        raise BadParameter("source", wanted.source, "civitai", ("civitai",))
    options = Options(**{name: value for name, value in msgspec.structs.asdict(wanted).items() if name != "source"})
    settings = service.settings
    work = civitai(service.store, service.blobs, site(home=settings.home), options, limit=settings.max_upload)
    return service.syncs.start("civitai", msgspec.to_builtins(options), work)


LIST = Operation(
    id="listSyncs", method="GET", path="/v1/syncs", tag="syncs", role="admin", summary="Syncs, the latest first",
    parameters=(Parameter(name="limit", says="How many.", schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}),
                Parameter(name="before", says="Those before this number.", schema={"type": "integer", "minimum": 0, "maximum": 2**53})),
    answers=(Answer(says="The syncs.", type=History),), errors=(BadParameter,),
)  # fmt: skip


@serves(LIST)
def sync_list(request: Call) -> ASGIApp:
    """Syncs, the latest first."""
    limit, before = whole(request, "limit", 50, 1, MOST) or 50, whole(request, "before", None, 0, 2**53)
    more = service_of(request).syncs.some(limit + 1, before)
    found = more[:limit]
    following = f"{base_url(request)}/v1/syncs?limit={limit}&before={found[-1].id}" if len(more) > limit else None
    link = ((b"link", f'<{following}>; rel="next"'.encode("ascii")),) if following else ()
    return as_json(History(items=tuple(found), next=following), headers=(PRIVATE, *link))


SHOW = Operation(
    id="showSync", method="GET", path="/v1/syncs/{number}", tag="syncs", role="admin", summary="One sync: how far it is, or what it came to",
    parameters=(NUMBER,), answers=(Answer(says="The sync.", type=Recorded),), errors=(UnknownSync,),
)  # fmt: skip


@serves(SHOW)
def sync_show(request: Call, number: str) -> ASGIApp:
    """One sync."""
    return as_json(service_of(request).syncs.one(number_of(number, UnknownSync)), headers=(PRIVATE,))


WATCH = Operation(
    id="watchSync", method="GET", path="/v1/syncs/{number}/events", tag="syncs", role="admin", summary="Watch a sync as it goes",
    says="Server-sent events: `progress` whenever there is news, `end` with the sync as it ended.",
    parameters=(NUMBER,), answers=(Answer(says="The events, until it has ended.", type=EVENT, media="text/event-stream"),), errors=(UnknownSync,),
)  # fmt: skip


@serves(WATCH)
def sync_watch(request: Call, number: str) -> ASGIApp:
    """Watch a sync as it goes."""
    service, wanted = service_of(request), number_of(number, UnknownSync)
    service.syncs.one(wanted)

    async def look() -> Look:
        running = service.syncs.running(wanted)
        if running is None:
            return Look(service.syncs.one(wanted), None, ended=True)
        return Look(running.progress, running.progress, ended=False)

    return Events(look, every=EVERY)


def order(word: str, summary: str) -> Operation:
    """An operation that tells a running sync something."""
    return Operation(
        id=f"{word}Sync", method="POST", path=f"/v1/syncs/{{number}}/{word}", tag="syncs", role="admin", summary=summary,
        parameters=(NUMBER,), answers=(Answer(says="The sync as it stands now.", type=Recorded),), errors=(UnknownSync,),
    )  # fmt: skip


@serves(order("pause", "Let a running sync wait after the file it is at"))
def sync_pause(request: Call, number: str) -> ASGIApp:
    """Let it wait."""
    return ordered(request, number, "pause")


@serves(order("resume", "Let a paused sync go on"))
def sync_resume(request: Call, number: str) -> ASGIApp:
    """Let it go on."""
    return ordered(request, number, "resume")


@serves(order("cancel", "End a running sync; what it has is kept, and the next goes on from there"))
def sync_cancel(request: Call, number: str) -> ASGIApp:
    """End it."""
    return ordered(request, number, "stop")


def ordered(request: Call, number: str, word: str) -> ASGIApp:
    """Tell a sync, and say how it stands."""
    syncs, wanted = service_of(request).syncs, number_of(number, UnknownSync)
    getattr(syncs.control(wanted), word)()
    return as_json(syncs.one(wanted), headers=(PRIVATE,))


ROUTES = (sync_start, sync_list, sync_show, sync_watch, sync_pause, sync_resume, sync_cancel)
