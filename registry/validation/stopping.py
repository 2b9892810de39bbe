"""SIGTERM and Ctrl-C: what is being computed ends at once, what is being written is finished, what was not done is given back."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ended(BaseException):
    """Somebody wants the worker to end. No `except Exception` holds it back."""


class Stop:
    """Hears the signals while it is entered, in the main thread; `asked` is the one that came, or 0."""

    def __init__(self) -> None:
        self.asked = 0
        self._interrupts = False
        self._before: dict[signal.Signals, Any] = {}

    def ask(self, number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:  # noqa: ARG002  # a signal's handler gets it
        """End."""
        self.asked = number
        if self._interrupts and threading.current_thread() is threading.main_thread():
            raise Ended

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For what may be broken off anywhere: Ended."""
        self.check()
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def check(self) -> None:
        """Ended, if it was asked for."""
        if self.asked:
            raise Ended

    def sleep(self, seconds: float) -> None:
        """Wait, no longer than until somebody asks."""
        with self.at_once():
            time.sleep(seconds)

    def with_parent(self, every: float = 1.0) -> None:
        """End soon after the process that started this one, whatever became of that."""
        parent = os.getppid()

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(every)
            os.kill(os.getpid(), signal.SIGTERM)  # the main thread hears it even while it sleeps

        threading.Thread(target=watch, name="embconv-parent", daemon=True).start()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self.ask) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
