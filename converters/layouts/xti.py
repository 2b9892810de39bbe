"""kohya's extended textual inversion: sixteen tensors, one for each cross-attention layer of the U-Net.

Source: kohya sd-scripts train_textual_inversion_XTI.py. It is named here so that it can be refused with the reason.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Outline
from .layout import Layout, vectors_of

LAYERS = frozenset(
    ["IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID", *(f"OUT{n:02d}" for n in range(3, 12))],
)


def detect(outline: Outline) -> bool:
    """Exactly the sixteen layers."""
    return vectors_of(outline.root).keys() == LAYERS


def normalise(contents: Contents) -> list[Embedding]:
    """Never reached: `refusal` stops it."""
    return []


LAYOUT = Layout(
    name="xti",
    title="extended textual inversion (XTI)",
    written_by="kohya sd-scripts train_textual_inversion_XTI.py",
    keys="IN01 ... MID ... OUT11",
    detect=detect,
    normalise=normalise,
    refusal="other vectors for each of 16 U-Net layers, which no ordinary embedding can hold; only kohya's gen_img scripts read it",
)
