"""The form of a file that was read: by it the table of programs says which of them load it."""

from __future__ import annotations

from .containers.calls import IN_PICKLE
from .layouts.a1111 import PARAM, TOKEN
from .layouts.ldm import parameters
from .model import Embedding, Node, Outline, TensorInfo
from .paths import stem_of, suffix_of
from .read import Reading
from .targets import Form


def form_of(reading: Reading, embedding: Embedding) -> Form:
    """All that decides whether a program loads this embedding from this file."""
    root, infos = reading.outline.root, infos_of(reading.outline)
    inner = root.get(PARAM) if isinstance(root, dict) else None
    return Form(
        container=reading.outline.container,
        layout=reading.layout.name,
        suffix=suffix_of(reading.path) if reading.path else "",
        vectors={key: (tensor.shape[0], tensor.shape[1]) for key, tensor in embedding.vectors.items()},
        keys=tuple(str(key) for key in root) if isinstance(root, dict) else (),
        dtype=tuple(dict.fromkeys(info.dtype for info in infos)) or ("F32",),
        ndim=max((len(info.shape) for info in infos), default=2),
        minimal_zip=set(reading.outline.members) == {"data.pkl", "version"},
        has_token_map=isinstance(root, dict) and TOKEN in root,
        inner_placeholder=str(next(iter(inner), "*")) if isinstance(inner, dict) else "*",
        has_name=isinstance(root, dict) and "name" in root,
        stem=stem_of(reading.path) if reading.path else "word",
        embeddings=len(reading.embeddings),
        output_vectors=bool(embedding.output_vectors),
        numpy_carried=any(info.storage.startswith(IN_PICKLE) for info in infos),
    )


def infos_of(outline: Outline) -> list[TensorInfo]:
    """The tensors of vectors that a program would look at: those of the dict, or of its `string_to_param`."""
    root: Node = outline.root
    if isinstance(root, dict) and PARAM in root:
        root = root[PARAM] if isinstance(root[PARAM], dict) else parameters(outline)
    nodes = root.values() if isinstance(root, dict) else root if isinstance(root, (list, tuple)) else [root]
    return [node for node in nodes if isinstance(node, TensorInfo)]
