"""Work spread over processes, with Ctrl-C left to the one that gives it out."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], Result], items: Sequence[Item], *, count: int, at_once: int = 1) -> Iterator[Result]:
    """`work` of each item, in their order, by `count` processes (here, if that is 1) which take `at_once` of them at a time.

    Ctrl-C reaches this process only: it lets the others finish what they have begun, and gives out nothing more.
    """
    if count == 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(count, initializer=start_worker) as pool:
        try:
            with ctrl_c_later():
                results = pool.map(work, items, chunksize=at_once)
            yield from results
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back: the pool cannot be ended while its processes are being started. Only the main thread ever hears it.

    The mask is for what starts meanwhile: processes, before `start_worker` has run in them, and threads of the pool.
    A signal that another thread takes all the same only reaches the handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
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
