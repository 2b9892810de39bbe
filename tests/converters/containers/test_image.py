"""Cards carry an embedding twice, and A1111's own algorithm reads ours as we read its."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from embconv.converters.containers import image, png
from embconv.converters.errors import CannotHold, NotAnEmbedding, UnreadableFile
from embconv.converters.model import Tensor
from embconv.converters.source import Source

VECTORS = np.random.default_rng(1).normal(0, 0.1, (2, 768)).astype("<f4")


def tree(tensor: Tensor | None = None) -> dict[str, Any]:
    tensor = tensor or Tensor("F32", VECTORS.shape, VECTORS.tobytes())
    return {
        "string_to_token": {"*": 265}, "string_to_param": {"*": tensor},
        "name": "ゆの", "step": 1000, "sd_checkpoint": None, "sd_checkpoint_name": None,
    }  # fmt: skip


CARD = image.write(tree(), name="yuno", subtitle="2 vectors, 1000 steps", footer="Stable Diffusion 1.x")


def read(data: bytes) -> tuple[dict[str, Any], Tensor]:
    contents = image.read(Source(data, "card"))
    root = dict(contents.outline.root)
    return root, contents.fetch(root.pop("string_to_param")["*"])


def pixels_only(data: bytes, form: str = "PNG", **options: object) -> bytes:
    """The picture saved anew, its text lost."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(Image.open(io.BytesIO(data)))).save(out, form, **options)
    return out.getvalue()


def with_text(payload: bytes, *, keyword: bytes = b"sd-ti-embedding", kind: bytes = b"tEXt", before: bytes = b"IDAT") -> bytes:
    """A tiny picture with one text."""
    bodies = {
        b"tEXt": keyword + b"\0" + payload,
        b"zTXt": keyword + b"\0\0" + zlib.compress(payload),
        b"iTXt": keyword + b"\0\0\0en\0\0" + payload,
        b"iTXz": keyword + b"\0\1\0\0\0" + zlib.compress(payload),
    }
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "white").save(out, "PNG")
    return out.getvalue().replace(
        before_of(out.getvalue(), before), chunk(kind.replace(b"iTXz", b"iTXt"), bodies[kind]) + before_of(out.getvalue(), before)
    )


def before_of(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[at : at + 8]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def a1111_json(value: object) -> bytes:
    return base64.b64encode(json.dumps({"string_to_param": {"*": {"TORCHTENSOR": value}}, "name": "x"}).encode())


# ---- an independent reader, written from the description of A1111's, slow and plain ----


def oracle(data: bytes) -> dict[str, Any]:
    rows = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int).tolist()
    lit = [[all(channel > 0 for channel in pixel) for pixel in row] for row in rows]
    high_up = [y for y, row in enumerate(lit) if any(row)]
    across = [x for x in range(len(rows[0])) if any(row[x] for row in lit)]
    rows = [[[c & 0x0F for c in pixel] for pixel in row[across[0] : across[-1] + 1]] for row in rows[high_up[0] : high_up[-1] + 1]]
    black = [x for x in range(len(rows[0])) if sum(sum(row[x]) for row in rows) == 0]
    assert len(black) >= 2
    low = unscrambled([c for row in rows for pixel in row[: black[0]] for c in pixel])
    high = unscrambled([c for row in rows for pixel in row[black[-1] + 1 :] for c in pixel])
    packed = bytes(h << 4 | n for h, n in zip(high, low, strict=True))
    return dict(json.loads(zlib.decompressobj().decompress(packed)))


def unscrambled(nibbles: list[int]) -> list[int]:
    state, out = 0, []
    for nibble in nibbles:
        state = (1664525 * state + 1013904223) % 2**32
        out.append(nibble ^ (state % 255 & 0x0F))
    return out


# ---- what we write ----


def test_the_card_is_read_back_bit_for_bit() -> None:
    root, tensor = read(CARD)
    assert tensor == Tensor("F32", (2, 768), VECTORS.tobytes())
    assert root == {"string_to_token": {"*": 265}, "name": "ゆの", "step": 1000, "sd_checkpoint": None, "sd_checkpoint_name": None}
    assert list(image.read(Source(CARD)).outline.root) == list(tree())


def test_the_pixels_alone_are_enough() -> None:
    assert read(pixels_only(CARD)) == read(CARD)


