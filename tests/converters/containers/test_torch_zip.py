"""Torch's zip archives: what torch and zipfile write is read; what we write, torch and A1111 read."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from embconv.converters.containers import torch_zip
from embconv.converters.errors import CannotHold, NotAnEmbedding, TooLarge, UnreadableFile
from embconv.converters.forms import form_of
from embconv.converters.limits import MIB, TENSOR_BYTES
from embconv.converters.model import Module, Node, Tensor, TensorInfo
from embconv.converters.read import examine
from embconv.converters.source import Source

REAL = Path(__file__).parents[4] / "shared" / "real"
A1111_NAMES = re.compile(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$")  # modules/safe.py, allowed_zip_names_re
TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


def saved(value: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def read(data: bytes) -> Any:
    return torch_zip.read(Source(data, "x.pt"))


def rezipped(data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """The same entries as Python's zipfile writes them."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), method)
    return file.getvalue()


def tensors(node: Node) -> Iterator[TensorInfo]:
    """Every tensor below `node`."""
    if isinstance(node, TensorInfo):
        yield node
    elif isinstance(node, Module):
        yield from tensors(node.state)
    elif isinstance(node, dict | list | tuple):
        for value in node.values() if isinstance(node, dict) else node:
            yield from tensors(value)


VECTORS = torch.arange(2 * 768, dtype=torch.float32).reshape(2, 768)


@pytest.mark.parametrize("again", [None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["torch", "stored", "deflated"])
def test_torchs_own_archives_and_their_repacked_copies_are_read(again: int | None) -> None:
    data = saved({"string_to_param": {"*": VECTORS}, "name": "x"})
    contents = read(data if again is None else rezipped(data, again))
    info = contents.outline.root["string_to_param"]["*"]
    assert contents.outline.root["name"] == "x"
    assert contents.outline.archive_root == "archive"
    assert contents.fetch(info) == Tensor("F32", (2, 768), VECTORS.numpy().tobytes())


def test_the_root_folder_is_the_stem_at_save_time(tmp_path: Path) -> None:
    torch.save({"x": VECTORS}, tmp_path / "my name.pt")
    contents = torch_zip.read(Source(tmp_path / "my name.pt"))
    assert contents.outline.archive_root == "my name"


def test_a_big_endian_archive_is_turned_around() -> None:
    data = saved({"x": VECTORS[:, :4].clone()})
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, b"big" if info.filename.endswith("byteorder") else old.read(info))
    contents = read(file.getvalue())
    expected = torch.load(io.BytesIO(file.getvalue()), weights_only=True)["x"]
    assert contents.fetch(contents.outline.root["x"]).data == expected.numpy().tobytes()


def test_odd_floats_survive_bit_for_bit() -> None:
    odd = torch.tensor([float("nan"), -0.0, 1e-45, float("inf")])
    contents = read(saved(odd))
    assert contents.fetch(contents.outline.root).data == odd.numpy().tobytes()


def test_fp8_storages_are_read_by_the_type_their_tensor_names() -> None:
    tensor = torch.ones(4).to(torch.float8_e4m3fn)
    contents = read(saved({"x": tensor}))
    assert contents.fetch(contents.outline.root["x"]) == Tensor("F8_E4M3", (4,), tensor.view(torch.uint8).numpy().tobytes())


