"""Bytes on the disk: durable before they are named, whole or not at all, swept when their writer is dead."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embconv.converters.source import Source
from embconv.registry.blobs import Blobs
from embconv.registry.errors import RegistryError, StorageFailed, StorageFull, UnknownFile
from embconv.registry.shelf import Shelf

DATA = b"some bytes" * 100
SHA = hashlib.sha256(DATA).hexdigest()


class System:
    """The module os, with calls written down, and some that fail."""

    def __init__(self, **failing: int) -> None:
        self.calls: list[str] = []
        self.failing = failing
        self.names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        real: Callable[..., Any] = getattr(os, name)

        def call(*given: Any, **more: Any) -> Any:
            if name in self.failing:
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            result = real(*given, **more)
            if name == "open":
                self.names[result] = str(given[0])
            target = self.names.get(given[0], "") if isinstance(given[0], int) else str(given[0])
            self.calls.append(f"{name} {'folder' if os.path.isdir(target) else 'file'}" if name in ("fsync", "open") else name)
            return result

        return call


def left(home: str) -> list[str]:
    return [str(path) for path in Path(home).rglob("*") if path.is_file()]


def test_what_is_put_is_there(blobs: Blobs) -> None:
    assert blobs.put(DATA) == SHA
    assert blobs.read(SHA) == DATA
    assert blobs.size(SHA) == len(DATA)
    assert list(blobs.all()) == [SHA]
    assert left(os.path.dirname(blobs.root)) == [os.path.join(blobs.root, SHA[:2], SHA)]


def test_putting_twice_is_putting_once(blobs: Blobs) -> None:
    assert blobs.put(DATA) == blobs.put(DATA)
    assert len(left(os.path.dirname(blobs.root))) == 1


def test_bytes_are_flushed_before_they_are_named_and_names_before_they_are_told(home: str) -> None:
    system = System()
    blobs = Blobs(home, system=system)
    blobs.remove(blobs.put(DATA))  # so that its folder is there
    system.calls.clear()
    blobs.put(DATA)
    order = [call for call in system.calls if call in ("write", "fsync file", "link", "fsync folder")]
    assert order == ["write", "fsync file", "link", "fsync folder"]


def test_without_hard_links_a_name_is_moved(home: str) -> None:
    blobs = Blobs(home, system=System(link=errno.EPERM))
    assert blobs.put(DATA) == SHA
    assert len(left(home)) == 1


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed), (errno.EROFS, StorageFailed)])
def test_a_disk_that_fails_is_said_leaves_nothing_and_passes(home: str, call: str, number: int, error: type[RegistryError]) -> None:
    Blobs(home).put(b"before")
    with pytest.raises(error):
        Blobs(home, system=System(**{call: number})).put(DATA)
    assert len(left(home)) == 1
    assert Blobs(home).put(DATA) == SHA


def test_a_short_write_goes_on(home: str) -> None:
    class Short(System):
        def __getattr__(self, name: str) -> Any:
            return (lambda handle, view: os.write(handle, view[:7])) if name == "write" else super().__getattr__(name)

    assert Blobs(home, system=Short()).put(DATA) == SHA
    assert Blobs(home).read(SHA) == DATA


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "a" * 63, f"{'a' * 64}\n", "a/" * 32, "ä" * 64])
def test_nothing_but_a_sha256_becomes_a_path(blobs: Blobs, name: str) -> None:
    for ask in (blobs.path, blobs.open, blobs.size, blobs.remove, blobs.has):
        with pytest.raises(UnknownFile):
            ask(name)


def test_what_is_not_there_is_unknown(blobs: Blobs) -> None:
    assert not blobs.has(SHA)
    for ask in (blobs.open, blobs.size):
        with pytest.raises(UnknownFile):
            ask(SHA)
    blobs.remove(SHA)


def test_a_writer_that_does_not_keep_leaves_nothing(blobs: Blobs, home: str) -> None:
    with blobs.writer() as writer:
        writer.write(DATA)
        assert Path(writer.path).read_bytes() == DATA
        assert writer.digest() == SHA
    assert left(home) == []


def test_a_writer_puts_back_what_was_removed_meanwhile(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(DATA)
        writer.keep()
        blobs.remove(SHA)
        writer.again()
        assert blobs.read(SHA) == DATA


def test_many_threads_put_the_same(blobs: Blobs, home: str) -> None:
    threads = [threading.Thread(target=blobs.put, args=(DATA,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(left(home)) == 1
    assert blobs.read(SHA) == DATA


def test_the_sweep_spares_the_living(blobs: Blobs, home: str) -> None:
    with blobs.writer() as writer, Shelf(blobs) as shelf:
        writer.write(DATA)
        with Source(b"on the shelf") as source:
            shelf.put(source, hashlib.sha256(b"on the shelf").hexdigest())
        assert blobs.sweep() == 0
        assert Blobs(home).sweep() == 0
        assert writer.keep() == SHA
        assert shelf.publish() == {}
    assert len(list(blobs.all())) == 2


DIES = """
import os, sys
from embconv.registry.blobs import Blobs
from embconv.registry.shelf import Shelf
from embconv.converters.source import Source
blobs = Blobs(sys.argv[1])
writer = blobs.writer()
writer.write(b"half a file")
shelf = Shelf(blobs)
with Source(b"whole") as source:
    shelf.put(source, "ab" * 32)
