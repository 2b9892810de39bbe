"""A1111's checksum of vectors for many embeddings at once: converters' a1111_checksum takes a millisecond for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Steps = np.ndarray[Any, np.dtype[np.uint16]]

FACTOR = 281
FEW = 24  # of one length: below, stepping through each by itself is faster than stepping through all together
APART = 32  # numbers between two rows: at distances of whole memory pages they would push each other out of the processor's cache
SMALL = 1e6  # up to here the hundredfold fits 32 bits


def checksums(values: Sequence[bytes]) -> list[str]:
    """For float32 values, little endian, what A1111 shows of each: 4 hex (textual_inversion.py, Embedding.checksum)."""
    return of_steps([steps(data) for data in values])


def of_steps(every: Sequence[Steps]) -> list[str]:
    """The checksums of embeddings whose `steps` are known already."""
    found = [""] * len(every)
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, added in enumerate(every):
        alike[added.size].append(place)
    for places in alike.values():
        made = together([every[place] for place in places]) if len(places) >= FEW else [alone(every[place]) for place in places]
        for place, text in zip(places, made, strict=True):
            found[place] = text
    return found


def alone(added: Steps) -> str:
    """One by one. Where nothing is added, which is about half of the time, the multiplications are done together."""
    import numpy as np

    places = np.flatnonzero(added)
    gaps = np.diff(places, prepend=-1).tolist()
    powers = [pow(FACTOR, gap, 1 << 16) for gap in range(max(gaps, default=0) + 1)]
    result = 0
    for gap, step in zip(gaps, added[places].tolist(), strict=True):
        result = (result * powers[gap] ^ step) & 0xFFFF
    last = int(places[-1]) if places.size else -1
    return f"{result * pow(FACTOR, added.size - 1 - last, 1 << 16) & 0xFFFF:04x}"


def together(every: Sequence[Steps]) -> list[str]:
    """Several of one length, step by step."""
    import numpy as np

    count, length = len(every), every[0].size
    rows = np.empty((count, length + APART), np.uint16)
    for row, added in zip(rows, every, strict=True):
        row[:length] = added
    result = np.zeros(count, np.uint16)
    factor = np.uint16(FACTOR)
    for step in np.ascontiguousarray(rows[:, :length].T):
        np.multiply(result, factor, out=result)
        np.bitwise_xor(result, step, out=result)
    return [f"{int(each):04x}" for each in result]


def steps(data: bytes) -> Steps:
    """What each value adds: the whole part of its hundredfold, times 997, of which 16 bits are ever seen."""
    import numpy as np

    values = np.frombuffer(data, "<f4")
    if values.size and not (values.min() > -SMALL and values.max() < SMALL):  # NaN too
        return odd_steps(values)
    whole = (values * np.float32(100)).astype(np.int32)
    whole *= np.int32(997)  # what overflows is above the 16 bits
    return whole.astype(np.uint16)


def odd_steps(values: np.ndarray[Any, np.dtype[np.float32]]) -> Steps:
    """The same where some value is large, or is NaN or infinity, which have no whole part."""
    import numpy as np

    with np.errstate(all="ignore"):
        scaled = (values * np.float32(100)).tolist()
    return np.array([int(value) * 997 & 0xFFFF if value - value == 0 else 0 for value in scaled], np.uint16)
