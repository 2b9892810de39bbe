"""Fields of embeddings as numbers, row by row: what a search filters by and counts. A row is an embedding's id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
Stored: TypeAlias = bytes | str | None        # the values of a row as they come: JSON, or one by itself
Rows: TypeAlias = npt.NDArray[np.int32]    # ids, rising
Counts: TypeAlias = npt.NDArray[np.int64]  # by the number of a value
Mask: TypeAlias = npt.NDArray[np.bool_]    # a yes or no for each id
Some: TypeAlias = Rows | Mask              # rows as ids where they are few, as a mask where they are many
MANY = 16     # rows are many where they are more than a sixteenth of all
GARBAGE = 4   # lists are packed anew where more than a quarter of them is out of use


def grown(array: npt.NDArray[T], size: int) -> npt.NDArray[T]:
    """The array with room for `size` entries and some more."""
    return fitted(array, max(size, len(array) * 3 // 2, 1024)) if size > len(array) else array


def fitted(array: npt.NDArray[T], size: int) -> npt.NDArray[T]:
    """The array with exactly `size` entries, which is no fewer than it has."""
    if size == len(array):
        return array
    larger = np.zeros(size, array.dtype)
    larger[: len(array)] = array
    return larger


def kept(rows: Some, of: npt.NDArray[T], test: Callable[[npt.NDArray[T]], Mask]) -> Some:
    """Those of the rows whose entry in `of` passes."""
    return rows & test(of) if is_mask(rows) else rows[test(of[rows])]


def is_mask(rows: Some) -> TypeGuard[Mask]:
    """Are they many?"""
    return rows.dtype == np.bool_


def many(rows: Some) -> int:
    """How many they are."""
    return int(np.count_nonzero(rows)) if is_mask(rows) else len(rows)


def as_rows(rows: Some) -> Rows:
    """As ids."""
    return np.flatnonzero(rows).astype(np.int32) if is_mask(rows) else rows.astype(np.int32, copy=False)


def as_mask(rows: Some, size: int) -> Mask:
    """As a mask for ids below `size`, a new one."""
    mask = np.zeros(size, np.bool_)
    if is_mask(rows):
        mask[: min(size, len(rows))] = rows[:size]
    else:
        mask[rows[: np.searchsorted(rows, size)]] = True
    return mask


def lean(rows: Some) -> Some:
    """In the form that suits how many they are."""
    return as_rows(rows) if is_mask(rows) and many(rows) * MANY < len(rows) else rows


def common(some: Some, others: Some) -> Some:
    """What is in both."""
    if is_mask(some) and is_mask(others):
        size = min(len(some), len(others))
        return some[:size] & others[:size]
    if is_mask(some) or is_mask(others):
        mask, rows = (some, others) if is_mask(some) else (others, some)
        rows = rows[: np.searchsorted(rows, len(mask))]
        return rows[mask[rows]]
    fewer, more = (some, others) if len(some) < len(others) else (others, some)
    places = np.searchsorted(more, fewer)
    places[places == len(more)] = 0
    return fewer[more[places] == fewer] if len(more) else more


class Words:
    """The values of a field, each with a number; those that are the same to a search are found together."""

    def __init__(self, same: Callable[[str], str]) -> None:
        self._same = same
        self.values: list[str] = []
        self.numbers: dict[str, int] = {}
        self._alike: dict[str, list[int]] = {}

    def number(self, value: str) -> int:
        known = self.numbers.get(value)
        if known is None:
            known = self.numbers[value] = len(self.values)
            self.values.append(value)
            self._alike.setdefault(self._same(value), []).append(known)
        return known

    def alike(self, value: str) -> list[int]:
        return self._alike.get(value, [])


class Sets:
    """A field with few different sets of values: each row has the number of its set.

    Sets come as they are stored, and are only `read` where they are new.
    """

    def __init__(self, same: Callable[[str], str], read: Callable[[Stored], tuple[str, ...]]) -> None:
        self.words = Words(same)
        self._read = read
        self._sets: dict[Stored, int] = {}
        self._nothing: list[int] = []             # sets that are empty
        self._containing: list[list[int]] = []    # by value, the sets it is in
        self._members: list[int] = []             # values of all sets, one after the other, and of which set each is
        self._member_of: list[int] = []
        self._flat: tuple[Counts, Counts] = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._rows: npt.NDArray[np.int32] = np.zeros(0, np.int32)

    def put(self, rows: Rows, values: Sequence[Stored], room: int) -> None:
        """Set the values of rows; masks have the size of `room`."""
        self._rows = fitted(self._rows, room)
        known = self._sets.get
        numbers = [known(each) for each in values]
        self._rows[rows] = [self._number(values[place]) if number is None else number for place, number in enumerate(numbers)]
        if len(self._flat[0]) != len(self._members):
            self._flat = np.array(self._members, np.int64), np.array(self._member_of, np.int64)

    def _number(self, stored: Stored) -> int:
        if stored in self._sets:
            return self._sets[stored]
        number = self._sets[stored] = len(self._sets)
        values = dict.fromkeys(self._read(stored))
        for value in values:
            member = self.words.number(value)
            self._members.append(member)
            self._member_of.append(number)
            if member == len(self._containing):
                self._containing.append([])
            self._containing[member].append(number)
        self._nothing += [] if values else [number]
        return number

    def having(self, rows: Some, values: Iterable[str], *, all_of: bool) -> Some:
        """Those rows that have any of the values, or all."""
        masks = [self._with(value) for value in values]
        mask = np.logical_and.reduce(masks) if all_of else np.logical_or.reduce(masks)
        return self._where(rows, mask)

    def empty(self, rows: Some, *, wanted: bool) -> Some:
        """Those rows that have no value, or have one."""
        mask = np.full(len(self._sets), not wanted)
        mask[self._nothing] = wanted
        return self._where(rows, mask)

    def _with(self, value: str) -> Mask:
        mask = np.zeros(len(self._sets), np.bool_)
        for number in self.words.alike(value):
            mask[self._containing[number]] = True
        return mask

    def _where(self, rows: Some, mask: Mask) -> Some:
        return kept(rows, self._rows, lambda sets: mask[sets])

    def count(self, rows: Some) -> Counts:
        """How many rows have each value."""
        of_sets = np.bincount(self._rows[rows], minlength=len(self._sets))
        values, sets = self._flat
        return np.bincount(values, weights=of_sets[sets], minlength=len(self.words.values)).astype(np.int64)

    def bytes(self) -> int:
        return self._rows.nbytes + sum(each.nbytes for each in self._flat)


class Lists:
    """A field where nearly each row has a set of values of its own: all lists in one pool, a new one at its end."""

    def __init__(self, same: Callable[[str], str]) -> None:
        self.words = Words(same)
        self._first: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._many: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._pool: npt.NDArray[np.int32] = np.zeros(0, np.int32)   # values
        self._owner: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # of which row; 0, that no row has, where it is out of use
        self._used = self._unused = 0

    def put(self, rows: Rows, values: Sequence[tuple[str, ...]], room: int) -> None:
        """Set the values of rows, each row once; masks have the size of `room`."""
        self._first, self._many = fitted(self._first, room), fitted(self._many, room)
        self._drop(rows)
        known = self.words.numbers.get
        many = np.fromiter(map(len, values), np.int32, len(values))
        flat = [value for each in values for value in each]
        numbers = [known(value) for value in flat]
        end = self._used + len(flat)
        self._pool, self._owner = grown(self._pool, end), grown(self._owner, end)
        self._pool[self._used : end] = [self.words.number(flat[at]) if number is None else number for at, number in enumerate(numbers)]
        self._owner[self._used : end] = np.repeat(rows, many)
        self._first[rows], self._many[rows] = self._used + np.cumsum(many) - many, many
        self._used = end

    def _drop(self, rows: Rows) -> None:
        old = self._places(rows)
        self._owner[old] = 0
        self._many[rows] = 0
        self._unused += len(old)
        if self._unused * GARBAGE > self._used > 1024:
            kept = np.flatnonzero(self._owner[: self._used])
            self._pool, self._owner = self._pool[kept], self._owner[kept]
            self._used, self._unused = len(kept), 0
            starts = np.flatnonzero(np.diff(self._owner, prepend=0))
            self._first[self._owner[starts]] = starts

    def _places(self, rows: Rows) -> Counts:
        """Where in the pool the values of these rows are."""
        many = self._many[rows].astype(np.int64)
        ends = np.cumsum(many)
        return np.repeat(self._first[rows] - ends + many, many) + np.arange(ends[-1] if len(ends) else 0)

    def having(self, rows: Some, values: Iterable[str]) -> Some:
        """Those rows that have all of the values."""
        for value in values:
            mask = np.zeros(len(self._many), np.bool_)
            if value in self.words.numbers:
                mask[self._owner[: self._used][self._pool[: self._used] == self.words.numbers[value]]] = True
            rows = kept(rows, mask, lambda yes: yes)
        return rows

    def count(self, rows: Some) -> Counts:
        """How many rows have each value."""
        if is_mask(rows):
            found = np.compress(np.take(rows, self._owner[: self._used]), self._pool[: self._used])
        else:
            found = self._pool[self._places(as_rows(rows))]
        return np.bincount(found, minlength=len(self.words.values))

    def bytes(self) -> int:
        return sum(each.nbytes for each in (self._first, self._many, self._pool, self._owner))
