"""A worker: leases jobs that one loaded checkpoint can do together, judges them, keeps each verdict as soon as it is there."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from embconv.converters import EmbconvError
from embconv.converters.bases import counted
from embconv.converters.display import printable

from ..blobs import Blobs
from ..ingest import sweep
from ..render_errors import BadCheckpoint, DeviceFailed, DeviceFull, UnknownCheckpoint
from ..store import Store
from ..store.checkpoints import calibration_of, checkpoints
from ..store.leases import Lease
from ..times import now
from ..validations import How, Wanted, asked_in, pending
from ..verdicts import Judged, KeptVerdict, measure
from .hands import Hands, Kept
from .keeper import Keeper
from .presence import Presence
from .readable import readable
from .stopping import Ended, Stop

if TYPE_CHECKING:
    from ..verdicts import Protocol
    from .tools import Tools

AGAIN = 75     # exit code (EX_TEMPFAIL): the device broke off, and a new process may go on
STOPPED = 130  # Ctrl-C
SUPERVISOR = "EMBCONV_SUPERVISOR"  # environment: the number of the process that starts workers again
AT_ONCE = 128  # jobs of a lease: a GPU is full until the last of them
TRIES = 3      # of what may go better another time
EVERY = 1.0    # seconds between looks for work
FULL = 600.0   # seconds that a checkpoint is left alone which did not fit into the device's memory

Heard = Callable[[str, KeptVerdict | EmbconvError], None]  # digest, and what its job came to


class Loaded(NamedTuple):
    """The checkpoint in memory, and since when."""

    fingerprint: str
    model: Any
    since: str


NOTHING = Loaded("", None, "")


def say(text: str) -> None:
    """A line for whoever watches."""
    with contextlib.suppress(OSError, ValueError):  # a log that cannot be written stops nothing
        sys.stderr.write(f"{now()} {text}\n")
        sys.stderr.flush()


class Worker:
    """Works on the registry of `hands` with `tools`. `heard` is told how each job ended, `say` of each batch."""

    def __init__(self, hands: Hands, tools: Tools, stop: Stop, *, heard: Heard | None = None, say: Callable[[str], None] = say) -> None:
        self.hands, self.tools, self.stop, self.say = hands, tools, stop, say
        self.loaded = NOTHING
        self.too_large: dict[str, tuple[float, DeviceFull]] = {}  # checkpoint -> until when it is left alone, and why
        self.states: Counter[str] = Counter()  # of the batch
        self._heard = heard
        hands.ended = self.ended

    def work(self, *, once: bool) -> None:
        """Batch after batch; `once`: until nothing waits and nobody has any of it. Raises Ended, DeviceFailed, and what the disk does.

        A checkpoint that does not fit keeps no other waiting; `once` raises DeviceFull when nothing else is left to be done.
        """
        try:
            while True:
                self.stop.check()
                left = {each for each, (until, _) in self.too_large.items() if until > time.monotonic()}
                held = self.hands.take(self.loaded.fingerprint, self.loaded.since, AT_ONCE, without=left)
                if held:
                    self.batch(held)
                elif once and held is not None and not self.hands.others():
                    for _, full in self.too_large.values():
                        raise full
                    return
                else:
                    self.stop.sleep(EVERY)
        finally:
            self.hands.back()

    def batch(self, held: Sequence[Lease]) -> None:
        """Judge what was leased together."""
        began, what = time.monotonic(), asked_in(held[0].ref, held[0].input)
        self.states.clear()
        with self.hands.renewing(), Keeper(self.hands.store, self.hands.blobs, self.done) as keeper:
            model = self.model(held)
            if model is not None:
                try:
                    self.judge(model, held, what.protocol, keeper)
                finally:
                    keeper.flush()
        took = time.monotonic() - began
        came = ", ".join(f"{count} {state}" for state, count in self.states.most_common()) or "nothing"
        name = printable(str(what.summary.get("name")))
        self.say(f"{name}, {what.protocol.name}: {came} of {len(held)} in {took:.1f} s ({len(held) / max(took, 0.001):.1f}/s)")

    def model(self, held: Sequence[Lease]) -> Any:
        """The checkpoint of these jobs in memory; None where that cannot be: then all jobs that wait for it have failed."""
        what = asked_in(held[0].ref, held[0].input)
        if self.loaded.fingerprint != what.fingerprint:
            self.loaded = NOTHING  # two may not fit
            try:
                self.loaded = self.load(what.fingerprint, str(what.summary.get("name")))
            except DeviceFailed:
                raise
            except DeviceFull as exc:
                self.leave(held, what.fingerprint, exc)
                return None
            except EmbconvError as exc:
                failed = self.hands.fail_all(held, what.fingerprint, exc)
                self.states["failed"] += len(held)
                self.say(f"{exc.says} [{exc.code}] {counted(len(failed), 'job')} that want it have failed.")
                for ref in failed:
                    self.tell(ref, exc)
                return None
        return self.loaded.model

    def leave(self, held: Sequence[Lease], fingerprint: str, full: DeviceFull) -> None:
        """Leave the jobs of a checkpoint that does not fit to workers with more memory, or to ourselves later."""
        full.__traceback__ = full.__cause__ = full.__context__ = None  # they hold what was loaded of it
        self.too_large[fingerprint] = time.monotonic() + FULL, full
        self.hands.back([each.id for each in held])
        self.states["given back"] += len(held)
        self.say(f"{full.says} [{full.code}] What wants it waits; it is tried again in {FULL / 60:.0f} minutes.")

    def load(self, fingerprint: str, name: str) -> Loaded:
        """A checkpoint of the registry into memory."""
        known = checkpoints(self.hands.store.read)
        same = sorted((each for each in known if each.fingerprint == fingerprint), key=lambda each: not os.path.exists(each.path))
        found = next(iter(same), None)
        if found is None:
            for each in (each for each in known if each.name == name):
                raise BadCheckpoint(each.path, f"stands for {name} now, another checkpoint than was asked for", "Ask again.")
            raise UnknownCheckpoint(name, [each.name for each in known])
        with self.stop.at_once():
            try:
                return Loaded(fingerprint, self.tools.load(found), now())
            except Exception as exc:
                if isinstance(exc, EmbconvError):
                    raise
                raise self.failure(exc) or EmbconvError(f"{name} cannot be loaded: {words(exc)}.") from exc

    def judge(self, model: Any, held: Sequence[Lease], protocol: Protocol, keeper: Keeper) -> None:
        """Judge all that can be read. What breaks the whole of them off is looked for in smaller groups."""
        waiting = dict(self.readable(held))
        fingerprint = self.loaded.fingerprint
        calibration = calibration_of(self.hands.store.read, fingerprint, measure(protocol))
        leases = {each.ref: each for each in held}
        try:
            with contextlib.closing(self.tools.judge(model, list(waiting.values()), protocol, calibration)) as verdicts:
                while (judged := self.next(verdicts)) is not None:
                    if waiting.pop(judged.digest, None) is not None:
                        self.put(leases[judged.digest], judged, keeper)
            broke: Exception | None = RuntimeError("no verdict came") if waiting else None
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is one of these embeddings', or the device's
            broke = exc
        if broke is not None:
            keeper.flush()
            self.loaded = NOTHING  # who knows in which state it is
            self.states["broken off"] += len(waiting)
            self.hands.broke([leases[ref] for ref in waiting], words(broke))
            self.say(f"A batch broke off, {len(waiting)} of it are tried again in smaller groups: {words(broke)}")
            if failed := self.failure(broke):
                raise failed from broke

    def next(self, verdicts: Iterator[Judged]) -> Judged | None:
        """The next, or None at the end."""
        with self.stop.at_once():
            return next(verdicts, None)

    def put(self, held: Lease, judged: Judged, keeper: Keeper) -> None:
        """Keep a verdict; one that may come out otherwise goes back into the row, a few times."""
        if judged.retry and held.attempt < TRIES:
            self.states["again"] += 1
            self.hands.back([held.id])
        else:
            keeper.put(held, judged)

    def readable(self, held: Sequence[Lease]) -> Iterator[tuple[str, Any]]:
        """Digest and subject of each whose embedding is here and can be read; the other jobs end with the reason."""
        for each in held:
            try:
                found = readable(self.hands.store, self.hands.blobs, each.ref)
                subject = self.tools.subject(found.embedding, found.entry, found.file)
            except EmbconvError as exc:
                self.done(each, exc)
            except Exception as exc:  # noqa: BLE001  # whatever it is, it is this one's
                self.done(each, EmbconvError(f"The embedding cannot be made ready: {words(exc)}."))
            else:
                yield each.ref, subject

    def done(self, held: Lease, kept: Kept) -> None:
        """A job has come to a verdict, or to none."""
        if isinstance(kept, EmbconvError):
            self.hands.fail(held, kept)
        self.ended(held, kept)

    def ended(self, held: Lease, kept: Kept) -> None:
        """Count it and tell of it."""
        if kept is None:
            self.states["lost to another worker"] += 1
            return
        self.states[kept.verdict.state if isinstance(kept, KeptVerdict) else "failed"] += 1
        self.tell(held.ref, kept)

    def tell(self, ref: str, outcome: KeptVerdict | EmbconvError) -> None:
        if self._heard:
            self._heard(ref, outcome)

    def failure(self, exc: BaseException) -> EmbconvError | None:
        """DeviceFailed or DeviceFull, where the device is at fault."""
        if isinstance(exc, DeviceFailed | DeviceFull):
            return exc
        return DeviceFailed("of this worker", words(exc)) if self.tools.broken(exc) else None


def words(exc: BaseException) -> str:
    """An exception in one line."""
    says = exc.says if isinstance(exc, EmbconvError) else f"{type(exc).__name__}: {exc}"
    return printable(" ".join(says.split()), 300).rstrip(".")


def run(home: str, tools: Callable[[], Tools], *, once: bool = False, child: bool = False, say: Callable[[str], None] = say) -> int:
    """Work until a signal comes, or `once`; the exit code: AGAIN where another process should go on. `child`: no longer than the parent."""
    with Stop() as stop:
        if child:
            stop.with_parent()
        try:
            with stop.at_once():
                made = tools()
            with opened(home) as hands:
                say(f"Working on {hands.store.home}")
                Worker(hands, made, stop, say=say).work(once=once)
        except Ended:
            return STOPPED if stop.asked == signal.SIGINT else 0
        except (DeviceFailed, DeviceFull) as exc:
            say(f"{exc.says} [{exc.code}]")
            return AGAIN
    return 0


@contextlib.contextmanager
def opened(home: str, only: Collection[int] | None = None) -> Iterator[Hands]:
    """The registry in a folder and what a worker holds of it, with what a crash has left taken away."""
    with Store(home) as store, Presence(home) as presence:
        blobs = Blobs(home)
        sweep(store, blobs)
        yield Hands(store, blobs, presence, only)


def drain(
    home: str, tools: Callable[[], Tools], wanted: Wanted, *, base: str | None = None, limit: int | None = None, how: How | None = None,
    heard: Heard | None = None, asked: Callable[[int], None] = lambda count: None, say: Callable[[str], None] = lambda text: None,
) -> int:  # fmt: skip
    """Validate in this process what has no verdict yet (`validations.pending`); how many jobs that were, which `asked` hears first.

    Raises DeviceFailed or DeviceFull, after which the same call goes on; KeyboardInterrupt where Ctrl-C or SIGTERM ended it.
    """
    with Store(home) as store:
        numbers = pending(store, wanted, base=base, limit=limit, how=how)
    asked(len(numbers))
    if not numbers:
        return 0
    try:
        with Stop() as stop, opened(home, frozenset(numbers)) as hands:
            with stop.at_once():
                made = tools()
            Worker(hands, made, stop, heard=heard, say=say).work(once=True)
    except Ended as exc:
        raise KeyboardInterrupt from exc
    return len(numbers)
