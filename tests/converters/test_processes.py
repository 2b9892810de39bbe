"""Work by several processes: in order, as it comes, and ended well whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embconv.converters import processes
from embconv.converters.errors import CannotWrite, EmbconvError, UnsafePickle
from embconv.converters.processes import spread, through


def one_behind(numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Each number, once the next one is there, with the process that had it."""
    before: list[int] = []
    for number in numbers:
        before.append(number)
        if len(before) > 1:
            yield before.pop(0), os.getpid()
    yield from ((number, os.getpid()) for number in before)


def one_behind_of_any(values: Iterator[Any]) -> Iterator[Any]:
    before: list[Any] = []
    for value in values:
        before.append(value)
        if len(before) > 1:
            yield before.pop(0)
    yield from before


def killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("number", [0, 1, 2, 20])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_are_in_the_order_of_the_items(count: int, number: int, at_once: int) -> None:
    assert list(spread(abs, range(-number, 0), count=count, at_once=at_once)) == list(range(number, 0, -1))


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_every_way_to_start_a_process_does(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(processes, "multiprocessing", multiprocessing.get_context(method))
    assert list(spread(abs, range(-9, 0), count=2)) == list(range(9, 0, -1))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_stream_may_be_one_item_behind(count: int) -> None:
    results = list(through(one_behind, range(50), count=count))
    assert [number for number, _ in results] == list(range(50))
    assert len({process for _, process in results}) == count


def test_what_one_process_has_done_is_there_before_the_others_are(tmp_path: Path) -> None:
    def wait_for(number: int) -> int:
        while number == 1 and not (tmp_path / "seen").exists():
            time.sleep(0.01)
        return number

    results = spread(wait_for, range(8), count=2)
    assert next(results) == 0
    (tmp_path / "seen").touch()
    assert list(results) == list(range(1, 8))


@pytest.mark.parametrize("count", [1, 2])
def test_what_the_work_raises_is_raised_here(count: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(spread(partial(divmod, 7), [1, 2, 0, 3, 4], count=count))


class Untold(Exception):
    """One that does not travel."""

    def __reduce__(self) -> str:
        raise TypeError("no")


def fail(error: Exception) -> None:
    raise error


def fail_untold(number: int) -> None:
    raise Untold(number)


@pytest.mark.parametrize("error", [CannotWrite("a.pt", "disk full"), UnsafePickle("a.pt", "os.system", opcode="GLOBAL", position=3)])
def test_our_errors_are_raised_as_they_were(error: EmbconvError) -> None:
    with pytest.raises(type(error)) as raised:
        list(spread(fail, [error] * 4, count=2))
    assert (str(raised.value), vars(raised.value)) == (str(error), vars(error))


def test_an_error_that_does_not_travel_is_raised_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"Untold\("):
        list(spread(fail_untold, range(4), count=2))


def same(value: object) -> object:
    return value


# both waited for the other to take what was longer than the pipe
@pytest.mark.parametrize("work", [partial(map, same), one_behind_of_any], ids=["at once", "one behind"])
def test_long_items_and_long_results_pass_each_other(work: Any) -> None:
    items = [f"{number}" * 400_000 for number in range(9)]
    assert list(through(work, items, count=2)) == items


# the processes of one thread had the pipes to those of the other, which so never heard of the end
def test_two_threads_may_each_have_processes(tmp_path: Path) -> None:
    def wait_for(number: int) -> int:
        while number and not (tmp_path / "go").exists():
            time.sleep(0.01)
        return number

    slow: list[int] = []
    fast = through(one_behind, range(1_000), count=2)
    other = threading.Thread(target=lambda: slow.extend(spread(wait_for, range(4), count=2)))
    next(fast)
    other.start()
    until(lambda: len(multiprocessing.active_children()) == 4)
    closed = threading.Thread(target=fast.close)  # type: ignore[attr-defined]  # it is a generator
    closed.start()
    closed.join(20)
    assert not closed.is_alive()
    (tmp_path / "go").touch()
    other.join(20)
    assert slow == [0, 1, 2, 3]


def test_a_process_that_is_killed_is_told() -> None:
    with pytest.raises(EmbconvError, match=r"ended from outside.*Run the same command again"):
        list(spread(killed, range(20), count=2))


def test_those_that_are_not_wanted_any_more_end() -> None:
    results = through(one_behind, range(10_000), count=2)
    pids = {next(results)[1]}
    results.close()  # type: ignore[attr-defined]  # it is a generator
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


LONELY = """
import os, sys, time
from embconv.converters.processes import spread
def note(number):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.05)
    return number
for number in spread(note, range(10_000), count=2):
    pass
"""


@pytest.mark.skipif(os.name == "nt", reason="it kills as POSIX does")
def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = subprocess.Popen([sys.executable, "-c", LONELY, seen])
    while len(set(seen.read_text().split() if seen.exists() else ())) < 2:
        time.sleep(0.01)
    process.kill()
    process.wait(60)
    pids = {int(pid) for pid in seen.read_text().split()}
    until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid: int) -> bool:
    """A process that has ended and that nobody has asked about counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" if Path("/proc/self").exists() else not os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


# ---- Ctrl-C ----


# it ended in "cannot join thread before it is started"
def test_ctrl_c_waits_until_the_processes_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Impatient(multiprocessing.Process):
        def start(self) -> None:
            signal.raise_signal(signal.SIGINT)
            super().start()
            started.append(self)

    monkeypatch.setattr(multiprocessing, "Process", Impatient)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(spread(abs, range(200), count=2))
    assert [process.exitcode for process in started] == [0, 0]
    assert signal.getsignal(signal.SIGINT) is before


# a terminal sends Ctrl-C to the new processes too; on Python 3.14 and on macOS they begin with nothing that would ignore it
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no masks")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_ctrl_c_while_a_process_starts_does_not_reach_it(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    monkeypatch.setattr(processes, "multiprocessing", context)
    process = context.Process(target=signal.raise_signal, args=(signal.SIGINT,))
    with processes.ctrl_c_later():
        process.start()
    process.join(60)
    assert process.exitcode == 0


# another thread, such as that of the progress bar, may take the signal
def test_ctrl_c_that_another_thread_takes_waits_too() -> None:
    may, done = threading.Event(), threading.Event()

    def take() -> None:
        may.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        done.set()

    threading.Thread(target=take).start()
    finished: list[bool] = []

    def wait() -> None:
        with processes.ctrl_c_later():
            may.set()
            done.wait()
            finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        wait()
    assert finished
