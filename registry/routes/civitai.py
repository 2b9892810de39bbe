"""Civitai's routes, read only: a client whose base address can be set asks here what it would ask there."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import ASGIApp

from embconv.converters import EmbconvError

from ..civitai import mirror_lists
from ..civitai.mirror import Mirror, all_by_hash, by_hash, ids_by_hash, listed
from ..civitai.mirror_asked import FALSE, LARGEST, TRUE, Missing, Refused, asked, id_in
from ..civitai.mirror_models import model_of, version_of
from ..civitai.shapes import mini, shaped, version_alone
from ..civitai.shapes_files import View
from ..civitai.shapes_words import ENUMS, MODEL_TYPES, PERIODS, SORTS
from ..downloads import PRIVATE, as_json
from ..errors import BadParameter, BodyTooLarge, KeyNeeded, UnknownReference
from ..keys import BEGINNING
from ..problems import BadRequest, NotJson, TooSlow, status_of
from ..problems import headers_of as headers_for
from ..uploads import receive_json
from .call import base_url, headers_of, pairs_of, reading, service_of
from .operation import JSON, Answer, Call, Operation, Parameter, serves
from .said import SHA256, TEXT

LIMIT = 2 << 20  # bytes of a list of hashes
MANY, MOST = 100, 10_000  # hashes that are asked for at once, with all that is known and in short
LONGEST = 200
THING: dict[str, Any] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
LISTED: dict[str, Any] = {"type": "object", "required": ["items", "metadata"],
                          "properties": {"items": {"type": "array", "items": {"type": "object"}}, "metadata": {"type": "object"}}}  # fmt: skip
MODELS = {**LISTED, "properties": {"items": {"type": "array", "items": THING}, "metadata": {
    "type": "object", "properties": {"nextCursor": TEXT, "nextPage": {"type": "string", "format": "uri"}}}}}  # fmt: skip
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": LARGEST}
FLAG: dict[str, Any] = {"type": "string", "enum": [*TRUE, *FALSE], "default": "false"}
WORDS: dict[str, Any] = {"type": "array", "items": TEXT}
IDS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
HASHES: dict[str, Any] = {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}}
ID = Parameter(name="id", where="path", says="Civitai's id, or one of what is here without its word: those begin at 1900000001.", schema=NUMBER, example=7808)
LOGIN = "favorites", "hidden"


def between(least: int, most: int, default: int | None = None) -> dict[str, Any]:
    """A number as Civitai reads one: 5.5 is 5, and nothing is as if it was not given."""
    one = {"type": "number", "minimum": least, "maximum": most, **({} if default is None else {"default": default})}
    return {"anyOf": [one, {"type": "string", "maxLength": 0}]}


def refused(call: Call, error: EmbconvError) -> ASGIApp:
    """An error as Civitai tells it."""
    call.scope["state"]["code"] = error.code
    service_of(call).numbers.count("problems", error.code)
    says = f"{error.says} {error.hint}".strip().encode("utf-8", "backslashreplace").decode()
    body = error.body if isinstance(error, (Refused, Missing)) else {"error": "Unauthorized" if isinstance(error, KeyNeeded) else says, "message": says}
    return as_json(body, status=status_of(error), headers=headers_for(error))


def civitai(**said: Any) -> Operation:
    """An operation in Civitai's shape."""
    return Operation(**{"tag": "civitai", **said}, any_query=True, refuse=refused, other_keys=True)


def mirror_of(call: Call) -> Mirror:
    """What is told on."""
    found: Mirror = call.scope["litestar_app"].state["mirror"]
    return found


def view_of(call: Call) -> View:
    """Everything, under the address by which the caller reaches us."""
    return View(origin=base_url(call))


LIST = civitai(
    id="listCivitaiModels", method="GET", path="/api/v1/models", summary="As Civitai lists models",
    says="What Civitai told of and is here, and what is here without its word. Only what everybody may see, unless `nsfw=true`. A cursor is "
         "where a page ended: nothing is listed twice and nothing is left out, whatever is added meanwhile.",
    parameters=(
        Parameter(name="limit", says="How many of a page.", schema=between(0, 100, 100)),
        Parameter(name="page", says="Which page.", schema=between(1, 1_000_000)),
        Parameter(name="cursor", says="`nextCursor` of an earlier page.", schema=TEXT),
        Parameter(name="query", says="Words.", schema=TEXT, example="bad hands"),
        Parameter(name="tag", says="A tag.", schema=TEXT),
        Parameter(name="username", says="Who made them.", schema=TEXT),
        Parameter(name="types", says="Kinds of models; all here are TextualInversion.", schema={"type": "array", "items": {"enum": [*MODEL_TYPES, ""]}}, repeats=True),
        Parameter(name="baseModels", says="Bases in Civitai's words, any of them.", schema=WORDS, repeats=True),
        Parameter(name="ids", says="These models alone; repeated, or with commas.", schema=IDS, repeats=True),
        Parameter(name="modelVersionIds", says="These versions alone.", schema=IDS, repeats=True),
        Parameter(name="nsfw", says="What not everybody may see too.", schema=FLAG),
        Parameter(name="sort", says="Their order.", schema={"type": "string", "enum": [*SORTS], "default": SORTS[0]}),
        Parameter(name="period", says="Read and passed over.", schema={"type": "string", "enum": [*PERIODS]}),
        Parameter(name="primaryFileOnly", says="One file of each version.", schema=FLAG),
    ),
    answers=(Answer(says="A page.", type=MODELS),), errors=(BadParameter, UnknownReference),
)  # fmt: skip


