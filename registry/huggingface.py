"""The registry in the shape of the Hugging Face Hub: each embedding a repository with a card and the files that diffusers loads.

Nothing of it is kept: a repository is made of what is known of its embedding, and its commit is a hash of just that.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from embconv.converters.display import quoted
from embconv.converters.targets import refusal, target
from embconv.converters.targets.plans import DIFFUSERS
from embconv.converters.write import encode

from .blobs import Blobs
from .cache import Cache
from .columns import Columns
from .errors import AmbiguousReference, Gone, RegistryError, UnknownReference
from .export import found_in, known
from .forms import Wanted, encoded, ours
from .hub_card import LIBRARY, card_data, card_of, tags_of
from .hub_shapes import CARD, OWNER, Made, ModelInfo, Sibling, sibling
from .model import Entry
from .query import query_of
from .search import search
from .store import Store, digest_of, resolve, shown

if TYPE_CHECKING:
    from sqlite_utils import Database

MAIN, WHOLE = "main", "embedding.safetensors"
# Which of a pipeline's text encoders an embedding's vectors are for; diffusers' SDXL example names its two files so.
PLACES = {
    "clip_l": "learned_embeds.safetensors",
    "clip_h": "learned_embeds.safetensors",
    "clip_g": "learned_embeds_2.safetensors",
    "t5xxl": "learned_embeds_2.safetensors",
}
DIGITS = 12       # of a digest, in the name of a repository
NAMED = 96        # characters of a repository's name: huggingface_hub's validate_repo_id
STEM = 80
ENDING = re.compile(r"(?:.*-)?([0-9a-f]{8,64})")


class UnknownRevision(UnknownReference):
    """The repository has no such revision."""

    def __init__(self, revision: str) -> None:
        RegistryError.__init__(self, f"There is no revision {quoted(revision)}.", f"There is {MAIN}, and the commit that it is now.")


class UnknownEntry(UnknownReference):
    """The repository has no such file; `commit` is the one that was looked at."""

    def __init__(self, name: str, commit: str, files: Sequence[str]) -> None:
        RegistryError.__init__(self, f"There is no file {quoted(name)}.", f"There are {', '.join(files)}." if files else "")
        self.commit = commit


class Repository(Struct, frozen=True, kw_only=True):
    """An embedding as the Hub would hold it."""

    entry: Entry
    name: str
    commit: str
    card: str
    files: tuple[str, ...]


def safe(text: str) -> str:
    """A text as a part of a repository's name; "" where nothing of it may stand there."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    dashed = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.]+", "-", plain))[:STEM].strip("-.")
    return dashed.removesuffix(".git").strip("-.")


def name_of(db: Database, entry: Entry) -> str:
    """Its name or trigger, where a repository may be called so and it means this one alone; else one with digits of its digest."""
    digits = entry.digest.removeprefix("emb:")[:DIGITS]
    for name in (entry.name, entry.trigger):
        if name and safe(name) == name and means(db, name) == entry.digest:
            return name
    stem = safe(entry.name)
    return f"{stem}-{digits}" if stem else digits


def means(db: Database, name: str) -> str | None:
    """The digest of the only one that a name means."""
    try:
        return digest_of(db, resolve(db, name))
    except (UnknownReference, AmbiguousReference, Gone):
        return None


def find(store: Store, columns: Columns, owner: str, name: str) -> Repository:
    """The repository of that name: whatever the registry calls so, or a name as `name_of` or `safe` make it. Raises as `resolve`."""
    if owner != OWNER or not 0 < len(name) <= NAMED:
        raise UnknownReference(f"{owner}/{name}")
    try:
        return repository(store, decoded(shown(store.read, name)))
    except UnknownReference:
        if (ending := ENDING.fullmatch(name.lower())) and (digest := means(store.read, f"emb:{ending[1]}")):
            return repository(store, decoded(shown(store.read, digest)))
        return repository(store, made_safe(store, columns, name))