class Unseekable(io.RawIOBase):
    """Where zipfile cannot go back, it writes descriptors after the data, as torch does."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)


@pytest.mark.parametrize("wide", [False, True], ids=["plain descriptor", "zip64 header"])
def test_a_streamed_archive_is_read(wide: bool) -> None:
    file = Unseekable()
    with zipfile.ZipFile(io.BytesIO(torch_zip.write(TREE))) as old, zipfile.ZipFile(file, "w") as new:  # type: ignore[call-overload]
        for info in old.infolist():
            with new.open(info.filename, "w", force_zip64=wide) as entry:
                entry.write(old.read(info))
    contents = read(b"".join(file.parts))
    assert contents.outline.root["name"] == "näme"


def test_zip64_sizes_are_read_from_the_extra_field_and_the_wide_descriptor() -> None:
    pickle = b"\x80\2K\7."
    name, crc = b"a/data.pkl", zlib.crc32(pickle)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 8, 0, 0, 0, 0, 0, 0, len(name), 0) + name + pickle
    local += struct.pack("<4sI2Q", b"PK\7\x08", crc, len(pickle), len(pickle))
    extra = struct.pack("<2H3Q", 1, 24, len(pickle), len(pickle), 0)
    full = 0xFFFFFFFF
    fields = (b"PK\1\2", 45, 45, 8, 0, 0, 0, crc, full, full, len(name), len(extra), 0, 0, 0, 0, full)
    central = struct.pack("<4s6H3I5H2I", *fields) + name + extra
    at = len(local) + len(central)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(central), len(local))
    end += struct.pack("<4sIQI", b"PK\6\7", 0, at, 1) + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, full, full, 0)
    assert read(local + central + end).outline.root == 7


def test_one_row_of_a_whole_vocabulary_needs_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = torch.zeros(49408, 768)  # 151 MB, as diffusers wrote it in September 2022
    vocabulary[49407] = 1
    torch.save({"<token>": vocabulary[49407]}, tmp_path / "learned_embeds.bin")
    lengths: list[int] = []
    real = Source.read
    monkeypatch.setattr(Source, "read", lambda self, start, length: lengths.append(length) or real(self, start, length))  # type: ignore[func-returns-value]
    with Source(tmp_path / "learned_embeds.bin") as source:
        contents = torch_zip.read(source)
        assert contents.fetch(contents.outline.root["<token>"]).data == torch.ones(768).numpy().tobytes()
    assert sum(lengths) < 16_384


def test_a_tensor_beyond_the_limit_is_outlined_but_not_fetched(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(TENSOR_BYTES // 4 + 1)}, tmp_path / "big.pt")
    with Source(tmp_path / "big.pt") as source:
        contents = torch_zip.read(source)
        assert contents.outline.root["x"].shape == (TENSOR_BYTES // 4 + 1,)
        with pytest.raises(TooLarge):
            contents.fetch(contents.outline.root["x"])


def test_a_torchscript_archive_is_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "script.pt"))
    with pytest.raises(NotAnEmbedding, match="TorchScript"):
        torch_zip.read(Source(tmp_path / "script.pt"))


def test_a_zip_of_something_else_is_named() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        new.writestr("a.safetensors", b"x")
    with pytest.raises(NotAnEmbedding, match="a zip archive"):
        read(file.getvalue())


TREE = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": Tensor("F32", (2, 768), VECTORS.numpy().tobytes())},
    "name": "näme",
    "step": None,
    "numbers": [0, 255, 256, -1, 1 << 40, 1.5, True, False, []],
}


@pytest.mark.parametrize("weights_only", [True, False])
def test_what_we_write_torch_reads(weights_only: bool) -> None:
    loaded = torch.load(io.BytesIO(torch_zip.write(TREE)), weights_only=weights_only)
    assert torch.equal(loaded["string_to_param"].pop("*"), VECTORS)
    assert loaded == {**TREE, "string_to_param": {}}
    assert list(loaded) == list(TREE)


def test_what_we_write_we_read() -> None:
    contents = read(torch_zip.write(TREE, "röot"))
    assert contents.outline.archive_root == "röot"
    assert contents.fetch(contents.outline.root["string_to_param"]["*"]) == TREE["string_to_param"]["*"]  # type: ignore[index]


def test_a1111_of_any_version_accepts_the_names() -> None:
    with zipfile.ZipFile(io.BytesIO(torch_zip.write(TREE))) as archive:
        assert all(A1111_NAMES.match(name) for name in archive.namelist())
        assert archive.testzip() is None
        assert archive.namelist() == ["archive/data.pkl", "archive/data/0", "archive/version"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_tree_gives_the_same_bytes_with_aligned_storages() -> None:
    data = torch_zip.write(TREE)
    assert data == torch_zip.write(TREE)
    assert data.index(VECTORS.numpy().tobytes()) % 64 == 0


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (1, 2, 3)])
def test_every_type_and_shape_is_written(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape, dtype=TORCH[dtype])
    tree = {"x": Tensor(dtype, shape, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())}
    loaded = torch.load(io.BytesIO(torch_zip.write(tree)), weights_only=True)["x"]
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded, tensor)


@pytest.mark.parametrize("value", [Tensor("F8_E4M3", (1,), b"\0"), (1,), b"x", {1: 2}, 1 << 300], ids=repr)
def test_what_not_every_program_reads_is_not_written(value: object) -> None:
    with pytest.raises(CannotHold):
        torch_zip.write({"x": value})


def test_a_wrong_root_folder_is_not_written() -> None:
    with pytest.raises(CannotHold):
        torch_zip.write({}, "../x")


def test_a_storage_of_the_wrong_size_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_zip.write(TREE))) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info) + (b"\0" if "data/" in info.filename else b""))
    with pytest.raises(UnreadableFile, match="another size"):
        read(file.getvalue())


def test_opening_an_a1111_file_takes_a_fraction_of_a_millisecond() -> None:
    data = torch_zip.write(TREE)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        read(data)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.001


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real files is not part of the repository")
def test_real_files_hold_the_known_vectors() -> None:
    for row in json.loads((REAL / "manifest.json").read_text()):
        with Source(REAL / row["file"]) as source:
            if not torch_zip.sniff(source):
                continue
            contents = torch_zip.read(source)
            found = set()
            for info in tensors(contents.outline.root):
                tensor = contents.fetch(info)
                flat = torch.frombuffer(bytearray(tensor.data), dtype=TORCH[tensor.dtype]).to(torch.float32)
                found.add(hashlib.sha256(flat.numpy().tobytes()).hexdigest())
            assert {t["sha256_f32le"] for t in row["tensors"].values()} <= found, row["file"]


def test_the_members_are_the_entries_beside_the_storages_in_one_order() -> None:
    assert read(torch_zip.write(TREE)).outline.members == ("data.pkl", "version")
    theirs = read(saved({"x": VECTORS})).outline.members
    assert theirs == tuple(sorted(theirs))
    assert {"data.pkl", "version", "byteorder", ".data/serialization_id"} <= set(theirs)
    assert not any(name.startswith("data/") for name in theirs)
    assert read(rezipped(saved({"x": VECTORS}))).outline.members == theirs


def test_the_form_of_a_file_tells_a_minimal_zip(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pt", tmp_path / "theirs.pt"
    ours.write_bytes(torch_zip.write({"string_to_param": {"*": TREE["string_to_param"]["*"]}, "string_to_token": {"*": 265}}))  # type: ignore[index]
    torch.save({"string_to_param": {"*": VECTORS}, "string_to_token": {"*": 265}}, theirs)
    found = []
    for path in (ours, theirs):
        with Source(path) as source:
            reading = examine(source)
            found.append(form_of(reading, reading.embeddings[0]))
    assert [form.minimal_zip for form in found] == [True, False]
    assert [form.numpy_carried for form in found] == [False, False]


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 5 * MIB])
@pytest.mark.parametrize("kind", ["zeros", "noise", "rows"])
def test_deflated_storages_of_any_size_are_inflated_whole(size: int, kind: str) -> None:
    # found while bombs were measured: the end of a long stream waited inside zlib
    data = {"zeros": bytes(size), "noise": Random(1).randbytes(size), "rows": (Random(2).randbytes(999) * (size // 999 + 1))[:size]}[kind]
    contents = read(rezipped(torch_zip.write({"x": Tensor("U8", (size,), data)}), zipfile.ZIP_DEFLATED))
    assert contents.fetch(contents.outline.root["x"]).data == data


def test_a_large_tensor_in_another_byte_order_is_not_turned() -> None:
    tensor = Tensor("F32", (1 << 23,), bytes(1 << 25))
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_zip.write({"x": tensor}))) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
        new.writestr("archive/byteorder", b"big")
    contents = read(file.getvalue())
    with pytest.raises(TooLarge, match="at most 16,777,216"):
        contents.fetch(contents.outline.root["x"])


def test_many_views_of_one_storage_prove_its_checksum_once(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = torch.zeros(200_000)
    contents = read(saved([storage[i : i + 768] for i in range(2_000)]))
    sums: list[int] = []
    real = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: sums.append(len(data)) or real(data))  # type: ignore[func-returns-value]
    assert {contents.fetch(info).data for info in contents.outline.root} == {bytes(4 * 768)}
    assert sums == [800_000]
