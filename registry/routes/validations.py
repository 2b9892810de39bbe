"""Test renders over HTTP: asked for, watched until a worker has done them."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp

from ..downloads import PRIVATE, as_json
from ..errors import AmbiguousReference, BadParameter, BodyTooLarge, Gone, StorageFull, UnknownReference
from ..problems import BadRequest, NotJson, TooSlow
from ..render_errors import CannotRender, NoCheckpoint, TooManyWaiting, UnknownCheckpoint, UnknownValidation
from ..validations import LONGEST, PROMPT, PROMPTS, TIMES, Validation, Wanted, ask, one
from ..verdicts import PROFILES, SHEETS, KeptVerdict
from .call import base_url, json_body, reading, service_of, writing
from .events import EVENT, Events, Look, number_of
from .operation import Answer, Call, Operation, Parameter, serves
from .said import REF, TEXT

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
            BodyTooLarge, TooManyWaiting, TooSlow, StorageFull),
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
    found = await reading(request, one, service_of(request).store, number_of(number, UnknownValidation))
    return as_json(found, headers=(PRIVATE,))


WATCH = Operation(
    id="watchValidation", method="GET", path="/v1/validations/{number}/events", tag="validations", summary="Watch a validation until it has ended",
    says="Server-sent events: `progress` with the validation whenever it changes, `end` with it as it ended.",
    parameters=(NUMBER,), answers=(Answer(says="The events, until it has ended.", type=EVENT, media="text/event-stream"),),
    errors=(UnknownValidation,),
)  # fmt: skip


@serves(WATCH)
async def validation_watch(request: Call, number: str) -> ASGIApp:
    """Watch a validation until it has ended."""
    store, wanted = service_of(request).store, number_of(number, UnknownValidation)
    await reading(request, one, store, wanted)

    async def look() -> Look:  # a worker is another process, so the database is looked at
        found = await reading(request, one, store, wanted)
        return Look(found, (found.state, found.changed), ended=found.state in ENDED)

    return Events(look, every=EVERY)


ROUTES = (validation_ask, validation_show, validation_watch)
