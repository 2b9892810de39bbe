"""The facts by which searches filter, sort and count, of every embedding, in memory: a GROUP BY over a million rows takes too long."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Raw, Struct

from .answers import Answers
from .fields import Counts, Lists, Mask, Sets, Some, Stored, Words, as_mask, as_rows, common, fitted, grown, is_mask, kept, lean
from .model import Facet
from .orders import FEW, Keys, Order, Place, first
from .query import ALL_OF, ANY, FIELDS, NONE, UNRATED, Query, same
from .store import Store, beginnings, facts_above, facts_since, latest_revision
from .turns import Row, Turns
from .words import spoken

if TYPE_CHECKING:
    from sqlite_utils import Database

BATCH = 2_000  # rows that are read together; more leave the processor's cache
NUMBERS = ("added", "downloads", "vectors")
LARGEST = 1 << 62
BEGINNINGS = ((1, 50), (2, 300), (3, 500), (4, 300))  # of so many characters, how many are asked for beforehand


class Columns:
    """The facts of a store's embeddings, read as they are first needed and then kept up with it.

    A search sees everything that was committed before it began, by this process or another. Threads may share one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revision = -1
        self._stopped = False
        self._refreshing = threading.Lock()
        self._turns = Turns()
        self.answers = Answers()
        self._sets = {field: Sets(partial(same, field), READ.get(field, several)) for field in (*FIELDS, "origin") if field != "tag"}
        self._tags = Lists(str)
        self._numbers: dict[str, Keys] = {name: np.zeros(1024, np.int64) for name in NUMBERS}
        self._alive = np.zeros(1024, np.bool_)
        self._orders = {name: Order() for name in NUMBERS}
        self.facets: dict[tuple[object, ...], Facet] = {}  # of searches, while nothing changes
        self.cores = Row(os.cpu_count() or 1)  # of more searches at once than cores each takes longer, and none less

    def refresh(self, db: Database | None = None) -> int:
        """Take in what has changed; the revision up to which that is."""
        db = db or self._store.read
        latest = latest_revision(db)
        if self._revision < latest:
            with self._refreshing:
                if self._revision < 0:
                    self._load(db, latest)
                while self._revision < latest and (rows := facts_since(db, self._revision, BATCH)):
                    self._take(rows, rows[-1][1])
                self._revision = max(self._revision, latest)
        return self._revision

    def warm(self) -> None:
        """Load, and ask for what everybody types first, so that the index is not asked while somebody waits."""
        db = self._store.read
        self.refresh(db)
        for begins in (begins for length, most in BEGINNINGS for begins in beginnings(db, length, most)):
            asked = spoken(begins)
            if asked is not None and not self._stopped:
                self.answers.spoken(db, asked, "", self.refresh(db))

    def stop(self) -> None:
        """End `warm`, wherever it runs."""
        self._stopped = True

    def _load(self, db: Database, latest: int) -> None:
        """Everything, in the order in which it lies on the disk. What changes meanwhile is taken in after it."""
        last = 0
        while rows := facts_above(db, last, BATCH):
            self._take(rows, -1)
            last = rows[-1][0]
        self.answers.forget(latest)
        self._revision = latest

    def _take(self, rows: Sequence[tuple[Any, ...]], revision: int) -> None:
        """Put rows of FACTS into the columns."""
        ids, revisions, states, bases, roles, verdicts, levels, vectors, downloads, added, packed = zip(*rows, strict=True)
        facts = facts_in(packed)
        at = np.array(ids, np.int32)
        values: dict[str, Sequence[Stored]] = {
            "base": bases,
            "role": roles,
            "verdict": verdicts,
            "nsfw": levels,
            "encoder": [bytes(each.encoders) for each in facts],
            "layout": [bytes(each.layouts) for each in facts],
            "creator": [bytes(each.creators) for each in facts],
            "licence": [bytes(each.permits) for each in facts],
            "origin": [bytes(each.sources) for each in facts],
        }
        numbers = {"added": milliseconds(added), "downloads": downloads, "vectors": vectors}
        with self._turns.changing():
            room = int(at.max()) + 1
            self._alive = grown(self._alive, room)
            self._alive[at] = [state == "present" for state in states]
            for field, sets in self._sets.items():
                sets.put(at, values[field], len(self._alive))
            self._tags.put(at, [each.tags for each in facts], len(self._alive))
            for name, column in numbers.items():
                self._numbers[name] = fitted(self._numbers[name], len(self._alive))
                self._numbers[name][at] = column
                self._orders[name].touch(at)
            self.facets.clear()
            self.answers.changed(revisions, ids)
            self._revision = max(self._revision, revision)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Nothing changes meanwhile. What the methods below give is only good within."""
        with self._turns.looking():
            yield

    def everything(self) -> Some:
        return self._alive

    def present(self, rows: Some) -> Some:
        """Those of the rows that are here; the text index may know some already, or still."""
        return common(rows, self._alive) if not is_mask(rows) else as_mask(rows, len(self._alive)) & self._alive

    def filtered(self, rows: Some, query: Query) -> Some:
        """Those of the rows that a query's filters let through."""
        if not self._alive.any():  # then no field has a value yet
            return rows
        for field, values in query.filters.items():
            rows = self._tags.having(rows, values) if field == "tag" else self._sets[field].having(rows, values, all_of=field in ALL_OF)
        if query.vectors is not None:
            least, most = query.vectors[0] or 0, query.vectors[1] if query.vectors[1] is not None else LARGEST
            rows = kept(rows, self._numbers["vectors"], lambda vectors: (vectors >= least) & (vectors <= most))
        if query.added_after is not None:
            (moment,) = milliseconds([query.added_after])
            rows = kept(rows, self._numbers["added"], lambda added: added > moment)
        return lean(self._of_origin(rows, query.origin) if query.origin else rows)

    def _of_origin(self, rows: Some, wanted: Sequence[str]) -> Some:
        """Those that came from one of the sources; `any` and `none` are no sources but ask whether there is one."""
        sets, asked = self._sets["origin"], [same("origin", value) for value in wanted]
        found = [sets.having(rows, [value], all_of=False) for value in asked if value not in (ANY, NONE)]
        found += [sets.empty(rows, wanted=value == NONE) for value in asked if value in (ANY, NONE)]
        either = self.mask(found[0])
        for each in found[1:]:
            either |= self.mask(each)
        return lean(either)

    def first(self, name: str, rows: Some, count: int, after: Place | None, *, descending: bool) -> list[tuple[int, int]]:
        """The first `count` of the rows by a number, with it."""
        keys = self._numbers[name]
        if not is_mask(rows) and len(rows) <= FEW:
            found = first(keys, as_rows(rows), count, after, descending=descending)
        else:
            found = self._orders[name].first(keys, self._alive, as_mask(rows, len(self._alive)), count, after, descending=descending)
        return list(zip(keys[found].tolist(), found.tolist(), strict=True))

    def mask(self, rows: Some) -> Mask:
        """A yes or no for each id that there may be."""
        return as_mask(rows, len(self._alive))

    def count(self, field: str, rows: Some) -> tuple[Counts, Words]:
        """How many of the rows have each value of a field; and the values."""
        column: Lists | Sets = self._tags if field == "tag" else self._sets[field]
        return column.count(rows) if self._alive.any() else np.zeros(len(column.words.values), np.int64), column.words

    def bytes(self) -> int:
        """What the columns take, without the words in them."""
        numbers = sum(each.nbytes for each in self._numbers.values()) + self._alive.nbytes
        return numbers + self._tags.bytes() + sum(each.bytes() for each in self._sets.values())


