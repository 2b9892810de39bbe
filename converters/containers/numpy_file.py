"""numpy's .npy files: one array, or a dictionary that numpy.save wrapped into an array of one object."""

from __future__ import annotations

import re
from math import prod

from ..errors import TooLarge, UnreadableFile
from ..limits import PICKLE_BYTES
from ..model import SIZES, Contents, Outline, TensorInfo
from ..source import Source
from .container import Container
from .pickles import load
from .views import Run, c_strides, check_view, fetcher, fortran_strides, is_c_order, numpy_dtype

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 65_536  # of one header; numpy writes 118
HEADER = re.compile(  # numpy/lib/format.py, _write_array_header: the three keys in this order
    rb"\{'descr': '([<>|=]?[\w?]{1,8})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}, ?){0,8}(?:\d{1,18})?)\),? ?\} *\n"
)


def sniff(source: Source) -> bool:
    """By the six bytes every npy file begins with."""
    return source.head(len(MAGIC)) == MAGIC


def read(source: Source) -> Contents:
    """The array as one tensor, or the object of a 0-d object array."""
    (dtype, big), fortran, shape, start = _header(source)
    if dtype == "O":
        return _objects(source, start)
    _check_size(source, dtype, shape, start)
    strides = fortran_strides(shape) if fortran else c_strides(shape)
    info = TensorInfo(dtype, shape, "npy", 0, None if is_c_order(shape, strides) else strides)
    run = Run(dtype, prod(shape), lambda first, length: source.read(start + first, length), big)
    return Contents(Outline(container="npy", root=info), fetcher(source.name, {"npy": run}))


def _header(source: Source) -> tuple[tuple[str, bool], bool, tuple[int, ...], int]:
    """Type and byte order, Fortran order, shape, and where the data begins."""
    version = source.read(6, 2)
    if version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise UnreadableFile(source.name, "its npy version is not 1, 2 or 3")
    width = 2 if version == b"\1\0" else 4
    length = int.from_bytes(source.read(8, width), "little")
    if length > HEADER_BYTES:
        raise TooLarge(source.name, "bytes in its npy header", length, HEADER_BYTES)
    match = HEADER.fullmatch(source.read(8 + width, length))
    if not match:
        raise UnreadableFile(source.name, "its npy header describes no plain array")
    try:
        dtype = numpy_dtype(match[1].decode("latin-1"))
    except ValueError as exc:
        raise UnreadableFile(source.name, str(exc)) from exc
    shape = tuple(int(size) for size in match[3].split(b",") if size.strip())
    return dtype, match[2] == b"True", shape, 8 + width + length


def _check_size(source: Source, dtype: str, shape: tuple[int, ...], start: int) -> None:
    try:
        check_view(prod(shape), 0, shape, c_strides(shape))
    except ValueError as exc:
        raise UnreadableFile(source.name, str(exc)) from exc
    if start + prod(shape) * SIZES[dtype] != source.size:
        raise UnreadableFile(source.name, "its data is not as long as its npy header says")


def _objects(source: Source, start: int) -> Contents:
    """After the header stands a pickle of the whole array; its own shape counts."""
    if source.size > PICKLE_BYTES:
        raise TooLarge(source.name, "bytes in one pickle", source.size, PICKLE_BYTES)
    pickled = load(source.head(source.size), source.name, start=start)
    if pickled.end != source.size:
        raise UnreadableFile(source.name, f"its pickle ends at byte {pickled.end} and something follows")
    return Contents(Outline(container="npy", root=pickled.root), fetcher(source.name, pickled.runs))


CONTAINER = Container("npy", "numpy array", sniff, read)
