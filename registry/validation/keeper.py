"""Verdicts are put on the disk by threads while the next are made; those that wait for the disk together share one commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ..blobs import Blobs
from ..errors import Busy, Gone, UnknownReference
from ..store import Store
from ..store.leases import Lease
from ..validations import asked_in, keep
from ..verdicts import Judged
from .hands import Kept

THREADS = 4
WAITING = 32  # verdicts, after which the next has to wait
TRIES = 5     # each waits as long as the store does for other writers


class Keeper:
    """Close it. `done` hears in the caller's thread what became of each, in the order in which they came."""

    def __init__(self, store: Store, blobs: Blobs, done: Callable[[Lease, Kept], None]) -> None:
        self._store, self._blobs, self._done = store, blobs, done
        self._pool = ThreadPoolExecutor(THREADS, "embconv-keep")
        self._waiting: deque[tuple[Lease, Future[Kept]]] = deque()

    def put(self, held: Lease, judged: Judged) -> None:
        """Keep a verdict soon."""
        self._waiting.append((held, self._pool.submit(self._keep, held, judged)))
        while self._waiting and (self._waiting[0][1].done() or len(self._waiting) > WAITING):
            self._settle()

    def flush(self) -> None:
        """Wait until all are kept. Raises what the disk does."""
        while self._waiting:
            self._settle()

    def _settle(self) -> None:
        held, future = self._waiting[0]
        kept = future.result()  # Ctrl-C while waiting leaves it in the row
        self._waiting.popleft()
        self._done(held, kept)

    def _keep(self, held: Lease, judged: Judged) -> Kept:
        for again in reversed(range(TRIES)):
            try:
                return keep(self._store, self._blobs, asked_in(held.ref, held.input), judged, held)
            except (Gone, UnknownReference) as exc:
                return exc
            except Busy:
                if not again:
                    raise
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True)
