"""The least file of each layout and variant, made in memory by the programs that write them; and of what is no embedding.

    @embedding("emb_params", "safetensors", ".safetensors")
    def emb_params_kohya():
        vectors = made(2, 768)
        return safetensors({"emb_params": vectors}), [Expected("emb_params", {"clip_l": vectors})]

Nothing is built, and no torch imported, until somebody asks an example for its `data` or for what is `expected` of it.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Expected:
    """One embedding that a file holds: two-axis vectors as torch tensors, and all that the file says about it."""

    key: str | None
    vectors: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    inner_name: str | None = None
    archive_root: str | None = None
    training: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """One file: `id` says the case, `data` are its bytes, `expected` what is in it."""

    id: str
    layout: str
    container: str
    suffix: str
    build: Callable[[], tuple[bytes, list[Expected]]]

    @property
    def data(self) -> bytes:
        return _built(self)[0]

    @property
    def expected(self) -> list[Expected]:
        return _built(self)[1]

    def __repr__(self) -> str:
        return self.id


@dataclass(frozen=True)
class Other:
    """A file that is no embedding, and the words by which it is called."""

    id: str
    suffix: str
    what: str
    build: Callable[[], bytes]

    @property
    def data(self) -> bytes:
        return _made(self)

    def __repr__(self) -> str:
        return self.id


@cache
def _built(example: Example) -> tuple[bytes, list[Expected]]:
    return example.build()


@cache
def _made(other: Other) -> bytes:
    return other.build()


_EXAMPLES: list[Example] = []
_OTHERS: list[Other] = []


def embedding(layout: str, container: str, suffix: str) -> Callable[[Any], Any]:
    def add(build: Callable[[], tuple[bytes, list[Expected]]]) -> Callable[[], tuple[bytes, list[Expected]]]:
        _EXAMPLES.append(Example(build.__name__.replace("_", "-"), layout, container, suffix, build))
        return build

    return add


def other(suffix: str, what: str) -> Callable[[Any], Any]:
    def add(build: Callable[[], bytes]) -> Callable[[], bytes]:
        _OTHERS.append(Other(build.__name__.replace("_", "-"), suffix, what, build))
        return build

    return add


# ---- the programs ----


@cache
def made(n: int, width: int, dtype: str = "float32", seed: int = 0) -> torch.Tensor:
    """(n, width) small numbers, the same in every run; another `seed`, others."""
    import torch

    generator = torch.Generator().manual_seed(seed * 1_000_003 + width)
    return ((torch.rand(n, width, generator=generator) - 0.5) * 0.1).to(getattr(torch, dtype))


def torch_file(root: object, stem: str = "") -> bytes:
    """What today's torch.save writes; with `stem` as to a path of that stem, whose name it keeps as the folder inside."""
    import tempfile
    from pathlib import Path

    import torch

    if not stem:
        buffer = io.BytesIO()
        torch.save(root, buffer)
        return buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{stem}.pt"
        torch.save(root, path)
        return path.read_bytes()


def torch_legacy(root: object) -> bytes:
    """What torch before 1.6 wrote."""
    import torch

    buffer = io.BytesIO()
    torch.save(root, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def records(data: bytes) -> dict[str, bytes]:
    """The entries of a torch zip without their root."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], root: str = "archive") -> bytes:
    """A torch zip with exactly these entries in this order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), data)
    return buffer.getvalue()


def torch_1(root: object, stem: str = "archive") -> bytes:
    """What torch 1.x wrote: three kinds of entries, storages in the order of their names as text."""
    found = records(torch_file(root))
    storages = sorted(name for name in found if name.startswith("data/"))
    return zipped({name: found[name] for name in ["data.pkl", *storages, "version"]}, stem)


def safetensors(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    from safetensors.torch import save

    return save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)


def npy(root: object) -> bytes:
    """What numpy.save writes of an array, or of a dictionary that it wraps into an array of one object."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, root, allow_pickle=True)
    return buffer.getvalue()


def png(text: dict[str, Any] | None = None, pixels: Any = None) -> bytes:
    """A picture with A1111's text chunk, or without."""
    import base64

    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    if text is not None:
        info.add_text("sd-ti-embedding", base64.b64encode(json.dumps(text).encode()).decode())
    picture = Image.new("RGB", (8, 8), "teal") if pixels is None else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


# ---- A1111 ----


