"""Embeddings bundled in a LoRA file: tensors called `bundle_emb.<name>.<rest>`.

Source: A1111 commit 2aa485b5 (extensions-builtin/Lora/networks.py); OneTrainer; HCP-Diffusion pack_to_bundle_lora.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..model import Contents, Embedding, Names, Outline, TensorInfo
from .layout import Layout, is_plain, is_vectors, place

PREFIX = "bundle_emb."


def bundles(outline: Outline) -> dict[str, dict[str, TensorInfo]]:
    """Name -> rest -> tensor; A1111 splits once after the prefix, so a name has no dot and the rest may have some."""
    found: dict[str, dict[str, TensorInfo]] = {}
    for key, node in outline.root.items() if isinstance(outline.root, dict) else ():
        if isinstance(key, str) and key.startswith(PREFIX) and is_vectors(node):
            name, _, rest = key[len(PREFIX) :].partition(".")
            found.setdefault(name, {})[rest.removeprefix("string_to_param.") if rest != "string_to_param.*" else "*"] = node
    return found


def detect(outline: Outline) -> bool:
    """A state dict, flat as a LoRA's is, with at least one such tensor."""
    return bool(bundles(outline)) and all(isinstance(node, TensorInfo) or is_plain(node) for node in outline.root.values())


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each name."""
    found = []
    for name, infos in bundles(contents.outline).items():
        names = Names(key=name, inner_name=name, archive_root=contents.outline.archive_root)
        embedding = Embedding(names=names, layout="bundle_emb", **place(contents, infos))
        found.append(embedding if len(infos) > 1 else replace(embedding, keys={}))
    return found


LAYOUT = Layout(
    name="bundle_emb",
    title="bundled in a LoRA file",
    written_by="OneTrainer, HCP-Diffusion",
    keys="bundle_emb.<name>.string_to_param.* / .clip_l / .clip_g / ...",
    detect=detect,
    normalise=normalise,
)
