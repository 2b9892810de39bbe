"""Who answers to a digest, a hash or a name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import msgspec
import pytest
import stored

from embconv.converters import hashes
from embconv.registry.blobs import Blobs
from embconv.registry.errors import AmbiguousReference, Gone, UnknownFile, UnknownReference
from embconv.registry.ingest import take_away
from embconv.registry.model import Entry, Ingested
from embconv.registry.store import Store, digest_of, documents, file_of, files_of, matches, matches_many, resolve

Add = Callable[..., Ingested]


def entry_of(ingested: Ingested) -> Entry:
    return msgspec.json.decode(ingested.embeddings[0], type=Entry)


WAYS = {
    "digest": lambda e: e.digest,
    "digest in capitals": lambda e: e.digest.upper(),
    "digest without emb:": lambda e: e.digest[4:],
    "eight digits": lambda e: e.digest[4:12],
    "emb: and eight digits": lambda e: e.digest[:12],
    "spaces around": lambda e: f" {e.digest} ",
    "name": lambda e: "Ängstlich",
    "name in another case": lambda e: "äNGSTLICH",
    "trigger with brackets": lambda e: "<ängstlich>",
    "sha256": lambda e: e.files[0].hashes["sha256"],
    "sha256:": lambda e: f"sha256:{e.files[0].hashes['sha256'].upper()}",
    "blake3:": lambda e: f"blake3:{e.files[0].hashes['blake3']}",
    "crc32": lambda e: e.files[0].hashes["crc32"],
    "autov2": lambda e: e.files[0].hashes["autov2"],
    "autov3": lambda e: e.files[0].hashes["autov3"],
    "autov3_full": lambda e: e.files[0].hashes["autov3_full"],
    "a1111_shorthash": lambda e: e.files[0].hashes["a1111_shorthash"],
}


@pytest.mark.parametrize("way", WAYS)
def test_an_embedding_answers_to(add: Add, store: Store, way: str) -> None:
    add(stored.a1111(2), name="other.pt")
    entry = entry_of(add(stored.a1111(1), name="Ängstlich.pt"))
    assert digest_of(store.read, resolve(store.read, WAYS[way](entry))) == entry.digest


@pytest.mark.parametrize(
    "ref", ["", " ", "nobody", "emb:", "emb:zz", "0" * 64, "0" * 7, "emb:" + "0" * 64, "x" * 100_000, "a\0b", "%", "*"]
)
def test_nobody_answers_to(add: Add, store: Store, ref: str) -> None:
    add(stored.a1111(1), name="a.pt")
    with pytest.raises(UnknownReference):
        resolve(store.read, ref)


def test_seven_digits_are_too_few(add: Add, store: Store) -> None:
    entry = entry_of(add(stored.a1111(1), name="a.pt"))
    with pytest.raises(UnknownReference):
        resolve(store.read, entry.digest[:11])


def test_what_several_are_called_is_ambiguous_and_names_them(add: Add, store: Store) -> None:
    both = [entry_of(add(stored.a1111(n), name="same.pt")).digest for n in (1, 2)]
    with pytest.raises(AmbiguousReference) as raised:
        resolve(store.read, "SAME")
    assert sorted(raised.value.digests) == sorted(both)


def test_the_sha256_of_a_file_with_several_is_ambiguous(add: Add, store: Store) -> None:
    result = add(stored.words(1, 2), name="words.bin")
    with pytest.raises(AmbiguousReference):
        resolve(store.read, result.file.sha256)


def test_one_that_was_removed_is_gone_unless_another_has_its_name(add: Add, store: Store, blobs: Blobs) -> None:
    first = entry_of(add(stored.a1111(1), name="same.pt"))
    take_away(store, blobs, resolve(store.read, first.digest), why="no good")
    for ref in ("same", first.digest, first.files[0].sha256, first.digest[4:12]):
        with pytest.raises(Gone, match="no good") as raised:
            resolve(store.read, ref)
        assert raised.value.blocked is False
    second = entry_of(add(stored.a1111(2), name="same.pt"))
    assert digest_of(store.read, resolve(store.read, "same")) == second.digest


def test_one_that_was_blocked_says_so(add: Add, store: Store, blobs: Blobs) -> None:
    entry = entry_of(add(stored.a1111(1), name="a.pt"))
    take_away(store, blobs, resolve(store.read, "a"), block=True)
    with pytest.raises(Gone) as raised:
        resolve(store.read, entry.digest)
    assert raised.value.blocked is True
    assert "admin" in raised.value.hint


def test_every_hash_of_a_file_is_found_with_its_kind(add: Add, store: Store) -> None:
    data = stored.a1111(1)
    entry = entry_of(add(data, name="a.pt"))
    for kind, value in msgspec.structs.asdict(hashes(data)).items():
        if value is not None:
            found = {match.kind for match in matches(store.read, value.swapcase())}
            assert kind in found, kind
            assert all(match.digest == entry.digest and not match.claim for match in matches(store.read, value))


def test_many_hashes_at_once_are_as_one_by_one(add: Add, store: Store) -> None:
    asked = ["nonsense", "", "0" * 64, "%", "a" * 12, "b" * 10]
    for n in range(5):
        entry = entry_of(add(stored.a1111(n), name=f"s{n}.pt"))
        asked += [entry.digest, entry.digest[4:].upper(), *entry.files[0].hashes.values()]
    found = matches_many(store.read, asked)
    assert list(found) == list(dict.fromkeys(asked))
    assert found == {value: matches(store.read, value) for value in asked}
    assert [value for value in asked if not found[value]] == asked[:6]


def test_ten_thousand_hashes_are_looked_up_fast(add: Add, store: Store) -> None:
    add(stored.a1111(1), name="a.pt")
    asked = [f"{n:064x}" for n in range(5_000)] + [f"{n:010x}" for n in range(2_500)] + [f"{n:012x}" for n in range(2_500)]
    start = time.perf_counter()
    matches_many(store.read, asked)
    assert time.perf_counter() - start < 2


def test_a1111s_checksum_is_a_hash_too(add: Add, store: Store) -> None:
    from embconv.converters.hashes import a1111_checksum

    entry = entry_of(add(stored.a1111(1), name="a.pt"))
    (match,) = matches(store.read, a1111_checksum(stored.numbers(1)))
    assert (match.kind, match.digest, match.sha256) == ("a1111_checksum", entry.digest, None)


def test_files_are_told(add: Add, store: Store) -> None:
    result = add(stored.a1111(1), name="a.pt")
    assert file_of(store.read, result.file.sha256.upper()) == result.file
    assert files_of(store.read, resolve(store.read, "a")) == [result.file]
    with pytest.raises(UnknownFile):
        file_of(store.read, "0" * 64)


def test_documents_come_in_the_order_asked_without_what_is_gone(add: Add, store: Store, blobs: Blobs) -> None:
    ids = [resolve(store.read, entry_of(add(stored.a1111(n), name=f"s{n}.pt")).digest) for n in range(4)]
    take_away(store, blobs, ids[1])
    found = [json.loads(data)["name"] for data in documents(store.read, [ids[3], ids[1], 999, ids[0]])]
    assert found == ["s3", "s0"]


@pytest.mark.parametrize("ask", [digest_of])
def test_an_id_that_nobody_has_is_unknown(store: Store, ask: Callable[..., object]) -> None:
    with pytest.raises(UnknownReference):
        ask(store.read, 12345)
