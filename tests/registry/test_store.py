"""The database: set up right at every connection, written by many at once, whole whatever happens."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embconv.registry.errors import Busy, NoStore, StorageFailed, StorageFull
from embconv.registry.model import Refusal
from embconv.registry.store import Store, check_writable, counts, latest_revision, refusals, refuse


def noted(name: str) -> Refusal:
    return Refusal(at="2026-01-01T00:00:00.000Z", sha256="", name=name, size=1, code="x", says="x", source="")


def names(store: Store) -> list[str]:
    return sorted(refusal.name for _, refusal in refusals(store.read, 10_000))


def test_every_connection_is_durable_and_waits(store: Store) -> None:
    with ThreadPoolExecutor(3) as pool:
        connections = [store.read, store._writer, *pool.map(lambda _: store.read, range(3))]
        for db in connections:
            found = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")}
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
            assert db.execute("PRAGMA busy_timeout").fetchone()[0] >= 5_000


def test_each_thread_reads_by_itself(store: Store) -> None:
    mine = store.read
    assert store.read is mine
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: store.read).result() is not mine


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    for _ in range(20):
        thread = threading.Thread(target=lambda: store.read.execute("SELECT 1").fetchall())
        thread.start()
        thread.join()
    assert len(store._readers._open) <= 2


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    def work(db):
        refuse(db, noted("a"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write(work)
    assert names(store) == []


def test_of_writes_in_one_transaction_only_the_bad_one_is_undone(store: Store) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first(db):
        begun.set()
        assert gate.wait(10)
        refuse(db, noted("first"))

    def bad(db):
        refuse(db, noted("bad"))
        raise ValueError("bad")

    with ThreadPoolExecutor(8) as pool:
        leader = pool.submit(store.write, first)
        assert begun.wait(10)  # the others queue up behind it and are one group
        good = [pool.submit(store.write, lambda db, n=n: refuse(db, noted(f"good {n}"))) for n in range(3)]
        wrong = pool.submit(store.write, bad)
        while len(store._group._queue) < 4:
            pass
        gate.set()
        leader.result(10)
        for future in good:
            future.result(10)
        with pytest.raises(ValueError, match="bad"):
            wrong.result(10)
    assert names(store) == ["first", "good 0", "good 1", "good 2"]


def test_a_write_returns_only_what_is_committed(store: Store, home: str) -> None:
    with ThreadPoolExecutor(16) as pool, sqlite3.connect(os.path.join(home, "registry.db")) as other:
        def one(n: int) -> None:
            store.write(lambda db: refuse(db, noted(f"{n}")))

        for done in [pool.submit(one, n) for n in range(300)]:
            done.result(30)
        assert other.execute("SELECT count(*) FROM refusals").fetchone()[0] == 300
    other.close()


def test_a_write_within_a_write_is_a_mistake_that_is_said(store: Store) -> None:
    with pytest.raises(RuntimeError, match="within a write"):
        store.write(lambda db: store.write(check_writable))
    store.write(check_writable)


def test_ctrl_c_in_the_leader_undoes_its_write_and_no_other(store: Store) -> None:
    gate, begun = threading.Event(), threading.Event()

    def interrupted(db):
        refuse(db, noted("interrupted"))
        begun.set()
        assert gate.wait(10)
        raise KeyboardInterrupt

    def lead() -> str:
        try:
            store.write(interrupted)
        except KeyboardInterrupt:
            return "interrupted"
        return "not"

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(lead)
        assert begun.wait(10)
        other = pool.submit(store.write, lambda db: refuse(db, noted("other")))
        gate.set()
        assert leader.result(10) == "interrupted"
        other.result(10)
    assert names(store) == ["other"]


def test_another_writer_is_waited_for_and_then_it_is_busy(home: str) -> None:
    with Store(home, busy_seconds=0.2) as store:
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            store.write(check_writable)
        other.execute("COMMIT")
        other.close()
        store.write(lambda db: refuse(db, noted("after")))
        assert names(store) == ["after"]


def test_a_full_disk_is_said_and_passes(store: Store) -> None:
    store.write(lambda db: refuse(db, noted("before")))
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFull):
        store.write(lambda db: [refuse(db, noted("x" * 3000)) for _ in range(50)])
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store.write(lambda db: refuse(db, noted("after")))
    assert names(store) == ["after", "before"]


def test_a_disk_that_may_not_be_written_is_said_and_passes(store: Store) -> None:
    store._writer.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageFailed):
        store.write(lambda db: refuse(db, noted("no")))
    store._writer.execute("PRAGMA query_only = 0")
    store.write(lambda db: refuse(db, noted("after")))
    assert names(store) == ["after"]


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(NoStore):
        Store(str(folder))


def test_what_is_no_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NoStore):
        Store(str(tmp_path / "file"))


def test_what_is_no_database_is_no_store_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(NoStore):
        Store(str(tmp_path))
    assert (tmp_path / "registry.db").read_bytes() == b"no database at all" * 1000


def test_a_store_that_must_be_there_is_not_made(home: str) -> None:
    with pytest.raises(NoStore, match=r"no registry\.db"):
        Store(home, create=False)
    assert not os.path.exists(home)


OPEN = """
import sys
from embconv.registry.store import Store, refuse
from embconv.registry.model import Refusal
with Store(sys.argv[1]) as store:
    for n in range(int(sys.argv[3])):
        name = f"{sys.argv[2]} {n}"
        store.write(lambda db: refuse(db, Refusal(at="", sha256="", name=name, size=1, code="x", says="x", source="")))
        store.write(lambda db: db.execute("UPDATE revisions SET latest = latest + 1"))
"""


def test_many_processes_open_a_fresh_home_at_once_and_no_update_is_lost(home: str) -> None:
    running = [subprocess.Popen([sys.executable, "-c", OPEN, home, str(n), "40"], stderr=subprocess.PIPE, text=True) for n in range(6)]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert errors == [""] * 6
    with Store(home) as store:
        assert len(names(store)) == 240
        assert latest_revision(store.read) == 240


KILLED = """
import os, sys
from embconv.registry.store import Store, refuse
from embconv.registry.model import Refusal
store = Store(sys.argv[1])
def work(db):
    refuse(db, Refusal(at="", sha256="", name="half", size=1, code="x", says="x", source=""))
    os._exit(9)
store.write(work)
"""


def test_a_process_that_dies_within_a_write_leaves_nothing_of_it(home: str) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, home], timeout=60).returncode == 9
    with Store(home) as store:
        assert names(store) == []
        assert store.read.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_an_empty_registry_counts_nothing(store: Store) -> None:
    assert set(counts(store.read).values()) == {0}


def test_the_store_is_imported_lightly() -> None:
    code = "import sys, embconv.registry.ingest, embconv.registry.many; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"numpy", "litestar", "httpx", "rich", "sqlite_utils", "torch"} & loaded == set()
