"""Pictures made anew: small, plain, and nothing that is none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from embconv.registry.errors import NotAPicture
from embconv.registry.pictures import BYTES, PIXELS, Picture, encoded, picture_at, reencode, to_png

SAID = "a cat, <badhand>\nSteps: 20, Sampler: Euler a, Seed: 7"


def picture(kind: str, size: tuple[int, int] = (40, 20), mode: str = "RGB", colour: Any = "red", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **options)
    return out.getvalue()


def png_text(**texts: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return info


def comment(text: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif


def opened(found: Picture) -> Image.Image:
    made = Image.open(io.BytesIO(found.data))
    made.load()
    return made


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_pillow_reads_what_was_made_of(kind: str) -> None:
    found = reencode(picture(kind), f"a.{kind.lower()}")
    made = opened(found)
    assert (made.format, made.size, (found.width, found.height)) == ("WEBP", (40, 20), (40, 20))
    red, green, blue = made.convert("RGB").getpixel((20, 10))  # type: ignore[misc]  # three numbers
    assert red > 240
    assert max(green, blue) < 30


def test_a_large_one_becomes_small_and_keeps_its_shape() -> None:
    found = reencode(picture("PNG", (3000, 1500)), "a.png")
    assert (found.width, found.height) == opened(found).size == (1024, 512)


def test_what_is_transparent_stays_so() -> None:
    assert opened(reencode(picture("PNG", mode="RGBA", colour=(255, 0, 0, 100)), "a.png")).mode == "RGBA"
    assert opened(reencode(picture("PNG"), "a.png")).mode == "RGB"


@pytest.mark.parametrize(
    "data",
    [
        picture("PNG", pnginfo=png_text(parameters=SAID, workflow="SECRET", sd="SECRET")),
        picture("JPEG", exif=comment(SAID), comment=b"SECRET", icc_profile=b"SECRET profile"),
        picture("WEBP", exif=comment(SAID), xmp=b"SECRET", icc_profile=b"SECRET profile"),
    ],
    ids=["png", "jpeg", "webp"],
)
def test_the_recipe_is_kept_apart_and_nothing_else_is_left(data: bytes) -> None:
    assert b"SECRET" in data
    found = reencode(data, "a")
    assert found.recipe == {"parameters": SAID}
    assert b"SECRET" not in found.data
    assert b"Sampler" not in found.data
    assert not {"exif", "xmp", "icc_profile"} & opened(found).info.keys()
    assert len(opened(found).getexif()) == 0


def test_a_recipe_is_a_text_and_has_an_end() -> None:
    text = reencode(picture("PNG", pnginfo=png_text(parameters="x\x01\0y" + "z" * 100_000)), "a.png").recipe["parameters"]
    assert text.startswith("xy")
    assert len(text) <= 20_000
    assert reencode(picture("PNG", pnginfo=png_text(parameters="  ")), "a.png").recipe == {}


def test_a_picture_that_lies_on_its_side_is_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = reencode(picture("JPEG", (40, 20), exif=exif), "a.jpg")
    assert (found.width, found.height) == (20, 40)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb_png() -> bytes:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def bomb_webp() -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16_383).to_bytes(3, "little") * 2 + b"VP8 " + struct.pack("<I", 8) + b"\0" * 8
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def text_bomb() -> bytes:
    return picture("PNG")[:-12] + chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * (64 << 20))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: b"", "none of the kinds"),
        (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "none of the kinds"),
        (lambda: b"GIF89a" + b"\0" * 50, "none of the kinds"),
        (lambda: b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (lambda: picture("PNG", (400, 400))[:-60], "cannot be decoded"),
        (lambda: picture("JPEG", (400, 400))[:200], "cannot be decoded"),
        (lambda: b"\xff\xd8\xff" + b"\0" * 500, "cannot be decoded"),
        (lambda: b"RIFF\x10\0\0\0WEBPVP8 ", "cannot be decoded"),
        (bomb_png, "pixels"),
        (bomb_webp, "pixels"),
        (lambda: picture("PNG") + b"\0" * BYTES, "bytes"),
    ],
    ids=["empty", "svg", "gif", "head", "torn-png", "torn-jpeg", "noise", "torn-webp", "bomb-png", "bomb-webp", "bytes"],
)
def test_what_is_no_picture_is_said_to_be_none(make: Callable[[], bytes], why: str) -> None:
    with pytest.raises(NotAPicture) as caught:
        reencode(make(), "odd\x1b[31m.png")
    assert why in caught.value.says
    assert caught.value.code == "not_a_picture"
    assert "\x1b" not in caught.value.says


def test_a_canvas_without_end_is_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow makes room for it here"))
    with pytest.raises(NotAPicture, match="pixels"):
        reencode(bomb_webp(), "a.webp")


def test_a_colour_profile_is_left_behind() -> None:
    carrying = Image.new("RGB", (4, 4))
    carrying.info["icc_profile"] = b"SECRET profile"
    out = io.BytesIO()
    carrying.save(out, "PNG")
    assert b"iCCP" in out.getvalue()
    assert b"iCCP" not in encoded(carrying, "PNG")


def test_a_text_that_is_a_bomb_costs_little() -> None:
    try:
        found = reencode(text_bomb(), "a.png")
    except NotAPicture:
        return
    assert len(str(found.recipe)) < 30_000


def test_one_pixel_more_than_fits_is_refused() -> None:
    width = 6_000
    fits = picture("PNG", (width, PIXELS // width), mode="1")
    assert reencode(fits, "a.png").width == 1024
    with pytest.raises(NotAPicture):
        reencode(picture("PNG", (width, PIXELS // width + 1), mode="1"), "a.png")


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture("PNG"))
    assert picture_at(str(path)) == reencode(picture("PNG"), "a.png")
    with path.open("ab") as file:
        file.truncate(BYTES + 1)
    with pytest.raises(NotAPicture, match="bytes"):
        picture_at(str(path))


def test_as_png_the_pixels_are_the_same() -> None:
    found = reencode(picture("PNG", mode="RGBA", colour=(255, 0, 0, 100)), "a.png")
    made = Image.open(io.BytesIO(to_png(found.data, "a")))
    assert made.format == "PNG"
    assert made.tobytes() == opened(found).convert("RGBA").tobytes()
    with pytest.raises(NotAPicture):
        to_png(b"no", "a")
