"""Single values of Civitai's answers: what three years made of them, as the strictest client reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..claims import commercial_words
from .provenance import moment
from .shapes_words import COMMERCIAL, LEVELS, MATURE
from .wire import texts, words

Body = dict[str, Any]
STATS = ("downloadCount", "favoriteCount", "commentCount", "ratingCount", "rating", "thumbsUpCount", "thumbsDownCount", "tippedAmountCount")


def permissions(body: Body) -> Body:
    """Its licence; what nobody allowed is not."""
    return {
        "allowNoCredit": yes(body.get("allowNoCredit")),
        "allowCommercialUse": commercial(body.get("allowCommercialUse")),
        "allowDerivatives": yes(body.get("allowDerivatives")),
        "allowDifferentLicense": yes(body.get("allowDifferentLicense")),
    }


def commercial(value: object) -> list[str]:
    """As Civitai writes it today, whichever generation it is of."""
    named = commercial_words(value)
    return [word for word in COMMERCIAL if word.lower() in named]


def stats(body: Body) -> Body:
    """Counts, none of which is hidden: a client that reads numbers has no use for null."""
    said = body.get("stats")
    told = said if isinstance(said, dict) else {}
    return {**told, **{name: number(told.get(name), exact=name != "rating") for name in STATS}}


def number(value: object, *, exact: bool = True) -> int | float:
    """A number, 0 where there is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1 << 53:
        return 0
    return int(value) if exact else value


def whole(value: object, other: int) -> int:
    """A whole number, or another."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else other


def yes(value: object) -> bool:
    """Only what is said is so."""
    return value is True


def known(value: object, among: Sequence[str]) -> str:
    """One of a few words, the first of them for any other."""
    return value if isinstance(value, str) and value in among else among[0]


def creator(body: Body) -> Body:
    """Whose it is; nobody's name is empty."""
    said = body.get("creator")
    told = said if isinstance(said, dict) else {}
    return {**told, "username": words(told.get("username")), "image": told["image"] if isinstance(told.get("image"), str) else None}


def tags(body: Body) -> list[str]:
    """Words, of which some years made objects with a name."""
    said = body.get("tags")
    return texts([tag.get("name") if isinstance(tag, dict) else tag for tag in said] if isinstance(said, list) else [])


def mature(body: Body, bits: int) -> bool:
    """Yes or no, as its creator says, or as its pictures do."""
    said = body.get("nsfw")
    return said if isinstance(said, bool) else bool(bits & MATURE)


def images(body: Body) -> Iterator[Body]:
    """The pictures of a version, each with what a client needs to show it."""
    said = body.get("images")
    for each in said if isinstance(said, list) else []:
        if isinstance(each, dict) and isinstance(each.get("url"), str):
            bits = each["nsfwLevel"] if "nsfwLevel" in each else LEVELS.get(words(each.get("nsfw")), 0)
            yield {**each, "nsfwLevel": whole(bits, 0), "width": whole(each.get("width"), 0), "height": whole(each.get("height"), 0),
                   "hash": words(each.get("hash")), "type": words(each.get("type")) or "image"}  # fmt: skip


def dates_of(body: Body, seen: str) -> Body:
    """When it was made, changed and published: all three, where one is said."""
    names = ("publishedAt", "createdAt", "updatedAt")
    said = {name: date(body.get(name)) for name in names}
    return {name: said[name] or first(said.values()) or seen for name in names}


def first(values: Iterable[str]) -> str:
    """The first that says anything."""
    return next((value for value in values if value), "")


def date(value: object) -> str:
    """A moment, as it stands; nothing where it is none."""
    try:
        moment(words(value))
    except ValueError:
        return ""
    return words(value)
