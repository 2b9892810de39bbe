"""The Hub's routes, read only, for `HF_ENDPOINT=http://HOST:PORT/hf`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar.types import ASGIApp

from embconv.converters import EmbconvError

from ..downloads import BYTES, FRESH, as_json, file_headers, send_bytes
from ..errors import AmbiguousReference, BadParameter, BodyTooLarge, Gone, KeyNeeded, UnknownReference
from ..hub_search import listed
from ..hub_shapes import OWNER, Leaf, Made, ModelInfo, leaf
from ..huggingface import MAIN, Repository, UnknownEntry, UnknownRevision, find, made, model_info, must_have
from ..problems import BadRange, BadRequest, TooSlow, status_of
from ..problems import headers_of as headers_for
from ..uploads import body
from .call import Service, base_url, flag, headers_of, pairs_of, reading, service_of
from .embeddings import without_range
from .operation import JSON, PROGRAM, Answer, Call, Operation, Parameter, serves
from .said import TEXT

FORM = "application/x-www-form-urlencoded"
LIMIT = 1 << 20  # bytes of a list of paths
PATHS = 1_000
# How the Hub calls what is not there, by which its client knows what to raise; a private registry shows itself to nobody without a key.
CODES: dict[type[EmbconvError], tuple[int, str]] = {
    UnknownRevision: (404, "RevisionNotFound"),
    UnknownEntry: (404, "EntryNotFound"),
    UnknownReference: (404, "RepoNotFound"),
    AmbiguousReference: (404, "RepoNotFound"),
    Gone: (404, "RepoNotFound"),
    KeyNeeded: (401, "RepoNotFound"),
}
NAMED: dict[str, Any] = {**TEXT, "minLength": 1, "maxLength": 96, "pattern": "^[A-Za-z0-9._-]+$"}
OWNED = Parameter(name="owner", where="path", says=f"Always `{OWNER}`.", schema={**TEXT, "enum": [OWNER]}, example=OWNER)
NAME = Parameter(name="name", where="path", says="Whatever the registry calls it, with `-` for what no repository has in its name.",
                 schema=NAMED, example="easynegative")  # fmt: skip
REVISION = Parameter(name="rev", where="path", says=f"`{MAIN}`, or the commit that it is now.", schema={**TEXT, "pattern": f"^({MAIN}|[0-9a-f]{{40}})$"},
                     example=MAIN)  # fmt: skip
DEEP = msgspec.structs.replace(REVISION, deep=True)
BLOBS = Parameter(name="blobs", says="Tell the size and the hashes of its files too.", schema={"type": "boolean", "default": False})
MISSING = (UnknownReference, BadParameter)


def refused(call: Call, error: EmbconvError) -> ASGIApp:
    """An error as the Hub tells it."""
    status, code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), (status_of(error), ""))
    call.scope["state"]["code"] = error.code
    service_of(call).numbers.count("problems", error.code)
    says = f"{error.says} {error.hint}".strip()
    headers = [*headers_for(error), (b"x-error-message", says.encode("ascii", "backslashreplace"))]
    if code:
        headers.append((b"x-error-code", code.encode("ascii")))
    if isinstance(error, UnknownEntry):
        headers.append((b"x-repo-commit", error.commit.encode("ascii")))
    return as_json({"error": says.encode("utf-8", "backslashreplace").decode()}, status=status, headers=headers)


def hub(**said: Any) -> Operation:
    """An operation in the Hub's shape."""
    return Operation(tag="hub", any_query=True, refuse=refused, foreign_key="hf_", **said)


