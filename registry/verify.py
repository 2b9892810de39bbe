"""Everything looked at again: the database by itself, bytes against their hashes, vectors against their digests, each against the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.display import printable
from embconv.converters.hashes import sha256_of
from embconv.converters.source import Source

from .blobs import Blobs
from .errors import RegistryError
from .ingest import drop
from .prepare import prepare
from .store import (
    Store,
    batches,
    digest_of,
    digests_of,
    files_with_digests,
    index_is_whole,
    integrity,
    lose_preview,
    lose_render,
    present_previews,
    present_renders,
    rebuild_index,
    refresh,
    stale,
    unnamed,
)
from .times import now

if TYPE_CHECKING:
    from sqlite_utils import Database

BATCH = 10_000  # blobs that are looked up together


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `kind`: database, missing, rotten, changed, orphan, stale or index; `ref` names what."""

    kind: str
    ref: str
    says: str
    repaired: bool = False


class Report(Struct, frozen=True, kw_only=True):
    """What a verification found: how much it looked at, and every problem."""

    files: int
    checked: int
    embeddings: int
    problems: tuple[Problem, ...]

    @property
    def good(self) -> bool:
        """Is everything right, or was put right?"""
        return all(problem.repaired for problem in self.problems)


def verify(
    store: Store,
    blobs: Blobs,
    *,
    sample: float = 1.0,
    repair: bool = False,
    done: Callable[[int], None] = lambda checked: None,
    dice: random.Random | None = None,
) -> Report:
    """Look at everything; at a `sample` of the files' bytes. `repair` makes anew what is derived, removes bytes that nothing
    names, and sets rotten bytes aside: adding the file again brings it back. `done` hears how many files were looked at.
    """
    roll = dice or random.Random()  # noqa: S311  # a sample, no secret
    problems = [Problem(kind="database", ref="registry.db", says=text) for text in integrity(store.read)]
    files = checked = 0
    for sha256, name, digests in files_with_digests(store.read):
        files += 1
        if sample >= 1 or roll.random() < sample:
            checked += 1
            problems += file_problems(store, blobs, sha256, name, digests, repair)
            done(checked)
        elif not blobs.has(sha256) and still_named(store, sha256):
            problems.append(missing(sha256, name))
    problems += picture_problems(store, blobs, repair)
    problems += orphans(store, blobs, repair)
    problems += index_problems(store, repair)
    embeddings = 0
    for ids in batches(store.read):
        embeddings += len(ids)
        problems += stale_problems(store, ids, repair)
    return Report(files=files, checked=checked, embeddings=embeddings, problems=tuple(problems))


def still_named(store: Store, sha256: str) -> bool:
    """Is there a row for these bytes yet? It may have been removed since it was read."""
    return not unnamed(store.read, [sha256])


def file_problems(store: Store, blobs: Blobs, sha256: str, name: str, digests: list[str], repair: bool) -> Iterator[Problem]:
    """The bytes of one file: there, with their hash, and holding what they held."""
    try:
        with Source(blobs.path(sha256), name) as source:
            found = sha256_of(source)
    except EmbconvError as exc:
        if not blobs.has(sha256):
            if still_named(store, sha256):
                yield missing(sha256, name)
            return
        yield Problem(kind="rotten", ref=sha256, says=f"The bytes of {printable(name)} cannot be read: {exc.says}", repaired=False)
        return
    if found != sha256:
        if repair:
            blobs.set_aside(sha256)
        says = f"The bytes of {printable(name)} have changed: their sha256 is {found} now. Add the file again."
        yield Problem(kind="rotten", ref=sha256, says=says, repaired=False)
        return
    try:
        held = [embedding.digest for embedding in prepare(blobs.path(sha256), name=name).embeddings]
    except EmbconvError as exc:
        yield Problem(kind="changed", ref=sha256, says=f"{exc.says} It was one when it was added.")
        return
    if held != digests and still_named(store, sha256) and held != digests_of(store.read, sha256):
        yield Problem(kind="changed", ref=sha256, says=f"{printable(name)} is read with other vectors than when it was added.")


def picture_problems(store: Store, blobs: Blobs, repair: bool) -> Iterator[Problem]:
    """The pictures of embeddings: there, and with their hash. What is lost cannot be shown, so a repair forgets it."""
    for present, lose, again in PICTURES:
        for sha256, name in present(store.read):
            kind, says = harm(blobs, sha256, name)
            if kind and still_named(store, sha256):
                if repair:
                    blobs.set_aside(sha256)
                    store.write(partial(lose, sha256=sha256))
                yield Problem(kind=kind, ref=sha256, says=f"The picture {printable(name)} {says}; {again}.", repaired=repair)


PICTURES = (
    (present_previews, lose_preview, "it comes back when the one it was made from changes"),
    (present_renders, lose_render, "it is drawn again when the same is asked again"),
)


def harm(blobs: Blobs, sha256: str, name: str) -> tuple[str, str]:
    """What is wrong with the bytes of a picture, as a kind of Problem and in words; nothing where they are well."""
    try:
        with Source(blobs.path(sha256), name) as source:
            return ("", "") if sha256_of(source) == sha256 else ("rotten", "has changed")
    except EmbconvError:
        return "missing", "is not there"


def missing(sha256: str, name: str) -> Problem:
    """A row without bytes."""
    return Problem(kind="missing", ref=sha256, says=f"The bytes of {printable(name)} are not there. Add the file again.")


def orphans(store: Store, blobs: Blobs, repair: bool) -> Iterator[Problem]:
    """Bytes without a row. An upload that is under way has some for a moment, so they are asked for twice."""
    every = list(blobs.all())
    found = [lost for start in range(0, len(every), BATCH) for lost in unnamed(store.read, every[start : start + BATCH])]
    for sha256 in unnamed(store.read, found):
        gone = bool(repair and drop(store, blobs, [sha256]))
        if blobs.has(sha256) or gone:
            yield Problem(kind="orphan", ref=sha256, says="These bytes belong to nothing.", repaired=gone)


def index_problems(store: Store, repair: bool) -> Iterator[Problem]:
    """The full-text index against its texts."""
    try:
        whole = store.write(index_is_whole)
    except RegistryError:
        whole = False
    if not whole:
        if repair:
            store.write(rebuild_index)
        says = "The full-text index does not agree with its texts."
        yield Problem(kind="index", ref="words", says=says, repaired=repair and store.write(index_is_whole))


def stale_problems(store: Store, ids: list[int], repair: bool) -> Iterator[Problem]:
    """Documents, facts and words against what the rows say."""
    if not stale(store.read, ids):
        return

    def work(db: Database) -> list[int]:
        bad = stale(db, ids)  # again, now that nobody else writes
        if repair:
            refresh(db, bad, now(), force=True)
        return bad

    for id_ in store.write(work):
        says = "What is shown of it is not what is known of it."
        yield Problem(kind="stale", ref=digest_of(store.read, id_), says=says, repaired=repair and not stale(store.read, [id_]))
