"""Group commit: many threads' writes in one transaction, each undone by itself where it fails, all durable before any returns."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import Busy
from .meanings import meaning_of

if TYPE_CHECKING:
    from sqlite_utils import Database

T = TypeVar("T")
MOST = 256  # writes of one transaction
ASK = 2     # milliseconds


class Job(Generic[T]):
    """One write: what is to be done, and what came of it."""

    def __init__(self, work: Callable[[Database], T]) -> None:
        self.work = work
        self.ready = threading.Event()
        self.leads = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # no error, so `work` has returned it


class Group:
    """The queue of one database. The first thread that comes leads: it runs what has queued up, commits once, wakes all.

    No thread is kept for it, so nothing needs to be started, and a process that ends leaves nothing behind.
    """

    def __init__(self, db: Database, busy_seconds: float) -> None:
        self._db, self._busy_seconds = db, busy_seconds
        self._lock = threading.Lock()
        self._queue: deque[Job[Any]] = deque()
        self._led_by: int | None = None  # the thread that leads

    def write(self, work: Callable[[Database], T]) -> T:
        job = Job(work)
        with self._lock:
            if self._led_by == threading.get_ident():
                raise RuntimeError("a write within a write would wait for itself")
            self._queue.append(job)
            if self._led_by is None:
                self._led_by, job.leads = threading.get_ident(), True
        if not job.leads:
            job.ready.wait()
        if job.leads:
            with self._lock:
                self._led_by = threading.get_ident()
            self._lead(job)
        return job.outcome()

    def _lead(self, mine: Job[Any]) -> None:
        """Run one transaction with my job in it, then hand over to the first of those who came meanwhile."""
        with self._lock:
            jobs = [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]
        try:
            run(self._db, jobs, self._busy_seconds)
        except BaseException:  # Ctrl-C: nothing of this group was committed, so the others' jobs wait for the next leader
            with self._lock:
                self._queue.extendleft(job for job in reversed(jobs) if job is not mine)
            jobs = []
            raise
        finally:
            with self._lock:
                following = self._queue[0] if self._queue else None
                self._led_by = None if following is None else -1
            if following is not None:
                following.leads = True
                following.ready.set()
            for job in jobs:
                if job is not mine:
                    job.ready.set()


def run(db: Database, jobs: list[Job[Any]], busy_seconds: float) -> None:
    """All jobs in one transaction; an error of one undoes that one, an error of the database fails them all."""
    try:
        begin(db, busy_seconds)
        for job in jobs:
            attempt(db, job)
        db.conn.execute("COMMIT")
    except sqlite3.Error as exc:
        rolled_back(db)
        for job in jobs:
            job.error = job.error or lost(exc)
    except BaseException:
        rolled_back(db)
        raise


def begin(db: Database, busy_seconds: float) -> None:
    """Begin to write, asking every few milliseconds: SQLite asks ten times a second, and between two busy processes a third starves."""
    until = time.monotonic() + busy_seconds
    db.conn.execute(f"PRAGMA busy_timeout = {ASK}")
    try:
        while True:
            try:
                db.conn.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as exc:
                if not isinstance(meaning_of(exc), Busy) or time.monotonic() > until:
                    raise
    finally:
        db.conn.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")


def attempt(db: Database, job: Job[Any]) -> None:
    """One job in a savepoint of its own. Errors of the disk are raised: what they did to the transaction is not ours to guess."""
    try:
        db.conn.execute("SAVEPOINT job")
        job.result = job.work(db)
        db.conn.execute("RELEASE job")
    except sqlite3.Error as exc:
        if meaning_of(exc) is not None or not db.conn.in_transaction:
            raise
        undo(db, job, exc)
    except Exception as exc:  # it is raised again in the thread that brought the job
        if not db.conn.in_transaction:
            raise
        undo(db, job, exc)


def undo(db: Database, job: Job[Any], error: Exception) -> None:
    """Nothing of this job stays."""
    db.conn.execute("ROLLBACK TO job")
    db.conn.execute("RELEASE job")
    job.error = error


def rolled_back(db: Database) -> None:
    """Nothing of this transaction stays."""
    if db.conn.in_transaction:
        try:
            db.conn.execute("ROLLBACK")
        except sqlite3.Error:
            db.conn.interrupt()


def lost(cause: sqlite3.Error) -> BaseException:
    """A new error for each thread, as tracebacks grow on those that are raised twice."""
    error: BaseException = meaning_of(cause) or type(cause)(*cause.args)
    error.__cause__ = cause
    return error
