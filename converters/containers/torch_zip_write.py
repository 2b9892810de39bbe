"""The plainest torch archive: a pickle without a memo, stored entries, the same bytes for the same tree.

A1111 modules/safe.py, check_zip_filenames: no other entries than data.pkl, data/N and version in any of its versions.
"""

from __future__ import annotations

import zlib
from struct import pack

from ..errors import CannotHold
from ..model import SIZES, Node, Tensor
from .allowed import STORAGES
from .views import c_strides
from .zip_reader import CENTRAL, CENTRAL_SIG, END, END_SIG, FULL16, LOCAL, LOCAL_SIG, NAME, STORED, UTF8

CLASSES = {dtype: f"{kind}Storage" for kind, dtype in STORAGES.items()}
DOS_1980 = (1 << 5 | 1) << 16  # 1980-01-01 00:00, date in the high half
ALIGNMENT = 64
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOOKS = b"ccollections\nOrderedDict\n)R"


def write(tree: Node, archive_root: str = "archive") -> bytes:
    """A torch archive of a tree of dict, list, str, int, float, bool, None and Tensor; the same tree, the same bytes."""
    if not NAME.fullmatch(f"{archive_root}/version"):
        raise CannotHold(f"A torch archive cannot have the root folder {archive_root[:80]!r}.")
    tensors: list[Tensor] = []
    parts: list[bytes] = [b"\x80\2"]
    _encode(tree, parts, tensors)
    entries = [("data.pkl", b"".join([*parts, b"."]))]
    entries += [(f"data/{i}", tensor.data) for i, tensor in enumerate(tensors)]
    return _zipped([(f"{archive_root}/{name}".encode(), data) for name, data in [*entries, ("version", b"3\n")]])


def _encode(node: Node, parts: list[bytes], tensors: list[Tensor]) -> None:
    """`node` as opcodes of protocol 2, without a memo: every loader reads them."""
    if isinstance(node, Tensor):
        _encode_tensor(node, parts, len(tensors))
        tensors.append(node)
    elif type(node) is dict:
        parts.append(b"}(")
        for key, value in node.items():
            parts.append(_scalar(key if type(key) is str else object()))
            _encode(value, parts, tensors)
        parts.append(b"u")
    elif type(node) is list:
        parts.append(b"](")
        for value in node:
            _encode(value, parts, tensors)
        parts.append(b"e")
    else:
        parts.append(_scalar(node))


def _scalar(value: object) -> bytes:
    if value is None:
        return b"N"
    if type(value) is bool:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        return _integer(value)
    if type(value) is float:
        return b"G" + pack(">d", value)
    if type(value) is str:
        data = value.encode()
        return b"X" + pack("<I", len(data)) + data
    raise CannotHold(f"A torch archive of embconv cannot hold a {type(value).__name__}.")


def _integer(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"K" + pack("B", value) if 0 <= value < 256 else b"J" + pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) > 32:
        raise CannotHold("A torch archive of embconv cannot hold an integer of more than 32 bytes.")
    return b"\x8a" + pack("B", len(data)) + data


def _encode_tensor(tensor: Tensor, parts: list[bytes], key: int) -> None:
    """torch._utils._rebuild_tensor_v2((storage), 0, size, strides, False, OrderedDict())."""
    if tensor.dtype not in CLASSES:
        raise CannotHold(
            f"A torch archive that every program reads cannot hold {tensor.dtype}.", "Choose F32, F16 or BF16, or a safetensors file."
        )
    numel = len(tensor.data) // SIZES[tensor.dtype]
    storage = _scalar("storage") + f"ctorch\n{CLASSES[tensor.dtype]}\n".encode() + _scalar(str(key)) + _scalar("cpu") + _scalar(numel)
    parts += (TENSOR, b"((", storage, b"tQK\0", _sizes(tensor.shape), _sizes(c_strides(tensor.shape)), b"\x89", HOOKS, b"tR")


def _sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(_integer(value) for value in values) + b"t"


def _zipped(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Stored entries with plain headers; the bytes of each begin at a multiple of 64, as torch's own do."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    at = 0
    for name, data in entries:
        pad = -(at + LOCAL.size + len(name) + 4) % ALIGNMENT
        flags = 0 if name.isascii() else UTF8
        common = (flags, STORED, DOS_1980 & FULL16, DOS_1980 >> 16, zlib.crc32(data), len(data), len(data), len(name))
        head = LOCAL.pack(LOCAL_SIG, 20, *common, 4 + pad) + name + pack("<2sH", b"FB", pad) + b"Z" * pad
        directory.append(CENTRAL.pack(CENTRAL_SIG, 20, 20, *common, 0, 0, 0, 0, 0, at) + name)
        parts += (head, data)
        at += len(head) + len(data)
    size = sum(map(len, directory))
    return b"".join([*parts, *directory, END.pack(END_SIG, 0, 0, len(entries), len(entries), size, at, 0)])
