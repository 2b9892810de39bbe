"""Test renders over HTTP: asked for, watched until a worker has done them."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.types import ASGIApp

from ..downloads import PRIVATE, as_json, departure
from ..errors import AmbiguousReference, BadParameter, BodyTooLarge, Gone, StorageFull, UnknownReference
from ..problems import BadRequest, NotJson, TooSlow
from ..render_errors import CannotRender, NoCheckpoint, UnknownCheckpoint, UnknownValidation
from ..validations import LONGEST, PROMPT, PROMPTS, TIMES, Validation, Wanted, ask, one
from ..verdicts import PROFILES, SHEETS, KeptVerdict
from .call import Service, base_url, json_body, reading, service_of, writing
from .operation import Answer, Call, Operation, Parameter, serves
from .said import REF, TEXT
from .syncs import EVENT, EVENTS, QUIET, event

SMALL = 64 << 10
EVERY = 0.5  # seconds between looks at a validation that is watched
ENDED = ("done", "failed")

NUMBER = Parameter(name="number", where="path", says="The number of a validation.", example=1,
                   schema={"type": "integer", "minimum": 1, "maximum": 2**53})  # fmt: skip
PROPERTIES: dict[str, Any] = {
    "checkpoint": {"type": ["string", "null"], "description": "The name of a checkpoint; without it the first that was added for the embedding's base."},
    "profile": {**TEXT, "enum": [*PROFILES], "default": "standard"},
    "sheets": {"type": "array", "items": {**TEXT, "enum": [*SHEETS]}, "description": "Pictures beside those of the verdict."},
    "prompts": {"type": "array", "items": {**TEXT, "maxLength": LONGEST, "pattern": PROMPT}, "maxItems": PROMPTS,
                "description": f"Prompts of your own for the sheet `prompts`, with {{T}} where the embedding is to stand, at most {TIMES} times."},
}  # fmt: skip

ASK = Operation(
    id="validateEmbedding", method="POST", path="/v1/embeddings/{ref}/validations", tag="validations", role="write", summary="Ask for a test render",
    says="A worker (`embconv worker`) does it. The same question is answered once: who asks it again gets the verdict, or the job that is to find it.",
    parameters=(REF,),
    body={"required": False, "content": {"application/json": {
        "schema": {"type": "object", "additionalProperties": False, "properties": PROPERTIES},
        "example": {"profile": "standard", "sheets": ["strength"]}}}},
    answers=(Answer(says="The verdict, which is known.", type=KeptVerdict),
             Answer(status=202, says="The job.", type=Validation, headers=("location",))),
    errors=(UnknownReference, AmbiguousReference, Gone, UnknownCheckpoint, NoCheckpoint, CannotRender, BadParameter, BadRequest, NotJson,
            BodyTooLarge, TooSlow, StorageFull),
)  # fmt: skip


@serves(ASK)
async def validation_ask(request: Call, ref: str) -> ASGIApp:
    """Ask for a test render."""
    wanted = await json_body(request, Wanted, SMALL, optional=True)
    found = await writing(request, ask, service_of(request).store, ref, wanted)
    if isinstance(found, KeptVerdict):
        return as_json(found, headers=(PRIVATE,))
    location = f"{base_url(request)}/v1/validations/{found.id}".encode("ascii")
    return as_json(found, status=202, headers=(PRIVATE, (b"location", location)))


SHOW = Operation(
    id="showValidation", method="GET", path="/v1/validations/{number}", tag="validations", summary="One validation: how it stands, or what it came to",
    parameters=(NUMBER,), answers=(Answer(says="The validation.", type=Validation),), errors=(UnknownValidation,),
)  # fmt: skip


@serves(SHOW)
async def validation_show(request: Call, number: str) -> ASGIApp:
    """One validation."""
    found = await reading(request, one, service_of(request).store, number_of(number))
    return as_json(found, headers=(PRIVATE,))


def number_of(text: str) -> int:
    """A number in a path; UnknownValidation for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise UnknownValidation(text)
    return int(text)


WATCH = Operation(
    id="watchValidation", method="GET", path="/v1/validations/{number}/events", tag="validations", summary="Watch a validation until it has ended",
    says="Server-sent events: `progress` with the validation whenever it changes, `end` with it as it ended.",
    parameters=(NUMBER,), answers=(Answer(says="The events, until it has ended.", type=EVENT, media="text/event-stream"),),
    errors=(UnknownValidation,),
)  # fmt: skip


@serves(WATCH)
async def validation_watch(request: Call, number: str) -> ASGIApp:
    """Watch a validation until it has ended."""
    service, wanted = service_of(request), number_of(number)
    return Watching(request, service, await reading(request, one, service.store, wanted))


class Watching:
    """The events of one validation. A worker is another process, so the database is looked at."""

    def __init__(self, request: Call, service: Service, found: Validation) -> None:
        self._request, self._service, self._found = request, service, found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        gone, quiet, found = asyncio.ensure_future(departure(receive)), 0.0, self._found
        told: tuple[str, str] | None = None
        try:
            while not gone.done() and found.state not in ENDED:
                if (found.state, found.changed) != told:
                    told, quiet = (found.state, found.changed), 0.0
                    await send(event("progress", found))
                elif quiet >= QUIET:
                    quiet = 0.0
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
                await asyncio.wait({gone}, timeout=EVERY)
                quiet += EVERY
                found = await reading(self._request, one, self._service.store, found.id)
            await send({**event("end", found), "more_body": False})
        finally:
            gone.cancel()


ROUTES = (validation_ask, validation_show, validation_watch)
