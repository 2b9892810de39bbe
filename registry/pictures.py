"""Pictures made anew from what somebody gave: small, plain, with nothing in them but pixels."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from embconv.converters.limits import IMAGE_PIXELS, MIB
from embconv.converters.source import Source

from .errors import NotAPicture

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS = 4 * IMAGE_PIXELS  # previews that were upscaled have 6 to 17 million; 24 million are 100 MB of memory
BYTES = 32 * MIB
SIDE = 1_024               # pixels, of what is kept
QUALITY, FAST = 85, 0      # of WEBP; a slower one takes four times as long and saves two of a hundred bytes
RECIPE = 20_000            # characters
USER_COMMENT, EXIF = 0x9286, 0x8769
WEBP_HEAD = 30
KINDS = {"png": (".png",), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",), "avif": (".avif",)}
SUFFIXES = tuple(suffix for suffixes in KINDS.values() for suffix in suffixes)


class Picture(Struct, frozen=True, kw_only=True):
    """A picture as it is kept: WEBP. `recipe` is what the original said of how it was made."""

    data: bytes
    width: int
    height: int
    recipe: dict[str, Any] = {}


def reencode(data: bytes, name: str) -> Picture:
    """The picture in these bytes, at most 1,024 pixels a side, without its metadata. NotAPicture for what is none, or too large."""
    from PIL import Image, ImageOps

    if len(data) > BYTES:
        raise NotAPicture(name, f"it has more than {BYTES:,} bytes")
    kind = kind_of(data)
    if kind is None:
        raise NotAPicture(name, "it begins as none of the kinds that are read")
    if kind == "webp":
        must_fit(name, *webp_size(data))
    try:
        with Image.open(io.BytesIO(data), formats=[kind.upper()]) as opened:
            must_fit(name, *opened.size)
            recipe = recipe_of(opened)
            opened.thumbnail((SIDE, SIDE))
            turned = ImageOps.exif_transpose(opened)
            made = encoded(turned, "WEBP", quality=QUALITY, method=FAST)
            return Picture(data=made, width=turned.width, height=turned.height, recipe=recipe)
    except NotAPicture:
        raise
    except Exception as exc:  # decoders raise OSError, SyntaxError, ValueError, struct.error, RuntimeError ...
        raise NotAPicture(name, f"its pixels cannot be decoded ({exc})") from exc


def picture_at(path: str) -> Picture:
    """`reencode` of a file. NotAPicture, or UnreadableFile for one that cannot be read."""
    with Source(path) as source:
        if source.size > BYTES:
            raise NotAPicture(source.name, f"it has more than {BYTES:,} bytes")
        return reencode(source.read(0, source.size), source.name)


def to_png(data: bytes, name: str) -> bytes:
    """A picture that is kept here as PNG, which every program shows."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as opened:
            return encoded(opened, "PNG")
    except Exception as exc:
        raise NotAPicture(name, f"its pixels cannot be decoded ({exc})") from exc


def encoded(picture: Image, kind: str, **options: Any) -> bytes:
    """The pixels alone: what else the original carried is left behind."""
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    plain.info = {}  # Pillow writes colour profiles that it finds there
    out = io.BytesIO()
    plain.save(out, kind, **options)
    return out.getvalue()


def kind_of(data: bytes) -> str | None:
    """Which kind of picture this is, by how it begins."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "avif" if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1") else None


def must_fit(name: str, width: int, height: int) -> None:
    """NotAPicture for one whose pixels would fill the memory."""
    if width * height > PIXELS:
        raise NotAPicture(name, f"it has {width:,} x {height:,} pixels, more than {PIXELS:,}")


def webp_size(data: bytes) -> tuple[int, int]:
    """Of the canvas (RFC 9649), for which Pillow makes room when it only opens the file; (0, 0) where Pillow is to look."""
    kind, body = data[12:16], data[20:WEBP_HEAD]
    if kind == b"VP8X" and len(body) == WEBP_HEAD - 20:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) == WEBP_HEAD - 20:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def recipe_of(picture: Image) -> dict[str, Any]:
    """What A1111 wrote into the picture: `parameters` of a PNG, the user comment of a JPEG or WEBP."""
    said = picture.info.get("parameters")
    if not isinstance(said, str):
        comment = picture.getexif().get_ifd(EXIF).get(USER_COMMENT)
        said = comment_text(comment) if isinstance(comment, bytes) else ""
    text = "".join(c for c in said[:RECIPE] if c in "\n\t" or not ("\ud800" <= c <= "\udfff" or c < " "))
    return {"parameters": text} if text.strip() else {}


def comment_text(comment: bytes) -> str:
    """Exif's UserComment: eight bytes say which writing; A1111 writes UTF-16, the high byte first."""
    head, body = comment[:8], comment[8:]
    if head == b"UNICODE\0":
        return body.decode("utf-16-be", "ignore")
    return body.decode("ascii", "ignore") if head == b"ASCII\0\0\0" else ""
