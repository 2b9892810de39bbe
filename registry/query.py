"""What a search asks for, made of text: the parameters of a URL and the options of the command line alike."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, NoReturn
from urllib.parse import urlencode

import msgspec
from msgspec import Raw, Struct

from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.layouts import BY_NAME

from .claims import tag_of
from .errors import BadParameter, UnknownParameter
from .model import NSFW, PERMISSIONS, ROLES, VERDICTS
from .times import stamp

NONE, UNRATED, ANY = "none", "unrated", "any"  # nothing is known; nobody rated it; whatever it is
LEAST, MOST, USUAL = 1, 200, 50  # embeddings of a page
WORDS, VALUE, VALUES = 1_000, 200, 50  # characters of q, of a value, and how many values of one parameter
CURSOR = 4_000
# The fields by which a search filters and counts. Of several values any will do, but every tag and licence asked for must be there.
FIELDS = ("base", "encoder", "role", "verdict", "layout", "creator", "tag", "licence", "nsfw")
ALL_OF = ("tag", "licence")
SORTS = ("relevance", "added", "name", "downloads", "vectors")
FALLING = ("relevance", "added", "downloads")  # the best, the newest, the most first; a `-` turns any round
PARAMETERS = ("q", *FIELDS, "vectors", "origin", "added_after", "sort", "limit", "cursor", "facet")
ALIASES = {"license": "licence"}
RANGE = re.compile(r"(\d{1,6})|(\d{1,6})?\.\.(\d{1,6})?")


class Query(Struct, frozen=True, kw_only=True):
    """A search. `filters` are by field, `vectors` the least and the most, `added_after` a time of ours."""

    q: str = ""
    filters: dict[str, tuple[str, ...]] = {}
    vectors: tuple[int | None, int | None] | None = None
    origin: tuple[str, ...] = ()
    added_after: str | None = None
    sort: str = "added"
    descending: bool = True
    limit: int = USUAL
    cursor: str | None = None
    facets: tuple[str, ...] = ()


def query_of(pairs: Iterable[tuple[str, str]]) -> Query:
    """A search of names and values. Raises UnknownParameter and BadParameter with the nearest that is right."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        known = ALIASES.get(name, name)
        if known not in PARAMETERS:
            raise UnknownParameter(name, PARAMETERS)
        given.setdefault(known, []).append(value)
    for name, values in given.items():
        checked(name, values)
    q = one(given, "q") or ""
    sort, descending = sorting(one(given, "sort"), spoken=bool(q.strip()))
    return Query(
        q=q,
        filters={field: tuple(dict.fromkeys(CHECKS[field](value) for value in given[field])) for field in FIELDS if field in given},
        vectors=within(one(given, "vectors")),
        origin=tuple(dict.fromkeys(value.strip() for value in given.get("origin", ()))),
        added_after=moment(one(given, "added_after")),
        sort=sort,
        descending=descending,
        limit=size(one(given, "limit")),
        cursor=one(given, "cursor"),
        facets=tuple(dict.fromkeys(facet(value) for value in given.get("facet", ()))),
    )


def checked(name: str, values: list[str]) -> None:
    """Nothing is empty, endless or too much."""
    if name not in (*FIELDS, "origin", "facet") and len(values) > 1:
        raise BadParameter(name, values[1], "it is given twice")
    if len(values) > VALUES:
        raise BadParameter(name, values[VALUES], f"at most {VALUES} are taken")
    most = {"q": WORDS, "cursor": CURSOR}.get(name, VALUE)
    for value in values:
        if len(value) > most:
            raise BadParameter(name, f"{value[:40]}...", f"it has {len(value):,} characters, at most {most:,} are taken")
        if not value.strip() and name != "q":
            raise BadParameter(name, value, "it is empty; leave it out instead")


def one(given: dict[str, list[str]], name: str) -> str | None:
    """The value of a parameter that is given once."""
    return given[name][0] if name in given else None


def sorting(text: str | None, *, spoken: bool) -> tuple[str, bool]:
    """By what, and whether it falls. Without words nothing is more relevant than anything else, so the newest come first."""
    said = text or ("relevance" if spoken else "added")
    name = said.removeprefix("-")
    if name not in SORTS:
        raise BadParameter("sort", said, "one of those below, with a leading - to turn it round", SORTS)
    if name == "relevance" and not spoken:
        name = "added"
    return name, (name in FALLING) != said.startswith("-")


