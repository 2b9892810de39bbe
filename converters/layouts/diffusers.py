"""diffusers' `learned_embeds`: the token is the key and its vectors the value; several tokens are several embeddings.

Also EveryDream2, custom-diffusion's `<new1>.bin`, cloneofsimo's `.ti.pt` and the Flax example's npy dictionary.
Source: diffusers examples/textual_inversion/textual_inversion.py, save_progress; loaders/textual_inversion.py.
"""

from __future__ import annotations

import re

from ..model import Contents, Embedding, Names, Outline
from .layout import ENCODER_KEYS, Layout, Tree, leftovers, only_vectors, place, vectors_of

MOST = 64  # tokens in one file
RESERVED = ENCODER_KEYS | {"emb_params", "emp_params", "emp_params_out", "emb", "emb2"} | {f"{key}_out" for key in ENCODER_KEYS}
# What state dicts call their tensors and no token looks like.
NETWORK = re.compile(
    r"\.(weight|bias|alpha|gamma|beta|scale|shift|running_mean|running_var|embeddings?|lora_\w+|position_ids)$"
    r"|lora_|hada_w|lokr_|^bundle_emb\.|^text_encoders_\d$|^(unet|text_encoder):\d|^(IN|OUT)\d\d$|^MID$"
    r"|^(model|first_stage_model|cond_stage_model|text_model|encoder|decoder|control_model)\."
)


def is_token(key: str) -> bool:
    """Could somebody have given this key as a placeholder token?"""
    return 0 < len(key) <= 256 and key not in RESERVED and not NETWORK.search(key)


def detect(outline: Outline) -> bool:
    """A dict of vectors whose keys are all tokens, and which says nothing of `<embed>`."""
    found = vectors_of(outline.root)
    if not 0 < len(found) <= MOST or "<embed>" in outline.metadata.values():
        return False
    return all(is_token(key) for key in found)


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each token."""
    root, outline = contents.outline.root, contents.outline
    metadata = {**outline.metadata, **leftovers(root)}
    return [
        Embedding(
            names=Names(key=key, archive_root=outline.archive_root),
            metadata=metadata,
            layout="diffusers",
            **{**place(contents, {key: info}), "keys": {}},
        )
        for key, info in vectors_of(root).items()
    ]


def write(embedding: Embedding, trigger: str, text: dict[str, str]) -> Tree:
    """The vectors under the token."""
    return {trigger: only_vectors(embedding, "diffusers")}


LAYOUT = Layout(
    name="diffusers",
    title="diffusers learned_embeds",
    written_by="diffusers, EveryDream2, custom-diffusion, the sd-concepts-library",
    keys="the token itself, such as <cat-toy>",
    detect=detect,
    normalise=normalise,
    write=write,
)