def a1111_dict(vectors: object, **changes: Any) -> dict[str, Any]:
    """The dictionary in the order in which A1111 writes it."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": "bad-hands-5",
        "step": 1364,
        "sd_checkpoint": "7ab762a7",
        "sd_checkpoint_name": "blossom-extract",
        **changes,
    }


TRAINED = {"step": 1364, "sd_checkpoint": "7ab762a7", "sd_checkpoint_name": "blossom-extract"}
TOKENS = {"string_to_token": '{"*": 265}'}


def of_a1111(vectors: torch.Tensor, **changes: Any) -> list[Expected]:
    told = {"inner_name": "bad-hands-5", "archive_root": "archive", "training": TRAINED, "metadata": TOKENS, **changes}
    return [Expected("*", {"clip_l": vectors}, **told)]


@embedding("a1111", "torch_zip", ".pt")
def a1111_trained() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_1(a1111_dict(vectors.clone().requires_grad_())), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_root_is_the_name_at_save_time() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    data = torch_1(a1111_dict(vectors, name="sxz-mgr", sd_checkpoint="89d59c3dde"), "sxz-mgr-v1-4000")
    training = {**TRAINED, "sd_checkpoint": "89d59c3dde"}
    return data, of_a1111(vectors, inner_name="sxz-mgr", archive_root="sxz-mgr-v1-4000", training=training)


@embedding("a1111", "torch_zip", ".pt")
def a1111_saved_by_torch_2() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_file(a1111_dict(vectors), "bad-hands-5"), of_a1111(vectors, archive_root="bad-hands-5")


@embedding("a1111", "torch_zip", ".pt")
def a1111_intermediate_save() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 768)
    nothing = {"step": 0, "sd_checkpoint": None, "sd_checkpoint_name": None}
    return torch_1(a1111_dict(vectors, **nothing)), of_a1111(vectors, training=nothing)


@embedding("a1111", "torch_zip", ".pt")
def a1111_first_version_without_checkpoint_keys() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    root = {key: value for key, value in a1111_dict(vectors).items() if not key.startswith("sd_")}
    return torch_1(root), of_a1111(vectors, training={"step": 1364})


@embedding("a1111", "torch_zip", ".pt")
def a1111_step_none() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_1(a1111_dict(vectors, step=None)), of_a1111(vectors, training={**TRAINED, "step": None})


@embedding("a1111", "torch_zip", ".pt")
def a1111_sd2() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 1024)
    told = {"inner_name": "bad-hands-5", "archive_root": "archive", "training": TRAINED, "metadata": TOKENS}
    return torch_1(a1111_dict(vectors)), [Expected("*", {"clip_h": vectors}, **told)]


@embedding("a1111", "torch_zip", ".pt")
def a1111_half() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "float16")
    return torch_1(a1111_dict(vectors)), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_bfloat16() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "bfloat16")
    return torch_1(a1111_dict(vectors)), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_double() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "float64")
    return torch_1(a1111_dict(vectors)), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_float8() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "float8_e4m3fn")
    return torch_file(a1111_dict(vectors)), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_big_endian() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    found = records(torch_file(a1111_dict(vectors)))
    swapped = {"data/0": vectors.numpy().byteswap().tobytes(), "byteorder": b"big"}
    return zipped({**found, **swapped}), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_numpy_carried() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_1(a1111_dict(_OnDevice(vectors))), of_a1111(vectors)


@embedding("a1111", "torch_legacy", ".pt")
def a1111_legacy() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_legacy(a1111_dict(vectors)), of_a1111(vectors, archive_root=None)


@embedding("a1111", "torch_zip", ".pt")
def a1111_pickle_protocol_4() -> tuple[bytes, list[Expected]]:
    import torch

    vectors, buffer = made(2, 768), io.BytesIO()
    torch.save(a1111_dict(vectors), buffer, pickle_protocol=4)
    return buffer.getvalue(), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".bin")
def a1111_in_bin() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_1(a1111_dict(vectors, step=None)), of_a1111(vectors, training={**TRAINED, "step": None})


@embedding("a1111", "torch_zip", ".pt")
def a1111_subset_of_hcp() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    root = {"string_to_param": {"*": vectors}, "name": "pt-cat1"}
    return torch_1(root), of_a1111(vectors, inner_name="pt-cat1", training=None, metadata={})


@embedding("a1111", "torch_zip", ".pt")
def a1111_early_onetrainer() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    empty = {"step": 0, "sd_checkpoint": "", "sd_checkpoint_name": ""}
    return torch_file(a1111_dict(vectors, name="*", **empty)), of_a1111(vectors, inner_name="*", training=empty)


@embedding("a1111", "torch_zip", ".pt")
def a1111_notes_of_ai_toolkit() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_file(a1111_dict(vectors, notes=None)), of_a1111(vectors, metadata={**TOKENS, "notes": "null"})


@embedding("a1111", "torch_zip", ".pt")
def a1111_several_placeholders() -> tuple[bytes, list[Expected]]:
    """merge_embeddings.py of the original code; A1111 itself refuses it."""
    one, two = made(1, 768), made(2, 768, seed=1)
    root = a1111_dict(None, string_to_token={"cat": 265, "dog": 266}, string_to_param={"cat": one, "dog": two})
    told = {"inner_name": "bad-hands-5", "archive_root": "archive", "training": TRAINED}
    return torch_1(root), [
        Expected("cat", {"clip_l": one}, **told, metadata={"string_to_token": '{"cat": 265}'}),
        Expected("dog", {"clip_l": two}, **told, metadata={"string_to_token": '{"dog": 266}'}),
    ]


@embedding("a1111", "torch_zip", ".pt")
def a1111_view_with_stride() -> tuple[bytes, list[Expected]]:
    """Every second row of a larger storage, from the third on."""
    vectors = made(8, 768)[2::2]
    return torch_1(a1111_dict(vectors)), of_a1111(vectors)


@embedding("a1111", "torch_zip", ".pt")
def a1111_transposed() -> tuple[bytes, list[Expected]]:
    vectors = made(768, 2).t()
    return torch_1(a1111_dict(vectors)), of_a1111(vectors)


def _image_dict(vectors: torch.Tensor) -> dict[str, Any]:
    return a1111_dict({"TORCHTENSOR": vectors.tolist()}, name="gasai yuno", sd_checkpoint=None, sd_checkpoint_name=None)


def _of_image(vectors: torch.Tensor) -> list[Expected]:
    training = {"step": 1364, "sd_checkpoint": None, "sd_checkpoint_name": None}
    return of_a1111(vectors, inner_name="gasai yuno", archive_root=None, training=training)


@embedding("a1111", "png", ".png")
def a1111_picture_with_text_only() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return png(_image_dict(vectors)), _of_image(vectors)


@embedding("a1111", "png", ".png")
def a1111_picture_with_pixels_only() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return png(pixels=carrier(json.dumps(_image_dict(vectors)).encode())), _of_image(vectors)


@embedding("a1111", "png", ".png")
def a1111_picture_with_both() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    root = _image_dict(vectors)
    return png(root, carrier(json.dumps(root).encode())), _of_image(vectors)


@embedding("a1111", "webp", ".webp")
def a1111_webp() -> tuple[bytes, list[Expected]]:
    from PIL import Image

    vectors, buffer = made(2, 768), io.BytesIO()
    Image.fromarray(carrier(json.dumps(_image_dict(vectors)).encode())).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue(), _of_image(vectors)


def carrier(payload: bytes, height: int = 64) -> Any:
    """A1111's pixels, drawn by its rules (image_embedding.py): [low nibbles][black][picture][black][high nibbles]."""
    import numpy as np

    packed = np.frombuffer(zlib.compress(payload, 9), np.uint8)
    length = len(packed) + height - len(packed) % height
    length += 3 * height - length % (3 * height)
    state, stream = 0, []
    for _ in range(length):
        state = (1664525 * state + 1013904223) % 2**32
        stream.append(state % 255 & 0x0F)
    key = np.array(stream, np.uint8)
    low, high = ((np.resize(half, length) ^ key).reshape(height, -1, 3) | 0x50 for half in (packed & 0x0F, packed >> 4))
    black, picture = np.zeros((height, 1, 3), np.uint8), np.full((height, 16, 3), 0x77, np.uint8)
    return np.hstack([low, black, picture, black, high])


