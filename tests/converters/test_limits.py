"""Each limit has room for every real file and none for an attack."""

from embconv.converters import limits
from embconv.converters.limits import MIB

REAL = {  # the largest seen in a real file, or what a program writes at most
    "PICKLE_BYTES": 75 * 4096 * 8,         # 75 vectors of T5, numpy-carried in latin1
    "PICKLE_OPCODES": 60_000, "PICKLE_MEMO": 60_000, "PICKLE_DEPTH": 5, "PICKLE_NODES": 60_000, "PICKLE_INT_BYTES": 19,
    "ZIP_ENTRIES": 2_500, "ZIP_INFLATED": MIB, "HEADER_BYTES": 2 * MIB, "HEADER_TENSORS": 10_000, "NAME_BYTES": 200,
    "RANK": 4, "TENSOR_BYTES": 75 * 5120 * 4, "FETCHED": 1_024 * 2_048 * 4, "EMBEDDINGS": 100,
    "IMAGE_PIXELS": 592 * 512, "IMAGE_TEXT": 2 * 180_000, "IMAGE_PAYLOAD": 2 * 180_000, "SIDECAR_BYTES": 1 * MIB,
    "WHOLE_READ": 25_000, "HASHED_SOURCE": 10 * MIB,
}  # fmt: skip


def test_every_limit_has_room_for_twice_what_is_real() -> None:
    known = {name: value for name, value in vars(limits).items() if name.isupper() and name != "MIB"}
    assert known.keys() == REAL.keys()
    assert [
        name for name, value in known.items() if value < (2 if name not in ("PICKLE_INT_BYTES", "HEADER_TENSORS") else 1) * REAL[name]
    ] == []


def test_no_limit_lets_an_input_take_more_than_64_mib() -> None:
    assert max(limits.PICKLE_BYTES, limits.ZIP_INFLATED, limits.TENSOR_BYTES, limits.HASHED_SOURCE) <= 64 * MIB
    assert limits.SIDECAR_BYTES <= limits.HEADER_BYTES
