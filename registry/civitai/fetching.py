"""Many files fetched, a few at once, and taken in together as they come: what is on the disk is never fetched again."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from embconv.converters import EmbconvError

from ..blobs import Blobs
from ..errors import RegistryError, StorageFailed, StorageFull
from ..model import Addition, Offered
from ..named import Named, ingest_named, start_helper
from ..spool import Spool
from ..store import Store
from ..store.civitai import SOURCE, line, settle
from ..store.offers import awaited, claims_of
from ..times import now, stamp
from .client import Client
from .downloads import Sink, Wanted, fetch
from .errors import CivitaiBusy, CivitaiUnreachable, FetchFailed, NotTaken, RegionBlocked, Stopped
from .run import Control

if TYPE_CHECKING:
    from sqlite_utils import Database

TOGETHER = 128     # files that are taken in with one commit
MOMENT = 0.2       # seconds that the first of them waits for others
# After these no other file would come either.
ENDING = (CivitaiBusy, CivitaiUnreachable, RegionBlocked, Stopped, StorageFull, StorageFailed)
IN_A_ROW = 8  # failures after which Civitai is taken to be out of order
A_DAY = timedelta(days=1)
MANY, QUICK = 200, 50.0  # files, and requests a second, from which on a second process is worth its start


class Fetched(Struct):
    """One file: where its bytes are, or why there are none."""

    offered: Offered
    path: str = ""
    sha256: str = ""
    error: Exception | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one file: its new state, and the error that says why it is not held."""

    offered: Offered
    state: str
    error: EmbconvError | None = None


def fetch_all(
    client: Client, store: Store, blobs: Blobs, wanted: Sequence[Offered], *, threads: int, limit: int, control: Control,
    done: Callable[[Outcome], None],
) -> RegistryError | None:  # fmt: skip
    """Fetch files and take them in; `done` hears of each once it is safe. What ended it before its end, if anything did."""
    spool = Spool(store.home)
    spool.drop_all(spool.numbers - awaited(store.read, spool.numbers))
    ended: RegistryError | None = None
    row = 0
    with entering(store.home, many=len(wanted) >= MANY and not 0 < client.pace.rate < QUICK) as enter:
        crew = Crew(client, blobs, spool, wanted, threads=threads, limit=limit, control=control)
        for group in crew.groups():
            for outcome in take_in(store, spool, enter, group):
                done(outcome)
                row = row + 1 if isinstance(outcome.error, FetchFailed) else 0
                if isinstance(outcome.error, ENDING) and not isinstance(ended, RegionBlocked):
                    ended = outcome.error
            if row >= IN_A_ROW and ended is None:
                ended = CivitaiUnreachable(client.site.host, f"{row} files in a row could not be fetched")
            if ended:
                crew.end()
    return ended


Enter = Callable[[Sequence[Named]], list[Addition]]


@contextlib.contextmanager
def entering(home: str, *, many: bool) -> Iterator[Enter]:
    """Files are taken in here, or where there are many in another process, so that this one has time to fetch."""
    if not many:
        yield partial(ingest_named, home=home)
        return
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=start_helper) as pool:
        pool.submit(ingest_named, [], home)  # so that it starts now
        yield lambda files: pool.submit(ingest_named, files, home).result()


