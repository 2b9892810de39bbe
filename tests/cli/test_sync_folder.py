"""`embconv sync folder`: once, and for as long as it runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stored
from PIL import Image

from embconv.registry.store import Store, counts, previews_of, resolve

from .conftest import EMBCONV, Said

Run = Callable[..., Said]


@pytest.fixture
def sync(embconv: Run) -> Run:
    """`embconv sync folder` with some arguments."""
    return lambda *arguments: embconv("sync", "folder", *arguments)


@pytest.fixture
def embs(folder: Path) -> Path:
    """Two embeddings and something else, an hour old."""
    (folder / "embs" / "sub").mkdir(parents=True)
    for name, data in {"ink.pt": stored.a1111(1, name="ink"), "sub/fog.pt": stored.a1111(2, name="fog"), "page.pt": b"<html></html>"}.items():
        (folder / "embs" / name).write_bytes(data)
        os.utime(folder / "embs" / name, (1_700_000_000, 1_700_000_000))
    return folder / "embs"


def test_once_and_again(sync: Run, embs: Path) -> None:
    said = sync("embs")
    assert said.code == 0
    assert said.lines == ['added: ink.pt -> "ink"', 'added: sub/fog.pt -> "fog"', "2 added, 0 changed, 0 unchanged, 0 gone, 1 skipped (not_an_embedding), 0 failed"]
    assert said.err.startswith("Skipped page.pt: ")
    assert "[not_an_embedding]" in said.err
    (embs / "ink.pt").rename(embs / "pen.pt")
    (embs / "sub" / "fog.pt").unlink()
    said = sync("embs")
    assert (said.code, said.lines, said.err) == (
        0, ["moved: ink.pt -> pen.pt", "gone: sub/fog.pt", "0 added, 0 changed, 1 unchanged, 1 gone, 1 skipped (not_an_embedding), 0 failed"], "")  # fmt: skip


def test_as_json(sync: Run, embs: Path) -> None:
    said = sync("embs", "--json")
    assert said.code == 0
    report, files = said.document["report"], said.document["files"]
    assert (report["added"], report["skipped"], report["failed"]) == (2, {"not_an_embedding": 1}, 0)
    assert [(file["path"], file["outcome"]) for file in files] == [("ink.pt", "added"), ("page.pt", "skipped"), ("sub/fog.pt", "added")]
    assert files[1]["error"]["code"] == "not_an_embedding"
    *lines, last = sync("embs", "--nl").documents
    assert (lines, last["report"]["unchanged"]) == ([], 2)


def test_quietly_only_digests(sync: Run, embs: Path) -> None:
    said = sync("embs", "-q")
    assert len(said.lines) == 2
    assert all(line.startswith("emb:") and len(line) == 68 for line in said.lines)


def test_a_dry_run_makes_no_registry_and_says_what_would_be(sync: Run, embs: Path, home: Path) -> None:
    said = sync("embs", "--dry-run")
    assert (said.code, "[no_store]" in said.err, home.exists()) == (2, True, False)
    (embs / "ink.pt").rename(embs.parent / "ink.pt")
    assert sync("embs").code == 0
    (embs.parent / "ink.pt").rename(embs / "ink.pt")
    assert sync("embs", "--dry-run").lines[-1] == "1 would be added, 0 would be changed, 1 unchanged, 0 gone, 1 skipped (not_an_embedding), 0 failed"
    assert sync("embs").lines[-1].startswith("1 added")


@pytest.mark.parametrize("arguments", [["nowhere"], ["embs/ink.pt"], [], ["embs", "--watch", "--dry-run"], ["embs", "--watch", "--json"], ["embs", "--json", "-q"]],
                         ids=["nowhere", "a-file", "nothing", "watch-dry", "watch-json", "two-ways"])  # fmt: skip
def test_what_cannot_run(sync: Run, embs: Path, arguments: list[str]) -> None:
    assert sync(*arguments).code == 2


def test_a_home_that_is_none(sync: Run, embs: Path) -> None:
    Path("file").write_text("x")
    said = sync("embs", "--home", "file")
    assert (said.code, "[no_store]" in said.err) == (2, True)


def test_what_fails_is_exit_code_1(sync: Run, embs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("embconv.converters.folders.os.scandir", refusing)
    said = sync("embs")
    assert said.code == 1
    assert said.lines[-1] == "1 added, 0 changed, 0 unchanged, 0 gone, 1 skipped (not_an_embedding), 1 failed"
    assert "Failed sub: " in said.err


def test_a_registry_elsewhere_is_not_meant(sync: Run, embs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONV_REGISTRY", "http://registry.example")
    assert "EMBCONV_REGISTRY" in sync("embs").err


# --watch


class Watching:
    """The command with --watch, in a process of its own."""

    def __init__(self, folder: Path, home: Path, **environment: str) -> None:
        self.process = subprocess.Popen([EMBCONV, "sync", "folder", str(folder), "--watch", "--home", str(home)], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1", **environment})  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def until(self, wanted: str, seconds: float = 30) -> str:
        """The first line with this in it."""
        end, seen = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                seen.append(self.lines.get(timeout=left))
                if wanted in seen[-1]:
                    return seen[-1]
        raise AssertionError(f"{wanted!r} never came: {seen}")

    def interrupt(self) -> tuple[int, list[str], str]:
        """Ctrl-C: the exit code, the lines that are left, and what it said of trouble."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        self._reader.join(30)
        assert self.process.stderr is not None
        return code, list(self.lines.queue), self.process.stderr.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self._reader.join(30)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def watching(embs: Path, home: Path) -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def start(**environment: str) -> Watching:
        started.append(Watching(embs, home, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


unix = pytest.mark.skipif(sys.platform == "win32", reason="there nobody can send Ctrl-C to one process")


@unix
@pytest.mark.parametrize("environment", [{}, {"WATCHFILES_FORCE_POLLING": "1"}], ids=["notified", "polling"])
def test_what_comes_is_taken_as_it_comes(watching: Callable[..., Watching], embs: Path, home: Path, environment: dict[str, str]) -> None:
    watch = watching(**environment)
    watch.until("2 added, 0 changed")
    (embs / "new").mkdir()
    (embs / "new" / "rain.part").write_bytes(stored.a1111(3, name="rain"))  # as browsers and editors do
    (embs / "new" / "rain.part").rename(embs / "new" / "rain.pt")
    watch.until('added: new/rain.pt -> "rain"')
    picture = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(picture, "PNG")
    (embs / "ink.preview.png").write_bytes(picture.getvalue())
    (embs / "ink.json").write_text(json.dumps({"notes": "n"}))
    watch.until("changed: ink.pt")
    (embs / "sub" / "fog.pt").unlink()
    watch.until("gone: sub/fog.pt")
    watch.until("1 gone")
    code, left, err = watch.interrupt()
    assert code == 0
    assert "failed" in left[-1]
    assert "Traceback" not in err
    with Store(str(home), create=False) as store:
        assert counts(store.read)["embeddings"] == 3
        assert [each.source for each in previews_of(store.read, resolve(store.read, "ink"))] == ["ink.preview.png"]


@unix
def test_a_half_written_file_is_taken_when_it_is_whole(watching: Callable[..., Watching], embs: Path, home: Path) -> None:
    watch = watching()
    watch.until("2 added, 0 changed")
    data = stored.a1111(3, name="rain")
    with (embs / "rain.pt").open("wb") as file:
        file.write(data[:1000])
        file.flush()
        watch.until("2 skipped")
        moment = os.stat(embs / "rain.pt").st_mtime_ns
        file.write(data[1000:])
    watch.until('added: rain.pt -> "rain"')
    assert os.stat(embs / "rain.pt").st_mtime_ns != moment
    assert watch.interrupt()[0] == 0


@unix
def test_a_folder_that_goes_and_comes_back_is_watched_again(watching: Callable[..., Watching], embs: Path, home: Path) -> None:
    watch = watching()
    watch.until("2 added, 0 changed")
    embs.rename(embs.with_name("away"))
    time.sleep(4)
    embs.with_name("away").rename(embs)
    watch.until("2 unchanged")
    (embs / "rain.pt").write_bytes(stored.a1111(3, name="rain"))
    watch.until('added: rain.pt -> "rain"')
    code, _, err = watch.interrupt()
    assert code == 0
    assert "waiting for it" in err
    with Store(str(home), create=False) as store:
        assert "gone" not in {state for (state,) in store.read.execute("SELECT state FROM origins")}


@unix
def test_ctrl_c_before_anything_came_is_no_error(watching: Callable[..., Watching], embs: Path) -> None:
    watch = watching()
    watch.until("2 added, 0 changed")
    code, left, err = watch.interrupt()
    assert (code, left[-1]) == (0, "2 added, 0 changed, 0 unchanged, 0 gone, 1 skipped (not_an_embedding), 0 failed")
    assert "Stopped." in err
