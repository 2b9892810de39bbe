"""Kill -9 at random moments: nothing that was acknowledged is lost, nothing is half there. EMBCONV_FAULT_ROUNDS=100 makes 1,000 rounds."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from faults.harness import check_sound, command, finished, killed, listed, other, plain
from faults.rounds import Rounds
from sqlite_utils import Database

from embconv.converters.hashes import digest
from embconv.converters.read import load
from embconv.registry.blobs import Blobs
from embconv.registry.ingest import ingest
from embconv.registry.migrations import migrations
from embconv.registry.store import Store
from embconv.registry.verify import verify

ROUNDS = int(os.environ.get("EMBCONV_FAULT_ROUNDS", "20"))
FEW = max(1, ROUNDS // 4)
EMBEDDINGS = 24


@pytest.mark.parametrize("seed", range(8))
def test_what_was_acknowledged_outlives_a_killed_server(tmp_path: Path, seed: int) -> None:
    rounds = Rounds(tmp_path / "home", seed)
    rounds.run(ROUNDS)
    assert rounds.acknowledged >= ROUNDS // 2


def test_what_was_acknowledged_outlives_killed_workers(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path / "home", 8, "--workers", "2")
    rounds.run(FEW)
    assert rounds.acknowledged >= FEW // 2


def soon(dice: random.Random) -> float:
    """At most 50 ms, more often only a few: most is done then."""
    return 0.05 * dice.random() ** 3


def filled(home: Path) -> set[str]:
    """A home with embeddings, some in two files; their digests."""
    with Store(os.fspath(home)) as store:
        for number in range(EMBEDDINGS):
            for make in (plain, other) if number % 4 == 0 else (plain,):
                ingest(store, Blobs(os.fspath(home)), make(number), name=f"zq{number}.bin")
    return set(listed(home))


def exported(folder: Path) -> set[str]:
    """The digests of what lies under a final name, each read whole."""
    found = set()
    for path in folder.rglob("*"):
        if path.suffix == ".json" and not path.name.startswith("."):
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors" and not path.name.startswith("."):
            found.add(digest(load(path)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_export_leaves_only_whole_files_and_can_be_run_again(tmp_path: Path, seed: int) -> None:
    dice, home = random.Random(seed), tmp_path / "home"
    digests = filled(home)
    for number in range(FEW):
        folder = tmp_path / f"out{number}"
        asked = ("export", "--all", folder, "--layout", "comfyui", "--sidecars", "json", "--home", home)
        killed(command(*asked), lambda folder=folder: folder.is_dir() and any(folder.iterdir()), soon(dice))
        assert exported(folder) <= digests
        finished(command(*asked))
        assert exported(folder) == digests
        assert len(list(folder.rglob("*.safetensors"))) == len(digests)
        check_sound(home)


def test_what_a_killed_export_has_begun_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "out"
    filled(home)
    asked = ("export", "--all", folder, "--layout", "comfyui", "--force", "--home", home)
    for _ in range(40):
        killed(command(*asked), lambda: any(folder.glob(".*")), 0)
        if begun := list(folder.glob(".*")):
            break
    assert begun
    finished(command(*asked))
    assert list(folder.glob(".*")) == []


def at_first_schema(home: Path, template: Path) -> None:
    """The rows of a full registry in the tables of its first release, and its bytes."""
    shutil.copytree(template / "blobs", home / "blobs")
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None)) as connection:
        db = Database(connection, execute_plugins=False)
        db.execute("PRAGMA journal_mode = WAL")
        migrations.apply(db, stop_before=[step.name for step in migrations._migrations][1])
        db.execute("ATTACH ? AS old", [os.fspath(template / "registry.db")])
        kept = [name for name in db.table_names() if not name.startswith(("sqlite_", "_sqlite", "words_"))]
        db.execute("BEGIN")
        for name in kept:
            columns = ", ".join(["rowid", *(c.name for c in db[name].columns)] if name == "words" else [c.name for c in db[name].columns])
            db.execute(f"DELETE FROM main.[{name}]")
            db.execute(f"INSERT INTO main.[{name}] ({columns}) SELECT {columns} FROM old.[{name}]")
        db.execute("COMMIT")


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_migration_is_done_by_the_next_command(tmp_path: Path, seed: int) -> None:
    dice, template = random.Random(seed), tmp_path / "template"
    digests = filled(template)
    files = listed(template)
    first, home = tmp_path / "first", tmp_path / "home"
    at_first_schema(first, template)
    for _ in range(FEW):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(first, home)
        killed(command("search", "--home", home), (home / "registry.db-wal").exists, soon(dice))
        assert set(finished(command("search", "--home", home, "--limit", "100", "--quiet")).split()) == digests
        assert listed(home) == files
        check_sound(home)
        with Store(os.fspath(home)) as store:
            assert not migrations.pending(store.read)
            assert verify(store, Blobs(os.fspath(home))).good
