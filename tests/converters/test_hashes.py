"""Hashes as Civitai and A1111 compute them, and the digest by its specification, each restated here on its own."""

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from embconv.converters.hashes import a1111_checksum, digest, hashes, sha256_of
from embconv.converters.limits import WHOLE_READ
from embconv.converters.model import Embedding, Names, Tensor
from embconv.converters.read import load, read
from embconv.converters.source import Source
from examples import BY_ID, EXAMPLES, Example, Expected, as_tensor, made, npy, safetensors, torch_1, torch_legacy

NOTHING = hashlib.sha256().hexdigest()


def _hashes(data: bytes | Path) -> object:
    with Source(data) as source:
        return hashes(source)


# of files


def test_crc32_stands_in_the_byte_order_of_dotnet() -> None:
    """Civitai model-scanner, HashTaskTests: "hello world" is 85114A0D, where zlib says 0D4A1185."""
    assert zlib.crc32(b"hello world") == 0x0D4A1185
    assert _hashes(b"hello world").crc32 == "85114A0D"  # type: ignore[attr-defined]


def test_known_values_of_hello_world() -> None:
    found = _hashes(b"hello world")
    assert found.sha256 == "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"  # type: ignore[attr-defined]
    assert found.blake3 == "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"  # type: ignore[attr-defined]
    assert (found.autov2, found.a1111_shorthash) == ("b94d27b993", "b94d27b9934d")  # type: ignore[attr-defined]


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_autov3_begins_after_the_header_or_at_byte_8(example: Example) -> None:
    header = int.from_bytes(example.data[:8], "little")
    content = example.data[8 + header if header < 16 << 20 else 8 :]
    found = _hashes(example.data)
    assert found.autov3_full == hashlib.sha256(content).hexdigest()  # type: ignore[attr-defined]
    assert found.autov3 == found.autov3_full[:12]  # type: ignore[attr-defined]


def test_autov3_of_a_safetensors_file_of_one_float32_tensor_is_that_of_its_numbers() -> None:
    numbers = made(8, 768).numpy().tobytes()
    assert _hashes(BY_ID["emb-params-without-padding"].data).autov3_full == hashlib.sha256(numbers).hexdigest()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"", b""), (b"short", b""), (bytes(8), b""), (bytes(9), b"\0"), (struct.pack("<Q", 100) + b"x" * 50, b""),
        (struct.pack("<Q", (16 << 20) - 1) + b"x", b""), (struct.pack("<Q", 16 << 20) + b"x", b"x"), (b"\xff" * 8 + b"x", b"x"),
    ],
    ids=["nothing", "7 bytes", "8 zeros", "9 zeros", "a header beyond the end", "just under 16 MiB", "16 MiB", "text"],
)  # fmt: skip
def test_autov3_at_the_edges(data: bytes, content: bytes) -> None:
    """model-scanner reads no header of 16 MiB or more; a header beyond the end leaves nothing."""
    assert _hashes(data).autov3_full == hashlib.sha256(content).hexdigest()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [0, 0x10000, 0x100000, 0x110000, (2 << 20) - 1])
def test_autov1_says_nothing_under_2_mib(size: int) -> None:
    """A1111's old hash would be e3b0c442, that of nothing, for every small file."""
    assert _hashes(bytes(size)).autov1 is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [2 << 20, (2 << 20) + 12_345])
def test_autov1_is_of_64_kib_at_1_mib(size: int, tmp_path: Path) -> None:
    path = tmp_path / "large.ckpt"
    path.write_bytes(np.random.default_rng(1).bytes(size))
    piece = path.read_bytes()[0x100000:0x110000]
    assert _hashes(path).autov1 == hashlib.sha256(piece).hexdigest()[:8]  # type: ignore[attr-defined]


