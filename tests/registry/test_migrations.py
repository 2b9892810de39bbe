"""The schema, step by step: from every step that was released, with data, and killed in the middle."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stored
from sqlite_utils import Database, Migrations

from embconv.registry.blobs import Blobs
from embconv.registry.errors import NoStore
from embconv.registry.ingest import ingest
from embconv.registry.migrations import migrations
from embconv.registry.store import Store
from embconv.registry.verify import verify

STEPS = [step.name for step in migrations._migrations]


def schema_at(home: str, step: str | None) -> Database:
    """A database as it was before `step`; None: as it is now."""
    os.makedirs(home, exist_ok=True)
    db = Database(sqlite3.connect(os.path.join(home, "registry.db"), isolation_level=None), execute_plugins=False)
    migrations.apply(db, stop_before=step)
    return db


def tables(db: Database) -> list[str]:
    """Those of ours, without what SQLite keeps for full text."""
    return [name for name in db.table_names() if not name.startswith(("sqlite_", "_sqlite", "words_"))]


def contents(db: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: [dict(row) for row in db.query(f"SELECT * FROM [{name}]")] for name in tables(db)}


def fill(db: Database, source: Database) -> None:
    """Copy the rows of a full registry into the tables and columns that there were."""
    for name in tables(db):
        if name == "words":
            continue
        columns = [column.name for column in db[name].columns if column.name in {c.name for c in source[name].columns}]
        listed = ", ".join(f"[{column}]" for column in columns)
        rows = source.execute(f"SELECT {listed} FROM [{name}]").fetchall()
        db.execute(f"DELETE FROM [{name}]")
        db.conn.executemany(f"INSERT INTO [{name}] ({listed}) VALUES ({', '.join('?' for _ in columns)})", rows)


@pytest.fixture
def full(tmp_path: Path) -> Database:
    """A registry of today with something of everything."""
    home = str(tmp_path / "full")
    with Store(home) as store:
        for n in range(3):
            ingest(store, Blobs(home), stored.a1111(n), name=f"s{n}.pt", tags=("ink",))
        ingest(store, Blobs(home), stored.safetensors(9, {"modelspec.license": "MIT"}), name="a.safetensors")
    return Database(sqlite3.connect(os.path.join(home, "registry.db")), execute_plugins=False)


def test_steps_are_numbered_in_their_order() -> None:
    assert [name[:4] for name in STEPS] == [f"m{n:03}" for n in range(1, len(STEPS) + 1)]


@pytest.mark.parametrize("step", [*STEPS[1:], None])
def test_every_step_keeps_what_was_there(home: str, full: Database, step: str | None) -> None:
    old = schema_at(home, step)
    fill(old, full)
    before = contents(old)
    old.close()
    with Store(home) as store:
        after = contents(store.read)
        for name, rows in before.items():
            assert len(after[name]) == len(rows), name
            for row, now in zip(rows, after[name], strict=True):
                assert {column: now[column] for column in row} == row
        assert store.read.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert store.read.execute("PRAGMA foreign_key_check").fetchall() == []
        assert not migrations.pending(store.read)
    full.close()


def test_a_schema_made_in_steps_is_the_one_made_at_once(tmp_path: Path) -> None:
    once, steps = schema_at(str(tmp_path / "once"), None), schema_at(str(tmp_path / "steps"), STEPS[1])
    for step in [*STEPS[2:], None]:
        migrations.apply(steps, stop_before=step)
    assert once.schema == steps.schema
    once.close()
    steps.close()


def test_opening_twice_changes_nothing(home: str) -> None:
    with Store(home) as store:
        schema = store.read.schema
    with Store(home) as store:
        assert store.read.schema == schema


def later_steps(*more: Any) -> Migrations:
    """Today's steps and some of tomorrow."""
    made = Migrations("embconv")
    for step in [*(each.fn for each in migrations._migrations), *more]:
        made()(step)
    return made


def test_a_step_that_fails_leaves_the_old_schema_whole(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from embconv.registry.store import connections

    with Store(home) as store:
        ingest(store, Blobs(home), stored.a1111(1), name="a.pt")
        before, schema = contents(store.read), store.read.schema

    def m900_good(db: Database) -> None:
        db.execute("ALTER TABLE files ADD COLUMN more TEXT")

    def m901_bad(db: Database) -> None:
        db.execute("DROP TABLE tags")
        db.execute("DELETE FROM embeddings")
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(connections, "migrations", later_steps(m900_good, m901_bad))
    with pytest.raises(NoStore):
        Store(home)
    monkeypatch.undo()
    with Store(home) as store:
        assert (contents(store.read), store.read.schema) == (before, schema)


DIES = """
import os, sys
from sqlite_utils import Migrations
from embconv.registry import migrations as module
from embconv.registry.store import connections, Store
made = Migrations("embconv")
for each in module.migrations._migrations:
    made()(each.fn)
def m900(db):
    db.execute("ALTER TABLE files ADD COLUMN more TEXT")
    db.execute("DELETE FROM tags")
def m901(db):
    db.execute("DROP TABLE tags")
    counted = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000)"
    db.execute(f"CREATE TABLE many AS {counted} SELECT x, hex(randomblob(40)) FROM n")
    os.kill(os.getpid(), 9) if os.name != "nt" else os._exit(9)
made()(m900)
made()(m901)
connections.migrations = made
Store(sys.argv[1])
"""


def test_a_process_that_is_killed_within_a_step_leaves_the_old_schema_whole(home: str) -> None:
    with Store(home) as store:
        ingest(store, Blobs(home), stored.a1111(1), name="a.pt", tags=("ink",))
        before, schema = contents(store.read), store.read.schema
    assert subprocess.run([sys.executable, "-c", DIES, home], timeout=60, stderr=subprocess.DEVNULL).returncode != 0
    with Store(home) as store:
        assert (contents(store.read), store.read.schema) == (before, schema)
        assert verify(store, Blobs(home)).problems == ()


def test_a_database_of_a_newer_embconv_is_left_alone(home: str) -> None:
    with Store(home) as store:
        sql = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('embconv', 'm999_new', '')"
        store.write(lambda db: db.execute(sql))
    with pytest.raises(NoStore, match="newer embconv"):
        Store(home)
