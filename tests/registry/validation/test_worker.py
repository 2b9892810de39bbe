"""A worker: batches of one checkpoint, verdicts as they come, and whatever breaks one off costs no other its verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from judged import Fakes, checkpoint, fill, judged, know

from embconv.registry.blobs import Blobs
from embconv.registry.errors import Busy, StorageFull
from embconv.registry.ingest import take_away
from embconv.registry.render_errors import DeviceFailed, DeviceFull
from embconv.registry.store import Store, digest_of, resolve
from embconv.registry.store.checkpoints import drop_checkpoint
from embconv.registry.store.leases import Group, groups, lapsed, running
from embconv.registry.store.validations import verdicts_of
from embconv.registry.times import now
from embconv.registry.validation import hands as hands_module
from embconv.registry.validation.hands import Hands, chosen
from embconv.registry.validation.presence import Presence
from embconv.registry.validation.stopping import Ended, Stop
from embconv.registry.validation.supervise import supervise
from embconv.registry.validation.worker import AGAIN, STOPPED, Worker, drain, run
from embconv.registry.validations import KIND, Wanted, ask, one, pending

FIFTEEN, OTHER, GONE, TWO = checkpoint("fifteen"), checkpoint("other"), checkpoint("gone"), checkpoint("two", "sd2")
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither these signals nor locks that a dead process gives back")
MODULE = str(Path(__file__).parents[2] / "judged.py")


@pytest.fixture
def known(store: Store) -> Store:
    know(store, FIFTEEN, OTHER, TWO, GONE)
    return store


@pytest.fixture
def presence(home: str, store: Store) -> Iterator[Presence]:
    with Presence(home) as living:
        yield living


@pytest.fixture
def work(known: Store, blobs: Blobs, presence: Presence) -> Callable[..., list[str]]:
    """Work until nothing waits; what was said."""

    def worked(tools: Fakes, **more: Any) -> list[str]:
        said: list[str] = []
        worker = Worker(Hands(known, blobs, presence), tools, Stop(), say=said.append, **more)
        while True:
            try:
                worker.work(once=True)
                return said
            except (DeviceFailed, DeviceFull) as exc:
                said.append(f"restart: {exc.code}")
                worker = Worker(Hands(known, blobs, presence), tools, Stop(), say=said.append, **more)

    return worked


def states(store: Store, *names: str) -> list[str]:
    return [verdicts[0].verdict.state if (verdicts := verdicts_of(store.read, resolve(store.read, name))) else "none" for name in names]


# the plain way


def test_all_that_waits_is_done_in_one_batch_and_said(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a", "broken b", "c")
    numbers, tools = pending(known, Wanted()), Fakes()
    (line,) = work(tools)
    assert tools.batches == [["a", "broken b", "c"]]
    assert line.startswith("fifteen, standard: 2 pass, 1 broken of 3 in ")
    assert [one(known, number).state for number in numbers] == ["done"] * 3
    assert states(known, "a", "broken b", "c") == ["pass", "broken", "pass"]


def test_each_checkpoint_is_loaded_once(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a", "b")
    fill(known, blobs, "two", base="sd2", first=9)
    for name in ("a", "b"):
        ask(known, name, Wanted())
        ask(known, name, Wanted(checkpoint="other"))
        ask(known, name, Wanted(profile="quick"))
    ask(known, "two", Wanted())
    tools = Fakes()
    work(tools)
    assert tools.loads == ["fifteen", "other", "two"]
    assert sorted(map(sorted, tools.batches)) == [["a", "b"], ["a", "b"], ["a", "b"], ["two"]]


def test_a_verdict_is_there_before_its_batch_has_ended(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a", "b", "c")
    numbers, seen, tools = pending(known, Wanted()), [], Fakes()

    def before(digest: str) -> None:
        until = time.monotonic() + 10
        if digest == one(known, numbers[2]).digest:
            while one(known, numbers[0]).state != "done" and time.monotonic() < until:
                time.sleep(0.01)
            seen.append([one(known, number).state for number in numbers])

    tools.before = before
    work(tools)
    assert seen[0][0] == "done"
    assert seen[0][2] == "running"


def test_what_is_worked_on_is_renewed(known: Store, blobs: Blobs, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands_module, "LEASE", 0.4)
    monkeypatch.setattr(Hands.renewing.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]  # a context manager's function
    fill(known, blobs, "a")
    pending(known, Wanted())
    late: list[Any] = []
    tools = Fakes(seconds=1.0)
    tools.before = lambda digest: late.extend(lapsed(known.read, KIND, [], now()))
    work(tools)
    assert late == []
    assert states(known, "a") == ["pass"]


def test_nothing_to_do_is_the_end_of_once(work: Any) -> None:
    tools = Fakes()
    assert work(tools) == []
    assert tools.loads == []


@pytest.mark.parametrize(
    ("found", "loaded", "since", "before", "first"),
    [([("f:1", 0, 5, "3"), ("g:1", 0, 2, "1")], "", "", "0", 2), ([("f:1", 0, 5, "3"), ("g:1", 0, 2, "1")], "f", "0", "0", 5),
     ([("f:1", 0, 5, "3"), ("g:1", 0, 2, "1")], "f", "1", "2", 2), ([("f:1", 0, 5, "3"), ("g:1", 0, 2, "1")], "f", "3", "2", 5),
     ([("f:1", 8, 1, "1"), ("f:1", 0, 9, "1")], "f", "0", "0", 9), ([("f:1", 2, 1, "1"), ("f:2", 8, 9, "1")], "f", "0", "0", 9),
     ([("g:1", 0, 2, "1")], "f", "9", "0", 2)],
    ids=["the oldest", "the loaded", "others have waited too long", "it has just come", "those without a fault", "the largest crowd", "nothing else"],
)  # fmt: skip
def test_which_jobs_are_next(found: Any, loaded: str, since: str, before: str, first: int) -> None:
    group = chosen([Group(batch, crowd, 1, number, asked) for batch, crowd, number, asked in found], loaded, since, before)
    assert group is not None
    assert group.first == first
    assert chosen([], loaded, since, before) is None


# what goes wrong with one


def test_what_was_removed_while_it_waited_fails_alone(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a", "b")
    first, second = pending(known, Wanted())
    take_away(known, blobs, resolve(known.read, "a"), why="a test")
    work(Fakes())
    failed = one(known, first).failed
    assert failed is not None
    assert (one(known, first).state, failed.code, one(known, second).state) == ("failed", "gone", "done")


def test_what_was_removed_while_it_was_rendered_fails_alone(known: Store, blobs: Blobs, work: Any) -> None:
    (digest, _) = fill(known, blobs, "a", "b")
    first, second = pending(known, Wanted())
    tools = Fakes()
    tools.before = lambda found: take_away(known, blobs, resolve(known.read, "a")) if found == digest else None
    work(tools)
    failed = one(known, first).failed
    assert failed is not None
    assert (failed.code, one(known, second).state) == ("gone", "done")
    assert [each for each in blobs.all() if not blobs.read(each)] == []


def test_one_whose_bytes_are_lost_fails_alone(known: Store, blobs: Blobs, work: Any) -> None:
    from embconv.registry.store import files_of

    fill(known, blobs, "a", "b")
    first, second = pending(known, Wanted())
    blobs.remove(files_of(known.read, resolve(known.read, "a"))[0].sha256)
    work(Fakes())
    failed = one(known, first).failed
    assert failed is not None
    assert (failed.code, one(known, second).state) == ("unreadable_file", "done")


def test_one_that_cannot_be_made_ready_fails_alone(known: Store, blobs: Blobs, work: Any) -> None:
    class Clumsy(Fakes):
        def subject(self, embedding: Any, entry: Any, file: Any) -> Any:
            return super().subject(embedding, entry, file) if entry.name == "b" else entry.no_such_thing

    fill(known, blobs, "a", "b")
    first, second = pending(known, Wanted())
    work(Clumsy())
    failed = one(known, first).failed
    assert failed is not None
    assert (failed.code, one(known, second).state) == ("error", "done")
    assert "no_such_thing" in failed.says


def test_a_checkpoint_that_is_gone_fails_all_its_jobs_at_once_and_no_other(known: Store, blobs: Blobs, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.registry.validation.worker.AT_ONCE", 2)
    fill(known, blobs, *"abcde")
    lost = pending(known, Wanted(checkpoint="gone"))
    good = pending(known, Wanted())
    tools = Fakes()
    said = work(tools)
    assert tools.loads == ["gone", "fifteen"]
    failures = [one(known, number).failed for number in lost]
    assert [each.code for each in failures if each] == ["bad_checkpoint"] * 5
    assert [one(known, number).state for number in good] == ["done"] * 5
    assert "[bad_checkpoint] 5 jobs that want it have failed." in said[0]


def test_a_checkpoint_that_was_forgotten_fails_its_jobs(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a")
    (number,) = pending(known, Wanted())
    known.write(lambda db: drop_checkpoint(db, "fifteen"))
    work(Fakes())
    failed = one(known, number).failed
    assert failed is not None
    assert failed.code == "unknown_checkpoint"


def test_a_checkpoint_that_was_replaced_fails_its_jobs_and_says_so(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a")
    (number,) = pending(known, Wanted())
    know(known, checkpoint("fifteen", fingerprint="f" * 64))
    tools = Fakes()
    work(tools)
    failed = one(known, number).failed
    assert failed is not None
    assert (failed.code, failed.hint, tools.loads) == ("bad_checkpoint", "Ask again.", [])
    assert "stands for fifteen now" in failed.says


def test_of_a_checkpoint_with_two_names_the_one_that_is_there_is_loaded(known: Store, blobs: Blobs, work: Any, tmp_path: Path) -> None:
    know(known, checkpoint("copy", fingerprint=FIFTEEN.fingerprint, path=str(tmp_path)))
    fill(known, blobs, "a")
    pending(known, Wanted())
    tools = Fakes()
    work(tools)
    assert (tools.loads, states(known, "a")) == (["copy"], ["pass"])


def test_a_verdict_that_may_come_out_otherwise_is_tried_three_times(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a")
    pending(known, Wanted())

    class Hesitant(Fakes):
        def judge(self, model: Any, subjects: Any, protocol: Any, calibration: Any) -> Any:
            self.batches.append([each.name for each in subjects])
            for each in subjects:
                found = judged(model, protocol, each.digest, "error")
                yield type(found)(digest=found.digest, verdict=found.verdict, pictures=found.pictures, retry=True)

    tools = Hesitant()
    work(tools)
    assert tools.batches == [["a"]] * 3
    assert states(known, "a") == ["error"]


# what breaks a whole batch off

NAMES = [f"n{number}" for number in range(13)]


@pytest.mark.parametrize(("bad", "restarts"), [("error", False), ("device", True), ("cuda", True), ("refused", False)])
def test_the_one_that_breaks_batches_off_is_found_and_all_others_have_verdicts(known: Store, blobs: Blobs, work: Any, bad: str, restarts: bool) -> None:
    fill(known, blobs, *NAMES[:5], f"{bad} one", *NAMES[5:9], f"{bad} two", *NAMES[9:])
    pending(known, Wanted())
    tools = Fakes()
    said = work(tools)
    assert states(known, *NAMES) == ["pass"] * 13
    assert states(known, f"{bad} one", f"{bad} two") == ["error", "error"]
    (found,) = verdicts_of(known.read, resolve(known.read, f"{bad} one"))
    assert found.verdict.because.startswith("Rendering it broke off twice while it was alone: ")
    assert Counter(name for batch in tools.batches for name in batch if not name.startswith(bad))["n0"] <= 6
    assert any(line == "restart: device_failed" for line in said) == restarts
    assert len(tools.batches) <= 24


def test_those_that_had_their_verdict_before_are_not_done_again(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, *"abcd")
    pending(known, Wanted())
    tools, once = Fakes(), []

    def before(digest: str) -> None:
        if digest == one(known, 3).digest and not once:
            once.append(digest)
            raise DeviceFull("cpu", 64, 64)

    tools.before = before
    work(tools)
    assert tools.batches == [["a", "b", "c", "d"], ["c"], ["d"]]
    assert states(known, *"abcd") == ["pass"] * 4


def test_a_model_that_does_not_fit_is_no_jobs_fault(known: Store, blobs: Blobs, presence: Presence) -> None:
    know(known, checkpoint("huge"))
    fill(known, blobs, "a", "b")
    pending(known, Wanted(checkpoint="huge"))
    for _ in range(3):
        with pytest.raises(DeviceFull):
            Worker(Hands(known, blobs, presence), Fakes(), Stop(), say=lambda text: None).work(once=True)
    assert [(each.count, each.crowd) for each in groups(known.read, KIND)] == [(2, 0)]


def test_a_model_that_does_not_fit_keeps_no_other_waiting(known: Store, blobs: Blobs, presence: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    know(known, checkpoint("huge"))
    fill(known, blobs, "a", "b")
    large, small, tools, said = pending(known, Wanted(checkpoint="huge")), pending(known, Wanted()), Fakes(), []
    worker = Worker(Hands(known, blobs, presence), tools, Stop(), say=said.append)
    with pytest.raises(DeviceFull):
        worker.work(once=True)
    assert tools.loads == ["huge", "fifteen"]
    assert [one(known, number).state for number in (*large, *small)] == ["waiting", "waiting", "done", "done"]
    assert "[device_full] What wants it waits; it is tried again in 10 minutes." in said[0]
    monkeypatch.setattr("embconv.registry.validation.worker.FULL", 0.0)
    worker.too_large.clear()
    tools.load = lambda found: found  # type: ignore[method-assign]  # the memory is free again
    worker.work(once=True)
    assert [one(known, number).state for number in large] == ["done", "done"]


def test_a_judge_that_says_nothing_of_one_ends_in_an_error_for_it(known: Store, blobs: Blobs, work: Any) -> None:
    fill(known, blobs, "a", "mute")

    class Mute(Fakes):
        def judge(self, model: Any, subjects: Any, protocol: Any, calibration: Any) -> Any:
            yield from super().judge(model, [each for each in subjects if each.name != "mute"], protocol, calibration)

    pending(known, Wanted())
    work(Mute())
    assert states(known, "a", "mute") == ["pass", "error"]


def test_a_full_disk_ends_the_worker_and_gives_everything_back(known: Store, blobs: Blobs, presence: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StorageFull

    fill(known, blobs, "a", "b")
    pending(known, Wanted())
    monkeypatch.setattr("embconv.registry.validation.keeper.keep", full)
    with pytest.raises(StorageFull):
        Worker(Hands(known, blobs, presence), Fakes(), Stop(), say=lambda text: None).work(once=True)
    assert [(each.count, each.crowd) for each in groups(known.read, KIND)] == [(2, 0)]


def test_a_busy_database_is_waited_for(known: Store, blobs: Blobs, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(known, blobs, "a")
    pending(known, Wanted())
    busy, write = [1, 1], known.write

    def sometimes(job: Any) -> Any:
        if busy:
            busy.pop()
            raise Busy
        return write(job)

    monkeypatch.setattr("embconv.registry.validation.worker.EVERY", 0.01)
    monkeypatch.setattr(known, "write", sometimes)
    work(Fakes())
    assert states(known, "a") == ["pass"]


# being stopped


def test_a_worker_that_is_stopped_gives_back_what_it_has_not_done(known: Store, blobs: Blobs, presence: Presence) -> None:
    fill(known, blobs, *"abcd")
    numbers, tools, stop = pending(known, Wanted()), Fakes(), Stop()
    tools.before = lambda digest: stop.ask() if digest == one(known, numbers[2]).digest else None
    with pytest.raises(Ended):
        Worker(Hands(known, blobs, presence), tools, stop, say=lambda text: None).work(once=True)
    assert [one(known, number).state for number in numbers] == ["done", "done", "waiting", "waiting"]
    assert [(each.count, each.crowd) for each in groups(known.read, KIND)] == [(2, 0)]


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, STOPPED)])
def test_a_signal_ends_a_worker_at_once_whether_it_works_or_waits(known: Store, blobs: Blobs, home: str, number: int, code: int) -> None:
    fill(known, blobs, "a", "b")
    jobs, tools = pending(known, Wanted()), Fakes()

    def hang(digest: str) -> None:
        if digest == one(known, jobs[1]).digest:
            threading.Timer(0.3, os.kill, [os.getpid(), number]).start()
            time.sleep(20)

    tools.before = hang
    began = time.monotonic()
    assert run(home, lambda: tools, say=lambda text: None) == code
    assert [one(known, job).state for job in jobs] == ["done", "waiting"]
    tools.before = lambda digest: None
    threading.Timer(1.0, os.kill, [os.getpid(), number]).start()
    assert run(home, lambda: tools, say=lambda text: None) == code
    assert time.monotonic() - began < 10
    assert [one(known, job).state for job in jobs] == ["done", "done"]


def test_a_failed_device_has_an_exit_code_of_its_own(known: Store, blobs: Blobs, home: str) -> None:
    fill(known, blobs, "device")
    pending(known, Wanted())
    assert run(home, Fakes, once=True, say=lambda text: None) == AGAIN


# other workers


def test_what_a_dead_worker_held_is_done_by_others_in_smaller_groups(known: Store, blobs: Blobs, home: str, work: Any) -> None:
    fill(known, blobs, *"abcd")
    pending(known, Wanted())
    with Presence(home) as dead:
        assert len(Hands(known, blobs, dead).take("", "", 9) or ()) == 4
    tools = Fakes()
    work(tools)
    assert tools.batches == [["a", "b"], ["c", "d"]]
    assert states(known, *"abcd") == ["pass"] * 4


def test_what_a_living_worker_holds_is_waited_for(known: Store, blobs: Blobs, home: str, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.registry.validation.worker.EVERY", 0.01)
    fill(known, blobs, "a")
    (number,) = pending(known, Wanted())
    with Presence(home) as living:
        other = Hands(known, blobs, living)
        assert other.take("", "", 9)
        threading.Timer(0.3, other.back).start()
        began = time.monotonic()
        tools = Fakes()
        work(tools)
    assert time.monotonic() - began > 0.25
    assert (tools.batches, one(known, number).attempt) == ([["a"]], 2)


def test_a_lease_that_lapsed_is_taken_over_and_the_late_verdict_dropped(known: Store, blobs: Blobs, home: str, presence: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was asleep for longer than its lease finds that another has done its job."""
    monkeypatch.setattr(hands_module, "LEASE", -1.0)
    fill(known, blobs, "a")
    (number,) = pending(known, Wanted())
    slow, quick, said = Fakes(drawn="slow"), Fakes(drawn="quick"), []

    def other_comes(digest: str) -> None:
        with Presence(home) as living:
            monkeypatch.setattr(hands_module, "LEASE", 60.0)
            Worker(Hands(known, blobs, living), quick, Stop(), say=said.append).work(once=True)

    slow.before = other_comes
    Worker(Hands(known, blobs, presence), slow, Stop(), say=said.append).work(once=True)
    assert one(known, number).attempt == 2
    (found,) = verdicts_of(known.read, resolve(known.read, "a"))
    assert blobs.read(found.renders[1].id).endswith(b"quick")
    assert "1 lost to another worker of 1" in said[1]
    assert len(list(blobs.all())) == 1 + len(found.renders)


