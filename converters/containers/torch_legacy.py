"""torch.save's format before 1.6: five pickles, then the raw storages in the order the fifth one names."""

from __future__ import annotations

from typing import Any

from ..errors import UnreadableFile
from ..limits import MIB, PICKLE_BYTES, ZIP_ENTRIES
from ..model import SIZES, Contents, Node, Outline
from ..source import Source
from .allowed import Inert
from .container import Container
from .pickles import Pickled, load
from .torch_zip import KEY, Storages
from .views import Run, Storage, fetcher

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of 0x1950a86a20f9469cfc6c, to the byte (threats P9)
PROTOCOL = 1001
FEW = 1_000  # opcodes of a pickle with one number, or a few (the machine it was saved on)
KEYS = 4 * ZIP_ENTRIES  # opcodes of the list of storages: a text and its memo entry each


def sniff(source: Source) -> bool:
    """The magic is compared as bytes; nothing is unpickled for it."""
    return source.head(len(MAGIC)) == MAGIC


def read(source: Source) -> Contents:
    """The outline of a legacy file; every byte after the pickles belongs to a storage, or the file is refused."""
    storages, outline, keys, at = _pickles(source)
    runs = outline.runs | _runs(source, storages, keys, at)
    return Contents(Outline(container="torch_legacy", root=outline.root), fetcher(source.name, runs))


class _LegacyStorages(Storages):
    """Persistent ids of the old format: storages with a view, and classes with their source text, which is dropped."""

    def __call__(self, pid: tuple[Any, ...]) -> Any:
        kind = pid[0] if pid and type(pid[0]) is str else ""
        if kind == "module" and len(pid) == 4 and type(pid[1]) is Inert:
            return pid[1]
        if kind != "storage" or len(pid) != 6:
            raise UnreadableFile(self.name, "its pickle holds a persistent id that names no storage")
        whole = self.storage(*pid[1:5])
        return whole if pid[5] is None else self._view(whole, pid[5])

    def _view(self, whole: Storage, view: object) -> Storage:
        """torch/serialization.py, persistent_load of _legacy_load: (key of the view, offset, size)."""
        plain = type(view) is tuple and len(view) == 3 and type(view[1]) is int and type(view[2]) is int
        if not plain or whole.untyped or not 0 <= view[1] <= view[1] + view[2] <= whole.numel or view[2] < 0:  # type: ignore[index]
            raise UnreadableFile(self.name, f"its pickle names a part outside storage {whole.key}")
        return Storage(whole.key, whole.dtype, view[2], view[1])  # type: ignore[index]


def _pickles(source: Source) -> tuple[_LegacyStorages, Pickled, list[str], int]:
    """Pickles 2 to 5; more of a large file is read only where its pickles are long."""
    for length in (MIB, 8 * MIB, PICKLE_BYTES):
        try:
            return _parsed(source.head(length), source.name)
        except UnreadableFile:
            if length >= min(source.size, PICKLE_BYTES):
                raise
    raise AssertionError("the last length raises")


def _parsed(data: bytes, name: str) -> tuple[_LegacyStorages, Pickled, list[str], int]:
    storages = _LegacyStorages(name)
    protocol = load(data, name, start=len(MAGIC), opcodes=FEW)
    if protocol.root != PROTOCOL or type(protocol.root) is not int:
        raise UnreadableFile(name, "its protocol number is not 1001")
    system = load(data, name, start=protocol.end, opcodes=FEW)
    _check_system(system.root, name)
    outline = load(data, name, start=system.end, persistent=storages)
    keys = load(data, name, start=outline.end, opcodes=KEYS)
    return storages, outline, _keys(keys.root, storages, name), keys.end


def _check_system(system: Node, name: str) -> None:
    """The flag says where it was saved; the payload is little endian on every machine.

    torch/csrc/serialization.cpp, THPStorage_writeFileRaw and _readFileRaw: both swap on big-endian machines.
    """
    if type(system) is not dict or type(system.get("little_endian")) is not bool:
        raise UnreadableFile(name, "its third pickle does not describe a machine")


def _keys(keys: Node, storages: Storages, name: str) -> list[str]:
    if type(keys) is not list or not all(type(key) is str and KEY.fullmatch(key) for key in keys):
        raise UnreadableFile(name, "its fifth pickle is no list of storages")
    if len(set(keys)) != len(keys) or set(keys) != set(storages.seen):
        raise UnreadableFile(name, "its list of storages is not what its tensors name")
    return keys


def _runs(source: Source, storages: Storages, keys: list[str], at: int) -> dict[str, Run]:
    """Each storage is its count as 8 bytes and then its numbers."""
    runs: dict[str, Run] = {}
    for key in keys:
        storage = storages.seen[key]
        dtype = storage.dtype or "U8"
        count = storage.numel * (SIZES[dtype] if storage.untyped else 1)  # an untyped storage counts bytes
        if int.from_bytes(source.read(at, 8), "little") != count:
            raise UnreadableFile(source.name, f"storage {key} has another size than its pickle says")
        runs[key] = _run(source, at + 8, storage, dtype)
        at += 8 + storage.numel * SIZES[dtype]
    if at != source.size:
        raise UnreadableFile(source.name, f"its storages end at byte {at}, the file has {source.size}")
    return runs


def _run(source: Source, start: int, storage: Storage, dtype: str) -> Run:
    return Run(dtype, storage.numel, lambda first, length: source.read(start + first, length))


CONTAINER = Container("torch_legacy", "torch before 1.6", sniff, read)
