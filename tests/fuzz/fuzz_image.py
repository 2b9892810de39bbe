"""Pictures: the chunks of a PNG changed with right checksums, the JSON in text and in pixels, and other formats by bytes."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from random import Random

import numpy as np
from driver import Target, main
from grammar import INTERESTING, changed_bytes, changed_json, framed_json, tokens
from PIL import Image
from reading import fetched

from embconv.converters.containers import carrier, image
from embconv.converters.source import Source

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TREES = [
    {"string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": [[0.5, -1.5], [1e-9, 3]]}}, "name": "näme", "step": 1},
    {"name": "x", "v": {"TORCHTENSOR": []}, "w": {"TORCHTENSOR": 1.5}, "list": [None, True, "t", {"a": {}}]},
]
SEEDS = [tokens(json.dumps(tree)) for tree in TREES]
IHDR = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
IDAT = zlib.compress(b"\0\1\2\3")


def with_pixels(packed: bytes, form: str = "PNG") -> bytes:
    """A little picture that carries `packed`."""
    height = 16
    size = len(packed) + -len(packed) % (3 * height)
    data, key = np.resize(np.frombuffer(packed, np.uint8), size), carrier.keystream(size)
    low, high = (((half ^ key) | 0x10).reshape(height, -1, 3) for half in (data & 15, data >> 4))
    column, out = np.zeros((height, 1, 3), np.uint8), io.BytesIO()
    options = {} if form == "PNG" else {"lossless": True, "exact": True}
    Image.fromarray(np.hstack([low, column, column, high])).save(out, form, **options)
    return out.getvalue()


PACKED = [zlib.compress(json.dumps(tree).encode()) for tree in TREES]
PICTURES = [with_pixels(packed, form) for packed in PACKED for form in ("PNG", "WEBP")]
FTYP = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(40)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def text(chance: Random, payload: bytes) -> tuple[bytes, bytes]:
    body = base64.b64encode(payload)
    kind = chance.choice((b"tEXt", b"tEXt", b"tEXt", b"zTXt", b"iTXt", b"iTXz"))
    key = b"sd-ti-embedding\0"
    if kind == b"zTXt":
        return kind, key + b"\0" + zlib.compress(body, 1)
    if kind == b"iTXz":
        return b"iTXt", key + b"\1\0\0\0" + zlib.compress(body, 1)
    return kind, key + (b"\0\0\0\0" if kind == b"iTXt" else b"") + body


def mutate(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.97:
        payload = framed_json(changed_json(chance, SEEDS)) if kind < 0.6 else json.dumps(chance.choice(TREES)).encode()
        parts = [(b"IHDR", IHDR), text(chance, payload), (b"IDAT", IDAT), (b"IEND", b"")]
        if kind > 0.55:
            _change_chunks(chance, parts)
        data = SIGNATURE + b"".join(chunk(name, body) for name, body in parts)
        return changed_bytes(chance, data) if chance.random() < 0.1 else data
    if kind < 0.98:
        return with_pixels(zlib.compress(framed_json(changed_json(chance, SEEDS))))
    return changed_bytes(chance, chance.choice([*PICTURES, FTYP, b"\xff\x0a" + bytes(30)]))


def _change_chunks(chance: Random, parts: list[tuple[bytes, bytes]]) -> None:
    at, kind = int(chance.random() * len(parts)), chance.random()
    name, body = parts[at]
    if kind < 0.3:
        parts[at] = (name, changed_bytes(chance, body))
    elif kind < 0.45:
        width, height = chance.choice(INTERESTING), chance.choice(INTERESTING)
        parts[0] = (b"IHDR", struct.pack(">II", width & 0xFFFFFFFF, height & 0xFFFFFFFF) + IHDR[8:])
    elif kind < 0.6:
        parts.insert(at, parts[int(chance.random() * len(parts))])
    elif kind < 0.75:
        del parts[at]
    elif kind < 0.9:
        parts[at] = (chance.choice((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"iCCP", b"tEXt", b"zTXt", b"iTXt")), body)
    else:
        other = int(chance.random() * len(parts))
        parts[at], parts[other] = parts[other], parts[at]


def run(data: bytes) -> object:
    return fetched(image.read(Source(data, "fuzzed.png")))


TARGET = Target("image", mutate, run)

if __name__ == "__main__":
    main(TARGET)
