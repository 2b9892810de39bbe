"""`embconv inspect --model`: an embedding among the words of a checkpoint, as JSON and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from embconv.converters.display import printable
from embconv.converters.hashes import hashes
from embconv.converters.inspect import Report, report
from embconv.converters.read import examine
from embconv.converters.source import Source

from .validate_with import parted

if TYPE_CHECKING:
    from embconv.registry.validation.neighbours import EncoderWords, NearWords, VectorWords
    from embconv.registry.validation.token_tables import Vocabularies


def vocabularies(texts: Sequence[str]) -> list[Vocabularies]:
    """What `--model [BASE=]PATH` names. BadCheckpoint, PickleCheckpoint."""
    from embconv.registry.validation.token_tables import vocabularies_of

    found: dict[str, Vocabularies] = {}
    for text in texts:
        base, path = parted(text)
        model = vocabularies_of(path)
        if base not in {"", model.base}:
            raise click.UsageError(f"{path!r} is a checkpoint for {model.base}, not for {base}.")
        if model.base in found:
            raise click.UsageError(f"Two models are given for {model.base}: {found[model.base].path!r} and {path!r}.")
        found[model.base] = model
    return list(found.values())


def compared(path: str, models: Sequence[Vocabularies]) -> tuple[Report, list[NearWords]]:
    """The report on a file, and each of its embeddings among words."""
    from embconv.registry.validation.neighbours import neighbours

    with Source(path) as file:
        reading = examine(file)
        made = report(reading, file.size, hashes(file))
    pairs = zip(reading.embeddings, made.embeddings, strict=True)
    return made, [neighbours(embedding, said.base, models) for embedding, said in pairs]


def with_words(made: Report, near: Sequence[NearWords]) -> dict[str, Any]:
    """The report as JSON has it, with `words` in each embedding."""
    document: dict[str, Any] = msgspec.to_builtins(made)
    for embedding, found in zip(document["embeddings"], near, strict=True):
        embedding["words"] = msgspec.to_builtins(found)
    return document


def near_lines(near: NearWords) -> list[str]:
    """An embedding among words, for people."""
    if near.because is not None:
        return [f"  words      no model fits: {printable(near.because, 600)}"]
    lines = []
    for key, encoder in near.encoders.items():
        lines.append(f"  words      {key} of {near.base}: {many(encoder)}")
        lines += [f"  {f'{key} {place}':<10} {said(vector)}" for place, vector in enumerate(encoder.vectors, 1)]
    return lines


def many(encoder: EncoderWords) -> str:
    """How many words a vocabulary has, and how long they are."""
    norm = encoder.norm
    return f"{encoder.vocabulary:,} words, lengths {norm.min:.3g} to {norm.max:.3g}, median {norm.median:.3g}"


def said(vector: VectorWords) -> str:
    """One vector among words."""
    if vector.norm is None or vector.percentile is None:
        return "is not finite"
    if not vector.nearest:
        return "is zero, near to no word"
    words = ", ".join(f'"{printable(word)}" {cosine:.2f}' for word, cosine in vector.nearest)
    return f"{words}; length {vector.norm:.3g}, {vector.percentile:.0f} % of the words are shorter"
