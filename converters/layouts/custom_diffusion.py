"""Custom Diffusion's `delta.bin`: new tokens beside U-Net weights; and CompVis' form with one unnamed `embed`.

Source: adobe-research/custom-diffusion src/diffusers_training.py and src/convert.py.
"""

from __future__ import annotations

from ..encoders import encoder_of
from ..model import Contents, Embedding, Names, Node, Outline, Tensor, TensorInfo
from ..numbers import rows
from .a1111 import PARAM
from .layout import Layout, fetch, is_vectors


def tokens(root: Node) -> dict[str, TensorInfo]:
    """The tokens that have a name."""
    found = root.get("modifier_token") if isinstance(root, dict) else None
    return {key: node for key, node in found.items() if isinstance(key, str) and is_vectors(node)} if isinstance(found, dict) else {}


def nameless(root: Node) -> TensorInfo | None:
    """The other form's table of tokens."""
    state = root.get("state_dict") if isinstance(root, dict) else None
    node = state.get("embed") if isinstance(state, dict) else None
    return node if isinstance(node, TensorInfo) and is_vectors(node) else None


def detect(outline: Outline) -> bool:
    """At least one token, and nothing of A1111's."""
    root = outline.root
    return (bool(tokens(root)) or nameless(root) is not None) and PARAM not in root


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each token; the U-Net's weights are no part of it."""
    root = contents.outline.root
    found = {key: fetch(contents, info) for key, info in tokens(root).items()} or numbered(contents, nameless(root))
    return [
        Embedding(
            names=Names(key=key, archive_root=contents.outline.archive_root),
            vectors={encoder_of("", tensor.shape[1])[0]: tensor},
            layout="custom_diffusion",
        )
        for key, tensor in found.items()
    ]


def numbered(contents: Contents, info: TensorInfo | None) -> dict[str, Tensor]:
    """Each row is a token, `<new1>` and so on, as src/convert.py calls them (compvis-to-diffuser)."""
    assert info is not None
    table = fetch(contents, info)
    return {f"<new{i}>": Tensor(table.dtype, (1, table.shape[1]), row) for i, row in enumerate(rows(table), 1)}


LAYOUT = Layout(
    name="custom_diffusion",
    title="Custom Diffusion delta",
    written_by="custom-diffusion",
    keys="modifier_token, or state_dict.embed",
    detect=detect,
    normalise=normalise,
)
