"""What is no embedding although somebody keeps it as one: told by its first bytes, with what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..display import quoted

if TYPE_CHECKING:
    from ..source import Source

HEAD = 4096  # bytes looked at; the farthest mark, ustar, is at 257
QUOTED = 80  # characters shown of a text

UNPACK = "Unpack it and convert what is inside."
PICTURE = "An image embedding is a PNG, WEBP, AVIF or JXL. If this once was one, the numbers in it are lost: get the original."
LOGIN = "A web page was saved in its place, often a login page: download it again while logged in."
POINTER = "Run `git lfs pull` where it came from, or download the file itself."
MODEL = "Only the embedding's own file can be converted."
NOTHING = ""

Answer = tuple[str, str]  # what it is, what to do

MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a git-LFS pointer, which only names the file", POINTER),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (0, b"\x04\x22\x4d\x18", "an lz4 archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", NOTHING),
    (257, b"ustar", "a tar archive (the form torch wrote before 0.1.10)", "Load it in an old torch and save it again."),
    (0, b"GGUF", "a GGUF model", MODEL),
    (0, b"lmgg", "a GGML model", MODEL),                    # the same family before GGUF, magic little endian
    (0, b"tjgg", "a GGML model", MODEL),                    # ggjt
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras keeps models in it)", MODEL),
    (4, b"TFL3", "a TensorFlow Lite model", MODEL),
    (0, b"\xff\xd8\xff", "a JPEG picture", PICTURE),
    (0, b"GIF87a", "a GIF picture", PICTURE),
    (0, b"GIF89a", "a GIF picture", PICTURE),
    (0, b"II*\0", "a TIFF picture", PICTURE),
    (0, b"MM\0*", "a TIFF picture", PICTURE),
    (0, b"8BPS", "a Photoshop picture", PICTURE),
    (4, b"ftyp", "a video or HEIC picture", PICTURE),       # AVIF has the same mark: image.py is asked before
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", NOTHING),
    (0, b"%PDF-", "a PDF document", NOTHING),
    (0, b"\x7fELF", "a program (ELF)", "Do not run it."),
    (0, b"\xcf\xfa\xed\xfe", "a program (Mach-O)", "Do not run it."),
    (0, b"SQLite format 3\0", "an SQLite database", NOTHING),
)  # fmt: skip

TEXTS: tuple[tuple[str, str, str], ...] = (  # beginnings of a text, in lower case, blanks before it left out
    ("<!doctype html", "an HTML page", LOGIN),
    ("<html", "an HTML page", LOGIN),
    ("<head", "an HTML page", LOGIN),
    ("<body", "an HTML page", LOGIN),
    ("<script", "an HTML page", LOGIN),
    ("<!--", "an HTML page", LOGIN),
    ("<svg", "an SVG drawing", PICTURE),
    ("<?xml", "an XML text, perhaps the error answer of a server", "Download it again; the link may have expired."),
    ("<error", "an XML text, perhaps the error answer of a server", "Download it again; the link may have expired."),
    ("{", "a JSON text, perhaps the error answer of a server or a sidecar", "The embedding's own file is another."),
    ("[", "a JSON text, perhaps the error answer of a server or a sidecar", "The embedding's own file is another."),
)  # fmt: skip

BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the second header: the two letters BM alone prove nothing
PICKLE_0 = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\((?:[dlt]p?\d*\n|c[A-Za-z_][\w.]*\n|i[A-Za-z_][\w.]*\n|S['\"]|V)")


def identify_foreign(source: Source) -> Answer | None:
    """What the file is and what to do, where its first bytes tell; None where they do not."""
    if source.size == 0:
        return "an empty file of zero bytes", "Download it again."
    head = source.head(HEAD)
    if not any(head) and not any(source.read(max(0, source.size - HEAD), min(HEAD, source.size))):
        return "a file of zero bytes only: a broken download", "Download it again."
    for at, magic, what, hint in MAGIC:
        if head.startswith(magic, at):
            return what, hint
    return _by_structure(head) or _by_text(head)


def begins_pickle_0(source: Source) -> bool:
    """Does it begin as a pickle of protocol 0, or a text that looks like one?"""
    return bool(PICKLE_0.match(source.head(HEAD)))


def _by_structure(head: bytes) -> Answer | None:
    """Marks that are too short to be believed alone."""
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "a bzip2 archive", UNPACK
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "a BMP picture", PICTURE
    if head[:2] == b"MZ" and head.startswith(b"PE\0\0", int.from_bytes(head[60:64], "little")):
        return "a program (Windows)", "Do not run it."
    if _is_onnx(head):
        return "an ONNX model", MODEL
    return None


def _is_onnx(head: bytes) -> bool:
    """ModelProto: field 1 ir_version, then field 2 producer_name, as every exporter writes them."""
    if len(head) < 8 or head[0] != 0x08 or not 1 <= head[1] <= 32 or head[2] != 0x12 or not 1 <= head[3] <= 64:
        return False
    producer = head[4 : 4 + head[3]]
    return producer.isascii() and producer.decode("ascii").isprintable()


def _by_text(head: bytes) -> Answer | None:
    if PICKLE_0.match(head):
        return "a pickle of protocol 0, a form in which no program writes embeddings", "embconv did not run it."
    text = _text(head)
    if text is None:
        return None
    start = text.lstrip().lower()
    if start.startswith(("<?xml", "<!--")) and "<svg" in start:
        return "an SVG drawing", PICTURE
    if start.startswith("<?xml") and "<html" in start:
        return "an HTML page", LOGIN
    for beginning, what, hint in TEXTS:
        if start.startswith(beginning):
            return what, f"{hint} {_begins(text)}"
    return "plain text", _begins(text)


def _text(head: bytes) -> str | None:
    """The head as text, where it is one; a character cut at its end does not matter."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _clean(head[: len(head) & ~1].decode("utf-16", "ignore"))
    for cut in range(4 if len(head) == HEAD else 1):
        try:
            return _clean(head[: len(head) - cut].decode("utf-8-sig"))
        except UnicodeDecodeError:
            continue
    return None


def _clean(text: str) -> str | None:
    """None where control characters say that it is no text."""
    return text if not any(c < " " and c not in "\t\n\r\f\x1b" for c in text) else None


def _begins(text: str) -> str:
    line = " ".join(text.split())
    return f"It begins: {quoted(line[:QUOTED])}." if line else ""