@posix
def test_a_presence_ends_with_its_process(home: str, store: Store) -> None:
    with Presence(home) as mine, Presence(home) as other:
        assert mine.dead([mine.name, other.name, "1-nobody"]) == {"1-nobody"}
        code = "import sys; from embconv.registry.validation.presence import Presence; print(Presence(sys.argv[1]).name, flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", code, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            assert mine.dead([name]) == set()
            process.kill()
            process.wait()
            assert mine.dead([name]) == {name}
    assert list(Path(home, "workers").iterdir()) == []


# all that waits, in one process


def heard_of(store: Store, name: str) -> str:
    return digest_of(store.read, resolve(store.read, name))


def test_draining_asks_for_and_does_only_what_has_no_verdict(known: Store, blobs: Blobs, home: str) -> None:
    fill(known, blobs, "a", "broken b", "error c")
    fill(known, blobs, "two", base="sd2", first=9)
    elsewhere = ask(known, "a", Wanted(profile="quick")).id
    heard: list[tuple[str, str]] = []
    counts: list[int] = []

    def hear(digest: str, outcome: Any) -> None:
        heard.append((digest, outcome.verdict.state))

    assert drain(home, Fakes, Wanted(), base="sd1", heard=hear, asked=counts.append) == 3
    assert counts == [3]
    assert sorted(state for _, state in heard) == ["broken", "error", "pass"]
    assert states(known, "error c", "two") == ["error", "none"]
    assert one(known, elsewhere).state == "waiting"
    assert drain(home, Fakes, Wanted(), limit=1) == 1
    assert states(known, "two") == ["pass"]
    assert drain(home, lambda: pytest.fail("nothing is to be loaded"), Wanted(), base="sd2") == 0
    assert drain(home, Fakes, Wanted(), heard=hear) == 1
    assert heard[3:] == [(heard_of(known, "error c"), "error")]


