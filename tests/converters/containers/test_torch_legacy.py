"""Files of torch before 1.6: torch itself writes them, and every byte after the pickles is accounted for."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from typing import Any

import pytest
import torch

from embconv.converters.containers import bare_pickle, torch_legacy
from embconv.converters.errors import FileError, UnreadableFile
from embconv.converters.model import Module
from embconv.converters.source import Source


def saved(value: object) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it stores source code
        torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def read(data: bytes) -> Any:
    return torch_legacy.read(Source(data, "x.pt"))


VECTORS = torch.arange(12, dtype=torch.float32).reshape(3, 4)
DATA = saved({"string_to_param": {"*": VECTORS}, "other": torch.ones(2, dtype=torch.bfloat16)})


def test_it_is_known_by_its_magic_and_no_bare_pickle() -> None:
    assert torch_legacy.sniff(Source(DATA))
    assert not bare_pickle.sniff(Source(DATA))
    assert not torch_legacy.sniff(Source(pickle.dumps(0x1950A86A20F9469CFC6C, 4)))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_every_type_comes_back_bit_for_bit(dtype: str) -> None:
    tensor = VECTORS.to(getattr(torch, dtype))
    contents = read(saved([tensor, tensor[1:, ::2]]))
    assert contents.fetch(contents.outline.root[0]).data == tensor.view(-1).view(torch.uint8).numpy().tobytes()
    part = tensor[1:, ::2].contiguous()
    assert contents.fetch(contents.outline.root[1]).data == part.view(-1).view(torch.uint8).numpy().tobytes()


def test_several_storages_are_read_in_the_order_of_the_fifth_pickle() -> None:
    values = {str(i): torch.full((i + 1,), float(i)) for i in range(12)}
    contents = read(saved(values))
    for key, tensor in values.items():
        assert contents.fetch(contents.outline.root[key]).data == tensor.numpy().tobytes()


def test_a_parameter_dict_carries_source_code_that_is_dropped() -> None:
    data = saved({"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)})})
    assert b"class ParameterDict" in data
    contents = read(data)
    module = contents.outline.root["string_to_param"]
    assert type(module) is Module
    assert contents.fetch(module.state["_parameters"]["*"]).data == VECTORS.numpy().tobytes()


def by_hand(view: bytes, *, tail: bytes = b"", little: bytes = b"\x88", numel: int = 4) -> bytes:
    """The least legacy file: one tensor of two numbers, in a storage of four; `view` is the last item of its id."""
    system = b"\x80\2}U\x0dlittle_endian" + little + b"s."
    storage = b"(U\7storagectorch\nFloatStorage\nU\1" + b"7U\3cpuK\4" + view + b"tQ"
    body = b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0K\2\x85K\1\x85\x89)tR."
    return torch_legacy.MAGIC + b"\x80\2M\xe9\3." + system + body + b"\x80\2]U\x017a." + struct.pack("<q4f", numel, 1, 2, 3, 4) + tail


def test_a_storage_view_shifts_its_tensors() -> None:
    contents = read(by_hand(b"(U\x018K\1K\2t"))
    assert contents.fetch(contents.outline.root).data == struct.pack("<2f", 2, 3)


@pytest.mark.parametrize("little", [b"\x88", b"\x89"], ids=["little", "big"])
def test_the_payload_is_little_endian_on_every_machine_as_torch_reads_it(little: bytes) -> None:
    data = by_hand(b"N", little=little)
    contents = read(data)
    expected = torch.load(
        io.BytesIO(data.replace(b"tQK\0K\2\x85K\1\x85\x89)tR", b"tQK\0K\2\x85K\1\x85\x89ccollections\nOrderedDict\n)RtR")),
        weights_only=True,
    )
    assert contents.fetch(contents.outline.root).data == expected.numpy().tobytes()


LIES = {
    "a view past the end": by_hand(b"(U\x018K\3K\2t"),
    "a view of minus one": by_hand(b"(U\x018J\xff\xff\xff\xffK\2t"),
    "a view of another shape": by_hand(b"K\1"),
    "a trailing byte": by_hand(b"N", tail=b"\0"),
    "a count that differs": by_hand(b"N", numel=5),
    "a count of minus one": by_hand(b"N", numel=-1),
    "no flag": by_hand(b"N", little=b"N"),
    "another protocol": by_hand(b"N").replace(b"M\xe9\3", b"M\xe8\3"),
    "keys that are not there": by_hand(b"N").replace(b"]U\x017a", b"]U\x019a"),
    "a key twice": by_hand(b"N").replace(b"]U\x017a", b"]U\x017aU\x017a"),
    "no keys": by_hand(b"N").replace(b"]U\x017a", b"]"),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_file_that_contradicts_itself_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(data)


def test_a_file_cut_anywhere_is_refused() -> None:
    for stop in range(len(torch_legacy.MAGIC), len(DATA)):
        with pytest.raises(FileError):
            read(DATA[:stop])
