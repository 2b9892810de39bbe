"""Any hash that anyone ever computed, and what has it here."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import ASGIApp
from msgspec import Raw, Struct

from embconv.converters.display import printable

from ..downloads import PRIVATE, Reply
from ..errors import BadParameter, BodyTooLarge, UnknownHash
from ..model import Entry
from ..problems import BadRequest, NotJson, TooSlow
from ..store import matches_many, matching
from .call import Body, Service, json_body, reading, service_of
from .operation import Answer, Call, Operation, Parameter, serves
from .said import DIGEST, SHA256

MOST = 10_000
LIMIT = 2 << 20  # bytes of a question
LONGEST = 200    # characters of a hash; the longest kind with its prefix has 71


class Hit(Struct, frozen=True, kw_only=True):
    """One answer: the kind of hash, whether it is a claim or was computed here, of which file, and the embedding."""

    kind: str
    claim: bool
    sha256: str | None
    embedding: Raw


class Hits(Struct, frozen=True, kw_only=True):
    """All answers to a hash."""

    hash: str
    matches: tuple[Hit, ...]


class ShownHit(Struct, frozen=True, kw_only=True):
    """As Hit, for the description."""

    kind: str
    claim: bool
    sha256: str | None
    embedding: Entry


class ShownHits(Struct, frozen=True, kw_only=True):
    """All answers to a hash; claims stand last."""

    hash: str
    matches: tuple[ShownHit, ...]


class Question(Body):
    """Many hashes."""

    hashes: list[str]


class Brief(Struct, frozen=True, kw_only=True):
    """One answer among many."""

    kind: str
    claim: bool
    sha256: str | None
    digest: str


class Answers(Struct, frozen=True, kw_only=True):
    """Hash as it was given -> its answers; and those that nothing here has."""

    found: dict[str, tuple[Brief, ...]]
    missing: tuple[str, ...]


encode = msgspec.json.Encoder().encode

ONE = Operation(
    id="findByHash", method="GET", path="/v1/by-hash/{hash}", tag="hashes",
    summary="What has this hash",
    says="Any of sha256, blake3, crc32, AutoV1, AutoV2, AutoV3, A1111's shorthash and checksum, or a digest, in any case. Hashes of a file "
         "from which one here was converted are found too; those that a header or a file beside it claims are marked as claims.",
    parameters=(Parameter(name="hash", where="path", says="The hash.", example=SHA256, schema={"type": "string", "minLength": 1, "maxLength": LONGEST}),),
    answers=(Answer(says="All that has it.", type=ShownHits),), errors=(UnknownHash,),
)  # fmt: skip


@serves(ONE)
def find_by_hash(request: Call, hash: str) -> ASGIApp:  # noqa: A002  # the parameter is called so
    """What has this hash."""
    found = matching(service_of(request).store.read, hash) if len(hash) <= LONGEST else []
    if not found:
        raise UnknownHash(hash)
    hits = [Hit(kind=each.kind, claim=each.claim, sha256=each.sha256, embedding=Raw(document)) for each, document in found]
    return Reply(encode(Hits(hash=hash, matches=tuple(hits))))


MANY = Operation(
    id="findManyByHash", method="POST", path="/v1/by-hash", tag="hashes",
    summary=f"What has these hashes, up to {MOST:,} at once",
    body={"required": True, "content": {"application/json": {
        "schema": {"type": "object", "required": ["hashes"], "additionalProperties": False,
                   "properties": {"hashes": {"type": "array", "maxItems": MOST, "items": {"type": "string", "maxLength": LONGEST}}}},
        "example": {"hashes": [SHA256, "66a7279a88", DIGEST]}}}},
    answers=(Answer(says="What was found, under the hashes as they were given.", type=Answers),),
    errors=(BadRequest, NotJson, BodyTooLarge, BadParameter, TooSlow),
)  # fmt: skip


@serves(MANY)
async def find_many_by_hash(request: Call) -> ASGIApp:
    """What has these hashes."""
    question = await json_body(request, Question, LIMIT)
    return Reply(await reading(request, answered, service_of(request), question.hashes), headers=(PRIVATE,))


def answered(service: Service, hashes: list[str]) -> bytes:
    """The answers to all."""
    if len(hashes) > MOST:
        raise BadParameter("hashes", f"{len(hashes):,} of them", f"at most {MOST:,} at once")
    long = next((value for value in hashes if len(value) > LONGEST), None)
    if long is not None:
        raise BadParameter("hash", printable(long), f"a text of at most {LONGEST} characters")
    every: dict[str, Any] = matches_many(service.store.read, list(dict.fromkeys(hashes)))
    found = {value: tuple(of) for value, of in every.items() if of}
    return encode({"found": found, "missing": [value for value, of in every.items() if not of]})


ROUTES = (find_by_hash, find_many_by_hash)
