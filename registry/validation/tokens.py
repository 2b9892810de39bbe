"""Prompts as rows of 77 tokens, with places held for the vectors of an embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .prompts import BREAK, Piece

MOST = 75  # tokens of a chunk between its first and its last; an embedding is never split
WINDOW = MOST + 2
COMMA = ",</w>"
BACKTRACK = {"a1111": 20, "comfyui": 0}  # style of prompts -> tokens; A1111 shared_options.py, comma_padding_backtrack, its default
HELD = 0  # the id that stands where a vector goes: any but EOS, A1111 sd_hijack_clip.py, tokenize_line: the same

Token = tuple[int, float, int | None]  # an id, its weight, and the row of the embedding that stands there


@dataclass(frozen=True)
class Chunk:
    """One row of a text encoder: ids, the weight of each, and place -> row of the embedding."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    slots: dict[int, int] = field(default_factory=dict)

    @property
    def emphasised(self) -> bool:
        return any(weight != 1.0 for weight in self.weights)


def reader(tokenizer: Any) -> Callable[[str], list[int]]:
    """A function from text to ids, without first and last."""
    known: dict[str, list[int]] = {}

    def read(text: str) -> list[int]:
        if text not in known:
            known[text] = list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
        return known[text]

    return read


def lay(pieces: Iterable[Piece], read: Callable[[str], list[int]], vectors: int, tokenizer: Any, *, backtrack: int = 0) -> list[Chunk]:
    """The chunks of a prompt, at least one. `vectors` of the embedding, 0 where this encoder has none: then it takes no place.

    Where a chunk is full and a comma is among its last `backtrack` tokens, what is behind that goes to the next chunk too.
    """
    comma = tokenizer.convert_tokens_to_ids(COMMA)
    rows = _Rows(backtrack)
    for piece in pieces:
        if piece is BREAK:
            rows.begin()
        elif piece.text is not None:
            for token in read(piece.text):
                rows.put([(token, piece.weight, None)], comma=token == comma)
        elif vectors:
            rows.put([(HELD, piece.weight, row) for row in range(vectors)])
    return [_chunk(row, tokenizer) for row in rows.found()]


class _Rows:
    """Rows that fill up, as those of A1111 sd_hijack_clip.py, tokenize_line, do."""

    def __init__(self, backtrack: int) -> None:
        self._rows: list[list[Token]] = [[]]
        self._backtrack = backtrack
        self._comma: int | None = None  # the place of the last in this row

    def begin(self, moved: Iterable[Token] = ()) -> None:
        """The next row."""
        self._rows.append([*moved])
        self._comma = None

    def put(self, some: list[Token], *, comma: bool = False) -> None:
        """What is never split: a token, or an embedding. One that moves goes as a whole; A1111 leaves its vectors in the padding."""
        row = self._rows[-1]
        if comma:
            self._comma = len(row)
        elif len(row) == MOST and self._comma is not None and MOST - self._comma <= self._backtrack:
            end = self._comma + 1
            self.begin(row[end:])
            del row[end:]
        if len(self._rows[-1]) + len(some) > MOST:
            self.begin()
        self._rows[-1] += some

    def found(self) -> list[list[Token]]:
        """All of them; a last one that is empty is none, unless it is the only one."""
        return self._rows if self._rows[-1] else self._rows[:-1] or [[]]


def empty(tokenizer: Any) -> Chunk:
    """The chunk of the empty prompt."""
    return _chunk([], tokenizer)


def _chunk(row: list[Token], tokenizer: Any) -> Chunk:
    """With first, last and the padding: CLIP-L is padded with its last, the others with "!", as their tokenizers say."""
    first, last, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    after = MOST - len(row)
    ids = (first, *(token for token, _, _ in row), last, *[last if pad is None else pad] * after)
    weights = (1.0, *(weight for _, weight, _ in row), 1.0, *[1.0] * after)
    return Chunk(ids, weights, {place: vector for place, (_, _, vector) in enumerate(row, 1) if vector is not None})
