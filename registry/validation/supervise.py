"""A worker that outlives its device: it runs in a process of its own, and a new one is started where that breaks off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from ..store import Store
from ..store.leases import done_by, halved
from ..times import now
from ..validations import KIND
from .worker import AGAIN, STOPPED, SUPERVISOR, say

TRIES = 5             # processes in a row that broke off without any progress: then it is not the jobs' fault
PAUSES = (1.0, 60.0)  # seconds before the next process, doubled each time: the first and the longest
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def supervise(home: str, options: Sequence[str], *, command: Sequence[str] = (), pauses: tuple[float, float] = PAUSES) -> int:
    """Run workers one after the other with these options of `embconv worker`; the exit code of the last.

    One that could not run at all, was stopped, or had nothing more to do ends it; so do TRIES in a row without any progress.
    """
    start = command or (sys.executable, "-m", "embconv.cli", "worker", "--no-restart", "--home", home, *options)
    fruitless, before, children = 0, 0, Children(start)
    with children.heard():
        while True:
            began = now()
            code, pid = children.run()
            if children.stopped.is_set():
                return children.code
            if code >= 0 and code != AGAIN:
                return code
            fruitless = 0 if progress(home, (before, pid), began) else fruitless + 1
            before = pid
            how = "its device broke off" if code == AGAIN else f"signal {-code}"
            if fruitless == TRIES:
                say(f"The worker ended ({how}), {TRIES} times in a row without any progress. What waits stays in the queue.")
                return 1
            pause = min(pauses[0] * 2 ** max(0, fruitless - 1), pauses[1])
            say(f"The worker ended ({how}); another begins in {pause:.0f} s.")
            if children.stopped.wait(pause):
                return children.code


def progress(home: str, pids: Sequence[int], since: str) -> bool:
    """Have these processes ended jobs, or is what is at fault looked for among fewer than before?

    What one was killed with is ended by the next, which finds its lease. A device that always breaks off makes no progress once each
    job is tried alone, and that is before any of them is blamed.
    """
    with Store(home) as store:
        db = store.read
        return any(done_by(db, KIND, f"{pid}-", since) for pid in pids) or halved(db, KIND, since) > 0


class Children:
    """Processes that are started with the same command, one at a time; they hear the signals that we hear."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped, self.code = threading.Event(), 0

    def run(self) -> tuple[int, int]:
        """One of them until its end: its exit code, and its number."""
        environment = {**os.environ, SUPERVISOR: str(os.getpid())}
        with subprocess.Popen(self._command, env=environment) as process:  # noqa: S603  # this very program, with our own options
            self._process = process
            if self.stopped.is_set():  # the signal came between two
                process.terminate()
            return process.wait(), process.pid

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # a signal's handler gets it
        """End, and let the one that runs end."""
        self.code = STOPPED if number == signal.SIGINT else 0
        self.stopped.set()
        if self._process is not None:
            with contextlib.suppress(OSError, ValueError):  # Windows sends no Ctrl-C to one process; its console has sent it already
                self._process.send_signal(number)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals, in the main thread."""
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self.hear) for number in SIGNALS} if main else {}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
