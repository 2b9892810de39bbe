"""A folder mirrored: all of it once, then what changed; nothing that vanishes there is erased here."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stored
from PIL import Image, PngImagePlugin

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.run import Control, SyncReport
from embconv.registry.errors import StorageFull
from embconv.registry.folder import News, sync_folder
from embconv.registry.ingest import ingest, take_away
from embconv.registry.model import Entry
from embconv.registry.store import Store, counts, document, previews_of, resolve
from embconv.registry.store.civitai import recall_all
from embconv.registry.verify import verify

HOUR = 3600
INFO = {"id": 9208, "modelId": 7808, "name": "v1", "baseModel": "SD 1.5", "trainedWords": ["ink"], "creator": {"username": "ann"},
        "model": {"name": "Ink Style", "nsfw": True, "tags": ["painterly"], "description": "wet <b>ink</b>"}}  # fmt: skip
Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "embs").mkdir()
    return tmp_path / "embs"


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a file as if an hour ago, or some seconds more."""

    def work(name: str, content: bytes | dict[str, Any], *, later: int = 0) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        moment = time.time() - HOUR + later
        os.utime(path, (moment, moment))
        return path

    return work


@pytest.fixture
def sync(store: Store, blobs: Blobs, folder: Path) -> Callable[..., tuple[SyncReport, list[News]]]:
    def work(**more: Any) -> tuple[SyncReport, list[News]]:
        heard: list[News] = []
        report = sync_folder(store, blobs, str(folder), done=heard.append, **more)
        assert report.stopped is None
        assert verify(store, blobs).problems == ()
        return report, heard

    return work


def numbers(report: SyncReport) -> dict[str, Any]:
    found = {name: getattr(report, name) for name in ("added", "changed", "unchanged", "gone", "failed", "skipped")}
    return {name: value for name, value in found.items() if value}


def known(store: Store, ref: str) -> Entry:
    return msgspec.json.decode(document(store.read, resolve(store.read, ref)), type=Entry)


def lines(store: Store, ref: str, source: str = "folder") -> list[tuple[str | None, str]]:
    return [(line.id, line.state) for line in known(store, ref).origins if line.source == source]


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (64, 32), said: str = "", later: int = 0) -> Path:
    info = PngImagePlugin.PngInfo()
    if said:
        info.add_text("parameters", said)
    Image.new("RGB", size, colour).save(path, **({"pnginfo": info} if path.suffix == ".png" else {}))
    moment = time.time() - HOUR + later
    os.utime(path, (moment, moment))
    return path


def test_all_of_it_once_then_nothing(store: Store, write: Write, sync: Any) -> None:
    for n in range(3):
        write(f"s{n}.pt", stored.a1111(n, name=f"s{n}"))
    write("deep/er/x.safetensors", stored.safetensors(9))
    write("page.pt", b"<html></html>")
    write("readme.txt", b"hello")
    write(".hidden.pt", stored.a1111(50))
    report, heard = sync()
    assert numbers(report) == {"added": 4, "skipped": {"not_an_embedding": 1}}
    assert sorted((news.outcome, news.path) for news in heard) == [
        ("added", "deep/er/x.safetensors"), ("added", "s0.pt"), ("added", "s1.pt"), ("added", "s2.pt"), ("skipped", "page.pt")]  # fmt: skip
    assert next(news for news in heard if news.path == "s1.pt").triggers == ("s1",)
    assert next(news.error.code for news in heard if news.error) == "not_an_embedding"
    assert lines(store, "s1") == [("embs/s1.pt", "present")]
    before = store.read.execute("SELECT count(*), max(id) FROM origins").fetchone()
    report, heard = sync()
    assert (numbers(report), heard) == ({"unchanged": 4, "skipped": {"not_an_embedding": 1}}, [])
    assert store.read.execute("SELECT count(*), max(id) FROM origins").fetchone() == before


