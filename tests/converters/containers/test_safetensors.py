"""safetensors files are read as their library reads them, and what we write equals what it writes."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import time
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.containers import safetensors as ours
from embconv.converters.errors import CannotHold, TooLarge
from embconv.converters.model import SIZES, Tensor, TensorInfo
from embconv.converters.source import Source

TORCH = {
    "F64": torch.float64,
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


def raw_file(header: object, data: bytes = b"", *, padding: bytes = b"") -> bytes:
    text = (header if isinstance(header, bytes) else json.dumps(header).encode()) + padding
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: tuple[int, ...] = (1, 2), offsets: tuple[int, int] = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read(data: bytes) -> dict[str, Tensor]:
    contents = ours.read(Source(data, "made.safetensors"))
    return {name: contents.fetch(info) for name, info in contents.outline.root.items()}


def test_a_file_of_the_library_is_read_bit_for_bit() -> None:
    data = safetensors.torch.save({"clip_l": torch.randn(3, 768), "clip_g": torch.randn(3, 1280).half()}, {"format": "pt"})
    assert ours.sniff(Source(data))
    contents = ours.read(Source(data))
    assert contents.outline.container == "safetensors"
    assert contents.outline.metadata == {"format": "pt"}
    assert contents.outline.root["clip_l"] == TensorInfo("F32", (3, 768), "clip_l")
    theirs = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]  # the library has no types
    assert {name: bytes(theirs[name]["data"]) for name in theirs} == {name: t.data for name, t in read(data).items()}


def test_an_early_file_is_neither_padded_nor_aligned() -> None:
    data = raw_file(b'{"emb_params":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}', b"12345678")
    assert struct.unpack("<Q", data[:8])[0] % 8 != 0
    assert read(data)["emb_params"].data == b"12345678"


def test_the_header_may_be_padded_with_spaces() -> None:
    assert read(raw_file({"x": entry()}, b"12345678", padding=b"     "))["x"].shape == (1, 2)


def test_the_order_of_the_header_is_kept() -> None:
    data = raw_file({"z": entry(offsets=(8, 16)), "a": entry(offsets=(0, 8))}, bytes(16))
    assert list(read(data)) == ["z", "a"]


def test_empty_tensors_and_scalars_are_read() -> None:
    found = read(raw_file({"none": entry(shape=(0, 768), offsets=(0, 0)), "one": entry(shape=(), offsets=(0, 4))}, bytes(4)))
    assert found["none"] == Tensor("F32", (0, 768), b"")
    assert found["one"] == Tensor("F32", (), bytes(4))


@pytest.mark.parametrize("dtype", SIZES)
def test_every_number_type_is_read_and_written(dtype: str) -> None:
    tensor = Tensor(dtype, (1, 2), bytes(2 * SIZES[dtype]))
    assert read(ours.write({"x": tensor}, {})) == {"x": tensor}


def test_fetch_reads_that_tensor_only(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    path.write_bytes(ours.write({"a": Tensor("F32", (500_000,), bytes(2_000_000)), "b": Tensor("F32", (1,), b"abcd")}, {}))
    seen: list[int] = []
    with Source(path) as source:
        whole = source.read

        def counted(start: int, length: int) -> bytes:
            seen.append(length)
            return whole(start, length)

        source.read = counted  # type: ignore[method-assign]  # counts the bytes
        contents = ours.read(source)
        assert contents.fetch(contents.outline.root["b"]).data == b"abcd"
    assert sum(seen) < 1000


def test_a_tensor_over_the_limit_is_seen_but_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    size = 65 << 20
    with path.open("wb") as file:
        file.write(raw_file({"w": entry("U8", (size,), (0, size))}))
        file.truncate(file.tell() + size)
    with Source(path) as source:
        contents = ours.read(source)
        assert contents.outline.root["w"].shape == (size,)
        with pytest.raises(TooLarge, match='tensor "w"'):
            contents.fetch(contents.outline.root["w"])


# ---- writing ----


def test_one_tensor_is_written_as_the_library_writes_it() -> None:
    vectors = torch.randn(4, 768)
    mine = ours.write({"emb_params": Tensor("F32", (4, 768), vectors.numpy().tobytes())}, {"format": "pt"})
    assert mine == safetensors.torch.save({"emb_params": vectors}, {"format": "pt"})


def test_the_order_in_the_file_is_the_library_s_for_every_number_type() -> None:
    tensors = {f"{letter}-{dtype}": torch.zeros(1, 3).to(TORCH[dtype]) for letter in "bßa" for dtype in TORCH}
    mine = ours.write({n: Tensor(n.split("-")[1], (1, 3), bytes(3 * SIZES[n.split("-")[1]])) for n in tensors}, {})
    assert mine == safetensors.torch.save(tensors)


def test_names_in_every_script_are_written_as_the_library_writes_them() -> None:
    name = 'ゆの "<tok>" \\ \n\t\x00\x7f é 🎨'
    mine = ours.write({name: Tensor("F32", (1,), bytes(4))}, {"k": name})
    assert mine == safetensors.torch.save({name: torch.zeros(1)}, {"k": name})


def test_the_file_opens_in_safe_open(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(ours.write({"clip_l": Tensor("F32", (2, 768), bytes(6144))}, {"b": "2", "a": "1"}))
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "1", "b": "2"}
        assert file.get_tensor("clip_l").shape == (2, 768)


def test_the_order_given_does_not_change_the_bytes() -> None:
    a, b = Tensor("F32", (1,), b"aaaa"), Tensor("F16", (2,), b"bbbb")
    one, two = ours.write({"a": a, "b": b}, {"x": "1", "y": "2"}), ours.write({"b": b, "a": a}, {"y": "2", "x": "1"})
    assert one == two
    assert struct.unpack("<Q", one[:8])[0] % 8 == 0


@pytest.mark.parametrize("name", ["__metadata__", "x" * 1025, "half \ud800"], ids=["metadata", "long", "surrogate"])
def test_a_name_that_would_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(CannotHold):
        ours.write({name: Tensor("F32", (1,), bytes(4))}, {})


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda n: n != "__metadata__")
tensors = st.tuples(st.sampled_from(sorted(TORCH)), st.lists(st.integers(0, 4), max_size=4), st.binary(min_size=2048, max_size=2048)).map(
    lambda t: Tensor(t[0], tuple(t[1]), bytes(b & 1 for b in t[2][: torch.Size(t[1]).numel() * SIZES[t[0]]]))
)


@given(st.dictionaries(names, tensors, max_size=6), st.dictionaries(names, names, max_size=4))
def test_what_is_written_is_read_back_by_us_and_by_torch(made: dict[str, Tensor], metadata: dict[str, str]) -> None:
    data = ours.write(made, metadata)
    assert read(data) == made
    assert ours.read(Source(data)).outline.metadata == metadata
    theirs = safetensors.torch.load(data)
    assert {n: (t.dtype, tuple(t.shape)) for n, t in theirs.items()} == {n: (TORCH[t.dtype], t.shape) for n, t in made.items()}
    assert {n: t.reshape(-1).view(torch.uint8).numpy().tobytes() for n, t in theirs.items()} == {n: t.data for n, t in made.items()}


# ---- real files ----


def test_real_files_have_the_numbers_of_the_manifest(real: Path) -> None:
    for line in json.loads((real / "manifest.json").read_text()):
        path = real / line["file"]
        with Source(path) as source:
            assert ours.sniff(source) == (path.suffix in {".safetensors", ".pti"})
            if ours.sniff(source):
                assert_known(path, source, line["tensors"])


def assert_known(path: Path, source: Source, known: dict[str, dict[str, object]]) -> None:
    contents = ours.read(source)
    assert set(contents.outline.root) == set(safetensors.torch.load_file(path))
    assert known
    for name, facts in known.items():
        tensor = contents.fetch(contents.outline.root[name])
        assert list(tensor.shape) == facts["stored_shape"]
        wide = torch.frombuffer(bytearray(tensor.data), dtype=TORCH[tensor.dtype]).float()
        assert hashlib.sha256(wide.numpy().tobytes()).hexdigest() == facts["sha256_f32le"]


def test_easynegative_is_not_aligned_and_opens_fast(real: Path) -> None:
    source = Source(real / "emb_params-unaligned-EasyNegative.safetensors")
    assert struct.unpack("<Q", source.head(8))[0] == 71
    times = []
    for _ in range(200):
        start = time.perf_counter()
        ours.read(source)
        times.append(time.perf_counter() - start)
    assert min(times) < 60e-6 or sys.gettrace() is not None  # a tracer slows it
