"""Many files brought to the disk together: all that can be, and nothing of the rest."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from embconv.converters import staging as module
from embconv.converters import write as writing
from embconv.converters.errors import CannotWrite, NotEqual, TargetExists
from embconv.converters.read import load
from embconv.converters.source import Source
from embconv.converters.staging import Staging, make_folder
from embconv.converters.targets.plans import EMB_PARAMS
from embconv.converters.write import Written, encode
from examples import made, safetensors

WRITTEN = encode(load(safetensors({"emb_params": made(1, 768)})), EMB_PARAMS)
OTHER = encode(load(safetensors({"emb_params": made(1, 768, seed=1)})), EMB_PARAMS)


@pytest.fixture(autouse=True, params=["files without a name", "temporary names"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test once for each way in which a file can wait for its name."""
    if request.param == "temporary names":
        monkeypatch.setattr(writing, "UNNAMED", 0)
    elif not writing.UNNAMED:
        pytest.skip("this system has no files without a name")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(staging: Staging, folder: Path, names: str, written: Written = WRITTEN, *, overwrite: bool = False) -> None:
    for name in names.split():
        staging.put(written, str(folder / f"{name}.safetensors"), overwrite)


def files(names: str) -> list[str]:
    return [f"{name}.safetensors" for name in names.split()]


@pytest.mark.parametrize("names", ["a", "a b c d e f"], ids=["flushed one by one", "flushed together"])
def test_nothing_has_its_name_before_all_are_there(tmp_path: Path, names: str) -> None:
    with Staging() as staging:
        put(staging, tmp_path, names)
        assert [name for name in names_in(tmp_path) if not name.startswith(".")] == []
        assert staging.publish() == {}
    assert names_in(tmp_path) == files(names)


def test_left_without_publishing_nothing_stays(tmp_path: Path) -> None:
    with Staging() as staging:
        put(staging, tmp_path, "a b")
    assert names_in(tmp_path) == []


def test_stopped_while_a_file_is_written_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    def stop() -> None:
        with Staging() as staging:
            put(staging, tmp_path, "a")
            monkeypatch.setattr(writing, "prove", stopped)
            put(staging, tmp_path, "b")

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert names_in(tmp_path) == []


def test_one_name_is_given_once(tmp_path: Path) -> None:
    with Staging() as staging:
        put(staging, tmp_path, "a")
        with pytest.raises(TargetExists):
            put(staging, tmp_path, "a", OTHER, overwrite=True)
        staging.publish()
    assert (tmp_path / "a.safetensors").read_bytes() == WRITTEN.data


@pytest.mark.parametrize("names", ["a b c", "a b c d e f"])
def test_a_file_that_comes_meanwhile_is_kept_and_the_others_are_written(tmp_path: Path, names: str) -> None:
    with Staging() as staging:
        put(staging, tmp_path, names)
        (tmp_path / "b.safetensors").write_bytes(b"somebody else's")
        lost = staging.publish()
    assert [type(exc) for exc in lost.values()] == [TargetExists]
    assert list(lost) == [str(tmp_path / "b.safetensors")]
    assert names_in(tmp_path) == files(names)
    assert (tmp_path / "b.safetensors").read_bytes() == b"somebody else's"


def test_one_that_is_not_equal_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Staging() as staging:
        put(staging, tmp_path, "a")
        with monkeypatch.context() as patch:
            patch.setattr(writing, "Source", lambda temporary, name: Source(OTHER.data))
            with pytest.raises(NotEqual):
                put(staging, tmp_path, "b")
        assert len(names_in(tmp_path)) == (0 if writing.UNNAMED else 1)  # thrown away at once, not at the end: the disk may be full
        put(staging, tmp_path, "c")
        assert staging.publish() == {}
    assert names_in(tmp_path) == files("a c")


