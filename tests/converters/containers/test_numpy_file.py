"""Npy files: plain arrays, and dictionaries that numpy.save wrapped."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest

from embconv.converters.containers import numpy_file
from embconv.converters.errors import FileError, TooLarge, UnreadableFile, UnsafePickle
from embconv.converters.source import Source


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def read(data: bytes) -> Any:
    return numpy_file.read(Source(data, "x.npy"))


@pytest.mark.parametrize("code", ["<f4", ">f4", "<f2", "<f8", ">i8", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (1, 2, 3), (0, 3)], ids=str)
def test_a_plain_array_is_one_tensor(code: str, order: Any, shape: tuple[int, ...]) -> None:
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape), code, order=order)
    data = saved(array)
    assert numpy_file.sniff(Source(data))
    contents = read(data)
    assert contents.outline.root.shape == shape
    assert contents.fetch(contents.outline.root).data == array.astype(array.dtype.newbyteorder("<")).tobytes("C")


def test_a_dictionary_is_unwrapped() -> None:
    array = np.ones((1, 4), "f4")
    contents = read(saved(np.array({"<token>": array}, dtype=object)))
    assert contents.fetch(contents.outline.root["<token>"]).data == array.tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones(3, "f4"), version)
    assert read(file.getvalue()).outline.root.shape == (3,)


def with_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + data


WRONG = {
    "a record type": saved(np.zeros(1, [("a", "f4")])),
    "a complex type": saved(np.zeros(1, "c8")),
    "text": saved(np.array(["a"])),
    "a trailing byte": saved(np.zeros(1, "f4")) + b"x",
    "a missing byte": saved(np.zeros(1, "f4"))[:-1],
    "an expression": with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2**3,), }\n", bytes(32)),
    "another version": b"\x93NUMPY\x09\0" + saved(np.zeros(1, "f4"))[8:],
    "nine axes": with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }\n", bytes(4)),
    "a huge shape": with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({9**18}, {9**18}), }}\n", bytes(4)),
    "only the magic": b"\x93NUMPY",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_no_plain_array_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(data)


def test_a_huge_header_is_not_parsed() -> None:
    with pytest.raises(TooLarge):
        read(b"\x93NUMPY\2\0" + (1 << 30).to_bytes(4, "little") + b"{" * 100)
    start = time.perf_counter()
    with pytest.raises(UnreadableFile):
        read(with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 30_000))
    assert time.perf_counter() - start < 1


def test_a_pickle_behind_the_header_is_under_the_same_rules() -> None:
    data = with_header("{'descr': '|O', 'fortran_order': False, 'shape': (), }\n", b"cos\nsystem\n(S'x'\ntR.")
    with pytest.raises(UnsafePickle, match=r"os\.system"):
        read(data)


def test_a_file_cut_anywhere_is_refused() -> None:
    data = saved(np.array({"a": np.ones(2, "f4")}, dtype=object))
    for stop in range(6, len(data)):
        with pytest.raises(FileError):
            read(data[:stop])
