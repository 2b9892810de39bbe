"""safetensors: the header changed token by token, the length right or not."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import safetensors
from driver import Target, main
from grammar import INTERESTING, changed_bytes, changed_json, framed_json, tokens
from reading import fetched

from embconv.converters.containers import safetensors as ours
from embconv.converters.model import Tensor
from embconv.converters.source import Source

WHOLE = [
    ours.write({"clip_l": Tensor("F32", (2, 4), bytes(range(32))), "clip_g": Tensor("F16", (2, 4), bytes(16))}, {"format": "pt"}),
    ours.write({"emb_params": Tensor("BF16", (1, 8), bytes(range(16)))}, {}),
    ours.write({"a": Tensor("U8", (), b"\7"), "ü": Tensor("F64", (0, 3), b""), "c": Tensor("I64", (1, 1, 2), bytes(16))}, {"k": 'a"b\\c'}),
]
HEADS = [data[8 : 8 + int.from_bytes(data[:8], "little")] for data in WHOLE]
TAILS = [data[8 + len(head) :] for data, head in zip(WHOLE, HEADS, strict=True)]
SEEDS = [tokens(head.decode()) for head in HEADS]


def mutate(chance: Random) -> bytes:
    if chance.random() < 0.15:
        return changed_bytes(chance, chance.choice(WHOLE))
    which = int(chance.random() * len(SEEDS))
    head = framed_json(changed_json(chance, [SEEDS[which]]))
    tail = TAILS[which]
    if chance.random() < 0.1:
        tail = changed_bytes(chance, tail)
    length = len(head) if chance.random() < 0.95 else chance.choice((len(head) + 1, len(head) - 1, *INTERESTING)) & ((1 << 64) - 1)
    return struct.pack("<Q", length) + head + tail


def run(data: bytes) -> object:
    return fetched(ours.read(Source(data, "fuzzed.safetensors")))


def same_as_library(data: bytes, found: Any) -> bool:
    """What we accept, the library loads, with the same tensors."""
    contents, _ = found
    theirs = {name: (t["dtype"], list(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(data)}  # type: ignore[no-untyped-call]
    mine = {name: (i.dtype, list(i.shape), contents.fetch(i).data) for name, i in contents.outline.root.items()}
    assert mine == theirs
    return True


TARGET = Target("safetensors", mutate, run, same_as_library, every=1)

if __name__ == "__main__":
    main(TARGET)
