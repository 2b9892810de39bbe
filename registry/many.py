"""Many files at once: looked at on every core, brought to the disk together, put into the database a few hundred at a time."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from embconv.converters import EmbconvError
from embconv.converters.bulk import chunked
from embconv.converters.convert import Failure, failure
from embconv.converters.display import quoted
from embconv.converters.errors import NotAnEmbedding
from embconv.converters.folders import PICTURES
from embconv.converters.hashes import hashes
from embconv.converters.in_step import Work, in_step
from embconv.converters.limits import WHOLE_READ
from embconv.converters.paths import suffix_of
from embconv.converters.processes import spread
from embconv.converters.read import nbytes
from embconv.converters.sidecars import ENDINGS, hints_beside
from embconv.converters.source import Source

from .blobs import Blobs
from .checksums import checksums, of_steps, steps
from .errors import Blocked, RegistryError
from .ingest import ingest
from .model import Addition, Arrival, Arrived, Ingested, Origin, Prepared, PreparedEmbedding, Refusal
from .prepare import examined, file_name, prepared, refusal_of
from .shelf import Shelf
from .store import Store, arrive, known_file, refuse
from .times import now

if TYPE_CHECKING:
    from sqlite_utils import Database

    from .checksums import Steps

CHUNK = 512  # files that reach the disk and the database together
FEW = 32     # so few files are done before a second process has started
LARGE = 256 << 10  # bytes of vectors
PLACE = "#"
WATCH = "embconv-watch-parent"
DISK = ("storage_full", "storage_failed", "busy", "no_store")
Said = Callable[[str, Prepared], Arrival]  # a path and what it holds, with what is said of it


class Seen(Struct, frozen=True, kw_only=True):
    """One path as a worker saw it: prepared and its bytes kept, or known already, or refused."""

    path: str
    prepared: Prepared | None = None
    known: Addition | None = None
    refusal: Refusal | None = None
    error: Failure | None = None


class Sums:
    """A1111's checksums of many embeddings, computed together; until then their place in the queue stands for each."""

    def __init__(self) -> None:
        self._waiting: list[Steps] = []  # half as large as the values, which would all be kept

    def later(self, values: list[bytes]) -> list[str]:
        """For `prepared`. Large ones do not wait, for there may be many of them."""
        if sum(map(len, values)) > LARGE:
            return checksums(values)
        first = len(self._waiting)
        self._waiting += map(steps, values)
        return [f"{PLACE}{place}" for place in range(first, len(self._waiting))]

    def filled(self, seen: list[Seen]) -> list[Seen]:
        """The same with the checksums in their places."""
        found = of_steps(self._waiting)
        return [replace(each, prepared=self._with(each.prepared, found)) if each.prepared else each for each in seen]

    def _with(self, prepared: Prepared, found: list[str]) -> Prepared:
        def sums(e: PreparedEmbedding) -> Iterable[str]:
            return (found[int(each.removeprefix(PLACE))] if each.startswith(PLACE) else each for each in e.checksums)

        return replace(prepared, embeddings=tuple(replace(e, checksums=tuple(dict.fromkeys(sums(e)))) for e in prepared.embeddings))


