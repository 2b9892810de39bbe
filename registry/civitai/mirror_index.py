"""By what the models that Civitai told of are found and ordered, in memory: their bodies are too large to be read for each list."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Raw, Struct, field

from ..fields import Mask
from ..store import Store, latest_revision
from ..store.mirror import asked_models, data_version, kept_models, last_asked, links, models_told, touched_models, versions_told
from .provenance import moment
from .shapes_values import Body, creator, dates_of, number, tags, whole
from .shapes_words import KIND, LEVELS, PG, SORTS
from .wire import words

if TYPE_CHECKING:
    from sqlite_utils import Database

TOGETHER = 500  # models that are read at once
Key = tuple[int, ...]  # of a model in an order, with its id at the end


class Listed(Struct, frozen=True, kw_only=True, gc=False):
    """A model as lists choose it. `newest`: when its newest version was published, in milliseconds."""

    id: int
    kind: str
    level: int
    creator: str
    tags: frozenset[str]
    bases: frozenset[str]
    versions: tuple[int, ...]
    embeddings: frozenset[int]
    newest: int
    thumbs: int
    downloads: int
    comments: int
    collected: int
    images: int


KEYS: dict[str, Callable[[Listed], Key]] = {
    "Highest Rated": lambda one: (one.thumbs, one.downloads, one.id),
    "Most Downloaded": lambda one: (one.downloads, one.thumbs, one.id),
    "Most Discussed": lambda one: (one.comments, one.downloads, one.id),
    "Most Collected": lambda one: (one.collected, one.downloads, one.id),
    "Most Images": lambda one: (one.images, one.downloads, one.id),
    "Newest": lambda one: (one.newest, one.id),
}
SAME = {"Most Liked": "Highest Rated", "Oldest": "Newest"}  # the same order, or the other way round
RISING = "Oldest"


class Snapshot:
    """All models at one moment. An order is made as it is first asked for."""

    def __init__(self, models: Sequence[Listed]) -> None:
        self._by_id = {one.id: one for one in models}
        self.models = models
        self.creators = frozenset(one.creator for one in models)
        ids = [id_ for one in models for id_ in one.embeddings]
        self.linked: Mask = np.zeros(max(ids, default=0) + 1, np.bool_)
        self.linked[ids] = True
        self._orders: dict[str, tuple[list[Key], list[Listed]]] = {}

    def order(self, sort: str) -> tuple[list[Key], list[Listed]]:
        """Keys, rising, and their models."""
        name = SAME.get(sort, sort)
        found = self._orders.get(name)
        if found is None:
            found = self._orders[name] = ordered(self.models, name)
        return found

    def some(self, sort: str, ids: Iterable[int]) -> tuple[list[Key], list[Listed]]:
        """The same of these models alone."""
        return ordered([self._by_id[id_] for id_ in ids if id_ in self._by_id], SAME.get(sort, sort))


def ordered(models: Sequence[Listed], sort: str) -> tuple[list[Key], list[Listed]]:
    """Keys, rising, and their models."""
    found = sorted(models, key=KEYS[sort])
    return [KEYS[sort](one) for one in found], found


class Index:
    """The models of a store, read as they are first needed and then kept up with it. Threads may share one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock, self._seen = threading.Lock(), threading.local()
        self._revision, self._asked = -1, ""
        self._stopped = False
        self._models: dict[int, Listed] = {}
        self._snapshot = Snapshot(())

    def now(self) -> Snapshot:
        """Everything that was committed before, by this process or another."""
        db = self._store.read
        version = data_version(db)
        if getattr(self._seen, "at", None) != (id(db), version):
            with self._lock:
                self._catch_up(db)
            self._seen.at = (id(db), version)
        return self._snapshot

    def warm(self) -> None:
        """Read everything, so that nobody waits for it."""
        snapshot = self.now()
        for sort in SORTS:
            snapshot.order(sort)

    def stop(self) -> None:
        """End `warm`, wherever it runs."""
        self._stopped = True

    def _catch_up(self, db: Database) -> None:
        revision, asked = latest_revision(db), last_asked(db)
        ids = self._changed(db, revision, asked)
        changed = False
        for start in range(0, len(ids), TOGETHER):
            if self._stopped:
                return
            some = ids[start : start + TOGETHER]
            found = {one.id: one for one in read(db, some)}
            for id_ in some:
                if self._models.get(id_) != found.get(id_):
                    changed = True
                    self._models.pop(id_, None)
                    self._models |= {id_: found[id_]} if id_ in found else {}
        if changed:
            self._snapshot = Snapshot(tuple(self._models.values()))
        self._revision, self._asked = revision, asked

    def _changed(self, db: Database, revision: int, asked: str) -> list[int]:
        """Models that may be others than they were."""
        if self._revision < 0:
            return kept_models(db)
        touched = touched_models(db, self._revision) if revision != self._revision else []
        return list(dict.fromkeys((*touched, *(asked_models(db, self._asked) if asked else ()))))


