"""AUTOMATIC1111's dictionary: `string_to_token`, `string_to_param`, `name`, `step`, `sd_checkpoint`, `sd_checkpoint_name`.

Also HCP-Diffusion's subset of it, early OneTrainer's and ai-toolkit's variants, and the JSON inside A1111's images.
Source: A1111 modules/textual_inversion/textual_inversion.py, Embedding.save.
"""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import UNSET

from ..model import Contents, Embedding, Names, Node, Outline, TensorInfo, Training
from .layout import Layout, Tree, as_text, is_plain, is_vectors, leftovers, only_vectors, place

PARAM, TOKEN = "string_to_param", "string_to_token"
TRAINING = ("step", "sd_checkpoint", "sd_checkpoint_name")
SAID = "embconv.said"  # one of the text header's keys (provenance.py)
EXTRA = "embconv"  # our own text header inside the dictionary; every reader of it looks up the keys it knows


def detect(outline: Outline) -> bool:
    """A dict of vectors under `string_to_param`, whatever else there is."""
    root = outline.root
    if not isinstance(root, dict) or not isinstance(root.get(PARAM), dict) or not root[PARAM]:
        return False
    return all([isinstance(key, str) and is_vectors(node) for key, node in root[PARAM].items()])  # noqa: C419  # half the time


def normalise(contents: Contents) -> list[Embedding]:
    """One embedding for each placeholder; a file of A1111 itself has exactly one, `*`."""
    root = contents.outline.root
    shared = shared_fields(contents, root)
    others = {key: root[PARAM].keys() - {key} for key in root[PARAM]}
    return [one(contents, key, info, tokens_of(root.get(TOKEN), others[key]), shared) for key, info in root[PARAM].items()]


def tokens_of(tokens: Node, others: AbstractSet[str]) -> Node:
    """The token map without the entries of the file's other placeholders."""
    return {name: token for name, token in tokens.items() if name not in others} if isinstance(tokens, dict) else None


def shared_fields(contents: Contents, root: dict[str, Any]) -> dict[str, Any]:
    """What all embeddings of the file have in common; a value no field took for its own stays as text."""
    extra = root.get(EXTRA)
    extra = extra if isinstance(extra, dict) else {}
    told = {key: value for key, value in extra.items() if isinstance(key, str) and isinstance(value, str)}
    name, training = root.get("name"), training_of(root)
    used = (PARAM, TOKEN, EXTRA, *(key for key in TRAINING if getattr(training, key, UNSET) is not UNSET))
    used = (*used, "name") if is_text(name) else used
    plain = {key: node for key, node in root.items() if key not in used and is_plain(node)}
    return {
        "name": name if isinstance(name, str) else None,
        "training": training,
        "metadata": {**contents.outline.metadata, **leftovers(plain), **told},
    }


def training_of(root: dict[str, Any]) -> Training | None:
    """A1111's account of the training; a value of another kind is not taken for one."""
    kinds = {"step": is_step, "sd_checkpoint": is_text, "sd_checkpoint_name": is_text}
    found = {key: root[key] if key in root and kinds[key](root[key]) else UNSET for key in TRAINING}
    return None if all(value is UNSET for value in found.values()) else Training(**found)


def is_step(value: Node) -> bool:
    """A count of steps that any program could have made."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63)


def is_text(value: Node) -> bool:
    """Text, or nothing said."""
    return value is None or isinstance(value, str)


def one(contents: Contents, key: str, info: TensorInfo, tokens: Node, shared: dict[str, Any]) -> Embedding:
    """The embedding of one placeholder."""
    placed = place(contents, {key: info})
    names = Names(inner_name=shared["name"], key=key, archive_root=contents.outline.archive_root)
    metadata = dict(shared["metadata"])
    if isinstance(tokens, dict):
        metadata[TOKEN] = as_text({name: token_id(contents, token) for name, token in tokens.items()})
    return Embedding(names=names, training=shared["training"], metadata=metadata, layout="a1111", **{**placed, "keys": {}})


def token_id(contents: Contents, token: Node) -> int | None:
    """A placeholder's token id, which the original code keeps in a 0-d tensor."""
    if isinstance(token, TensorInfo) and token.dtype.startswith("I") and token.shape in ((), (1,)):
        return int.from_bytes(contents.fetch(token).data, "little", signed=True)
    return token if isinstance(token, int) else None


def write(embedding: Embedding, trigger: str, text: dict[str, str]) -> Tree:
    """The dictionary in A1111's own order; what else the embedding says stands under `embconv`."""
    vectors = only_vectors(embedding, "a1111")
    told = {TOKEN, *({"name", "format", *TRAINING} - embedding.metadata.keys())}
    extra = {key: value for key, value in text.items() if key not in told}
    tree: Tree = {
        TOKEN: {"*": token_of(embedding.metadata.get(TOKEN, ""), embedding.names.key)},
        PARAM: {"*": vectors},
        "name": embedding.names.inner_name or trigger,
        **training_fields(embedding.training),
    }
    said = said_by(embedding)
    if said != {key: as_text(tree[key]) for key in (TOKEN, "name", *TRAINING)}:
        extra[SAID] = as_text(said)
    return {**tree, EXTRA: extra} if extra else tree


def called(tree: Tree, embedding: Embedding, trigger: str) -> Tree:
    """The dictionary for an image, which A1111 calls by the name inside and not by its file; the source's own name is kept aside."""
    if tree["name"] == trigger:
        return tree
    return {**tree, "name": trigger, EXTRA: {**tree.get(EXTRA, {}), SAID: as_text(said_by(embedding))}}


def said_by(embedding: Embedding) -> dict[str, str]:
    """What the source itself said in A1111's fields, each as JSON; the dictionary that is written has to say something in all."""
    told: Tree = {} if embedding.names.inner_name is None else {"name": embedding.names.inner_name}
    training = embedding.training
    told |= {key: value for key in TRAINING if (value := getattr(training, key, UNSET)) is not UNSET}
    tokens = embedding.metadata.get(TOKEN)
    return {**({} if tokens is None else {TOKEN: tokens}), **{key: as_text(value) for key, value in told.items()}}


def token_of(text: str, key: str | None) -> int:
    """The token id that the text of a `string_to_token` says of `key`, else of its first, else that of `*`, which A1111 writes."""
    try:
        tokens = json.loads(text)
    except (ValueError, RecursionError):
        return 265
    found = tokens.get(key, next(iter(tokens.values()), None)) if isinstance(tokens, dict) else None
    return found if type(found) is int and 0 <= found < 1 << 31 else 265


def training_fields(training: Training | None) -> Tree:
    """The three training keys as A1111 reads them: absent ones become None."""
    facts = {key: getattr(training, key, UNSET) for key in TRAINING}
    return {key: None if value is UNSET else value for key, value in facts.items()}


LAYOUT = Layout(
    name="a1111",
    title="A1111 dictionary",
    written_by="A1111 webui",
    keys="string_to_token, string_to_param, name, step, sd_checkpoint, sd_checkpoint_name",
    detect=detect,
    normalise=normalise,
    write=write,
    carries_text=True,
)
