"""Everything looked at again, and what is wrong put right where it can be."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import stored

from embconv.registry.blobs import Blobs
from embconv.registry.model import Entry, Ingested
from embconv.registry.store import Store, document, resolve
from embconv.registry.verify import Report, verify

Add = Callable[..., Ingested]


@pytest.fixture
def sha256(add: Add) -> str:
    add(stored.words(5, 6), name="words.bin")
    return add(stored.a1111(1), name="a.pt").file.sha256


def kinds(report: Report) -> list[str]:
    return [problem.kind for problem in report.problems]


def test_a_good_registry_is_good(store: Store, blobs: Blobs, sha256: str) -> None:
    report = verify(store, blobs)
    assert (report.files, report.checked, report.embeddings, report.problems, report.good) == (2, 2, 3, (), True)


def test_an_empty_one_too(store: Store, blobs: Blobs) -> None:
    assert verify(store, blobs) == Report(files=0, checked=0, embeddings=0, problems=())


def test_rotten_bytes_are_set_aside_and_come_back_with_the_file(store: Store, blobs: Blobs, add: Add, sha256: str) -> None:
    path = Path(blobs.path(sha256))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert kinds(verify(store, blobs)) == ["rotten"]
    assert blobs.has(sha256)
    report = verify(store, blobs, repair=True)
    assert (kinds(report), report.good) == (["rotten"], False)
    assert kinds(verify(store, blobs)) == ["missing"]
    assert add(stored.a1111(1), name="a.pt").status == "known"
    assert verify(store, blobs).problems == ()


@pytest.mark.parametrize("sample", [1.0, 0.0])
def test_rows_without_bytes_are_found_whatever_the_sample(store: Store, blobs: Blobs, sha256: str, sample: float) -> None:
    blobs.remove(sha256)
    report = verify(store, blobs, sample=sample, repair=True)
    assert [(problem.kind, problem.ref, problem.repaired) for problem in report.problems] == [("missing", sha256, False)]


def test_bytes_without_rows_are_found_and_taken_away(store: Store, blobs: Blobs, sha256: str) -> None:
    orphan = blobs.put(b"nobody's")
    assert [(problem.kind, problem.ref) for problem in verify(store, blobs).problems] == [("orphan", orphan)]
    assert verify(store, blobs, repair=True).good
    assert verify(store, blobs).problems == ()
    assert blobs.has(sha256)


def test_documents_that_are_wrong_are_made_anew(store: Store, blobs: Blobs, sha256: str) -> None:
    id_ = resolve(store.read, "a")
    before = msgspec.json.decode(document(store.read, id_), type=Entry)
    store.write(lambda db: db.execute("UPDATE documents SET document = '{}' WHERE id = ?", (id_,)))
    assert [(problem.kind, problem.ref) for problem in verify(store, blobs).problems] == [("stale", before.digest)]
    assert verify(store, blobs, repair=True).good
    assert verify(store, blobs).problems == ()
    assert msgspec.structs.replace(msgspec.json.decode(document(store.read, id_), type=Entry), changed=before.changed) == before


@pytest.mark.parametrize("sql", ["UPDATE embeddings SET facts = '[]'", "DELETE FROM words WHERE rowid = 1", "UPDATE words SET name = 'x'",
                                 "DELETE FROM documents"])  # fmt: skip
def test_so_is_whatever_else_is_derived(store: Store, blobs: Blobs, sha256: str, sql: str) -> None:
    store.write(lambda db: db.execute(sql))
    assert set(kinds(verify(store, blobs))) == {"stale"}
    assert verify(store, blobs, repair=True).good
    assert verify(store, blobs).problems == ()


def test_a_broken_index_is_made_anew(store: Store, blobs: Blobs, sha256: str) -> None:
    store.write(lambda db: db.execute("DELETE FROM words_data WHERE id > 10"))
    assert "index" in kinds(verify(store, blobs))
    assert verify(store, blobs, repair=True).good
    assert verify(store, blobs).problems == ()


def test_a_row_that_names_nothing_is_the_databases_fault(store: Store, blobs: Blobs, sha256: str) -> None:
    store._writer.execute("PRAGMA foreign_keys = 0")
    store.write(lambda db: db.execute("INSERT INTO tags VALUES (999, 'x')"))
    assert kinds(verify(store, blobs)) == ["database"]


def test_a_file_that_holds_other_vectors_than_it_did_is_said(store: Store, blobs: Blobs, sha256: str) -> None:
    store.write(lambda db: db.execute("UPDATE embeddings SET digest = ? WHERE name = 'a'", ("0" * 64,)))
    assert "changed" in kinds(verify(store, blobs))


def test_a_sample_is_a_part(store: Store, blobs: Blobs, add: Add) -> None:
    for n in range(60):
        add(stored.a1111(n), name=f"s{n}.pt")
    seen: list[int] = []
    report = verify(store, blobs, sample=0.2, dice=random.Random(1), done=seen.append)
    assert report.files == 60
    assert 2 <= report.checked <= 25
    assert seen == list(range(1, report.checked + 1))


@pytest.mark.skipif(os.name == "nt", reason="a folder in a file's place")
def test_bytes_that_cannot_be_read_are_said(store: Store, blobs: Blobs, sha256: str) -> None:
    os.unlink(blobs.path(sha256))
    os.mkdir(blobs.path(sha256))
    assert kinds(verify(store, blobs)) == ["rotten"]
