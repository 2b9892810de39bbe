"""Work spread over processes, with Ctrl-C left to the one that gives it out."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.util import register_after_fork
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from .errors import EmbconvError

Item = TypeVar("Item")
Result = TypeVar("Result")
Stream = Callable[[Iterator[Item]], Iterator[Result]]
AHEAD = 4  # items that a process has at once: one that it works on, two whose results may wait for that, and the next
MOST = 30  # processes: Windows waits for no more than 63 ends of processes and pipes at once
STARTING = threading.Lock()  # a process that another thread starts must not get an end of the pipe to this one


class Raised(NamedTuple):
    """What a process could not go on from."""

    error: Exception


def spread(work: Callable[[Item], Result], items: Sequence[Item], *, count: int, at_once: int = 1) -> Iterator[Result]:
    """`work` of each item, in their order, by `count` processes (here, if that is 1) which take `at_once` of them at a time."""
    if count == 1:
        yield from map(work, items)
        return
    pieces = [items[at : at + at_once] for at in range(0, len(items), at_once)]
    for results in through(partial(map, partial(_each, work)), pieces, count=count):
        yield from results


def _each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]


def through(work: Stream[Item, Result], items: Sequence[Item], *, count: int) -> Iterator[Result]:
    """What `work` makes of a stream of items, a result for each in their order, where `count` processes (here, if 1) share them.

    `work` may be two items behind with its results. Ctrl-C reaches this process only: it lets the
    others finish what they have begun, and gives out nothing more. Raises what `work` raises, and EmbconvError where a process is killed.
    """
    if count == 1:
        yield from work(iter(items))
        return
    helpers = Helpers(work, items)
    try:
        with ctrl_c_later():
            helpers.start(min(count, MOST))
        yield from helpers.results()
    finally:
        helpers.end()


class Helpers:
    """Processes that each work on a stream of items out of one sequence."""

    def __init__(self, work: Stream[Any, Any], items: Sequence[Any]) -> None:
        self._work, self._items, self._given = work, items, 0
        self._working: dict[Connection, list[int]] = {}  # to each process, and the places of the items it has
        self._processes: dict[int, tuple[Any, Connection]] = {}  # by what tells its end

    def start(self, count: int) -> None:
        """So many processes, each with its first items."""
        for _ in range(count):
            with STARTING:
                self._start_one()
        for _ in range(AHEAD):
            for connection in self._working:
                self._give(connection)

    def _start_one(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        register_after_fork(ours, type(ours).close)  # held open by another process, it would hide the end of this one
        process = multiprocessing.Process(target=_help, args=(self._work, theirs))
        self._working[ours] = []
        try:
            process.start()
        finally:
            theirs.close()
        self._processes[process.sentinel] = process, ours

    def _give(self, to: Connection) -> None:
        """The next item to a process, or the word that there is none."""
        with contextlib.suppress(OSError):  # one that ended is missed where its results are read
            if self._given < len(self._items):
                self._working[to].append(self._given)
                to.send((self._items[self._given],))
                self._given += 1
            else:
                to.send(())

    def results(self) -> Iterator[Any]:
        """The results in the order of the items, as soon as each is there."""
        found: dict[int, Any] = {}
        wanted = 0
        while wanted < len(self._items):
            for ready in self._ready():
                place, found[place] = self._received(ready)
            while wanted in found:
                yield found.pop(wanted)
                wanted += 1

    def _ready(self) -> list[Connection]:
        """Those that have something to say; EmbconvError where one can no more."""
        working = [(sentinel, connection) for sentinel, (_, connection) in self._processes.items() if self._working[connection]]
        told = wait([each for pair in working for each in pair])
        for sentinel, connection in working:
            if sentinel in told and connection not in told and not connection.poll():
                raise lost()
        return [connection for _, connection in working if connection in told]

    def _received(self, ready: Connection) -> tuple[int, Any]:
        try:
            result = ready.recv()
        except (EOFError, OSError) as exc:
            raise lost() from exc
        if isinstance(result, Raised):
            raise result.error
        self._give(ready)
        return self._working[ready].pop(0), result

    def end(self) -> None:
        """Give out nothing more, and wait until what was begun is finished."""
        for connection in self._working:
            connection.close()
        for process, _ in self._processes.values():
            process.join()


def lost() -> EmbconvError:
    """What is said of a process that gives no result any more."""
    says = "A helper process was ended from outside, perhaps because memory ran out."
    return EmbconvError(says, "Run the same command again: what is done stays done.")


def _help(work: Stream[Any, Any], connection: Connection) -> None:
    """The life of a process: results to the one that started it, as long as that gives it items."""
    start_worker()
    heard, waiting = True, SimpleQueue[tuple[Any, ...]]()

    def listen() -> None:
        """Take items as they come: were both to wait until the other has taken something, they would for ever."""
        nonlocal heard
        try:
            while given := connection.recv():
                waiting.put(given)
        except (EOFError, OSError):
            heard = False  # nobody is there any more
        waiting.put(())

    def items() -> Iterator[Any]:
        while (given := waiting.get()) and heard:
            yield given[0]

    threading.Thread(target=listen, daemon=True).start()
    try:
        for result in work(items()):
            heard = heard and _sent(connection, result)
    except Exception as exc:  # noqa: BLE001  # it is raised again where the results are wanted
        _sent(connection, Raised(exc))


def _sent(connection: Connection, result: object) -> bool:
    """Did anybody take it? An error that cannot travel goes as its words."""
    try:
        connection.send(result)
    except OSError:
        return False
    except Exception:
        if not isinstance(result, Raised):
            raise
        return _sent(connection, Raised(RuntimeError(repr(result.error))))
    return True


@contextlib.contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back while processes are being started. Only the main thread ever hears it.

    The mask is for what starts meanwhile: processes, before `start_worker` has run in them.
    A signal that another thread takes all the same only reaches the handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if hasattr(signal, "pthread_sigmask") and multiprocessing.get_start_method() != "fork":
        from multiprocessing.resource_tracker import ensure_running

        ensure_running()  # started within it would take the mask away again
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and the little garbage there is to the end of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
