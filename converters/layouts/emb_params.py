"""One tensor called `emb_params`: kohya's SD 1.x and 2.x files and most converters'.

Source: kohya sd-scripts train_textual_inversion.py, save_weights.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Outline
from .layout import Layout, Tree, only_vectors, single, vectors_of


def detect(outline: Outline) -> bool:
    """Exactly one tensor, and that is its key."""
    root = outline.root
    return isinstance(root, dict) and "emb_params" in root and vectors_of(root).keys() == {"emb_params"}


def normalise(contents: Contents) -> list[Embedding]:
    """The one embedding."""
    return single(contents, "emb_params", "emb_params")


def write(embedding: Embedding, trigger: str, text: dict[str, str]) -> Tree:
    """The vectors under `emb_params`."""
    return {"emb_params": only_vectors(embedding, "emb_params")}


LAYOUT = Layout(
    name="emb_params",
    title="single key emb_params",
    written_by="kohya sd-scripts, embedding-merge, ai-toolkit, converters",
    keys="emb_params",
    detect=detect,
    normalise=normalise,
    write=write,
)
