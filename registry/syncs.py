"""Syncs as work that is recorded: one of a source at a time, in this process or another, with what each came to."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from embconv.converters.locks import lock

from .blobs import Blobs, trouble
from .civitai.choose import Options, checked
from .civitai.client import Client
from .civitai.errors import SyncRuns, UnknownSync
from .civitai.run import Control, Progress, SyncReport, Trouble
from .civitai.site import Site
from .civitai.sync import sync
from .home import sync_lock
from .model import Job
from .store import Store
from .store.jobs import add_job, end_job, interrupt_jobs, job_of, jobs
from .times import now

KIND = "sync"
COULD_NOT = frozenset({"region_blocked", "bad_token", "civitai_unreachable", "civitai_busy", "civitai_unclear", "address_refused"})
Heard = Callable[[Progress], None]
Work = Callable[[Control, Heard], SyncReport]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A sync: when it began, what of, how it stands, and what it came to or how far it is."""

    id: int
    source: str
    state: str
    began: str
    changed: str
    options: dict[str, Any]
    progress: Progress | None = None
    report: SyncReport | None = None


@contextlib.contextmanager
def alone(home: str, source: str) -> Iterator[None]:
    """Be the only one that syncs a source into a registry; SyncRuns where somebody does."""
    try:
        os.makedirs(home, exist_ok=True)
        handle = os.open(sync_lock(home, source), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as exc:
        raise trouble(exc) from exc
    try:
        if not lock(handle):
            raise SyncRuns(source)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def recorded(store: Store, source: str, options: Any) -> Iterator[tuple[int, Callable[[SyncReport], None]]]:
    """A sync, alone and on record: its number, and what to tell when it ends."""
    with alone(store.home, source):
        store.write(lambda db: interrupt_jobs(db, KIND, source, now()))
        number = store.write(lambda db: add_job(db, KIND, source, options, now()))
        ends: list[SyncReport] = []
        try:
            yield number, ends.append
        finally:
            report = ends[-1] if ends else SyncReport(stopped=Trouble(ref=source, name="", code="internal_error", says="It broke off."))
            store.write(lambda db: end_job(db, number, state_of(report), report, now()))


def state_of(report: SyncReport) -> str:
    """How it ended."""
    if report.stopped is None:
        return "done"
    return "stopped" if report.stopped.code == "stopped" else "failed"


def exit_code(report: SyncReport) -> int:
    """0 with nothing but skips, 1 where something failed, 2 where nothing could run, 130 where somebody stopped it."""
    if report.stopped is not None and report.stopped.code == "stopped":
        return 130
    if report.stopped is not None and report.stopped.code in COULD_NOT and not (report.models or report.added or report.changed):
        return 2
    return 1 if report.stopped is not None or report.failed else 0


def civitai(store: Store, blobs: Blobs, site: Site, options: Options, *, limit: int) -> Work:
    """A sync of Civitai, ready to run. BadParameter for options without a meaning."""
    checked(options)

    def work(control: Control, heard: Heard) -> SyncReport:
        with Client(site, rate=options.rate, sleep=control.sleep) as client:
            return sync(store, blobs, client, options, limit=limit, control=control, heard=heard)

    return work


class Running:
    """A sync in a thread of this process."""

    def __init__(self, number: int, control: Control) -> None:
        self.number, self.control = number, control
        self.progress = Progress(phase="listing")
        self.ended = threading.Event()


class Syncs:
    """The syncs of a server: begun by one request, watched and stopped by others."""

    def __init__(self, store: Store, failed: Callable[[BaseException], None]) -> None:
        self._store, self._failed = store, failed
        self._running: dict[int, Running] = {}
        self._threads: list[threading.Thread] = []

    def start(self, source: str, options: Any, work: Work) -> Recorded:
        """Begin one; SyncRuns where one runs."""
        ready: list[Running | BaseException] = []
        begun = threading.Event()
        thread = threading.Thread(target=self._run, args=(source, options, work, ready, begun), name="embconv-sync", daemon=True)
        thread.start()
        begun.wait()
        if isinstance(ready[0], BaseException):
            raise ready[0]
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        return self.one(ready[0].number)

    def _run(self, source: str, options: Any, work: Work, ready: list[Running | BaseException], begun: threading.Event) -> None:
        try:
            with recorded(self._store, source, options) as (number, end):
                mine = Running(number, Control())
                self._running[number] = mine
                ready.append(mine)
                begun.set()

                def heard(progress: Progress) -> None:
                    mine.progress = progress

                end(work(mine.control, heard))
        except BaseException as exc:  # noqa: BLE001  # a thread has nobody to raise it to
            (self._failed if begun.is_set() else ready.append)(exc)
        finally:
            begun.set()
            for running in ready:
                if isinstance(running, Running):
                    self._running.pop(running.number, None)
                    running.ended.set()

    def running(self, number: int) -> Running | None:
        """One that runs in this process."""
        return self._running.get(number)

    def control(self, number: int) -> Control:
        """What stops one that runs here; UnknownSync where none does."""
        found = self._running.get(number)
        if found is None:
            raise UnknownSync(str(number))
        return found.control

    def one(self, number: int) -> Recorded:
        """One by its number; UnknownSync."""
        found = job_of(self._store.read, KIND, number)
        if found is None:
            raise UnknownSync(str(number))
        return self._shown(found)

    def some(self, limit: int, before: int | None) -> list[Recorded]:
        """The latest."""
        return [self._shown(each) for each in jobs(self._store.read, KIND, limit, before)]

    def _shown(self, job: Job) -> Recorded:
        running = self._running.get(job.id)
        state = "paused" if running and running.control.paused else job.state
        report = msgspec.convert(job.result, SyncReport) if job.result else None
        return Recorded(id=job.id, source=job.ref, state=state, began=job.created, changed=job.changed, options=job.input or {},
                        progress=running.progress if running else None, report=report)  # fmt: skip

    def close(self) -> None:
        """Stop all of them, and wait until what they have is on the disk."""
        for running in list(self._running.values()):
            running.control.stop()
        for thread in self._threads:
            thread.join()
