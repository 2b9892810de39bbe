"""`emb` for CLIP-L and `emb2` for bigG, without a token.

Source: oss-roettger/XL-Textual-Inversion.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Outline
from .layout import Layout, single, vectors_of


def detect(outline: Outline) -> bool:
    """Just these keys, the second of them optional."""
    keys = vectors_of(outline.root).keys()
    return "emb" in keys and keys <= {"emb", "emb2"}


def normalise(contents: Contents) -> list[Embedding]:
    """The one embedding."""
    return single(contents, "emb", "emb_emb2")


LAYOUT = Layout(
    name="emb_emb2",
    title="emb and emb2",
    written_by="XL-Textual-Inversion notebooks",
    keys="emb, emb2",
    detect=detect,
    normalise=normalise,
)
