"""Civitai's downloads: which file it is, then its bytes from an address that has them all and any part of them."""

from __future__ import annotations

from typing import IO
from urllib.parse import quote

from litestar.types import ASGIApp
from msgspec.structs import replace

from ..civitai.mirror import chosen
from ..civitai.mirror_asked import NAN, Missing, Pairs, id_in, prettified
from ..civitai.mirror_models import names_of, version_of
from ..civitai.shapes_files import File, safe_name
from ..civitai.shapes_words import FILE_TYPES, FORMATS
from ..downloads import PRIVATE, Empty
from ..errors import BadParameter, Gone, UnknownFile, UnknownReference
from ..model import FileEntry
from ..problems import BadRange
from .call import Service, base_url, headers_of, one_of, pairs_of, reading, service_of
from .civitai import ID, NUMBER, civitai
from .files import answer, opened
from .operation import PROGRAM, Answer, Call, Parameter, serves
from .said import SHA256, TEXT

SENT = ("etag", "accept-ranges", "content-disposition")
BYTES = (
    Answer(says="The file.", type=TEXT, media=PROGRAM, headers=SENT),
    Answer(status=206, says="The part of it that was asked for.", type=TEXT, media=PROGRAM, headers=(*SENT, "content-range")),
    Answer(status=304, says="You have it."),
)
DOWNLOAD = civitai(
    id="downloadCivitaiVersion", method="GET", path="/api/download/models/{id}", summary="The file of a version, as Civitai hands it out",
    says="The primary file, unless another is asked for: `fileId` chooses exactly one.",
    parameters=(
        ID,
        Parameter(name="fileId", says="This file.", schema=NUMBER),
        Parameter(name="type", says="Of this kind.", schema={"type": "string", "enum": [*FILE_TYPES]}),
        Parameter(name="format", says="In this form.", schema={"type": "string", "enum": [*FORMATS]}),
        Parameter(name="size", says="`full` or `pruned`.", schema=TEXT),
        Parameter(name="fp", says="With these numbers.", schema=TEXT),
        Parameter(name="redirect", says="With `false` its bytes come at once.", schema={"type": "string", "enum": ["true", "false"], "default": "true"}),
    ),
    answers=(Answer(status=307, says="Where it is.", headers=("location",)), *BYTES), errors=(BadParameter, UnknownReference, BadRange),
)  # fmt: skip
FILE = civitai(
    id="downloadCivitaiFile", method="GET", path="/api/download/files/{sha256}/{name}", summary="A file under the name that Civitai gave it",
    says="Where a download leads. A name that the file does not have is answered with one that it has.",
    parameters=(
        Parameter(name="sha256", where="path", says="The sha256 of the file.", example=SHA256, schema={"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),
        Parameter(name="name", where="path", says="Its name.", example="easynegative.pt", schema={**TEXT, "minLength": 1, "maxLength": 300}),
    ),
    answers=BYTES, errors=(UnknownReference, BadRange),
)  # fmt: skip


@serves(DOWNLOAD)
async def download_civitai_version(request: Call, id: str) -> ASGIApp:  # noqa: A002  # the parameter is called so
    """The file of a version."""
    found: File = await reading(request, wanted, service_of(request), id_in(id, "id"), pairs_of(request))
    if one_of(request, "redirect", ("true", "false"), "true") == "true":
        return Empty(307, headers=((b"location", address(base_url(request), found).encode("ascii")), PRIVATE))
    return await sent(request, found.entry.sha256, safe_name(found))


def wanted(service: Service, version: int, pairs: Pairs) -> File:
    """The file that is asked for. Missing."""
    for name, value in pairs:
        if name == "fileId" and not value.removeprefix("-").isdigit():
            raise prettified(NAN, name)
    return chosen(version_of(service.store.read, version, "File not found")[1], pairs)


def address(origin: str, file: File) -> str:
    """Where the bytes of a file are."""
    return f"{origin}/api/download/files/{file.entry.sha256}/{quote(safe_name(file), safe='')}"


@serves(FILE)
async def download_civitai_file(request: Call, sha256: str, name: str) -> ASGIApp:
    """A file under the name that Civitai gave it."""
    return await sent(request, sha256.lower(), name)


async def sent(call: Call, sha256: str, name: str) -> ASGIApp:
    """The bytes of a file under a name that it has."""
    service = service_of(call)
    file, entry = await reading(call, named, service, sha256, name)
    try:
        return answer(service, call.scope["method"], headers_of(call), file, entry)
    except BaseException:
        file.close()
        raise


def named(service: Service, sha256: str, name: str) -> tuple[IO[bytes], FileEntry]:
    """The bytes, open, and what is known of them. Missing."""
    try:
        file, entry = opened(service, sha256)
    except (UnknownFile, Gone) as exc:
        raise Missing("File not found") from exc
    names = names_of(service.store.read, sha256)
    return file, replace(entry, name=name if name in names else next(iter(names), entry.name))


ROUTES = (download_civitai_version, download_civitai_file)
