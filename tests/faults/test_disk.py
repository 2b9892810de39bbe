"""A disk that is full, read-only, broken or busy: typed answers, nothing lost, and all is well once the cause is gone."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.harness import Client, Server, check_sound, check_swept, database, left_over, listed, plain, sha256

from embconv.registry.blobs import Blobs
from embconv.registry.errors import StorageFailed, StorageFull
from embconv.registry.ingest import ingest, take_away
from embconv.registry.store import Store

Mount = Callable[..., None]


def mounting(*arguments: str | Path) -> None:
    """`mount`; the test is skipped where that is not possible."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no mount is possible here: {done.stderr.strip()}")


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount, and unmount in the end. The last argument is where."""
    where: list[Path] = []

    def work(*arguments: str | Path) -> None:
        mounting(*arguments)
        where.append(Path(arguments[-1]))

    yield work
    for path in reversed(where):
        subprocess.run(["umount", "--lazy", path], check=True)


def remount(options: str, where: Path) -> None:
    """Change a mount that is there."""
    subprocess.run(["mount", "-o", f"remount,{options}", where], check=True, capture_output=True)


def everything_there(client: Client, files: dict[str, bytes]) -> None:
    for sha, data in files.items():
        found = client.get(f"/v1/files/{sha}")
        assert (found.status, found.body) == (200, data)


def until_full(client: Client, most: int = 4000) -> tuple[dict[str, bytes], set[tuple[int, str]], int]:
    """Upload until thirty uploads did not work: what was acknowledged, what the others were answered, and the next number."""
    kept: dict[str, bytes] = {}
    refused: list[tuple[int, str]] = []
    for number in range(most):
        data = plain(number)
        found = client.upload(data, f"zq{number}.bin")
        if found.status == 201:
            kept[sha256(data)] = data
        else:
            refused.append((found.status, found.code))
            assert "retry-after" in found.headers
        if len(refused) == 30:
            return kept, set(refused), number + 1
    raise AssertionError("the disk was never full")


def test_a_full_disk_is_507_and_nothing_acknowledged_is_lost(tmp_path: Path, mount: Mount) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", disk)
    home = disk / "home"
    with Server(home, log=tmp_path / "log") as server, server.client() as client:
        kept, refused, number = until_full(client)
        assert len(kept) > 20
        assert refused == {(507, "storage_full")}
        everything_there(client, kept)
        assert client.get("/health").json["status"] == "failing"
        assert set().union(*listed(home).values()) == kept.keys()
        remount("size=16m", disk)
        for more in range(number, number + 20):
            data = plain(more)
            assert client.upload(data, f"zq{more}.bin").status == 201
            kept[sha256(data)] = data
        everything_there(client, kept)
    check_sound(home)
    with Server(home, log=tmp_path / "log") as server, server.client() as client:
        check_swept(home)
        everything_there(client, kept)


def test_a_full_disk_has_room_again_for_what_is_removed(tmp_path: Path, mount: Mount) -> None:
    blobs = tmp_path / "home" / "blobs"
    blobs.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", blobs)
    with Server(tmp_path / "home") as server, server.client() as client:
        kept, refused, number = until_full(client)
        assert refused == {(507, "storage_full")}
        assert left_over(tmp_path / "home") == []
        for digest in list(listed(tmp_path / "home"))[:4]:
            assert client.delete(digest).status == 204
        assert client.upload(plain(number), "zq.bin").status == 201
        assert len(kept) > 20


def test_a_read_only_folder_of_bytes_is_503_until_it_is_not(tmp_path: Path, mount: Mount) -> None:
    home, blobs = tmp_path / "home", tmp_path / "home" / "blobs"
    blobs.mkdir(parents=True)
    mount("--bind", blobs, blobs)
    with Server(home) as server, server.client() as client:
        first, second = plain(1), plain(2)
        digest = client.upload(first, "zq1.bin").json["embeddings"][0]["digest"]
        remount("bind,ro", blobs)
        found = client.upload(second, "zq2.bin")
        assert (found.status, found.code, found.headers["retry-after"]) == (503, "storage_failed", "60")
        assert client.delete(digest).status in {204, 503}
        everything_there(client, {sha256(first): first} if digest in listed(home) else {})
        remount("bind,rw", blobs)
        assert client.upload(first, "zq1.bin").status in {200, 201}
        assert client.upload(second, "zq2.bin").status == 201
        everything_there(client, {sha256(first): first, sha256(second): second})
        assert left_over(home) == []


@pytest.fixture
def read_only(tmp_path: Path, mount: Mount) -> Iterator[tuple[Path, Server]]:
    """A home with one embedding, read-only before its server starts."""
    home = tmp_path / "home"
    home.mkdir()
    mount("--bind", home, home)
    with Server(home) as server, server.client() as client:
        assert client.upload(plain(1), "zq1.bin").status == 201
    remount("bind,ro", home)
    with Server(home) as server:
        yield home, server


def test_a_read_only_home_is_read_and_writing_is_503(read_only: tuple[Path, Server]) -> None:
    home, server = read_only
    with server.client() as client:
        everything_there(client, {sha256(plain(1)): plain(1)})
        found = client.upload(plain(2), "zq2.bin")
        assert (found.status, found.code) == (503, "storage_failed")
        assert client.get("/health").json["writable"] is False
    server.kill()
    remount("bind,rw", home)
    with Server(home) as again, again.client() as client:
        everything_there(client, {sha256(plain(1)): plain(1)})
        assert client.upload(plain(2), "zq2.bin").status == 201


def test_a_home_that_was_read_only_is_written_again_without_a_restart(read_only: tuple[Path, Server]) -> None:
    home, server = read_only
    with server.client() as client:
        assert client.upload(plain(2), "zq2.bin").status == 503
        remount("bind,rw", home)
        assert client.upload(plain(2), "zq2.bin").status == 201
        assert client.delete(next(iter(listed(home)))).status == 204
        assert left_over(home) == []


class Broken:
    """The module os, but one of its functions fails until it is mended."""

    def __init__(self, function: str, number: int) -> None:
        self.function, self.number, self.broken = function, number, True

    def __getattr__(self, name: str) -> Any:
        return self.fail if self.broken and name == self.function else getattr(os, name)

    def fail(self, *arguments: object, **named: object) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, StorageFailed), (errno.EROFS, StorageFailed), (errno.ENOSPC, StorageFull)])
@pytest.mark.parametrize("function", ["open", "write", "fsync", "link", "stat", "makedirs"])
def test_a_broken_disk_keeps_nothing_and_works_once_it_is_mended(
    tmp_path: Path, function: str, number: int, error: type[Exception],
) -> None:  # fmt: skip
    system, data = Broken(function, number), plain(7)
    with Store(os.fspath(tmp_path)) as store:
        blobs = Blobs(os.fspath(tmp_path), system=system)
        with pytest.raises(error):
            ingest(store, blobs, data, name="zq.bin")
        assert listed(tmp_path) == {}
        assert left_over(tmp_path) == []
        system.broken = False
        assert ingest(store, blobs, data, name="zq.bin").new_file
        assert blobs.read(sha256(data)) == data


def test_bytes_that_cannot_be_removed_stay_with_their_embedding_or_go_with_the_next_sweep(tmp_path: Path) -> None:
    system, data = Broken("unlink", errno.EIO), plain(7)
    system.broken = False
    with Store(os.fspath(tmp_path)) as store:
        blobs = Blobs(os.fspath(tmp_path), system=system)
        ingest(store, blobs, data, name="zq.bin")
        system.broken = True
        with pytest.raises(StorageFailed):
            take_away(store, blobs, 1)
        system.broken = False
        there = listed(tmp_path)
        assert not there or blobs.read(sha256(data)) == data
    with Server(tmp_path):
        check_swept(tmp_path)
        assert listed(tmp_path) == there


def test_a_database_that_another_holds_is_503_busy_until_it_lets_go(tmp_path: Path) -> None:
    home, data = tmp_path / "home", plain(1)
    with Server(home, EMBCONV_BUSY_SECONDS="0.5") as server, server.client() as client:
        digest = client.upload(data, "zq1.bin").json["embeddings"][0]["digest"]
        with database(home) as db:
            db.execute("BEGIN IMMEDIATE")
            for found in (client.upload(plain(2), "zq2.bin"), client.delete(digest)):
                assert (found.status, found.code, found.headers["retry-after"]) == (503, "busy", "5")
            everything_there(client, {sha256(data): data})
            assert client.get("/health").status in {200, 503}
            db.execute("ROLLBACK")
        assert client.upload(plain(2), "zq2.bin").status == 201
        assert client.delete(digest).status == 204
        assert client.get("/health").json["writable"] is True
        assert left_over(home) == []


def test_sqlite_errors_of_a_full_disk_leave_a_store_that_works_again(tmp_path: Path) -> None:
    with Store(os.fspath(tmp_path)) as store:
        blobs = Blobs(os.fspath(tmp_path))
        pages = store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        store.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        failed = 0
        for number in range(200):
            try:
                ingest(store, blobs, plain(number), name=f"zq{number}.bin")
            except StorageFull:
                failed += 1
        assert failed
        store.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
        assert ingest(store, blobs, plain(900), name="zq900.bin").new_file
    with sqlite3.connect(tmp_path / "registry.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    assert left_over(tmp_path) == []
