"""A1111's checksums of many, against the converters' of one."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.hashes import a1111_checksum
from embconv.converters.model import Tensor
from embconv.registry.checksums import checksums

values = st.lists(st.floats(width=32), min_size=1, max_size=12).map(lambda numbers: struct.pack(f"<{len(numbers)}f", *numbers))


@given(st.lists(values, max_size=40))
def test_all_are_as_one_by_one(many: list[bytes]) -> None:
    assert checksums(many) == [a1111_checksum(Tensor("F32", (1, len(data) // 4), data)) for data in many]


@pytest.mark.parametrize("count", [1, 23, 24, 100])
def test_so_are_many_of_one_length(count: int) -> None:
    many = [struct.pack("<5f", n * 0.37, -n, math.nan, math.inf, 3e38) for n in range(count)]
    assert checksums(many) == [a1111_checksum(Tensor("F32", (1, 5), data)) for data in many]
