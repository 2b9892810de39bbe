"""How valid inputs are changed: pickles by opcode, JSON by token, any bytes by bit, and samples to start from."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
from random import Random
from typing import Any

import numpy as np
import torch

from embconv.converters.containers.pickles import ALLOWED

INTERESTING = (0, 1, 2, 3, 4, 7, 8, 9, 63, 64, 127, 128, 255, 256, 768, 769, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
               (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
VECTORS = torch.linspace(-0.05, 0.05, 2 * 768).reshape(2, 768)


class OnMPS:
    """Pickles as a tensor on MPS does: a numpy array inside the pickle."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_device_tensor_from_numpy, (self.array, torch.float32, "mps:0", False)


def samples(small: int = 8) -> list[Any]:
    """Objects as trainers save them, few numbers in most."""
    few = torch.arange(2 * small, dtype=torch.float32).reshape(2, small)
    hooked = torch.nn.Parameter(few)
    return [
        {"string_to_token": {"*": 265}, "string_to_param": {"*": few}, "name": "x", "step": 1, "sd_checkpoint": None},
        {"<token>": few[1], "note": "näme", "more": [1, 2.5, (True, None), b"bytes"]},
        {"string_to_param": torch.nn.ParameterDict({"*": hooked}), "string_to_token": {"*": torch.tensor(265)}},
        {"clip_l": few.half(), "clip_g": few.t(), "fp8": few.to(torch.float8_e4m3fn), "bf": few.bfloat16(), "i": torch.tensor([1, 2])},
        {"a": few[0], "b": few[1], "state": {"big": 1 << 70, "negative": -5, "deep": [[[[{}]]]]}},
    ]


def carried() -> list[bytes]:
    """Pickles whose numbers lie inside them, and plain ones, under every protocol."""
    array = np.arange(6, dtype="f4").reshape(2, 3)
    plain = {"x": [1, -1, 1 << 40, 0.5, "text", "näme", None, True, (), (1,), (1, 2, 3, 4)], "s": {1}, 3: b"\xff"}
    values = [
        plain,
        {**plain, "s": [1, {2: 3}]},
        {"<t>": array, "f": np.asfortranarray(array), "b": array.astype(">f8")},
        np.array({"a": array}, dtype=object),
    ]
    made = [pickle.dumps(value, protocol) for value in values for protocol in range(6)]
    return made + [pickle.dumps({"x": OnMPS(array)}, protocol) for protocol in (2, 4)]


