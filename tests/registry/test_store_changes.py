"""What people change, and that everything shown is always what would be made anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec
import pytest
import stored

from embconv.converters import EmbconvError
from embconv.registry.blobs import Blobs
from embconv.registry.errors import BadParameter, Blocked, Gone, UnknownParameter, UnknownReference
from embconv.registry.ingest import ingest, take_away
from embconv.registry.model import Entry, Facts, Ingested, Origin
from embconv.registry.store import Store, add_origin, document, edit, facts_since, latest_revision, rebuilt, resolve, stale

Add = Callable[..., Ingested]


@pytest.fixture
def id_(add: Add, store: Store) -> int:
    add(stored.safetensors(1, {"modelspec.is_negative_embedding": "true", "modelspec.license": "MIT"}), name="a.safetensors")
    return resolve(store.read, "a")


def shown(store: Store, id_: int) -> Entry:
    return msgspec.json.decode(document(store.read, id_), type=Entry)


class Change(NamedTuple):
    """A row of facts_since."""

    id: int
    revision: int
    state: str
    base: str | None
    role: str
    verdict: str | None
    nsfw: str | None
    vectors: int
    downloads: int
    added: str
    packed: bytes | str

    @property
    def tags(self) -> tuple[str, ...]:
        return msgspec.json.decode(self.packed, type=Facts).tags if self.packed else ()


def changed_since(store: Store, revision: int, limit: int = 10_000) -> list[Change]:
    return [Change(*row) for row in facts_since(store.read, revision, limit)]


def change(store: Store, id_: int, **changes: Any) -> Entry:
    store.write(lambda db: edit(db, id_, changes))
    assert stale(store.read, [id_]) == []
    return shown(store, id_)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("name", "  Moon   paper ", "Moon paper"),
        ("role", "positive", "positive"),
        ("role", "unknown", "unknown"),
        ("tags", ["Ink", "ink", " Two  Words"], ("ink", "two words")),
        ("tags", [], ()),
        ("notes", "use at 0.7\nnot more", "use at 0.7\nnot more"),
        ("notes", None, ""),
        ("nsfw", "pg13", "pg13"),
        ("nsfw", None, None),
        ("licence", None, None),
    ],
)
def test_a_person_sets_a_field_and_no_claim_changes_it(store: Store, id_: int, field: str, value: Any, kept: Any) -> None:
    assert getattr(change(store, id_, **{field: value}), field) == kept
    claims = {"role": "negative", "tags": ["claimed"], "nsfw": "xxx", "licence": "GPL", "name": "claimed", "notes": "claimed"}
    origin = Origin(source="civitai", seen="2026-01-01T00:00:00.000Z", claims=claims)
    store.write(lambda db: add_origin(db, id_, origin))
    assert getattr(shown(store, id_), field) == kept


def test_a_licence_is_words_too(store: Store, id_: int) -> None:
    licence = change(store, id_, licence=" CC-BY-4.0 ").licence
    assert licence is not None
    assert (licence.says, licence.permits, licence.source) == ("CC-BY-4.0", ("cc-by-4.0",), "person")


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"nmae": "x"}, UnknownParameter, "name"),
        ({"role": "negativ"}, BadParameter, "negative"),
        ({"nsfw": "pg-13"}, BadParameter, "pg13"),
        ({"name": ""}, BadParameter, ""),
        ({"name": "x" * 201}, BadParameter, ""),
        ({"name": 7}, BadParameter, ""),
        ({"name": "a\u202eb"}, BadParameter, ""),
        ({"tags": "ink"}, BadParameter, ""),
        ({"tags": [1]}, BadParameter, ""),
        ({"notes": "x" * 70_000}, BadParameter, ""),
        ({"licence": 1}, BadParameter, ""),
    ],
)
def test_what_means_nothing_changes_nothing(store: Store, id_: int, changes: dict[str, Any], error: type[EmbconvError], hint: str) -> None:
    before = document(store.read, id_)
    with pytest.raises(error) as raised:
        store.write(lambda db: edit(db, id_, {"notes": "half", **changes}))
    assert hint in raised.value.hint
    assert document(store.read, id_) == before


def test_a_new_name_is_answered_to(store: Store, id_: int) -> None:
    change(store, id_, name="Mondpapier")
    assert resolve(store.read, "mondpapier") == id_


def test_what_is_gone_cannot_be_changed(store: Store, blobs: Blobs, id_: int) -> None:
    take_away(store, blobs, id_)
    for work in (lambda db: edit(db, id_, {"notes": "x"}), lambda db: add_origin(db, id_, Origin(source="x", seen="y"))):
        with pytest.raises(Gone):
            store.write(work)
    with pytest.raises(UnknownReference):
        store.write(lambda db: edit(db, 999, {"notes": "x"}))


def test_changes_come_in_the_order_in_which_they_happened(add: Add, store: Store, blobs: Blobs) -> None:
    for n in range(3):
        add(stored.a1111(n), name=f"s{n}.pt")
    seen, ids = latest_revision(store.read), [resolve(store.read, f"s{n}") for n in range(3)]
    assert [each.id for each in changed_since(store, 0)] == ids
    assert changed_since(store, seen) == []
    store.write(lambda db: edit(db, resolve(db, "s1"), {"tags": ["ink"]}))
    take_away(store, blobs, resolve(store.read, "s0"))
    later = changed_since(store, seen)
    assert [(each.id, each.state, each.tags) for each in later] == [(ids[1], "present", ("ink",)), (ids[0], "removed", ())]
    assert [each.id for each in changed_since(store, seen, limit=1)] == [ids[1]]


def test_what_changes_nothing_is_no_change(add: Add, store: Store) -> None:
    add(stored.a1111(1), name="a.pt")
    before = latest_revision(store.read)
    add(stored.a1111(1), name="a.pt")
    assert latest_revision(store.read) == before


@pytest.mark.parametrize("seed", range(8))
def test_after_anything_everything_shown_is_as_if_made_anew(store: Store, blobs: Blobs, seed: int) -> None:
    dice = random.Random(seed)
    makers = (stored.a1111, stored.safetensors, lambda n: stored.words(n, n + 1), stored.sdxl)
    claims = ({"role": "negative"}, {"tags": ["A", "b"]}, {"base": "SDXL"}, {"base": "flux1"}, {"creator": "x", "downloads": 3},
              {}, {"licence": '{"allowNoCredit": true}'}, {"nsfw": 4}, {"title": "T", "description": "<p>d</p>"},
              {"role": 7, "tags": "x"})  # fmt: skip
    edits = ({"role": "positive"}, {"tags": ["mine"]}, {"tags": []}, {"nsfw": "x"}, {"nsfw": None}, {"notes": "n"}, {"name": "renamed"},
             {"licence": "MIT"}, {"licence": None})  # fmt: skip
    revisions: list[int] = []
    for step in range(120):
        ids = [row[0] for row in store.read.execute("SELECT id FROM embeddings ORDER BY id")]
        action = dice.choice(("ingest", "ingest", "edit", "origin", "remove"))
        try:
            if action == "ingest" or not ids:
                ingest(store, blobs, dice.choice(makers)(dice.randrange(5)), name=f"s{dice.randrange(4)}.pt",
                       tags=dice.choice(((), ("given",))), role=dice.choice((None, None, "negative")))  # fmt: skip
            elif action == "edit":
                store.write(partial(edit, id=dice.choice(ids), changes=dict(dice.choice(edits))))
            elif action == "origin":
                origin = Origin(source=dice.choice(("civitai", "sidecar", "header", "huggingface")), id=str(dice.randrange(2)),
                                seen=f"2026-01-{dice.randrange(1, 29):02}T00:00:00.000Z", claims=dice.choice(claims))  # fmt: skip
                store.write(partial(add_origin, id=dice.choice(ids), origin=origin))
            else:
                take_away(store, blobs, dice.choice(ids), block=dice.random() < 0.1)
        except (Gone, Blocked):
            pass
        if step % 10 == 9:
            ids = [row[0] for row in store.read.execute("SELECT id FROM embeddings ORDER BY id")]
            present = [row[0] for row in store.read.execute("SELECT id FROM embeddings WHERE state = 'present'")]
            assert stale(store.read, ids) == []
            assert rebuilt(store.read, ids) == {id_: document(store.read, id_) for id_ in present}
            revisions.append(latest_revision(store.read))
            found = changed_since(store, 0)
            assert len(found) == len(ids)
            assert max(each.revision for each in found) <= revisions[-1]
            for each in found:
                if each.state == "present":
                    entry = shown(store, each.id)
                    assert (each.role, each.base, each.nsfw, each.downloads, each.tags) == (
                        entry.role, entry.base, entry.nsfw, entry.downloads, entry.tags)  # fmt: skip
    assert revisions == sorted(revisions)
    assert store.read.execute("PRAGMA foreign_key_check").fetchall() == []
