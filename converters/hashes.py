"""Every hash anyone computes for an embedding file, and the digest: the identity of its vectors.

File hashes follow Civitai's model-scanner (HashTask.cs) and AUTOMATIC1111 (modules/hashes.py); see docs/decisions.md.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from typing import TYPE_CHECKING

from msgspec import Struct

from .numbers import as_float32, as_float64, fits_float32

if TYPE_CHECKING:
    from .model import Embedding, Tensor
    from .source import Source

PIECE = 1 << 20
AUTOV1_START, AUTOV1_LENGTH, AUTOV1_LEAST = 0x100000, 0x10000, 2 << 20
AUTOV3_HEADER = 16 << 20  # model-scanner reads no header of 16 MiB or more and hashes from byte 8


class Hashes(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All hashes of one file. Hex; crc32 upper case in Civitai's byte order; autov1 only from 2 MiB.

    `autov3_full` is what `autov3` (12 hex) abbreviates; `a1111_shorthash` is what infotexts call the TI hash.
    """

    sha256: str
    blake3: str
    crc32: str
    autov1: str | None = None
    autov2: str
    autov3: str
    autov3_full: str
    a1111_shorthash: str


def hashes(source: Source) -> Hashes:
    """All file hashes of `source` from one pass over its bytes."""
    from blake3 import blake3

    skip = autov3_start(source)
    sha, content, blake, crc = hashlib.sha256(), hashlib.sha256(), blake3(), 0
    for start in range(0, source.size, PIECE):
        piece = source.read(start, min(PIECE, source.size - start))
        sha.update(piece)
        blake.update(piece)
        crc = zlib.crc32(piece, crc)
        content.update(memoryview(piece)[max(0, skip - start) :])
    sha256, autov3 = sha.hexdigest(), content.hexdigest()
    return Hashes(
        sha256=sha256,
        blake3=blake.hexdigest(),
        crc32=crc.to_bytes(4, "little").hex().upper(),  # .NET's Crc32 gives the bytes of 0D4A1185 as 85114A0D
        autov1=autov1(source),
        autov2=sha256[:10],
        autov3=autov3[:12],
        autov3_full=autov3,
        a1111_shorthash=sha256[:12],
    )


def autov1(source: Source) -> str | None:
    """AutoV1, the old A1111 model hash, as Civitai gives it: 8 hex, None under 2 MiB."""
    if source.size < AUTOV1_LEAST:
        return None
    return hashlib.sha256(source.read(AUTOV1_START, AUTOV1_LENGTH)).hexdigest()[:8]


def autov3_start(source: Source) -> int:
    """Where AutoV3 begins: after a safetensors header, or at byte 8 of anything else."""
    if source.size < 8:
        return source.size
    (header,) = struct.unpack("<Q", source.read(0, 8))
    return 8 + header if header < AUTOV3_HEADER else 8


def sha256_of(source: Source) -> str:
    """SHA-256 of the whole input, read in pieces."""
    sha = hashlib.sha256()
    for start in range(0, source.size, PIECE):
        sha.update(source.read(start, min(PIECE, source.size - start)))
    return sha.hexdigest()


def digest(embedding: Embedding) -> str:
    """The identity of an embedding: `emb:` and SHA-256 over its float32 values per encoder, whatever file holds them.

    Per key in sorted order: the key, a zero byte, n and width as u32, the values as float32, all little endian.
    float64 values which float32 cannot hold exactly are hashed as they are under the key suffixed `:F64`.
    """
    sha = hashlib.sha256()
    named = {**embedding.vectors, **{f"{key}_out": t for key, t in embedding.output_vectors.items()}}
    for key in sorted(named):
        tensor = named[key]
        suffix, values = _values(tensor)
        sha.update(f"{key}{suffix}".encode() + b"\0" + struct.pack("<II", *tensor.shape))
        sha.update(values)
    return f"emb:{sha.hexdigest()}"


def _values(tensor: Tensor) -> tuple[str, bytes]:
    if tensor.dtype == "F64" and not fits_float32(tensor):
        return ":F64", as_float64(tensor)
    return "", as_float32(tensor)


def a1111_checksum(tensor: Tensor) -> str:
    """A1111's legacy checksum of vectors (textual_inversion.py, Embedding.checksum): 4 hex, equal for equal values."""
    scaled = array("f", [value * 100 for value in array("f", as_float32(tensor))])
    result = 0
    for value in scaled:
        whole = int(value) if value - value == 0 else 0  # NaN and infinity have no integer
        result = (result * 281) ^ (whole * 997) & 0xFFFF
        result &= 0xFFFF  # only these bits are shown, and higher ones never reach them
    return f"{result:04x}"
