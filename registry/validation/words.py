"""Which words an embedding is near to: cosines with every row of the text encoders' own vocabularies.

The measure of embedding-inspector. Trained vectors are seldom near to any word; cosines below 0.3 are usual and mean just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .encoders import inner
from .nearness import lengths, percentile_of, readable, spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .parts import Floats, Model, TextEncoder

Near = dict[str, list[list[tuple[str, float]]]]

SAME = 0.999     # cosine of a copy
SAME_LENGTH = 0.01


@dataclass(frozen=True)
class Table:
    """An encoder's vocabulary without its marks and without rows of zeros: tokens, unit vectors (v, width) and lengths (v,)."""

    tokens: tuple[str, ...]
    units: torch.Tensor
    lengths: torch.Tensor


def table_of(model: Model, encoder: TextEncoder) -> Table:
    """That of an encoder, kept with the model."""
    key = ("table", encoder.key)
    if key not in model.kept:
        weight = inner(encoder).embeddings.token_embedding.weight.detach().float()
        vocabulary = encoder.tokenizer.get_vocab()
        sizes = weight.norm(dim=1)
        rows = [(row, token) for token, row in vocabulary.items() if spoken(token) and row < len(sizes) and bool(sizes[row])]
        rows.sort()
        places = torch.tensor([row for row, _ in rows], device=weight.device)
        units = weight[places] / sizes[places, None]
        model.kept[key] = Table(tuple(token for _, token in rows), units, sizes[places])
    found: Table = model.kept[key]
    return found


def nearest(model: Model, vectors: Mapping[str, Floats], top: int = 8) -> Near:
    """Encoder -> for each vector the `top` nearest words with their cosines, the nearest first. A vector of zeros is near to none."""
    return {encoder.key: [[(readable(token), round(cosine, 4)) for token, cosine in each] for each in
                          ranked(table_of(model, encoder), vectors[encoder.key], top)]
            for encoder in model.encoders if encoder.key in vectors}  # fmt: skip


@torch.inference_mode()
def ranked(table: Table, vectors: Floats, top: int) -> list[list[tuple[str, float]]]:
    """For each vector the tokens nearest to it. The lengths are float64's: in float32 the square of a very long one is infinite."""
    sizes = lengths(vectors)[:, None]
    units = np.divide(vectors.astype(np.float64), sizes, out=np.zeros(vectors.shape), where=sizes > 0)
    cosines = torch.tensor(units, dtype=torch.float32, device=table.units.device) @ table.units.T
    values, places = cosines.topk(min(top, len(table.tokens)), dim=1)
    return [[(table.tokens[place], value) for place, value in zip(some, near, strict=True)] if size else []
            for some, near, (size,) in zip(places.tolist(), values.tolist(), sizes.tolist(), strict=True)]  # fmt: skip


def among_words(model: Model, vectors: Mapping[str, Floats]) -> dict[str, list[float]]:
    """Encoder -> the length of each vector as a percentile among those of the words, 0 to 100."""
    return {
        encoder.key: percentile_of(lengths(vectors[encoder.key]), table_of(model, encoder).lengths.cpu().numpy())
        for encoder in model.encoders if encoder.key in vectors
    }  # fmt: skip


def untrained_copy(model: Model, vectors: Mapping[str, Floats]) -> str | None:
    """The words whose vectors these are, where every vector of every encoder is a word's own: what nobody has trained."""
    said: dict[str, str] = {}
    for encoder in model.encoders:
        if encoder.key not in vectors:
            continue
        words = [copied(table_of(model, encoder), row) for row in vectors[encoder.key]]
        if not words or not all(words):
            return None
        said[encoder.key] = " ".join(word for word in words if word)
    return next(iter(said.values()), None)


def copied(table: Table, row: Floats) -> str | None:
    """The word that a vector is."""
    (near,) = ranked(table, row[None], 1)
    if not near or near[0][1] < SAME:
        return None
    own: Any = table.lengths[table.tokens.index(near[0][0])]
    (size,) = lengths(row[None])
    return readable(near[0][0]) if abs(size - float(own)) <= SAME_LENGTH * float(own) else None