def saved(value: Any, **options: Any) -> bytes:
    """torch.save's bytes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def opcodes(data: bytes) -> list[bytes]:
    """One pickle cut into its opcodes."""
    places = [position or 0 for _, _, position in pickletools.genops(data)]
    end = places[-1] + 1
    return [data[a:b] for a, b in zip(places, [*places[1:], end], strict=True)]


def _number_opcodes() -> list[bytes]:
    made = [b"J" + struct.pack("<i", v - (1 << 32) if v >= 1 << 31 else v) for v in INTERESTING if v < 1 << 32]
    made += [b"K" + bytes([v]) for v in INTERESTING if v < 256] + [b"M" + struct.pack("<H", v) for v in INTERESTING if v < 65_536]
    made += [b"\x8a\x09" + v.to_bytes(9, "little") for v in INTERESTING] + [
        b"\x8a\x01\xff",
        b"\x8a\0",
        b"I01\n",
        b"I-7\n",
        b"L9L\n",
        b"F1e9\n",
    ]
    return [*made, b"G" + struct.pack(">d", float("nan")), b"G" + bytes(8)]


def _text_opcodes() -> list[bytes]:
    texts = [
        "",
        "a",
        "0",
        "1",
        "cpu",
        "storage",
        "latin1",
        "*",
        "ü",
        "\u4e00",
        "\U0001f600",
        "<",
        ">",
        "|",
        "f4",
        "O",
        "os",
        "system",
        "torch",
    ]
    made = [b"X" + struct.pack("<I", len(t.encode())) + t.encode() for t in texts] + [
        b"\x8c" + bytes([len(t.encode())]) + t.encode() for t in texts
    ]
    return [
        *made,
        b"S'a'\n",
        b'S"\\x41"\n',
        b"Va\\u0041\n",
        b"V\\ud800\n",
        b"U\1\xff",
        b"U\0",
        b"C\1a",
        b"B\0\0\0\0",
        b"T\1\0\0\0a",
        b"T\xff\xff\xff\xff",
    ]


PLAIN = [bytes([op]) for op in b"(.012NQRb)}]tdlsuae\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]
MEMO = [op + bytes([i]) for op in (b"q", b"h") for i in range(6)] + [b"p1\n", b"g1\n", b"r\1\0\0\0", b"j\1\0\0\0"]
GLOBALS = [f"c{module}\n{name}\n".encode() for module, name in ALLOWED] + [b"cos\nsystem\n", b"c__builtin__\neval\n"]
REFUSED = [
    b"P1\n",
    b"ios\nsystem\n",
    b"o",
    b"\x92",
    b"\x82\1",
    b"\x97",
    b"\x98",
    b"\x95" + bytes(8),
    b"\x95\4" + bytes(7),
    b"\x80\2",
    b"\x80\4",
    b"\xff",
]
POOL = [*PLAIN * 3, *MEMO * 2, *GLOBALS, *_number_opcodes(), *_text_opcodes(), *REFUSED]


def changed_pickle(chance: Random, seeds: list[list[bytes]]) -> bytes:
    """One to four changes of opcodes, now and then of a bit."""
    parts = list(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        at = int(chance.random() * len(parts))
        kind = chance.random()
        if kind < 0.35:
            parts[at] = chance.choice(POOL)
        elif kind < 0.6:
            parts.insert(at, chance.choice(POOL))
        elif kind < 0.7:
            del parts[at]
        elif kind < 0.8:
            parts.insert(at, parts[int(chance.random() * len(parts))])
        elif kind < 0.9:
            other = chance.choice(seeds)
            start = int(chance.random() * len(other))
            parts[at:at] = other[start : start + 1 + int(chance.random() * 8)]
        else:
            parts[at] = changed_bytes(chance, parts[at])
        if not parts:
            break
    return b"".join(parts)


def changed_bytes(chance: Random, data: bytes) -> bytes:
    """A bit turned, a byte or a number replaced, a piece cut out, doubled or cut off."""
    if not data:
        return chance.randbytes(1)
    made, at, kind = bytearray(data), int(chance.random() * len(data)), chance.random()
    if kind < 0.4:
        made[at] ^= 1 << int(chance.random() * 8)
    elif kind < 0.55:
        made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x2E, 0x28))
    elif kind < 0.75:
        width = chance.choice((1, 2, 4, 8))
        value = chance.choice(INTERESTING) & ((1 << 8 * width) - 1)
        made[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))
    elif kind < 0.85:
        del made[at : at + 1 + int(chance.random() * 8)]
    elif kind < 0.95:
        made[at:at] = made[at : at + 1 + int(chance.random() * 8)]
    else:
        del made[at:]
    return bytes(made)


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[\[\]{},:]|\w+|\s+')
VALUES = ('"F32"', '"BF16"', '"I64"', '"x"', '"*"', '""', '"\\ud800"', '"\\u0000"', '"__metadata__"', '"dtype"', '"shape"', '"name"',
          "null",
          "true",
          "NaN", "-Infinity", "1e999", "0.5", "-1", "[]", "{}", "[[1.0]]", '{"a":1}', "[", "]", "{", "}", ",", ":", " ", '"TORCHTENSOR"',
          '{"TORCHTENSOR":[1.0]}', *map(str, INTERESTING))  # fmt: skip


def tokens(text: str) -> list[str]:
    """A JSON text cut into its tokens."""
    return TOKEN.findall(text)


def changed_json(chance: Random, seeds: list[list[str]]) -> str:
    """One to three tokens replaced, put in, doubled, swapped or left out."""
    parts = list(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, kind = int(chance.random() * len(parts)), chance.random()
        if kind < 0.5:
            parts[at] = chance.choice(VALUES)
        elif kind < 0.65:
            parts.insert(at, chance.choice(VALUES))
        elif kind < 0.75 and len(parts) > 1:
            del parts[at]
        elif kind < 0.85:
            parts[at:at] = parts[at : at + 1 + int(chance.random() * 6)]
        else:
            other = int(chance.random() * len(parts))
            parts[at], parts[other] = parts[other], parts[at]
    return "".join(parts)


def framed_json(text: str) -> bytes:
    """The text as UTF-8, half characters and all."""
    return text.encode("utf-8", "surrogatepass")