def ingest_many(
    store: Store,
    blobs: Blobs,
    paths: Sequence[str],
    *,
    done: Callable[[Addition], None],
    role: str | None = None,
    tags: tuple[str, ...] = (),
    origin: Callable[[str], Origin | None] | None = None,
    workers: int | None = None,
) -> list[Addition]:
    """Remember many files; `done` hears of each as it is safe. No bad one stops the rest. `origin` says where each came from."""
    count = min(workers or 1 + (os.cpu_count() or 1), max(1, len(paths) // FEW))  # one more, for some of them wait for the disk
    chunks, telling = list(chunked(paths, count, CHUNK)), folders_that_tell(paths)

    def said(path: str, prepared: Prepared) -> Arrival:
        return Arrival(prepared=prepared, role=role, tags=tags, origin=origin(path) if origin else None)

    found: list[Addition] = []
    for packed in spread(partial(look, home=store.home, telling=telling, cheap=not (role or tags or origin)), chunks, count=count):
        seen = msgspec.msgpack.decode(packed, type=list[Seen]) if isinstance(packed, bytes) else packed
        additions = settle(store, blobs, seen, said)
        found += additions
        for addition in additions:
            done(addition)
    return found


def folders_that_tell(paths: Iterable[str]) -> frozenset[str]:
    """The folders of these files in which something may stand that speaks of one: nobody need look for it beside each file."""
    folders = {os.path.dirname(path) for path in paths}
    found = set()
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            found.add(folder)  # perhaps it lets nobody list it, and yet opens what one knows of
            continue
        if any(name.lower().endswith(ENDINGS) for name in names):
            found.add(folder)
    return frozenset(found)


def look(paths: Sequence[str], home: str, telling: frozenset[str], cheap: bool) -> bytes | list[Seen]:
    """Look at some files and keep the bytes of those that are embeddings. Runs in another process: it opens its own store."""
    sums, parent = Sums(), watch_parent()
    with Store(home, create=False) as store, Shelf(Blobs(home)) as shelf:
        seen = glances(glance(path, store, shelf, sums, told=os.path.dirname(path) in telling, cheap=cheap) for path in paths)
        must_have(parent)
        seen = sums.filled(without(seen, shelf.publish()))
    try:
        return msgspec.msgpack.encode(seen)
    except UnicodeEncodeError:  # a path that is no UTF-8
        return seen


def without(seen: list[Seen], lost: Mapping[str, RegistryError]) -> list[Seen]:
    """The same, with what became of those whose bytes the disk did not take."""
    return [failed(each, lost[each.prepared.sha256]) if each.prepared and each.prepared.sha256 in lost else each for each in seen]


def watch_parent() -> int:
    """End this process soon after the one that started it was killed: nobody would ever take its results. The parent's id."""
    started_by, watching = multiprocessing.parent_process(), any(thread.name == WATCH for thread in threading.enumerate())
    parent = (started_by.pid if started_by else None) or os.getppid()  # the latter is another's where the parent is dead already
    if started_by is not None and not watching:

        def watch() -> None:
            while True:
                time.sleep(0.2)
                must_have(parent)

        threading.Thread(target=watch, name=WATCH, daemon=True).start()
    return parent


def must_have(parent: int) -> None:
    """End this process where its parent has ended; temporary files are swept at the next start."""
    if multiprocessing.parent_process() is not None and os.getppid() != parent:
        os._exit(1)


def glances(works: Iterable[Work[Seen]]) -> list[Seen]:
    """What `glance` sees, in step."""
    seen = []
    for each in in_step(works):
        if isinstance(each, Exception):
            raise each
        seen.append(each)
    return seen


def glance(path: str, store: Store, shelf: Shelf, sums: Sums, *, told: bool, cheap: bool, name: str | None = None) -> Work[Seen]:
    """One file: what it holds, with its bytes on the shelf. With a `name` that is what it is called, and its folder tells nothing."""
    try:
        with Source(path, file_name(path if name is None else name)) as opened:
            yield opened.size
            return (yield from take(path, opened, store, shelf, sums, told=told, cheap=cheap, beside=path if name is None else None))
    except RegistryError as exc:
        return failed(Seen(path=path), exc)
    except EmbconvError as exc:  # it cannot even be read
        return Seen(path=path, error=failure(path, exc).error)
    except UnicodeError:
        says = f"The name of {quoted(path)} is no UTF-8."
        return Seen(path=path, error=Failure("unreadable_file", says, "Rename it."))


def take(path: str, opened: Source, store: Store, shelf: Shelf, sums: Sums, *, told: bool, cheap: bool, beside: str | None) -> Work[Seen]:
    """An open file: known, prepared or refused."""
    try:
        computed = hashes(opened) if opened.size <= WHOLE_READ else None
        yield 0
        known = known_file(store.read, computed.sha256, opened.name) if computed and cheap else None
        if computed and known and not (told and hints_beside(path)):
            digests, triggers = zip(*known, strict=True)
            return Seen(path=path, known=Addition(path=path, status="known", digests=digests, triggers=triggers, sha256=computed.sha256))
        yield 0
        reading = examined(opened, beside=beside, told=told)
        yield nbytes(reading)
        found = prepared(opened, reading, computed=computed, sums=sums.later)
        yield 0
        shelf.put(opened, found.sha256)
        return Seen(path=path, prepared=found)
    except RegistryError:
        raise
    except (EmbconvError, RecursionError) as exc:
        return refused(path, opened, exc if isinstance(exc, EmbconvError) else EmbconvError(f"{quoted(opened.name)} is nested too deeply."))


def refused(path: str, opened: Source, exc: EmbconvError) -> Seen:
    """What is no embedding; a picture without one is just a picture."""
    if isinstance(exc, NotAnEmbedding) and suffix_of(path).lower() in PICTURES:
        return Seen(path=path)
    return Seen(path=path, refusal=refusal_of(opened, exc), error=failure(path, exc).error)


def failed(seen: Seen, exc: EmbconvError) -> Seen:
    """What the disk did not take."""
    return Seen(path=seen.path, error=Failure(exc.code, exc.says, exc.hint))


def settle(store: Store, blobs: Blobs, seen: list[Seen], said: Said, *, names: Mapping[str, str] | None = None) -> list[Addition]:
    """Put what was seen into the database, in one write, and say what became of each."""
    named = names or {}
    arrivals = {each.path: said(each.path, each.prepared) for each in seen if each.prepared}

    def work(db: Database) -> dict[str, Arrived | EmbconvError]:
        for each in seen:
            if each.refusal:
                refuse(db, each.refusal)
        here = {path: arrival for path, arrival in arrivals.items() if blobs.has(arrival.prepared.sha256)}
        return dict(zip(here, arrive(db, here.values(), now()), strict=True))

    try:
        came = store.write(work)
    except RegistryError as exc:
        came = dict.fromkeys(arrivals, exc)
    return [
        addition(each, came.get(each.path)) or alone(store, blobs, each.path, arrivals[each.path], named.get(each.path)) for each in seen
    ]


def addition(seen: Seen, came: Arrived | EmbconvError | None) -> Addition | None:
    """What became of one; None where somebody has removed its bytes since they were put on the shelf."""
    if seen.known:
        return seen.known
    if seen.error:
        status = "refused" if seen.refusal or seen.error.code not in DISK else "failed"
        return Addition(path=seen.path, status=status, error=seen.error)
    if seen.prepared is None:
        return Addition(path=seen.path, status="passed_over")
    if came is None or isinstance(came, Blocked):
        return None
    if isinstance(came, EmbconvError):
        return Addition(path=seen.path, status="failed", error=failure(seen.path, came).error)
    embeddings = seen.prepared.embeddings
    return Addition(
        path=seen.path,
        status="added" if came.added else "known",
        digests=tuple(f"emb:{embedding.digest}" for embedding in embeddings),
        triggers=tuple(embedding.trigger for embedding in embeddings),
        sha256=seen.prepared.sha256,
    )


def alone(store: Store, blobs: Blobs, path: str, arrival: Arrival, name: str | None) -> Addition:
    """One file by itself: its bytes went, or it is blocked, which is written down."""
    try:
        result = ingest(store, blobs, path, name=name, role=arrival.role, tags=arrival.tags, origin=arrival.origin)
    except EmbconvError as exc:
        return Addition(path=path, status="failed" if exc.code in DISK else "refused", error=failure(path, exc).error)
    return addition_of(path, result)


def addition_of(path: str, result: Ingested) -> Addition:
    """What ingest made of one file, as one of many."""
    entries = [msgspec.json.decode(raw, type=Called) for raw in result.embeddings]
    return Addition(path=path, status=result.status, digests=tuple(entry.digest for entry in entries),
                    triggers=tuple(entry.trigger for entry in entries), sha256=result.file.sha256)  # fmt: skip


class Called(Struct, frozen=True):
    """The part of an Entry that an addition names."""

    digest: str
    trigger: str
