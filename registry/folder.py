"""A folder on this machine, mirrored: all of its embeddings once, then what changed. What vanishes there stays, and is said to be gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.convert import Failure
from embconv.converters.hashes import sha256_of
from embconv.converters.limits import HASHED_SOURCE
from embconv.converters.source import Source

from .blobs import Blobs
from .civitai.local import Local, look
from .civitai.run import Control, Progress, SyncReport, Tally, Trouble
from .errors import Gone, RegistryError, UnknownFile
from .folder_rows import KEPT, PICTURE, SKIPPED, SOURCE, Arrival, Kept, Noted, beside, keep, lose, place, says_new, shelve
from .folder_scan import Scan, There, scan
from .ingest import drop
from .many import ingest_many
from .model import Addition
from .shelf import Shelf
from .store import Store, counts, file_of
from .store.civitai import recall_all
from .times import now

CHUNK = 256  # files whose sidecars and pictures are taken in together
SILENT = ("unchanged", "picture")
UNCOUNTED = ("moved", "note", "picture")
REMOVED = Failure("gone", "It was removed here.", "To have it again: embconv add")
NO_TEXT = Failure("bad_name", "Its name is no UTF-8.", "Rename it.")


class News(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one file that is not as it was. `outcome`: added, changed, gone, moved (`was`), skipped, failed or note."""

    outcome: str
    path: str
    says: str = ""
    was: str = ""
    digests: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    error: Failure | None = None


def sync_folder(
    store: Store, blobs: Blobs, folder: str, *, dry_run: bool = False, control: Control | None = None,
    done: Callable[[News], None] = lambda _: None, heard: Callable[[Progress], None] = lambda _: None,
) -> SyncReport:  # fmt: skip
    """Mirror a folder into a registry; `done` hears of each file that is new or otherwise than before, once that is safe.

    Nothing that lies in the folder stops it. The report says what else did: a full disk, or somebody.
    """
    tally = Tally(heard)
    mirror = Mirror(store, blobs, os.path.abspath(folder), control or Control(), tally, done)
    try:
        mirror.go(dry_run=dry_run)
    except RegistryError as exc:
        tally.stopped = Trouble(ref=folder, name="", code=exc.code, says=exc.says, hint=exc.hint)
    tally.phase = "done"
    tally.tell(0)
    return tally.report(0, dry_run=dry_run)