LIST = hub(
    id="listHubModels", method="GET", path="/hf/api/models", summary="As the Hub lists models",
    says="`HfApi().list_models` asks it. Parameters of the Hub that only say how much to tell are passed over.",
    parameters=(
        Parameter(name="search", says="Words.", schema={**TEXT, "maxLength": 1000}, example="bad hand"),
        Parameter(name="filter", says="A tag, a base, or `license:` and a licence; all of several.", repeats=True,
                  schema={"type": "array", "items": {**TEXT, "maxLength": 200}}),
        Parameter(name="author", says=f"Whose; all here are `{OWNER}`'s.", schema=TEXT),
        Parameter(name="sort", says="downloads, createdAt or lastModified.", schema=TEXT),
        Parameter(name="limit", says="How many of a page.", schema={"type": "integer", "minimum": 1}),
        Parameter(name="cursor", says="From the Link of an earlier page.", schema={**TEXT, "maxLength": 4000}),
    ),
    answers=(Answer(says="A page.", type=list[ModelInfo], headers=("link",)),),
    errors=(BadParameter,),
)  # fmt: skip
MODEL = hub(
    id="showHubModel", method="GET", path="/hf/api/models/{owner}/{name}", summary="As the Hub shows a model",
    parameters=(OWNED, NAME, BLOBS), answers=(Answer(says="It.", type=ModelInfo),), errors=MISSING,
)  # fmt: skip
AT = hub(
    id="showHubRevision", method="GET", path="/hf/api/models/{owner}/{name}/revision/{rev}", summary="As the Hub shows a revision of a model",
    parameters=(OWNED, NAME, DEEP, BLOBS), answers=(Answer(says="It.", type=ModelInfo),), errors=MISSING,
)  # fmt: skip
TREE = hub(
    id="listHubFiles", method="GET", path="/hf/api/models/{owner}/{name}/tree/{rev}", summary="As the Hub lists a model's files",
    says="There are no folders: a path after the revision is not found.", parameters=(OWNED, NAME, DEEP),
    answers=(Answer(says="Its files.", type=list[Leaf]),), errors=MISSING,
)  # fmt: skip
SOME: dict[str, Any] = {"type": "object", "required": ["paths"], "properties": {"paths": {"type": "array", "minItems": 1, "items": TEXT}}}
INFO = hub(
    id="showHubFiles", method="POST", path="/hf/api/models/{owner}/{name}/paths-info/{rev}", summary="As the Hub tells of some of a model's files",
    parameters=(OWNED, NAME, DEEP), body={"required": True, "content": {FORM: {"schema": SOME}, JSON: {"schema": SOME}}},
    answers=(Answer(says="Those that there are.", type=list[Leaf]),),
    errors=(*MISSING, BodyTooLarge, TooSlow),
)  # fmt: skip
SENT = ("etag", "accept-ranges", "content-disposition", "x-repo-commit")
FILE = hub(
    id="downloadHubFile", method="GET", path="/hf/{owner}/{name}/resolve/{rev}/{file}", summary="A file of a model, as the Hub sends it",
    says="`learned_embeds.safetensors` is what `load_textual_inversion` takes; `learned_embeds_2.safetensors` is for the second text encoder.",
    parameters=(OWNED, NAME, REVISION, Parameter(name="file", where="path", deep=True, says="Its name.", schema=NAMED, example="learned_embeds.safetensors")),
    answers=(
        Answer(says="The file.", type=TEXT, media=PROGRAM, headers=SENT),
        Answer(status=206, says="The part of it that was asked for.", type=TEXT, media=PROGRAM, headers=(*SENT, "content-range")),
        Answer(status=304, says="You have it."),
    ),
    errors=(*MISSING, BadRange),
)  # fmt: skip


@serves(LIST)
async def list_hub_models(request: Call) -> ASGIApp:
    """As the Hub lists models."""
    service = service_of(request)
    models, following = await reading(request, listed, service.store, service.columns, pairs_of(request), f"{base_url(request)}{LIST.path}")
    link = ((b"link", f'<{following}>; rel="next"'.encode("ascii")),) if following else ()
    return as_json(models, headers=(FRESH, *link))


@serves(MODEL)
async def show_hub_model(request: Call, owner: str, name: str) -> ASGIApp:
    """As the Hub shows a model."""
    return as_json(await reading(request, told, service_of(request), owner, name, MAIN, flag(request, "blobs")))


