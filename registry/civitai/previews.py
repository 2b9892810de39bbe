"""Pictures that Civitai shows of an embedding, fetched when somebody asks for them: within a rating, made anew, with their recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from embconv.converters import EmbconvError

from ..blobs import Blobs
from ..claims import highest
from ..errors import BadParameter
from ..model import NSFW, Preview
from ..pictures import reencode
from ..store import Store
from ..store.offers import versions_holding
from ..store.previews import add_preview, previews_of
from ..times import now
from . import wire
from .choose import LEVELS
from .client import AGAIN, HOPS, Client, moved, whole
from .errors import CivitaiUnreachable, FetchFailed
from .run import Trouble

if TYPE_CHECKING:
    from sqlite_utils import Database

LARGEST = 32 << 20   # bytes of a picture
RECIPE = 16 << 10    # bytes of a recipe that is kept
WORDS = {"none": "pg", "soft": "pg13", "mature": "r", "x": "x", "blocked": "xxx"}  # of 2023, and of /images today


def fetch_previews(
    store: Store, blobs: Blobs, client: Client, embedding_id: int, *, nsfw: str = "pg", limit: int = 4
) -> tuple[list[Preview], list[Trouble]]:
    """Fetch up to `limit` pictures of an embedding that Civitai knows, those that are not here; what is here then, and what failed."""
    if nsfw not in LEVELS:
        raise BadParameter("nsfw level", nsfw, f"one of {', '.join(LEVELS)}", LEVELS)
    here, troubles = {each.source for each in previews_of(store.read, embedding_id)}, []
    for image in wanted(store, client, embedding_id, nsfw):
        if len(here) >= limit:
            break
        if image.url in here:
            continue
        try:
            keep(store, blobs, embedding_id, image, fetch(client, image.url))
            here.add(image.url)
        except EmbconvError as exc:
            name = image.url.partition("?")[0].rpartition("/")[2]
            troubles.append(Trouble(ref=image.url.partition("?")[0], name=name, code=exc.code, says=exc.says, hint=exc.hint))
    return previews_of(store.read, embedding_id), troubles


def wanted(store: Store, client: Client, embedding_id: int, nsfw: str) -> Iterator[wire.Image]:
    """The pictures of its versions within a rating, with their recipes where Civitai still answers, else as it told of them last."""
    for version_id, body in versions_holding(store.read, embedding_id):
        version = client.version(version_id)
        told = version.body if version is not None else msgspec.json.decode(body, type=dict[str, Any])
        for image in wire.images(told):
            level = level_of(image)
            fits = nsfw == "all" or (level is not None and NSFW.index(level) <= NSFW.index(nsfw))
            if fits and wire.words(image.type).lower() in ("", "image"):
                yield image


def level_of(image: wire.Image) -> str | None:
    """The rating of a picture: a number, or a word in some answers; None where it has none."""
    for said in (image.nsfw_level, image.nsfw):
        if isinstance(said, bool):
            return "x" if said else "pg"
        if isinstance(said, (int, float)) and said > 0:
            return highest(int(said))
        if isinstance(said, str) and said.lower() in WORDS:
            return WORDS[said.lower()]
    return None


def fetch(client: Client, url: str) -> bytes:
    """The bytes of a picture, through a few redirects, asked for once more where that can help."""
    for again in (True, False):
        target: httpx.URL | str = url
        for _ in range(HOPS):
            with client.streaming("GET", target, headers={"accept": "image/*", "accept-encoding": "identity"}) as response:
                place = moved(response)
                if place is None:
                    if response.status_code == httpx.codes.OK:
                        return taken(response)
                    status = response.status_code
                    break
                whole(response)
                target = place
        else:
            raise FetchFailed("Its address leads from one to the next without an end.")
        if status not in AGAIN or not again:
            raise FetchFailed(f"The picture's host answered {status}.", "Ask for it again later.")
        client.sleep(1.0)
    raise CivitaiUnreachable(client.site.host, "no picture came")


def taken(response: httpx.Response) -> bytes:
    """All of it, if it is not too much."""
    pieces, size = [], 0
    for piece in response.iter_raw():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise FetchFailed(f"The picture is larger than {LARGEST:,} bytes.", "")
    return b"".join(pieces)


def keep(store: Store, blobs: Blobs, embedding_id: int, image: wire.Image, data: bytes) -> None:
    """Make it anew, so that nothing but what it shows is kept, and remember it."""
    picture = reencode(data, image.url.partition("?")[0].rpartition("/")[2])
    recipe: dict[str, Any] = image.meta if isinstance(image.meta, dict) and len(msgspec.json.encode(image.meta)) <= RECIPE else {}
    with blobs.writer() as writer:
        writer.write(picture.data)
        sha256 = writer.keep()
        made = Preview(sha256=sha256, source=image.url, width=picture.width, height=picture.height, nsfw=level_of(image),
                       recipe=recipe or picture.recipe, added=now())  # fmt: skip

        def work(db: Database) -> None:
            with contextlib.suppress(FileNotFoundError):
                writer.again()
            add_preview(db, embedding_id, made)

        store.write(work)
