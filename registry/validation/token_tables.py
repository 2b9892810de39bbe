"""The vocabularies of a checkpoint's text encoders: what each row of a token embedding is called, and its numbers; nothing else is read.

It takes no torch: a slice of a .safetensors file, and the JSON of a tokenizer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from embconv.converters import ENCODERS
from embconv.converters.containers.safetensors import LENGTH
from embconv.converters.errors import UnreadableFile
from embconv.converters.source import Source

from ..render_errors import BadCheckpoint
from .folders import ENCODERS as COMPONENTS
from .folders import TOKENIZERS, configured, weights_of
from .headers import header_of, json_of
from .kinds import base_of
from .ldm import places, text_plain
from .letters import END_OF_WORD, vocabulary
from .nearness import countable, lengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from embconv.converters import TensorInfo

    from .ldm import Place

NAME = "text_model.embeddings.token_embedding.weight"
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
HALVES = 16  # bits that a bfloat16 is short of a float32


class Words(NamedTuple):
    """A vocabulary: the tokens by their rows, "" where a row has none; the rows (v, width); and the lengths of those that are words."""

    tokens: tuple[str, ...]
    table: NDArray[Any]
    lengths: NDArray[np.float64]


class Vocabularies(NamedTuple):
    """Those of a checkpoint, by encoder."""

    path: str
    base: str
    words: dict[str, Words]


def vocabularies_of(path: str) -> Vocabularies:
    """Those of a diffusers folder or of one .safetensors file. BadCheckpoint, PickleCheckpoint."""
    if not os.path.exists(path):
        raise BadCheckpoint(path, "is not there", "Check the path.")
    return of_folder(path) if os.path.isdir(path) else of_file(path)


def of_folder(path: str) -> Vocabularies:
    """Each text encoder with the tokenizer beside it."""
    base = configured(path).base
    found = {}
    for key, component in COMPONENTS[base].items():
        table = rows_of(weights_of(path, component), text_plain(NAME), key)
        inside = os.path.join(path, TOKENIZERS[component])
        known = tokenizer_in(inside) if os.path.isdir(inside) else vocabulary()
        found[key] = words_of(os.path.join(path, component), known, table)
    return Vocabularies(path, base, found)


def of_file(path: str) -> Vocabularies:
    """A whole model in one file has no tokenizer; those that were published have CLIP's."""
    base = base_of(path, header_of(path))
    found = {}
    for key in COMPONENTS[base]:
        table = rows_of((path,), places(key, base, 0, 0)(NAME), key)
        found[key] = words_of(path, vocabulary(), table)
    return Vocabularies(path, base, found)


# ---- the numbers ----


def rows_of(paths: tuple[str, ...], where: Iterator[Place], key: str) -> NDArray[Any]:
    """The token embedding of an encoder, out of the file that has it."""
    named = [place.name for place in where]
    tensors = {name: (path, info) for path in paths for name, info in header_of(path).tensors.items() if name in named}
    name = next((name for name in named if name in tensors), None)
    if name is None:
        raise BadCheckpoint(paths[0], f"has no words for {key}: {named[0]} is missing")
    path, info = tensors[name]
    width = ENCODERS[key].width
    if info.dtype not in DTYPES or len(info.shape) != 2 or info.shape[1] != width:
        shape = " x ".join(map(str, info.shape))
        raise BadCheckpoint(path, f"has words for {key} that are {shape} in {info.dtype}, not rows of {width} in {', '.join(DTYPES)}")
    return numbers(path, name, info)


def numbers(path: str, name: str, info: TensorInfo) -> NDArray[Any]:
    """One large tensor of a file whose header was read strictly: the converters read small ones only."""
    try:
        with Source(path) as source:
            size = int.from_bytes(source.read(0, LENGTH), "little")
            begin, end = msgspec.json.decode(source.read(LENGTH, size))[name]["data_offsets"]
            found = np.frombuffer(source.read(LENGTH + size + begin, end - begin), DTYPES[info.dtype]).reshape(info.shape)
    except UnreadableFile as exc:
        raise BadCheckpoint(path, f"cannot be read: {exc.why}") from exc
    return (found.astype("<u4") << HALVES).view("<f4") if info.dtype == "BF16" else found


# ---- the words ----


def words_of(path: str, known: Mapping[str, int], table: NDArray[Any]) -> Words:
    """Rows with their tokens. BadCheckpoint where they cannot belong together."""
    if not known or max(known.values()) >= len(table):
        why = f"has {len(table):,} rows of words, and a tokenizer with {len(known):,}"
        raise BadCheckpoint(path, why, "Give the folder of a diffusers pipeline, which has the tokenizer that belongs to it.")
    tokens = [""] * len(table)
    for token, row in known.items():
        tokens[row] = token
    sizes = lengths(table)
    words = countable(sizes, tokens)
    if not words.any():
        raise BadCheckpoint(path, "has no words: its rows are zero, or no numbers")
    return Words(tuple(tokens), table, sizes[words])


def tokenizer_in(folder: str) -> dict[str, int]:
    """Token -> row of a tokenizer, as tokenizer.json or vocab.json has it."""
    whole, plain, more = (os.path.join(folder, name) for name in ("tokenizer.json", "vocab.json", "added_tokens.json"))
    if os.path.isfile(whole):
        said = json_of(whole)
        model = said.get("model")
        known, added = model.get("vocab") if isinstance(model, dict) else None, in_tokenizer(said.get("added_tokens"))
    elif os.path.isfile(plain):
        known, added = json_of(plain), json_of(more) if os.path.isfile(more) else {}
    else:
        raise BadCheckpoint(folder, "has no tokenizer.json and no vocab.json")
    if not isinstance(known, dict) or not all(type(row) is int and row >= 0 for row in (*known.values(), *added.values())):
        raise BadCheckpoint(folder, "holds no vocabulary that can be read")
    rows = set(known.values())
    return known | {f"{token}{END_OF_WORD}": row for token, row in added.items() if row not in rows}


def in_tokenizer(listed: Any) -> dict[str, Any]:
    """The tokens that somebody added as words."""
    found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {str(each.get("content")): each.get("id") for each in found if not each.get("special")}