def test_draining_raises_what_fails_the_device_and_loses_nothing(known: Store, blobs: Blobs, home: str) -> None:
    fill(known, blobs, "a", "device b")
    pending(known, Wanted())
    with pytest.raises(DeviceFailed):
        drain(home, Fakes, Wanted())
    assert running(known.read, KIND) == []
    assert [(each.count, each.crowd) for each in groups(known.read, KIND)] == [(2, 2)]


# a process that is started again


def supervised(home: str, log: Path, *more: str) -> tuple[int, str]:
    code = f"import sys; from embconv.registry.validation.supervise import supervise; sys.exit(supervise({home!r}, [], command={[sys.executable, MODULE, home, str(log), '0', *more]!r}, pauses=(0.01, 0.02)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(Path(MODULE).parent)})
    return done.returncode, done.stderr


@posix
@pytest.mark.parametrize(("bad", "how"), [("device", "its device broke off"), ("kill", "signal 9")])
def test_a_new_process_goes_on_where_one_broke_off(known: Store, blobs: Blobs, home: str, tmp_path: Path, bad: str, how: str) -> None:
    fill(known, blobs, "a", f"{bad} b", "c")
    pending(known, Wanted())
    code, said = supervised(home, tmp_path / "log", "once", "child")
    assert code == 0, said
    assert states(known, "a", f"{bad} b", "c") == ["pass", "error", "pass"]
    assert f"The worker ended ({how}); another begins in 0 s." in said
    assert len({line.split()[1] for line in (tmp_path / "log").read_text().splitlines()}) >= 2