def test_what_is_put_soon_is_written_with_others_and_what_could_not_be_is_told_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES", 3)
    done: list[str] = []
    real = writing.prove

    def proven(written: Written, back: str | bytes, name: str) -> None:
        done.append(Path(name).stem)
        if done[-1] == "b":
            raise NotEqual(name, "the digests differ")
        real(written, back, name)

    monkeypatch.setattr(writing, "prove", proven)
    with Staging() as staging:
        seen = []
        for name in "abcde":
            staging.put_soon(WRITTEN, str(tmp_path / f"{name}.safetensors"), False)
            seen.append("".join(done))
        assert seen == ["", "", "abc", "abc", "abc"]
        for name in "abe":  # proven, lost, not yet written
            with pytest.raises(TargetExists):
                staging.put_soon(OTHER, str(tmp_path / f"{name}.safetensors"), False)
        lost = staging.publish()
    assert {path: type(exc) for path, exc in lost.items()} == {str(tmp_path / "b.safetensors"): NotEqual}
    assert names_in(tmp_path) == files("a c d e")


def test_large_ones_do_not_wait_for_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 2 * len(WRITTEN.data))
    proven: list[str] = []
    monkeypatch.setattr(writing, "prove", lambda written, back, name: proven.append(Path(name).stem))
    with Staging() as staging:
        for name in "abc":
            staging.put_soon(WRITTEN, str(tmp_path / f"{name}.safetensors"), False)
        assert proven == ["a", "b"]


def test_what_was_put_soon_and_never_published_leaves_nothing(tmp_path: Path) -> None:
    with Staging() as staging:
        for name in "ab":
            staging.put_soon(WRITTEN, str(tmp_path / f"{name}.safetensors"), False)
    assert names_in(tmp_path) == []


# a disk that is found full only when the bytes are brought to it
@pytest.mark.parametrize("names", ["a b", "a b c d e f"], ids=["one by one", "together"])
def test_what_cannot_be_flushed_is_lost_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    real, asked = os.fsync, []

    def full_for_the_first(handle: int) -> None:
        asked.append(handle)
        if len(asked) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full_for_the_first)
    monkeypatch.setattr(module, "sync_file_system", lambda folder: False)
    with Staging() as staging:
        put(staging, tmp_path, names)
        lost = staging.publish()
    assert {path: str(exc).partition(". ")[0] for path, exc in lost.items()} == {
        str(tmp_path / "a.safetensors"): f'"{tmp_path}/a.safetensors" cannot be written: No space left on device'
    }
    assert [type(exc) for exc in lost.values()] == [CannotWrite]
    assert names_in(tmp_path) == files(names)[1:]


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is Linux's")
def test_many_files_are_flushed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = module.sync_file_system
    monkeypatch.setattr(module, "sync_file_system", lambda folder: (synced.append(folder), real(folder))[1])
    monkeypatch.setattr(module, "flush", lambda *_: pytest.fail("flushed twice"))
    with Staging() as staging:
        put(staging, tmp_path, "a b c d e")
        put(staging, tmp_path / "deep", "a b c d e")
        assert staging.publish() == {}
    assert len(synced) == 1  # one file system


def test_names_are_on_the_disk_by_a_flush_that_began_after_them_or_by_one_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(module, "flush_folder", flushed.append)
    with Staging() as first, Staging() as second, Staging() as third:
        put(first, tmp_path, "a b c d e")
        assert first.give_names() == {}
        put(second, tmp_path, "f g h i j")
        second.flush_meanwhile()
        first.settle(second)
        assert flushed == ([] if sys.platform == "linux" else [str(tmp_path)])
        put(third, tmp_path, "k")  # too few to be flushed together
        third.flush_meanwhile()
        assert second.give_names() == {}
        flushed.clear()
        second.settle(third)
        assert flushed == [str(tmp_path)]
        assert third.publish() == {}
        assert flushed == [str(tmp_path)] * 2


def test_without_another_thread_it_is_flushed_in_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    with Staging() as staging:
        put(staging, tmp_path, "a b c d e f")
        assert staging.publish() == {}
    assert names_in(tmp_path) == files("a b c d e f")


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is Linux's")
def test_files_are_flushed_while_others_are_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, waited = threading.Event(), []
    monkeypatch.setattr(module, "sync_file_system", lambda folder: waited.append(begun.wait(60)) or True)
    with Staging() as first, Staging() as second:
        put(first, tmp_path, "a b c d e")
        first.flush_meanwhile()
        put(second, tmp_path, "f")
        begun.set()
        assert first.publish() == {}
        assert second.publish() == {}
    assert waited == [True]
    assert names_in(tmp_path) == files("a b c d e f")