def made_safe(store: Store, columns: Columns, name: str) -> Entry:
    """The only one whose name or trigger becomes this where it has to be safe."""
    wanted = safe(name).casefold()
    if not wanted:
        raise UnknownReference(f"{OWNER}/{name}")
    some = search(store, columns, query_of([("q", wanted), ("limit", "200")])).items
    fits = [one for one in map(decoded, some) if wanted in (safe(one.name).casefold(), safe(one.trigger).casefold())]
    if len(fits) > 1:
        raise AmbiguousReference(name, [one.digest for one in fits])
    if not fits:
        raise UnknownReference(f"{OWNER}/{name}")
    return fits[0]


def decoded(document: bytes) -> Entry:
    """An embedding of the registry."""
    return msgspec.json.decode(document, type=Entry)


def repository(store: Store, entry: Entry) -> Repository:
    """An embedding as a repository."""
    parts = tuple(parts_of(entry))
    card = card_of(entry, f"{OWNER}/{entry.digest.removeprefix('emb:')[:DIGITS]}", parts)
    return Repository(
        entry=entry, name=name_of(store.read, entry), commit=commit_of(entry, card), card=card, files=tuple(sorted((CARD, WHOLE, *parts)))
    )


def parts_of(entry: Entry) -> dict[str, str]:
    """The files of one key each that diffusers loads, with the encoder of each; none where it cannot load it at all."""
    sizes = {key: (encoder.vectors, encoder.width) for key, encoder in entry.encoders.items()}
    if entry.output_encoders or refusal(target("diffusers"), sizes, WHOLE)[0]:
        return {}
    return {PLACES[key]: key for key in PLACES if key in entry.encoders}


def commit_of(entry: Entry, card: str) -> str:
    """The hash of all that the files are made of."""
    told = (ours(), entry.digest, entry.trigger, *(text for file in entry.files for text in (file.sha256, file.name)), card)
    return hashlib.sha1("\0".join(told).encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()


def must_have(found: Repository, revision: str) -> None:
    """UnknownRevision for any but the present one."""
    if revision not in (MAIN, found.commit):
        raise UnknownRevision(revision)


def made(blobs: Blobs, kept: Cache, found: Repository, name: str) -> Made:
    """A file of a repository; UnknownEntry."""
    if name not in found.files:
        raise UnknownEntry(name, found.commit, found.files)
    if name == CARD:
        return Made(name=name, data=found.card.encode())
    key = f"hub-{found.commit}-{name}"
    if (file := kept.get(found.entry.digest, key)) is not None:
        with file:
            return Made(name=name, data=file.read())
    data = written(blobs, found.entry, name)
    kept.put(found.entry.digest, key, data)
    return Made(name=name, data=data)


def written(blobs: Blobs, entry: Entry, name: str) -> bytes:
    """The embedding in embconv's usual form, or the vectors of one encoder under the trigger."""
    _, held, source = found_in(entry, lambda file: blobs.path(file.sha256))
    embedding = known(held, entry)
    if name == WHOLE:
        return encoded(embedding, Wanted(), source).data
    key = parts_of(entry)[name]
    return encode(replace(embedding, vectors={key: embedding.vectors[key]}), DIFFUSERS, source=source).data


def model_info(found: Repository, files: Sequence[Made] = ()) -> ModelInfo:
    """All that is told of a repository; its files in full where they are given."""
    entry, data = found.entry, card_data(found.entry)
    computed = (LIBRARY, *tags_of(entry), *(f"{kind}:{data[kind]}" for kind in ("base_model", "license") if kind in data))
    return ModelInfo(
        id=f"{OWNER}/{found.name}", model_id=f"{OWNER}/{found.name}", sha=found.commit, last_modified=entry.changed, created_at=entry.added,
        downloads=entry.downloads, tags=list(computed), card_data=data,
        siblings=[sibling(file) for file in files] or [Sibling(rfilename=name) for name in found.files],
    )  # fmt: skip
