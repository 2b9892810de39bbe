"""Local files are named by their hashes alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.civitai import Fake, generate, serve

from embconv.converters import convert
from embconv.registry.blobs import Blobs
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.identify import Identified, identify
from embconv.registry.civitai.local import look
from embconv.registry.civitai.site import Site
from embconv.registry.ingest import ingest
from embconv.registry.model import Entry
from embconv.registry.store import Store, document, resolve


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serve(generate(80)) as served:
        yield served


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with Client(Site(origin=fake.api_url, private=True), rate=0) as opened:
        yield opened


@pytest.fixture
def ask(store: Store, client: Client, tmp_path: Path) -> Callable[..., dict[str, Identified]]:
    """What Civitai says of these bytes under these names."""

    def work(**files: bytes) -> dict[str, Identified]:
        paths = []
        for name, data in files.items():
            paths.append(str(tmp_path / f"{name}.safetensors"))
            Path(paths[-1]).write_bytes(data)
        return {Path(each.path).stem: each for each in identify(store, client, list(look(paths)))}

    return work


def plain(fake: Fake, number: int = -1) -> Any:
    """A file of an ordinary model: public, hashed, with the bytes that it says."""
    odd = set(fake.catalogue.odd.values())
    return [file for file in fake.catalogue.files.values() if file.model_id not in odd][number]


def entry_of(store: Store, ref: str) -> Entry:
    return msgspec.json.decode(document(store.read, resolve(store.read, ref)), type=Entry)


def test_a_file_is_named_with_its_creator_base_trigger_licence_and_rating(fake: Fake, ask: Callable[..., dict[str, Identified]]) -> None:
    file = plain(fake)
    model, version = fake.catalogue.models[file.model_id], fake.catalogue.versions[file.version_id]
    found = ask(mine=file.content())["mine"]
    assert (found.known, found.id, found.title) == (True, f"{model.id}@{version.id}", model.name.strip())
    assert found.creator == model.creator.username
    assert (found.base, found.trigger, found.nsfw) == (version.base_model, version.trained_words[0], "pg")
    assert "sell_images" in found.permits
    assert found.url == f"https://civitai.com/models/{model.id}?modelVersionId={version.id}"


def test_a_file_that_nobody_knows_is_said_to_be_so(ask: Callable[..., dict[str, Identified]], fake: Fake) -> None:
    data = bytearray(plain(fake).content())
    data[-1] ^= 1
    assert not ask(mine=bytes(data))["mine"].known


def test_nothing_but_hashes_leaves_the_machine(fake: Fake, ask: Callable[..., dict[str, Identified]]) -> None:
    file = plain(fake)
    ask(**{"a very private name": file.content()})
    for seen in fake.log.requests:
        told = seen.body.decode() + seen.path + str(seen.query) + str(seen.headers)
        assert "private" not in told
        assert len(seen.body) < 100


def test_five_hundred_files_are_named_with_one_request_for_ids(fake: Fake, store: Store, client: Client, tmp_path: Path) -> None:
    known = plain(fake).content()
    for number in range(500):
        data = bytearray(known)
        data[-3:] = number.to_bytes(3, "big") if number else known[-3:]
        (tmp_path / f"{number}.safetensors").write_bytes(data)
    results = identify(store, client, list(look([str(path) for path in sorted(tmp_path.glob("*.safetensors"))])))
    assert (len(results), sum(each.known for each in results)) == (500, 1)
    assert fake.log.count("/by-hash/ids") == 1
    assert len(msgspec.json.decode(fake.log.of("/by-hash/ids")[0].body)) == 500


def test_ten_thousand_and_one_hashes_take_two_requests(fake: Fake, client: Client, store: Store) -> None:
    from embconv.registry.civitai.local import Local

    files = [Local(path=str(number), sha256=f"{number:064x}") for number in range(10_001)]
    assert len(identify(store, client, files)) == 10_001
    assert fake.log.count("/by-hash/ids") == 2


def test_a_converted_file_is_found_by_what_it_was_made_of(
    fake: Fake, store: Store, blobs: Blobs, client: Client, tmp_path: Path
) -> None:
    file = plain(fake)
    source, target = tmp_path / "a.safetensors", tmp_path / "b.pt"
    source.write_bytes(file.content())
    convert(source, target)
    os.unlink(source)
    ingest(store, blobs, str(target))
    (found,) = identify(store, client, list(look([str(target)])))
    assert (found.known, found.converted, found.id) == (True, True, f"{file.model_id}@{file.version_id}")
    entry = entry_of(store, entry_of(store, "a").digest)
    assert [origin.id for origin in entry.origins if origin.source == "civitai"] == [found.id]


def test_what_was_said_is_a_claim_with_its_time_of_what_is_here(fake: Fake, store: Store, blobs: Blobs, ask: Callable[..., Any]) -> None:
    file = plain(fake)
    ingest(store, blobs, file.content(), name="mine.safetensors")
    ask(mine=file.content())
    entry = entry_of(store, file.sha256)
    (origin,) = [origin for origin in entry.origins if origin.source == "civitai"]
    assert origin.seen.startswith("20")
    assert origin.claims["creator"] == entry.creators[0] == fake.catalogue.models[file.model_id].creator.username


def test_what_was_said_of_a_file_that_is_not_here_waits_for_the_day_it_is_added(
    fake: Fake, store: Store, blobs: Blobs, ask: Callable[..., Any]
) -> None:
    file = plain(fake)
    ask(mine=file.content())
    ingest(store, blobs, file.content(), name="mine.safetensors")
    assert [origin.source for origin in entry_of(store, file.sha256).origins] == ["civitai"]


def test_a_file_of_many_models_names_the_oldest_and_counts_the_others(fake: Fake, ask: Callable[..., dict[str, Identified]]) -> None:
    same = next(files for files in by_hash(fake).values() if len({file.version_id for file in files}) > 1)
    found = ask(mine=same[0].content())["mine"]
    assert found.known
    assert found.others == len({file.version_id for file in same}) - 1


def by_hash(fake: Fake) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for file in fake.catalogue.files.values():
        if file.hashes.get("SHA256", "").lower() == file.sha256 and file.type == "Model":
            found.setdefault(file.sha256, []).append(file)
    return found


def test_a_model_that_is_only_found_by_its_hash_is_named_all_the_same(fake: Fake, ask: Callable[..., dict[str, Identified]]) -> None:
    poi = fake.catalogue.odd["poi"]
    file = next(file for file in fake.catalogue.files.values() if file.model_id == poi)
    found = ask(mine=file.content())["mine"]
    assert (found.known, found.id.partition("@")[0]) == (True, str(poi))
    assert found.title == fake.catalogue.models[poi].name.strip()


def test_a_later_404_adds_a_line_and_erases_nothing(fake: Fake, store: Store, blobs: Blobs, ask: Callable[..., Any]) -> None:
    file = plain(fake)
    ingest(store, blobs, file.content(), name="mine.safetensors")
    ask(mine=file.content())
    before = entry_of(store, file.sha256)
    fake.catalogue.take(file.model_id)
    assert not ask(mine=file.content())["mine"].converted
    after = entry_of(store, file.sha256)
    assert [origin.state for origin in after.origins] == ["present", "gone"]
    assert (after.creators, after.licence, after.nsfw, after.tags) == (before.creators, before.licence, before.nsfw, before.tags)


def test_a_file_that_is_no_embedding_is_said_to_be_none(store: Store, client: Client, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("not an embedding at all")
    (found,) = identify(store, client, list(look([str(tmp_path / "x.pt")])))
    assert found.error is not None
    assert found.error.code == "not_an_embedding"