@serves(AT)
async def show_hub_revision(request: Call, owner: str, name: str, rev: str) -> ASGIApp:
    """As the Hub shows a revision of a model."""
    return as_json(await reading(request, told, service_of(request), owner, name, rev.strip("/"), flag(request, "blobs")))


def told(service: Service, owner: str, name: str, revision: str, blobs: bool) -> ModelInfo:
    """All that is told of a repository at a revision."""
    found = at(service, owner, name, revision)
    return model_info(found, every(service, found) if blobs else ())


def at(service: Service, owner: str, name: str, revision: str) -> Repository:
    """A repository that has this revision."""
    found = find(service.store, service.columns, owner, name)
    must_have(found, revision)
    return found


def every(service: Service, found: Repository) -> list[Made]:
    """All its files."""
    return [made(service.blobs, service.cache, found, file) for file in found.files]


@serves(TREE)
async def list_hub_files(request: Call, owner: str, name: str, rev: str) -> ASGIApp:
    """As the Hub lists a model's files."""
    return as_json(await reading(request, leaves, service_of(request), owner, name, rev))


def leaves(service: Service, owner: str, name: str, rest: str) -> list[Leaf]:
    """The files of a repository; `rest` is a revision, and may be a folder of it, of which there are none."""
    revision, _, folder = rest.strip("/").partition("/")
    found = at(service, owner, name, revision)
    if folder:
        raise UnknownEntry(folder, found.commit, found.files)
    return [leaf(file) for file in every(service, found)]


@serves(INFO)
async def show_hub_files(request: Call, owner: str, name: str, rev: str) -> ASGIApp:
    """As the Hub tells of some of a model's files."""
    headers = headers_of(request)
    data = b"".join([piece async for piece in body(request.receive, headers, LIMIT)])
    kind = dict(headers).get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    paths = paths_in(data, kind)
    found: list[Leaf] = await reading(request, leaves, service_of(request), owner, name, rev.strip("/").partition("/")[0])
    return as_json([each for each in found if each.path in paths])


def paths_in(data: bytes, kind: str) -> set[str]:
    """The paths that are asked for, in a form or in JSON."""
    try:
        if kind == JSON:
            return set(msgspec.json.decode(data, type=Asked).paths)
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=PATHS)
    except (ValueError, RecursionError) as exc:  # msgspec's errors are ValueErrors
        raise BadRequest("The body is not what is expected.", 'Send paths=NAME, or {"paths": [NAME]} as application/json.') from exc
    paths = {value for name, value in pairs if name == "paths"}
    if not paths:
        raise BadRequest("The body names no paths.", "Send paths=NAME, once for each.")
    return paths


class Asked(msgspec.Struct):
    """The JSON that asks for some files."""

    paths: list[str]


@serves(FILE)
async def download_hub_file(request: Call, owner: str, name: str, rev: str, file: str) -> ASGIApp:
    """A file of a model, as the Hub sends it."""
    service = service_of(request)
    found, sent = await reading(request, one, service, owner, name, rev, file.strip("/"))
    shared = [*file_headers(sent.tag, BYTES, sent.name, FRESH[1]), (b"x-repo-commit", found.commit.encode("ascii"))]
    headers = headers_of(request) if request.scope["method"] == "GET" else without_range(request)
    service.numbers.count("downloaded_bytes", amount=len(sent.data) if request.scope["method"] == "GET" else 0)
    return send_bytes(headers, sent.data, shared, sent.tag)


def one(service: Service, owner: str, name: str, revision: str, file: str) -> tuple[Repository, Made]:
    """A file with its repository."""
    found = at(service, owner, name, revision)
    return found, made(service.blobs, service.cache, found, file)


ROUTES = (list_hub_models, show_hub_model, show_hub_revision, list_hub_files, show_hub_files, download_hub_file)
