"""No picture, however made, gets anything else than a FileError; none takes a second or much memory."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import time
import zlib

import pytest
from hostile import (
    IMAGE_BOMBS,
    MIB,
    PIXEL,
    PNG_END,
    SECONDS,
    chunk,
    deflated,
    image_bomb,
    png_header,
    png_text,
    with_json,
    with_pixels,
    with_tensor,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embconv.converters.containers import image
from embconv.converters.errors import FileError, NotAnEmbedding, TooLarge, UnreadableFile
from embconv.converters.model import Tensor
from embconv.converters.source import Source

TENSOR = Tensor("F32", (2, 8), struct.pack("<16f", *range(16)))
TREE = {"string_to_token": {"*": 265}, "string_to_param": {"*": TENSOR}, "name": "x", "step": 1}


def refused(data: bytes) -> FileError:
    """The error, which came within a second and can be shown on a terminal."""
    start = time.perf_counter()
    with pytest.raises(FileError) as caught:
        opened(data)
    assert time.perf_counter() - start < SECONDS
    assert caught.value.says.isprintable()
    return caught.value


def opened(data: bytes) -> dict[str, object]:
    contents = image.read(Source(data, "hostile.png"))
    assert isinstance(contents.outline.root, dict)
    return contents.outline.root


BROKEN: dict[str, tuple[bytes, str]] = {  # id: (bytes, a word of the reason)
    "I3: two texts": (png_header() + 2 * png_text(base64.b64encode(b"{}")) + PIXEL + PNG_END, "2 texts"),
    "I3: two texts of two kinds": (
        png_header() + png_text(b"e30=") + PIXEL + png_text(b"\0" + zlib.compress(b"e30="), b"zTXt") + PNG_END,
        "2 texts",
    ),
    "a text that is not base64": (png_header() + png_text(b"e30") + PIXEL + PNG_END, "base64"),
    "base64 with blanks in it": (png_header() + png_text(b"e3 0=") + PIXEL + PNG_END, "base64"),
    "base64 with something behind it": (png_header() + png_text(b"e30=e30=") + PIXEL + PNG_END, "base64"),
    "a packed text cut off": (png_header() + png_text(b"\0" + zlib.compress(b"e30=" * 99)[:-9], b"zTXt") + PIXEL + PNG_END, "cut off"),
    "a packed text that is none": (png_header() + png_text(b"\0e30=", b"zTXt") + PIXEL + PNG_END, "damaged"),
    "an unknown packing": (png_header() + png_text(b"\1" + zlib.compress(b"e30="), b"zTXt") + PIXEL + PNG_END, "method"),
    "an international text without its parts": (png_header() + png_text(b"\0\0e30=", b"iTXt") + PIXEL + PNG_END, "malformed"),
    "an international text with a bad flag": (png_header() + png_text(b"\2\0\0\0e30=", b"iTXt") + PIXEL + PNG_END, "malformed"),
    "a wrong checksum": (png_header() + png_text(b"e30=")[:-1] + b"?" + PIXEL + PNG_END, "checksum"),
    "no end mark": (png_header() + png_text(b"e30=") + PIXEL, "ends before"),
    "a chunk longer than the file": (png_header() + struct.pack(">I", 2**31) + b"tEXt" + PNG_END, "ends inside"),
    "no header": (b"\x89PNG\r\n\x1a\n" + png_text(b"e30=") + PNG_END, "header"),
    "I2: a second header": (png_header() + png_header(13_000, 13_000)[8:] + PIXEL + PNG_END, "two"),
    "an end mark alone": (b"\x89PNG\r\n\x1a\n" + PNG_END, "header"),
    "no pixels": (png_header() + PNG_END, "decoded"),
    "no width": (png_header(0, 0) + PIXEL + PNG_END, "header"),
    "I4: lists nested 65 deep": (with_json('{"x":' + "[" * 65 + "]" * 65 + "}"), "deep"),
    "I4: lists nested 90,000 deep": (with_json('{"x":' + "[" * 90_000 + "]" * 90_000 + "}"), "deep"),
    "I4: nested behind brackets in texts": (with_json('{"x":' + '["]",' * 500 + '"]"' + "]" * 500 + "}"), "deep"),
    "I4: a whole number of 5,000 digits": (with_json('{"step":%s}' % ("9" * 5000)), "5,000 digits"),
    "I4: a key twice": (with_json('{"name":"a","name":"b"}'), "twice"),
    "I4: half a character": (with_json('{"name":"\\ud800"}'), "surrogate"),
    "I4: half a character in a key": (with_json('{"a":[{"\\ud800":1}]}'), "surrogate"),
    "I4: bytes that are no UTF-8": (with_json(b'{"name":"\xff"}'), "UTF-8"),
    "I4: JSON cut off": (with_json('{"name":'), "damaged"),
    "I4: something behind the JSON": (with_json("{}{}"), "damaged"),
    "I4: a list": (with_json("[]"), "dictionary"),
    "I4: a tensor alone": (with_json('{"TORCHTENSOR":[1.0]}'), "dictionary"),
    "I4: a ragged tensor": (with_tensor("[[1.0,2.0],[3.0]]"), "unequal"),
    "I4: a number among rows": (with_tensor("[[1.0],2.0]"), "unequal"),
    "I4: a row among numbers": (with_tensor("[1.0,[2.0]]"), "numbers"),
    "I4: texts for numbers": (with_tensor('["1.0"]'), "numbers"),
    "I4: true for a number": (with_tensor("[true]"), "numbers"),
    "I4: null for a number": (with_tensor("[null]"), "numbers"),
    "I4: a dictionary for a tensor": (with_tensor('{"a":1}'), "numbers"),
    "I4: a tensor in a tensor": (with_tensor('{"TORCHTENSOR":[1.0]}'), "numbers"),
    "I4: nine axes": (with_tensor("[[[[[[[[[1.0]]]]]]]]]"), "axes"),
    "I4: more keys beside a tensor": (with_json('{"x":{"TORCHTENSOR":[1.0],"y":1}}'), "beside"),
    "pixels cut off": (with_pixels(zlib.compress(random.Random(1).randbytes(9000))[:-100]), "damaged|cut off"),
    "pixels that are no JSON": (with_pixels(zlib.compress(b"x")), "damaged"),
}


def test_the_good_file_behind_the_broken_ones_is_read() -> None:
    assert opened(with_tensor("[[1.0,2.0],[3.0,4.0]]"))
    assert opened(with_pixels(zlib.compress(b'{"name":"x"}'))) == {"name": "x"}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    error = refused(data)
    assert isinstance(error, UnreadableFile)
    assert any(word in error.says for word in reason.split("|")), error.says


@pytest.mark.parametrize("bomb", IMAGE_BOMBS)
def test_a_bomb_is_too_large(bomb: str) -> None:
    assert isinstance(refused(image_bomb(bomb)), TooLarge)


def test_nan_and_infinity_are_read_as_python_writes_them() -> None:
    contents = image.read(Source(with_tensor("[NaN,Infinity,-Infinity]")))
    tensor = contents.fetch(contents.outline.root["string_to_param"]["*"])
    assert (tensor.dtype, tensor.data) == ("F32", struct.pack("<3f", float("nan"), float("inf"), float("-inf")))


def test_a_number_beyond_every_float_is_infinity_not_an_accident() -> None:
    contents = image.read(Source(with_tensor("[1e999, 1" + "0" * 30 + "]")))
    assert contents.outline.root["string_to_param"]["*"].dtype == "F64"


def test_what_follows_the_end_mark_is_not_looked_at() -> None:
    assert opened(with_json('{"name":"x"}') + b"PK\x03\x04<script>") == {"name": "x"}


def test_pillow_sees_nothing_of_a_preview_but_its_pixels() -> None:
    junk = chunk(b"iCCP", b"x\0\0" + deflated(128 * MIB)) + chunk(b"zTXt", b"y\0\0" + deflated(128 * MIB)) + chunk(b"eXIf", b"II*\0\xff")
    assert isinstance(refused(png_header() + junk + PIXEL + PNG_END), NotAnEmbedding)


# ---- damage ----

SMALL = png_header() + png_text(base64.b64encode(json.dumps({"name": "x", "v": {"TORCHTENSOR": [[0.5, 1.5]]}}).encode())) + PIXEL + PNG_END
CARRIED = with_pixels(zlib.compress(json.dumps({"name": "x", "v": {"TORCHTENSOR": [[0.5, 1.5]]}}).encode()))


def lossless_webp() -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(CARRIED)).save(out, "WEBP", lossless=True, exact=True)
    return out.getvalue()


def test_every_truncation_of_a_text_is_refused() -> None:
    for length in range(len(SMALL)):
        refused(SMALL[:length])


def test_every_flipped_bit_of_a_text_is_refused_or_changes_nothing() -> None:
    whole = opened(SMALL)
    for bit in range(8 * len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert opened(bytes(damaged)) == whole
        except FileError:
            continue


@pytest.mark.parametrize("whole", [CARRIED, lossless_webp()], ids=["png", "webp"])
def test_damaged_pixels_are_refused_or_change_nothing(whole: bytes) -> None:
    chance = random.Random(5)
    for _ in range(400):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        if len(damaged) == len(whole):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        try:
            assert opened(bytes(damaged))["name"] == "x"
        except FileError:
            continue


@given(
    st.sampled_from(
        [b"\xff\x0a", b"\0\0\0\x1cftypavif\0\0\0\0", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X", png_header()[:8], png_header()]
    ),
    st.binary(),
)
def test_noise_behind_any_magic_is_refused(magic: bytes, noise: bytes) -> None:
    refused(magic + noise)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda v: st.lists(v) | st.dictionaries(st.text(max_size=3), v),
)


@given(values)
def test_any_value_as_a_tensor_is_read_or_refused(value: object) -> None:
    try:
        opened(with_json(json.dumps({"x": {"TORCHTENSOR": value}})))
    except UnreadableFile:
        return


@given(st.binary(max_size=64))
def test_any_bytes_as_json_are_read_or_refused(payload: bytes) -> None:
    try:
        opened(with_json(payload))
    except FileError:
        return