def test_what_did_not_change_is_not_read_again(write: Write, sync: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.pt", stored.a1111(1))
    sync()
    looked: list[str] = []
    monkeypatch.setattr("embconv.registry.folder.ingest_many", lambda store, blobs, paths, **_: looked.extend(paths))
    sync()
    assert looked == []
    write("a.pt", stored.a1111(1), later=5)
    sync()
    assert [os.path.basename(path) for path in looked] == ["a.pt"]


def test_a_file_that_was_just_written_is_looked_at_again(folder: Path, sync: Any, store: Store) -> None:
    (folder / "a.pt").write_bytes(stored.a1111(1))
    moment = os.stat(folder / "a.pt").st_mtime_ns
    assert numbers(sync()[0]) == {"added": 1}
    (folder / "a.pt").write_bytes(stored.a1111(2))  # as long, and on a file system with coarse times as old
    os.utime(folder / "a.pt", ns=(moment, moment))
    assert numbers(sync()[0]) == {"changed": 1}
    assert counts(store.read)["embeddings"] == 2


def test_a_replaced_file_is_changed_and_the_old_embedding_stays(write: Write, sync: Any, store: Store) -> None:
    write("a.pt", stored.a1111(1, name="one"))
    sync()
    write("a.pt", stored.a1111(2, name="two"), later=5)
    report, (news,) = sync()
    assert (numbers(report), news.outcome, len(news.digests)) == ({"changed": 1}, "changed", 1)
    assert counts(store.read)["embeddings"] == 2
    assert lines(store, news.digests[0]) == [("embs/a.pt", "present")]


def test_what_vanishes_is_said_to_be_gone_and_nothing_is_erased(write: Write, sync: Any, store: Store, blobs: Blobs) -> None:
    path = write("a.pt", stored.a1111(1, name="a"))
    write("b.pt", stored.a1111(2, name="b"))
    sync()
    path.unlink()
    report, (news,) = sync()
    assert (numbers(report), (news.outcome, news.path)) == ({"unchanged": 1, "gone": 1}, ("gone", "a.pt"))
    assert lines(store, "a") == [("embs/a.pt", "present"), ("embs/a.pt", "gone")]
    assert blobs.has(known(store, "a").files[0].sha256)
    assert numbers(sync()[0]) == {"unchanged": 1}
    write("a.pt", stored.a1111(1, name="a"), later=9)
    assert numbers(sync()[0]) == {"unchanged": 2}
    assert lines(store, "a")[-1] == ("embs/a.pt", "present")


def test_a_moved_file_is_recognised(write: Write, sync: Any, store: Store, folder: Path) -> None:
    path = write("a.pt", stored.a1111(1, name="a"))
    write("a.civitai.info", INFO)
    sync()
    (folder / "sub").mkdir()
    path.rename(folder / "sub" / "b.pt")
    (folder / "a.civitai.info").rename(folder / "sub" / "b.civitai.info")
    report, (news,) = sync()
    assert (numbers(report), news) == ({"unchanged": 1}, News(outcome="moved", path="sub/b.pt", was="a.pt"))
    assert lines(store, "a") == [("embs/a.pt", "present"), ("embs/sub/b.pt", "present"), ("embs/a.pt", "moved")]
    assert numbers(sync()[0]) == {"unchanged": 1}


def test_a_copy_is_not_a_move(write: Write, sync: Any) -> None:
    path = write("a.pt", stored.a1111(1))
    sync()
    shutil.copy2(path, path.with_name("b.pt"))
    report, heard = sync()
    assert (numbers(report), heard) == ({"unchanged": 2}, [])
    path.unlink()
    assert numbers(sync()[0]) == {"unchanged": 1, "gone": 1}


def test_a_folder_that_nobody_may_read_loses_nothing(write: Write, sync: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    write("sub/b.pt", stored.a1111(2, name="b"))
    sync()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("embconv.converters.folders.os.scandir", refusing)
    report, (news,) = sync()
    assert (numbers(report), news.outcome, news.path) == ({"unchanged": 1, "failed": 1}, "failed", "sub")
    assert report.troubles[0].code == "unreadable_file"
    monkeypatch.undo()
    assert numbers(sync()[0]) == {"unchanged": 2}
    assert lines(store, "b") == [("embs/sub/b.pt", "present")]


def test_the_whole_folder_may_be_away_for_a_while(write: Write, sync: Any, folder: Path, store: Store) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    sync()
    folder.rename(folder.with_name("away"))
    assert numbers(sync()[0]) == {"failed": 1}
    folder.with_name("away").rename(folder)
    assert numbers(sync()[0]) == {"unchanged": 1}
    assert lines(store, "a") == [("embs/a.pt", "present")]


def test_what_was_removed_here_does_not_come_back_by_a_folder(write: Write, sync: Any, store: Store, blobs: Blobs) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    write("b.pt", stored.a1111(2, name="b"))
    sync()
    take_away(store, blobs, resolve(store.read, "a"))
    take_away(store, blobs, resolve(store.read, "b"), block=True)
    write("a.pt", stored.a1111(1, name="a"), later=5)
    write("b.pt", stored.a1111(2, name="b"), later=5)
    assert numbers(sync()[0]) == {"skipped": {"taken_down": 2}}
    assert counts(store.read)["embeddings"] == 0
    assert numbers(sync()[0]) == {"skipped": {"taken_down": 2}}


def test_sidecars_become_claims_of_theirs_with_a_time(write: Write, sync: Any, store: Store) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    write("a.civitai.info", INFO)
    write("a.json", {"notes": "from a friend", "activation text": "a"})
    sync()
    entry = known(store, "a")
    (line,) = [line for line in entry.origins if line.source == "sidecar" and line.id == "a.pt"]
    assert line.claims["told_by"] == ["a.civitai.info", "a.json"]
    assert (line.claims["civitai"], line.claims["notes"], line.seen[:2]) == ("7808@9208", "from a friend", "20")
    assert (entry.creators, entry.tags, entry.nsfw, entry.base) == (("ann",), ("painterly",), "x", "sd1")
    titles, descriptions = store.read.execute("SELECT titles, descriptions FROM words WHERE rowid = ?", (resolve(store.read, "a"),)).fetchone()
    assert "ink style" in titles.lower()
    assert "wet" in descriptions


def test_a_sidecar_that_changes_is_heard_once(write: Write, sync: Any, store: Store, folder: Path) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    assert numbers(sync()[0]) == {"added": 1}
    write("a.civitai.info", INFO)
    report, (news,) = sync()
    assert (numbers(report), news.outcome) == ({"changed": 1}, "changed")
    write("a.civitai.info", INFO, later=5)
    assert numbers(sync()[0]) == {"unchanged": 1}
    write("a.civitai.info", {**INFO, "creator": {"username": "bob"}}, later=9)
    assert numbers(sync()[0]) == {"changed": 1}
    assert known(store, "a").creators == ("bob",)
    (folder / "a.civitai.info").unlink()
    assert numbers(sync()[0]) == {"unchanged": 1}
    assert known(store, "a").creators == ("bob",)


def test_sidecars_of_a_file_that_was_known_are_heard(write: Write, sync: Any, store: Store, blobs: Blobs) -> None:
    ingest(store, blobs, stored.a1111(1, name="a"), name="a.pt")
    ingest(store, blobs, stored.a1111(2, name="b"), name="b.pt")
    write("a.pt", stored.a1111(1, name="a"))
    write("a.civitai.info", INFO)
    write("b.pt", stored.a1111(2, name="b"))
    assert numbers(sync()[0]) == {"changed": 1, "unchanged": 1}
    assert known(store, "a").creators == ("ann",)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "' + b"x" * (5 << 20) + b'"}', b'{"id": "\\u0000", "model": 7, "files": {}}'], ids=["empty", "torn", "huge", "odd"])
def test_a_bad_sidecar_stops_nothing(write: Write, sync: Any, content: bytes) -> None:
    write("a.pt", stored.a1111(1))
    write("a.civitai.info", content)
    report, heard = sync()
    assert numbers(report) == {"added": 1}
    notes = [news for news in heard if news.outcome == "note"]
    assert len(notes) == (0 if content.startswith(b'{"id"') else 1)
    assert all("a.civitai.info" in news.says for news in notes)


def test_pictures_beside_it_become_previews(write: Write, sync: Any, store: Store, blobs: Blobs, folder: Path) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    picture(folder / "a.preview.png", size=(2000, 1000), said="a cat\nSteps: 20")
    picture(folder / "a.jpg", "blue")
    write("a.metadata.json", {"preview_nsfw_level": 4, "model_name": "A"})
    report, heard = sync()
    assert numbers(report) == {"added": 1}
    assert [news.outcome for news in heard] == ["added"]
    first, second = previews_of(store.read, resolve(store.read, "a"))
    assert (first.source, first.width, first.height, first.nsfw, first.recipe) == ("a.preview.png", 1024, 512, "r", {"parameters": "a cat\nSteps: 20"})
    assert (second.source, second.recipe) == ("a.jpg", {})
    with Image.open(blobs.path(first.sha256)) as made:
        assert (made.format, made.size) == ("WEBP", (1024, 512))
    assert numbers(sync()[0]) == {"unchanged": 1}


def test_a_preview_that_changes_takes_the_place_of_the_old_one(write: Write, sync: Any, store: Store, blobs: Blobs, folder: Path) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    picture(folder / "a.png")
    sync()
    (old,) = previews_of(store.read, resolve(store.read, "a"))
    picture(folder / "a.png", "blue", later=5)
    assert numbers(sync()[0]) == {"changed": 1}
    (new,) = previews_of(store.read, resolve(store.read, "a"))
    assert old.sha256 != new.sha256
    assert (blobs.has(old.sha256), blobs.has(new.sha256)) == (False, True)
    (folder / "a.png").unlink()
    assert numbers(sync()[0]) == {"unchanged": 1}
    assert previews_of(store.read, resolve(store.read, "a")) == [new]


def test_a_card_is_an_embedding_and_no_preview(write: Write, sync: Any, store: Store, folder: Path) -> None:
    from examples import a1111_picture_with_text_only

    write("a.pt", stored.a1111(1, name="a"))
    write("a.png", a1111_picture_with_text_only()[0])
    report, _ = sync()
    assert numbers(report) == {"added": 2}
    assert previews_of(store.read, resolve(store.read, "a")) == []


def test_pictures_alone_are_not_counted(sync: Any, folder: Path) -> None:
    picture(folder / "holiday.png")
    report, heard = sync()
    assert (numbers(report), heard) == ({}, [])
    assert (numbers(sync()[0]), heard) == ({}, [])


def test_a_picture_that_is_none_or_too_large_is_told(write: Write, sync: Any, store: Store, folder: Path) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    write("a.preview.png", b"\x89PNG\r\n\x1a\n torn")
    write("b.pt", stored.a1111(2, name="b"))
    Image.new("1", (6000, 5000)).save(folder / "b.png")
    os.utime(folder / "b.png", (1, 1))
    report, heard = sync()
    assert numbers(report) == {"added": 2}
    assert sorted((news.path, news.outcome) for news in heard if news.outcome != "added") == [("a.pt", "note"), ("b.pt", "note")]
    assert previews_of(store.read, resolve(store.read, "a")) == []


def test_a_dry_run_says_the_same_and_changes_nothing(write: Write, sync: Any, store: Store, folder: Path) -> None:
    write("a.pt", stored.a1111(1, name="a"))
    write("b.pt", stored.a1111(2, name="b"))
    write("c.pt", stored.a1111(3, name="c"))
    write("bad.pt", b"<html></html>")

    def both() -> dict[str, Any]:
        before = list(store.read.conn.iterdump())
        foreseen, told = sync(dry_run=True)
        assert list(store.read.conn.iterdump()) == before
        assert foreseen.dry_run
        done, heard = sync()
        assert numbers(foreseen) == numbers(done)
        assert [(news.outcome, news.path, news.was) for news in told] == [(news.outcome, news.path, news.was) for news in heard]
        return numbers(done)

    assert both() == {"added": 3, "skipped": {"not_an_embedding": 1}}
    write("a.pt", stored.a1111(7), later=5)
    write("b.json", {"notes": "n"})
    (folder / "c.pt").rename(folder / "d.pt")
    write("new.pt", stored.a1111(8))
    assert both() == {"added": 1, "changed": 2, "unchanged": 1, "skipped": {"not_an_embedding": 1}}
    (folder / "d.pt").unlink()
    assert both() == {"unchanged": 3, "gone": 1, "skipped": {"not_an_embedding": 1}}


def test_two_folders_do_not_know_of_each_other(write: Write, sync: Any, store: Store, blobs: Blobs, tmp_path: Path) -> None:
    write("a.pt", stored.a1111(1))
    sync()
    other = tmp_path / "other"
    other.mkdir()
    assert numbers(sync_folder(store, blobs, str(other))) == {}
    assert numbers(sync()[0]) == {"unchanged": 1}
    assert set(recall_all(store.read, f"folder:{tmp_path / 'embs'}")) == {"a.pt"}


def test_no_line_of_origin_tells_where_on_this_machine_it_lay(write: Write, sync: Any, store: Store, tmp_path: Path) -> None:
    write("sub/a.pt", stored.a1111(1, name="a"))
    write("sub/a.civitai.info", INFO)
    sync()
    assert str(tmp_path).encode() not in document(store.read, resolve(store.read, "a"))


def test_a_registry_inside_the_folder_is_not_mirrored(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(stored.a1111(1))
    with Store(str(tmp_path / "home")) as store:
        (tmp_path / "home" / "b.pt").write_bytes(stored.a1111(2))
        report = sync_folder(store, Blobs(store.home), str(tmp_path))
    assert numbers(report) == {"added": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf_8_are_said(sync: Any, folder: Path, write: Write) -> None:
    with open(os.fsencode(folder) + b"/\xff.pt", "wb") as file:
        file.write(stored.a1111(1))
    write("日本 語.pt", stored.a1111(2))
    report, _ = sync()
    assert numbers(report) == {"added": 1, "skipped": {"bad_name": 1}}
    assert msgspec.json.encode(report)


def test_links_that_lead_nowhere_and_files_nobody_may_read(sync: Any, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "none.pt").symlink_to(folder / "nowhere")
    write("locked.pt", b"x")
    access = os.access
    monkeypatch.setattr("embconv.registry.folder.os.access", lambda path, mode: not str(path).endswith("locked.pt") and access(path, mode))
    monkeypatch.setattr("embconv.converters.source.os.open", refusing(os.open))
    report, _ = sync()
    assert numbers(report) == {"failed": 1, "skipped": {"not_an_embedding": 1}}


def refusing(opening: Any) -> Any:
    def work(path: Any, *more: Any) -> int:
        if str(path).endswith("locked.pt"):
            raise PermissionError(13, "Permission denied")
        return int(opening(path, *more))

    return work


def test_many_go_as_add_does_and_what_was_safe_stays_so_when_it_is_stopped(
    write: Write, sync: Any, store: Store, blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embconv.registry.folder.CHUNK", 10)
    for n in range(100):
        write(f"s{n:03}.pt", stored.a1111(n))
    control, heard = Control(), []

    def done(news: News) -> None:
        heard.append(news)
        control.stop()

    report = sync_folder(store, blobs, str(folder), control=control, done=done)
    assert report.stopped is not None
    assert (report.stopped.code, report.added, len(heard), report.gone) == ("stopped", 10, 10, 0)
    report, _ = sync()
    assert (report.unchanged >= 10, report.added + report.unchanged, counts(store.read)["embeddings"]) == (True, 100, 100)
    assert numbers(sync()[0]) == {"unchanged": 100}


def test_a_full_disk_fails_files_and_the_next_pass_takes_them(
    write: Write, sync: Any, store: Store, blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.pt", stored.a1111(1))
    picture(folder / "a.png")

    def full(*_: Any) -> Any:
        raise StorageFull

    monkeypatch.setattr("embconv.registry.folder.keep", full)
    report = sync_folder(store, blobs, str(folder))
    assert report.failed == 2
    assert report.troubles[0].code == "storage_full"
    monkeypatch.undo()
    report, _ = sync()
    assert (report.failed, report.added + report.changed + report.unchanged) == (0, 1)
    assert len(previews_of(store.read, 1)) == 1