def resident(path: Path) -> int:
    """How many pages of a file the system holds in memory (mincore)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
        told = (ctypes.c_ubyte * -(-len(pages) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(pages)
        failed = ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(len(pages)), told)
        del start  # else the map cannot be closed
        assert failed == 0
        return sum(page & 1 for page in told)


@pytest.mark.skipif(sys.platform != "linux", reason="mincore as Linux has it")
def test_what_is_on_the_disk_fills_no_memory(tmp_path: Path) -> None:
    with Staging() as staging:
        put(staging, tmp_path, "a b c d e f")
        assert staging.publish() == {}
    if not writing.UNNAMED:
        pytest.skip("those with a name are few")
    with (tmp_path / "other").open("wb") as other:
        other.write(WRITTEN.data)
        other.flush()
        assert resident(tmp_path / "other") > 0
        os.fsync(other.fileno())
        os.posix_fadvise(other.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(tmp_path / "other"):
        pytest.skip("this file system is in memory as a whole")
    assert [resident(tmp_path / name) for name in files("a b c d e f")] == [0] * 6


def test_of_few_handles_some_are_left_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "handles_kept", lambda: 2)
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    with Staging() as staging:
        put(staging, tmp_path, "a b c d e f g h")
        if before and writing.UNNAMED:
            assert len(set(os.listdir("/proc/self/fd")) - before) == 4  # two, the folder in which the others wait, the file system
        assert staging.publish() == {}
    assert names_in(tmp_path) == files("a b c d e f g h")


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path: Path) -> None:
    assert module.flush_together({str(tmp_path / "gone")}) is False


def test_a_file_that_waits_has_no_name_or_one_in_a_hidden_folder(tmp_path: Path) -> None:
    with Staging() as staging:
        put(staging, tmp_path, "a b")
        assert [name.startswith(module.HIDDEN) for name in names_in(tmp_path)] == ([] if writing.UNNAMED else [True])
        put(staging, tmp_path, "c d", overwrite=True)
        assert [name.startswith(module.HIDDEN) for name in names_in(tmp_path)] == [True]


def test_what_a_dead_writer_began_is_swept_by_the_next_that_needs_a_name_and_what_a_living_one_did_is_not(tmp_path: Path) -> None:
    begun = tmp_path / f"{module.HIDDEN}1-dead"
    begun.mkdir()
    (begun / "half").write_bytes(b"x")
    (tmp_path / ".embconv-not-a-folder").write_bytes(b"")
    with Staging() as living:
        put(living, tmp_path, "a", overwrite=True)
        with Staging() as staging:
            put(staging, tmp_path, "b", overwrite=True)
            assert not begun.exists()
            assert staging.publish() == {}
        assert living.publish() == {}
    assert names_in(tmp_path) == [".embconv-not-a-folder", *files("a b")]


def test_where_a_folder_gives_no_files_without_a_name_they_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "UNNAMED", os.O_RDONLY | os.O_CREAT | os.O_EXCL)  # on a folder an error everywhere
    with Staging() as staging:
        put(staging, tmp_path, "a b")
        assert staging.publish() == {}
    assert names_in(tmp_path) == files("a b")


def test_a_disk_that_takes_only_a_part_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not writing.UNNAMED:
        pytest.skip("Python's own files write all or say why")

    def half_full(handle: int, data: bytes) -> int:
        if data != WRITTEN.data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data) // 2

    monkeypatch.setattr(os, "write", half_full)
    with Staging() as staging, pytest.raises(CannotWrite, match="No space left"):
        put(staging, tmp_path, "a")
    assert names_in(tmp_path) == []


def test_folders_are_made(tmp_path: Path) -> None:
    make_folder(str(tmp_path / "a" / "b"))
    make_folder(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(CannotWrite, match=r"Not a directory|File exists"):
        make_folder(str(tmp_path / "a" / "b"))
