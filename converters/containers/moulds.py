"""Torch archives of one mould: they differ from one that the strict reader accepted in names, numbers and checksums only.

A folder of embeddings mostly comes from one program. Whatever stands between the parts that differ is compared byte by byte,
so that an archive is taken here only where the strict reader would take it; every other one is left to it, which says why.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct as Layout
from struct import calcsize
from typing import Any
from zlib import crc32

from msgspec import Struct

from ..limits import WHOLE_READ
from ..source import Source
from .views import Run, Storage, must_be
from .zip_reader import CENTRAL, LOCAL, NAME, STORED, STREAMED, Archive, Entry

Parts = tuple[Any, ...]
Places = Callable[[Parts], Parts]
MOULDS = 64  # kept; each has about 2 KB, the headers and the padding of an archive
ENTRIES = 16  # of an archive worth keeping one for
CRC_LOCAL, CRC_CENTRAL, CRC_DESCRIPTOR = 14, 16, 4  # where the checksum stands in each record (APPNOTE 4.3.7, 4.3.12, 4.3.9)

_known: dict[object, Mould | None] = {}  # None: one such archive was seen, so the next one is worth a mould


class Mould(Struct, frozen=True):
    """How to cut an archive: fixed parts at the even places, and where in between the contents, names and checksums stand."""

    layout: Layout
    fixed: Parts
    keys: tuple[str, ...]
    small: tuple[str, ...]
    contents: Places
    roots: Places
    sums: Places
    sums_again: Places


class Filled:
    """An archive that fits a mould: the same as an Archive to whom reads it, with all checksums proven."""

    def __init__(self, name: str, root: str, mould: Mould, contents: Parts) -> None:
        self.name, self.root = name, root
        self._mould, self._contents = mould, dict(zip(mould.keys, contents, strict=True))

    def small(self) -> dict[str, bytes]:
        """All entries but the storages."""
        return {key: self._contents[key] for key in self._mould.small}

    def run(self, storage: Storage, *, big_endian: bool) -> Run:
        """The record of one storage, which must be exactly as large as the pickle says."""
        content = self._contents.get(f"data/{storage.key}")
        must_be(storage, None if content is None else len(content), self.name)
        assert content is not None
        return Run(storage.dtype or "U8", storage.numel, lambda start, length: content[start : start + length], big_endian)


def alike(source: Source) -> Filled | None:
    """The archive, if it fits the mould of an earlier one; None where the strict reader has to look."""
    data = source.read(0, source.size) if source.size <= WHOLE_READ else b""
    mould = _known.get(_key(data))
    if mould is None:
        return None
    parts = mould.layout.unpack(data)
    contents, roots = mould.contents(parts), mould.roots(parts)
    sums = tuple(map(crc32, contents))
    if parts[::2] != mould.fixed or mould.sums(parts) != sums or mould.sums_again(parts) != sums or roots.count(roots[0]) != len(roots):
        return None
    try:
        root = roots[0].decode()
    except UnicodeDecodeError:
        return None
    return Filled(source.name, root, mould, contents) if NAME.fullmatch(f"{root}/data.pkl") else None


def learned(archive: Archive) -> Archive:
    """An archive that the strict reader accepted, its mould kept from the second of a kind on."""
    data, entries = archive.bytes, archive.entries
    if data is not None and 1 < len(entries) <= ENTRIES and all(entry.method == STORED for entry in entries.values()):
        key = _key(data)
        seen = key in _known
        if not seen and len(_known) >= MOULDS:
            _known.clear()
        _known[key] = _mould(archive, data) if seen else None
    return archive


def _key(data: bytes) -> object:
    """What archives of one mould have in common: their size, their end records, and the first entry's sizes in the directory."""
    directory = int.from_bytes(data[-50:-42], "little")  # of zip64, which torch always writes
    return len(data), data[-98:], data[directory + 20 : directory + 28]


def _mould(archive: Archive, data: bytes) -> Mould:
    """Where things stand in an archive; what the reader found equal there has to be equal in the next one too."""
    root, record = len(archive.root.encode()), archive.directory
    contents, roots, sums, again = [], [], [], []
    for entry in archive.entries.values():  # in the order of the directory
        contents.append((entry.start, f"{entry.packed}s"))
        roots += [(entry.offset + LOCAL.size, f"{root}s"), (record + CENTRAL.size, f"{root}s")]
        sums.append((record + CRC_CENTRAL, "I"))
        again.append((_second_sum(entry), "I"))
        record += CENTRAL.size + sum(CENTRAL.unpack_from(data, record)[10:12])  # with the name and the extra fields
    varying = sorted([*contents, *roots, *sums, *again])
    code, at = "<", 0
    for start, kind in varying:
        code += f"{start - at}s{kind}"
        at = start + calcsize(f"<{kind}")
    layout = Layout(f"{code}{len(data) - at}s")

    def places(wanted: list[tuple[int, str]]) -> Places:
        return itemgetter(*(2 * varying.index(part) + 1 for part in wanted))

    fixed, small = layout.unpack(data)[::2], tuple(key for key in archive.entries if not key.startswith("data/"))
    return Mould(layout, fixed, tuple(archive.entries), small, places(contents), places(roots), places(sums), places(again))


def _second_sum(entry: Entry) -> int:
    """Where an entry's checksum stands besides the directory: in its descriptor if it has one, else in its local header."""
    return entry.start + entry.packed + CRC_DESCRIPTOR if entry.flags & STREAMED else entry.offset + CRC_LOCAL
