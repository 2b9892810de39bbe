"""A list of embeddings, each in a layout of its own: how some notebooks save the progress of a training.

Source: oss-roettger/XL-Textual-Inversion; ComfyUI joins such a list to one embedding (comfy/sd1_clip.py, load_embed).
"""

from __future__ import annotations

from msgspec.structs import replace

from ..limits import EMBEDDINGS
from ..model import Contents, Embedding, Outline
from . import bare_tensor, diffusers, emb_emb2, emb_params, per_encoder
from .layout import Layout

ITEMS = (emb_emb2.LAYOUT, per_encoder.LAYOUT, emb_params.LAYOUT, diffusers.LAYOUT, bare_tensor.LAYOUT)


def detect(outline: Outline) -> bool:
    """Every item is an embedding by itself."""
    root = outline.root
    if not isinstance(root, (list, tuple)) or not 0 < len(root) <= EMBEDDINGS:
        return False
    return all(_layout(outline, place) is not None for place in range(len(root)))


def _layout(outline: Outline, place: int) -> Layout | None:
    item = replace(outline, root=outline.root[place])
    return next((layout for layout in ITEMS if layout.detect(item)), None)


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each step, its place in the list as its key."""
    found: list[Embedding] = []
    for place, node in enumerate(contents.outline.root):
        layout = _layout(contents.outline, place)
        assert layout is not None
        item = replace(contents, outline=replace(contents.outline, root=node))
        found += [_numbered(embedding, place) for embedding in layout.normalise(item)]
    return found


def _numbered(embedding: Embedding, place: int) -> Embedding:
    own = embedding.names.key
    key = f"{own}-{place + 1}" if embedding.layout == "diffusers" else f"step-{place + 1}"
    return replace(embedding, names=replace(embedding.names, key=key), layout="list_of_dicts")


LAYOUT = Layout(
    name="list_of_dicts",
    title="list of training steps",
    written_by="XL-Textual-Inversion notebooks",
    keys="a list of dictionaries or tensors",
    detect=detect,
    normalise=normalise,
)
