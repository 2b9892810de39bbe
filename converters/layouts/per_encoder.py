"""One tensor for each text encoder: `clip_l`, `clip_g`, `t5` and their like, with OneTrainer's `*_out` beside them.

Source: kohya sd-scripts sdxl_train_textual_inversion.py; OneTrainer modules/modelSaver; ComfyUI comfy/sd1_clip.py for the keys.
"""

from __future__ import annotations

from ..encoders import ENCODERS
from ..model import Contents, Embedding, Outline
from .layout import ENCODER_KEYS, Layout, Tree, single, vectors_of


def detect(outline: Outline) -> bool:
    """Every tensor is called as a text encoder is, with or without `_out`."""
    keys = vectors_of(outline.root).keys()
    return bool(keys) and {key.removesuffix("_out") for key in keys} <= ENCODER_KEYS


def normalise(contents: Contents) -> list[Embedding]:
    """The one embedding, each tensor under the encoder its width means."""
    return single(contents, next(iter(vectors_of(contents.outline.root))), "per_encoder")


def write(embedding: Embedding, trigger: str, text: dict[str, str]) -> Tree:
    """The vectors under ComfyUI's keys, in the order of the encoder table."""
    order = {key: place for place, key in enumerate(ENCODERS)}
    tree: Tree = {key: embedding.vectors[key] for key in sorted(embedding.vectors, key=lambda key: order.get(key, 99))}
    return {**tree, **{f"{key}_out": tensor for key, tensor in embedding.output_vectors.items()}}


LAYOUT = Layout(
    name="per_encoder",
    title="one key per text encoder",
    written_by="kohya sd-scripts (SDXL), OneTrainer, ai-toolkit, diffusers' advanced examples, embedding-merge",
    keys="clip_l, clip_g, t5 / t5xxl, llama, gemma, ... and *_out",
    detect=detect,
    normalise=normalise,
    write=write,
)
