"""Many files: converted on every core, flushed together; no bad one stops the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from .convert import Opened, Options, Outcome, Put, convert_one, converted_by, failure, joined, opening, own_stems, put_now
from .display import quoted
from .errors import CannotWrite, EmbconvError, NotAnEmbedding, TargetExists
from .folders import PICTURES, Unit
from .in_step import in_step
from .paths import folder_of, stem_of, suffix_of, with_stem
from .processes import through
from .staging import Staging, make_folder
from .write import Written

T = TypeVar("T")
Taken = dict[str, str | None]  # target -> digest
CHUNK = 192     # files whose bytes reach the disk together, each flush makes the file system sort itself; told of at once through a pipe
BEHIND = 2      # chunks that are not yet all on the disk while the next is converted: the files of one, the names of the one before
FEW = 32        # so few files are done before a second process has started


def convert_units(
    units: list[Unit], options: Options, *, done: Callable[[Sequence[Outcome]], None], workers: int | None = None
) -> list[Outcome]:
    """Convert every unit; `done` hears of the outcomes as they come, some at once. The list is in the order of the units."""
    count = min(workers or os.cpu_count() or 1, max(1, len(units) // FEW))
    chunks = [packed(chunk) for chunk in chunked(units, count)]
    found: list[Outcome] = []
    for told in through(partial(convert_chunks, options=options), chunks, count=count):
        outcomes = unpacked(told, Outcome)
        done(outcomes)
        found += outcomes
    return found


def chunked(units: Sequence[T], count: int, most: int = CHUNK) -> Iterator[Sequence[T]]:
    """The work for `count` processes, in pieces that become smaller towards the end, so that all end at about the same time.

    The first pieces differ, so that not all give names in one folder at the same moment, where each would wait for the others.
    """
    at = 0
    place = 0
    while at < len(units):
        place = min(place + 1, count)
        size = max(FEW, min(most * place // count, (len(units) - at) // (2 * count)))
        yield units[at : at + size]
        at += size


def packed(values: Sequence[T]) -> bytes | Sequence[T]:
    """The values for another process as MessagePack, which travels in a third of the time; not with names that are no UTF-8."""
    try:
        return msgspec.msgpack.encode(values)
    except UnicodeEncodeError:
        return values


def unpacked(given: bytes | Sequence[T], kind: type[T]) -> Sequence[T]:
    """What `packed` had."""
    return msgspec.msgpack.decode(given, type=list[kind]) if isinstance(given, bytes) else given  # type: ignore[valid-type]


def convert_chunks(chunks: Iterator[bytes | Sequence[Unit]], options: Options) -> Iterator[bytes | Sequence[Outcome]]:
    """The outcomes of each chunk, in this process. While the files of one are brought to the disk, others are converted.

    The flush that brings them there also brings the names of those before, which were given shortly before it began.
    """
    begun: list[Begun] = []
    try:
        for chunk in chunks:
            begun.append(Begun(unpacked(chunk, Unit), options))
            for before in begun[-2:-1]:
                before.give_names()
            begun[-1].staging.flush_meanwhile()
            if len(begun) > BEHIND:
                yield packed(begun.pop(0).finished(begun[0]))
        while begun:
            begun[-1].give_names()
            yield packed(begun.pop(0).finished(*begun[:1]))
    finally:
        for unfinished in begun:
            unfinished.staging.discard()


class Begun:
    """Some units converted, their files not yet all on the disk."""

    def __init__(self, units: Sequence[Unit], options: Options) -> None:
        self._options, self.staging = options, Staging()
        self._lost: dict[str | None, EmbconvError] | None = None
        try:
            opened = in_step(opening(unit.sources[0], sidecars=unit.told) for unit in units if is_one(unit))
            self._outcomes = [(unit, convert_unit(unit, options, self.staging, opened)) for unit in units]
        except BaseException:
            self.staging.discard()
            raise

    def give_names(self) -> dict[str | None, EmbconvError]:
        """Give all their names, once; what got none, and why."""
        if self._lost is None:
            self._lost = self.staging.give_names()
        return self._lost

    def finished(self, later: Begun | None = None) -> list[Outcome]:
        """What came of them, once all is on the disk; `later` ones were flushed after these had their names."""
        lost = self.give_names()
        self.staging.settle(later.staging if later else None)
        self.staging.discard()
        return [outcome for unit, outcomes in self._outcomes for outcome in self._settled(unit, outcomes, lost)]

    def _settled(self, unit: Unit, outcomes: list[Outcome], lost: dict[str | None, EmbconvError]) -> list[Outcome]:
        at_once = len(unit.sources) > 1 and not unit.pair  # what came of those is known already
        if at_once or not any(outcome.written in lost for outcome in outcomes):
            return outcomes
        if unit.new and isinstance(lost.get(unit.target), TargetExists):  # it came after somebody had looked
            return Begun([replace(unit, new=False)], self._options).finished()
        return [failure(o.path, lost[o.written]) if o.written in lost and o.status == "converted" else o for o in outcomes]


def is_one(unit: Unit) -> bool:
    """Is it a single file with a target of its own?"""
    return len(unit.sources) == 1


def convert_unit(unit: Unit, options: Options, staging: Staging, opened: Iterator[Opened | Exception]) -> list[Outcome]:
    """The outcomes of one unit; `opened` has what single files hold.

    Files that meet at one target are put in place at once, each seeing the one before.
    """
    if unit.pair:
        return convert_pair(unit, options, staging)
    if is_one(unit):
        return convert_path(unit.sources[0], unit.target, options, staging.put_soon, {}, opened, new=unit.new)
    outcomes: list[Outcome] = []
    for path in unit.sources:
        taken: Taken = {other: None for other in unit.sources if other != path}
        taken |= {outcome.written: outcome.digest for outcome in outcomes if outcome.written}
        outcomes += convert_path(path, unit.target, options, put_at_once, taken, in_step([opening(path)]))
    return outcomes


def convert_pair(unit: Unit, options: Options, staging: Staging) -> list[Outcome]:
    """Two halves as one embedding; each for itself where they do not belong together."""
    try:
        given = joined(*unit.sources)
    except EmbconvError:
        apart = [Unit(sources=(path,), target=with_stem(unit.target, stem_of(path))) for path in unit.sources]
        opened = in_step(opening(single.sources[0]) for single in apart)
        return [outcome for single in apart for outcome in convert_unit(single, options, staging, opened)]
    return guarded(unit.sources[0], unit.target, lambda: at_its_name(given, unit.target, options, staging.put_soon, {}))


def put_at_once(written: Written, path: str, overwrite: bool) -> None:
    """Write one file durably, in a folder that is made if need be."""
    make_folder(folder_of(path))
    put_now(written, path, overwrite)


def convert_path(
    path: str, target: str, options: Options, put: Put, taken: Taken, opened: Iterator[Opened | Exception], *, new: bool = False
) -> list[Outcome]:
    """One file of a folder, all its embeddings; `opened` has next what it holds. `new`: there was nothing at `target`."""

    def work() -> list[Outcome]:
        given = next(opened)
        if isinstance(given, Exception):
            try:
                raise given
            finally:
                del given  # else it would hold itself for ever
        if len(given.reading.embeddings) > 1 and not options.pick:
            return _split(given, target, options, put)
        return at_its_name(given, target, replace(options, split=False, new=new), put, taken)

    return guarded(path, target, work)


def guarded(path: str, target: str, work: Callable[[], list[Outcome]]) -> list[Outcome]:
    """What came of the work, or what stopped it; a picture without an embedding is just a picture."""
    try:
        return work()
    except NotAnEmbedding as exc:
        if suffix_of(path).lower() in PICTURES:
            return [Outcome(path=path, status="passed_over")]
        return [failure(path, exc)]
    except EmbconvError as exc:
        return [failure(path, exc)]
    except OSError as exc:
        return [failure(path, CannotWrite(target, exc.strerror or str(exc)))]
    except RecursionError:
        return [failure(path, EmbconvError(f"{quoted(os.path.basename(path))} is nested too deeply."))]
    except UnicodeError:
        return [failure(path, EmbconvError(f"The name of {quoted(path)} is no UTF-8, so no file can tell it.", "Rename it."))]


def at_its_name(given: Opened, target: str, options: Options, put: Put, taken: Taken) -> list[Outcome]:
    """At `target`, or where other vectors have that the file's own suffix joins the name.

    `taken` are targets that other files of this run have or are, with their digests: --force does not lose those.
    """
    path = given.reading.path
    try:
        outcomes = converted_by(put, given, target, replace(options, force=False) if target in taken else options)
        if not options.dry_run or target not in taken or outcomes[0].status == "already_there":
            return outcomes
        if outcomes[0].digest == taken[target]:
            return [replace(outcomes[0], status="already_there")]
    except TargetExists:
        if options.new:  # it came after somebody had looked
            return at_its_name(given, target, replace(options, new=False), put, taken)
        if target == path:
            raise
    other = with_stem(target, f"{stem_of(target)}-{suffix_of(path or '')[1:].lower()}")
    return converted_by(put, given, other, replace(options, new=False))


def _split(given: Opened, target: str, options: Options, put: Put) -> list[Outcome]:
    """Each embedding of a file that holds several, named after the file and itself; one bad one does not stop the rest."""
    outcomes = []
    embeddings = given.reading.embeddings
    for embedding, stem in zip(embeddings, own_stems(embeddings, f"{stem_of(target)}-"), strict=True):
        try:
            outcomes.append(convert_one(put, given, embedding, with_stem(target, stem), options))
        except EmbconvError as exc:
            outcomes.append(failure(given.reading.path or given.reading.name, exc))
    return outcomes


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many of each outcome, those that occur."""
    order = ("converted", "would_convert", "already_there", "passed_over", "refused", "failed")
    found = [outcome.status for outcome in outcomes]
    return {status: found.count(status) for status in order if status in found}