def test_a1111_reads_the_card_by_its_text() -> None:
    text = Image.open(io.BytesIO(CARD)).text["sd-ti-embedding"]  # type: ignore[attr-defined]  # of PngImageFile
    found = json.loads(base64.b64decode(text))
    assert np.array(found["string_to_param"]["*"]["TORCHTENSOR"]).astype("<f4").tobytes() == VECTORS.tobytes()


def test_a1111_reads_the_card_by_its_pixels() -> None:
    found = oracle(CARD)
    assert found["name"] == "ゆの"
    assert np.array(found["string_to_param"]["*"]["TORCHTENSOR"]).astype("<f4").tobytes() == VECTORS.tobytes()


def test_floats_are_written_as_the_shortest_double_of_the_float32() -> None:
    assert oracle(CARD)["string_to_param"]["*"]["TORCHTENSOR"] == VECTORS.tolist()


def test_equal_input_gives_equal_bytes() -> None:
    assert image.write(tree(), name="yuno", subtitle="2 vectors, 1000 steps", footer="Stable Diffusion 1.x") == CARD


@pytest.mark.parametrize("size", [0, 1, 500, 3000])
def test_every_size_of_payload_is_carried(size: int) -> None:
    card = image.write({"x": "x" * size, "n": [str(i * i) for i in range(size)]}, name="")
    assert json.loads(image.read_pixels(Source(card)) or b"") == oracle(card)


@pytest.mark.parametrize("name", ["", "ゆの" * 50, "a\nb\x1b[31m", "W" * 300, "🎨"], ids=["none", "japanese", "control", "wide", "emoji"])
def test_any_name_can_be_drawn(name: str) -> None:
    assert read(image.write(tree(), name=name, subtitle=name, footer=name)) == read(CARD)


@pytest.mark.parametrize(
    ("dtype", "data", "wide"),
    [
        ("F16", np.array([[1.5, -0.0, 6e-8, np.inf]], "<f2").tobytes(), np.array([[1.5, -0.0, 6e-8, np.inf]], "<f2").astype("<f4")),
        ("BF16", b"\x80\x3f\x01\x00\x00\x80\xc0\x7f", np.frombuffer(b"\0\0\x80\x3f\0\0\x01\0\0\0\0\x80\0\0\xc0\x7f", "<f4")),
        ("F32", b"\1\0\0\0\0\0\0\x80\0\0\xc0\x7f\0\0\x80\xff", np.frombuffer(b"\1\0\0\0\0\0\0\x80\0\0\xc0\x7f\0\0\x80\xff", "<f4")),
    ],
    ids=["F16", "BF16", "F32"],
)
def test_denormals_minus_zero_and_nan_survive(dtype: str, data: bytes, wide: Any) -> None:
    card = image.write(tree(Tensor(dtype, (1, 4), data)), name="x")
    assert read(card)[1] == Tensor("F32", (1, 4), wide.tobytes())
    assert read(pixels_only(card))[1] == Tensor("F32", (1, 4), wide.tobytes())


def test_what_no_float32_holds_is_kept_as_a_double() -> None:
    data = struct.pack("<3d", 0.1, 1e300, -5)
    assert read(image.write(tree(Tensor("F64", (3,), data)), name="x"))[1] == Tensor("F64", (3,), data)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1, 4), (4,)], ids=str)
def test_every_shape_is_carried(shape: tuple[int, ...]) -> None:
    tensor = Tensor("F32", shape, struct.pack("<4f", 1, 2, 3, 4)[: 4 * int(np.prod(shape))])
    assert read(image.write(tree(tensor), name="x"))[1] == tensor


@pytest.mark.parametrize("node", [b"bytes", {1: 2}, Tensor("F8_E4M3", (1,), b"\0")], ids=["bytes", "int key", "fp8"])
def test_what_json_cannot_say_is_refused(node: object) -> None:
    with pytest.raises(CannotHold):
        image.write({"x": node}, name="x")


@settings(max_examples=15)
@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_any_float32_is_carried_by_both(values: list[float]) -> None:
    data = struct.pack(f"<{len(values)}f", *(0.0 if math.isnan(v) else v for v in values))
    card = image.write(tree(Tensor("F32", (1, len(values)), data)), name="x")
    assert read(card)[1].data == data
    assert read(pixels_only(card))[1].data == data


# ---- what others wrote ----