@pytest.mark.parametrize("header", [0, 5, WHOLE_READ - 8, WHOLE_READ, 2 * WHOLE_READ + 3])
def test_a_large_file_read_in_pieces_has_the_same_hashes(header: int, tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    data = struct.pack("<Q", header) + np.random.default_rng(2).bytes(3 * WHOLE_READ + 77)
    path.write_bytes(data)
    found = _hashes(path)
    assert found == _hashes(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()  # type: ignore[attr-defined]
    assert found.autov3_full == hashlib.sha256(data[8 + header :]).hexdigest()  # type: ignore[attr-defined]
    with Source(path) as source:
        assert sha256_of(source) == found.sha256  # type: ignore[attr-defined]


# the digest


def _of_values(values: np.ndarray) -> tuple[str, bytes]:
    """Spec: float32 where it is exact, else float64 under a key that says so."""
    if values.dtype == np.float64 and not np.array_equal(values.astype("<f4").astype("<f8"), values):
        return ":F64", values.astype("<f8").tobytes()
    return "", values.astype("<f4").tobytes()


def _by_the_specification(expected: Expected) -> str:
    """For each key in sorted order: the key, a zero byte, n and width as u32, the values; all little endian."""
    sha = hashlib.sha256()
    named = {**expected.vectors, **{f"{key}_out": tensor for key, tensor in expected.outputs.items()}}
    for key in sorted(named):
        wide = named[key].double() if str(named[key].dtype) == "torch.float64" else named[key].float()
        suffix, values = _of_values(wide.numpy())
        sha.update(key.encode("utf-8") + suffix.encode() + b"\x00")
        sha.update(int(wide.shape[0]).to_bytes(4, "little") + int(wide.shape[1]).to_bytes(4, "little"))
        sha.update(values)
    return "emb:" + sha.hexdigest()


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_the_digest_is_that_of_the_specification(example: Example) -> None:
    assert [digest(embedding) for embedding in read(example.data)] == [_by_the_specification(e) for e in example.expected]


def test_the_digest_of_known_vectors_never_changes() -> None:
    """Registries remember it: a change here is a break of the format."""
    embedding = Embedding(names=Names(), vectors={"clip_l": Tensor("F32", (1, 2), struct.pack("<2f", 1.0, -0.5))})
    assert digest(embedding) == "emb:" + hashlib.sha256(b"clip_l\0\1\0\0\0\2\0\0\0\0\0\x80\x3f\0\0\0\xbf").hexdigest()


FILES = ["a1111-trained", "a1111-legacy", "a1111-numpy-carried", "a1111-big-endian", "a1111-webp", "a1111-picture-with-text-only",
         "ldm-torch-2", "emb-params-kohya-pt", "emp-params-onetrainer", "per-encoder-sd1", "diffusers-two-axes", "diffusers-flax",
         "bare-tensor-npy"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_equal_vectors_have_equal_digests_whatever_file_holds_them(name: str) -> None:
    assert digest(load(BY_ID[name].data)) == digest(load(safetensors({"emb_params": made(2, 768)})))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_widening_changes_no_digest(dtype: str) -> None:
    narrow = made(2, 768, dtype)
    found = {digest(load(safetensors({"emb_params": tensor}))) for tensor in (narrow, narrow.float(), narrow.double())}
    assert len(found) == 1


def test_what_float32_cannot_hold_has_a_digest_of_its_own() -> None:
    wide = made(2, 768).double() / 3
    found = {digest(load(data)) for data in (safetensors({"x": wide}), torch_1({"x": wide}), torch_legacy({"x": wide}), npy(wide.numpy()))}
    assert len(found) == 1
    assert found != {digest(load(safetensors({"x": wide.float()})))}


def test_the_encoder_the_shape_and_the_kind_of_vector_belong_to_the_digest() -> None:
    def of(vectors: dict[str, Tensor], **outputs: Tensor) -> str:
        return digest(Embedding(names=Names(), vectors=vectors, output_vectors=outputs))

    flat = as_tensor(made(2, 768))
    tall = Tensor("F32", (768, 2), flat.data)
    found = [
        of({"clip_l": flat}),
        of({"clip_h": flat}),
        of({"clip_l": tall}),
        of({}, clip_l=flat),
        of({}),
        of({"clip_l": flat}, clip_l=flat),
    ]
    assert len(set(found)) == len(found)
    assert of({"a": flat, "b": tall}) == of({"b": tall, "a": flat})


def test_names_and_text_do_not_belong_to_the_digest() -> None:
    told = safetensors({"emb_params": made(2, 768)}, {"name": '"other"', "note": "x"})
    assert digest(load(told)) == digest(load(safetensors({"emb_params": made(2, 768)})))


@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e5m2"])
def test_numbers_that_are_none_have_a_digest_too(special: float, dtype: str) -> None:
    tensor = made(1, 768).clone()
    tensor[0, 5] = special
    data = safetensors({"emb_params": tensor.to(made(1, 1, dtype).dtype)})
    assert digest(load(data)) == digest(load(data))


# A1111's checksum


def _const_hash(values: np.ndarray) -> str:
    """A1111 textual_inversion.py: r = r * 281 ^ int(v) * 997, masked to 32 bits; of float32 * 100, truncated."""
    r = 0
    for v in (values.astype(np.float32).reshape(-1) * np.float32(100)).tolist():
        r = (r * 281 ^ int(v) * 997) & 0xFFFFFFFF
    return f"{r & 0xFFFF:04x}"


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.expected and e.expected[0].vectors], ids=repr)
def test_the_checksum_is_a1111s(example: Example) -> None:
    for embedding, expected in zip(read(example.data), example.expected, strict=True):
        for key, tensor in embedding.vectors.items():
            assert a1111_checksum(tensor) == _const_hash(expected.vectors[key].double().numpy())


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e4, 1e20, 3e38])
def test_the_checksum_of_large_numbers_is_a1111s(scale: float) -> None:
    values = np.random.default_rng(3).uniform(-1, 1, 768).astype(np.float32) * np.float32(scale)
    finite = values if scale < 3e38 else values * np.float32(0.01)
    assert a1111_checksum(Tensor("F32", (1, 768), finite.tobytes())) == _const_hash(finite)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), 3e38])
def test_the_checksum_of_what_a1111_cannot_sum_is_still_a_text(special: float) -> None:
    assert len(a1111_checksum(Tensor("F32", (1, 2), struct.pack("<2f", special, 1.0)))) == 4