@serves(LIST)
async def list_civitai_models(request: Call) -> ASGIApp:
    """As Civitai lists models."""
    pairs = pairs_of(request)
    if any(name in LOGIN for name, _ in pairs):
        must_be_somebody(request)
        if any(name in LOGIN and value.lower() not in ("false", "0", "no", "off", "") for name, value in pairs):
            return as_json({"items": [], "metadata": {}})
    return as_json(await reading(request, listed, mirror_of(request), asked(pairs), pairs, base_url(request)))


def must_be_somebody(call: Call) -> None:
    """KeyNeeded for a caller without a key; it was looked at before."""
    given: bytes = call.scope["state"]["headers"].get(b"authorization", b"")
    if not given.lower().startswith(f"bearer {BEGINNING}".encode("ascii")):
        raise KeyNeeded("Favourites are somebody's, and no key says whose.")


MODEL = civitai(
    id="showCivitaiModel", method="GET", path="/api/v1/models/{id}", summary="As Civitai shows a model", parameters=(ID,),
    answers=(Answer(says="It.", type=THING),), errors=(BadParameter, UnknownReference),
)  # fmt: skip


@serves(MODEL)
async def show_civitai_model(request: Call, id: str) -> ASGIApp:  # noqa: A002  # the parameter is called so
    """As Civitai shows a model."""
    return as_json(shaped(await reading(request, of_db, request, model_of, id_in(id, "id")), view_of(request)))


def of_db(call: Call, work: Any, *arguments: Any) -> Any:
    """What a function reads."""
    return work(service_of(call).store.read, *arguments)


VERSION = civitai(
    id="showCivitaiVersion", method="GET", path="/api/v1/model-versions/{id}", summary="As Civitai shows a version of a model", parameters=(ID,),
    answers=(Answer(says="It.", type=THING),), errors=(BadParameter, UnknownReference),
)  # fmt: skip


@serves(VERSION)
async def show_civitai_version(request: Call, id: str) -> ASGIApp:  # noqa: A002  # as above
    """As Civitai shows a version of a model."""
    model, version = await reading(request, of_db, request, version_of, id_in(id, "id"))
    return as_json(version_alone(model, version, view_of(request)))


MINI = civitai(
    id="showCivitaiVersionInShort", method="GET", path="/api/v1/model-versions/mini/{id}", summary="As Civitai shows a version in short",
    parameters=(ID,), answers=(Answer(says="It.", type={"type": "object", "required": ["air"]}),), errors=(BadParameter, UnknownReference),
)  # fmt: skip


@serves(MINI)
async def show_civitai_version_in_short(request: Call, id: str) -> ASGIApp:  # noqa: A002  # as above
    """As Civitai shows a version in short."""
    model, version = await reading(request, of_db, request, version_of, id_in(id, "id"))
    return as_json(mini(model, version, view_of(request)))


HASH = civitai(
    id="findCivitaiVersion", method="GET", path="/api/v1/model-versions/by-hash/{hash}", summary="The version that has a hash, as Civitai tells it",
    says="Any hash of /v1/by-hash in any case; of several versions the oldest.",
    parameters=(Parameter(name="hash", where="path", says="The hash.", schema={"type": "string", "minLength": 1, "maxLength": LONGEST}, example=SHA256),),
    answers=(Answer(says="It.", type=THING),), errors=(UnknownReference,),
)  # fmt: skip


@serves(HASH)
async def find_civitai_version(request: Call, hash: str) -> ASGIApp:  # noqa: A002  # as above
    """The version that has a hash."""
    if len(hash) > LONGEST:
        raise Missing("Model not found")
    return as_json(await reading(request, of_db, request, by_hash, hash, view_of(request)))


def bulk(most: int) -> dict[str, Any]:
    """The body that asks for many."""
    return {"required": True, "content": {JSON: {"schema": {**HASHES, "maxItems": most}, "example": [SHA256]}}}


