"""What a file's bytes tell without the store."""

import math
import struct

import msgspec
import pytest
import stored

from embconv.converters.hashes import a1111_checksum
from embconv.converters.model import Tensor
from embconv.converters.numbers import converted, norms
from embconv.registry.model import Prepared
from embconv.registry.prepare import file_name, lengths, prepare


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("style.pt", "style.pt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\style.pt", "style.pt"),
        ("C:\\style.pt", "style.pt"),
        ("a\0\x1b[31m.pt", "a[31m.pt"),
        ("exe.\u202etp", "exe.tp"),
        ("a\r\nSet-Cookie: x.pt", "aSet-Cookie: x.pt"),
        ("", "embedding"),
        ("..", "embedding"),
        (".", "embedding"),
        ("/", "embedding"),
        ("  ", "embedding"),
        ("  spaced.pt ", "spaced.pt"),
        ("絵.pt", "絵.pt"),
        ("\udcff.pt", "?.pt"),
        ("x" * 300 + ".pt", "x" * 252 + ".pt"),
        ("ä" * 300 + ".pt", "ä" * 126 + ".pt"),
        ("." + "x" * 300, "." + "x" * 254),
    ],
)
def test_a_file_name_is_only_ever_a_name(given: str, kept: str) -> None:
    found = file_name(given)
    assert found == kept
    assert len(found.encode()) <= 255


def test_what_is_prepared_travels_between_processes() -> None:
    found = prepare(stored.words(1, 2), name="words.bin")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Prepared) == found


def test_it_knows_every_encoder_and_a1111s_checksum_of_it() -> None:
    (found,) = prepare(stored.sdxl(1), name="a.safetensors").embeddings
    assert {key: (entry.vectors, entry.width, entry.dtype) for key, entry in found.encoders.items()} == {
        "clip_l": (2, 768, "F32"), "clip_g": (2, 1280, "F32")}  # fmt: skip
    assert found.base == "sdxl"
    assert set(found.checksums) == {a1111_checksum(stored.numbers(1)), a1111_checksum(stored.numbers(1, width=1280))}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_lengths_are_those_that_the_converter_finds(dtype: str) -> None:
    numbers = [0.0] * 8 + [float(n) / 7 for n in range(8)] + [-0.0] * 7 + [1e-30]
    tensor, _ = converted(Tensor("F32", (3, 8), struct.pack("<24f", *numbers)), dtype)
    assert lengths(tensor) == pytest.approx(list(norms(tensor)), rel=1e-12)
    assert [length == 0 for length in lengths(tensor)] == [length == 0 for length in norms(tensor)]


def test_the_length_of_what_is_no_number_is_none() -> None:
    tensor = Tensor("F32", (2, 2), struct.pack("<4f", math.nan, 1, math.inf, 1))
    assert not any(map(math.isfinite, lengths(tensor)))
