"""Replicate's `embeddings.pti`: safetensors with `text_encoders_0` and `text_encoders_1`, one row for each token `<s0><s1>`.

Source: replicate/cog-sdxl dataset_and_utils.py, TokenEmbeddingsHandler.save_embeddings.
"""

from __future__ import annotations

import re

from ..model import Contents, Embedding, Outline
from .layout import Layout, single, vectors_of

KEY = re.compile(r"text_encoders_[0-3]")


def detect(outline: Outline) -> bool:
    """Every tensor is called `text_encoders_N`."""
    keys = vectors_of(outline.root).keys()
    return bool(keys) and all(KEY.fullmatch(key) for key in keys)


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding whose key is its row tokens; `special_params.json` beside it may know a nicer word."""
    rows = max(info.shape[-2] if len(info.shape) > 1 else 1 for info in vectors_of(contents.outline.root).values())
    return single(contents, "".join(f"<s{i}>" for i in range(rows)), "pti")


LAYOUT = Layout(
    name="pti",
    title="Replicate pivotal tuning (.pti)",
    written_by="cog-sdxl trainers on Replicate, early diffusers advanced examples",
    keys="text_encoders_0, text_encoders_1",
    detect=detect,
    normalise=normalise,
)