@posix
@pytest.mark.parametrize("bad", ["device", "kill"])
def test_many_at_fault_do_not_end_the_worker(known: Store, blobs: Blobs, home: str, tmp_path: Path, bad: str) -> None:
    """Halving is progress, though one process after the other ends without a verdict."""
    names = [f"{bad} {place}" if place % 2 == 0 else f"n{place}" for place in range(16)]
    fill(known, blobs, *names)
    pending(known, Wanted())
    code, said = supervised(home, tmp_path / "log", "once", "child")
    assert code == 0, said
    assert states(known, *names) == ["error", "pass"] * 8


@posix
def test_a_device_that_always_breaks_off_is_given_up_before_anything_is_blamed(known: Store, blobs: Blobs, home: str, tmp_path: Path) -> None:
    names = [f"device {place}" for place in range(8)]
    fill(known, blobs, *names)
    numbers = pending(known, Wanted())
    code, said = supervised(home, tmp_path / "log", "once", "child")
    assert (code, "without any progress" in said) == (1, True)
    assert {one(known, number).state for number in numbers} == {"waiting"}


@posix
def test_a_worker_that_never_gets_anywhere_is_not_started_for_ever(known: Store, blobs: Blobs, home: str, tmp_path: Path) -> None:
    know(known, checkpoint("huge"))
    fill(known, blobs, "a")
    (number,) = pending(known, Wanted(checkpoint="huge"))
    code, said = supervised(home, tmp_path / "log", "once")
    assert code == 1
    assert "5 times in a row without any progress" in said
    assert one(known, number).state == "waiting"


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_a_worker_that_ended_by_itself_is_not_started_again(home: str, tmp_path: Path, code: int) -> None:
    script = f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit({code})"
    assert supervise(home, [], command=[sys.executable, "-c", script]) == code
    assert (tmp_path / "starts").read_text() == "x"