# ---- the original code ----


class _Reduced:
    """Something that pickles as the call it is given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _OnDevice(vectors: torch.Tensor, device: str = "mps:0") -> _Reduced:  # noqa: N802  # it stands for a class
    """A tensor as torch saves it on devices without storages: the numbers inside the pickle, by numpy."""
    import torch

    return _Reduced(torch._utils._rebuild_device_tensor_from_numpy, vectors.numpy(), vectors.dtype, device, True)


def parameter_dict(parameters: dict[str, Any], age: str) -> Any:
    """A ParameterDict with the state that torch of that age gave it."""
    import torch

    container = torch.nn.ParameterDict.__new__(torch.nn.ParameterDict)
    state: dict[str, Any] = {"training": True, "_parameters": OrderedDict(parameters), "_buffers": OrderedDict()}
    hooks = ["_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks"]
    state |= {
        "_non_persistent_buffers_set": set(),
        "_is_full_backward_hook": None,
        "_modules": OrderedDict(),
        **{name: OrderedDict() for name in hooks},
    }
    state |= {"_initialized": True} if age == "1.11" else {"_load_state_dict_post_hooks": OrderedDict(), "_keys": dict.fromkeys(parameters)}
    container.__dict__ = state
    return container


def token_view() -> torch.Tensor:
    """`tokens[0, 1]` of a tokenised prompt: a number without axes at offset 1 of 77."""
    import torch

    tokens = torch.full((1, 77), 49407)
    tokens[0, :3] = torch.tensor([49406, 265, 49407])
    return tokens[0, 1]


def of_ldm(vectors: torch.Tensor, key: str = "*", encoder: str = "clip_l", root: str | None = "archive") -> Expected:
    return Expected(key, {encoder: vectors}, archive_root=root, metadata={"string_to_token": json.dumps({key: 265})})


@embedding("ldm", "torch_zip", ".pt")
def ldm_torch_1_11() -> tuple[bytes, list[Expected]]:
    import torch

    vectors = made(1, 768)
    parameters = parameter_dict({"*": torch.nn.Parameter(vectors)}, "1.11")
    return torch_1({"string_to_token": {"*": token_view()}, "string_to_param": parameters}), [of_ldm(vectors)]


@embedding("ldm", "torch_zip", ".pt")
def ldm_torch_1_12() -> tuple[bytes, list[Expected]]:
    import torch

    vectors = made(2, 768)
    parameters = parameter_dict({"*": torch.nn.Parameter(vectors)}, "1.12")
    return torch_1({"string_to_token": {"*": token_view()}, "string_to_param": parameters}), [of_ldm(vectors)]


@embedding("ldm", "torch_zip", ".pt")
def ldm_torch_2() -> tuple[bytes, list[Expected]]:
    import torch

    vectors = made(2, 768)
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
    return torch_file({"string_to_token": {"*": token_view()}, "string_to_param": parameters}), [of_ldm(vectors)]


@embedding("ldm", "torch_legacy", ".pt")
def ldm_legacy_with_source_code() -> tuple[bytes, list[Expected]]:
    import torch

    vectors = made(2, 768)
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
    data = torch_legacy({"string_to_token": {"*": token_view()}, "string_to_param": parameters})
    assert b"class ParameterDict" in data
    return data, [of_ldm(vectors, root=None)]


@embedding("ldm", "torch_zip", ".pt")
def ldm_several_placeholders() -> tuple[bytes, list[Expected]]:
    import torch

    one, two = made(1, 768), made(2, 768, seed=1)
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(one), "@": torch.nn.Parameter(two)})
    root = {"string_to_token": {"*": token_view(), "@": token_view()}, "string_to_param": parameters}
    return torch_file(root), [of_ldm(one), of_ldm(two, "@")]


@embedding("ldm", "torch_zip", ".pt")
def ldm_bert() -> tuple[bytes, list[Expected]]:
    import torch

    vectors = made(1, 1280)
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
    return torch_file({"string_to_token": {"*": token_view()}, "string_to_param": parameters}), [of_ldm(vectors, encoder="ldm_bert")]


def _on_mps(dtype: str = "float32") -> tuple[dict[str, Any], list[Expected]]:
    import torch

    vectors = made(1, 768, dtype)
    parameter = _Reduced(torch._utils._rebuild_parameter, _OnDevice(vectors), True, OrderedDict())
    return {"string_to_token": {"*": token_view()}, "string_to_param": parameter_dict({"*": parameter}, "1.12")}, [of_ldm(vectors)]


@embedding("ldm", "torch_zip", ".pt")
def ldm_numpy_2_carried() -> tuple[bytes, list[Expected]]:
    root, expected = _on_mps()
    data = torch_1(root)
    assert b"numpy._core.multiarray" in records(data)["data.pkl"]
    return data, expected


@embedding("ldm", "torch_zip", ".pt")
def ldm_numpy_1_carried() -> tuple[bytes, list[Expected]]:
    root, expected = _on_mps()
    found = records(torch_1(root))
    return zipped({**found, "data.pkl": found["data.pkl"].replace(b"numpy._core.", b"numpy.core.")}), expected


@embedding("ldm", "torch_zip", ".pt")
def ldm_numpy_carried_half() -> tuple[bytes, list[Expected]]:
    root, expected = _on_mps("float16")
    return torch_1(root), expected


# ---- diffusers ----


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_one_axis() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 768)
    return torch_1({"<birb-style>": vectors[0].clone()}), [Expected("<birb-style>", {"clip_l": vectors}, archive_root="archive")]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_torch_2_records() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 768)
    data = torch_file({"<styled-image>": vectors[0].clone()}, "learned_embeds")
    return data, [Expected("<styled-image>", {"clip_l": vectors}, archive_root="learned_embeds")]


@embedding("diffusers", "safetensors", ".safetensors")
def diffusers_two_axes() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return safetensors({"<cat-toy>": vectors}, {"format": "pt"}), [Expected("<cat-toy>", {"clip_l": vectors}, metadata={"format": "pt"})]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_three_axes() -> tuple[bytes, list[Expected]]:
    """The multi-token example gives a single vector one axis too many."""
    vectors = made(1, 768)
    return torch_1({"<cat>": vectors[None].clone()}), [Expected("<cat>", {"clip_l": vectors}, archive_root="archive")]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_row_of_a_vocabulary() -> tuple[bytes, list[Expected]]:
    """EveryDream2 and the first example: `weight[id]`, never detached, with the storage of all tokens."""
    import torch

    weight = torch.nn.Parameter(made(300, 768))
    data = torch_1({"<new1>": weight[259]})
    assert len(data) > 300 * 768 * 4
    return data, [Expected("<new1>", {"clip_l": made(300, 768)[259:260]}, archive_root="archive")]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_several_tokens_of_one_storage() -> tuple[bytes, list[Expected]]:
    weight = made(4, 768)
    told = [Expected(f"<s{i}>", {"clip_l": weight[i : i + 1]}, archive_root="archive") for i in (1, 2)]
    return torch_1({"<s1>": weight[1], "<s2>": weight[2]}), told


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_eleven_tokens() -> tuple[bytes, list[Expected]]:
    """The storages 0, 1, 10, 2, ... lie in the order of their names as text."""
    rows = {f"<t{i}>": made(1, 768, seed=i) for i in range(11)}
    data = torch_1(rows)
    assert list(records(data))[:4] == ["data.pkl", "data/0", "data/1", "data/10"]
    return data, [Expected(key, {"clip_l": row}, archive_root="archive") for key, row in rows.items()]


@embedding("diffusers", "safetensors", ".safetensors")
def diffusers_second_encoder_of_sdxl() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 1280)
    return safetensors({"<cat-toy>": vectors}, {"format": "pt"}), [Expected("<cat-toy>", {"clip_g": vectors}, metadata={"format": "pt"})]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_token_with_spaces() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 768)
    key = "<Le Petit Prince-moon >"
    return torch_1({key: vectors[0].clone()}), [Expected(key, {"clip_l": vectors}, archive_root="archive")]


@embedding("diffusers", "torch_zip", ".bin")
def diffusers_token_without_brackets() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 1024, "float16")
    return torch_1({"sks": vectors}), [Expected("sks", {"clip_h": vectors}, archive_root="archive")]


@embedding("diffusers", "npy", ".npy")
def diffusers_flax() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return npy({"<flax>": vectors.numpy()}), [Expected("<flax>", {"clip_l": vectors})]


# ---- one key ----


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_without_padding() -> tuple[bytes, list[Expected]]:
    """EasyNegative's header has 71 bytes, so that its numbers begin at an odd one."""
    vectors = made(8, 768)
    header = b'{"emb_params":{"dtype":"F32","shape":[8,768],"data_offsets":[0,24576]}}'
    assert len(header) == 71
    return len(header).to_bytes(8, "little") + header + vectors.numpy().tobytes(), [Expected("emb_params", {"clip_l": vectors})]


