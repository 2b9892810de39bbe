"""Workers that are killed, and several at once: every job ends, each with one verdict. EMBCONV_FAULT_ROUNDS=50: 50 kills."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import judged
import pytest
from faults.harness import check_sound, database, killed

from embconv.registry.blobs import Blobs
from embconv.registry.store import Store
from embconv.registry.validations import Wanted, pending
from embconv.registry.verify import verify

KILLS = int(os.environ.get("EMBCONV_FAULT_ROUNDS", "6"))
JOBS, SLOW = 40 * KILLS, 0.005
UNKEPT = 40  # verdicts that a worker may have in hand when it is killed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL, nor locks that a dead process gives back")


def worker(home: Path, log: Path, *more: str, seconds: float = SLOW) -> subprocess.Popen[bytes]:
    """A worker whose judge draws nothing, until nothing waits."""
    command = [sys.executable, judged.__file__, str(home), str(log), str(seconds), "once", *more]
    path = os.fspath(Path(judged.__file__).parent)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "PYTHONPATH": path})


def filled(home: Path, count: int) -> None:
    """A registry in which so many jobs wait."""
    with Store(os.fspath(home)) as store:
        judged.know(store, judged.checkpoint())
        judged.fill(store, Blobs(os.fspath(home)), *(f"n{number}" for number in range(count)))
        assert len(pending(store, Wanted())) == count


def lines(log: Path) -> list[str]:
    """Which verdicts were found, by whom, in their order."""
    return log.read_text().splitlines() if log.exists() else []


def open_jobs(home: Path) -> int:
    with database(home) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running')").fetchone()[0])


def check_all_judged(home: Path, count: int) -> None:
    """Every job is done, with one verdict that passes, whose pictures are there; and nothing else is."""
    with database(home) as db:
        assert db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall() == [("done", count)]
        assert db.execute("SELECT state, count(*), count(DISTINCT embedding_id) FROM verdicts GROUP BY state").fetchall() == [("pass", count, count)]
        assert db.execute("SELECT count(*), count(DISTINCT sha256) FROM renders").fetchone() == (2 * count, count + 1)
        assert db.execute("SELECT DISTINCT verdict FROM embeddings").fetchall() == [("pass",)]
    check_sound(home)
    with Store(os.fspath(home)) as store:
        assert verify(store, Blobs(os.fspath(home))).problems == ()


def ended(process: subprocess.Popen[bytes]) -> None:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


def test_a_worker_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    dice, home, log = random.Random(1), tmp_path / "home", tmp_path / "log"
    filled(home, JOBS)
    kills = 0
    while kills < KILLS and open_jobs(home) > 30:
        before = len(lines(log))
        kills += killed(worker(home, log), lambda before=before: len(lines(log)) > before, dice.uniform(0, 0.3)) < 0
        check_sound(home)
    ended(worker(home, log))
    check_all_judged(home, JOBS)
    assert kills >= min(KILLS, 3)
    assert len(lines(log)) <= JOBS + kills * UNKEPT
    assert list((home / "workers").iterdir()) == []
    assert list((home / "blobs" / "tmp").iterdir()) == []


def test_several_workers_share_the_work_and_do_nothing_twice(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    filled(home, 120)
    workers = [worker(home, log, "at=7") for _ in range(3)]
    for each in workers:
        ended(each)
    check_all_judged(home, 120)
    times = Counter(line.split()[0] for line in lines(log))
    assert (len(times), set(times.values())) == (120, {1})
    assert len({line.split()[1] for line in lines(log)}) >= 2


def test_the_jobs_of_a_killed_worker_are_done_by_the_one_beside_it(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    filled(home, 60)
    first = worker(home, log, "at=40", seconds=0.02)
    until = time.monotonic() + 30
    while len(lines(log)) < 5 and time.monotonic() < until:
        time.sleep(0.005)
    second = worker(home, log, "at=40", seconds=0.02)
    killed(first, lambda: len({line.split()[1] for line in lines(log)}) == 2, 0.05)
    ended(second)
    check_all_judged(home, 60)
