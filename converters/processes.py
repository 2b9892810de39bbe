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
from typing import Any, NamedTuple, TypeVar

from .errors import EmbconvError

Item = TypeVar("Item")
Result = TypeVar("Result")
Stream = Callable[[Iterator[Item]], Iterator[Result]]
AHEAD = 4  # items that a process has at once: one that it works on, two whose results may wait for that, and the next


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
            helpers.start(count)
        yield from helpers.results()
    finally:
        helpers.end()


class Helpers:
    """Processes that each work on a stream of items out of one sequence."""

    def __init__(self, work: Stream[Any, Any], items: Sequence[Any]) -> None:
        self._work, self._items, self._given = work, items, 0
        self._working: dict[Connection, list[int]] = {}  # to each process, and the places of the items it has
        self._processes: list[Any] = []

    def start(self, count: int) -> None:
        """So many processes, each with its first items."""
        for _ in range(count):
            ours, theirs = multiprocessing.Pipe()
            self._working[ours] = []
            process = multiprocessing.Process(target=_help, args=(self._work, theirs, list(self._working)))
            process.start()
            self._processes.append(process)
            theirs.close()
        for _ in range(AHEAD):
            for connection in self._working:
                self._give(connection)

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
            for ready in wait([connection for connection, places in self._working.items() if places]):
                place, found[place] = self._received(ready)
            while wanted in found:
                yield found.pop(wanted)
                wanted += 1

    def _received(self, ready: Any) -> tuple[int, Any]:
        try:
            result = ready.recv()
        except (EOFError, OSError) as exc:
            says = "A helper process was ended from outside, perhaps because memory ran out."
            raise EmbconvError(says, "Run the same command again: what is done stays done.") from exc
        if isinstance(result, Raised):
            raise result.error
        self._give(ready)
        return self._working[ready].pop(0), result

    def end(self) -> None:
        """Give out nothing more, and wait until what was begun is finished."""
        for connection in self._working:
            connection.close()
        for process in self._processes:
            process.join()


def _help(work: Stream[Any, Any], connection: Connection, others: list[Connection]) -> None:
    """The life of a process: results to the one that started it, as long as that gives it items.

    `others` are that one's ends of the connections, which a forked process has too: held open, they would hide its end.
    """
    start_worker()
    for other in others:
        other.close()
    heard = True

    def items() -> Iterator[Any]:
        with contextlib.suppress(EOFError, OSError):  # nobody gives any more
            while heard and (given := connection.recv()):
                yield given[0]

    try:
        for result in work(items()):
            heard = heard and _sent(connection, result)
    except Exception as exc:  # noqa: BLE001  # it is raised again where the results are wanted
        _sent(connection, Raised(exc))


def _sent(connection: Connection, result: object) -> bool:
    """Did anybody take it?"""
    try:
        connection.send(result)
    except OSError:
        return False
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
