"""Pictures of Civitai come when they are asked for, within a rating, made anew."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from fakes.civitai import Fake, generate, serve
from fakes.civitai_catalogue import Image
from PIL import Image as Pictures

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.previews import fetch_previews, level_of
from embconv.registry.civitai.site import Site
from embconv.registry.civitai.wire import Image as Told
from embconv.registry.errors import BadParameter
from embconv.registry.ingest import ingest, sweep, take_away
from embconv.registry.store import Store, resolve


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serve(generate(6, oddities=False)) as served:
        yield served


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with Client(Site(origin=fake.api_url, private=True, token="good"), rate=0, sleep=lambda seconds: None) as opened:
        yield opened


@pytest.fixture
def here(fake: Fake, store: Store, blobs: Blobs, client: Client) -> int:
    """An embedding that is known as a version with pictures of every rating."""
    from embconv.registry.civitai.identify import identify
    from embconv.registry.civitai.local import Local

    file = next(iter(fake.catalogue.files.values()))
    recipe = {"prompt": "a quiet meadow", "seed": 7, "sampler": "Euler"}
    images = tuple(
        Image(id=77_000 + number, nsfw_level=level, width=32, height=48, meta=recipe if number == 0 else None)
        for number, level in enumerate((1, 2, 4, 8, 16, 0))
    )
    fake.catalogue.change_version(file.version_id, images=images)
    ingest(store, blobs, file.content(), name="mine.safetensors")
    identify(store, client, [Local(path="mine.safetensors", sha256=file.sha256)])
    return resolve(store.read, file.sha256)


@pytest.mark.parametrize(("nsfw", "count"), [("pg", 1), ("pg13", 2), ("r", 3), ("x", 4), ("xxx", 5), ("all", 6)])
def test_no_picture_above_the_rating_is_fetched(
    fake: Fake, store: Store, blobs: Blobs, client: Client, here: int, nsfw: str, count: int
) -> None:
    fake.log.clear()
    found, failed = fetch_previews(store, blobs, client, here, nsfw=nsfw, limit=20)
    assert (len(found), failed) == (count, [])
    assert len(fake.log.of("770")) == count


def test_a_picture_is_made_anew_with_its_recipe(store: Store, blobs: Blobs, client: Client, here: int) -> None:
    ((found, *_), _) = fetch_previews(store, blobs, client, here, nsfw="pg", limit=1)
    picture = Pictures.open(io.BytesIO(blobs.read(found.sha256)))
    assert (picture.format, picture.size) == ("WEBP", (found.width, found.height)) == ("WEBP", (32, 48))
    assert not picture.getexif()
    assert found.recipe == {"prompt": "a quiet meadow", "seed": 7, "sampler": "Euler"}


def test_no_token_goes_to_the_host_of_pictures(fake: Fake, store: Store, blobs: Blobs, client: Client, here: int) -> None:
    fetch_previews(store, blobs, client, here, nsfw="all", limit=20)
    assert fake.log.with_token("storage") == []
    assert fake.log.with_token("api")


def test_asking_again_fetches_nothing_again(fake: Fake, store: Store, blobs: Blobs, client: Client, here: int) -> None:
    first, _ = fetch_previews(store, blobs, client, here, nsfw="all", limit=3)
    fake.log.clear()
    again, _ = fetch_previews(store, blobs, client, here, nsfw="all", limit=3)
    assert again == first
    assert fake.log.count(host="storage") == 0


def test_a_picture_is_no_orphan_and_goes_with_its_embedding(store: Store, blobs: Blobs, client: Client, here: int) -> None:
    ((found, *_), _) = fetch_previews(store, blobs, client, here, nsfw="pg", limit=1)
    assert sweep(store, blobs) == 0
    assert blobs.has(found.sha256)
    take_away(store, blobs, here)
    assert not blobs.has(found.sha256)


def test_what_civitai_has_no_more_is_fetched_as_it_was_told_of_last(
    fake: Fake, store: Store, blobs: Blobs, client: Client, here: int
) -> None:
    images = dict(fake.catalogue.images)
    fake.faults.missing_by_id = set(fake.catalogue.versions) | set(fake.catalogue.models)
    found, failed = fetch_previews(store, blobs, client, here, nsfw="pg", limit=1)
    assert images
    assert (len(found), failed) == (1, [])


def test_a_rating_that_is_none_is_refused(store: Store, blobs: Blobs, client: Client, here: int) -> None:
    with pytest.raises(BadParameter):
        fetch_previews(store, blobs, client, here, nsfw="mild")


@pytest.mark.parametrize(
    ("said", "level"),
    [({"nsfw_level": 1}, "pg"), ({"nsfw_level": 16}, "xxx"), ({"nsfw_level": 32}, "xxx"), ({"nsfw_level": 0}, None), ({}, None),
     ({"nsfw": "None"}, "pg"), ({"nsfw": "Soft"}, "pg13"), ({"nsfw": "Mature"}, "r"), ({"nsfw": "X"}, "x"), ({"nsfw": True}, "x"),
     ({"nsfw": False}, "pg"), ({"nsfw_level": "Mature"}, "r")],
)  # fmt: skip
def test_a_rating_is_read_in_the_words_of_every_year(said: dict[str, object], level: str | None) -> None:
    assert level_of(Told(url="https://image.civitai.com/x.jpeg", **said)) == level
