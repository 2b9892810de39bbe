"""Those embeddings of a list of which Civitai never told: filtered and ordered by the columns, as searches are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from embconv.converters.encoders import BASES

from ..claims import tag_of
from ..columns import Columns
from ..fields import Mask, Some, as_rows, many
from ..model import NSFW
from ..query import NONE, UNRATED, Query
from ..sidecar_files import CIVITAI_BASE
from ..words import spoken
from .mirror_asked import Asked
from .mirror_index import RISING, Key, Snapshot
from .shapes_own import OWN
from .shapes_words import KIND

if TYPE_CHECKING:
    from sqlite_utils import Database

DATED = ("Newest", "Oldest")
AFTER_ALL = (1 << 31) - 1  # no embedding has this id


def spoken_ids(db: Database, columns: Columns, query: str) -> set[int] | None:
    """The embeddings whose words fit; None where none are asked for."""
    asked = spoken(query)
    if asked is None:
        return None
    found: list[int] = as_rows(columns.answers.spoken(db, asked, "", columns.refresh(db))).tolist()
    return set(found)


def own_keys(db: Database, columns: Columns, snapshot: Snapshot, asked: Asked, words: set[int] | None, count: int) -> list[Key]:
    """The keys of the first of them from where a page begins."""
    query = query_for(asked)
    if query is None or count == 0:
        return []
    columns.refresh(db)
    with columns.looking():
        rows = those(columns, query)
        for ids in (words, own_ids(asked.ids), own_ids(asked.versions)):
            rows = columns.mask(rows) & marked(ids, len(columns.everything())) if ids is not None else rows
        rows = without(columns.mask(rows), snapshot.linked)
        return ordered(columns, rows, asked, count)


def those(columns: Columns, query: Query) -> Some:
    """The embeddings that a query's filters let through; of nothing there is nothing to filter by."""
    rows = columns.everything()
    return columns.filtered(rows, query) if many(rows) else rows


def query_for(asked: Asked) -> Query | None:
    """What is asked for in the words of our searches; None where none of ours can be meant."""
    filters: dict[str, tuple[str, ...]] = {}
    if asked.types and KIND not in asked.types:
        return None
    if asked.bases:
        filters["base"] = tuple(base for base in (*BASES, NONE) if CIVITAI_BASE.get(base, "Other") in asked.bases)
        if not filters["base"]:
            return None
    if asked.tag:
        filters["tag"] = (tag_of(asked.tag),)
    if asked.username:
        filters["creator"] = (asked.username.strip().casefold(),)
    if not asked.nsfw:  # who uploads something here without a word about it means no harm
        filters["nsfw"] = (NSFW[0], UNRATED)
    return Query(filters=filters)


def own_ids(ids: Iterable[int] | None) -> set[int] | None:
    """Our ids among these."""
    return None if ids is None else {id_ - OWN for id_ in ids if id_ > OWN}


def marked(ids: set[int], size: int) -> Mask:
    """Ids as a mask."""
    mask = np.zeros(size, np.bool_)
    mask[[id_ for id_ in ids if id_ < size]] = True
    return mask


def without(rows: Mask, others: Mask) -> Mask:
    """Those that are not among others."""
    size = min(len(rows), len(others))
    rows[:size] &= ~others[:size]
    return rows


def ordered(columns: Columns, rows: Some, asked: Asked, count: int) -> list[Key]:
    """The first of the rows by the number that the order goes by: nobody liked, discussed or collected any of them here."""
    if asked.sort in DATED:
        after = (asked.cursor[0], asked.cursor[1] - OWN) if asked.cursor else None
        return [(key, OWN + id_) for key, id_ in columns.first("added", rows, count, after, descending=asked.sort != RISING)]
    downloads_first = asked.sort == "Most Downloaded"
    if asked.cursor:
        first, second, id_ = asked.cursor
        if not downloads_first and first < 0:
            return []
        if downloads_first:
            after = (first, id_ - OWN if second == 0 else AFTER_ALL if second > 0 else -1)
        else:
            after = (second, id_ - OWN) if first == 0 else None
    else:
        after = None
    found = columns.first("downloads", rows, count, after, descending=True)
    return [(key, 0, OWN + id_) if downloads_first else (0, key, OWN + id_) for key, id_ in found]