class Crew:
    """Threads that fetch, and the queue of what they bring."""

    def __init__(
        self, client: Client, blobs: Blobs, spool: Spool, wanted: Iterable[Offered], *, threads: int, limit: int, control: Control
    ) -> None:
        self._client, self._blobs, self._spool, self._limit, self._control = client, blobs, spool, limit, control
        self._wanted, self._lock, self._over = iter(wanted), threading.Lock(), threading.Event()
        self._brought: queue.Queue[Fetched | None] = queue.Queue(maxsize=TOGETHER)
        self._threads = [threading.Thread(target=self._work, name="embconv-fetch", daemon=True) for _ in range(threads)]

    def groups(self) -> Iterator[list[Fetched]]:
        """What has come, together."""
        for thread in self._threads:
            thread.start()
        left = len(self._threads)
        while left:
            found = [self._brought.get()]
            until = time.monotonic() + MOMENT
            while len(found) < TOGETHER and left > found.count(None):
                try:
                    found.append(self._brought.get(timeout=max(0, until - time.monotonic())))
                except queue.Empty:
                    break
            left -= found.count(None)
            if group := [each for each in found if each is not None]:
                yield group

    def end(self) -> None:
        """Begin no other file."""
        self._over.set()

    def _next(self) -> Offered | None:
        with self._lock:
            return None if self._over.is_set() else next(self._wanted, None)

    def _work(self) -> None:
        try:
            while (offered := self._next()) is not None:
                self._brought.put(self._one(offered))
        finally:
            self._brought.put(None)

    def _one(self, offered: Offered) -> Fetched:
        offer = offered.offer
        if (path := self._spool.take(offer.id, offer.sha256)) is not None:
            return Fetched(offered, path, path.rpartition("-")[2])
        selector = f"?fileId={offer.id}" if offer.id > 0 else ""
        wanted = Wanted(path=f"/api/download/models/{offer.version_id}{selector}", sha256=offer.sha256, size=offer.size, limit=self._limit)
        sink = Sink(self._blobs)
        try:
            self._control.check()
            fetch(self._client, wanted, sink)
            return Fetched(offered, self._wait(offer.id, sink), sink.sha256)
        except Exception as exc:  # noqa: BLE001  # it is told where the files are counted
            return Fetched(offered, error=exc)
        finally:
            sink.close()

    def _wait(self, number: int, sink: Sink) -> str:
        """Let what came wait on the disk, so that no kill makes us fetch it again: where."""
        if sink.writer is None:
            return self._spool.put(number, sink.sha256, sink.data)
        return self._spool.adopt(number, sink.sha256, sink.writer.path)


def take_in(store: Store, spool: Spool, enter: Enter, group: list[Fetched]) -> list[Outcome]:
    """Put what came into the registry with one commit, and note what became of each."""
    came = [each for each in group if each.error is None]
    claims = claims_of(store.read, [each.offered.offer.id for each in came])
    files = [named(each, claims.get(each.offered.offer.id, {})) for each in came]
    additions = {each.path: each for each in enter(files)} if files else {}
    outcomes = [outcome(each, additions.get(each.path)) for each in group]
    keep(store, [(each, fetched.sha256) for each, fetched in zip(outcomes, group, strict=True)])
    for each in came:
        spool.drop(each.path)
    return outcomes


def named(each: Fetched, claims: dict[str, Any]) -> Named:
    """A file, as it is taken in."""
    offer = each.offered.offer
    known = each.sha256 == offer.sha256  # then its arrival is told of it anyway
    return Named(path=each.path, name=offer.name, source=SOURCE, origin=None if known else line(offer, claims, now(), got=each.sha256))


def outcome(each: Fetched, addition: Addition | None) -> Outcome:
    """What became of one file, by what came of it. Mistakes of ours are raised."""
    made = partial(Outcome, offered=each.offered)
    if addition is not None:
        return entered(made, each.offered, addition)
    if isinstance(each.error, ENDING):
        return made(state="waiting", error=each.error)
    if isinstance(each.error, NotTaken):
        return made(state="skipped", error=each.error)
    if isinstance(each.error, RegistryError):
        return made(state="failed", error=each.error)
    raise each.error or AssertionError("nothing came of a file")


def entered(made: Callable[..., Outcome], offered: Offered, addition: Addition) -> Outcome:
    """What became of one file that was looked at."""
    error = addition.error
    if error is None and addition.status in ("added", "known"):
        return made(state="held" if offered.offer.sha256 else "unverified")
    if error is None:
        return made(state="skipped", error=NotTaken("not_an_embedding", "It is a picture without an embedding."))
    if addition.status == "failed":
        return made(state="waiting", error=StorageFailed(error.says))
    return made(state="skipped", error=NotTaken("taken_down" if error.code == "blocked" else "not_an_embedding", error.says, error.hint))


def keep(store: Store, outcomes: list[tuple[Outcome, str]]) -> None:
    """Note what became of files. Of those that are what Civitai says, their arrival has been noted with them."""
    rest = [(each, sha256) for each, sha256 in outcomes if not (each.state == "held" and each.offered.offer.sha256 == sha256)]

    def work(db: Database) -> None:
        for each, sha256 in rest:
            keep_one(db, each, sha256)

    if rest:
        store.write(work)


def keep_one(db: Database, each: Outcome, sha256: str) -> None:
    """Note what became of one file."""
    id_, error = each.offered.offer.id, each.error
    if error is None:
        settle(db, id_, each.state, got=sha256)
    elif each.state == "skipped" and isinstance(error, NotTaken):
        again = stamp(datetime.now(UTC) + A_DAY) if error.again == "day" else error.again
        settle(db, id_, "skipped", reason=error.reason, says=error.says, again=again)
    elif each.state == "failed":
        settle(db, id_, "failed", says=error.says)
