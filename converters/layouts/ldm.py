"""The original `embeddings.pt` of rinongal's textual inversion: a pickled ParameterDict, sometimes with numpy inside.

Source: rinongal/textual_inversion ldm/modules/embedding_manager.py, EmbeddingManager.save.
"""

from __future__ import annotations

from typing import Any

from ..model import Contents, Embedding, Module, Node, Outline, Tensor
from .a1111 import PARAM, TOKEN, one, shared_fields, tokens_of
from .layout import Layout, is_vectors

PARAMETER_DICT = "torch.nn.modules.container.ParameterDict"


def parameters(outline: Outline) -> dict[Any, Any]:
    """The ParameterDict's vectors: always at `_parameters` of its state, in every torch since 1.6."""
    if not isinstance(outline.root, dict):
        return {}
    node: Node = outline.root.get(PARAM)
    if not isinstance(node, Module) or node.cls != PARAMETER_DICT or not isinstance(node.state, dict):
        return {}
    found = node.state.get("_parameters")
    return found if isinstance(found, dict) else {}


def detect(outline: Outline) -> bool:
    """A ParameterDict of vectors under `string_to_param`."""
    found = parameters(outline)
    return bool(found) and all(isinstance(key, str) and is_vectors(node) for key, node in found.items())


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each placeholder. 1280 wide is LDM's BERT here, not bigG: this program never knew SDXL."""
    root = contents.outline.root
    shared = shared_fields(contents, root)
    found_at = parameters(contents.outline)
    found = [one(contents, key, info, tokens_of(root.get(TOKEN), found_at.keys() - {key}), shared) for key, info in found_at.items()]
    return [_as_ldm(embedding) for embedding in found]


def _as_ldm(embedding: Embedding) -> Embedding:
    from msgspec.structs import replace

    vectors: dict[str, Tensor] = {"ldm_bert" if key == "clip_g" else key: t for key, t in embedding.vectors.items()}
    return replace(embedding, vectors=vectors, layout="ldm")


LAYOUT = Layout(
    name="ldm",
    title="ParameterDict of the original code",
    written_by="rinongal textual_inversion, InvokeAI 1.x and 2.x, Dreambooth-SD",
    keys="string_to_token, string_to_param (a ParameterDict)",
    detect=detect,
    normalise=normalise,
)
