"""Pickles without a container, as numpy users save them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from embconv.converters.containers import bare_pickle
from embconv.converters.errors import UnreadableFile, UnsafePickle
from embconv.converters.source import Source


def read(data: bytes) -> Any:
    return bare_pickle.read(Source(data, "x.pkl"))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_dictionary_of_numpy_arrays_is_read(protocol: int) -> None:
    array = np.arange(8, dtype="f4").reshape(2, 4)
    data = pickle.dumps({"<token>": array}, protocol)
    assert bare_pickle.sniff(Source(data))
    contents = read(data)
    assert contents.fetch(contents.outline.root["<token>"]).data == array.tobytes()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{}, {"a": 1}, [1, "b"], (1, 2), []], ids=repr)
def test_every_protocol_of_a_container_is_known(protocol: int, value: object) -> None:
    data = pickle.dumps(value, protocol)
    if not (value == () or data[:1] == b")"):
        assert bare_pickle.sniff(Source(data))
    assert read(data).outline.root == value


@pytest.mark.parametrize(
    "text", [b"", b"(c) 2022 somebody.", b"click here.", b"{}", b"[1].", b"<html>", b"version https://git-lfs."], ids=repr
)
def test_text_is_no_pickle(text: bytes) -> None:
    assert not bare_pickle.sniff(Source(text))


def test_a_persistent_id_is_refused_because_there_is_nothing_beside_the_pickle() -> None:
    with pytest.raises(UnsafePickle, match="a persistent object"):
        read(b"\x80\2U\1xQ.")


def test_bytes_after_the_pickle_are_refused() -> None:
    with pytest.raises(UnreadableFile, match="something follows"):
        read(pickle.dumps({}) + b"x")
