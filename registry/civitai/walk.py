"""The way through Civitai's lists, which skip a model at each border, repeat others, and end before the end: every model once.

civitai.com's lists, as its getModelsRaw makes them: `Oldest` loses nothing, but stands still where more models than a page holds
share a moment, and ends in an error where models have none; `Newest` passes through those and loses the first model of each page but
one, whose id is in the cursor; the lists with and without nsfw=true do not contain each other. So each is walked by `Oldest`, and where
that does not reach its end by `Newest`, whose lost models are then asked for by their ids (where no id is to be seen it is walked once
more with pages of another size), and by a count, for those that have no moment: they are behind all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from . import wire
from .client import Client
from .errors import CivitaiUnclear
from .provenance import moment

KIND = "TextualInversion"
PAGE, OTHER = 100, 99
MOST = 5_000  # pages of one list
EMPTY = 50    # pages in a row without any model
OLDEST, NEWEST, COUNTED = "Oldest", "Newest", "Most Downloaded"
Query = tuple[tuple[str, str], ...]


class Pass(Struct, frozen=True, kw_only=True):
    """One list from its beginning. `until`: end, known (a page without news) or so many pages."""

    sort: str
    nsfw: bool
    limit: int = PAGE
    until: str | int = "end"


class Place(Struct, frozen=True, kw_only=True):
    """Where a walk is: `passes` are its lists, `at` the one it is in, `pages` how many it has seen of that,
    the last `empty` of them without any model.

    `full`: through everything, or only what is new. `whole`: so far nothing has been missed.
    """

    walk: int
    full: bool
    passes: tuple[Pass, ...]
    at: int = 0
    cursor: str | None = None
    pages: int = 0
    empty: int = 0
    whole: bool = True
    since: str = ""
    lost: tuple[tuple[bool, int], ...] = ()  # models at the borders of pages, with whether that was the list with nsfw=true
    blind: bool = False                      # a border of this pass did not tell which

    @property
    def ended(self) -> bool:
        return self.at >= len(self.passes)


class Narrowed(Struct, frozen=True, kw_only=True):
    """A part of Civitai: what a search finds, or what somebody made."""

    query: str = ""
    creator: str = ""

    @property
    def key(self) -> str:
        """By it the place of a walk is noted."""
        return f"walk:{self.query}:{self.creator}"

    @property
    def all(self) -> bool:
        """Is it no part, but the whole?"""
        return not (self.query or self.creator)


Take = Callable[[Place, Sequence[wire.HeardModel], Sequence[str], Callable[[int], Place]], Place]


def full(walk: int, narrowed: Narrowed) -> Place:
    """The beginning of a walk through everything."""
    sort = "" if narrowed.query else OLDEST
    return Place(walk=walk, full=True, passes=(Pass(sort=sort, nsfw=True), Pass(sort=sort, nsfw=False)))


def news(walk: int, since: str = "") -> Place:
    """The beginning of a walk through what is new, or newer than a moment."""
    passes = tuple(Pass(sort=NEWEST, nsfw=nsfw, until="known") for nsfw in (True, False))
    return Place(walk=walk, full=False, since=since, passes=passes)


def walk(client: Client, place: Place, narrowed: Narrowed, take: Take, check: Callable[[], None]) -> Place:
    """Walk on from a place. `take` gets each page with its place, keeps it, and answers with the place after it."""
    cursors: set[str] = set()  # of this pass
    while not place.ended:
        check()
        one = place.passes[place.at]
        page = ask(client, one, place.cursor, narrowed)
        models, odd = read(page) if page else ([], [])
        stuck = bool(page and page.cursor and (page.cursor in cursors or page.cursor == place.cursor))

        def after(count: int, page: wire.Listed | None = page, models: Sequence[wire.HeardModel] = models, place: Place = place,
                  stuck: bool = stuck) -> Place:  # fmt: skip
            return step(place, page, models, count, stuck=stuck)

        before, place = place, take(place, models, odd, after)
        if page and page.cursor:
            cursors.add(page.cursor)
        if place.at != before.at:
            cursors = set()
    return place


def ask(client: Client, one: Pass, cursor: str | None, narrowed: Narrowed) -> wire.Listed | None:
    """A page; None where a cursor of its own is refused, which is how lists end whose last models have no moment."""
    query = [("types", KIND), ("limit", str(one.limit)), ("sort", one.sort), ("nsfw", "true" if one.nsfw else ""), ("archived", "true"),
             ("query", narrowed.query), ("username", narrowed.creator), ("cursor", cursor or "")]  # fmt: skip
    try:
        return client.models([(name, value) for name, value in query if value])
    except CivitaiUnclear as exc:
        if cursor and exc.status == 400:
            return None
        raise


def read(page: wire.Listed) -> tuple[list[wire.HeardModel], list[str]]:
    """The embeddings of a page, whatever else a filter that did nothing let in; and what could not be read."""
    models, odd = [], []
    for item in page.items:
        try:
            heard = wire.model(item)
        except (ValueError, TypeError) as exc:
            odd.append(f"A model of the list cannot be read: {exc}")
            continue
        if wire.words(heard.model.type) in ("", KIND):
            models.append(heard)
            odd += [f"A version of {wire.words(heard.model.name)!r} (civitai:{heard.model.id}) cannot be read: {why}" for why in heard.odd]
    return models, odd


def step(place: Place, page: wire.Listed | None, models: Sequence[wire.HeardModel], count: int, *, stuck: bool) -> Place:
    """The place after a page with `count` news."""
    one, pages = place.passes[place.at], place.pages + 1
    known = bool(models) and not count and one.until == "known"
    deep = isinstance(one.until, int) and pages >= one.until
    old = bool(place.since and models) and all(older(model, place.since) for model in models)
    if page is None:
        return following(place, "tail", pages)
    if page.cursor is None or known or deep or old:
        return following(place, "end", pages)
    empty = 0 if page.items else place.empty + 1
    if stuck or pages >= MOST or empty >= EMPTY:
        return following(place, "stuck", pages)
    return replace(border(place, page.cursor) if models else place, cursor=page.cursor, pages=pages, empty=empty)


def border(place: Place, cursor: str) -> Place:
    """The place after the border of a page of Newest, whose cursor ends with the id of the model that is lost there."""
    one, last = place.passes[place.at], re.search(r"(?:^|\|)(\d{1,10})$", cursor)
    if one.sort != NEWEST or one.limit != PAGE:
        return place
    if last is None or not 0 < int(last[1]) <= wire.MOST_IDS:
        return replace(place, blind=True)
    return replace(place, lost=(*place.lost, (one.nsfw, int(last[1]))))


def older(model: wire.HeardModel, since: str) -> bool:
    """Were all versions of a model published before?"""
    return all(wire.words(each.version.published_at) and moment_or_none(each) < since for each in model.versions)


def moment_or_none(each: wire.HeardVersion) -> str:
    """When a version was published, as text that sorts; the end of time where that makes no sense."""
    try:
        return moment(wire.words(each.version.published_at)).isoformat()
    except ValueError:
        return "9999"


def following(place: Place, end: str, pages: int) -> Place:
    """The next list, after what the end of this one makes necessary."""
    one, more = place.passes[place.at], []
    if place.full and one.sort == OLDEST and end != "end":
        more.append(Pass(sort=NEWEST, nsfw=one.nsfw))
    if place.blind:
        more.append(Pass(sort=NEWEST, nsfw=one.nsfw, limit=OTHER, until="end" if place.full else -(-pages * PAGE // OTHER)))
    if place.full and one.sort == NEWEST and one.limit == PAGE and end == "tail":
        more.append(Pass(sort=COUNTED, nsfw=one.nsfw))
    whole = place.whole and (end != "stuck" or one.sort == OLDEST)
    passes = (*place.passes[: place.at + 1], *more, *place.passes[place.at + 1 :])
    return replace(place, passes=passes, at=place.at + 1, cursor=None, pages=0, empty=0, blind=False, whole=whole)
