"""The jobs in one worker's hands: leased, renewed while it works, ended, or given back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from embconv.converters import EmbconvError
from embconv.converters.convert import Failure
from embconv.converters.display import printable

from ..blobs import Blobs
from ..errors import Busy, Gone, UnknownReference
from ..store import Store
from ..store.leases import Group, Lease, broken_off, finish, finish_waiting, give_back, groups, lapsed, lease, renew, running
from ..times import now
from ..validations import KIND, asked_in, keep
from ..verdicts import Judged, KeptVerdict, Verdict, protocol_summary
from .presence import Presence

if TYPE_CHECKING:
    from sqlite_utils import Database

LEASE = 120.0     # seconds after which others may have what was not renewed
RENEWED = 20.0    # seconds between renewals
PATIENCE = 120.0  # seconds that other checkpoints' jobs wait for the loaded one, and that one then stays at the least

Kept = KeptVerdict | EmbconvError | None  # what became of a verdict; None: somebody else has the job by now


class Hands:
    """Those of the worker `presence`, in jobs `only`, where they are given."""

    def __init__(self, store: Store, blobs: Blobs, presence: Presence, only: Collection[int] | None = None) -> None:
        self.store, self.blobs, self.presence, self.only = store, blobs, presence, only
        self.ended: Callable[[Lease, Kept], None] = lambda held, kept: None  # hears of those that end because they broke off

    def take(self, loaded: str, since: str, most: int, *, without: Collection[str] = ()) -> list[Lease] | None:
        """The next jobs, as many of one batch as may be done together; `loaded` is a checkpoint, `since` when. None: try again later.

        Jobs for the checkpoints `without` are left to others.
        """

        def waiting(db: Database) -> list[Group]:
            return [group for group in groups(db, KIND, self.only) if group.batch.partition(":")[0] not in without]

        def work(db: Database) -> list[Lease]:
            group = chosen(waiting(db), loaded, since, now(-PATIENCE))
            return lease(db, group, KIND, self.presence.name, most, at=now(), until=now(LEASE), only=self.only) if group else []

        with contextlib.suppress(Busy):
            self.reclaim()
            return self.store.write(work) if waiting(self.store.read) else []
        return None

    def others(self) -> bool:
        """Has somebody else jobs that we wait for?"""
        return any(name != self.presence.name for name in running(self.store.read, KIND, self.only))

    def reclaim(self) -> None:
        """Let jobs of dead workers, and of those that did not renew them in time, be done by others."""
        dead = self.presence.dead(running(self.store.read, KIND))
        for held in lapsed(self.store.read, KIND, dead, now()):
            self.broke(held, "its process ended")

    def broke(self, held: Sequence[Lease], why: str) -> None:
        """Their worker broke off. The one that was alone, and not for the first time, gets a verdict that says so."""
        alone = self.store.write(partial(broken_off, held=held, at=now()))
        if alone is None:
            return
        asked = asked_in(alone.ref, alone.input)
        because = f"Rendering it broke off twice while it was alone: {printable(why, 300)}."
        verdict = Verdict(state="error", because=because, numbers={}, checkpoint=asked.summary, protocol=protocol_summary(asked.protocol))
        try:
            kept: Kept = keep(self.store, self.blobs, asked, Judged(digest=alone.ref, verdict=verdict), alone)
        except (Gone, UnknownReference) as exc:
            self.fail(alone, exc)
            kept = exc
        self.ended(alone, kept)

    def fail(self, held: Lease, error: EmbconvError) -> None:
        """End a job without a verdict."""
        self.store.write(partial(finish, held=held, state="failed", result=failure_of(error), at=now()))

    def fail_all(self, held: Sequence[Lease], fingerprint: str, error: EmbconvError) -> list[str]:
        """End these and all that wait for the same checkpoint; what they were of."""

        def work(db: Database) -> list[str]:
            mine = [each.ref for each in held if finish(db, each, "failed", failure_of(error), now())]
            return [*mine, *finish_waiting(db, KIND, f"{fingerprint}:", "failed", failure_of(error), now())]

        return self.store.write(work)

    def back(self, only: Collection[int] | None = None) -> None:
        """Give back what is still held, or some of it."""
        self.store.write(partial(give_back, kind=KIND, by=self.presence.name, at=now(), only=only))

    @contextlib.contextmanager
    def renewing(self, every: float = RENEWED) -> Iterator[None]:
        """Hold what is held for as long as this runs."""
        done = threading.Event()

        def work() -> None:
            while not done.wait(every):
                with contextlib.suppress(EmbconvError):  # the disk may be busy; the lease outlasts some renewals that fail
                    self.store.write(partial(renew, kind=KIND, by=self.presence.name, until=now(LEASE)))

        thread = threading.Thread(target=work, name="embconv-renew", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def failure_of(error: EmbconvError) -> Failure:
    """An error as data."""
    return Failure(error.code, error.says, error.hint)


def chosen(found: Sequence[Group], loaded: str, since: str, before: str) -> Group | None:
    """The group that is next: of the loaded checkpoint while it has any, unless others were asked for `before` a moment and it came then.

    Those that no worker broke off with come first, then the largest crowds: the one at fault keeps nobody waiting.
    """
    mine = [each for each in found if each.batch.startswith(f"{loaded}:")]
    others = [each for each in found if each not in mine]
    hungry = [each for each in others if each.asked < before] if since < before else []
    return min(hungry or mine or others, key=lambda each: (each.crowd > 0, -each.crowd, each.first), default=None)
