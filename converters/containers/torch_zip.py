"""torch.save's zip archives: the pickle in data.pkl, and the storages it names by persistent ids."""

from __future__ import annotations

import re
from typing import Any

from ..errors import UnreadableFile
from ..model import Contents, Node, Outline
from ..source import Source
from .allowed import Inert
from .container import Container
from .moulds import alike, learned
from .pickles import load
from .torch_zip_write import write
from .usual import load_usual
from .views import Run, Storage, fetcher
from .zip_reader import LOCAL_SIG, Archive

KEY = re.compile(r"\d{1,20}", re.ASCII)


def sniff(source: Source) -> bool:
    """A zip only if it begins as one; nothing may stand before it (threats P10)."""
    return source.head(4) == LOCAL_SIG


def read(source: Source) -> Contents:
    """The outline of a torch archive; the CRC of an entry is checked wherever the entry is read whole.

    A part read out of a storage larger than WHOLE_READ is not covered by any CRC.
    """
    archive = alike(source) or learned(Archive(source))
    records, storages = archive.small(), Storages(source.name)
    root_node, carried = _pickled(records["data.pkl"], source.name, storages)
    big = _big_endian(source.name, records)
    runs = carried | {s.key: archive.run(s, big_endian=big) for s in storages.seen.values()}
    outline = Outline(container="torch_zip", root=root_node, archive_root=archive.root, members=tuple(sorted(records)))
    return Contents(outline, fetcher(source.name, runs))


def _pickled(data: bytes, name: str, storages: Storages) -> tuple[Node, dict[str, Run]]:
    """What data.pkl holds, and the numbers that lie in it."""
    if usual := load_usual(data, storages):
        return usual, {}
    pickled = load(data, name, persistent=storages)
    if pickled.end != len(data):
        raise UnreadableFile(name, "something follows the pickle in data.pkl")
    return pickled.root, pickled.runs


def _big_endian(name: str, records: dict[str, bytes]) -> bool:
    order = records.get("byteorder", b"little")
    if order not in (b"little", b"big"):
        raise UnreadableFile(name, "its byte order is neither little nor big")
    return order == b"big"


class Storages:
    """Answers the persistent ids of torch; `seen` are the storages named, one type and one size for each key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: dict[str, Storage] = {}
        self._claims: dict[str, tuple[str, int]] = {}

    def __call__(self, pid: tuple[Any, ...]) -> Storage:
        if len(pid) != 5 or type(pid[0]) is not str or pid[0] != "storage":
            raise UnreadableFile(self.name, "its pickle holds a persistent id that names no storage")
        return self.storage(*pid[1:])

    def storage(self, cls: object, key: object, location: object, numel: object) -> Storage:
        """The storage `key`; where it lay (cpu, cuda:0) does not matter."""
        if type(cls) is not Inert or cls.means != "storage" or type(location) is not str:
            raise UnreadableFile(self.name, "its pickle names a storage of no known type")
        if type(key) is not str or not KEY.fullmatch(key) or type(numel) is not int or not 0 <= numel < 1 << 62:
            raise UnreadableFile(self.name, "its pickle names a storage without a key or a size")
        claim = (cls.name, numel)
        if self._claims.setdefault(key, claim) != claim:
            raise UnreadableFile(self.name, f"its pickle names storage {key} with two types or two sizes")
        if key not in self.seen:
            self.seen[key] = Storage(key, cls.dtype or None, numel, untyped=not cls.dtype)
        return self.seen[key]


CONTAINER = Container("torch_zip", "torch zip", sniff, read)

__all__ = ["CONTAINER", "KEY", "Storages", "read", "sniff", "write"]
