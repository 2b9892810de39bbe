"""npy files: the fields of the header changed, the array's bytes, or the pickle of an object array."""

from __future__ import annotations

import io
import struct
from random import Random
from typing import Any

import numpy as np
from driver import Target, main
from grammar import INTERESTING, changed_bytes, changed_pickle, opcodes
from reading import fetched

from embconv.converters.containers import numpy_file
from embconv.converters.source import Source

ARRAY = np.arange(6, dtype="f4").reshape(2, 3)


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


WHOLE = [saved(ARRAY), saved(np.asfortranarray(ARRAY)), saved(ARRAY.astype(">f8")), saved(np.array(1.5)), saved(ARRAY[:0])]
OBJECTS = [saved(np.array({"<t>": ARRAY, "n": "x"}, dtype=object)), saved(np.array([1, "a", None], dtype=object))]
HEADS = [data[: data.index(b"\n") + 1] for data in OBJECTS]
SEEDS = [opcodes(data[len(head) :]) for data, head in zip(OBJECTS, HEADS, strict=True)]
DESCRS = ["<f4", ">f4", "=f8", "|u1", "<f2", "|b1", "?", "|O", "O8", "<c8", "<U3", "|V4", "<M8[s]", "f16", "<f4x"]
NUMBERS = ["0", "1", "2", "3", "6", "-1", "00", "1L", "1.0", "", *map(str, INTERESTING)]


def mutate(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.45:
        which = int(chance.random() * len(SEEDS))
        return HEADS[which] + changed_pickle(chance, [SEEDS[which]])
    if kind < 0.8:
        return _headed(chance)
    return changed_bytes(chance, chance.choice([*WHOLE, *OBJECTS]))


def _headed(chance: Random) -> bytes:
    shape = ", ".join(
        chance.choice(NUMBERS) if chance.random() < 0.3 else chance.choice(("2", "3", "1"))
        for _ in range(chance.choice((0, 1, 2, 2, 3, 9)))
    )
    shape += "," if chance.random() < 0.3 else ""
    head = f"{{'descr': '{chance.choice(DESCRS)}', 'fortran_order': {chance.choice(('True', 'False', 'None'))}, 'shape': ({shape}), }}"
    raw = head.encode() + b" " * chance.choice((0, 1, 60)) + b"\n"
    version = chance.choice((1, 1, 2, 3, 4))
    length = len(raw) if chance.random() < 0.9 else chance.choice(INTERESTING) & 0xFFFF
    data = bytes(range(chance.choice((0, 4, 8, 16, 24, 24, 48))))
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", length) + raw + data


def run(data: bytes) -> object:
    return fetched(numpy_file.read(Source(data, "fuzzed.npy")))


def same_as_numpy(data: bytes, found: Any) -> bool:
    """numpy reads the same numbers from a plain array."""
    _, tensors = found
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError:
        return False
    assert array.shape == tensors[0].shape
    assert array.astype(array.dtype.newbyteorder("<")).tobytes("C") == tensors[0].data
    return True


TARGET = Target("npy", mutate, run, same_as_numpy, every=5)

if __name__ == "__main__":
    main(TARGET)
