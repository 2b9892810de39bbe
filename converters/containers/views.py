"""From a run of bytes to one tensor: is the view honest, which bytes does it need, in which order."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod

from msgspec import Struct

from ..errors import TooLarge, UnreadableFile
from ..limits import RANK, TENSOR_BYTES
from ..model import SIZES, Tensor, TensorInfo

Read = Callable[[int, int], bytes]  # (first byte, length) -> exactly that many bytes

NUMPY = {  # numpy's kind and size -> safetensors' name
    "f8": "F64", "f4": "F32", "f2": "F16",
    "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
    "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8",
    "b1": "BOOL", "?": "BOOL", "b": "I8", "B": "U8",
}  # fmt: skip
ORDERS = {"<": False, "|": False, "=": False, ">": True}  # numpy's byte order -> is it big endian
TURNED = TENSOR_BYTES // 4  # of a tensor in another order than ours: putting it right takes three copies
SWAPPED = {2: "H", 4: "I", 8: "Q"}  # bytes of one number -> the array code that swaps them


class Run(Struct, frozen=True):
    """`numel` numbers in a row, read by byte range; all tensors of one storage are views of one run."""

    dtype: str
    numel: int
    read: Read
    big_endian: bool = False


class Storage(Struct):
    """What a persistent id names; `dtype` None until the first tensor of an untyped storage tells it.

    `numel` counts numbers (bytes while untyped), `start` is where a legacy storage view begins in its run `key`.
    """

    key: str
    dtype: str | None
    numel: int
    start: int = 0
    untyped: bool = False


def must_be(storage: Storage, size: int | None, name: str) -> None:
    """UnreadableFile unless the record of a storage is there, and exactly as large as the pickle says."""
    if size != storage.numel * SIZES[storage.dtype or "U8"]:
        raise UnreadableFile(name, f"storage {storage.key} is missing or has another size than its pickle says")


@lru_cache(maxsize=256)  # as below: a folder holds few sizes of tensors
def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of C order, in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of Fortran order, in elements."""
    return c_strides(shape[::-1])[::-1]


@lru_cache(maxsize=256)
def is_c_order(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Axes of one element may have any stride."""
    if strides is None or 0 in shape:
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def check_view(numel: int, offset: object, shape: object, strides: object) -> None:
    """ValueError with a sentence unless the view stays inside `numel` numbers and names none of them twice."""
    if not _naturals(shape) or not _naturals(strides) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor's offset, size or strides are no natural numbers")
    assert isinstance(shape, tuple)
    assert isinstance(strides, tuple)
    if len(shape) != len(strides) or len(shape) > RANK:
        raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides; at most {RANK} are read")
    _check_inside(numel, offset, shape, strides)


@lru_cache(maxsize=256)  # what it takes are natural numbers by now, not the True that equals 1
def _check_inside(numel: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    if 0 in shape:
        if offset > numel:
            raise ValueError("an empty tensor begins beyond its storage")
        return
    last = offset
    for size, stride in zip(shape, strides, strict=True):
        if size > 1 and not stride:
            raise ValueError("a tensor repeats its numbers by a stride of 0")
        last += (size - 1) * stride
    if last >= numel:
        raise ValueError(f"a tensor needs number {last} of a storage of {numel}")
    if prod(shape) > numel:
        raise ValueError("a tensor has more numbers than its storage")


def _naturals(values: object) -> bool:
    if type(values) is not tuple:
        return False
    for value in values:  # noqa: SIM110  # a third of the time, where each tensor comes four times
        if type(value) is not int or not 0 <= value < 1 << 62:
            return False
    return True


def view(storage: Storage, offset: object, shape: object, strides: object, dtype: str | None = None) -> TensorInfo:
    """The tensor that a pickle describes; ValueError where it lies. `dtype` is given for untyped storages only."""
    if storage.untyped != (dtype is not None):
        raise ValueError("a tensor and its storage disagree about who tells the type")
    if dtype is not None:
        _settle(storage, dtype)
    check_view(storage.numel, offset, shape, strides)
    assert isinstance(offset, int)
    assert isinstance(shape, tuple)
    assert isinstance(strides, tuple)
    assert storage.dtype
    order = None if is_c_order(shape, strides) else strides
    return TensorInfo(storage.dtype, shape, storage.key, storage.start + offset, order)


def _settle(storage: Storage, dtype: str) -> None:
    if storage.dtype is None:
        if storage.numel % SIZES[dtype]:
            raise ValueError("an untyped storage is no whole number of elements")
        storage.dtype, storage.numel = dtype, storage.numel // SIZES[dtype]
    elif storage.dtype != dtype:
        raise ValueError(f"storage {storage.key} is named with two types")


def numpy_dtype(descr: str) -> tuple[str, bool]:
    """Safetensors' name and byte order of a numpy type such as `<f4`; `O` for objects; ValueError for any other."""
    match = re.fullmatch(r"([<>|=]?)(O8?|\?|[bB]|[fiub]\d)", descr)
    kind = match[2] if match else ""
    if kind.startswith("O"):
        return "O", False
    if not match or kind not in NUMPY:
        raise ValueError(f"numbers of the numpy type {descr!r} are not read")
    return NUMPY[kind], ORDERS[match[1] or "="]


def swapped(data: bytes, size: int) -> bytes:
    """`data` with the bytes of each `size`-byte number reversed."""
    if size == 1:
        return data
    numbers = array(SWAPPED[size], data)
    numbers.byteswap()
    return numbers.tobytes()


def gather(info: TensorInfo, numel: int, read: Read, *, big_endian: bool = False) -> bytes:
    """The numbers of one view in C order, little endian; reads no byte outside the range it spans."""
    shape, strides, item = info.shape, info.strides, SIZES[info.dtype]
    check_view(numel, info.offset, shape, c_strides(shape) if strides is None else strides)
    if strides is None or is_c_order(shape, strides):
        data = read(info.offset * item, prod(shape) * item)
    else:
        data = _picked(shape, strides, read(info.offset * item, _span(shape, strides) * item), item)
    return swapped(data, item) if big_endian else data


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _picked(shape: tuple[int, ...], strides: tuple[int, ...], data: bytes, item: int) -> bytes:
    import numpy as np

    return np.ndarray(shape, f"u{item}", data, 0, tuple(s * item for s in strides)).tobytes()


def fetcher(name: str, runs: Mapping[str, Run]) -> Callable[[TensorInfo], Tensor]:
    """`fetch` of a container whose storages are `runs`: TooLarge before anything is read, UnreadableFile for a lie."""

    def fetch(info: TensorInfo) -> Tensor:
        run = runs.get(info.storage)
        if run is None or run.dtype != info.dtype:
            raise UnreadableFile(name, f"storage {info.storage} is not there as {info.dtype}")
        plain = is_c_order(info.shape, info.strides)
        wanted = (prod(info.shape) if plain else _span(info.shape, info.strides or ())) * SIZES[info.dtype]
        most = TENSOR_BYTES if plain and not run.big_endian else TURNED
        if wanted > most:
            raise TooLarge(name, "bytes in one tensor", wanted, most)
        try:
            return Tensor(info.dtype, info.shape, gather(info, run.numel, run.read, big_endian=run.big_endian))
        except ValueError as exc:
            raise UnreadableFile(name, str(exc)) from exc

    return fetch