KOHYA = {
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.architecture": "stable-diffusion-v2-768-v/textual-inversion",
    "modelspec.implementation": "https://github.com/Stability-AI/stablediffusion",
    "modelspec.title": "style",
    "modelspec.resolution": "768x768",
    "modelspec.date": "2024-05-01T10:00:00",
}


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_kohya() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 1024, "float16")
    return safetensors({"emb_params": vectors}, KOHYA), [Expected("emb_params", {"clip_h": vectors}, metadata=KOHYA)]


@embedding("emb_params", "torch_zip", ".pt")
def emb_params_kohya_pt() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return torch_1({"emb_params": vectors}), [Expected("emb_params", {"clip_l": vectors}, archive_root="archive")]


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_bfloat16() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "bfloat16")
    return safetensors({"emb_params": vectors}), [Expected("emb_params", {"clip_l": vectors})]


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_float8() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "float8_e5m2")
    return safetensors({"emb_params": vectors}), [Expected("emb_params", {"clip_l": vectors})]


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_double() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768, "float64")
    return safetensors({"emb_params": vectors}), [Expected("emb_params", {"clip_l": vectors})]


AI_TOOLKIT = {
    "string_to_token": '{"*": 265}',
    "string_to_param": '{"*": "emb_params"}',
    "notes": "null",
    "software": '{"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit", "version": "0.1.0"}',
    "format": "pt",
}


