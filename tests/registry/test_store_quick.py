"""What is asked for most is answered as the general way answers it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from stored import a1111, numbers, safetensors, words

from embconv.converters import hashes
from embconv.converters.containers import safetensors as container
from embconv.registry.blobs import Blobs
from embconv.registry.errors import Gone, UnknownReference
from embconv.registry.ingest import take_away
from embconv.registry.model import Entry, Ingested
from embconv.registry.store import Store, document, matches, matching, resolve, shown

SOURCE = hashes(a1111(1)).sha256


@pytest.fixture
def full(store: Store, add: Callable[..., Ingested]) -> Store:
    """One embedding in two files, a file that holds two, and one that claims a source which is here, and one that is not."""
    add(a1111(1), name="style.pt")
    add(safetensors(1), name="style.safetensors")
    add(words(2, 3), name="two.bin")
    header = {"modelspec.hash_sha256": f"0x{SOURCE}", "embconv.source": "x"}
    add(container.write({"emb_params": numbers(1)}, header), name="claims.safetensors")
    return store


def test_every_hash_is_answered_as_by_the_general_way(full: Store) -> None:
    values = [value for (value,) in full.read.execute("SELECT DISTINCT value FROM hashes")]
    digests = [digest for (digest,) in full.read.execute("SELECT digest FROM embeddings")]
    short = [value[:length] for value in values for length in (10, 12)]
    for value in (*values, *digests, *(f"emb:{digest}" for digest in digests), *short, *map(str.upper, values), "0" * 64, "x", ""):
        found = matching(full.read, value)
        assert [match for match, _ in found] == matches(full.read, value), value
        for match, text in found:
            entry = msgspec.json.decode(text, type=Entry)
            assert entry.digest == match.digest
            assert text == document(full.read, resolve(full.read, match.digest))


def test_every_reference_is_shown_as_by_the_general_way(full: Store) -> None:
    for digest, name in full.read.execute("SELECT digest, name FROM embeddings").fetchall():
        for ref in (digest, f"emb:{digest}", digest.upper(), f"emb:{digest[:8]}", name):
            assert shown(full.read, ref) == document(full.read, resolve(full.read, ref))


def test_what_was_removed_is_neither_matched_nor_shown(full: Store, blobs: Blobs) -> None:
    id_ = resolve(full.read, SOURCE)
    digest = matches(full.read, SOURCE)[0].digest
    take_away(full, blobs, id_)
    assert matching(full.read, SOURCE) == matches(full.read, SOURCE) == []
    assert matching(full.read, digest) == []
    with pytest.raises(Gone):
        shown(full.read, digest)


def test_what_was_never_here_is_unknown(full: Store) -> None:
    with pytest.raises(UnknownReference):
        shown(full.read, "emb:" + "0" * 64)
