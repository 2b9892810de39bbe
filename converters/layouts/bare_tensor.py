"""A file whose whole object is one tensor of vectors; nothing in it says what it is called.

Source: oss-roettger/T5-Textual-Inversion.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Names, Outline
from .layout import Layout, is_vectors, place


def detect(outline: Outline) -> bool:
    """The object is the vectors."""
    return is_vectors(outline.root)


def normalise(contents: Contents) -> list[Embedding]:
    """The one embedding, without a key."""
    placed = {**place(contents, {"": contents.outline.root}), "keys": {}}
    names = Names(archive_root=contents.outline.archive_root)
    return [Embedding(names=names, metadata=dict(contents.outline.metadata), layout="bare_tensor", **placed)]


LAYOUT = Layout(
    name="bare_tensor",
    title="bare tensor",
    written_by="T5-Textual-Inversion notebooks, scripts",
    keys="none",
    detect=detect,
    normalise=normalise,
)
