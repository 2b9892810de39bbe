"""Rows of tokens through one text encoder, with vectors put in at its token embedding: the encoder and its tokenizer learn no word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from .engine import Room, spread
from .parts import Model, TextEncoder
from .tokens import WINDOW, Chunk

ROWS = 32  # at a time; always so many but on the CPU, so that no row depends on how many there are


class Row(NamedTuple):
    """A chunk and the vectors that go into it."""

    chunk: Chunk
    vectors: torch.Tensor | None


class Said(NamedTuple):
    """What an encoder says of a row: (77, width), and pooled (projection,), which is empty without a projection."""

    hidden: torch.Tensor
    pooled: torch.Tensor


def inner(encoder: TextEncoder) -> Any:
    """The transformer itself: transformers 5.6 took one layer off CLIPTextModel, not off CLIPTextModelWithProjection."""
    return getattr(encoder.module, "text_model", encoder.module)


def width_of(encoder: TextEncoder) -> int:
    """Numbers in each of its vectors."""
    return int(inner(encoder).embeddings.token_embedding.weight.shape[1])


def most_skipped(model: Model) -> int:
    """The largest `clip_skip` that all encoders of a model have the layers for; the first that they have is their token embedding."""
    layers = min(inner(encoder).config.num_hidden_layers for encoder in model.encoders)
    return int(layers) - (model.base == "sdxl")


@torch.no_grad()
def run(model: Model, encoder: TextEncoder, rows: list[Row], clip_skip: int) -> list[Said]:
    """What the encoder says of rows, ROWS at a time; on the CPU, where padding costs most, in equal parts that are no larger."""
    size, count = model.checkpoint.size, len(rows)
    parts = -(-count // ROWS)
    room = Room(-(-count // parts) if model.device.type == "cpu" else ROWS, model.device, size, size)
    ids = torch.tensor([row.chunk.ids for row in rows], device=model.device)
    table, index = _table(rows, width_of(encoder), model.device)
    normal = inner(encoder).final_layer_norm

    def ask(ids: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        with _injected(encoder, table, index):
            hidden = encoder.module(input_ids=ids, output_hidden_states=True).hidden_states
        # SDXL takes the layer before the last as it is; the others normalise theirs (SD 2's checkpoints come without their last layer)
        embeds = hidden[-2 - clip_skip] if model.base == "sdxl" else normal(hidden[-1 - clip_skip])
        return torch.cat([embeds.flatten(1), _pooled(encoder, ids, normal(hidden[-1]))], dim=1)

    wide = WINDOW * width_of(encoder)
    return [Said(each[:wide].view(WINDOW, -1), each[wide:]) for each in spread(room, ask, ids, index)]


def _pooled(encoder: TextEncoder, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """At the first EOS. transformers pools at the highest id where the configuration says eos_token_id 2, and many published ones do."""
    projection = getattr(encoder.module, "text_projection", None)
    if projection is None:
        return last[:, 0, :0]
    ends = (ids == encoder.tokenizer.eos_token_id).int().argmax(dim=1)
    found = last[torch.arange(len(ids), device=ids.device), ends]
    return torch.cat([projection(row[None]) for row in found])  # one by one: a product of one row has other bits than one of many


def _table(rows: list[Row], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of all rows one below the other, and which of them stands at each token: (rows, 77), 0 for none."""
    given = {id(row.vectors): row.vectors for row in rows if row.vectors is not None}
    first, begins = 1, dict[int, int]()
    for key, vectors in given.items():
        begins[key] = first
        first += len(vectors)
    index = torch.zeros(len(rows), WINDOW, dtype=torch.long)
    for place, row in enumerate(rows):
        for slot, vector in row.chunk.slots.items():
            index[place, slot] = begins[id(row.vectors)] + vector
    return torch.cat([torch.zeros(1, width), *given.values()]).to(device), index.to(device)


@contextmanager
def _injected(encoder: TextEncoder, table: torch.Tensor, index: torch.Tensor) -> Iterator[None]:
    """The encoder with our vectors at their places, before positions are added; afterwards it is as it was."""

    def put(module: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        return torch.where(index.unsqueeze(2) > 0, table[index], made)

    hook = inner(encoder).embeddings.token_embedding.register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()
