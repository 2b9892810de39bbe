"""cloneofsimo's safelora: LoRA weights and one-row tokens in one file; the metadata calls a token `<embed>`.

Source: cloneofsimo/lora lora_diffusion/lora.py, save_safeloras_with_embeds.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Names, Outline, TensorInfo
from .diffusers import is_token
from .layout import Layout, is_vectors, place

FLAG = "<embed>"


def tokens(outline: Outline) -> dict[str, TensorInfo]:
    """The tensors that the metadata flags, and whose keys are no other layout's, in the order in which the header names them."""
    if not isinstance(outline.root, dict):
        return {}
    flagged = {key: node for key, node in outline.root.items() if outline.metadata.get(key) == FLAG}
    return {key: node for key, node in flagged.items() if is_vectors(node) and is_token(key)}


def detect(outline: Outline) -> bool:
    """Tensors only, at least one of them flagged, and it is no bundle."""
    flat = bool(tokens(outline)) and all(isinstance(node, TensorInfo) for node in outline.root.values())
    return flat and not any(str(key).startswith("bundle_emb.") for key in outline.root)


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each token; the LoRA's own text stays with the LoRA."""
    return [
        Embedding(names=Names(key=key), layout="safelora", **{**place(contents, {key: info}), "keys": {}})
        for key, info in tokens(contents.outline).items()
    ]


LAYOUT = Layout(
    name="safelora",
    title="tokens inside a cloneofsimo LoRA",
    written_by="cloneofsimo lora_diffusion",
    keys="the tokens, flagged <embed> in the metadata",
    detect=detect,
    normalise=normalise,
)
