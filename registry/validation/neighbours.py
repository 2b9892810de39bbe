"""An embedding among the words of a checkpoint, as a report: the nearest of each vector, and how its length compares. Without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from embconv.converters.numbers import as_float32

from .nearness import lengths, nearest, percentile_of
from .token_tables import Vocabularies, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embconv.converters import Embedding


class VectorWords(Struct, frozen=True, kw_only=True):
    """One vector: its length, how many in a hundred words are shorter, and the words nearest to it with their cosines.

    None, and no words, where it is not finite; no words also where it is zero.
    """

    norm: float | None
    percentile: float | None
    nearest: tuple[tuple[str, float], ...]


class Lengths(Struct, frozen=True, kw_only=True):
    """How long the words of a vocabulary are."""

    min: float
    median: float
    max: float


class EncoderWords(Struct, frozen=True, kw_only=True):
    """The vectors for one text encoder. `vocabulary`: how many words it has; `norm`: their lengths."""

    vocabulary: int
    norm: Lengths
    vectors: tuple[VectorWords, ...]


class NearWords(Struct, frozen=True, kw_only=True):
    """An embedding with the checkpoint that it was compared with; without one, `because` says why."""

    model: str | None
    base: str | None
    because: str | None = None
    encoders: dict[str, EncoderWords] = {}


def neighbours(embedding: Embedding, base: str | None, models: Sequence[Vocabularies]) -> NearWords:
    """With the model of its base; else with the first that has all of its encoders."""
    keys = {key: tensor.shape[-1] for key, tensor in embedding.vectors.items()}
    fitting = (each for each in models if keys.keys() <= each.words.keys())
    model = next((each for each in models if each.base == base), None) or next(fitting, None)
    if model is None:
        return NearWords(model=None, base=None, because=f"It has {widths(keys)}; {'; '.join(map(wants, models))}.")
    vectors = {key: np.frombuffer(as_float32(tensor), "<f4").reshape(tensor.shape) for key, tensor in embedding.vectors.items()}
    found = {key: among(vectors[key], words) for key, words in model.words.items() if key in vectors}
    return NearWords(model=model.path, base=model.base, encoders=found)


def wants(model: Vocabularies) -> str:
    """What a model's encoders take, as a clause."""
    return f"{model.path} ({model.base}) wants {widths({key: words.table.shape[1] for key, words in model.words.items()})}"


def widths(found: dict[str, int]) -> str:
    """Encoders with their widths as a phrase."""
    return " and ".join(f"{key} {width}" for key, width in sorted(found.items())) or "no vectors"


def among(vectors: NDArray[Any], words: Words) -> EncoderWords:
    """The vectors for an encoder among its words."""
    sizes = [float(size) for size in lengths(vectors)]
    near = nearest(vectors, words.table, words.tokens)
    places = percentile_of(sizes, words.lengths)
    rows = zip(sizes, places, near, strict=True)
    low, middle, high = (float(found) for found in np.quantile(words.lengths, (0, 0.5, 1)))
    return EncoderWords(
        vocabulary=len(words.lengths), norm=Lengths(min=low, median=middle, max=high),
        vectors=tuple(of_vector(size, place, some) for size, place, some in rows),
    )  # fmt: skip


def of_vector(size: float, place: float, near: list[tuple[str, float]]) -> VectorWords:
    """One of them; JSON knows neither NaN nor infinity."""
    known = math.isfinite(size)
    return VectorWords(norm=size if known else None, percentile=place if known else None, nearest=tuple(near))
