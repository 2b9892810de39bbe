"""A search: the text index says whose words fit, the columns filter, count and order, the database gives one page of documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import numpy as np
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from .columns import NUMBERS, Columns
from .fields import Counts, Some, Words, as_mask, as_rows, common, is_mask, lean, many
from .model import Facet, FacetValue, Page
from .query import Query, cursor_of, place_of, toggled
from .store import Store, names_after, names_of, pages_of
from .words import Spoken, spoken

if TYPE_CHECKING:
    from sqlite_utils import Database

FACETS = 2_000  # that are kept
FACET = 20     # values of a facet that are listed, besides those that are asked for
NARROW = 2_000  # of so many rows all names are read to sort them; of more, the index of names is followed
LONG = len('"abc"*')  # a prefix of fewer letters is in the texts of nearly all, and is not looked for in those of WITHIN
WORDY = 8      # of so many words and more none is looked for there
STEP, MOST = 500, 20_000  # names that are read together, at first and later
# What makes an embedding relevant, the most first; within each the most downloaded come first, then the newest.
WITHIN = ("{name trigger}", "{name trigger names creators tags titles}")  # all words are in its own names; in what is said of it in short
CALLED, BEGINS, REST = 0, 1, 2 + len(WITHIN)  # it is called so; its name begins so; all others

Key = tuple[Any, ...]  # what a page ends with, an id at its end
Number = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
KEYS: dict[str, Any] = {
    "relevance": tuple[Number, Number, Number], "name": tuple[str, Number], **dict.fromkeys(NUMBERS, tuple[Number, Number])
}  # fmt: skip


class Found(Struct, frozen=True, kw_only=True):
    """One page of a search. `items` are JSON of Entry each, `total` counts all pages."""

    items: list[bytes]
    total: int
    cursor: str | None
    facets: dict[str, Facet] = {}


def search(store: Store, columns: Columns, query: Query) -> Found:
    """What fits a query. Raises BadParameter for a cursor that is not of this search."""
    after, asked = after_of(query), spoken(query.q)
    with columns.cores:
        return found(store.read, columns, query, asked, after)


def found(db: Database, columns: Columns, query: Query, asked: Spoken | None, after: Key | None) -> Found:
    """The search itself. What it finds was there when it began, or came since."""
    revision = columns.refresh(db)
    fits = None if asked is None else columns.answers.spoken(db, asked, "", revision)
    with columns.looking():
        rows = columns.filtered(columns.everything() if fits is None else columns.present(fits), query)
        total = many(rows)
        facets = {field: facet_of(columns, rows, field, query, revision) for field in query.facets}
        keys: Sequence[Key] = ()
        if query.sort == "relevance" and asked is not None and total:
            keys = relevant(columns, db, rows, asked, query, after, revision)
        elif query.sort in NUMBERS:
            keys = columns.first(query.sort, rows, query.limit + 1, after, descending=query.descending)
    if query.sort == "name":
        keys = by_name(db, rows, query, after)
    more = len(keys) > query.limit
    items = pages_of(db, [key[-1] for key in keys[: query.limit]])
    return Found(items=items, total=total, cursor=cursor_of(mark(query), keys[query.limit - 1]) if more else None, facets=facets)


def page(store: Store, columns: Columns, query: Query, base_url: str, pairs: Sequence[tuple[str, str]]) -> Page:
    """A search with the URLs that lead on; `pairs` are the parameters it was made of."""
    answer = search(store, columns, query)
    following = [*((name, value) for name, value in pairs if name != "cursor"), ("cursor", answer.cursor or "")]
    linked = {}
    for field, facet in answer.facets.items():
        results = (replace(each, toggle_url=toggled(base_url, pairs, field, each.value)) for each in facet.results)
        linked[field] = replace(facet, results=tuple(results))
    following_url = f"{base_url}?{urlencode(following, errors='replace')}" if answer.cursor else None
    return Page(items=tuple(Raw(item) for item in answer.items), total=answer.total, next=following_url, facets=linked)


def relevant(
    columns: Columns, db: Database, rows: Some, asked: Spoken, query: Query, after: Key | None, revision: int
) -> list[Key]:
    """The most relevant of the rows: (tier, downloads, id) of each. A tier is asked for only where those above do not fill the page."""
    parts: Iterable[tuple[int, Some]] = tiers(columns, db, rows, asked, revision)
    found: list[Key] = []
    for tier, part in parts if query.descending else reversed(list(parts)):
        missing = query.limit + 1 - len(found)
        if missing == 0:
            break
        if after is None or tier == after[0] or (tier > after[0]) == query.descending:
            place = after[1:] if after is not None and tier == after[0] else None
            found += [(tier, *key) for key in columns.first("downloads", part, missing, place, descending=query.descending)]
    return found


def tiers(columns: Columns, db: Database, rows: Some, asked: Spoken, revision: int) -> Iterator[tuple[int, Some]]:
    """The rows by how relevant they are, each once."""
    left = columns.mask(rows)

    def taken(others: Some) -> Some:
        part = common(columns.present(others), left)
        left[part] = False
        return part

    yield CALLED, taken(columns.answers.called(db, asked.line, revision))
    yield BEGINS, taken(columns.answers.beginning(db, asked.line, revision))
    longer = replace(asked, begins=asked.begins if len(asked.begins) >= LONG else "")
    within = WITHIN if (longer.terms or longer.begins) and len(longer.terms) < WORDY else ()
    for tier, names in enumerate(within, BEGINS + 1):
        if left.any():
            yield tier, taken(columns.answers.spoken(db, longer, names, revision))
    yield REST, lean(left)


def by_name(db: Database, rows: Some, query: Query, after: Key | None) -> list[Key]:
    """The first of the rows by name: (name, id) of each."""
    if many(rows) <= NARROW:
        keys = sorted(((name, id_) for id_, name in names_of(db, as_rows(rows).tolist())), reverse=query.descending)
        beyond = keys if after is None else [key for key in keys if (key < after if query.descending else key > after)]
        return list(beyond[: query.limit + 1])
    wanted = as_mask(rows, len(rows) if is_mask(rows) else int(rows[-1]) + 1)
    found: list[Key] = []
    name, last = after or (("\U0010ffff" * 2, 1 << 62) if query.descending else ("", -1))
    step = STEP
    while len(found) <= query.limit and (read := names_after(db, name, last, step, descending=query.descending)):
        found += [(name, id_) for id_, name in read if id_ < len(wanted) and wanted[id_]]
        last, name = read[-1]
        step = min(step * 4, MOST)
    return found[: query.limit + 1]


def facet_of(columns: Columns, rows: Some, field: str, query: Query, revision: int) -> Facet:
    """The facet of a search, counted once while nothing changes; a search that began at an earlier revision keeps its own."""
    question = (revision, field, *narrowing(query))
    known = columns.facets.get(question)
    if known is None:
        known = columns.facets[question] = counted(*columns.count(field, rows), query.filters.get(field, ()))
        if len(columns.facets) > FACETS:
            columns.facets.clear()
    return known


def counted(counts: Counts, words: Words, asked: Sequence[str]) -> Facet:
    """The commonest values, then those that are asked for and are not among them."""
    there = np.flatnonzero(counts)
    numbers = commonest(counts, there, words)
    chosen = {number for value in asked for number in words.alike(value)}
    shown = [*numbers, *sorted(chosen - set(numbers), key=lambda number: (-counts[number], words.values[number]))]
    results = [FacetValue(value=words.values[number], count=int(counts[number]), selected=number in chosen) for number in shown]
    results += [FacetValue(value=value, count=0, selected=True) for value in asked if not words.alike(value)]
    return Facet(results=tuple(results), truncated=len(there) > FACET)


def commonest(counts: Counts, there: Counts, words: Words) -> list[int]:
    """The numbers of the commonest values; of those that are equally common the first by the alphabet."""
    bound = np.partition(counts[there], -FACET)[-FACET] if len(there) > FACET else 0
    above = sorted(there[counts[there] > bound].tolist(), key=lambda number: (-counts[number], words.values[number]))
    equal = there[counts[there] == bound].tolist()
    return above + nsmallest(FACET - len(above), equal, key=words.values.__getitem__)


def after_of(query: Query) -> Key | None:
    """The place after which a page begins, of its cursor. Raises BadParameter for a text that we did not make for this search."""
    if query.cursor is None:
        return None
    key: Key = place_of(query.cursor, mark(query), KEYS[query.sort])
    return key


def mark(query: Query) -> str:
    """What makes a search another one; how much of it a page shows does not."""
    said = repr((*narrowing(query), query.sort, query.descending))
    return hashlib.blake2b(said.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


def narrowing(query: Query) -> tuple[object, ...]:
    """All by which a search finds less than everything."""
    return query.q, tuple(sorted(query.filters.items())), query.vectors, query.origin, query.added_after
