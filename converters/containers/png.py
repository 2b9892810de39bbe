"""PNG as a row of chunks: the text that is in it, and the picture alone without all that is around it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from ..errors import TooLarge, UnreadableFile
from ..limits import IMAGE_TEXT, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..source import Source

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS = 100_000  # in one file; 16 million pixels in Pillow's IDATs of 64 KB make 1,000
FRAME = 12  # bytes of a chunk that are not its body: length, kind, CRC
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # all that pixels need: no profile, no EXIF, no animation


class Chunk(NamedTuple):
    """One chunk: what it is and where its body lies."""

    kind: bytes
    start: int
    length: int


def chunks(source: Source) -> list[Chunk]:
    """Every chunk up to IEND, lengths and checksums proven; what follows IEND is not looked at."""
    found = list(_walk(source))
    if found[0].kind != b"IHDR" or found[0].length != 13 or sum(c.kind == b"IHDR" for c in found) > 1:
        raise UnreadableFile(source.name, "it is a PNG that does not begin with its header, or has two")
    return found


def _walk(source: Source) -> Iterator[Chunk]:
    at = len(SIGNATURE)
    for _ in range(CHUNKS):
        if at + FRAME > source.size:
            raise UnreadableFile(source.name, "the PNG ends before its end mark")
        head = source.read(at, 8)
        chunk = Chunk(head[4:], at + 8, int.from_bytes(head[:4], "big"))
        at += FRAME + chunk.length
        if at > source.size:
            raise UnreadableFile(source.name, "the PNG ends inside a chunk")
        if chunk.kind != b"IDAT":  # pixels have a checksum of their own; they are not read where the text tells all
            prove(source, chunk)
        yield chunk
        if chunk.kind == b"IEND":
            return
    raise TooLarge(source.name, "chunks of PNG or more", CHUNKS, CHUNKS)


def prove(source: Source, chunk: Chunk) -> None:
    """The chunk's checksum, taken piece by piece."""
    crc, at, end = zlib.crc32(chunk.kind), chunk.start, chunk.start + chunk.length
    while at < end:
        crc = zlib.crc32(source.read(at, min(MIB, end - at)), crc)
        at += MIB
    if crc != int.from_bytes(source.read(end, 4), "big"):
        raise UnreadableFile(source.name, "a chunk of the PNG does not fit its checksum")


def dimensions(source: Source, found: list[Chunk]) -> tuple[int, int]:
    """Width and height as the header has them."""
    header = source.read(found[0].start, 8)
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")


def picture(source: Source, found: list[Chunk]) -> bytes:
    """A PNG of the pixels alone, so that nothing else of the file reaches a decoder."""
    parts = [SIGNATURE]
    for chunk in found:
        if chunk.kind in PICTURE:
            prove(source, chunk)
            parts.append(source.read(chunk.start - 8, chunk.length + FRAME))
    return b"".join(parts)


def text(source: Source, found: list[Chunk], keyword: bytes) -> bytes | None:
    """The one text under `keyword`, inflated where it was deflated; two of them are refused."""
    mark = keyword + b"\0"
    ours = [c for c in found if c.kind in TEXTS and c.length >= len(mark) and source.read(c.start, len(mark)) == mark]
    if len(ours) > 1:
        raise UnreadableFile(source.name, f"it has {len(ours)} texts {keyword.decode()}, and readers disagree which one counts")
    if not ours:
        return None
    chunk = ours[0]
    if chunk.length > IMAGE_TEXT:
        raise TooLarge(source.name, "bytes of text in a PNG chunk", chunk.length, IMAGE_TEXT)
    body = source.read(chunk.start + len(mark), chunk.length - len(mark))
    return _plain(source.name, chunk.kind, body)


def _plain(name: str, kind: bytes, body: bytes) -> bytes:
    """The text of one chunk without what its kind puts before it (PNG specification, 11.3.3)."""
    if kind == b"tEXt":
        return body
    if kind == b"zTXt":
        if body[:1] != b"\0":
            raise UnreadableFile(name, "its PNG text is packed by an unknown method")
        return inflated(name, body[1:], IMAGE_TEXT, "its PNG text")
    flags, rest = body[:2], body[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(rest) != 3 or flags not in (b"\0\0", b"\1\0"):
        raise UnreadableFile(name, "its international PNG text is malformed")
    return inflated(name, rest[2], IMAGE_TEXT, "its PNG text") if flags[0] else rest[2]


def inflated(name: str, packed: bytes, limit: int, what: str) -> bytes:
    """`packed` by zlib, never more than `limit` bytes; what follows the stream is not looked at."""
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(packed, limit + 1)
    except zlib.error as exc:
        raise UnreadableFile(name, f"{what} is damaged: {exc}") from exc
    if len(plain) > limit:
        raise TooLarge(name, f"bytes or more in {what}, inflated", len(plain), limit)
    if not machine.eof:
        raise UnreadableFile(name, f"{what} is cut off")
    return plain