class Model(Struct, frozen=True, rename="camel"):
    """What a list asks of a model's body."""

    type: Any = None
    nsfw: Any = None
    nsfw_level: Any = None
    creator: Any = None
    tags: Any = None
    stats: Any = None


class Version(Struct, frozen=True, rename="camel"):
    """What a list asks of a version's body."""

    base_model: Any = None
    nsfw_level: Any = None
    published_at: Any = None
    created_at: Any = None
    updated_at: Any = None
    images: Raw = field(default_factory=lambda: Raw(b"null"))


def read(db: Database, ids: Sequence[int]) -> Iterator[Listed]:
    """Those of the models of which a file is here."""
    embeddings = links(db, ids)
    models, versions = models_told(db, embeddings), versions_told(db, models=embeddings)
    by_model: dict[int, list[tuple[int, Version]]] = {}
    for version in versions:
        by_model.setdefault(version.model_id, []).append((version.id, msgspec.json.decode(version.body, type=Version)))
    for id_, model in models.items():
        if id_ in by_model:
            yield listed(id_, msgspec.json.decode(model.body, type=Model), by_model[id_], embeddings[id_], model.seen)


def listed(id: int, model: Model, versions: list[tuple[int, Version]], embeddings: set[int], seen: str) -> Listed:  # noqa: A002  # as everywhere
    """A model by what its body says."""
    told: Body = model.stats if isinstance(model.stats, dict) else {}
    count = {name: int(number(told.get(name))) for name in ("thumbsUpCount", "favoriteCount", "downloadCount", "commentCount")}
    return Listed(
        id=id,
        kind=words(model.type) or KIND,
        level=level_of(model, versions),
        creator=slug(words(creator({"creator": model.creator})["username"])),
        tags=frozenset(tag.lower() for tag in tags({"tags": model.tags})),
        bases=frozenset(words(version.base_model).strip() or "Other" for _, version in versions),
        versions=tuple(version_id for version_id, _ in versions),
        embeddings=frozenset(embeddings),
        newest=max(published(version, seen) for _, version in versions),
        thumbs=max(count["thumbsUpCount"], count["favoriteCount"]),
        downloads=count["downloadCount"],
        comments=count["commentCount"],
        collected=count["favoriteCount"],
        images=sum(many(version.images) for _, version in versions),
    )


def level_of(model: Model, versions: Iterable[tuple[int, Version]]) -> int:
    """As shapes.level: all levels of its pictures, 0 while nobody rated it."""
    bits = whole(model.nsfw_level, 0)
    for _, version in versions if not bits else ():
        bits |= whole(version.nsfw_level, 0)
    if not bits and isinstance(model.nsfw, bool) and model.nsfw_level is None:
        return LEVELS["X"] if model.nsfw else PG
    return bits


def published(version: Version, seen: str) -> int:
    """When, in milliseconds."""
    said = {"publishedAt": version.published_at, "createdAt": version.created_at, "updatedAt": version.updated_at}
    return int(moment(dates_of(said, seen)["publishedAt"]).timestamp() * 1000)


def many(raw: Raw) -> int:
    """How many a list has."""
    try:
        return len(msgspec.json.decode(raw, type=list[Raw]))
    except msgspec.ValidationError:
        return 0


def slug(username: str) -> str:
    """As Civitai compares names of its users."""
    return re.sub(r"[^a-zA-Z0-9_]", "", username.replace(" ", "_", 1)).lower() or username.casefold()