class Mirror:
    """One pass over a folder: what it works with, what was noted of each path before, and what it has found."""

    def __init__(self, store: Store, blobs: Blobs, root: str, control: Control, tally: Tally, done: Callable[[News], None]) -> None:
        self.store, self.blobs, self.root, self.control, self.tally, self.done = store, blobs, root, control, tally, done
        self.source = f"{SOURCE}:{root}"  # under which the store keeps what is noted
        noted = recall_all(store.read, self.source)
        self.before = {key: msgspec.convert(value, Noted) for key, value in noted.items()}
        self.lost: dict[str, Noted] = {}
        self.movable: dict[str, list[str]] = {}  # sha256 -> lost paths
        self.moved: dict[str, str] = {}   # new path -> where it was
        self.taken: set[str] = set()      # paths that hold an embedding
        self.pictures: set[str] = set()   # paths that lie as a preview beside another

    def go(self, *, dry_run: bool) -> None:
        """Look at what changed, then at what is missing."""
        seen = scan(self.root, but=self.store.home, before=time.time_ns())
        self.lost = {key: noted for key, noted in self.before.items() if key not in seen.files and not seen.hides(self.path(key))}
        for key, noted in self.lost.items():
            if noted.sha256:
                self.movable.setdefault(noted.sha256, []).append(key)
        self.taken = {self.path(key) for key, noted in self.before.items() if noted.kind == KEPT}
        self.pictures = {path for there in seen.files.values() for path in there.shown}
        self.say_troubles(seen)
        wanted = [there for there in seen.files.values() if not self.as_before(there)]
        self.tally.phase, self.tally.total = "fetching", len(wanted)
        self.tally.tell(0)
        self.control.check()
        if dry_run:
            self.foresee(wanted)
        else:
            self.take(wanted)
        self.miss(dry_run=dry_run)

    def path(self, key: str) -> str:
        return os.path.join(self.root, *key.split("/"))

    def key(self, path: str) -> str:
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def tell(
        self, outcome: str, key: str, *, error: Failure | None = None, says: str = "", was: str = "", of: Addition | None = None
    ) -> None:
        """Count what became of a file, and say it where it is news."""
        word = outcome.partition(":")[0]
        if word not in UNCOUNTED:
            self.tally.outcomes[len(self.tally.outcomes)] = outcome
        if word == "failed" and error:
            self.tally.trouble(key, os.path.basename(key), error.code, error.says, error.hint)
        if word not in SILENT:
            digests, triggers = (of.digests, of.triggers) if of else ((), ())
            self.done(News(outcome=word, path=key, says=says, was=was, digests=digests, triggers=triggers, error=error))

    def say_troubles(self, seen: Scan) -> None:
        """Folders nobody may read, and names that cannot be written down."""
        for outcome in seen.trouble:
            self.tell("failed", self.key(outcome.path), error=outcome.error)
        for path in seen.odd:
            self.tell("skipped:bad_name", self.key(path), error=NO_TEXT)

    def as_before(self, there: There) -> bool:
        """Is it as it was noted? Then that is counted, and nothing said."""
        before = self.before.get(there.key)
        if before is None or not there.mark or before.mark != there.mark:
            return False
        if before.kind != PICTURE:
            self.tally.outcomes[len(self.tally.outcomes)] = "unchanged" if before.kind == KEPT else f"skipped:{before.reason}"
        return True

    # What is new, or otherwise than before

    def take(self, wanted: list[There]) -> None:
        """Take in what changed as `add` does, and what stands beside it."""
        removed = counts(self.store.read)["removed"] > 0
        left = {there.path: there for there in wanted if not (removed and self.taken_down(there))}
        waiting: list[tuple[There, Addition]] = []
        at = now()

        def came(addition: Addition) -> None:
            waiting.append((left[addition.path], addition))
            if len(waiting) == CHUNK:
                self.settle(waiting)
                waiting.clear()
                self.control.check()

        ingest_many(self.store, self.blobs, list(left), done=came, origin=lambda path: place(self.root, left[path].key, at))
        self.settle(waiting)

    def taken_down(self, there: There) -> bool:
        """Was it removed here? Then a folder does not bring it back: only a person does."""
        try:
            with Source(there.path) as opened:
                if opened.size <= HASHED_SOURCE:
                    file_of(self.store.read, sha256_of(opened))
        except Gone:
            noted = Noted(kind=SKIPPED, mark=there.mark, reason="taken_down")
            self.store.write(lambda db: keep(db, self.blobs, self.source, (), {there.key: noted}, now()))
            self.tell("skipped:taken_down", there.key, error=REMOVED)
            return True
        except EmbconvError:
            return False
        return False

    def settle(self, batch: Sequence[tuple[There, Addition]]) -> None:
        """Sidecars, pictures and notes of some that were taken in; then what became of each is safe, and said."""
        outcomes = {there.key: self.outcome(there, addition) for there, addition in batch}
        noted = {there.key: noted_of(there, addition, outcomes[there.key]) for there, addition in batch}
        self.taken |= {there.path for there, addition in batch if addition.digests}
        arrivals = beside(batch, self.taken)
        try:
            kept = self.keep(arrivals, {key: each for key, each in noted.items() if each})
        except RegistryError as exc:
            for there, _ in batch:
                self.tell("failed", there.key, error=Failure(exc.code, exc.says, exc.hint))
            return
        for each in arrivals:
            for says in each.notes:
                self.tell("note", each.there.key, says=says)
        for there, addition in batch:
            word = outcomes[there.key]
            self.tell("changed" if word == "unchanged" and there.key in kept.news and there.key not in self.moved else word,
                      there.key, error=addition.error, of=addition)  # fmt: skip
        self.tally.done += len(batch)
        self.tally.tell(0)

    def keep(self, arrivals: list[Arrival], noted: dict[str, Noted]) -> Kept:
        """Bytes first, then rows; what no row names any more is dropped."""
        with Shelf(self.blobs) as shelf:
            shelve(shelf, arrivals)
            shelf.publish()
            kept = self.store.write(lambda db: keep(db, self.blobs, self.source, arrivals, noted, now()))
        drop(self.store, self.blobs, kept.orphans)
        return kept

    def outcome(self, there: There, addition: Addition | Local) -> str:
        """What it came to, by its bytes; empty for what is not there any more."""
        error = addition.error
        if error is None:
            return self.outcome_of(there, addition) if addition.digests else "picture"
        if there.path in self.pictures:
            return "picture"
        if not os.path.lexists(there.path):
            return "picture"  # it went while we looked: the next pass sees it
        if getattr(addition, "status", "") == "failed" or (error.code == "unreadable_file" and denied(there.path)):
            return "failed"
        return "skipped:taken_down" if error.code == "blocked" else "skipped:not_an_embedding"

    def outcome_of(self, there: There, addition: Addition | Local) -> str:
        """Of an embedding: added, changed or unchanged; or it was moved here."""
        before, sha256 = self.before.get(there.key), addition.sha256 or ""
        if before is not None and before.kind == KEPT:
            return "unchanged" if before.sha256 == sha256 else "changed"
        if self.movable.get(sha256):
            self.moved[there.key] = self.movable[sha256].pop(0)
            return "unchanged"
        return "added" if getattr(addition, "status", "") == "added" or not self.has(sha256) else "unchanged"

    def has(self, sha256: str) -> bool:
        """Is that file kept here?"""
        try:
            file_of(self.store.read, sha256)
        except (Gone, UnknownFile):
            return False
        return True

    def foresee(self, wanted: list[There]) -> None:
        """Say what would become of each, and change nothing."""
        for there, local in zip(wanted, look([there.path for there in wanted]), strict=True):
            word = self.outcome(there, local)
            before = self.before.get(there.key)
            if word == "unchanged" and before and says_new(self.store.read, there, local.digests):
                word = "changed"
            self.tell(word, there.key, error=local.error,
                      of=Addition(path=there.path, status="", digests=local.digests, triggers=local.triggers))  # fmt: skip

    # What is missing

    def miss(self, *, dry_run: bool) -> None:
        """Paths that are no more; those whose bytes lie elsewhere now were moved."""
        moved = {was: key for key, was in self.moved.items()}
        if self.lost and not dry_run:
            self.store.write(lambda db: lose(db, self.root, self.lost, moved, now()))
        for key, noted in self.lost.items():
            if key in moved:
                self.tell("moved", moved[key], was=key)
            elif noted.kind == KEPT:
                self.tell("gone", key)


def noted_of(there: There, addition: Addition, outcome: str) -> Noted | None:
    """What is to be remembered of a path; nothing of what failed."""
    if addition.digests:
        return Noted(kind=KEPT, mark=there.mark, sha256=addition.sha256 or "", digests=addition.digests)
    word, _, reason = outcome.partition(":")
    if word == "skipped":
        return Noted(kind=SKIPPED, mark=there.mark, reason=reason)
    return Noted(kind=PICTURE, mark=there.mark) if word == "picture" else None


def denied(path: str) -> bool:
    """May nobody of us read it?"""
    return os.path.exists(path) and not os.access(path, os.R_OK)
