"""No safetensors file, however made, gets anything else than a FileError; none takes a second."""

from __future__ import annotations

import json
import struct
import time

import pytest
import safetensors
from hostile import ENTRY, HEADER, HEADER_BOMBS, SECONDS, framed, header_bomb, with_entry
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.containers import safetensors as ours
from embconv.converters.errors import FileError, TooLarge, UnreadableFile
from embconv.converters.model import Tensor
from embconv.converters.source import Source


def refused(data: bytes) -> FileError:
    """The error, which came within a second and can be shown on a terminal."""
    start = time.perf_counter()
    with pytest.raises(FileError) as caught:
        ours.read(Source(data, "hostile.safetensors"))
    assert time.perf_counter() - start < SECONDS
    assert caught.value.says.isprintable()
    return caught.value


BROKEN = {  # id: (bytes, a word of the reason)
    "S1: a leading space": (framed(b" " + HEADER), "begin with {"),
    "S2: a tensor twice": (framed(b'{"x":%s,"x":%s}' % (ENTRY.encode(), ENTRY.replace("F32", "I32").encode())), "twice"),
    "S2: a metadata key twice": (framed(b'{"__metadata__":{"a":"1","a":"2"},' + HEADER[1:]), "twice"),
    "S2: metadata twice": (framed(b'{"__metadata__":{},"__metadata__":{},' + HEADER[1:]), "twice"),
    "S2: a field twice": (with_entry(ENTRY.replace("{", '{"dtype":"I32",')), "twice"),
    "S3: an unknown field": (with_entry(ENTRY.replace("{", '{"strides":[1],')), "alone"),
    "a missing field": (with_entry('{"dtype":"F32","shape":[1,2]}'), "alone"),
    "an entry as a list": (with_entry('["F32",[1,2],[0,8]]'), "alone"),
    "an entry as null": (with_entry("null"), "alone"),
    "an unknown number type": (with_entry(ENTRY.replace("F32", "C64")), "C64"),
    "a number type of four bits": (with_entry(ENTRY.replace("F32", "F4")), "F4"),
    "a number type that is a list": (with_entry(ENTRY.replace('"F32"', "[]")), "type"),
    "a float in the shape": (with_entry(ENTRY.replace("[1,2]", "[1.0,2]")), "whole"),
    "true in the shape": (with_entry(ENTRY.replace("[1,2]", "[true,2]")), "whole"),
    "a negative shape": (with_entry(ENTRY.replace("[1,2]", "[-1,-2]")), "-1"),
    "minus zero": (with_entry(ENTRY.replace("[0,8]", "[-0,8]")), "-0"),
    "a shape that is text": (with_entry(ENTRY.replace("[1,2]", '"12"')), "whole"),
    "three offsets": (with_entry(ENTRY.replace("[0,8]", "[0,8,8]")), "whole"),
    "offsets backwards": (with_entry(ENTRY.replace("[0,8]", "[8,0]")), "needs"),
    "a shape that overflows 64 bits": (with_entry(ENTRY.replace("[1,2]", "[4294967296,4294967296]")), "needs"),
    "a size that is not the shape's": (with_entry(ENTRY.replace("[1,2]", "[1,3]")), "needs 12"),
    "digits without end": (with_entry(ENTRY.replace("[1,2]", f"[{'9' * 5000}]")), "number"),
    "NaN": (with_entry(ENTRY.replace("[1,2]", "[NaN]")), "NaN"),
    "Infinity": (with_entry(ENTRY.replace("[1,2]", "[-Infinity]")), "Infinity"),
    "a trailing comma": (framed(HEADER[:-1] + b",}"), "JSON"),
    "a byte order mark": (framed(b"\xef\xbb\xbf" + HEADER), "begin with {"),
    "bytes that are no UTF-8": (framed(HEADER.replace(b'"x"', b'"\xff"')), "UTF-8"),
    "half a character as a name": (framed(HEADER.replace(b'"x"', b'"\\ud800"')), "surrogate"),
    "half a character in the metadata": (framed(b'{"__metadata__":{"a":"\\udc00"},' + HEADER[1:]), "surrogate"),
    "metadata that is no text": (framed(b'{"__metadata__":{"a":1},' + HEADER[1:]), "text"),
    "metadata that is a list": (framed(b'{"__metadata__":[],' + HEADER[1:]), "dictionary"),
    "metadata that is null": (framed(b'{"__metadata__":null,' + HEADER[1:]), "dictionary"),
    "JSON behind the header": (framed(HEADER + b"{}"), "followed"),
    "padding that is a line break": (framed(HEADER + b"\n"), "followed"),
    "padding that is zeros": (framed(HEADER + b"\0\0"), "followed"),
    "bytes behind the numbers": (framed(HEADER, bytes(9)), "9"),
    "numbers cut off": (framed(HEADER, bytes(7)), "7"),
    "a hole at the start": (with_entry(ENTRY.replace("[0,8]", "[4,12]"), bytes(12)), "hole"),
    "a hole between": (framed(b'{"x":%s,"y":%s}' % (ENTRY.encode(), ENTRY.replace("[0,8]", "[9,17]").encode()), bytes(17)), "hole"),
    "an overlap": (framed(b'{"x":%s,"y":%s}' % (ENTRY.encode(), ENTRY.replace("[0,8]", "[4,12]").encode()), bytes(12)), "overlap"),
    "the same bytes twice": (framed(b'{"x":%s,"y":%s}' % (ENTRY.encode(), ENTRY.encode())), "overlap"),
    "a header longer than the file": (struct.pack("<Q", 4_000_000) + HEADER, "ends after"),
    "nothing": (b"", "too few"),
    "a length alone": (struct.pack("<Q", 2), "too few"),
    "a length of zero": (struct.pack("<Q", 0) + b"{}", "begin with {"),
    "lists nested without end": (framed(b'{"x":' + b"[" * 100_000), "nested"),
    "dictionaries nested without end": (framed(b'{"x":' * 100_000), "nested"),
}


