"""Vectors against a text encoder's vocabulary: the words whose direction is nearest, and how long the vectors are among words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from embconv.converters.display import printable

from .letters import END_OF_WORD, byte_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 4096  # rows of the table that are looked at together: 21 MB of CLIP-G's in float32
SPARE = 8  # rows beyond those wanted whose cosines are computed again in float64, since float32 may order them wrongly
MARK = re.compile(r"<\|.+\|>")  # <|startoftext|> and its kin are no words


def nearest(vectors: NDArray[Any], table: NDArray[Any], tokens: Sequence[str], top: int = 8) -> list[list[tuple[str, float]]]:
    """For each vector (n, width) the `top` words of `table` (v, width) and their cosines, the nearest first; `tokens` names its rows.

    Marks, rows without a name and rows of zeros are no words. A vector that has no direction, or is not finite, has none near it.
    """
    rows, sizes = vectors.astype(np.float64), lengths(vectors)
    good = np.isfinite(sizes) & (sizes > 0)
    unit = np.divide(rows, sizes[:, None], out=np.zeros_like(rows), where=good[:, None])
    near, words = similar(unit, table, tokens)
    kept = min(top + SPARE, words)
    return [ranked(row, table, tokens, np.argpartition(-each, kept - 1)[:kept], top) if fine and kept else []
            for row, each, fine in zip(unit, near, good, strict=True)]  # fmt: skip


def similar(unit: NDArray[Any], table: NDArray[Any], tokens: Sequence[str]) -> tuple[NDArray[np.float32], int]:
    """The cosine of each vector of length 1 with each row, as float32 has it, minus infinity where that is no word; and how many are."""
    found = np.zeros((len(unit), len(table)), np.float32)
    plain = unit.astype(np.float32)
    sizes = np.zeros(len(table))
    for start, block, some in blocks(table):
        place = slice(start, start + len(block))
        sizes[place] = some
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite are no words
            found[:, place] = plain @ block.T / np.where(some > 0, some, 1)
    words = countable(sizes, tokens)
    found[:, ~words] = -np.inf
    return found, int(words.sum())


def ranked(row: NDArray[Any], table: NDArray[Any], tokens: Sequence[str], places: NDArray[Any], top: int) -> list[tuple[str, float]]:
    """Some rows of the table in the order of their cosines, computed exactly; of equals that with the lower id first."""
    there = table[places].astype(np.float64)
    exact = np.clip(there @ row / np.linalg.norm(there, axis=1), -1.0, 1.0)
    order = np.lexsort((places, -exact))[:top]
    return [(readable(tokens[places[each]]), float(exact[each])) for each in order]


def countable(sizes: NDArray[np.float64], tokens: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows are words, by their lengths and names."""
    named = np.zeros(len(sizes), np.bool_)
    named[: len(tokens)] = [spoken(token) for token in tokens[: len(sizes)]]
    return named & np.isfinite(sizes) & (sizes > 0)


def lengths(table: NDArray[Any]) -> NDArray[np.float64]:
    """The Euclidean length of each row."""
    return np.concatenate([np.zeros(0), *(sizes for _, _, sizes in blocks(table))])


def blocks(table: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float64]]]:
    """A table in pieces: where each begins, its rows, and their lengths."""
    for start in range(0, len(table), BLOCK):
        block = table[start : start + BLOCK].astype(np.float32)
        yield start, block, np.linalg.norm(block.astype(np.float64), axis=1)


def percentile_of(lengths: Sequence[float] | NDArray[Any], table_lengths: Sequence[float] | NDArray[Any]) -> list[float]:
    """How many in a hundred words are shorter than each of `lengths`; words of the same length count half."""
    known = np.sort(np.asarray(table_lengths, np.float64))
    asked = np.asarray(lengths, np.float64)
    if not len(known):
        return [float("nan")] * len(asked)
    middle = (np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")) / 2
    return [float(each) for each in np.where(np.isnan(asked), np.nan, 100 * middle / len(known))]


def spoken(token: str) -> bool:
    """Is it a word, or part of one, and no mark?"""
    return bool(token) and not MARK.fullmatch(token)


@cache
def readable(token: str) -> str:
    """A token as people read it; one with which words only begin, or go on, has a "-" at its end. What cannot be shown is escaped."""
    stem = token.removesuffix(END_OF_WORD)
    known = [byte_of(letter) for letter in stem]
    text = stem if None in known else bytes(byte for byte in known if byte is not None).decode("utf-8", "backslashreplace")
    return printable(text if stem != token else f"{text}-")
