"""Many files at once: as one by one, and no bad one stops the rest."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import pytest
import stored
import torch
from hostile import zipped

from embconv.converters import EmbconvError, Tensor, digest, load
from embconv.converters.containers.safetensors import write
from embconv.converters.hashes import a1111_checksum
from embconv.converters.source import Source
from embconv.registry.blobs import Blobs
from embconv.registry.errors import StorageFull
from embconv.registry.ingest import ingest, sweep, take_away
from embconv.registry.many import LARGE, ingest_many
from embconv.registry.model import Addition, Entry, Origin
from embconv.registry.store import Store, counts, document, file_of, matches, refusals, resolve
from embconv.registry.verify import verify
from examples import a1111_dict, records, torch_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ninety files: embeddings, copies, conversions, files with several, a picture, and some that are none."""
    here = tmp_path / "folder"
    here.mkdir()
    for n in range(70):
        (here / f"style-{n:02}.pt").write_bytes(stored.a1111(n, name=f"style-{n}"))
    for n in range(10):
        (here / f"copy-{n}.safetensors").write_bytes(stored.safetensors(n))
    (here / "words.bin").write_bytes(stored.words(100, 101))
    (here / "z-same.pt").write_bytes(stored.a1111(3, name="style-3"))
    (here / "page.pt").write_bytes(b"<html></html>")
    (here / "trap.pt").write_bytes(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.")
    (here / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    (here / "none.pt").symlink_to(here / "nowhere")
    return here


def paths(folder: Path) -> list[str]:
    return sorted(os.fspath(path) for path in folder.iterdir())


@pytest.mark.parametrize("workers", [1, 3])
def test_many_are_as_one_by_one(folder: Path, store: Store, blobs: Blobs, tmp_path: Path, workers: int) -> None:
    heard: list[Addition] = []
    found = ingest_many(store, blobs, paths(folder), done=heard.append, workers=workers)
    assert heard == found
    assert [addition.path for addition in found] == paths(folder)
    by_name = {os.path.basename(addition.path): addition for addition in found}
    assert {by_name[f"style-{n:02}.pt"].digests[0] for n in range(70)} == {digest(load(folder / f"style-{n:02}.pt")) for n in range(70)}
    assert by_name["words.bin"].triggers == ("<word-100>", "<word-101>")
    assert {name: addition.status for name, addition in by_name.items() if not addition.digests} == {
        "page.pt": "refused", "trap.pt": "refused", "picture.png": "passed_over" if by_name["picture.png"].error is None else "refused",
        "none.pt": "refused"}  # fmt: skip
    assert by_name["trap.pt"].error is not None
    assert by_name["trap.pt"].error.code == "unsafe_pickle"
    assert by_name["style-03.pt"].sha256 == hashlib.sha256((folder / "style-03.pt").read_bytes()).hexdigest()
    assert [addition.status for addition in found].count("added") == 71
    assert {refusal.code for _, refusal in refusals(store.read)} >= {"unsafe_pickle", "not_an_embedding"}
    assert verify(store, blobs).problems == ()
    with Store(str(tmp_path / "other")) as other:
        for path in paths(folder):
            if os.path.basename(path) in by_name and by_name[os.path.basename(path)].digests:
                ingest(other, Blobs(other.home), path)
        assert counts(other.read)["embeddings"] == counts(store.read)["embeddings"] == 72
        for n in range(70):
            here, there = (msgspec.json.decode(document(s.read, resolve(s.read, by_name[f"style-{n:02}.pt"].digests[0])), type=Entry)
                           for s in (store, other))  # fmt: skip
            assert undated(here) == undated(there)


def undated(entry: Entry) -> Entry:
    files = tuple(sorted((msgspec.structs.replace(file, added="") for file in entry.files), key=lambda file: file.sha256))
    return msgspec.structs.replace(entry, added="", changed="", files=files)


def test_a_second_time_everything_is_known_and_nothing_changes(folder: Path, store: Store, blobs: Blobs) -> None:
    first = ingest_many(store, blobs, paths(folder), done=lambda addition: None)
    before = [(row[0], bytes(row[1])) for row in store.read.execute("SELECT id, document FROM documents")]
    second = ingest_many(store, blobs, paths(folder), done=lambda addition: None)
    assert {addition.status for addition in second if addition.digests} == {"known"}
    assert [addition.digests for addition in second] == [addition.digests for addition in first]
    assert [(row[0], bytes(row[1])) for row in store.read.execute("SELECT id, document FROM documents")] == before


def test_a_sidecar_that_came_since_is_heard(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(stored.a1111(1))
    ingest_many(store, blobs, [str(path)], done=lambda addition: None)
    (tmp_path / "a.cm-info.json").write_text(json.dumps({"Tags": ["negative"], "TrainedWords": ["w"]}))
    ingest_many(store, blobs, [str(path)], done=lambda addition: None)
    assert msgspec.json.decode(document(store.read, resolve(store.read, "a")), type=Entry).role == "negative"


def test_tags_role_and_origin_reach_known_files_too(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(stored.a1111(1))
    ingest_many(store, blobs, [str(path)], done=lambda addition: None)
    origin = Origin(source="folder", id=str(path), seen="2026-01-01T00:00:00.000Z")
    ingest_many(store, blobs, [str(path)], done=lambda addition: None, role="negative", tags=("Ink",), origin=lambda _: origin)
    entry = msgspec.json.decode(document(store.read, resolve(store.read, "a")), type=Entry)
    assert (entry.role, entry.tags, [line.source for line in entry.origins]) == ("negative", ("ink",), ["folder"])


def test_bytes_that_were_swept_before_their_rows_are_put_again(
    folder: Path, store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, swept = store.write, []

    def later(work):
        if not swept:
            swept.append(drop_in(store, blobs, write))
        return write(work)

    monkeypatch.setattr(store, "write", later)
    found = ingest_many(store, blobs, paths(folder), done=lambda addition: None, workers=1)
    assert swept
    assert [addition.status for addition in found].count("added") == 71
    assert verify(store, blobs).problems == ()


def drop_in(store: Store, blobs: Blobs, write) -> int:
    every = list(blobs.all())
    write(lambda db: [blobs.remove(sha256) for sha256 in every])
    return len(every)


def test_what_was_blocked_is_refused_among_others(folder: Path, store: Store, blobs: Blobs) -> None:
    ingest(store, blobs, folder / "style-15.pt")
    take_away(store, blobs, resolve(store.read, "style-15"), block=True)
    found = {os.path.basename(a.path): a for a in ingest_many(store, blobs, paths(folder), done=lambda addition: None)}
    assert (found["style-15.pt"].status, found["style-15.pt"].error and found["style-15.pt"].error.code) == ("refused", "blocked")
    assert found["style-16.pt"].status == "added"
    assert not matches(store.read, hashlib.sha256((folder / "style-15.pt").read_bytes()).hexdigest())
    assert verify(store, blobs).problems == ()


def test_a_full_disk_fails_files_and_the_rest_is_safe(folder: Path, store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(work):
        raise StorageFull

    monkeypatch.setattr(store, "write", full)
    found = ingest_many(store, blobs, paths(folder), done=lambda addition: None)
    assert {addition.status for addition in found if addition.error and addition.error.code == "storage_full"} == {"failed"}
    monkeypatch.undo()
    again = ingest_many(store, blobs, paths(folder), done=lambda addition: None)
    assert [addition.status for addition in again].count("added") == 71


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf_8_is_taken_or_said(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.pt"
    with open(path, "wb") as file:
        file.write(stored.a1111(1))
    (found,) = ingest_many(store, blobs, [os.fsdecode(path)], done=lambda addition: None)
    assert found.status in ("added", "refused")
    assert verify(store, blobs).problems == ()


BRINGS = """
import sys
from embconv.registry.blobs import Blobs
from embconv.registry.many import ingest_many
from embconv.registry.store import Store
with Store(sys.argv[1]) as store:
    told = lambda addition: print(addition.status, addition.sha256, flush=True)
    ingest_many(store, Blobs(sys.argv[1]), sys.argv[2:], done=told, workers=3)
"""


@pytest.mark.skipif(not hasattr(os, "getppid") or sys.platform == "win32", reason="there nobody hears of a parent's end")
def test_a_kill_loses_nothing_and_leaves_no_process_behind(home: str, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(1500):
        (folder / f"{n:04}.pt").write_bytes(stored.a1111(n))
    process = subprocess.Popen([sys.executable, "-c", BRINGS, home, *paths(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(10)]  # the first part is safe
    process.kill()
    told += process.stdout.read().splitlines()  # ends when the last worker has let go of it
    process.wait(30)
    process.stdout.close()
    blobs = Blobs(home)
    with Store(home) as store:
        sweep(store, blobs)
        assert verify(store, blobs).problems == ()
        for line in told:
            status, _, sha256 = line.strip().partition(" ")
            if len(sha256) == 64:
                assert status == "added"
                assert file_of(store.read, sha256)
    assert os.listdir(blobs.temporary) == []


def test_nothing_is_nothing(store: Store, blobs: Blobs) -> None:
    assert ingest_many(store, blobs, [], done=lambda addition: None) == []


def test_the_checksum_of_a_large_embedding_is_found_as_that_of_a_small_one(tmp_path: Path) -> None:
    large = {"emb_params": Tensor("F32", (LARGE // 3072 + 1, 768), struct.pack("<f", 0.5) * 768 * (LARGE // 3072 + 1))}
    (tmp_path / "large.safetensors").write_bytes(write(large, {}))
    (tmp_path / "small.pt").write_bytes(stored.a1111(1))
    with Store(os.fspath(tmp_path / "home")) as store:
        ingest_many(store, Blobs(store.home), [os.fspath(tmp_path / name) for name in ("large.safetensors", "small.pt")], done=lambda _: None)
        for name in ("large.safetensors", "small.pt"):
            embedding = load(tmp_path / name)
            (tensor,) = embedding.vectors.values()
            assert digest(embedding) in {match.digest for match in matches(store.read, a1111_checksum(tensor))}


def test_what_stands_beside_a_file_speaks_for_it_also_where_the_folder_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zq.pt").write_bytes(stored.a1111(1))
    (tmp_path / "zq.json").write_text(json.dumps({"sd version": "SD1", "activation text": "told"}))

    def refused(_: str) -> list[str]:
        raise PermissionError

    for number, listing in enumerate((os.listdir, refused)):
        with monkeypatch.context() as patch, Store(os.fspath(tmp_path / f"home{number}")) as store:
            patch.setattr(os, "listdir", listing)
            ingest_many(store, Blobs(store.home), [os.fspath(tmp_path / "zq.pt")], done=lambda _: None)
            entry = msgspec.json.decode(document(store.read, resolve(store.read, "zq")), type=Entry)
            assert [(origin.source, origin.claims.get("trigger")) for origin in entry.origins] == [("sidecar", "told")]


def test_what_was_refused_is_held_by_nobody_where_no_garbage_is_collected(folder: Path, store: Store, blobs: Blobs) -> None:
    gc.collect()
    before = sum(issubclass(type(each), (Source, EmbconvError)) for each in gc.get_objects())
    gc.disable()
    try:
        found = ingest_many(store, blobs, paths(folder), done=lambda addition: None, workers=1)
        assert sum(issubclass(type(each), (Source, EmbconvError)) for each in gc.get_objects()) == before
    finally:
        gc.enable()
    assert sum(addition.status == "refused" for addition in found) == 4


def test_small_files_that_hold_much_are_not_all_in_memory_at_once(tmp_path: Path, store: Store, blobs: Blobs) -> None:
    for place in range(32):
        entries = records(torch_file(a1111_dict(torch.zeros(5000, 768), name=str(place))))
        deflated = zipped([(f"archive/{name}", data) for name, data in entries.items()], zipfile.ZIP_DEFLATED)
        (tmp_path / f"{place:02}.pt").write_bytes(deflated)
    files = sorted(map(os.fspath, tmp_path.glob("*.pt")))
    assert sum(map(os.path.getsize, files)) < 3 << 20
    tracemalloc.start()
    try:
        found = ingest_many(store, blobs, files, done=lambda addition: None, workers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {addition.status for addition in found} == {"added", "known"}
    assert peak < 150 << 20  # each has 15 MB, of which a few copies are needed
