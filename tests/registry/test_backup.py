"""The whole registry as one file, and back."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import stored

from embconv.converters.errors import CannotWrite, TargetExists
from embconv.registry.backup import backup
from embconv.registry.blobs import Blobs
from embconv.registry.ingest import ingest, take_away
from embconv.registry.keys import create, key_of
from embconv.registry.model import Ingested
from embconv.registry.store import Store, counts, document, resolve
from embconv.registry.verify import verify

Add = Callable[..., Ingested]


def restored(path: Path, home: Path) -> Store:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(home)
    return Store(str(home), create=False)


def test_a_backup_unpacked_is_the_registry(add: Add, store: Store, blobs: Blobs, tmp_path: Path) -> None:
    for n in range(5):
        add(stored.a1111(n), name=f"s{n}.pt", tags=("ink",))
    take_away(store, blobs, resolve(store.read, "s4"), why="gone")
    secret = create(store, "ci", "write")
    result = backup(store, blobs, str(tmp_path / "all.zip"))
    assert (result.files, result.missing, result.size) == (4, (), (tmp_path / "all.zip").stat().st_size)
    with restored(tmp_path / "all.zip", tmp_path / "again") as again:
        assert counts(again.read) == counts(store.read)
        assert document(again.read, resolve(again.read, "s2")) == document(store.read, resolve(store.read, "s2"))
        assert key_of(again.read, secret) is not None
        assert verify(again, Blobs(again.home)).problems == ()
        assert ingest(again, Blobs(again.home), stored.a1111(7), name="new.pt").status == "added"


def test_nothing_is_overwritten_and_nothing_is_left(add: Add, store: Store, blobs: Blobs, tmp_path: Path) -> None:
    add(stored.a1111(1), name="a.pt")
    (tmp_path / "all.zip").write_bytes(b"mine")
    with pytest.raises(TargetExists):
        backup(store, blobs, str(tmp_path / "all.zip"))
    assert (tmp_path / "all.zip").read_bytes() == b"mine"
    with pytest.raises(CannotWrite):
        backup(store, blobs, str(tmp_path / "nowhere" / "all.zip"))
    assert sorted(os.listdir(tmp_path)) == ["all.zip", "home"]


def test_a_backup_while_others_write_is_whole(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            ingest(store, blobs, stored.a1111(n), name=f"s{n}.pt")
            if n % 2:
                take_away(store, blobs, resolve(store.read, f"s{n}"))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(4):
            backup(store, blobs, str(tmp_path / f"{n}.zip"))
    finally:
        stop.set()
        thread.join(30)
    for n in range(4):
        with restored(tmp_path / f"{n}.zip", tmp_path / f"again{n}") as again:
            assert [p for p in verify(again, Blobs(again.home)).problems if p.kind != "orphan"] == []


def test_bytes_that_were_lost_before_are_named(add: Add, store: Store, blobs: Blobs, tmp_path: Path) -> None:
    lost = add(stored.a1111(1), name="a.pt").file.sha256
    rotten = add(stored.a1111(2), name="b.pt").file.sha256
    add(stored.a1111(3), name="c.pt")
    blobs.remove(lost)
    Path(blobs.path(rotten)).write_bytes(b"other")
    result = backup(store, blobs, str(tmp_path / "all.zip"))
    assert (result.files, sorted(result.missing)) == (1, sorted([lost, rotten]))


def test_large_files_are_kept_too(store: Store, blobs: Blobs, add: Add, tmp_path: Path) -> None:
    from embconv.converters.containers import safetensors

    data = safetensors.write({"emb_params": stored.numbers(1, 500)}, {})
    assert len(data) > 1 << 20
    add(data, name="large.safetensors")
    assert backup(store, blobs, str(tmp_path / "all.zip")).files == 1