def test_the_good_file_behind_the_broken_ones_is_read() -> None:
    assert ours.read(Source(framed(HEADER))).outline.root["x"].shape == (1, 2)


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    error = refused(data)
    assert isinstance(error, UnreadableFile)
    assert any(word in error.says for word in reason.split("|")), error.says


@pytest.mark.parametrize("bomb", HEADER_BOMBS)
def test_a_bomb_is_refused(bomb: str) -> None:
    assert isinstance(refused(header_bomb(bomb)), UnreadableFile if "159,000" in bomb else TooLarge)


def test_s5_control_characters_in_names_are_read_and_shown_escaped() -> None:
    name = "\x00\x1b[31m\u202egnp"
    data = framed(json.dumps({name: json.loads(ENTRY)}).encode())
    assert list(ours.read(Source(data)).outline.root) == [name]
    assert "\\x1b[31m\\u202e" in refused(framed(json.dumps({name: json.loads(ENTRY.replace("F32", "C64"))}).encode())).says


def test_millions_of_numbers_take_no_second() -> None:
    refused(framed(b'{"x":[' + b"1," * 2_000_000 + b"1]}"))


# ---- sniffing ----


def test_a_file_cut_in_its_header_is_known_and_refused() -> None:
    whole = struct.pack("<Q", 4096) + HEADER
    assert ours.sniff(Source(whole))
    assert "ends after" in refused(whole).says


def test_a_leading_space_is_known_and_refused() -> None:
    assert ours.sniff(Source(framed(b" " + HEADER)))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"data":{"x":1}}', b"PK\x03\x04....{", b"<html>\n\n{", bytes(9), b"\x80\x02}q\x00.\0\0{", b"12345678 abc"],
    ids=["nothing", "short", "json", "zip", "html", "zeros", "pickle", "text"],
)
def test_something_else_is_not_ours(data: bytes) -> None:
    assert not ours.sniff(Source(data))


# ---- damage ----

WHOLE = ours.write(
    {"clip_l": Tensor("F32", (2, 4), bytes(range(32))), "clip_g": Tensor("F16", (2, 4), bytes(16))}, {"format": "pt", "name": "x"}
)


def test_every_truncation_is_refused() -> None:
    for length in range(len(WHOLE)):
        refused(WHOLE[:length])


def test_every_flipped_bit_is_read_or_refused_as_the_library_does() -> None:
    for bit in range(8 * len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[bit // 8] ^= 1 << bit % 8
        differential(bytes(damaged))


@given(st.binary(max_size=200))
def test_any_header_is_read_or_refused(header: bytes) -> None:
    differential(framed(b"{" + header))


tokens = st.lists(
    st.sampled_from(['"x"', '"y"', "{", "}", "[", "]", ",", ":", "0", "8", "-1", "1e9", "NaN", "null", ENTRY, '"__metadata__"', " "])
)


@given(tokens)
def test_any_json_is_read_or_refused(parts: list[str]) -> None:
    differential(framed(b"{" + "".join(parts).encode() + b"}"))


def differential(data: bytes) -> None:
    """A FileError, or a file that the library reads too, with the same tensors."""
    try:
        contents = ours.read(Source(data))
        mine = {name: (i.dtype, list(i.shape), contents.fetch(i).data) for name, i in contents.outline.root.items()}
    except FileError:
        return
    library = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # the library has no types
    theirs = {name: (t["dtype"], list(t["shape"]), bytes(t["data"])) for name, t in library}
    assert mine == theirs
