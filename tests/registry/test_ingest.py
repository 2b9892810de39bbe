"""A file in, its embeddings known: once each, whatever file holds them, and nothing of what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stored

from embconv.converters import EmbconvError, digest, load
from embconv.registry.blobs import Blobs
from embconv.registry.errors import BadParameter, Blocked, Busy, Gone, StorageFailed, StorageFull, UnknownFile
from embconv.registry.ingest import Sent, drop, ingest, ingest_together, sweep, take_away
from embconv.registry.model import Entry, Ingested, Origin
from embconv.registry.store import Store, counts, file_of, matches, refusals, resolve
from embconv.registry.verify import verify

Add = Callable[..., Ingested]


def entries(ingested: Ingested) -> list[Entry]:
    return [msgspec.json.decode(raw, type=Entry) for raw in ingested.embeddings]


def only(ingested: Ingested) -> Entry:
    (entry,) = entries(ingested)
    return entry


def test_a_file_is_known_by_its_vectors_and_its_bytes(add: Add, blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "moonpaper.pt"
    path.write_bytes(stored.a1111(1, name="moonpaper"))
    result = add(path)
    entry = only(result)
    assert (result.status, result.new_file) == ("added", True)
    assert entry.digest == digest(load(path))
    assert (entry.name, entry.trigger, entry.base, entry.vectors) == ("moonpaper", "moonpaper", "sd1", 2)
    assert result.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == entry.files[0].sha256
    assert blobs.read(result.file.sha256) == path.read_bytes()


@pytest.mark.parametrize("way", ["path", "bytes", "writer"])
def test_it_comes_as_a_path_as_bytes_or_piece_by_piece(add: Add, blobs: Blobs, tmp_path: Path, way: str) -> None:
    data = stored.a1111(1, name="inner")
    if way == "path":
        (tmp_path / "moonpaper.pt").write_bytes(data)
        entry = only(add(tmp_path / "moonpaper.pt"))
    elif way == "bytes":
        entry = only(add(data, name="moonpaper.pt"))
    else:
        with blobs.writer() as writer:
            for start in range(0, len(data), 1000):
                writer.write(data[start : start + 1000])
            entry = only(add(writer, name="moonpaper.pt"))
    assert (entry.trigger, entry.files[0].name) == ("moonpaper", "moonpaper.pt")
    assert entry.names == {"archive_root": ("archive",), "file_stem": ("moonpaper",), "inner_name": ("inner",), "key": ("*",)}
    assert [finding.rule for finding in entry.findings] == ["name_mismatch"]


def test_the_same_bytes_again_are_known_and_change_nothing(add: Add, store: Store) -> None:
    first = add(stored.a1111(1), name="a.pt")
    again = add(stored.a1111(1), name="a.pt")
    assert (again.status, again.new_file) == ("known", False)
    assert again.embeddings == first.embeddings
    assert counts(store.read)["files"] == 1


def test_another_name_for_the_same_bytes_is_kept_and_the_first_stays(add: Add) -> None:
    add(stored.a1111(1), name="first.pt")
    entry = only(add(stored.a1111(1), name="second.pt"))
    assert entry.name == entry.trigger == "first"
    assert entry.names["file_stem"] == ("first", "second")


@pytest.mark.parametrize("other", [stored.safetensors(1), stored.a1111(1, name="x", step=7), stored.safetensors(1, dtype="F16"),
                                   stored.a1111(1, dtype="F64")], ids=["container", "bytes", "F16", "F64"])  # fmt: skip
def test_the_same_vectors_in_another_file_are_one_embedding(add: Add, store: Store, other: bytes) -> None:
    first, second = only(add(stored.a1111(1), name="a.pt")), add(other, name="b.pt")
    assert (second.status, second.new_file) == ("known", True)
    assert only(second).digest == first.digest
    assert [file.name for file in only(second).files] == ["a.pt", "b.pt"]
    assert counts(store.read)["embeddings"] == 1


def test_a_file_with_several_gives_several(add: Add, store: Store) -> None:
    result = add(stored.words(1, 2, 3), name="words.bin")
    assert [entry.trigger for entry in entries(result)] == ["<word-1>", "<word-2>", "<word-3>"]
    assert [entry.name for entry in entries(result)] == ["word-1", "word-2", "word-3"]
    assert counts(store.read)["embeddings"] == 3
    mixed = add(stored.words(3, 4), name="more.bin")
    assert (mixed.status, len(entries(mixed)), counts(store.read)["embeddings"]) == ("added", 2, 4)


def test_the_same_vectors_twice_in_one_file_are_one(add: Add, store: Store) -> None:
    from embconv.converters.containers import torch_zip

    data = torch_zip.write({"<a>": stored.numbers(1, 1), "<b>": stored.numbers(1, 1)})
    assert len(add(data, name="twins.bin").embeddings) == 1
    assert counts(store.read)["embeddings"] == 1


REFUSED = {
    "unsafe_pickle": b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "not_an_embedding": b"<html><body>Sign in</body></html>",
    "unreadable_file": stored.safetensors(1)[:100],
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_refused_leaves_nothing_but_its_refusal(add: Add, store: Store, home: str, code: str) -> None:
    with pytest.raises(EmbconvError) as raised:
        add(REFUSED[code], name="bad.pt", origin=Origin(source="upload", seen="2026-01-01T00:00:00.000Z"))
    assert raised.value.code == code
    assert [path for path in Path(home, "blobs").rglob("*") if path.is_file()] == []
    assert {name: count for name, count in counts(store.read).items() if count} == {"refusals": 1}
    ((_, refusal),) = refusals(store.read)
    assert (refusal.code, refusal.sha256, refusal.name, refusal.size, refusal.source) == (
        code, hashlib.sha256(REFUSED[code]).hexdigest(), "bad.pt", len(REFUSED[code]), "upload")  # fmt: skip
    assert refusal.says == raised.value.says


def test_a_refused_upload_leaves_nothing_either(add: Add, blobs: Blobs, home: str) -> None:
    with blobs.writer() as writer:
        writer.write(b"no embedding")
        with pytest.raises(EmbconvError):
            add(writer, name="x.pt")
    assert [path for path in Path(home, "blobs").rglob("*") if path.is_file()] == []


def test_a_path_that_is_not_there_is_said_and_not_logged(add: Add, store: Store, tmp_path: Path) -> None:
    with pytest.raises(EmbconvError, match="No such file"):
        add(tmp_path / "none.pt")
    assert counts(store.read)["refusals"] == 0


def test_sidecars_and_headers_are_claims(add: Add, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "moonpaper.safetensors"
    path.write_bytes(stored.safetensors(1, {"modelspec.license": "CC-BY-4.0", "modelspec.is_negative_embedding": "true"}))
    claimed = "ab" * 32
    (tmp_path / "moonpaper.civitai.info").write_text(json.dumps({
        "baseModel": "SD 1.5", "trainedWords": ["mp-word"],
        "allowNoCredit": True, "allowCommercialUse": ["Image", "RentCivit"], "allowDerivatives": False,
        "files": [{"primary": True, "hashes": {"SHA256": claimed.upper(), "AutoV2": "0123456789"}}]}))  # fmt: skip
    entry = only(add(path))
    assert [(origin.source, origin.id) for origin in entry.origins] == [("header", "modelspec"), ("sidecar", "moonpaper.civitai.info")]
    assert entry.licence is not None
    assert (entry.licence.permits, entry.licence.source) == (("no_credit", "sell_images", "rent_on_civitai"), "sidecar")
    assert (entry.role, entry.names["sidecar"]) == ("negative", ("mp-word",))
    for value in (claimed, claimed.upper(), f"sha256:{claimed}", "0123456789"):
        (match,) = matches(store.read, value)
        assert (match.claim, match.digest) == (True, entry.digest)
    assert [match.kind for match in matches(store.read, claimed[:10])] == ["autov2"]


def test_the_same_claims_again_are_no_new_lines(add: Add, tmp_path: Path) -> None:
    path = tmp_path / "moonpaper.safetensors"
    path.write_bytes(stored.safetensors(1, {"modelspec.license": "CC-BY-4.0"}))
    add(path)
    assert len(only(add(path)).origins) == 1
    (tmp_path / "moonpaper.json").write_text(json.dumps({"activation text": "mp"}))
    assert len(only(add(path)).origins) == 2


def test_a_converted_file_brings_its_sources_hashes_as_claims(add: Add, store: Store, tmp_path: Path) -> None:
    from embconv.converters import convert

    source, made = tmp_path / "moonpaper.pt", tmp_path / "moonpaper.safetensors"
    source.write_bytes(stored.a1111(1))
    convert(source, made)
    entry = only(add(made))
    (match,) = matches(store.read, hashlib.sha256(source.read_bytes()).hexdigest())
    assert (match.kind, match.claim, match.digest) == ("sha256", True, entry.digest)
    add(source)
    (match,) = [m for m in matches(store.read, hashlib.sha256(source.read_bytes()).hexdigest()) if not m.claim]
    assert match.kind == "sha256"


def test_what_a_person_says_outweighs_every_claim(add: Add) -> None:
    data = stored.safetensors(1, {"modelspec.is_negative_embedding": "true"})
    entry = only(add(data, name="a.safetensors", role="positive", given_name="Moon paper", tags=("Ink", " two  words ")))
    assert (entry.role, entry.name, entry.trigger, entry.tags) == ("positive", "Moon paper", "a", ("ink", "two words"))
    assert only(add(data, name="a.safetensors")).role == "positive"


@pytest.mark.parametrize("said", [{"role": "sideways"}, {"given_name": "a\nb\x00"}, {"tags": (1,)}])
def test_what_means_nothing_is_refused_before_anything_is_kept(add: Add, store: Store, said: dict[str, object]) -> None:
    with pytest.raises(BadParameter):
        add(stored.a1111(1), name="a.pt", **said)
    assert counts(store.read)["files"] == 0


def test_an_origin_is_a_line_and_a_second_one_only_where_it_differs(add: Add) -> None:
    origin = Origin(source="civitai", id="7808@9208", url="https://civitai.com/models/7808", seen="2026-01-01T00:00:00.000Z",
                    claims={"creator": "Havoc", "tags": ["Negative"], "downloads": 12, "title": "Easy"})  # fmt: skip
    entry = only(add(stored.a1111(1), name="a.pt", origin=origin))
    assert (entry.creators, entry.tags, entry.downloads) == (("Havoc",), ("negative",), 12)
    later = msgspec.structs.replace(origin, seen="2026-02-01T00:00:00.000Z")
    assert len(only(add(stored.a1111(1), name="a.pt", origin=later)).origins) == 1
    changed = msgspec.structs.replace(later, claims={"creator": "Havoc", "downloads": 13})
    entry = only(add(stored.a1111(1), name="a.pt", origin=changed))
    assert (len(entry.origins), entry.downloads, entry.tags) == (2, 13, ())
    gone = Origin(source="civitai", id="7808@9208", seen="2026-03-01T00:00:00.000Z", state="gone")
    entry = only(add(stored.a1111(1), name="a.pt", origin=gone))
    assert (len(entry.origins), entry.downloads, entry.creators) == (3, 13, ("Havoc",))  # it erases nothing


def test_what_was_removed_comes_back_when_it_is_added_again(add: Add, store: Store, blobs: Blobs) -> None:
    first = only(add(stored.a1111(1), name="a.pt", tags=("ink",)))
    take_away(store, blobs, resolve(store.read, first.digest), why="a mistake")
    assert not blobs.has(first.files[0].sha256)
    assert counts(store.read)["embeddings"] == 0
    with pytest.raises(Gone, match="a mistake"):
        resolve(store.read, first.digest)
    with pytest.raises(Gone):
        file_of(store.read, first.files[0].sha256)
    assert matches(store.read, first.files[0].sha256) == []
    again = add(stored.safetensors(1), name="b.safetensors")
    assert (again.status, again.new_file) == ("added", True)
    assert (only(again).tags, [file.name for file in only(again).files]) == (("ink",), ["b.safetensors"])
    back = add(stored.a1111(1), name="a.pt")
    assert (back.status, back.new_file, len(only(back).files)) == ("known", True, 2)


def test_bytes_that_another_embedding_still_has_stay(add: Add, store: Store, blobs: Blobs) -> None:
    one, two = entries(add(stored.words(1, 2), name="words.bin"))
    take_away(store, blobs, resolve(store.read, one.digest))
    assert blobs.has(two.files[0].sha256)
    take_away(store, blobs, resolve(store.read, two.digest))
    assert not blobs.has(two.files[0].sha256)


def test_what_was_removed_for_good_stays_away(add: Add, store: Store, blobs: Blobs) -> None:
    entry = only(add(stored.a1111(1), name="a.pt"))
    take_away(store, blobs, resolve(store.read, entry.digest), why="stolen", block=True)
    for data in (stored.a1111(1), stored.safetensors(1)):
        with pytest.raises(Blocked, match="stolen"):
            add(data, name="again.pt")
    assert [refusal.code for _, refusal in refusals(store.read)] == ["blocked"] * 2
    assert counts(store.read)["files"] == 0
    assert list(blobs.all()) == []
    assert add(stored.a1111(1), name="a.pt", unblock=True).status == "added"


def test_a_file_with_one_that_is_blocked_is_blocked_and_the_others_are_not_added(add: Add, store: Store, blobs: Blobs) -> None:
    entry = only(add(stored.words(1), name="one.bin"))
    take_away(store, blobs, resolve(store.read, entry.digest), block=True)
    with pytest.raises(Blocked):
        add(stored.words(2, 1), name="two.bin")
    assert (counts(store.read)["embeddings"], counts(store.read)["files"]) == (0, 0)


def test_small_files_that_come_together_are_taken_in_together_and_each_gets_its_own_answer(
    add: Add, store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(stored.a1111(7), name="blocked.pt")
    take_away(store, blobs, resolve(store.read, "blocked"), block=True)
    commits: list[object] = []
    real = store.write
    monkeypatch.setattr(store, "write", lambda work: (commits.append(work), real(work))[1])
    files = [
        Sent(stored.a1111(1), "one.pt", {}),
        Sent(b"<html>", "page.pt", {}),
        Sent(stored.a1111(1), "again.pt", {"tags": ["mine"]}),
        Sent(stored.words(100, 101), "words.bin", {}),
        Sent(stored.a1111(7), "blocked.pt", {}),
        Sent(stored.a1111(2), "two.pt", {"role": "sideways"}),
        Sent(stored.safetensors(3), "three.safetensors", {"role": "negative"}),
    ]
    one, page, again, words, blocked, two, three = ingest_together(store, blobs, files)
    assert isinstance(one, Ingested)
    assert isinstance(again, Ingested)
    assert isinstance(words, Ingested)
    assert isinstance(three, Ingested)
    assert [(each.status, each.new_file, len(each.embeddings)) for each in (one, again, words, three)] == [
        ("added", True, 1), ("known", False, 1), ("added", True, 2), ("added", True, 1)]  # fmt: skip
    assert only(again).tags == ("mine",)
    assert only(three).role == "negative"
    assert [type(each).__name__ for each in (page, blocked, two)] == ["NotAnEmbedding", "Blocked", "BadParameter"]
    assert [refusal.code for _, refusal in refusals(store.read, 10, None)] == ["blocked", "not_an_embedding"]
    assert len(commits) < len(files)
    assert sorted(blobs.all()) == sorted(hashlib.sha256(file.data).hexdigest() for place, file in enumerate(files) if place in (0, 3, 6))
    assert verify(store, blobs).problems == ()


def test_one_that_breaks_us_does_not_stop_those_that_came_with_it(store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    from embconv.registry import ingest as module

    real = module.prepare_opened

    def broken(source: Any, **options: Any) -> Any:
        if source.name == "bad.pt":
            raise ZeroDivisionError
        return real(source, **options)

    monkeypatch.setattr(module, "prepare_opened", broken)
    bad, good = ingest_together(store, blobs, [Sent(stored.a1111(1), "bad.pt", {}), Sent(stored.a1111(2), "good.pt", {})])
    assert isinstance(bad, ZeroDivisionError)
    assert isinstance(good, Ingested)


@pytest.mark.parametrize("error", [Busy, StorageFull])
def test_where_the_database_takes_none_of_them_nothing_stays(
    store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, error: type[EmbconvError]
) -> None:
    real = store.write

    def write(work: Any) -> Any:
        if "put_together" in repr(work) or "commit" in repr(work):
            raise error
        return real(work)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", write)
        came = ingest_together(store, blobs, [Sent(stored.a1111(seed), "a.pt", {}) for seed in range(3)])
    assert [type(each) for each in came] == [error] * 3
    assert counts(store.read)["files"] == 0
    sweep(store, blobs)
    assert list(blobs.all()) == []
    assert [type(each) for each in ingest_together(store, blobs, [Sent(stored.a1111(1), "a.pt", {})])] == [Ingested]


def test_thirty_two_who_bring_one_file_bring_one_embedding(store: Store, blobs: Blobs, home: str) -> None:
    gate = threading.Barrier(32)

    def bring(_: int) -> Ingested:
        gate.wait(30)
        return ingest(store, blobs, stored.a1111(1), name="a.pt")

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(bring, range(32)))
    assert sorted(result.status for result in results) == ["added"] + ["known"] * 31
    assert [result.new_file for result in results].count(True) == 1
    assert [result.status for result in results if result.new_file] == ["added"]
    assert counts(store.read)["embeddings"] == counts(store.read)["files"] == 1
    assert len([path for path in Path(home, "blobs").rglob("*") if path.is_file()]) == 1


def test_removing_and_bringing_the_same_at_once_never_leaves_a_row_without_bytes(store: Store, blobs: Blobs) -> None:
    data, errors = [stored.a1111(n) for n in range(3)], []

    def bring(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            found = ingest(store, blobs, dice.choice(data), name="a.pt")
            if dice.random() < 0.7:
                digest_ = json.loads(bytes(found.embeddings[0]))["digest"]
                try:
                    take_away(store, blobs, resolve(store.read, digest_))
                except Gone:
                    pass
                except Exception as exc:  # noqa: BLE001  # whatever it is, the test shows it
                    errors.append(exc)
            if dice.random() < 0.2:
                sweep(store, blobs)

    threads = [threading.Thread(target=bring, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    sweep(store, blobs)
    assert verify(store, blobs).problems == ()


def test_bytes_that_went_between_keeping_and_committing_are_put_again(store: Store, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored.a1111(1)
    sha256 = hashlib.sha256(data).hexdigest()
    write = store.write

    def later(work):
        monkeypatch.setattr(store, "write", write)
        drop(store, blobs, [sha256])  # another process sweeps what no row names
        assert not blobs.has(sha256)
        return write(work)

    monkeypatch.setattr(store, "write", later)
    ingest(store, blobs, data, name="a.pt")
    assert blobs.read(sha256) == data


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed)])
@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_disk_that_fails_keeps_nothing_and_passes(store: Store, home: str, number: int, error: type[EmbconvError], call: str) -> None:
    class Failing:
        def __getattr__(self, name: str) -> object:
            def fail(*_: object) -> None:
                raise OSError(number, os.strerror(number))

            return fail if name == call else getattr(os, name)

    with pytest.raises(error):
        ingest(store, Blobs(home, system=Failing()), stored.a1111(1), name="a.pt")
    assert {name: count for name, count in counts(store.read).items() if count} == {}
    assert ingest(store, Blobs(home), stored.a1111(1), name="a.pt").status == "added"


def test_bytes_without_rows_are_swept_at_the_start(add: Add, store: Store, blobs: Blobs) -> None:
    entry = only(add(stored.a1111(1), name="a.pt"))
    orphan = blobs.put(b"left by a crash")
    assert sweep(store, blobs) == 1
    assert not blobs.has(orphan)
    assert blobs.has(entry.files[0].sha256)


def test_a_new_database_does_not_cost_the_bytes_of_an_old_one(home: str) -> None:
    blobs = Blobs(home)
    with Store(home) as store:
        sha256 = ingest(store, blobs, stored.a1111(1), name="a.pt").file.sha256
    for path in Path(home).glob("registry.db*"):
        path.unlink()
    with Store(home) as store:
        assert sweep(store, blobs) == 0
        assert blobs.has(sha256)
    with Store(home) as store:
        assert sweep(store, blobs) == 0
        assert ingest(store, blobs, stored.a1111(1), name="a.pt").new_file
        assert [problem.kind for problem in verify(store, blobs).problems] == []


SEVERAL = r"""
import random, sys
import stored
from embconv.registry.blobs import Blobs
from embconv.registry.errors import Gone
from embconv.registry.ingest import ingest, sweep, take_away
from embconv.registry.store import Store, edit, resolve
dice = random.Random(sys.argv[2])
blobs = Blobs(sys.argv[1])
with Store(sys.argv[1]) as store:
    for n in range(60):
        seed = dice.randrange(4)
        ingest(store, blobs, stored.a1111(seed), name=f"style-{seed}.pt")
        ingest(store, blobs, stored.a1111(1000 + 100 * int(sys.argv[2]) + n), name="own.pt")
        try:
            id_ = resolve(store.read, f"style-{seed}")
            store.write(lambda db: edit(db, id_, {"notes": str(n)}))
            if dice.random() < 0.5:
                take_away(store, blobs, id_)
        except Gone:
            pass
        if dice.random() < 0.1:
            sweep(store, blobs)
