"""What a layout module offers, and what they share: telling vectors from other nodes and giving them two axes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain, count
from typing import Any

from msgspec import Struct

from ..encoders import BY_KEY, encoder_of
from ..errors import CannotHold
from ..model import FLOATS, Contents, Embedding, Names, Node, Outline, Tensor, TensorInfo

Tree = dict[str, Any]
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class Layout(Struct, frozen=True, kw_only=True):
    """How programs arrange an embedding inside a container.

    `detect` looks at an outline only; `normalise` gives every embedding the file holds, with two-axis vectors.
    `write` gives, for a trigger and a text header, the tree that a container writes; None where nobody should.
    `carries_text` says that the header survives in it whatever the container. `refusal` says why it is not even converted.
    """

    name: str
    title: str
    written_by: str
    keys: str
    detect: Callable[[Outline], bool]
    normalise: Callable[[Contents], list[Embedding]]
    write: Callable[[Embedding, str, dict[str, str]], Tree] | None = None
    carries_text: bool = False
    refusal: str = ""


def is_vectors(node: Node) -> bool:
    """Is this a tensor of vectors: floats on one, two, or three axes of which the first is one?"""
    if not isinstance(node, TensorInfo) or node.dtype not in FLOATS or 0 in node.shape:
        return False
    return len(node.shape) in (1, 2) or (len(node.shape) == 3 and node.shape[0] == 1)


def tensors_of(root: Node) -> dict[Any, TensorInfo]:
    """The tensors that stand directly in a dict, under their keys."""
    return {key: node for key, node in root.items() if isinstance(node, TensorInfo)} if isinstance(root, dict) else {}


def vectors_of(root: Node) -> dict[str, TensorInfo]:
    """The dict's tensors if there are any, all of them hold vectors and every other value is plain; else nothing."""
    tensors = tensors_of(root)
    if not tensors or not all([isinstance(key, str) and is_vectors(info) for key, info in tensors.items()]):  # noqa: C419  # half the time
        return {}
    alone = len(tensors) == len(root)
    return tensors if alone or all(is_plain(node) for key, node in root.items() if key not in tensors) else {}


def is_plain(node: Node) -> bool:
    """A value JSON could hold: no tensor, no object."""
    if isinstance(node, dict):
        return all(isinstance(key, (str, int)) and is_plain(value) for key, value in node.items())
    if isinstance(node, (list, tuple)):
        return all(is_plain(value) for value in node)
    return node is None or isinstance(node, (str, int, float, bool))


def fetch(contents: Contents, info: TensorInfo) -> Tensor:
    """The tensor with exactly two axes: (d,) gains one, (1, n, d) loses one."""
    tensor = contents.fetch(info)
    shape = tensor.shape if len(tensor.shape) > 1 else (1, *tensor.shape)
    return Tensor(tensor.dtype, shape[-2:], tensor.data) if shape[-2:] != tensor.shape else tensor


def place(contents: Contents, infos: dict[str, TensorInfo]) -> dict[str, Any]:
    """Vectors under the encoder their width means, `*_out` apart, and the key each had: fields of an Embedding."""
    tensors = {key: fetch(contents, info) for key, info in infos.items()}
    ends = {key: key.removesuffix("_out") for key in tensors if is_output(key)}
    vectors, outputs = homes({key: key for key in tensors if key not in ends}, tensors), homes(ends, tensors) if ends else {}
    return {
        "vectors": {home: tensors[key] for key, home in vectors.items()},
        "output_vectors": {home: tensors[key] for key, home in outputs.items()},
        "keys": {home: key for key, home in vectors.items()} | {f"{home}_out": key for key, home in outputs.items()},
    }


def is_output(key: str) -> bool:
    """Is it OneTrainer's key of an output vector, and no token that only ends so?"""
    return key.endswith("_out") and (key.removesuffix("_out") in BY_KEY or key == "emp_params_out")


def homes(keys: dict[str, str], tensors: dict[str, Tensor]) -> dict[str, str]:
    """Each key of a file and the encoder its vectors are for.

    Where two would meet at one encoder, the one called so has it; the other keeps its own key, for a check to complain about.
    """
    if len(keys) <= 1:
        return {key: encoder_of(bare, tensors[key].shape[1])[0] for key, bare in keys.items()}
    wanted = {key: encoder_of(bare, tensors[key].shape[1]) for key, bare in keys.items()}
    found: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: (wanted[key][0] != keys[key], not wanted[key][1])):
        free = chain((wanted[key][0], keys[key]), (f"{keys[key]}_{number}" for number in count(2)))
        found[key] = next(name for name in free if name not in found.values())
    return {key: found[key] for key in keys}


def leftovers(root: Node, used: tuple[str, ...] = ()) -> dict[str, str]:
    """Every plain value of the dict that no field holds, as JSON, as ai-toolkit writes such values."""
    return {str(key): as_text(node) for key, node in root.items() if key not in used and not isinstance(node, TensorInfo)}


def as_text(node: Node) -> str:
    """A plain value as JSON."""
    return _ENCODER.encode(node)


def single(contents: Contents, key: str, layout: str) -> list[Embedding]:
    """The one embedding of a dict of vectors, called by `key`."""
    infos = vectors_of(contents.outline.root)
    names = Names(key=key, archive_root=contents.outline.archive_root)
    return [Embedding(names=names, metadata=_metadata(contents), layout=layout, **place(contents, infos))]


def _metadata(contents: Contents) -> dict[str, str]:
    return {**contents.outline.metadata, **leftovers(contents.outline.root)}


def only_vectors(embedding: Embedding, layout: str) -> Tensor:
    """The vectors of an embedding with one encoder and nothing else, or CannotHold."""
    if len(embedding.vectors) != 1:
        given = " and ".join(embedding.vectors)
        says = f"The {layout} layout holds vectors of one text encoder; this embedding has {given}."
        raise CannotHold(says, "Use the per_encoder layout.")
    return next(iter(embedding.vectors.values()))


ENCODER_KEYS = frozenset(BY_KEY) - {"emb", "emb2", "text_encoders_0", "text_encoders_1"}
