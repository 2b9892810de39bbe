"""A strict zip archive of torch: every byte accounted for before anything is read, only the needed bytes read."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from io import BytesIO
from struct import Struct as Layout
from struct import pack

from msgspec import Struct

from ..errors import NotAnEmbedding, TooLarge, UnreadableFile
from ..limits import MIB, PICKLE_BYTES, WHOLE_READ, ZIP_ENTRIES, ZIP_INFLATED
from ..source import Source
from .views import Run, Storage, must_be

# PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16
LOCAL, LOCAL_SIG = Layout("<4s5H3I2H"), b"PK\3\4"
CENTRAL, CENTRAL_SIG = Layout("<4s6H3I5H2I"), b"PK\1\2"
END, END_SIG = Layout("<4s4H2IH"), b"PK\5\6"
LOCATOR, LOCATOR_SIG = Layout("<4sIQI"), b"PK\6\7"
END64, END64_SIG = Layout("<4sQ2H2I4Q"), b"PK\6\6"
DESCRIPTOR, DESCRIPTOR64, DESCRIPTOR_SIG = Layout("<4s3I"), Layout("<4sI2Q"), b"PK\7\x08"
FULL, FULL16 = 0xFFFFFFFF, 0xFFFF  # "look in the zip64 record"
STREAMED, UTF8 = 1 << 3, 1 << 11
FLAGS = STREAMED | UTF8 | 1 << 1 | 1 << 2  # 1 and 2 only tell how hard a deflater tried
STORED, DEFLATED = 0, 8
LINK_OR_FOLDER = (0xA, 0x4)  # of a Unix mode
FOLDER = 0x10  # of a DOS attribute: miniz gives no bytes for one, and torch takes what lay in memory
ZIP64, UNICODE_PATH = 1, 0x7075  # extra fields
DIRECTORY = 8 * MIB  # bytes of the directory; an SDXL checkpoint has 0.3 million
HEADS = 1 << 14  # bytes of the longest local header; torch pads to an alignment of 64 unless told otherwise
HEAD = 320  # of one local header: torch pads to 64 bytes and names are short

NAME = re.compile(
    r"([^/\\\0]{1,255})/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d{1,9})", re.ASCII
)


class Entry(Struct):
    """One record: what the directory says of it, and `start`, where its bytes begin."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    start: int = 0


