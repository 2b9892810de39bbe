"""What a sync tells while it runs and when it ends, and how it is stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from .errors import Stopped

OUTCOMES = ("added", "changed", "unchanged", "gone", "failed", "waiting")
SHOWN = 1_000  # failures that are listed


class Trouble(Struct, frozen=True, kw_only=True):
    """One file, or one model, that something is wrong with."""

    ref: str                # civitai:model@version, or what else is known
    name: str
    code: str
    says: str
    hint: str = ""


class Progress(Struct, frozen=True, kw_only=True):
    """How far a sync has come. `phase`: listing, filling, fetching or done; `total` is how many files are to be fetched."""

    phase: str
    pages: int = 0
    models: int = 0
    done: int = 0
    total: int = 0
    requests: int = 0
    paused: bool = False


class SyncReport(Struct, frozen=True, kw_only=True):
    """What a sync came to, in files. `skipped` by reason; `waiting` are those that a limit or the end of the run left for the next.

    `stopped`: why it ended before its end, where it did.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    skipped: dict[str, int] = {}
    failed: int = 0
    waiting: int = 0
    models: int = 0
    requests: int = 0
    dry_run: bool = False
    troubles: tuple[Trouble, ...] = ()
    stopped: Trouble | None = None


class Control:
    """By which a run is paused, resumed and stopped from another thread."""

    def __init__(self) -> None:
        self._stop, self._go = threading.Event(), threading.Event()
        self._go.set()

    def stop(self) -> None:
        self._stop.set()
        self._go.set()

    def pause(self) -> None:
        self._go.clear()

    def resume(self) -> None:
        self._go.set()

    @property
    def paused(self) -> bool:
        return not self._go.is_set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Wait while it is paused; Stopped when it is stopped."""
        self._go.wait()
        if self._stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, no longer than until somebody stops the run."""
        if self._stop.wait(seconds):
            raise Stopped


class Tally:
    """What became of each file of a run, the last word counts; and what is told of it."""

    def __init__(self, heard: Callable[[Progress], None]) -> None:
        self.outcomes: dict[int, str] = {}
        self.troubles: list[Trouble] = []
        self.models: set[int] = set()
        self.stopped: Trouble | None = None
        self.phase, self.pages, self.done, self.total = "listing", 0, 0, 0
        self._heard = heard

    def trouble(self, ref: str, name: str, code: str, says: str, hint: str = "") -> None:
        """Something is wrong with one of them."""
        self.troubles.append(Trouble(ref=ref, name=name, code=code, says=says, hint=hint))

    def tell(self, requests: int) -> None:
        """Say how far it is."""
        models = len(self.models)
        self._heard(Progress(phase=self.phase, pages=self.pages, models=models, done=self.done, total=self.total, requests=requests))

    def report(self, requests: int, *, dry_run: bool) -> SyncReport:
        """What it came to."""
        counts = Counter(self.outcomes.values())
        skipped = {word.removeprefix("skipped:"): number for word, number in sorted(counts.items()) if word.startswith("skipped:")}
        odd = sum(1 for each in self.troubles if each.code == "civitai_unclear")
        return SyncReport(
            **{word: counts[word] for word in OUTCOMES if word != "failed"}, failed=counts["failed"] + odd, skipped=skipped,
            models=len(self.models), requests=requests, dry_run=dry_run, troubles=tuple(self.troubles[:SHOWN]), stopped=self.stopped,
        )  # fmt: skip
