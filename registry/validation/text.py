"""Prompts become what the UNet hears, many at once, each with an embedding of its own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch

from . import prompts, tokens
from .emphasis import EMPHASISE
from .encoders import Row, Said, most_skipped, run, width_of
from .parts import Conditioning, Model, TextEncoder
from .tokens import MOST, WINDOW

if TYPE_CHECKING:
    from .emphasis import Emphasise
    from .parts import Floats


class DoesNotFit(ValueError):
    """Vectors that no prompt of this model has room for."""


@dataclass(frozen=True)
class Ask:
    """A prompt and the embedding that stands at its {T}: encoder -> (n, width); without `vectors`, {T} is taken out.

    `weight` is emphasis, as a person types it; `scale` multiplies the vectors themselves, which is another question.
    """

    template: str
    vectors: Mapping[str, Floats] | None = None
    weight: float = 1.0
    scale: float = 1.0


def encode(
    model: Model, asks: Sequence[Ask], *, emphasis: str = "a1111", clip_skip: int = 0, chunks: int | None = None
) -> list[Conditioning]:
    """A conditioning for each, in float32; padded with chunks of the empty prompt to `chunks`, where given.

    `emphasis` is one of verdicts.EMPHASES. `clip_skip` counts as diffusers does: 0 is the layer that the model was trained with.
    """
    if not asks:
        return []
    if not 0 <= clip_skip <= most_skipped(model):
        raise ValueError(f"clip_skip {clip_skip}: 0 to {most_skipped(model)} with this model")
    style, emphasise = EMPHASISE[emphasis]
    laid = {encoder.key: _laid(encoder, asks, style) for encoder in model.encoders}
    counts = [max(chunks or 1, *(len(laid[key][place]) for key in laid)) for place, _ in enumerate(asks)]
    said = {}
    for encoder in model.encoders:
        blank = Row(tokens.empty(encoder.tokenizer), None)
        rows = [row + [blank] * (count - len(row)) for row, count in zip(laid[encoder.key], counts, strict=True)]
        said[encoder.key] = _said(model, encoder, rows, emphasise, clip_skip)
    return [_conditioning(model, {key: (laid[key][place], said[key][place]) for key in said}) for place, _ in enumerate(asks)]


def level(model: Model, conditionings: Sequence[Conditioning], *, clip_skip: int = 0) -> list[Conditioning]:
    """The same with as many chunks each as the longest has: the others get chunks of the empty prompt, as in A1111."""
    most = max((len(each.embeds) for each in conditionings), default=0)
    if all(len(each.embeds) == most for each in conditionings):
        return list(conditionings)
    blank = encode(model, [Ask("")], clip_skip=clip_skip)[0].embeds
    return [_longer(each, blank, most) for each in conditionings]


def _longer(short: Conditioning, blank: torch.Tensor, most: int) -> Conditioning:
    more = (most - len(short.embeds)) // WINDOW
    return Conditioning(torch.cat([short.embeds, *[blank] * more]), short.pooled, short.slots)


def _laid(encoder: TextEncoder, asks: Sequence[Ask], style: str) -> list[list[Row]]:
    read = tokens.reader(encoder.tokenizer)
    parsed: dict[str, tuple[prompts.Piece, ...]] = {}
    given: dict[tuple[int, float], torch.Tensor] = {}
    laid = []
    for ask in asks:
        template = prompts.without(ask.template) if ask.vectors is None else prompts.weighted(ask.template, ask.weight)
        if template not in parsed:
            parsed[template] = prompts.parse(template, style)
        vectors, found = None, (ask.vectors or {}).get(encoder.key)
        if found is not None:
            key = id(found), ask.scale
            vectors = given[key] = given[key] if key in given else _fitting(encoder, found) * ask.scale
        count = 0 if vectors is None else len(vectors)
        chunks = tokens.lay(parsed[template], read, count, encoder.tokenizer, backtrack=tokens.BACKTRACK[style])
        laid.append([Row(chunk, vectors) for chunk in chunks])
    return laid


def _fitting(encoder: TextEncoder, vectors: Floats) -> torch.Tensor:
    width = width_of(encoder)
    if vectors.ndim != 2 or vectors.shape[1] != width or len(vectors) > MOST:
        raise DoesNotFit(f"vectors of shape {vectors.shape} for {encoder.key}, which takes at most {MOST} of width {width}")
    return torch.tensor(vectors, dtype=torch.float32)


def _said(model: Model, encoder: TextEncoder, asked: list[list[Row]], emphasise: Emphasise, clip_skip: int) -> list[list[Said]]:
    """What the encoder says of every row of every prompt. It is asked once for rows that differ in emphasis alone, or not at all."""
    blank = Row(tokens.empty(encoder.tokenizer), None)
    emphasised = any(row.chunk.emphasised for row in chain(*asked))
    different = {_identity(row): row for row in chain(*asked, [blank] * emphasised)}
    said = dict(zip(different, run(model, encoder, list(different.values()), clip_skip), strict=True))

    def heard(row: Row) -> Said:
        plain = said[_identity(row)]
        if not row.chunk.emphasised:
            return plain
        weights = torch.tensor(row.chunk.weights, device=model.device).unsqueeze(1)
        return Said(emphasise(plain.hidden, weights, said[_identity(blank)].hidden), plain.pooled)

    return [[heard(row) for row in each] for each in asked]


def _identity(row: Row) -> Hashable:
    """The same for rows that an encoder cannot tell apart."""
    slots = row.chunk.slots
    return (row.chunk.ids, tuple(slots.items()), id(row.vectors)) if slots else row.chunk.ids


def _conditioning(model: Model, parts: Mapping[str, tuple[list[Row], list[Said]]]) -> Conditioning:
    """Those of all encoders side by side; pooled is that of the first chunk, and nobody emphasises it."""
    embeds = torch.cat([torch.cat([each.hidden for each in said]) for _, said in parts.values()], dim=1)
    pooled = torch.cat([said[0].pooled for _, said in parts.values()]) if model.base == "sdxl" else None
    return Conditioning(embeds, pooled, {key: _places(rows) for key, (rows, _) in parts.items()})


def _places(rows: list[Row]) -> tuple[int, ...]:
    return tuple(WINDOW * at + place for at, row in enumerate(rows) for place in row.chunk.slots)