@embedding("emb_params", "safetensors", ".safetensors")
def emb_params_ai_toolkit() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    facts = {"name": '"my style"', "step": "500", "sd_checkpoint": "null", "sd_checkpoint_name": '"v1-5"'}
    training = {"step": 500, "sd_checkpoint": None, "sd_checkpoint_name": "v1-5"}
    told = Expected("emb_params", {"clip_l": vectors}, inner_name="my style", training=training, metadata=AI_TOOLKIT)
    return safetensors({"emb_params": vectors}, {**AI_TOOLKIT, **facts}), [told]


@embedding("emp_params", "safetensors", ".safetensors")
def emp_params_onetrainer() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return safetensors({"emp_params": vectors}), [Expected("emp_params", {"clip_l": vectors})]


@embedding("emp_params", "safetensors", ".safetensors")
def emp_params_with_output() -> tuple[bytes, list[Expected]]:
    vectors, output = made(2, 1024), made(2, 1024, seed=1)
    told = Expected("emp_params", {"clip_h": vectors}, {"clip_h": output})
    return safetensors({"emp_params": vectors, "emp_params_out": output}), [told]


@embedding("emp_params", "torch_zip", ".pt")
def emp_params_output_alone() -> tuple[bytes, list[Expected]]:
    output = made(2, 768)
    return torch_1({"emp_params_out": output}), [Expected("emp_params", {}, {"clip_l": output}, archive_root="archive")]


@embedding("emb_emb2", "torch_zip", ".pt")
def emb_emb2() -> tuple[bytes, list[Expected]]:
    small, large = made(1, 768, "bfloat16"), made(1, 1280, "bfloat16")
    told = Expected("emb", {"clip_l": small, "clip_g": large}, archive_root="myPuppet768")
    return torch_1({"emb": small[0], "emb2": large[0]}, "myPuppet768"), [told]


# ---- one key for each encoder ----


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_sdxl() -> tuple[bytes, list[Expected]]:
    small, large = made(2, 768), made(2, 1280)
    return safetensors({"clip_l": small, "clip_g": large}), [Expected("clip_g", {"clip_g": large, "clip_l": small})]


