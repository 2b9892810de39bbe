"""Models with their versions and files, brought together from what Civitai told and from what is here without its word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..model import Entry
from ..store import documents
from ..store.mirror import KeptVersion, files_by_embedding, files_of_hash, files_told, first_in, models_told, versions_told
from .mirror_asked import Missing
from .shapes import Model
from .shapes_files import File, Version, safe_name
from .shapes_own import OWN, own_file, own_model, told_file
from .shapes_values import Body

if TYPE_CHECKING:
    from sqlite_utils import Database


def models(db: Database, ids: Iterable[int]) -> dict[int, Model]:
    """These models, those of which anything is here."""
    wanted = list(ids)
    return {**told(db, [id_ for id_ in wanted if id_ < OWN]), **own(db, [id_ for id_ in wanted if id_ >= OWN])}


def told(db: Database, ids: Sequence[int]) -> dict[int, Model]:
    """Those that Civitai told of."""
    if not ids:
        return {}
    versions = versions_told(db, models=ids)
    files = files_told(db, [version.id for version in versions])
    by_model: dict[int, list[Version]] = {}
    for version in versions:
        if files.get(version.id):
            by_model.setdefault(version.model_id, []).append(made(version, [told_file(file) for file in files[version.id]]))
    kept = models_told(db, by_model)
    return {
        id_: Model(id=id_, body=msgspec.json.decode(kept[id_].body, type=Body), versions=tuple(of), seen=kept[id_].seen)
        for id_, of in by_model.items()
    }


def made(version: KeptVersion, files: Sequence[File]) -> Version:
    """A version with its files."""
    return Version(id=version.id, model_id=version.model_id, body=msgspec.json.decode(version.body, type=Body), files=tuple(files))


def own(db: Database, ids: Sequence[int]) -> dict[int, Model]:
    """Those that are embeddings here."""
    if not ids:
        return {}
    rows = [id_ - OWN for id_ in ids]
    files = files_by_embedding(db, rows)
    found = {}
    for id_ in rows:
        if files.get(id_) and (text := documents(db, [id_])):
            found[OWN + id_] = own_model(msgspec.json.decode(text[0], type=Entry), id_, files[id_])
    return found


def model_of(db: Database, id: int) -> Model:  # noqa: A002  # it is called so everywhere
    """One model. Missing."""
    found = models(db, [id]).get(id)
    if found is None:
        raise Missing(f"No model with id {id}")
    return found


def version_of(db: Database, id: int, says: str = "Model not found") -> tuple[Model, Version]:  # noqa: A002  # as everywhere
    """One version, with its model. Missing."""
    model_id = id if id >= OWN else next((version.model_id for version in versions_told(db, versions=[id])), 0)
    model = models(db, [model_id]).get(model_id)
    version = next((each for each in model.versions if each.id == id), None) if model else None
    if model is None or version is None:
        raise Missing(says)
    return model, version


def versions_by_id(db: Database, ids: Iterable[int]) -> dict[int, tuple[Model, Version]]:
    """These versions, each with its model."""
    wanted = list(ids)
    of = {version.id: version.model_id for version in versions_told(db, versions=[id_ for id_ in wanted if id_ < OWN])}
    found = models(db, dict.fromkeys(of.get(id_, id_) for id_ in wanted))
    every = {version.id: (model, version) for model in found.values() for version in model.versions}
    return {id_: every[id_] for id_ in wanted if id_ in every}


def names_of(db: Database, sha256: str) -> list[str]:
    """What a file is called: as Civitai does, or else by what it holds."""
    found = []
    for file in files_of_hash(db, sha256):
        held = first_in(db, file.row) if file.id is None else None
        found.append(safe_name(own_file(file, held[1] if held else "") if file.id is None else told_file(file)))
    return found
