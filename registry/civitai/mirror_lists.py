"""Creators, tags and pictures, as far as Civitai's clients ask for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ..columns import Columns
from .mirror_asked import LARGEST, PAGES, Missing, Pairs, read, text, within
from .mirror_models import model_of, version_of
from .shapes import Model, base_of
from .shapes_files import Version
from .shapes_values import Body, creator, dates_of, images, mature
from .shapes_words import LEVELS, MATURE

if TYPE_CHECKING:
    from sqlite_utils import Database

USUAL, MOST = 20, 200
SHOWN = 100  # pictures of a page
Readers = dict[str, tuple[str, Callable[[Sequence[str]], Any]]]
PAGED: Readers = {"limit": ("limit", within(1, MOST)), "page": ("page", within(1, PAGES)), "query": ("query", text)}
PICTURES: Readers = {
    "limit": ("limit", within(0, MOST)),
    "modelId": ("model", within(1, LARGEST)),
    "modelVersionId": ("version", within(1, LARGEST)),
}


def creators(columns: Columns, pairs: Pairs, origin: str) -> Body:
    """Who made something that is here; of `query` any part of a name."""
    asked = read(pairs, PAGED)
    wanted = asked.get("query", "").strip().casefold()
    names = [(name, many) for name, many in counted(columns, "creator") if wanted in name.casefold()]
    link = f"{origin}/api/v1/models?username="
    items = [{"username": name, "modelCount": many, "link": f"{link}{quote(name, safe='')}", "image": None} for name, many in names]
    return paged(items, asked, pairs, f"{origin}/api/v1/creators")


def tags(columns: Columns, pairs: Pairs, origin: str) -> Body:
    """The tags of what is here; of `query` the beginning of one."""
    asked = read(pairs, PAGED)
    wanted = asked.get("query", "").strip().casefold()
    items = [
        {"name": name, "modelCount": many, "link": f"{origin}/api/v1/models?tag={quote(name, safe='')}"}
        for name, many in counted(columns, "tag") if name.startswith(wanted)
    ]  # fmt: skip
    return paged(items, asked, pairs, f"{origin}/api/v1/tags")


def counted(columns: Columns, field: str) -> list[tuple[str, int]]:
    """The values of a field by the alphabet, and how many embeddings have each."""
    columns.refresh()
    with columns.looking():
        rows = columns.everything()
        if not rows.any():
            return []
        counts, words = columns.count(field, rows)
        found = [(words.values[place], int(many)) for place, many in enumerate(counts) if many]
    return sorted(found, key=lambda one: (one[0].casefold(), one[0]))


def paged(items: Sequence[Body], asked: Body, pairs: Pairs, url: str) -> Body:
    """A page of items, with the ways on and back."""
    page, limit = asked.get("page", 1), asked.get("limit", USUAL)
    pages = math.ceil(len(items) / limit)
    metadata: Body = {"totalItems": len(items), "currentPage": page, "pageSize": limit, "totalPages": pages}
    kept = [(name, value) for name, value in pairs if name not in ("page", "token")]
    for name, other in (("nextPage", page + 1), ("prevPage", page - 1)):
        if 0 < other <= pages:
            metadata[name] = f"{url}?{urlencode([*kept, ('page', other)], quote_via=quote, errors='replace')}"
    return {"items": list(items[(page - 1) * limit : page * limit]), "metadata": metadata}


def pictures(db: Database, pairs: Pairs) -> Body:
    """The pictures that Civitai showed with a model or a version; nothing for what is asked for in any other way."""
    asked = read(pairs, PICTURES)
    try:
        if "version" in asked:
            model, version = version_of(db, asked["version"])
            versions: Sequence[Version] = (version,)
        elif "model" in asked:
            model = model_of(db, asked["model"])
            versions = model.versions
        else:
            return {"items": [], "metadata": {}}
    except Missing:
        return {"items": [], "metadata": {}}
    items = [picture(model, version, place, image) for version in versions for place, image in enumerate(images(version.body))]
    return {"items": items[: asked.get("limit", SHOWN)], "metadata": {}}


def picture(model: Model, version: Version, place: int, image: Body) -> Body:
    """A picture as /images has it: its level is a word there."""
    bits = image["nsfwLevel"]
    meta = image.get("meta")
    return {
        **image,
        "id": image["id"] if isinstance(image.get("id"), int) else version.id * 100 + place,
        "nsfwLevel": next((word for word, bit in reversed(LEVELS.items()) if bits >= bit), "None"),
        "browsingLevel": bits,
        "nsfw": mature({}, bits & MATURE),
        "createdAt": dates_of(version.body, model.seen)["publishedAt"],
        "postId": 0,
        "stats": dict.fromkeys(("cryCount", "laughCount", "likeCount", "dislikeCount", "heartCount", "commentCount"), 0),
        "meta": meta if isinstance(meta, dict) else None,
        "username": creator(model.body)["username"],
        "baseModel": base_of(version),
        "modelVersionIds": [version.id],
    }