"""


def test_several_processes_bring_and_remove_at_once(home: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(stored.__file__)}
    running = [subprocess.Popen([sys.executable, "-c", SEVERAL, home, str(n)], stderr=subprocess.PIPE, text=True, env=environment)
               for n in range(3)]  # fmt: skip
    assert [process.communicate(timeout=120)[1] for process in running] == [""] * 3
    blobs = Blobs(home)
    with Store(home) as store:
        sweep(store, blobs)
        assert verify(store, blobs).problems == ()
        assert 180 <= counts(store.read)["embeddings"] <= 184


KILLED = r"""
import os, random, sys, threading
import stored
from embconv.registry.blobs import Blobs
from embconv.registry.ingest import ingest, take_away
from embconv.registry.store import Store, resolve
home, seed = sys.argv[1], int(sys.argv[2])
blobs = Blobs(home)
store = Store(home)
def work(thread):
    for n in range(1000):
        number = seed * 100_000 + thread * 10_000 + n
        found = ingest(store, blobs, stored.a1111(number), name=f"style-{number}.pt")
        os.write(1, f"added {number} {found.file.sha256}\n".encode())
        if n % 3 == 2:
            os.write(1, f"removing {number} {found.file.sha256}\n".encode())
            take_away(store, blobs, resolve(store.read, f"style-{number}"))
            os.write(1, f"removed {number} {found.file.sha256}\n".encode())
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(home: str) -> None:
    dice = random.Random(3)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(stored.__file__)}
    there: dict[str, bool | None] = {}
    for round_ in range(6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, home, str(round_)], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            process.communicate(timeout=0.7 + dice.random() * 0.6)
        except subprocess.TimeoutExpired:
            process.kill()
        told, _ = process.communicate(timeout=30)
        for line in told.splitlines():
            match line.split():
                case ["added", _, sha256] if len(sha256) == 64:
                    there[sha256] = True
                case ["removing", _, sha256] if len(sha256) == 64:
                    there[sha256] = None  # either way
                case ["removed", _, sha256] if len(sha256) == 64:
                    there[sha256] = False
        blobs = Blobs(home)
        with Store(home) as store:
            sweep(store, blobs)
            for sha256, expected in there.items():
                try:
                    here = file_of(store.read, sha256).sha256 == sha256
                    assert hashlib.sha256(blobs.read(sha256)).hexdigest() == sha256
                except (Gone, UnknownFile):
                    here = False
                assert expected is None or here is expected
            assert verify(store, blobs).problems == ()
            assert not os.path.isdir(blobs.temporary) or os.listdir(blobs.temporary) == []  # it may have been killed before it made any
    assert len(there) > 20


def test_the_real_files_are_one_embedding_for_each_digest(add: Add, store: Store, real: Path) -> None:
    expected: dict[str, set[str]] = {}
    for path in sorted(real.iterdir()):
        if path.name in {"NEGATIVE-empty-dict.pt", "manifest.json"}:
            with pytest.raises(EmbconvError):
                add(path)
            continue
        for entry in entries(add(path)):
            expected.setdefault(entry.digest, set()).add(path.name)
    assert counts(store.read)["embeddings"] == len(expected)
    assert {"emb_params-EasyNegative.pt", "emb_params-unaligned-EasyNegative.safetensors"} in expected.values()
    assert {"a1111-name-with-space-1000.pt", "image-emb-gasai-1000.png"} in expected.values()
    assert "NEGATIVE-empty-dict.pt" in {refusal.name for _, refusal in refusals(store.read)}
    manifest = json.loads((real / "manifest.json").read_text())
    for told in manifest:
        values = [value for kind, value in told["hashes"].items() if value and kind != "crc32"]
        for value in values if not told["file"].startswith("NEGATIVE") else ():
            assert told["file"] in {name for match in matches(store.read, value) for name in expected[match.digest]}, (told["file"], value)
