"""The values that flow through the converters: facts without behaviour.

Those with `gc=False` hold nothing that could lead back to them, so that the garbage collector need not look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType

SIZES = {  # bytes of one number, by safetensors' dtype names
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


class Tensor(Struct, frozen=True, gc=False):
    """Numbers: `dtype` in safetensors' names, `data` in C order, little endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class TensorInfo(Struct, frozen=True, gc=False):
    """A tensor that was seen but not read: numbers `offset`, `strides` (both in elements) into a run of bytes.

    `strides` None means C order. `storage` names the run; only the container that made it knows where it lies.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: str
    offset: int = 0
    strides: tuple[int, ...] | None = None


class Module(Struct, frozen=True):
    """An inert stand-in for an object of a class a pickle names: the name and the state, never the class."""

    cls: str
    state: Any


# dict (keys str, int or bytes), list, tuple, str, int, float, bool, None, bytes, TensorInfo, Module
Node = Any


class Outline(Struct, frozen=True, kw_only=True):
    """All that can be known without touching tensor bytes.

    `root` is the object the file holds, with TensorInfo where tensors are; a safetensors file is a dict of them.
    `metadata` is the file's own text header (safetensors `__metadata__`); `archive_root` the folder inside a torch zip.
    """

    container: str
    root: Node
    metadata: dict[str, str] = {}
    archive_root: str | None = None
    members: tuple[str, ...] = ()  # the other entries of a torch zip, without its root and its storages


class Contents(Struct, frozen=True):
    """An outline and the way to its numbers: `fetch` reads one tensor, and only the bytes it needs."""

    outline: Outline
    fetch: Callable[[TensorInfo], Tensor]


class Names(Struct, frozen=True, kw_only=True, gc=False):
    """Every claim about what the embedding is called; None where there is none."""

    file_stem: str | None = None
    inner_name: str | None = None     # `name` inside the file
    key: str | None = None            # the dictionary key: a token, `*`, `emb_params` ...
    archive_root: str | None = None   # torch >= 1.13 writes the file's stem at save time
    header: str | None = None         # modelspec.trigger_phrase
    sidecar: str | None = None        # trained word of a file beside it


class Training(Struct, frozen=True, kw_only=True, gc=False):
    """A1111's account of the training; UNSET where the file has no such key, None where it says None."""

    step: int | None | UnsetType = UNSET
    sd_checkpoint: str | None | UnsetType = UNSET
    sd_checkpoint_name: str | None | UnsetType = UNSET


class Hint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a header or a sidecar claims; `source` says which."""

    source: str
    base: str | None = None             # a key of encoders.BASES
    base_text: str | None = None        # as written there
    trigger: str | None = None
    role: str | None = None             # positive or negative
    licence: str | None = None
    hashes: dict[str, str] = {}         # kind -> hex, a claim


class SourceFile(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A file from which an embedding was converted, as its present file says: the oldest stands first in `sources`.

    `sha256` is None for inputs above limits.HASHED_SOURCE; those have `autov1`.
    """

    name: str
    container: str
    layout: str
    sha256: str | None = None
    autov1: str | None = None


class Embedding(Struct, frozen=True, kw_only=True):
    """One learned word: for each text encoder `(n, width)` vectors.

    `vectors` is keyed by encoders.ENCODERS (or `unknown_<width>`); `keys` says under which key the file had them.
    `output_vectors` are OneTrainer's `*_out`: added to the encoder's output, kept apart, never mixed in.
    `metadata` is everything else the file said, as text (JSON where it was not text), kept for the way back.
    """

    names: Names
    vectors: dict[str, Tensor]
    output_vectors: dict[str, Tensor] = {}
    training: Training | None = None
    metadata: dict[str, str] = {}
    keys: dict[str, str] = {}
    hints: tuple[Hint, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    layout: str = ""


class Finding(Struct, frozen=True):
    """One thing a check says. `severity`: error (it will not work), warning (it may not), note."""

    rule: str
    severity: str
    where: str
    says: str