@embedding("per_encoder", "torch_zip", ".pt")
def per_encoder_sdxl_pt() -> tuple[bytes, list[Expected]]:
    small, large = made(2, 768), made(2, 1280)
    return torch_1({"clip_g": large, "clip_l": small}), [Expected("clip_g", {"clip_g": large, "clip_l": small}, archive_root="archive")]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_uneven() -> tuple[bytes, list[Expected]]:
    small, large = made(3, 768), made(2, 1280)
    return safetensors({"clip_l": small, "clip_g": large}), [Expected("clip_g", {"clip_g": large, "clip_l": small})]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_sd1() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return safetensors({"clip_l": vectors}), [Expected("clip_l", {"clip_l": vectors})]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_sd2_under_comfyui_key() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 1024)
    return safetensors({"clip_l": vectors}), [Expected("clip_l", {"clip_h": vectors})]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_sd3() -> tuple[bytes, list[Expected]]:
    all_three = {"clip_l": made(1, 768), "clip_g": made(1, 1280), "t5": made(1, 4096)}
    told = {"clip_l": all_three["clip_l"], "clip_g": all_three["clip_g"], "t5xxl": all_three["t5"]}
    return safetensors(all_three), [Expected("clip_g", told)]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_flux() -> tuple[bytes, list[Expected]]:
    small, long = made(1, 768), made(1, 4096)
    return safetensors({"clip_l": small, "t5xxl": long}), [Expected("clip_l", {"clip_l": small, "t5xxl": long})]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_flux_mislabelled() -> tuple[bytes, list[Expected]]:
    """OneTrainer 2024-08 to 2025-02 wrote CLIP-L of Flux under clip_g (OneTrainer#514)."""
    small, long = made(1, 768), made(1, 4096)
    return safetensors({"clip_g": small, "t5": long}), [Expected("clip_g", {"clip_l": small, "t5xxl": long})]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_hidream() -> tuple[bytes, list[Expected]]:
    told = {"clip_l": made(1, 768), "clip_g": made(1, 1280), "t5xxl": made(1, 4096), "llama": made(1, 4096, seed=1)}
    return safetensors({("t5" if key == "t5xxl" else key): tensor for key, tensor in told.items()}), [Expected("clip_g", told)]


@embedding("per_encoder", "safetensors", ".safetensors")
def per_encoder_sana() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 2304)
    return safetensors({"gemma": vectors}), [Expected("gemma", {"gemma2_2b": vectors})]


@embedding("per_encoder", "torch_zip", ".pt")
def per_encoder_with_outputs() -> tuple[bytes, list[Expected]]:
    root = {"clip_l": made(2, 768), "clip_g": made(2, 1280), "clip_l_out": made(2, 768, seed=1), "clip_g_out": made(2, 1280, seed=1)}
    vectors = {key: root[key] for key in ("clip_l", "clip_g")}
    outputs = {key: root[f"{key}_out"] for key in ("clip_l", "clip_g")}
    return torch_1(root), [Expected("clip_l", vectors, outputs, archive_root="archive")]


@embedding("pti", "safetensors", ".pti")
def pti_replicate() -> tuple[bytes, list[Expected]]:
    small, large = made(2, 768, "bfloat16"), made(2, 1280, "bfloat16")
    return safetensors({"text_encoders_0": small, "text_encoders_1": large}), [Expected("<s0><s1>", {"clip_l": small, "clip_g": large})]


# ---- inside other files ----

LORA = ("unet:0:up", "unet:0:down", "text_encoder:0:up", "text_encoder:0:down")


@embedding("safelora", "safetensors", ".safetensors")
def safelora_with_two_tokens() -> tuple[bytes, list[Expected]]:
    one, two = made(1, 768), made(1, 768, seed=1)
    weights = {key: made(2, 2, seed=i) for i, key in enumerate(LORA)}
    metadata = {"unet": '["CrossAttention"]', "unet:0:rank": "1", "<s1>": "<embed>", "<s2>": "<embed>"}
    data = safetensors({**weights, "<s1>": one[0], "<s2>": two[0]}, metadata)
    return data, [Expected("<s1>", {"clip_l": one}), Expected("<s2>", {"clip_l": two})]


@embedding("safelora", "safetensors", ".safetensors")
def safelora_tokens_alone() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 768)
    return safetensors({"<s1>": vectors[0]}, {"<s1>": "<embed>"}), [Expected("<s1>", {"clip_l": vectors})]


def lora_weights() -> dict[str, torch.Tensor]:
    name = "lora_unet_down_blocks_0_attentions_0_proj_in"
    return {f"{name}.lora_down.weight": made(1, 4), f"{name}.lora_up.weight": made(4, 1), f"{name}.alpha": made(1, 1)[0, 0]}


@embedding("bundle_emb", "safetensors", ".safetensors")
def bundle_emb_onetrainer() -> tuple[bytes, list[Expected]]:
    small, large = made(2, 768), made(2, 1280)
    name = "bundle_emb.ema yasuhara."
    data = safetensors({**lora_weights(), f"{name}clip_l": small, f"{name}clip_g": large})
    return data, [Expected("ema yasuhara", {"clip_l": small, "clip_g": large}, inner_name="ema yasuhara")]


