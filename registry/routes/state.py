"""How the registry is: alive, how much there is of everything, and the words that it knows."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp

from embconv.converters import ENCODERS, LAYOUTS
from embconv.converters.encoders import BASES
from embconv.converters.numbers import WRITABLE
from embconv.converters.targets import TARGETS

from ..downloads import FRESH, PRIVATE, Reply, as_json
from ..forms import FORMATS
from ..health import Health
from ..model import KEY_ROLES, NSFW, PERMISSIONS, ROLES, VERDICTS
from .call import reading, service_of
from .operation import Answer, Call, Operation, serves
from .said import TEXT

HEALTH = Operation(
    id="health", method="GET", path="/health", tag="operations", role="", summary="Is all well?",
    says="Tries a small write every few seconds.",
    answers=(Answer(says="All is well.", type=Health), Answer(status=503, says="It is not; `says` tells why.", type=Health)),
)  # fmt: skip


@serves(HEALTH)
async def health(request: Call) -> ASGIApp:
    """Is all well?"""
    service = service_of(request)
    found = await service.pulse.take()
    return as_json(found, status=200 if found.status == "ok" else 503, headers=(PRIVATE,))


METRICS = Operation(
    id="metrics", method="GET", path="/metrics", tag="operations", summary="Numbers for Prometheus",
    says="Requests, their durations, ingests, refusals and sizes. They are those of the process that answers: with several workers each has its own.",
    answers=(Answer(says="The numbers.", type=TEXT, media="text/plain"),),
)  # fmt: skip
PLAIN = b"text/plain; version=0.0.4; charset=utf-8"


@serves(METRICS)
async def metrics(request: Call) -> ASGIApp:
    """Numbers for Prometheus."""
    text = await reading(request, service_of(request).numbers.text)
    return Reply(text, media=PLAIN, headers=(PRIVATE,))


ENUMS: dict[str, Any] = {
    "bases": {name: one.title for name, one in BASES.items()},
    "encoders": {name: {"title": one.title, "width": one.width} for name, one in ENCODERS.items()},
    "layouts": {one.name: one.title for one in LAYOUTS},
    "programs": {one.name: one.title for one in TARGETS},
    "formats": FORMATS,
    "dtypes": WRITABLE,
    "roles": ROLES,
    "verdicts": VERDICTS,
    "nsfw": NSFW,
    "permissions": PERMISSIONS,
    "key_roles": KEY_ROLES,
}
WORDS = Operation(
    id="enums", method="GET", path="/v1/enums", tag="operations", summary="The words that parameters and answers use",
    answers=(Answer(says="Kind of word -> the words.", type={"type": "object"}),),
)  # fmt: skip


@serves(WORDS)
def enums(request: Call) -> ASGIApp:
    """The words that parameters and answers use."""
    return as_json(ENUMS, headers=(FRESH,))


ROUTES = (health, metrics, enums)