@pytest.mark.parametrize(
    ("form", "options"), [("WEBP", {"lossless": True, "exact": True}), ("PNG", {"compress_level": 0})], ids=["webp", "png"]
)
def test_a_lossless_copy_in_another_format_is_read(form: str, options: dict[str, object]) -> None:
    copy = pixels_only(CARD, form, **options)
    assert image.read(Source(copy)).outline.container == form.lower()
    assert read(copy) == read(CARD)


def test_an_alpha_channel_does_not_matter() -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(CARD)).convert("RGBA").save(out, "PNG")
    assert read(out.getvalue()) == read(CARD)


def test_a_black_frame_is_cropped() -> None:
    pixels = np.pad(np.asarray(Image.open(io.BytesIO(CARD))), ((7, 3), (5, 11), (0, 0)))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    assert read(out.getvalue()) == read(CARD)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iTXz"])
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_the_text_may_be_of_any_kind_and_anywhere(kind: bytes, before: bytes) -> None:
    data = with_text(a1111_json([[0.5, 0.25]]), kind=kind, before=before)
    assert image.read(Source(data)).fetch(image.read(Source(data)).outline.root["string_to_param"]["*"]).data == struct.pack(
        "<2f", 0.5, 0.25
    )


def test_two_megabytes_of_packed_text_are_read_although_pillow_refuses_them() -> None:
    values = np.random.default_rng(2).normal(size=(80, 768)).astype("f4").tolist()
    data = with_text(a1111_json(values), kind=b"zTXt")
    assert image.read(Source(data)).outline.root["string_to_param"]["*"].shape == (80, 768)


def test_a_text_is_read_without_pillow_and_numpy(tmp_path: Path) -> None:
    (tmp_path / "card.png").write_bytes(CARD)
    code = (
        "import sys; from embconv.converters.containers import image; from embconv.converters.source import Source;"
        f"image.read(Source({str(tmp_path / 'card.png')!r})); print({{'PIL', 'numpy', 'torch'}} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {})], ids=["png", "webp", "lossless", "avif"]
)
@pytest.mark.parametrize("colour", ["white", "black", "grey", "noise"])
def test_a_preview_is_no_embedding(form: str, options: dict[str, object], colour: str) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8))
    out = io.BytesIO()
    (noise if colour == "noise" else Image.new("RGB", (64, 64), colour)).save(out, form, **options)
    with pytest.raises(NotAnEmbedding, match="a preview, perhaps"):
        image.read(Source(out.getvalue()))


def test_a_palette_loses_the_embedding() -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(CARD)).convert("P", palette=Image.Palette.ADAPTIVE).save(out, "PNG")
    with pytest.raises(NotAnEmbedding):
        image.read(Source(out.getvalue()))


def test_another_text_is_no_embedding() -> None:
    with pytest.raises(NotAnEmbedding):
        image.read(Source(with_text(b"a cat, masterpiece", keyword=b"parameters")))


def test_jpeg_xl_is_known_by_both_of_its_magics() -> None:
    for magic in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"):
        assert image.form(Source(magic + bytes(50))) == "jxl"
        with pytest.raises(UnreadableFile):
            image.read(Source(magic + bytes(50)))


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"\xff\xd8\xff", b"GIF89a", b"\0\0\0\x18ftypmp42" + bytes(40)])
def test_other_files_are_not_ours(data: bytes) -> None:
    assert not image.sniff(Source(data))


def test_avif_is_known_by_a_compatible_brand() -> None:
    assert image.form(Source(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")) == "avif"


def test_pillow_finds_our_chunks_well_formed() -> None:
    picture = Image.open(io.BytesIO(CARD))
    assert isinstance(picture, PngImagePlugin.PngImageFile)
    picture.verify()
    assert [c.kind for c in png.chunks(Source(CARD))][:3] == [b"IHDR", b"tEXt", b"IDAT"]


# ---- a real file ----


def test_the_real_card_has_the_numbers_of_the_manifest_in_both_carriers(real: Path) -> None:
    line = next(m for m in json.loads((real / "manifest.json").read_text()) if m["file"].endswith(".png"))
    known = line["tensors"]["string_to_param.*"]["sha256_f32le"]
    data = (real / line["file"]).read_bytes()
    for carrier in (data, pixels_only(data), pixels_only(data, "WEBP", lossless=True)):
        root, tensor = read(carrier)
        assert (tensor.dtype, tensor.shape, root["name"]) == ("F32", (8, 768), "gasai yuno")
        assert hashlib.sha256(tensor.data).hexdigest() == known
    assert oracle(data)["name"] == "gasai yuno"