ASKING = (BadParameter, BodyTooLarge, BadRequest, NotJson, TooSlow)
FIND = civitai(
    id="findCivitaiVersions", method="POST", path="/api/v1/model-versions/by-hash", body=bulk(MANY),
    summary=f"The versions that have any of up to {MANY} sha256, as Civitai tells it",
    answers=(Answer(says="Those that there are, once for each file.", type={"type": "array", "items": THING}),), errors=ASKING,
)  # fmt: skip
FIND_IDS = civitai(
    id="findCivitaiIds", method="POST", path="/api/v1/model-versions/by-hash/ids", body=bulk(MOST),
    summary=f"The ids of versions that have any of up to {MOST:,} sha256, as Civitai tells it",
    answers=(Answer(says="Those that there are.", type={"type": "array", "items": {"type": "object", "required": ["modelVersionId", "modelId", "hash"]}}),),
    errors=ASKING,
)  # fmt: skip


@serves(FIND)
async def find_civitai_versions(request: Call) -> ASGIApp:
    """The versions that have any of these hashes."""
    hashes = await hashes_in(request, MANY)
    return as_json(await reading(request, of_db, request, all_by_hash, hashes, view_of(request)), headers=(PRIVATE,))


@serves(FIND_IDS)
async def find_civitai_ids(request: Call) -> ASGIApp:
    """Their ids."""
    hashes = await hashes_in(request, MOST)
    return as_json(await reading(request, of_db, request, ids_by_hash, hashes), headers=(PRIVATE,))


async def hashes_in(call: Call, most: int) -> list[str]:
    """The sha256 of a body, each once. Refused for anything else."""
    data = await receive_json(call.receive, headers_of(call), LIMIT)
    try:
        found = msgspec.json.decode(data, type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise unlike("Invalid input: expected array") from exc
    if len(found) > most:
        raise unlike("Too many hashes")
    if any(len(value) != 64 for value in found):  # digits of a sha256
        raise unlike("Invalid hash")
    return list(dict.fromkeys(value.lower() for value in found))


def unlike(message: str) -> Refused:
    """The 400 of a list of hashes that is none."""
    issue = msgspec.json.format(msgspec.json.encode([{"code": "custom", "path": [], "message": message}]), indent=2).decode()
    return Refused(f"Request must include an array of SHA256 Hashes. {issue}")


PAGE = (
    Parameter(name="limit", says="How many of a page.", schema=between(1, 200, 20)),
    Parameter(name="page", says="Which page.", schema=between(1, 1_000_000)),
    Parameter(name="query", says="A part of the name; of a tag the beginning.", schema=TEXT),
)
CREATORS = civitai(
    id="listCivitaiCreators", method="GET", path="/api/v1/creators", summary="Who made what is here, as Civitai lists them", parameters=PAGE,
    answers=(Answer(says="A page.", type=LISTED),), errors=(BadParameter,),
)  # fmt: skip
TAGS = civitai(
    id="listCivitaiTags", method="GET", path="/api/v1/tags", summary="The tags of what is here, as Civitai lists them", parameters=PAGE,
    answers=(Answer(says="A page.", type=LISTED),), errors=(BadParameter,),
)  # fmt: skip
IMAGES = civitai(
    id="listCivitaiImages", method="GET", path="/api/v1/images", summary="The pictures that Civitai showed with a model or a version",
    says="Their addresses are Civitai's.",
    parameters=(Parameter(name="modelId", says="Of this model.", schema=between(1, LARGEST)), Parameter(name="modelVersionId", says="Of this version.", schema=between(1, LARGEST)),
                Parameter(name="limit", says="How many.", schema=between(0, 200, 100))),
    answers=(Answer(says="They.", type=LISTED),), errors=(BadParameter,),
)  # fmt: skip
WORDS_OF = civitai(
    id="listCivitaiEnums", method="GET", path="/api/v1/enums", summary="Civitai's words",
    answers=(Answer(says="They.", type={"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}),),
)  # fmt: skip


@serves(CREATORS)
async def list_civitai_creators(request: Call) -> ASGIApp:
    """Who made what is here."""
    return as_json(await reading(request, mirror_lists.creators, mirror_of(request).columns, pairs_of(request), base_url(request)))


@serves(TAGS)
async def list_civitai_tags(request: Call) -> ASGIApp:
    """The tags of what is here."""
    return as_json(await reading(request, mirror_lists.tags, mirror_of(request).columns, pairs_of(request), base_url(request)))


@serves(IMAGES)
async def list_civitai_images(request: Call) -> ASGIApp:
    """The pictures that Civitai showed."""
    return as_json(await reading(request, of_db, request, mirror_lists.pictures, pairs_of(request)))


@serves(WORDS_OF)
def list_civitai_enums(request: Call) -> ASGIApp:
    """Civitai's words."""
    return as_json(ENUMS)


ROUTES = (
    list_civitai_models, show_civitai_model, show_civitai_version, show_civitai_version_in_short, find_civitai_version, find_civitai_versions,
    find_civitai_ids, list_civitai_creators, list_civitai_tags, list_civitai_images, list_civitai_enums,
)  # fmt: skip