class Packed(Struct, frozen=True, array_like=True, gc=False):
    """model.Facts with the texts as they are stored: most rows have those of many others."""

    encoders: Raw = Raw(b"[]")
    layouts: Raw = Raw(b"[]")
    creators: Raw = Raw(b"[]")
    tags: tuple[str, ...] = ()
    permits: Raw = Raw(b"[]")
    sources: Raw = Raw(b"[]")


def facts_in(packed: Sequence[bytes | str]) -> list[Packed]:
    """The facts of many rows, in one go; none of those that are gone."""
    texts = [(text if isinstance(text, bytes) else text.encode()) or b"[]" for text in packed]
    return msgspec.json.decode(b"[" + b",".join(texts) + b"]", type=list[Packed])


def several(stored: Stored) -> tuple[str, ...]:
    """The values of a field that may have some."""
    assert isinstance(stored, bytes)
    return msgspec.json.decode(stored, type=tuple[str, ...])


def single(unknown: str, stored: Stored) -> tuple[str, ...]:
    """The value of a field that has one; a word for none."""
    assert not isinstance(stored, bytes)
    return (stored or unknown,)


def milliseconds(times: Sequence[str]) -> list[int]:
    """Our times as numbers that sort as they do."""
    if all(text.endswith("Z") for text in times):
        return np.array([text[:-1] for text in times], "datetime64[ms]").astype(np.int64).tolist()  # type: ignore[no-any-return]  # a list, as the array has one dimension
    return [round(datetime.fromisoformat(text).timestamp() * 1000) for text in times]  # written by something else


READ = {"base": partial(single, NONE), "role": partial(single, NONE), "verdict": partial(single, NONE), "nsfw": partial(single, UNRATED)}