class Archive:
    """The strict reader: the constructor has accounted for every byte of the file, or raised."""

    def __init__(self, source: Source) -> None:
        self.source, self.name = source, source.name
        self.bytes = source.read(0, source.size) if source.size <= WHOLE_READ else None
        self.directory, count, stop = self._end()
        entries = self._central(count, stop)
        self.root, self.entries = self._named(entries)
        at = 0
        for entry in sorted(entries, key=lambda e: e.offset):
            at = self._local(entry, at)
        if at != self.directory:
            raise self.bad("bytes between its last entry and its directory")
        self._sizes(entries)

    def at(self, start: int, most: int) -> bytes:
        """Up to `most` bytes from `start`, none of them of the directory."""
        stop = min(start + most, self.directory)
        return self.bytes[start:stop] if self.bytes is not None else self.source.read(start, max(0, stop - start))

    def bad(self, why: str) -> UnreadableFile:
        return UnreadableFile(self.name, f"its zip structure is wrong: {why}")

    def _end(self) -> tuple[int, int, int]:
        """Where the directory begins, its entries, where it ends."""
        size = self.source.size
        if size < END.size:
            raise self.bad("it is shorter than an empty archive")
        tail = self.source.read(max(0, size - 98), min(size, 98))  # 56 + 20 + 22
        sig, disk, first, here, count, length, offset, comment = END.unpack(tail[-22:])
        if sig != END_SIG or comment or disk or first or here != count:
            raise self.bad("its end record is not its end, or it is cut short")
        stop = size - END.size
        if tail[-42:-38] == LOCATOR_SIG:
            count, length, offset = self._end64(tail, (count, length, offset))
            stop -= LOCATOR.size + END64.size
        if offset + length != stop:
            raise self.bad("its directory is not where its end record says")
        if count > ZIP_ENTRIES:
            raise TooLarge(self.name, "zip entries", count, ZIP_ENTRIES)
        return offset, count, stop

    def _end64(self, tail: bytes, plain: tuple[int, int, int]) -> tuple[int, int, int]:
        """The zip64 end record, which torch always writes; it must stand right before its locator and agree."""
        _, disk, at, disks = LOCATOR.unpack(tail[-42:-22])
        if len(tail) < 98 or disk or disks != 1 or at != self.source.size - 98:
            raise self.bad("its zip64 locator points elsewhere")
        sig, size, _, _, disk, first, here, count, length, offset = END64.unpack(tail[-98:-42])
        if sig != END64_SIG or size != END64.size - 12 or disk or first or here != count:
            raise self.bad("its zip64 end record is damaged")
        for value, short, full in zip((count, length, offset), plain, (FULL16, FULL, FULL), strict=True):
            if short not in (value, full):
                raise self.bad("its two end records disagree")
        return count, length, offset

    def _central(self, count: int, stop: int) -> list[Entry]:
        if stop - self.directory > DIRECTORY:
            raise TooLarge(self.name, "bytes in its zip directory", stop - self.directory, DIRECTORY)
        data = self.source.read(self.directory, stop - self.directory)
        entries, at = [], 0
        for _ in range(count):
            entry, at = self._record(data, at)
            entries.append(entry)
        if at != len(data):
            raise self.bad("its directory holds more than its entries")
        return entries

    def _record(self, data: bytes, at: int) -> tuple[Entry, int]:
        if len(data) - at < CENTRAL.size:
            raise self.bad("its directory is cut short")
        fields = CENTRAL.unpack_from(data, at)
        sig, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, disk, _, attributes, offset = fields
        at += CENTRAL.size
        stop = at + named + extra
        if sig != CENTRAL_SIG or comment or disk or stop > len(data):
            raise self.bad("a damaged directory record")
        if flags & ~FLAGS or method not in (STORED, DEFLATED):
            raise self.bad("an entry is encrypted, or packed by an unknown method")
        if attributes >> 28 in LINK_OR_FOLDER or attributes & FOLDER:
            raise self.bad("an entry is a link or a folder")
        raw = data[at : at + named]
        if extra or FULL in (size, packed, offset):
            size, packed, offset = self._long(data[at + named : stop], (size, packed, offset))
        if method == STORED and size != packed:
            raise self.bad("a stored entry has two sizes")
        try:
            return Entry(raw, raw.decode(), flags, method, crc, packed, size, offset), stop
        except UnicodeDecodeError as exc:
            raise self.bad("an entry name is no UTF-8") from exc

    def _long(self, extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
        """`values`, those that are all ones taken from the zip64 extra field."""
        fields = self._extras(extra)
        wanted = values.count(FULL)
        wide = fields.get(ZIP64, b"")
        if not wanted:
            return values
        if len(wide) < 8 * wanted:
            raise self.bad("a zip64 size is missing")
        parts = iter([int.from_bytes(wide[i : i + 8], "little") for i in range(0, 8 * wanted, 8)])
        return tuple(next(parts) if value == FULL else value for value in values)

    def _extras(self, extra: bytes) -> dict[int, bytes]:
        fields, at = {}, 0
        while at < len(extra):
            kind, size = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
            if at + 4 + size > len(extra) or kind in fields or kind == UNICODE_PATH:
                raise self.bad("a damaged extra field, or one that renames its entry")
            fields[kind] = extra[at + 4 : at + 4 + size]
            at += 4 + size
        return fields

    def _kind(self, entries: list[Entry]) -> None:
        """NotAnEmbedding for the zips that are something else altogether."""
        inner = {entry.name.partition("/")[2] for entry in entries}
        if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
            raise NotAnEmbedding(self.name, "a TorchScript archive, which carries program code")
        if not any(name.casefold() == "data.pkl" for name in inner):
            raise NotAnEmbedding(self.name, "a zip archive", "Unpack it and convert the files inside.")

    def _named(self, entries: list[Entry]) -> tuple[str, dict[str, Entry]]:
        """The root folder and the entries by their name below it; no two names alike, even in another case."""
        found: dict[str, Entry] = {}
        roots, folded = set(), set()
        for entry in entries:
            match = NAME.fullmatch(entry.name)
            if not match:
                self._kind(entries)
                raise self.bad(f"an entry is named {entry.name[:80]!r}, which torch never writes")
            roots.add(match[1])
            folded.add(entry.name.casefold())
            found[match[2]] = entry
        if "data.pkl" not in found:
            self._kind(entries)
        if len(roots) != 1 or len(folded) != len(entries) or "data.pkl" not in found:
            raise self.bad("two entries of one name, two root folders, or no data.pkl")
        return roots.pop(), found

    def _local(self, entry: Entry, at: int) -> int:
        """Compare the local header and the descriptor with the directory; where the entry ends."""
        if entry.offset != at:
            raise self.bad("its entries overlap or leave a gap")
        head = self.at(at, HEAD)
        if len(head) < LOCAL.size:
            raise self.bad("an entry is cut short")
        sig, _, flags, method, _, _, crc, packed, size, named, extra = LOCAL.unpack_from(head)
        begin = LOCAL.size + named
        length = begin + extra
        if len(head) < length <= HEADS:
            head = self.at(at, length)
        name = head[LOCAL.size : begin]
        if sig != LOCAL_SIG or (flags, method, name) != (entry.flags, entry.method, entry.raw_name) or length > len(head):
            raise self.bad("an entry and its directory record disagree")
        if FULL in (size, packed) or (extra and not padded(head[begin:length])):
            size, packed = self._long(head[begin:length], (size, packed))
        real, told = (entry.crc, entry.packed, entry.size), (crc, packed, size)
        if told != real and not (flags & STREAMED and told == (0, 0, 0)):
            raise self.bad("an entry and its directory record disagree about its size or checksum")
        entry.start = at + length
        stop = entry.start + entry.packed
        if stop > self.directory:
            raise self.bad("an entry reaches into the directory")
        return self._descriptor(stop, real) if flags & STREAMED else stop

    def _descriptor(self, at: int, real: tuple[int, int, int]) -> int:
        """After a streamed entry: its numbers once more, in zip64 width where torch needs it."""
        data = self.at(at, DESCRIPTOR64.size)
        if real[1] < FULL and real[2] < FULL and data.startswith(DESCRIPTOR.pack(DESCRIPTOR_SIG, *real)):
            return at + DESCRIPTOR.size
        if data == DESCRIPTOR_SIG + pack("<I2Q", *real):
            return at + DESCRIPTOR64.size
        raise self.bad("an entry and its data descriptor disagree")

    def _sizes(self, entries: list[Entry]) -> None:
        """All that would be inflated, together; stored entries are bounded by the file itself."""
        inflated = sum(entry.size for entry in entries if entry.method == DEFLATED)
        if inflated > ZIP_INFLATED:
            raise TooLarge(self.name, "bytes in its compressed entries", inflated, ZIP_INFLATED)
        small = (e for key, e in self.entries.items() if not key.startswith("data/"))
        for entry in small:
            limit = PICKLE_BYTES if entry is self.entries["data.pkl"] else 256
            if entry.size > limit:
                raise TooLarge(self.name, f"bytes in {entry.name}", entry.size, limit)

    def small(self) -> dict[str, bytes]:
        """All entries but the storages."""
        return {key: self.whole(entry) for key, entry in self.entries.items() if not key.startswith("data/")}

    def whole(self, entry: Entry) -> bytes:
        """All bytes of one entry, its CRC checked."""
        data = self._inflated(entry) if entry.method == DEFLATED else self.source.read(entry.start, entry.packed)
        if zlib.crc32(data) != entry.crc:
            raise UnreadableFile(self.name, f"the checksum of {entry.name} is wrong")
        return data

    def _inflated(self, entry: Entry) -> bytes:
        """Piece by piece, so that no more than the result is held, and no more of it than the entry says."""
        machine, out, at = zlib.decompressobj(-15), BytesIO(), 0
        try:
            while not machine.eof and out.tell() <= entry.size:
                piece = machine.unconsumed_tail
                if not piece:
                    piece = self.source.read(entry.start + at, min(MIB, entry.packed - at))
                    at += len(piece)
                if not out.write(machine.decompress(piece, MIB)) and not piece:
                    break  # the stream is cut off
        except zlib.error as exc:
            raise UnreadableFile(self.name, f"{entry.name} cannot be inflated") from exc
        if out.tell() != entry.size or not machine.eof or at != entry.packed or machine.unused_data:
            raise UnreadableFile(self.name, f"{entry.name} inflates to another size than it says")
        return out.getvalue()

    def run(self, storage: Storage, *, big_endian: bool) -> Run:
        """The record of one storage, which must be exactly as large as the pickle says."""
        entry = self.entries.get(f"data/{storage.key}")
        must_be(storage, None if entry is None else entry.size, self.name)
        assert entry
        return Run(storage.dtype or "U8", storage.numel, self._reader(entry), big_endian)

    def _reader(self, entry: Entry) -> Callable[[int, int], bytes]:
        kept: list[bytes] = []  # what was inflated (all of it together is bounded), or nothing of what was stored

        def piece(start: int, length: int) -> bytes:
            large = entry.size > WHOLE_READ and length != entry.size
            if entry.method == STORED and (kept or large):  # once the checksum is proven, a tensor costs its own bytes only
                return self.source.read(entry.start + start, length)
            whole = kept[0] if kept else self.whole(entry)
            if not kept:
                kept.append(whole if entry.method == DEFLATED else b"")
            return whole[start : start + length]

        return piece


def padded(extra: bytes) -> bool:
    """Is this the one extra field by which torch aligns an entry (caffe2/serialize/inline_container.cc, getPadding)?"""
    return extra[:2] == b"FB" and int.from_bytes(extra[2:4], "little") == len(extra) - 4