def size(text: str | None) -> int:
    """How many a page holds."""
    if text is None:
        return USUAL
    if not re.fullmatch(r"[0-9]{1,6}", text) or not LEAST <= int(text) <= MOST:
        raise BadParameter("limit", text, f"a number from {LEAST} to {MOST}")
    return int(text)


def within(text: str | None) -> tuple[int | None, int | None] | None:
    """`8`, `2..8`, `8..`, `..4`."""
    if text is None:
        return None
    found = RANGE.fullmatch(text) if text.isascii() else None
    if found is None or text == "..":
        raise BadParameter("vectors", text, "a number or a range: 8, 2..8, 8.., ..4")
    exact, least, most = (None if part is None else int(part) for part in found.groups())
    if least is not None and most is not None and least > most:
        raise BadParameter("vectors", text, f"a range from the smaller to the larger: {most}..{least}")
    return (exact, exact) if exact is not None else (least, most)


def moment(text: str | None) -> str | None:
    """A day or a moment, in UTC where nothing else is said; a `+` may have become a space on its way."""
    if text is None:
        return None
    try:
        said = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", text.strip()) if "T" in text else text.strip())
        return stamp(said if said.tzinfo else said.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as exc:
        raise BadParameter("added_after", text, "a day or a moment: 2026-11-26, 2026-11-26T12:00:00Z") from exc


def facet(text: str) -> str:
    """A field that is counted."""
    field = ALIASES.get(text, text)
    if field not in FIELDS:
        wrong("facet", text, FIELDS)
    return field


def wrong(name: str, text: str, known: Sequence[str]) -> NoReturn:
    """A value that is none of those known."""
    raise BadParameter(name, text, f"one of {', '.join(known)}" if len(known) <= 12 else "not one that is known", known)


def word_of(name: str, *known: str) -> Callable[[str], str]:
    """A check for one of a table's words."""

    def check(text: str) -> str:
        said = text.strip().lower()
        return said if said in known else wrong(name, text, known)

    return check


def encoder(text: str) -> str:
    """A text encoder, its output vectors (OneTrainer's), or one of a width that nobody knows."""
    said = text.strip().lower()
    known = said.removesuffix("_out") in ENCODERS or re.fullmatch(r"unknown_\d{1,9}(_out)?", said)
    return said if known else wrong("encoder", text, list(ENCODERS))


def licence(text: str) -> str:
    """A permission, or a licence by its name; what is nearly a permission is a slip."""
    said = " ".join(text.lower().split())
    if said not in PERMISSIONS and get_close_matches(said, PERMISSIONS, n=1, cutoff=0.85):
        wrong("licence", text, PERMISSIONS)
    return said


CHECKS: dict[str, Callable[[str], str]] = {
    "base": word_of("base", *BASES, NONE),
    "encoder": encoder,
    "role": word_of("role", *ROLES),
    "verdict": word_of("verdict", *VERDICTS, NONE),
    "layout": word_of("layout", *BY_NAME),
    "creator": lambda text: text.strip().casefold(),
    "tag": tag_of,
    "licence": licence,
    "nsfw": word_of("nsfw", *NSFW, UNRATED),
}


def same(field: str, value: str) -> str:
    """A value as it is compared: two that are the same here ask for the same."""
    return CHECKS[field](value) if field in ("creator", "tag") else " ".join(value.lower().split())


def toggled(base_url: str, pairs: Iterable[tuple[str, str]], field: str, value: str) -> str:
    """The URL of the same search with a value of a field added to its filters, or taken away where it is there; from the first page on."""
    kept = [(name, said) for name, said in pairs if name != "cursor"]
    others = [(name, said) for name, said in kept if ALIASES.get(name, name) != field or same(field, said) != same(field, value)]
    asked = others if len(others) < len(kept) else [*kept, (field, value)]
    query = urlencode(asked, errors="replace")
    return f"{base_url}?{query}" if query else base_url


# the place where a page ends, as a text that means nothing to others


def cursor_of(mark: str, place: object) -> str:
    """The text for a place; `mark` makes a list another one."""
    return base64.urlsafe_b64encode(msgspec.json.encode((mark, place))).rstrip(b"=").decode()


def place_of(cursor: str, mark: str, kind: Any) -> Any:
    """The place, of a `kind` that msgspec knows. Raises BadParameter for a text that we did not make for this list."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of, place = msgspec.json.decode(packed, type=tuple[str, Raw])
        if of != mark:
            raise BadParameter("cursor", cursor[:40], "it belongs to another list, or to another order of it")
        return msgspec.json.decode(place, type=kind)
    except (ValueError, RecursionError) as exc:
        raise BadParameter("cursor", cursor[:40], "take the one that a page gives") from exc
