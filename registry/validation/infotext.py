"""The text under a picture as A1111 writes it: prompt, negative prompt, a line of parameters; and how a picture carries it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from ..verdicts import Cell, Checkpoint, Protocol
from .samplers import SAMPLERS

if TYPE_CHECKING:
    from .parts import Subject

EMPHASIS = {"a1111": "Original", "no_norm": "No norm", "comfyui": "ComfyUI"}  # A1111 knows the first two
SCHEDULES = ("Karras",)  # A1111 names them apart from the sampler since 1.9
EXIF, USER_COMMENT = 0x8769, 0x9286
HAS_EXIF = 0x08  # of the flags of VP8X


def signed(cell: Cell, subject: Subject, checkpoint: Checkpoint, protocol: Protocol) -> Cell:
    """The cell with its infotext."""
    return msgspec.structs.replace(cell, infotext=infotext(cell, subject, checkpoint, protocol))


def infotext(cell: Cell, subject: Subject, checkpoint: Checkpoint, protocol: Protocol) -> str:
    """What A1111's "PNG info" shows and "send to txt2img" reads."""
    # A1111 processing.py, create_infotext: the last line is `key: value, key: value`
    negative = f"\nNegative prompt: {cell.negative_prompt}" if cell.negative_prompt else ""
    told = ", ".join(f"{key}: {as_value(value)}" for key, value in parameters(cell, subject, checkpoint, protocol))
    return f"{cell.prompt}{negative}\n{told}".strip()


def parameters(cell: Cell, subject: Subject, checkpoint: Checkpoint, protocol: Protocol) -> Iterator[tuple[str, str]]:
    """The last line, in A1111's order and words."""
    title = SAMPLERS[cell.sampler].title
    schedule = next((name for name in SCHEDULES if title.endswith(f" {name}")), "")
    yield "Steps", str(cell.steps)
    yield "Sampler", title.removesuffix(f" {schedule}") if schedule else title
    if schedule:
        yield "Schedule type", schedule
    yield "CFG scale", f"{cell.cfg:g}"
    yield "Seed", str(cell.seed)
    yield "Size", f"{cell.width}x{cell.height}"
    yield "Model hash", checkpoint.fingerprint[:10]
    yield "Model", checkpoint.name
    if protocol.clip_skip:
        yield "Clip skip", str(protocol.clip_skip + 1)  # A1111's 1 is the last layer
    if cell.weight is not None and subject.shorthash:
        yield "TI hashes", f"{subject.trigger}: {subject.shorthash}"
    yield "Emphasis", EMPHASIS[protocol.emphasis]
    yield "RNG", "CPU"
    yield "Version", f"embconv {version('embconv')}"


def as_value(text: str) -> str:
    """A value; in quotes where it holds what parts values."""
    # A1111 infotext_utils.py, quote
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",\n:") else text


def in_webp(webp: bytes, text: str) -> bytes:
    """The WebP with the infotext as its Exif comment, where A1111 reads it; the picture stays as it was encoded."""
    from PIL import Image

    with Image.open(io.BytesIO(webp)) as image:
        width, height = image.size
    chunks = b"".join(chunk(name, data) for name, data in chunks_of(webp) if name not in (b"VP8X", b"EXIF"))
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = chunk(b"VP8X", bytes([HAS_EXIF, 0, 0, 0]) + size)
    body = b"WEBP" + extended + chunks + chunk(b"EXIF", comment(text))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def comment(text: str) -> bytes:
    """Exif that holds nothing but a comment."""
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(EXIF)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    return exif.tobytes().removeprefix(b"Exif\0\0")


def chunks_of(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a WebP file."""
    at = 12  # RIFF, size, WEBP
    while at + 8 <= len(webp):
        name, size = struct.unpack_from("<4sI", webp, at)
        yield name, webp[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk, padded to an even length."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
