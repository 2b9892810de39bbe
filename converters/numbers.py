"""The bytes of tensors as numbers, without any array library for the common kinds."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from .model import SIZES, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

_BIG = sys.byteorder == "big"


def as_float32(tensor: Tensor) -> bytes:
    """The values as float32, little endian. Exact for F32, F16, BF16 and the 8-bit floats; F64 is rounded."""
    if tensor.dtype == "F32":
        return tensor.data
    if tensor.dtype == "BF16":  # a float32 whose low half is zero
        wide = bytearray(2 * len(tensor.data))
        wide[2::4], wide[3::4] = tensor.data[0::2], tensor.data[1::2]
        return bytes(wide)
    return _packed("f", _numbers(tensor))


def as_float64(tensor: Tensor) -> bytes:
    """The values as float64, little endian."""
    if tensor.dtype == "F64":
        return tensor.data
    return _packed("d", _numbers(tensor))


def fits_float32(tensor: Tensor) -> bool:
    """Does float32 hold every value of an F64 tensor exactly?"""
    return as_float64(Tensor("F32", tensor.shape, as_float32(tensor))) == tensor.data


def _packed(code: str, values: array[float] | tuple[float, ...]) -> bytes:
    try:
        packed = array(code, values)
    except OverflowError:
        packed = array(code, (math.copysign(math.inf, v) if abs(v) > 3.5e38 else v for v in values))
    if _BIG:
        packed.byteswap()
    return packed.tobytes()


def _numbers(tensor: Tensor) -> array[float] | tuple[float, ...]:
    """All values of a tensor as Python floats."""
    if tensor.dtype == "F16":
        return struct.unpack(f"<{len(tensor.data) // 2}e", tensor.data)
    if tensor.dtype.startswith("F8"):
        exponent_bits, bias = _F8[tensor.dtype]
        table = [_f8(byte, exponent_bits, bias) for byte in range(256)]
        return tuple(table[byte] for byte in tensor.data)
    values = array("d", tensor.data) if tensor.dtype == "F64" else array("f", as_float32(tensor))
    if _BIG:
        values.byteswap()
    return values


def _f8(byte: int, exponent_bits: int, bias: int) -> float:
    """One 8-bit float. E4M3 (the FN form) has NaN only at 0x7f and no infinity; E5M2 is as IEEE 754."""
    mantissa_bits = 7 - exponent_bits
    exponent, mantissa = (byte & 0x7F) >> mantissa_bits, byte & ((1 << mantissa_bits) - 1)
    sign = -1.0 if byte & 0x80 else 1.0
    if exponent_bits == 4 and byte & 0x7F == 0x7F:
        return math.nan
    if exponent_bits == 5 and exponent == 31:
        return math.nan if mantissa else sign * math.inf
    scale = 2.0 ** (max(exponent, 1) - bias - mantissa_bits)
    return sign * (mantissa + ((1 << mantissa_bits) if exponent else 0)) * scale


_F8 = {  # exponent bits and bias
    "F8_E4M3": (4, 7),
    "F8_E5M2": (5, 15),
}


def all_finite(tensor: Tensor) -> bool:
    """Is no value NaN or infinity? Told from the exponents' bytes, so that the usual answer costs next to nothing."""
    if tensor.dtype in ("F32", "BF16", "F64"):
        highest = tensor.data[SIZES[tensor.dtype] - 1 :: SIZES[tensor.dtype]]
        if 0x7F not in highest and 0xFF not in highest:
            return True
    return all(map(math.isfinite, _numbers(tensor)))


def converted(tensor: Tensor, dtype: str) -> tuple[Tensor, float]:
    """The tensor in another kind of float, rounded to nearest, and the largest error that made.

    Raises OverflowError where a finite value is beyond what `dtype` can hold.
    """
    if tensor.dtype == dtype:
        return tensor, 0.0
    given = floats(tensor)
    made = Tensor(dtype, tensor.shape, _PACKERS[dtype](tensor, given))
    errors = (abs(a - b) for a, b in zip(given, floats(made), strict=True) if math.isfinite(a))
    error = max(errors, default=0.0)
    if math.isinf(error):
        raise OverflowError(dtype)
    return made, error


def _as_bfloat16(tensor: Tensor, given: list[float]) -> bytes:
    words = array("I", as_float32(tensor))
    if _BIG:
        words.byteswap()
    halves = array("H", (_bfloat16(word) for word in words))
    if _BIG:
        halves.byteswap()
    return halves.tobytes()


def _bfloat16(word: int) -> int:
    """The upper half of a float32, rounded to nearest even; NaN stays NaN."""
    if word & 0x7FFFFFFF > 0x7F800000:
        return (word >> 16) | 0x40
    return (word + 0x7FFF + ((word >> 16) & 1)) >> 16


_PACKERS: dict[str, Callable[[Tensor, list[float]], bytes]] = {
    "F64": lambda tensor, given: as_float64(tensor),
    "F32": lambda tensor, given: as_float32(tensor),
    "F16": lambda tensor, given: struct.pack(f"<{len(given)}e", *given),
    "BF16": _as_bfloat16,
}
WRITABLE = tuple(_PACKERS)


def rows(tensor: Tensor) -> Iterator[bytes]:
    """The bytes of each vector of an (n, width) tensor."""
    length = tensor.shape[-1] * SIZES[tensor.dtype]
    return (tensor.data[i : i + length] for i in range(0, len(tensor.data), length))


@lru_cache(maxsize=16)  # several rules and the report ask for the same ones
def norms(tensor: Tensor) -> tuple[float, ...]:
    """The Euclidean length of each vector; NaN or infinity where a number of it is."""
    values, width = tuple(_numbers(tensor)), tensor.shape[-1]
    return tuple([math.hypot(*values[i : i + width]) for i in range(0, len(values), width)])


def floats(tensor: Tensor) -> list[float]:
    """All values as Python floats, in C order."""
    return list(_numbers(tensor))
