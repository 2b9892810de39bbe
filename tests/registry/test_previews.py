"""Pictures of embeddings: kept with them, gone with them, never taken for orphans; and shown by an export."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import stored
from PIL import Image

from embconv.registry.backup import backup
from embconv.registry.blobs import Blobs
from embconv.registry.export import Wanted, export, previews_in
from embconv.registry.folder_layouts import folder_layout
from embconv.registry.ingest import drop, ingest, sweep, take_away
from embconv.registry.model import Entry, Ingested, Preview
from embconv.registry.pictures import reencode
from embconv.registry.store import Store, add_preview, document, preview_by_sha256, previews_of, resolve, unnamed
from embconv.registry.verify import verify

Add = Callable[..., Ingested]
AT = "2026-01-01T00:00:00.000Z"
Show = Callable[..., Preview]


def webp(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(out, "PNG")
    return reencode(out.getvalue(), "a.png").data


@pytest.fixture
def show(store: Store, blobs: Blobs) -> Show:
    """Give an embedding a picture."""

    def work(ref: str, colour: str, source: str = "a.preview.png", at: str = AT, **more: object) -> Preview:
        preview = Preview(sha256=blobs.put(webp(colour)), source=source, width=30, height=20, added=at, **more)  # type: ignore[arg-type]
        drop(store, blobs, store.write(lambda db: add_preview(db, resolve(db, ref), preview)))
        return preview

    return work


@pytest.fixture
def named(add: Add) -> Callable[[str, int], None]:
    def work(name: str, seed: int) -> None:
        add(stored.a1111(seed, name=name), name=f"{name}.pt")

    return work


def of(store: Store, ref: str) -> list[Preview]:
    return previews_of(store.read, resolve(store.read, ref))


def test_what_was_kept_comes_back(store: Store, named: Callable[[str, int], None], show: Show) -> None:
    named("a", 1)
    preview = show("a", "red", nsfw="r", recipe={"parameters": "a cat\n"})
    assert of(store, "a") == [preview]
    assert preview_by_sha256(store.read, preview.sha256) == preview
    assert preview_by_sha256(store.read, "0" * 64) is None


def test_the_first_comes_first_and_the_one_named_for_it_before_others(store: Store, named: Callable[[str, int], None], show: Show) -> None:
    named("a", 1)
    for colour, source, at in [("red", "a.png", AT), ("blue", "a.preview.png", AT), ("green", "0.preview.png", "2026-02-01T00:00:00.000Z")]:
        show("a", colour, source, at)
    assert [each.source for each in of(store, "a")] == ["a.preview.png", "a.png", "0.preview.png"]


def test_another_picture_from_the_same_place_takes_its_place_and_the_old_bytes_go(
    store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show
) -> None:
    named("a", 1)
    old, new = show("a", "red"), show("a", "blue")
    assert [each.sha256 for each in of(store, "a")] == [new.sha256]
    assert (blobs.has(old.sha256), blobs.has(new.sha256)) == (False, True)


def test_the_old_bytes_stay_where_another_embedding_shows_them(
    store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show
) -> None:
    named("a", 1)
    named("b", 2)
    old = show("a", "red")
    show("b", "red")
    show("a", "blue")
    assert blobs.has(old.sha256)


def test_the_same_picture_from_another_place_adds_nothing(store: Store, named: Callable[[str, int], None], show: Show) -> None:
    named("a", 1)
    show("a", "red", "a.png")
    show("a", "red", "b.png")
    assert [each.source for each in of(store, "a")] == ["a.png"]


def test_they_are_no_orphans(store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show) -> None:
    named("a", 1)
    preview = show("a", "red")
    orphan = blobs.put(b"nobody's")
    assert unnamed(store.read, [preview.sha256, orphan]) == [orphan]
    assert [problem.ref for problem in verify(store, blobs).problems] == [orphan]
    sweep(store, blobs)
    assert (blobs.has(preview.sha256), blobs.has(orphan)) == (True, False)


def test_they_go_with_their_embedding_unless_another_shows_them(
    store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show
) -> None:
    named("a", 1)
    named("b", 2)
    own, shared = show("a", "red", "own.png"), show("a", "blue", "shared.png")
    show("b", "blue")
    gone = resolve(store.read, "a")
    take_away(store, blobs, gone)
    assert previews_of(store.read, gone) == []
    assert (blobs.has(own.sha256), blobs.has(shared.sha256)) == (False, True)
    assert preview_by_sha256(store.read, own.sha256) is None
    take_away(store, blobs, resolve(store.read, "b"))
    assert list(blobs.all()) == []
    assert verify(store, blobs).problems == ()


def test_a_backup_has_them(store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show, tmp_path: Path) -> None:
    named("a", 1)
    preview = show("a", "red")
    result = backup(store, blobs, str(tmp_path / "all.zip"))
    assert (result.files, result.missing) == (2, ())
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path / "again")
    with Store(str(tmp_path / "again"), create=False) as again:
        assert of(again, "a") == [preview]
        assert Blobs(again.home).read(preview.sha256) == webp("red")
        assert verify(again, Blobs(again.home)).problems == ()


@pytest.mark.parametrize(("harm", "kind"), [(lambda path: path.unlink(), "missing"), (lambda path: path.write_bytes(b"no"), "rotten")])
def test_one_that_is_lost_is_found_and_forgotten(
    store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show, harm: Callable[[Path], object], kind: str
) -> None:
    named("a", 1)
    preview = show("a", "red")
    harm(Path(blobs.path(preview.sha256)))
    assert [(each.kind, each.ref, each.repaired) for each in verify(store, blobs).problems] == [(kind, preview.sha256, False)]
    assert verify(store, blobs, repair=True).good
    assert of(store, "a") == []
    assert verify(store, blobs).problems == ()


def exported(store: Store, blobs: Blobs, folder: Path, *names: str) -> dict[str, tuple[str, ...]]:
    entries = [msgspec.json.decode(document(store.read, resolve(store.read, name)), type=Entry) for name in names]
    wanted = Wanted(layout=folder_layout("a1111"), sidecars=("preview", "metadata"))
    found = export(entries, lambda file: blobs.path(file.sha256), str(folder), wanted, done=lambda _: None, shown=previews_in(store, blobs))
    assert [each.error for each in found] == [None] * len(names)
    return {each.name: each.missing for each in found}


def test_an_export_shows_the_first_as_png(store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show, tmp_path: Path) -> None:
    named("a", 1)
    named("b", 2)
    show("a", "red", at="2026-03-01T00:00:00.000Z", source="later.png")
    show("a", "blue")
    assert exported(store, blobs, tmp_path / "out", "a", "b") == {"a": (), "b": ("preview",)}
    assert sorted(os.listdir(tmp_path / "out")) == ["a.metadata.json", "a.preview.png", "a.safetensors", "b.metadata.json", "b.safetensors"]
    with Image.open(tmp_path / "out" / "a.preview.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (30, 20))
        assert picture.convert("RGB").getpixel((15, 10))[2] > 200  # type: ignore[index]  # three numbers
    told = msgspec.json.decode((tmp_path / "out" / "a.metadata.json").read_bytes())
    assert told["preview_url"].endswith("out/a.preview.png")
    assert exported(store, blobs, tmp_path / "out", "a", "b") == {"a": (), "b": ("preview",)}


def test_a_card_is_shown_before_any_preview(store: Store, blobs: Blobs, add: Add, show: Show, tmp_path: Path) -> None:
    from examples import a1111_picture_with_text_only

    card, _ = a1111_picture_with_text_only()
    (entry,) = (msgspec.json.decode(raw, type=Entry) for raw in add(card, name="card.png").embeddings)
    show(entry.digest, "red")
    exported(store, blobs, tmp_path / "out", entry.digest)
    (written,) = (tmp_path / "out").glob("*.preview.png")
    assert written.read_bytes() == card


def test_one_whose_bytes_are_lost_is_none(store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show, tmp_path: Path) -> None:
    named("a", 1)
    blobs.remove(show("a", "red").sha256)
    assert exported(store, blobs, tmp_path / "out", "a") == {"a": ("preview",)}


def test_an_embedding_that_comes_back_has_none(store: Store, blobs: Blobs, named: Callable[[str, int], None], show: Show) -> None:
    named("a", 1)
    show("a", "red")
    take_away(store, blobs, resolve(store.read, "a"))
    ingest(store, blobs, stored.a1111(1, name="a"), name="a.pt")
    assert of(store, "a") == []