print(len(os.listdir(blobs.temporary)), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a folder has no lock")
def test_the_sweep_takes_what_the_dead_have_left(blobs: Blobs, home: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", DIES, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n"
    assert blobs.sweep() == 0  # it lives
    process.kill()
    process.communicate(timeout=30)
    assert blobs.sweep() == 2
    assert left(home) == []


def test_temporary_names_carry_the_process(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        assert os.path.basename(writer.path).startswith(f"{os.getpid()}-")


def test_rotten_bytes_are_set_aside(blobs: Blobs) -> None:
    blobs.put(DATA)
    Path(blobs.path(SHA)).write_bytes(b"other")
    blobs.set_aside(SHA)
    assert not blobs.has(SHA)
    assert blobs.put(DATA) == SHA
    assert blobs.read(SHA) == DATA


@pytest.mark.parametrize("count", [1, 4, 5, 30])
def test_a_shelf_brings_many_at_once(blobs: Blobs, home: str, count: int) -> None:
    every = [b"file %d" % n for n in range(count)]
    with Shelf(blobs) as shelf:
        for data in [*every, *every]:
            with Source(data) as source:
                shelf.put(source, hashlib.sha256(data).hexdigest())
        assert list(blobs.all()) == []
        assert shelf.publish() == {}
    assert sorted(blobs.read(sha256) for sha256 in blobs.all()) == sorted(every)
    assert len(left(home)) == count


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="where Linux shows the open files of a process")
@pytest.mark.parametrize("published", [True, False])
def test_a_shelf_keeps_few_files_open_and_none_in_the_end(
    blobs: Blobs, home: str, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    monkeypatch.setattr("embconv.registry.shelf.handles_kept", lambda: 3)
    before = len(os.listdir("/proc/self/fd"))
    with Shelf(blobs) as shelf:
        for number in range(10):
            with Source(b"file %d" % number) as source:
                shelf.put(source, hashlib.sha256(b"file %d" % number).hexdigest())
        assert len(os.listdir("/proc/self/fd")) == before + 3 + 1  # and the folder in which they wait
        if published:
            assert shelf.publish() == {}
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(left(home)) == (10 if published else 0)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="where a system can be told")
@pytest.mark.parametrize(("count", "forgotten"), [(4, 0), (5, 5)])
def test_what_was_flushed_together_leaves_the_memory_to_others(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, count: int, forgotten: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("embconv.registry.shelf.flush_together", lambda folders: True)
    monkeypatch.setattr(os, "posix_fadvise", lambda handle, start, length, advice: asked.append(advice))
    with Shelf(blobs) as shelf:
        for number in range(count):
            with Source(b"file %d" % number) as source:
                shelf.put(source, hashlib.sha256(b"file %d" % number).hexdigest())
        assert shelf.publish() == {}
    assert asked == [os.POSIX_FADV_DONTNEED] * forgotten


class ClosesBadly(System):
    """A disk over its quota, as network file systems tell it: at the write, and again when the file is closed."""

    def close(self, handle: int) -> None:
        os.close(handle)
        if "write" in self.failing:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_a_file_that_is_neither_written_nor_closed_well_ends_no_other(home: str) -> None:
    system = ClosesBadly(write=errno.EDQUOT)
    blobs = Blobs(home, system=system)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Shelf(blobs) as shelf:
        with Source(b"x") as source, pytest.raises(StorageFull):
            shelf.put(source, hashlib.sha256(b"x").hexdigest())
        system.failing.clear()
        with Source(DATA) as source:
            shelf.put(source, SHA)
        assert shelf.publish() == {}
    assert list(blobs.all()) == [SHA]
    assert left(home) == [blobs.path(SHA)]
    assert os.listdir(blobs.temporary) == []
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_closed_in_the_end_leaves_no_temporary_folder(home: str) -> None:
    system = ClosesBadly()
    blobs = Blobs(home, system=system)
    with Shelf(blobs) as shelf, Source(DATA) as source:
        shelf.put(source, SHA)
        system.failing["write"] = errno.EDQUOT
    assert os.listdir(blobs.temporary) == []


def test_a_shelf_says_which_were_lost(home: str) -> None:
    blobs = Blobs(home, system=System(replace=errno.EIO))
    sha256 = hashlib.sha256(b"x").hexdigest()
    with Shelf(blobs) as shelf, Source(b"x") as source:
        shelf.put(source, sha256)
        assert [(name, error.code) for name, error in shelf.publish().items()] == [(sha256, "storage_failed")]
    assert left(home) == []
