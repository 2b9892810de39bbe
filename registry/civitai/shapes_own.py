"""An embedding of which Civitai never told, as a model of one version: ids in a range of their own, the facts in Civitai's words."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ..claims import flags_in
from ..model import NSFW, Entry
from ..sidecar_files import CIVITAI_BASE
from ..store.mirror import KeptFile
from .provenance import FLAGS, description
from .shapes import Model
from .shapes_files import File, Version
from .shapes_values import Body
from .shapes_words import FAMILIES, KIND

OWN = 1_900_000_000  # ids of what Civitai does not know begin here; its own are at 3 millions, and ids are int4
PERMITS = {"no_credit": "allowNoCredit", "derivatives": "allowDerivatives", "other_licence": "allowDifferentLicense"}


def number_of(file: KeptFile) -> int:
    """The id of a file: Civitai's, or one of ours where it gave none."""
    return file.id if file.id is not None and file.id > 0 else OWN + file.row


def told_file(file: KeptFile) -> File:
    """A file of which Civitai told."""
    return File(id=number_of(file), body=msgspec.json.decode(file.body, type=Body), said=file.sha256, entry=file.entry)


def own_file(file: KeptFile, trigger: str) -> File:
    """A file of which nobody told. Programs take its name for the word that calls it, so where it holds one embedding it is called so."""
    name = f"{trigger.strip('<>')}{os.path.splitext(file.entry.name)[1]}" if file.alone and trigger else file.entry.name
    return File(id=OWN + file.row, body={"name": name}, said=None, entry=file.entry)


def own_model(entry: Entry, id: int, files: Sequence[KeptFile]) -> Model:  # noqa: A002  # it is called so everywhere
    """An embedding as a model."""
    number, base = OWN + id, CIVITAI_BASE.get(entry.base or "", "Other")
    bits = 1 << NSFW.index(entry.nsfw) if entry.nsfw else 0
    version = {
        "name": entry.name,
        "createdAt": entry.added,
        "updatedAt": entry.changed,
        "publishedAt": entry.added,
        "trainedWords": [entry.trigger],
        "baseModel": base,
        "nsfwLevel": bits,
        "air": f"urn:air:{FAMILIES.get(base, base.lower())}:embedding:embconv:{number}@{number}",
        "stats": {"downloadCount": entry.downloads},
    }
    own = Version(id=number, model_id=number, body=version, files=tuple(own_file(file, entry.trigger) for file in files))
    return Model(id=number, body=about(entry, bits), versions=(own,), seen=entry.added)


def about(entry: Entry, bits: int) -> Body:
    """What a model says of itself."""
    tags = [*entry.tags, *(["negative"] if entry.role == "negative" and "negative" not in entry.tags else [])]
    return {
        "name": claim(entry, "title") or entry.name,
        "description": description(claim(entry, "description")),
        "type": KIND,
        "nsfwLevel": bits,
        "tags": tags,
        "creator": {"username": entry.creators[0] if entry.creators else "", "image": None},
        "stats": {"downloadCount": entry.downloads},
        **licence(entry),
    }


def licence(entry: Entry) -> Body:
    """Its permissions as Civitai's flags, those that somebody stated."""
    if entry.licence is None:
        return {}
    flags = flags_in(entry.licence.says)
    if flags:
        return {name: flags[name] for name in FLAGS if name in flags}
    return {PERMITS[word]: True for word in entry.licence.permits if word in PERMITS}


def claim(entry: Entry, name: str) -> str:
    """The newest text that anybody claims under this name."""
    said = (origin.claims.get(name) for origin in reversed(entry.origins))
    return next((text for text in said if isinstance(text, str) and text.strip()), "")
