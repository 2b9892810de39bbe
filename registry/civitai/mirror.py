"""The registry as Civitai would tell of it, read only: lists, single models and versions, hashes, and which file is handed out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from ..columns import Columns
from ..fields import many
from ..query import Query
from ..store import Store, matches_many
from ..store.mirror import versions_of, versions_with
from .mirror_asked import Asked, Missing, Pairs, cursor_of
from .mirror_index import RISING, Index, Key, Listed, Snapshot, slug
from .mirror_models import models, versions_by_id
from .mirror_own import own_keys, spoken_ids, those
from .shapes import Model, base_of, shaped, version_alone
from .shapes_files import File, Version, View, kind_of, metadata_of, primary
from .shapes_own import OWN
from .shapes_values import Body
from .shapes_words import EVERY, PG

if TYPE_CHECKING:
    from sqlite_utils import Database

CHOICES = ("format", "size", "fp", "quantType")


class Mirror(Struct, frozen=True):
    """What a registry is told on from."""

    store: Store
    columns: Columns
    index: Index


def listed(mirror: Mirror, asked: Asked, pairs: Pairs, origin: str) -> Body:
    """A page of models, and where the next begins. Missing for a user of whom nothing is here."""
    skipped = (asked.page - 1) * asked.limit if asked.page and asked.cursor is None else 0
    keys = found(mirror, asked, skipped + asked.limit + 1)[skipped:]
    page = keys[: asked.limit]
    bodies = models(mirror.store.read, [key[-1] for key in page])
    view = View(origin=origin, levels=EVERY if asked.nsfw else PG, primary_only=asked.primary_only)
    items = [shaped(fitting, view) for key in page if key[-1] in bodies and (fitting := narrowed(bodies[key[-1]], asked)).versions]
    metadata: Body = {"currentPage": asked.page, "pageSize": asked.limit} if asked.page else {}
    if page and len(keys) > len(page):
        cursor = cursor_of(page[-1])
        metadata |= {"nextCursor": cursor, "nextPage": f"{origin}/api/v1/models?{following(pairs, cursor)}"}
    return {"items": items, "metadata": metadata}


def following(pairs: Pairs, cursor: str) -> str:
    """The query of the next page. Keys of Civitai that stand in one are not told on."""
    kept = ((name, value) for name, value in pairs if value and name not in ("cursor", "token"))
    turned = [(name, str(int(float(value)) + 1) if name == "page" else value) for name, value in kept]
    return urlencode([*turned, ("cursor", cursor)], quote_via=quote, errors="replace")


def narrowed(model: Model, asked: Asked) -> Model:
    """A model with those of its versions that are asked for."""
    versions = [
        version for version in model.versions
        if (asked.versions is None or version.id in asked.versions) and (not asked.bases or base_of(version) in asked.bases)
    ]  # fmt: skip
    return model if len(versions) == len(model.versions) else replace(model, versions=tuple(versions))


def found(mirror: Mirror, asked: Asked, count: int) -> list[Key]:
    """The keys of the first models after where a page begins, in their order."""
    db, snapshot = mirror.store.read, mirror.index.now()
    spoken = spoken_ids(db, mirror.columns, asked.query)
    told = list(islice(told_keys(snapshot, asked, spoken), count))
    own = own_keys(db, mirror.columns, snapshot, asked, spoken, count)
    if asked.username and not told and not own and not is_known(mirror, snapshot, asked.username):
        raise Missing("User not found", {"message": "User not found", "error": "User not found"})
    return sorted((*told, *own), reverse=asked.sort != RISING)[:count]


def is_known(mirror: Mirror, snapshot: Snapshot, username: str) -> bool:
    """Has anybody of that name made anything here?"""
    columns, query = mirror.columns, Query(filters={"creator": (username.strip().casefold(),)})
    with columns.looking():
        return slug(username) in snapshot.creators or many(those(columns, query)) > 0


def told_keys(snapshot: Snapshot, asked: Asked, spoken: set[int] | None) -> Iterator[Key]:
    """The keys of the models that Civitai told of and that are asked for, from where a page begins."""
    keys, of = snapshot.order(asked.sort) if asked.ids is None else snapshot.some(asked.sort, asked.ids)
    for place in places(keys, asked):
        if fits(of[place], asked, spoken):
            yield keys[place]


def places(keys: Sequence[Key], asked: Asked) -> range:
    """Where to look, one after the other."""
    if asked.sort == RISING:
        return range(bisect_right(keys, asked.cursor) if asked.cursor else 0, len(keys))
    return range((bisect_left(keys, asked.cursor) if asked.cursor else len(keys)) - 1, -1, -1)


def fits(one: Listed, asked: Asked, spoken: set[int] | None) -> bool:
    """Is this model asked for? Without nsfw only what has a picture for everybody is listed, as Civitai does."""
    return (
        (asked.nsfw or bool(one.level & PG))
        and (not asked.types or one.kind in asked.types)
        and (asked.ids is None or one.id in asked.ids)
        and (asked.versions is None or any(version in asked.versions for version in one.versions))
        and (not asked.bases or not one.bases.isdisjoint(asked.bases))
        and (not asked.tag or asked.tag.strip().lower() in one.tags)
        and (not asked.username or slug(asked.username) == one.creator)
        and (spoken is None or not one.embeddings.isdisjoint(spoken))
    )


# hashes


def by_hashes(db: Database, hashes: Sequence[str]) -> dict[str, list[int]]:
    """Hash -> the versions that have it; an embedding that is in none is a version of its own.

    First come files with this hash, then what claims to have it: Civitai of a file that is here in another form, or a file of its source.
    """
    matches = matches_many(db, hashes)
    every = [match for some in matches.values() for match in some]
    plain = {value: value.strip().lower() for value in hashes}
    files = versions_with(db, {*(match.sha256 for match in every if match.sha256), *plain.values()})
    embeddings = versions_of(db, {match.digest for match in every})
    found = {}
    for value, some in matches.items():
        ids = [id_ for match in some if match.sha256 and not match.claim for id_ in files.get(match.sha256, ())]
        ids += files.get(plain[value], ())
        for match in some:
            own, versions = embeddings.get(match.digest, (None, []))
            ids += versions if versions or own is None else [OWN + own]
        found[value] = list(dict.fromkeys(ids))
    return found


def by_hash(db: Database, value: str, view: View) -> Body:
    """The first version that has a hash. Missing."""
    ids = by_hashes(db, [value])[value]
    every = versions_by_id(db, ids)
    first = next((every[id_] for id_ in ids if id_ in every), None)
    if first is None:
        raise Missing("Model not found")
    return version_alone(*first, view)


def all_by_hash(db: Database, hashes: Sequence[str], view: View) -> list[Body]:
    """Every version that has one of the hashes, once for each."""
    ids = by_hashes(db, hashes)
    every = versions_by_id(db, dict.fromkeys(id_ for some in ids.values() for id_ in some))
    return [version_alone(*every[id_], view) for some in ids.values() for id_ in some if id_ in every]


def ids_by_hash(db: Database, hashes: Sequence[str]) -> list[Body]:
    """The same in short."""
    ids = by_hashes(db, hashes)
    every = versions_by_id(db, dict.fromkeys(id_ for some in ids.values() for id_ in some))
    hits = [(value.upper(), id_) for value, some in ids.items() for id_ in some if id_ in every]
    return [{"modelVersionId": id_, "modelId": every[id_][0].id, "hash": value} for value, id_ in hits]


# downloads


def chosen(version: Version, pairs: Pairs) -> File:
    """The file that is handed out: the one of an id, the primary one, or the first that is all that is asked for. Missing."""
    asked = {name: value for name, value in pairs if value}
    if "fileId" in asked:
        some = [file for file in version.files if str(file.id) == asked["fileId"] or str(file.body.get("id")) == asked["fileId"]]
    else:
        best = primary(version)
        some = [file for file in (best, *version.files) if agrees(file, asked)]
    if not some:
        raise Missing("File not found")
    return some[0]


def agrees(file: File, asked: dict[str, str]) -> bool:
    """Is it of the kind and the form that are asked for?"""
    told = metadata_of(file)
    return asked.get("type", kind_of(file)) == kind_of(file) and all(asked[name] == told.get(name) for name in CHOICES if name in asked)

