"""A file in, its embeddings known: bytes before rows, so that a crash leaves bytes nobody names, never a name without bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct

from embconv.converters import EmbconvError
from embconv.converters.display import quoted
from embconv.converters.errors import UnreadableFile
from embconv.converters.read import Input
from embconv.converters.source import Source

from .blobs import Blobs, Writer
from .errors import Blocked, Busy, RegistryError
from .model import Arrival, Arrived, Ingested, Origin, Prepared
from .prepare import file_name, prepare_opened, refusal_of
from .shelf import Shelf
from .store import Store, arrive, checked, document, file_of, has_foreign_bytes, must_be_small, refuse, remove, unnamed
from .times import now

if TYPE_CHECKING:
    from sqlite_utils import Database

PIECE = 1 << 20
BATCH = 10_000  # blobs that are looked up together


def ingest(
    store: Store,
    blobs: Blobs,
    source: Input | Writer,
    *,
    name: str | None = None,
    role: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    origin: Origin | None = None,
    given_name: str | None = None,
    unblock: bool = False,
) -> Ingested:
    """Remember a file: a path, bytes, or a Writer of `blobs` that has them already. `name` is the file's, `given_name` the embedding's.

    Raises the converters' errors for what is no embedding and Blocked for what was removed for good, which are also written
    down as refusals; BadParameter for a role or a name that means nothing. Nothing is kept then.
    """
    said = words(role=role, tags=tags, origin=origin, given_name=given_name, unblock=unblock)
    if isinstance(source, Writer):
        with Source(source.path, file_name(name or "")) as opened:
            return take(store, opened, source, said, None)
    path = None if isinstance(source, bytes) else os.fspath(source)
    with Source(source, file_name(name if name is not None else path or "")) as opened, blobs.writer() as writer:
        return take(store, opened, writer, said, path if name is None else None)


def words(
    *, role: str | None = None, tags: Iterable[str] = (), origin: Origin | None = None, given_name: str | None = None, unblock: bool = False
) -> dict[str, Any]:
    """What is said with a file, as an Arrival has it. BadParameter for a role or a name that means nothing."""
    if origin is not None:
        must_be_small(origin)
    return {"role": checked("role", role) if role else None, "name": checked("name", given_name) if given_name else None,
            "tags": tuple(checked("tags", list(tags))), "origin": origin, "unblock": unblock}  # fmt: skip


class Sent(Struct, frozen=True):
    """A small file in memory, its name, and what was said with it: as `ingest` takes them."""

    data: bytes
    name: str
    said: dict[str, Any]


def ingest_together(store: Store, blobs: Blobs, files: list[Sent]) -> Sequence[Ingested | Exception]:
    """`ingest` of several small files with one commit. Whatever is out of the ordinary is done by itself, which says why."""
    with Shelf(blobs, together=False) as shelf:
        arrivals = [glanced(file, shelf) for file in files]
        lost = shelf.publish()
        ready = {place: each for place, each in enumerate(arrivals) if each and each.prepared.sha256 not in lost}
        try:
            came = store.write(partial(put_together, blobs=blobs, arrivals=ready)) if ready else {}
        except Busy:
            return [Busy() for _ in files]  # who waits once need not wait again for each
        except RegistryError:
            came = {}
            with contextlib.suppress(RegistryError):
                drop(store, blobs, [arrival.prepared.sha256 for arrival in ready.values()])
    return [came.get(place) or alone(store, blobs, file) for place, file in enumerate(files)]


def glanced(file: Sent, shelf: Shelf) -> Arrival | None:
    """One of them, its bytes on the shelf; None where it has to be done by itself."""
    try:
        said = words(**file.said)
        with Source(file.data, file_name(file.name)) as opened:
            prepared = prepare_opened(opened, beside=None)
            shelf.put(opened, prepared.sha256)
    except Exception:  # noqa: BLE001  # a fault in one file is not the others'
        return None
    return Arrival(prepared=prepared, **said)


def put_together(db: Database, blobs: Blobs, arrivals: dict[int, Arrival]) -> dict[int, Ingested]:
    """The rows of those whose bytes nobody has removed since, and that are not blocked."""
    here = {place: arrival for place, arrival in arrivals.items() if blobs.has(arrival.prepared.sha256)}
    came = zip(here.items(), arrive(db, here.values(), now()), strict=True)
    return {place: ingested(db, each, arrival.prepared) for (place, arrival), each in came if isinstance(each, Arrived)}


def alone(store: Store, blobs: Blobs, file: Sent) -> Ingested | Exception:
    """One by itself."""
    try:
        return ingest(store, blobs, file.data, name=file.name, **file.said)
    except Exception as exc:  # noqa: BLE001  # it is raised where the file came from
        return exc


def take(store: Store, opened: Source, writer: Writer, said: dict[str, Any], beside: str | None) -> Ingested:
    """`ingest` of an open source into a writer, which may hold its bytes already."""
    try:
        found = prepare_opened(opened, beside=beside)
        fill(writer, opened, found.sha256)
        arrival = Arrival(prepared=found, **said)
        return store.write(partial(commit, writer=writer, arrival=arrival))
    except RegistryError as exc:
        if isinstance(exc, Blocked):
            write_down(store, opened, exc, said["origin"])
        if writer.sha256 and not isinstance(exc, Busy):  # who waits once need not wait twice: the next start sweeps
            with contextlib.suppress(RegistryError):
                drop(store, writer.blobs, [writer.sha256])
        raise
    except EmbconvError as exc:
        write_down(store, opened, exc, said["origin"])
        raise
    except RecursionError as exc:
        deep = EmbconvError(f"{quoted(opened.name)} is nested too deeply.")
        write_down(store, opened, deep, said["origin"])
        raise deep from exc


def fill(writer: Writer, opened: Source, sha256: str) -> None:
    """The bytes on the disk; UnreadableFile where they are not those that were looked at."""
    for start in range(writer.size, opened.size, PIECE):
        writer.write(opened.read(start, min(PIECE, opened.size - start)))
    if writer.digest() != sha256:
        raise UnreadableFile(opened.name, "it changed while it was read")
    writer.keep()


def write_down(store: Store, opened: Source, exc: EmbconvError, origin: Origin | None) -> None:
    """Record a refusal."""
    refusal = refusal_of(opened, exc, origin.source if origin else "")
    store.write(lambda db: refuse(db, refusal))


def commit(db: Database, writer: Writer, arrival: Arrival) -> Ingested:
    """The rows of one file, within a write, in which nobody else removes its bytes."""
    writer.again()
    (arrived,) = arrive(db, [arrival], now())
    if isinstance(arrived, Blocked):
        raise arrived
    return ingested(db, arrived, arrival.prepared)


def ingested(db: Database, arrived: Arrived, prepared: Prepared) -> Ingested:
    """The answer."""
    return Ingested(
        status="added" if arrived.added else "known",
        embeddings=tuple(Raw(document(db, id_)) for id_ in dict.fromkeys(arrived.ids)),
        file=file_of(db, prepared.sha256),
        new_file=arrived.new_file,
    )


def take_away(store: Store, blobs: Blobs, id: int, *, why: str = "", block: bool = False) -> None:  # noqa: A002  # it is called so everywhere
    """Remove an embedding: first the rows, then, once that is on the disk, the bytes that nothing names any more."""
    drop(store, blobs, store.write(lambda db: remove(db, id, why=why, block=block)))


def drop(store: Store, blobs: Blobs, candidates: list[str]) -> int:
    """Remove bytes within a write that has made sure that no row names them; how many. Every ingest looks within a write of its own."""

    def work(db: Database) -> int:
        lost = unnamed(db, candidates)
        for sha256 in lost:
            blobs.remove(sha256)
        return len(lost)

    return store.write(work) if candidates else 0


def sweep(store: Store, blobs: Blobs) -> int:
    """What a crash may have left: temporary files of dead writers and bytes that no row names; how many. For the start.

    Bytes that lay there before their database was made are left alone: only verify with repair takes those away.
    """
    swept = blobs.sweep()
    if has_foreign_bytes(store.read):
        return swept
    batch: list[str] = []
    for sha256 in blobs.all():
        batch.append(sha256)
        if len(batch) == BATCH:
            swept += drop(store, blobs, unnamed(store.read, batch))
            batch = []
    return swept + drop(store, blobs, unnamed(store.read, batch))