@posix
def test_sigterm_reaches_the_worker_through_its_supervisor(known: Store, blobs: Blobs, home: str, tmp_path: Path) -> None:
    fill(known, blobs, "a", "b")
    numbers = pending(known, Wanted())
    log = tmp_path / "log"
    command = [sys.executable, MODULE, home, str(log), "0.5", "child"]
    code = f"import sys; from embconv.registry.validation.supervise import supervise; sys.exit(supervise({home!r}, [], command={command!r}))"
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(MODULE).parent)}, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 30
        while not log.exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        with closing(process.stderr):
            assert "Traceback" not in process.stderr.read()
    assert sorted(one(known, number).state for number in numbers) in (["done", "waiting"], ["done", "done"], ["waiting", "waiting"])
    assert running(known.read, KIND) == []


@posix
def test_a_worker_does_not_outlive_the_one_that_started_it(known: Store, blobs: Blobs, home: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, MODULE, home, str(log), "0", "child"]
    code = f"import sys; from embconv.registry.validation.supervise import supervise; sys.exit(supervise({home!r}, [], command={command!r}))"
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(MODULE).parent)}, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not list(Path(home, "workers").glob("*")) and time.monotonic() < until:
            time.sleep(0.01)
        assert list(Path(home, "workers").glob("*"))
        process.kill()
        process.wait()
    while list(Path(home, "workers").glob("*")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(Path(home, "workers").glob("*")) == []
