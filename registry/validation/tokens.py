"""Prompts as rows of 77 tokens, with places held for the vectors of an embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .prompts import BREAK, Piece

MOST = 75  # tokens of a chunk between its first and its last; an embedding is never split
WINDOW = MOST + 2
HELD = 0  # the id that stands where a vector goes: any but EOS, A1111 sd_hijack_clip.py, tokenize_line: the same


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


def lay(pieces: Iterable[Piece], read: Callable[[str], list[int]], vectors: int, tokenizer: Any) -> list[Chunk]:
    """The chunks of a prompt, at least one. `vectors` of the embedding, 0 where this encoder has none: then it takes no place."""
    rows: list[list[tuple[int, float, int | None]]] = [[]]
    for piece in pieces:
        if piece is BREAK:
            rows.append([])
        elif piece.text is None:
            if len(rows[-1]) + vectors > MOST:
                rows.append([])
            rows[-1] += [(HELD, piece.weight, row) for row in range(vectors)]
        else:
            for token in read(piece.text):
                if len(rows[-1]) == MOST:
                    rows.append([])
                rows[-1].append((token, piece.weight, None))
    return [_chunk(row, tokenizer) for row in rows]


def empty(tokenizer: Any) -> Chunk:
    """The chunk of the empty prompt."""
    return _chunk([], tokenizer)


def _chunk(row: list[tuple[int, float, int | None]], tokenizer: Any) -> Chunk:
    """With first, last and the padding: CLIP-L is padded with its last, the others with "!", as their tokenizers say."""
    first, last, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    after = MOST - len(row)
    ids = (first, *(token for token, _, _ in row), last, *[last if pad is None else pad] * after)
    weights = (1.0, *(weight for _, weight, _ in row), 1.0, *[1.0] * after)
    return Chunk(ids, weights, {place: vector for place, (_, _, vector) in enumerate(row, 1) if vector is not None})
