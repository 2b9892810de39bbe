"""Builders of hostile files, and the bombs: what is small on disk and would be large, slow or endless for a trusting reader."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from embconv.converters.containers import torch_legacy
from embconv.converters.errors import FileError

MIB = 1 << 20
SECONDS = 5.0  # the bound is 1 s on an idle machine; a loaded one must not fail the suite


def quickly(work: Callable[[], Any], kind: type[FileError]) -> Any:
    """The error of `work`, which came within a second, has its code and can be shown on a terminal."""
    start = time.perf_counter()
    with pytest.raises(kind) as caught:
        work()
    assert time.perf_counter() - start < SECONDS
    assert caught.value.code == type(caught.value).code
    assert str(caught.value).isprintable()
    return caught.value


def deflated(size: int, byte: bytes = b"x", *, raw: bool = False) -> bytes:
    """`size` times the same byte as a zlib stream (or deflate alone), made of one packed MiB again and again."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = machine.compress(byte * MIB) + machine.flush(zlib.Z_FULL_FLUSH)
    block = machine.compress(byte * MIB) + machine.flush(zlib.Z_FULL_FLUSH)
    rest = machine.compress(byte * (size % MIB)) + machine.flush()
    body = (first + block * (size // MIB - 1) if size >= MIB else b"") + rest
    if raw:
        return body
    low, high = 1 + size * byte[0], size + byte[0] * size * (size + 1) // 2  # Adler-32 of equal bytes
    return b"\x78\xda" + body + struct.pack(">2H", high % 65_521, low % 65_521)


# ---- pickles ----


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def storage(key: str = "0", cls: str = "FloatStorage", numel: bytes = b"K\4") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{cls}\n".encode() + text(key) + text("cpu") + numel + b"tQ"


def tensor(stored: bytes = storage(), offset: bytes = b"K\0", size: bytes = b"K\2\x85", stride: bytes = b"K\1\x85") -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + offset + size + stride + b"\x89)tR"


RECURSION = {  # P18
    "tuples": b"\x80\2)" + b"\x85" * 500_000 + b".",
    "lists": b"\x80\2" + b"]" * 500_000 + b"a" * 499_999 + b".",
    "dicts": b"\x80\2" + b"}U\1a" * 200_000 + b"N" + b"s" * 200_000 + b".",
    "modules": b"\x80\2ctorch.nn.modules.container\nParameterDict\nq\0" + b"0" + b"h\0)\x81}U\1a" * 100_000 + b"N" + b"sb" * 100_000 + b".",
    "a list in itself": b"\x80\2]q\0h\0a.",
    "a dict in itself": b"\x80\2}q\0U\1ah\0s.",
    "a module in itself": b"\x80\2ctorch.nn.modules.container\nParameterDict\n)\x81q\0}U\1ah\0sb.",
}
AMPLIFIED = {  # P19: one long value in the memo, copied by a call of a few bytes again and again
    "OrderedDict": b"\x80\2]q\0(" + b"U\1aN\x86" * 100_000 + b"eccollections\nOrderedDict\nq\1" + b"h\1h\0\x85R0" * 3_000 + b"00N.",
    "set": b"\x80\2]q\0(" + b"N" * 100_000 + b"ecbuiltins\nset\nq\1" + b"h\1h\0\x85R0" * 3_000 + b"00N.",
    "latin1": b"\x80\2" + text("a" * 1_000_000) + b"q\0" + text("latin1") + b"q\2c_codecs\nencode\nq\1" + b"h\1h\0h\2\x86R" * 300 + b".",
    "modules": b"\x80\2}q\0(" + b"".join(b"K%cN" % i for i in range(256)) + b"u0ctorch.nn.modules.container\nParameterDict\n)\x81h\0bq\1]("
    + b"h\1" * 700_000 + b"e\x86.",
}  # fmt: skip
ARRAY = (
    b"cnumpy\ndtype\nq\2" + text("f4") + b"\x85R(K\1" + text("<") + b"NNNtbq\3cnumpy.core.multiarray\n_reconstruct\nq\4cnumpy\nndarray\n"
    b"K\0\x85U\1b\x87q\5(K\1K\0\x85h\3\x89C\0tq\6"
)  # its parts, in the memo
LAUGHS = (
    b"\x80\2(](K\0K\0K\0K\0K\0K\0K\0K\0e" + b"".join(b"q" + bytes([i]) + b"](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(30)) + b"t."
)


@cache
def texts(count: int, code: str) -> bytes:
    """`count` different short texts."""
    made = (code.format(i).encode() for i in range(count))
    return b"".join(b"\x8c" + bytes([len(data)]) + data for data in made)


FLOODS: dict[str, Callable[[], bytes]] = {  # P21, P22; all of them bare pickles
    "opcodes": lambda: b"\x80\2" + b"N0" * 2_000_000 + b"N.",
    "marks": lambda: b"\x80\2" + b"(" * 5_000_000 + b".",
    "dictionaries": lambda: b"\x80\2" + b"}" * 5_000_000 + b".",
    "dictionaries of one": lambda: b"\x80\2" + b"}NNs".replace(b"NN", b"K\1N") * 400_000 + b".",
    "lists of one": lambda: b"\x80\2" + b"]Na" * 400_000 + b".",
    "tuples of one": lambda: b"\x80\2" + b"N\x85" * 900_000 + b".",
    "memo": lambda: b"\x80\4N" + b"\x94" * 1_500_000 + b".",
    "memo of dictionaries": lambda: b"\x80\4" + b"}\x94" * 900_000 + b".",
    "memo in lines": lambda: b"N" + b"".join(b"p%d\n" % i for i in range(900_000)) + b".",
    "texts": lambda: b"\x80\4" + texts(900_000, "{:x}") + b".",
    "wide texts": lambda: b"\x80\4" + texts(900_000, "\u4e00{:x}") + b".",
    "a dictionary of texts": lambda: b"\x80\4}(" + texts(1_000_000, "{:x}") + b"u.",
    "a dictionary of wide texts": lambda: b"\x80\4}(" + texts(1_000_000, "\u4e00{:x}") + b"u.",
    "a long text": lambda: b"\x80\2X" + struct.pack("<I", 31 * MIB) + b"a" * (31 * MIB) + b".",
    "a long wide text": lambda: b"\x80\2X" + struct.pack("<I", 31 * MIB) + b"a" * (31 * MIB - 4) + "\U0001f600".encode() + b".",
    "long wide texts": lambda: b"\x80\2" + (b"X" + struct.pack("<I", MIB) + b"a" * (MIB - 4) + "\U0001f600".encode()) * 31 + b".",
    "a long line": lambda: b"V" + b"a" * (31 * MIB) + b"\\U0001f600\n.",
    "long lines": lambda: (b"V" + b"a" * (MIB - 10) + b"\\U0001f600\n") * 31 + b".",
    "a long quoted line": lambda: b"S'" + b"\\x41" * (7 * MIB) + b"'\n.",
    "long bytes and an opcode flood": lambda: b"\x80\3B" + struct.pack("<I", 24 * MIB) + bytes(24 * MIB) + b"}" * 4_000_000 + b".",
    "latin1 of a long text": lambda: b"\x80\2c_codecs\nencode\n" + text("\xff" * (3 * MIB)) + b"q\0" + text("latin1") + b"\x86R"
    + (b"c_codecs\nencode\nh\0" + text("latin1") + b"\x86R") * 9 + b".",
    "whole numbers": lambda: b"(" + b"I7\n" * 2_000_000 + b"l.",
    "numbers": lambda: b"(" + b"F1.5\n" * 2_000_000 + b"l.",
    "lines": lambda: b"(" + b"Va\n" * 2_000_000 + b"l.",
    "quoted lines": lambda: b"(" + b"S'a'\n" * 2_000_000 + b"l.",
    "globals": lambda: b"\x80\2" + b"ctorch\nfloat32\n" * 2_000_000 + b".",
    "calls": lambda: b"\x80\2ccollections\nOrderedDict\nq\1" + b"h\1)R" * 900_000 + b".",
    "modules": lambda: b"\x80\2ctorch.nn.modules.container\nParameterDict\nq\1" + b"h\1)\x81" * 900_000 + b".",
    "arrays": lambda: b"\x80\3" + ARRAY + b"h\4h\5Rh\6b" * 200_000 + b".",
    "dtypes": lambda: b"\x80\3" + ARRAY + b"cnumpy\ndtype\nq\7" + text("f4") + b"\x85q\10"
    + b"(K\1" + text("<") + b"NNNtq\t" + b"h\7h\10Rh\tb" * 300_000 + b".",
    "tuples around an array": lambda: b"\x80\3(" + ARRAY + b"1h\4h\5Rh\6bq\x0f"
    + b"".join(b"0(" + b"h%c" % (i + 15) * 8 + b"tq%c" % (i + 16) for i in range(6)) + b".and more",
    **{f"nested {name}": lambda data=data: data for name, data in RECURSION.items()},  # type: ignore[misc]
    **{f"copied by {name}": lambda data=data: data for name, data in AMPLIFIED.items()},  # type: ignore[misc]
    "laughs": lambda: LAUGHS,
}  # fmt: skip


# ---- torch's zip ----

Records = list[tuple[str, bytes]]
GOOD: Records = [("a/data.pkl", b"\x80\2" + tensor() + b"."), ("a/data/0", struct.pack("<4f", 1, 2, 3, 4)), ("a/version", b"3\n")]


def zipped(records: Records, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive by Python's zipfile, which writes any name and any pair of names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in records:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def with_pickle(pickle: bytes, size: int = 16) -> bytes:
    return zipped([("a/data.pkl", b"\x80\2" + pickle + b"."), ("a/data/0", bytes(size)), ("a/version", b"3\n")])


def packed(records: list[tuple[str, bytes, int, int]]) -> bytes:
    """An archive of deflated entries: name, deflate stream, size, CRC, believed as they are."""
    out, directory = b"", b""
    for name, body, size, crc in records:
        common = struct.pack("<5H3I2H", 20, 0, 8, 0, 0, crc, len(body), size, len(name), 0)
        directory += b"PK\1\2\x14\0" + common + struct.pack("<3H2I", 0, 0, 0, 0, len(out)) + name.encode()
        out += b"PK\3\4" + common + name.encode() + body
    return out + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(records), len(records), len(directory), len(out), 0)


def storage_bomb(size: int, crc: int = 0, *, shape: bytes = b"", order: bytes = b"little") -> bytes:
    """An archive with a deflated storage of `size` zeros, all of it one tensor."""
    count = b"J" + struct.pack("<i", size // 4)
    inner = b"\x80\2" + tensor(storage(numel=count), size=shape or count + b"\x85") + b"."
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    small = [("a/data.pkl", inner), ("a/version", b"3\n"), ("a/byteorder", order)]
    rows = [("a/data/0", deflated(size, b"\0", raw=True), size, crc)]
    for name, data in small:
        machine = zlib.compressobj(9, zlib.DEFLATED, -15)
        rows.append((name, machine.compress(data) + machine.flush(), len(data), zlib.crc32(data)))
    return packed(rows)


@cache
def crc_of_zeros(size: int) -> int:
    return zlib.crc32(bytes(size))


ZIP_BOMBS: dict[str, Callable[[], bytes]] = {  # P16
    "a storage of 256 MB": lambda: storage_bomb(256 * MIB),
    "a storage of 64 MB, another checksum": lambda: storage_bomb(63 * MIB, 1),
    "a big-endian storage of 64 MB": lambda: storage_bomb(63 * MIB, crc_of_zeros(63 * MIB), order=b"big"),
    "a pickle of 40 MB": lambda: zipped([("a/data.pkl", b"\x80\2" + b"N0" * (20 * MIB))], zipfile.ZIP_DEFLATED),
    "a pickle of 31 MB": lambda: zipped([("a/data.pkl", b"\x80\2" + b"}" * (31 * MIB)), *GOOD[1:]], zipfile.ZIP_DEFLATED),
    "20,001 entries": lambda: zipped([*GOOD, *((f"a/data/{i}", b"") for i in range(1, 20_001))]),
    "tensors": lambda: with_pickle(
        tensor() + b"0" + b"ctorch._utils\n_rebuild_tensor_v2\nq\1(" + storage() + b"K\0K\2\x85K\1\x85\x89)tq\2" + b"h\1h\2R" * 300_000
    ),
    "storages": lambda: with_pickle(storage().replace(b"tQ", b"tq\1Q") + b"h\1Q" * 450_000),
}  # fmt: skip


def views(count: int, numbers: int, size: bytes, stride: bytes, key: str = "<{}>") -> bytes:
    """A dictionary of `count` words, all of them views of one storage of so many numbers."""
    stored = storage(numel=b"J" + struct.pack("<i", numbers))
    words = (text(key.format(i)) + tensor(stored, b"J" + struct.pack("<i", i), size, stride) for i in range(count))
    return with_pickle(b"}(" + b"".join(words) + b"u", 4 * numbers)


VIEWS: dict[str, Callable[[], bytes]] = {  # many views, each of which becomes a copy of what it spans
    "64 words that are nearly all of 12 MB": lambda: views(64, 3 * MIB, b"M\xa0\x0fM\0\3\x86", b"M\0\3K\1\x86"),
    "1,000 words of two vectors 12 MB apart": lambda: views(
        1_000, 3 * MIB + 2_000, b"K\2M\0\3\x86", b"J\0\0\x2f\0K\1\x86", "bundle_emb.{}.clip_l"
    ),
    "64 words that are turned": lambda: views(64, 3 * MIB, b"M\0\x08M\0\3\x86", b"K\1M\0\x08\x86"),
}


def legacy(outline: bytes, protocol: bytes = b"\x80\2M\xe9\3.", keys: bytes = b"\x80\2].") -> bytes:
    return torch_legacy.MAGIC + protocol + b"\x80\2}U\x0dlittle_endian\x88s." + outline + keys


LEGACY_BOMBS: dict[str, Callable[[], bytes]] = {
    "a flood in the protocol": lambda: legacy(b"\x80\2}.", b"\x80\2" + b"N0" * 490_000 + b"M\xe9\3."),
    "a flood in each": lambda: legacy(b"\x80\2" + b"N0" * 430_000 + b"}.", keys=b"\x80\2" + b"N0" * 480_000 + b"]."),
    "dictionaries": lambda: legacy(b"\x80\2" + b"}" * 2_000_000 + b"."),
    "a list of keys": lambda: legacy(b"\x80\2" + b"}" + b"}0" * 400_000 + b".", keys=b"\x80\2](" + texts(300_000, "{:d}") + b"e."),
}


# ---- safetensors ----

HEADER = b'{"x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}'
ENTRY = '{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}'


def framed(header: bytes, data: bytes = bytes(8)) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def with_entry(entry: str, data: bytes = bytes(8)) -> bytes:
    return framed(b'{"x":%s}' % entry.encode(), data)


@cache
def many(count: int) -> bytes:
    return json.dumps(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}, separators=(",", ":")
    ).encode()


def filled(begin: bytes, part: Callable[[int], bytes], end: bytes, size: int = 4 * MIB - 100) -> bytes:
    """A header of just under 4 MiB."""
    count = size // (len(part(size)) + 1)
    return framed(begin + b",".join(map(part, range(count))) + end)


HEADER_BOMBS: dict[str, Callable[[], bytes]] = {
    "S4: 90,000 empty tensors": lambda: framed(many(90_000), b""),
    "S4: 30,000 empty tensors": lambda: framed(many(30_000), b""),
    "S4: 99 MB of spaces": lambda: framed(HEADER + b" " * 99_000_000),
    "S4: rank 100,000": lambda: with_entry(ENTRY.replace("[1,2]", str([1] * 100_000)), bytes(8)).replace(b"[0,8]", b"[0,4]")[:-4],
    "a million lists nested": lambda: framed(b'{"x":' + b"[" * 1_000_000),
    "a million lists in a row": lambda: framed(b'{"x":[' + b"[]," * 1_300_000 + b"[]]}"),
    "a name of 2,000 bytes": lambda: framed(HEADER.replace(b'"x"', b'"' + b"x" * 2000 + b'"')),
    "a length of 2**63": lambda: struct.pack("<Q", 1 << 63) + HEADER,
    "a length of 2**64 - 1": lambda: b"\xff" * 8 + HEADER,
    "a length of 100 MB": lambda: struct.pack("<Q", 100_000_000) + HEADER,
    "numbers": lambda: filled(b'{"x":[', lambda i: b"%07d" % (i % 10**6 + 10**6), b"]}"),
    "keys": lambda: filled(b'{"x":{', lambda i: b'"%x":1' % i, b"}}"),
    "wide keys": lambda: filled(b'{"x":{', lambda i: b'"\xf0\x9f\x98\x80%x":1' % i, b"}}"),
    "metadata": lambda: filled(b'{"__metadata__":{', lambda i: b'"%x":""' % i, b"}}"),
    "texts": lambda: filled(b'{"x":[', lambda i: b'"%x"' % i, b"]}"),
    "159,000 keys": lambda: framed(b'{"x":{' + b",".join(b'"%x":%d' % (i, 10**15 + i) for i in range(159_000)) + b"}}"),
    "159,000 wide keys": lambda: framed(b'{"x":{' + b",".join(b'"\xf0\x9f\x98\x80%x":%d' % (i, 10**7 + i) for i in range(159_000)) + b"}}"),
    "159,000 wide texts": lambda: framed(b'{"x":{' + b",".join(
        b'"\xf0\x9f\x98\x80%x":"\xe4\xb8\x80%x"' % (i, i) for i in range(159_000)) + b"}}"),
}  # fmt: skip


# ---- pictures ----


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int = 1, height: int = 1, *, depth: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


PIXEL = chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
PNG_END = chunk(b"IEND", b"")


def png_text(body: bytes, kind: bytes = b"tEXt") -> bytes:
    return chunk(kind, b"sd-ti-embedding\0" + body)


def with_json(payload: str | bytes) -> bytes:
    payload = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    return png_header() + png_text(base64.b64encode(payload)) + PIXEL + PNG_END


def with_tensor(value: str) -> bytes:
    return with_json('{"string_to_param":{"*":{"TORCHTENSOR":' + value + "}}}")


def with_pixels(data: bytes) -> bytes:
    """A picture that carries `data` as it is, with the key of the carrier and its black columns."""
    import numpy as np
    from PIL import Image

    from embconv.converters.containers import carrier

    height = 256
    size = len(data) + -len(data) % (3 * height)
    whole, key = np.resize(np.frombuffer(data, np.uint8), size), carrier.keystream(size)
    low, high = (((half ^ key) | 0x10).reshape(height, -1, 3) for half in (whole & 15, whole >> 4))
    column, out = np.zeros((height, 1, 3), np.uint8), io.BytesIO()
    Image.fromarray(np.hstack([low, column, column, high])).save(out, "PNG", compress_level=1)
    return out.getvalue()


def webp(kind: bytes, body: bytes) -> bytes:
    part = kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2 + 64)
    return b"RIFF" + struct.pack("<I", len(part) + 4) + b"WEBP" + part


IMAGE_BOMBS: dict[str, Callable[[], bytes]] = {
    "I1: 2 GB in the pixels": lambda: with_pixels(deflated(2048 * MIB)),
    "I2: 169 million pixels": lambda: png_header(13_000, 13_000) + chunk(b"IDAT", deflated(13_000 * 13_001 * 3)) + PNG_END,
    "I2: a WEBP of 268 million pixels": lambda: webp(b"VP8X", b"\0\0\0\0" + b"\xff\x3f\0" * 2),
    "I2: a lossless WEBP of 268 million": lambda: webp(b"VP8L", b"\x2f" + (0x0FFFFFFF).to_bytes(4, "little")),
    "I3: 1 GB in a zTXt": lambda: png_header() + png_text(b"\0" + deflated(1024 * MIB), b"zTXt") + PIXEL + PNG_END,
    "I3: 1 GB in an iTXt": lambda: png_header() + png_text(b"\1\0\0\0" + deflated(1024 * MIB), b"iTXt") + PIXEL + PNG_END,
    "I3: a plain text of 17 MB": lambda: png_header() + png_text(b"A" * 17 * MIB) + PIXEL + PNG_END,
    "a million chunks": lambda: png_header() + 1_000_000 * chunk(b"teSt", b"") + PNG_END,
    "I4: millions of lists": lambda: with_json('{"x":[' + "[]," * 3_000_000 + "[]]}"),
    "I4: millions of closing brackets": lambda: with_json("{}" + "]" * 11_000_000),
    "I4: millions of numbers": lambda: with_tensor("[" + "1," * 5_000_000 + "1]"),
}


@cache
def image_bomb(name: str) -> bytes:
    """Made once in a run of the tests."""
    return IMAGE_BOMBS[name]()


@cache
def header_bomb(name: str) -> bytes:
    return HEADER_BOMBS[name]()
