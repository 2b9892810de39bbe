"""torch's zip archives: the pickle changed with a right checksum, the records changed, or the bytes of the zip."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from random import Random

from driver import Target, main
from grammar import INTERESTING, changed_bytes, changed_pickle, opcodes, samples, saved
from reading import fetched, same_as_torch

from embconv.converters.containers import torch_zip
from embconv.converters.source import Source

Records = list[tuple[bytes, bytes]]
WHOLE = [saved(value) for value in samples()]


def records(data: bytes) -> Records:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename.encode(), archive.read(info)) for info in archive.infolist()]


ARCHIVES = [records(data) for data in WHOLE]
SEEDS = [opcodes(dict(archive)[b"archive/data.pkl"]) for archive in ARCHIVES]
NAMES = [
    b"archive/data/0", b"archive/data/9", b"archive/data/00", b"archive/byteorder", b"archive/version", b"archive/DATA.PKL", b"b/data/0",
    b"archive/.format_version", b"archive/code/x", b"archive/../x", b"\xff/version", b"data.pkl", b"archive/data.pkl",
]  # fmt: skip
SIGNATURES = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7")


def zipped(archive: Records, packed: int) -> bytes:
    """Quicker than zipfile; `packed` says by bits which entries are deflated."""
    out, directory = bytearray(), bytearray()
    for i, (name, data) in enumerate(archive):
        method, body = (8, deflated(data)) if packed >> i & 1 else (0, data)
        common = struct.pack("<5H3I2H", 20, 0, method, 0, 0, zlib.crc32(data), len(body), len(data), len(name), 0)
        directory += b"PK\1\2\x14\0" + common + struct.pack("<3H2I", 0, 0, 0, 0, len(out)) + name
        out += b"PK\3\4" + common + name + body
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(archive), len(archive), len(directory), len(out), 0)
    return bytes(out + directory + end)


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(1, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def mutate(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.55:
        which = int(chance.random() * len(ARCHIVES))
        archive = list(ARCHIVES[which])
        archive[0] = (archive[0][0], changed_pickle(chance, [SEEDS[which]] if chance.random() < 0.7 else SEEDS))
        return zipped(archive, 0)
    if kind < 0.75:
        archive = list(chance.choice(ARCHIVES))
        _change_records(chance, archive)
        return zipped(archive, int(chance.random() * 16) if chance.random() < 0.5 else 0)
    data = chance.choice(WHOLE) if chance.random() < 0.5 else zipped(chance.choice(ARCHIVES), int(chance.random() * 16))
    return _change_header(chance, data) if kind < 0.92 else changed_bytes(chance, data)


def _change_records(chance: Random, archive: Records) -> None:
    at, kind = int(chance.random() * len(archive)), chance.random()
    name, data = archive[at]
    if kind < 0.3:
        archive[at] = (chance.choice(NAMES), data)
    elif kind < 0.5:
        archive[at] = (name, changed_bytes(chance, data))
    elif kind < 0.65:
        archive.insert(at, (chance.choice(NAMES), b"1"))
    elif kind < 0.8:
        del archive[at]
    else:
        other = int(chance.random() * len(archive))
        archive[at], archive[other] = archive[other], archive[at]


def _change_header(chance: Random, data: bytes) -> bytes:
    """A field of a zip record, as a lie would be told."""
    signature = chance.choice(SIGNATURES)
    places = [i for i in range(len(data) - 3) if data.startswith(signature, i)] if chance.random() < 0.2 else [data.rfind(signature)]
    at = chance.choice(places or [0]) + int(chance.random() * 48)
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice((*INTERESTING, len(data), int(chance.random() * len(data)))) & ((1 << 8 * width) - 1)
    return data[:at] + value.to_bytes(width, "little") + data[at + width :] if 0 <= at < len(data) else data


def run(data: bytes) -> object:
    return fetched(torch_zip.read(Source(data, "fuzzed.pt")))


TARGET = Target("torch_zip", mutate, run, same_as_torch, every=20)

if __name__ == "__main__":
    main(TARGET)
