"""Who may do what at the same time: many look, one changes while nobody looks; a few work, the others wait in a row."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock for readers and a writer. Who waits to change comes before those who come later to look."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._looking = 0
        self._waiting = 0
        self._changing = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        with self._turn:
            while self._changing or self._waiting:
                self._turn.wait()
            self._looking += 1
        try:
            yield
        finally:
            with self._turn:
                self._looking -= 1
                if not self._looking:
                    self._turn.notify_all()

    @contextmanager
    def changing(self) -> Iterator[None]:
        with self._turn:
            self._waiting += 1
            while self._changing or self._looking:
                self._turn.wait()
            self._waiting -= 1
            self._changing = True
        try:
            yield
        finally:
            with self._turn:
                self._changing = False
                self._turn.notify_all()


class Row:
    """So many may work at once; the others come in the order in which they came. A semaphore lets those who were just in back in first."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # Ctrl-C while waiting
            with self._lock:
                called = mine not in self._waiting
                if not called:
                    self._waiting.remove(mine)
            if called:
                self._leave()
            raise

    def __exit__(self, *error: object) -> None:
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