@embedding("bundle_emb", "safetensors", ".safetensors")
def bundle_emb_hcp() -> tuple[bytes, list[Expected]]:
    one, two = made(2, 768), made(1, 768, seed=1)
    tensors = {**lora_weights(), "bundle_emb.pt-cat.string_to_param.*": one, "bundle_emb.pt-dog.string_to_param.*": two}
    told = [Expected("pt-cat", {"clip_l": one}, inner_name="pt-cat"), Expected("pt-dog", {"clip_l": two}, inner_name="pt-dog")]
    return safetensors(tensors), told


@embedding("bundle_emb", "torch_zip", ".pt")
def bundle_emb_pt_with_output() -> tuple[bytes, list[Expected]]:
    vectors, output = made(2, 768), made(2, 768, seed=1)
    data = torch_1({**lora_weights(), "bundle_emb.cat.clip_l": vectors, "bundle_emb.cat.clip_l_out": output})
    return data, [Expected("cat", {"clip_l": vectors}, {"clip_l": output}, inner_name="cat", archive_root="archive")]


@embedding("custom_diffusion", "torch_zip", ".bin")
def custom_diffusion_delta() -> tuple[bytes, list[Expected]]:
    one, two = made(1, 768), made(1, 768, seed=1)
    unet = {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": made(4, 4)}
    data = torch_1({"unet": unet, "modifier_token": {"<new1>": one[0].clone(), "<new2>": two[0].clone()}})
    return data, [Expected(key, {"clip_l": row}, archive_root="archive") for key, row in (("<new1>", one), ("<new2>", two))]


@embedding("custom_diffusion", "torch_zip", ".ckpt")
def custom_diffusion_compvis() -> tuple[bytes, list[Expected]]:
    """Each row of `embed` is a token of its own: src/convert.py, compvis-to-diffuser."""
    rows = made(2, 768)
    state = {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": made(4, 4), "embed": rows}
    told = [Expected(f"<new{i + 1}>", {"clip_l": rows[i : i + 1]}, archive_root="archive") for i in range(2)]
    return torch_1({"state_dict": state}), told


# ---- no dictionary ----


@embedding("bare_tensor", "torch_zip", ".pt")
def bare_tensor_t5() -> tuple[bytes, list[Expected]]:
    vectors = made(1, 4096, "bfloat16")
    return torch_1(vectors[0].clone(), "myNN"), [Expected(None, {"t5xxl": vectors}, archive_root="myNN")]


@embedding("bare_tensor", "npy", ".npy")
def bare_tensor_npy() -> tuple[bytes, list[Expected]]:
    vectors = made(2, 768)
    return npy(vectors.numpy()), [Expected(None, {"clip_l": vectors})]


@embedding("list_of_dicts", "torch_zip", ".pt")
def list_of_dicts_training() -> tuple[bytes, list[Expected]]:
    steps = [{"emb": made(1, 768, "bfloat16", i)[0], "emb2": made(1, 1280, "bfloat16", i)[0]} for i in range(2)]
    both = [{"clip_l": step["emb"][None], "clip_g": step["emb2"][None]} for step in steps]
    return torch_1(steps), [Expected(f"step-{i + 1}", vectors, archive_root="archive") for i, vectors in enumerate(both)]


@embedding("list_of_dicts", "torch_zip", ".pt")
def list_of_tensors() -> tuple[bytes, list[Expected]]:
    steps = [made(1, 768, seed=i) for i in range(2)]
    return torch_1(steps), [Expected(f"step-{i + 1}", {"clip_l": step}, archive_root="archive") for i, step in enumerate(steps)]


EXAMPLES = tuple(_EXAMPLES)
BY_ID = {example.id: example for example in EXAMPLES}


def example(id: str) -> Example:  # noqa: A002  # it is what pytest calls it
    """The example of that id."""
    return BY_ID[id]


# ---- what is no embedding ----


@other(".pt", "an empty file: a dictionary with nothing in it")
def empty_dict() -> bytes:
    return torch_1({})


@other(".pt", "an empty file of zero bytes")
def zero_bytes() -> bytes:
    return b""


@other(".pt.optim", "the state of an optimizer")
def optimizer_of_a1111() -> bytes:
    state = {"state": {0: {"step": 4, "exp_avg": made(2, 768)}}, "param_groups": [{"lr": 0.005, "params": [0]}]}
    return torch_1({"hash": "10ca", "optimizer_state_dict": state})


@other(".pt", "the state of an optimizer")
def optimizer_alone() -> bytes:
    return torch_1({"state": {0: {"exp_avg": made(2, 768)}}, "param_groups": [{"lr": 0.005, "params": [0]}]})


@other(".pt", "a hypernetwork")
def hypernetwork() -> bytes:
    layer = {"linear.0.weight": made(8, 4), "linear.0.bias": made(1, 8)[0]}
    return torch_1({768: [layer, layer], "step": 1000, "name": "anime", "layer_structure": [1, 2, 1], "sd_checkpoint": None})


@other(".safetensors", "a LoRA")
def lora_kohya() -> bytes:
    return safetensors(lora_weights())


@other(".safetensors", "a LoRA")
def lora_diffusers() -> bytes:
    name = "unet.down_blocks.0.attentions.0.to_q"
    return safetensors({f"{name}.lora_A.weight": made(1, 4), f"{name}.lora_B.weight": made(4, 1)})


@other(".safetensors", "a LoRA")
def lycoris() -> bytes:
    return safetensors({"lora_unet_mid.hada_w1_a": made(4, 1), "lora_unet_mid.hada_w1_b": made(1, 4)})


@other(".safetensors", "a LoRA")
def safelora_without_tokens() -> bytes:
    return safetensors({key: made(2, 2, seed=i) for i, key in enumerate(LORA)}, {"unet:0:rank": "1"})


@other(".safetensors", "a whole checkpoint")
def checkpoint() -> bytes:
    text = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    names = ["model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.weight", text]
    return safetensors({name: made(4, 4, seed=i) for i, name in enumerate(names)})


@other(".ckpt", "a whole checkpoint")
def checkpoint_pickled() -> bytes:
    return torch_1({"state_dict": {"model.diffusion_model.out.2.weight": made(4, 4)}, "global_step": 5})


@other(".safetensors", "a VAE")
def vae() -> bytes:
    return safetensors({"encoder.conv_in.weight": made(4, 4), "decoder.conv_in.weight": made(4, 4, seed=1)})


@other(".vae.pt", "a VAE")
def vae_pickled() -> bytes:
    return torch_1({"state_dict": {"first_stage_model.decoder.conv_in.weight": made(4, 4)}})


@other(".safetensors", "a text encoder")
def text_encoder() -> bytes:
    names = [f"text_model.embeddings.{kind}_embedding.weight" for kind in ("token", "position")]
    return safetensors({name: made(4, 768, seed=i) for i, name in enumerate(names)})


@other(".safetensors", "a text encoder")
def token_table() -> bytes:
    """What diffusers users save by mistake (diffusers#7511)."""
    return safetensors({"token_embedding.weight": made(4, 768)})


@other(".safetensors", "a ControlNet")
def controlnet() -> bytes:
    return safetensors({"control_model.input_blocks.0.0.weight": made(4, 4)})


@other(".safetensors", "a U-Net")
def unet() -> bytes:
    return safetensors({"down_blocks.0.resnets.0.conv1.weight": made(4, 4), "conv_in.weight": made(4, 4, seed=1)})


@other(".pth", "an upscaler")
def upscaler() -> bytes:
    return torch_1({"params_ema": {"conv_first.weight": made(4, 4), "body.0.rdb1.conv1.weight": made(4, 4)}})


@other(".pt", "a NeTI mapper")
def neti_mapper() -> bytes:
    return torch_1({"state_dict": {"net.0.weight": made(4, 4)}, "cfg": {"log": {"exp_name": "x"}}, "encoder": {}})


@other(".pt", "the weights of a network")
def aesthetic_predictor() -> bytes:
    return torch_1({"layers.0.weight": made(4, 768), "layers.0.bias": made(1, 4)[0]})


@other(".safetensors", "extended textual inversion (XTI)")
def xti() -> bytes:
    layers = ["IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID", *(f"OUT{n:02d}" for n in range(3, 12))]
    return safetensors({layer: made(1, 768, seed=i) for i, layer in enumerate(layers)})


@other(".pt", "a file without any tensor in it")
def plain_settings() -> bytes:
    return torch_1({"learning_rate": 0.005, "steps": [1, 2]})


@other(".pt", "a git-LFS pointer")
def lfs_pointer() -> bytes:
    digest = "4f1e59d2bbc3a1c7" * 4
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 24655\n".encode()


@other(".safetensors", "an HTML page")
def web_page() -> bytes:
    return b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>"


@other(".json", "a JSON text")
def error_answer() -> bytes:
    return b'{"error":"Unauthorized","message":"The creator of this asset requires you to be logged in"}'


@other(".png", "a picture without an embedding in it")
def preview() -> bytes:
    return png()


@other(".png", "a picture without an embedding in it")
def card_reduced_to_a_palette() -> bytes:
    from PIL import Image

    card = Image.fromarray(carrier(json.dumps(_image_dict(made(1, 768))).encode())).quantize(16)
    buffer = io.BytesIO()
    card.save(buffer, "PNG")
    return buffer.getvalue()


@other(".jpg", "a JPEG picture")
def photograph() -> bytes:
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(32)


@other(".gguf", "a GGUF model")
def gguf() -> bytes:
    return b"GGUF\3\0\0\0" + bytes(32)


OTHERS = tuple(_OTHERS)


# ---- what tests compare with ----

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


def as_tensor(vectors: torch.Tensor) -> Any:
    """A torch tensor as embconv has it: its kind, its shape and its very bytes."""
    import torch

    from embconv.converters import Tensor

    data = vectors.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return Tensor(DTYPES[str(vectors.dtype).removeprefix("torch.")], tuple(vectors.shape), data)
