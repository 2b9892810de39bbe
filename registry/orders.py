"""Rows in the order of a number: the first of some rows, and those after a place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .fields import Mask, Rows, as_rows

Keys = npt.NDArray[np.int64]
Place = tuple[int, int]  # key and id: of two rows with the same key the one with the lower id is the lower
FEW = 30_000      # of so many rows the first are found by looking at each
STEP = 4_096      # rows of an order that are looked at together, at first
TOUCHED = 2_000   # changed rows beside an order, before it is made anew


def first(keys: Keys, rows: Rows, count: int, after: Place | None, *, descending: bool) -> Rows:
    """The first `count` of rows, which rise, by key and id."""
    of = keys[rows]
    if after is not None:
        key, id_ = after
        beyond = (of < key) | ((of == key) & (rows < id_)) if descending else (of > key) | ((of == key) & (rows > id_))
        rows, of = rows[beyond], of[beyond]
    if descending:
        rows, of = rows[::-1], -of[::-1]  # so that a stable order of rising numbers is what is wanted
    if len(rows) > count:
        bound = np.partition(of, count - 1)[count - 1]
        below = np.flatnonzero(of < bound)
        chosen = np.concatenate((below, np.flatnonzero(of == bound)[: count - len(below)]))
        rows, of = rows[chosen], of[chosen]
    return rows[np.argsort(of, kind="stable")]


class Order:
    """All rows by a key, for searches that find many. Rows that changed since it was made stand beside it."""

    def __init__(self) -> None:
        self._made: tuple[Rows, Keys] | None = None
        self._touched: dict[int, None] = {}

    def touch(self, rows: Rows) -> None:
        """Their key may be another now, or they may be new, or gone."""
        if self._made is None:
            return
        self._touched.update(dict.fromkeys(rows.tolist()))
        if len(self._touched) > TOUCHED:
            self._made, self._touched = None, {}

    def first(self, keys: Keys, alive: Mask, wanted: Mask, count: int, after: Place | None, *, descending: bool) -> Rows:
        """The first `count` of the rows that are wanted; the mask is used up."""
        made = self._made
        if made is None:
            rows = as_rows(alive)
            of = keys[rows]
            order = np.argsort(of, kind="stable")
            made = self._made = rows[order], of[order]
        beside = np.array(sorted(self._touched), np.int32)
        own = beside[wanted[beside]]
        wanted[beside] = False
        found = walk(*made, wanted, count, after, descending=descending)
        merged = np.sort(np.concatenate((found, first(keys, own, count, after, descending=descending))))
        return first(keys, merged, count, None, descending=descending)


def walk(order: Rows, keys: Keys, wanted: Mask, count: int, after: Place | None, *, descending: bool) -> Rows:
    """The first that are wanted of an order, step by step, as most are near its beginning; `keys` stand beside it."""
    at = len(order) if descending else 0
    if after is not None:
        low, high = np.searchsorted(keys, after[0], "left"), np.searchsorted(keys, after[0], "right")
        at = int(low + np.searchsorted(order[low:high], after[1], "left" if descending else "right"))
    found: list[Rows] = [order[:0]]
    many, step = 0, STEP
    while many < count and (at > 0 if descending else at < len(order)):
        piece = order[max(0, at - step) : at][::-1] if descending else order[at : at + step]
        found.append(piece[wanted[piece]])
        many += len(found[-1])
        at += -step if descending else step
        step *= 4
    return np.concatenate(found)[:count]
