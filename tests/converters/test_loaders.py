"""What convert writes for a program, read as that program reads it: exactly the source's vectors.

diffusers is run itself. The rules of the others are told again here, from their own sources, on what torch and safetensors really load;
nothing of converters/targets is asked.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from embconv.converters.convert import Options, convert
from embconv.converters.errors import CannotHold
from embconv.converters.targets import target
from examples import a1111_dict, made, safetensors, torch_file

# a base, and an embedding for it as somebody's program wrote it
SOURCES: dict[str, dict[str, torch.Tensor]] = {
    "sd1": {"clip_l": made(3, 768)},
    "sd1 with one vector": {"clip_l": made(1, 768, seed=1)},
    "sd2": {"clip_h": made(2, 1024)},
    "sdxl": {"clip_l": made(2, 768), "clip_g": made(2, 1280)},
    "sdxl with unequal numbers": {"clip_l": made(2, 768), "clip_g": made(3, 1280)},
}


def source_of(vectors: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> bytes:
    given = {key: tensor.to(dtype) for key, tensor in vectors.items()}
    return torch_file(a1111_dict(next(iter(given.values())))) if len(given) == 1 else safetensors(given)


# ---- A1111 and Forge: modules/textual_inversion/textual_inversion.py, modules/safe.py ----

ALLOWED_NAME = re.compile(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$")  # safe.py before 1.10, the strictest
ALLOWED_GLOBALS = {
    "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "torch.HalfStorage", "torch.DoubleStorage",
    "torch.BFloat16Storage",
}  # fmt: skip


def checked(path: Path) -> None:
    """safe.py: the names in the zip, and each global of its pickle."""
    import pickletools

    with zipfile.ZipFile(path) as archive:
        assert [name for name in archive.namelist() if not ALLOWED_NAME.match(name)] == []
        (pickled,) = [name for name in archive.namelist() if re.match(r"^([^/]+)/data\.pkl$", name)]
        opcodes = list(pickletools.genops(archive.read(pickled)))
    assert opcodes[0][:2][1] == 2  # PROTO 2
    found = {str(argument).replace(" ", ".") for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert found <= ALLOWED_GLOBALS
    assert "STACK_GLOBAL" not in {opcode.name for opcode, *_ in opcodes}


def a1111(path: Path, expected: int) -> dict[str, torch.Tensor]:
    """load_from_file and create_embedding_from_data; `expected` is the width of the model that runs, 2048 for SDXL."""
    suffix = path.suffix.upper()
    if suffix in (".BIN", ".PT"):
        checked(path)
        data = torch.load(path, map_location="cpu", weights_only=True)
    elif suffix == ".SAFETENSORS":
        data = load_file(path, device="cpu")
    else:
        raise AssertionError(f"{suffix} is passed over")
    if "string_to_param" in data:
        parameters = data["string_to_param"]
        parameters = getattr(parameters, "_parameters", parameters)
        assert len(parameters) == 1, "embedding file has multiple terms in it"
        vectors = {"": next(iter(parameters.values()))}
        shape = vectors[""].shape[-1]
    elif type(data) is dict and "clip_g" in data and "clip_l" in data:
        vectors = data
        shape = data["clip_g"].shape[-1] + data["clip_l"].shape[-1]
        assert len({tensor.shape[0] for tensor in vectors.values()}) == 1  # it counts those of clip_g
    elif type(data) is dict and type(next(iter(data.values()))) is torch.Tensor:
        assert len(data.keys()) == 1, "embedding file has multiple terms in it"
        vectors = {"": next(iter(data.values()))}
        shape = vectors[""].shape[-1]
    else:
        raise AssertionError("Couldn't identify the file")
    assert shape == expected
    return {name: tensor.to(torch.float32) for name, tensor in vectors.items()}


# ---- ComfyUI: comfy/sd1_clip.py load_embed ----


def comfyui(path: Path, expected: int) -> dict[str, torch.Tensor]:
    """One call for each tokenizer, each with the key of its encoder; SD 2's is clip_l too."""
    assert " " not in path.name
    whole = path.suffix.lower() == ".safetensors"
    embed = load_file(path, device="cpu") if whole else torch.load(path, weights_only=True, map_location="cpu")

    def asked(embed_key: str) -> torch.Tensor:
        if "string_to_param" in embed:
            return next(iter(embed["string_to_param"].values()))
        return embed[embed_key] if embed_key in embed else next(iter(embed.values()))

    return {key: asked(key) for key in ("clip_l", "clip_g")} if expected == 2048 else {"": asked("clip_l")}


# ---- InvokeAI: configs/textual_inversion.py, backend/textual_inversion.py from_checkpoint ----


def invokeai(path: Path, expected: int) -> dict[str, torch.Tensor]:
    assert re.fullmatch(r"[a-zA-Z0-9., _-]+", path.stem)
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    assert any(key in {"string_to_param", "emb_params", "clip_g"} for key in data) or len(data) < 10
    if "string_to_token" in data:
        width = next(iter(data["string_to_param"].values())).shape[-1]
    elif "emb_params" in data:
        width = data["emb_params"].shape[-1]
    elif "clip_g" in data:
        width = data["clip_g"].shape[-1]
    else:
        width = next(iter(data.values())).shape[0]
    assert {768: 768, 1024: 1024, 1280: 2048}[width] == expected
    if "string_to_param" in data:
        assert len(data["string_to_param"]) == 1
        return {"": next(iter(data["string_to_param"].values()))}
    if "emb_params" in data:
        return {"": data["emb_params"]}
    if "clip_g" in data and "clip_l" in data:
        return {"clip_l": data["clip_l"], "clip_g": data["clip_g"]}
    return {"": next(iter(data.values()))}


# ---- kohya's sd-scripts: gen_img.py ----


def kohya(path: Path, expected: int) -> dict[str, torch.Tensor]:
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    if "string_to_param" in data:
        data = data["string_to_param"]
        data = getattr(data, "_parameters", data)
    if expected == 2048:
        assert data["clip_l"].shape[0] == data["clip_g"].shape[0]
        return {"clip_l": data["clip_l"], "clip_g": data["clip_g"]}
    tensor = next(iter(data.values()))
    assert tensor.dim() == 2  # a flat one becomes 768 tokens
    return {"": tensor}


# ---- SD.Next: modules/textual_inversion/textual_inversion.py open_embeddings ----


def sdnext(path: Path, expected: int) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        tensors = list(load_file(path).values())
    else:
        assert path.suffix == ".pt", "a .bin is not listed"
        tensors = [torch.load(path, map_location="cpu", weights_only=True)["string_to_param"]["*"]]
    widths = [768, 1280] if expected == 2048 else [expected]
    by_width: dict[int, torch.Tensor] = {}
    for tensor in tensors:
        assert tensor.dim() == 2
        assert tensor.shape[0] == tensors[0].shape[0]  # its tokens are counted by the first
        by_width[tensor.shape[1]] = tensor
    assert sorted(by_width) == widths
    return {"clip_l": by_width[768], "clip_g": by_width[1280]} if expected == 2048 else {"": by_width[expected]}


# ---- OneTrainer: modules/modelSetup/BaseStableDiffusionSetup.py, BaseStableDiffusionXLSetup.py ----


def onetrainer(path: Path, expected: int) -> dict[str, torch.Tensor]:
    data = torch.load(path, weights_only=True) if path.suffix == ".pt" else load_file(path)
    if expected == 2048:
        return {"clip_l": data["clip_l"], "clip_g": data["clip_g"]}
    return {"": data["emp_params_out"] if "emp_params_out" in data else data["emp_params"]}


# ---- sdkit: models/model_loader/embeddings.py get_embedding ----


def sdkit(path: Path, expected: int) -> dict[str, torch.Tensor]:
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    if "emb_params" in data:
        found = {"": data["emb_params"]}
    elif "<concept>" in data:
        found = {"": data["<concept>"]}
    elif "string_to_param" in data:
        found = {"": next(iter(data["string_to_param"].values()))}
    elif "clip_l" in data and "clip_g" in data:
        found = {"clip_l": data["clip_l"], "clip_g": data["clip_g"]}
    else:
        raise AssertionError("no known key")
    assert {768: 768, 1024: 1024, 1280: 2048}[list(found.values())[-1].shape[1]] == expected
    return found


# ---- stable-diffusion.cpp: src/conditioning/conditioner.hpp load_embedding ----


def sdcpp(path: Path, expected: int) -> dict[str, torch.Tensor]:
    assert path.suffix in (".safetensors", ".pt", ".ckpt")
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    data = data.get("string_to_param", data)
    taken = [tensor for tensor in data.values() if isinstance(tensor, torch.Tensor) and tensor.shape[-1] == expected]
    assert {tensor.dtype for tensor in taken} == {torch.float32}  # it copies 4 bytes for each number
    return {"": taken[-1]}


# ---- diffusers, itself ----


@cache
def letters() -> tuple[str, ...]:
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789<>-_"
    return (*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>")


class Pipeline:
    """Made below, for diffusers takes seconds to import."""


@cache
def pipeline() -> type[Any]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from diffusers.loaders import TextualInversionLoaderMixin
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    def encoder(width: int) -> Any:
        size = len(letters())
        ends = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
        return CLIPTextModel(
            CLIPTextConfig(vocab_size=size, hidden_size=width, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, **ends)
        )

    class Tiny(TextualInversionLoaderMixin):  # type: ignore[misc]  # transformers has no types here
        """As much of a pipeline as load_textual_inversion asks for."""

        hf_device_map = None

        def __init__(self, width: int) -> None:
            self.tokenizer = CLIPTokenizer(vocab={letter: place for place, letter in enumerate(letters())}, merges=[])
            self.text_encoder = encoder(768 if width == 2048 else width)
            self.components = {"tokenizer": self.tokenizer, "text_encoder": self.text_encoder}
            if width == 2048:
                self.tokenizer_2 = CLIPTokenizer(vocab={letter: place for place, letter in enumerate(letters())}, merges=[])
                self.text_encoder_2 = encoder(1280)
                self.components |= {"tokenizer_2": self.tokenizer_2, "text_encoder_2": self.text_encoder_2}

    return Tiny


def learned(tokenizer: Any, encoder: Any, token: str) -> torch.Tensor:
    """The rows of the table that the prompt's word calls: TOKEN, TOKEN_1, TOKEN_2 ..."""
    known = tokenizer.get_added_vocab()
    names = [token, *(f"{token}_{i}" for i in range(1, 99))]
    rows = [known[name] for name in names if name in known]
    return encoder.get_input_embeddings().weight.detach()[rows]


def diffusers(path: Path, expected: int, token: str = "bad-hands-5") -> dict[str, torch.Tensor]:  # no password
    pipe = pipeline()(expected)
    if expected != 2048:
        pipe.load_textual_inversion(str(path))
        return {"": learned(pipe.tokenizer, pipe.text_encoder, token)}
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    pipe.load_textual_inversion(state["clip_l"], token="wispy", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion(state["clip_g"], token="wispy", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    return {
        "clip_l": learned(pipe.tokenizer, pipe.text_encoder, "wispy"),
        "clip_g": learned(pipe.tokenizer_2, pipe.text_encoder_2, "wispy"),
    }


# ---- every program, every base it can hold, every container it opens ----

Reader = Callable[[Path, int], dict[str, torch.Tensor]]
READERS: dict[str, Reader] = {
    "a1111": a1111, "forge": a1111, "comfyui": comfyui, "diffusers": diffusers, "invokeai": invokeai, "kohya": kohya, "sdnext": sdnext,
    "onetrainer": onetrainer, "sdkit": sdkit, "sdcpp": sdcpp,
}  # fmt: skip
SUFFIXES = {"diffusers": (".safetensors", ".bin"), "sdnext": (".safetensors", ".pt"), "onetrainer": (".safetensors", ".pt"),
            "sdcpp": (".safetensors", ".pt")}  # fmt: skip
ONLY_SAFETENSORS = {("sdnext", "sdxl")}
HELD = [
    (name, base, suffix)
    for name in READERS
    for base in SOURCES
    for suffix in SUFFIXES.get(name, (".safetensors", ".pt", ".bin"))
    if not (base.startswith("sdxl") and name == "sdcpp")
    and not (base.endswith("unequal numbers") and name in ("a1111", "forge", "kohya", "sdnext"))
    and not ((name, base) in ONLY_SAFETENSORS and suffix != ".safetensors")
    and not (suffix == ".bin" and base.startswith("sdxl") and name in ("a1111", "forge", "invokeai", "kohya", "sdkit"))
]


def width_of(vectors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.shape[1] for tensor in vectors.values())


def agree(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    """Bit for bit, under the same encoders; a program with one has no name for it."""
    named = found if len(wanted) > 1 else {next(iter(wanted)): found[""]}
    return named.keys() == wanted.keys() and all(torch.equal(named[key], tensor) for key, tensor in wanted.items())


@pytest.mark.parametrize(("name", "base", "suffix"), HELD)
def test_the_program_gets_exactly_the_vectors(tmp_path: Path, name: str, base: str, suffix: str) -> None:
    vectors, dest = SOURCES[base], tmp_path / f"out{suffix}"
    (tmp_path / "in.pt").write_bytes(source_of(vectors))
    convert(tmp_path / "in.pt", dest, Options(target=target(name), name="bad-hands-5"))
    assert agree(READERS[name](dest, width_of(vectors)), vectors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", READERS)
def test_narrow_numbers_arrive_too(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    vectors, dest = {"clip_l": made(3, 768).to(dtype)}, tmp_path / "out.safetensors"
    (tmp_path / "in.pt").write_bytes(source_of(vectors, dtype))
    convert(tmp_path / "in.pt", dest, Options(target=target(name), name="bad-hands-5"))
    assert torch.equal(READERS[name](dest, 768)[""].float(), vectors["clip_l"].float())


REFUSED = [(name, base) for name in READERS for base in SOURCES if (name, base) not in {(held, of) for held, of, _ in HELD}]


@pytest.mark.parametrize(("name", "base"), REFUSED)
def test_what_it_would_misread_is_refused(tmp_path: Path, name: str, base: str) -> None:
    (tmp_path / "in.pt").write_bytes(source_of(SOURCES[base]))
    for suffix in (".safetensors", ".pt", ".bin"):
        with pytest.raises(CannotHold, match="It loads in"):
            convert(tmp_path / "in.pt", tmp_path / f"out{suffix}", Options(target=target(name)))


def test_the_refused_ones_are_these() -> None:
    unequal = "sdxl with unequal numbers"
    assert set(REFUSED) == {("sdcpp", "sdxl"), ("sdcpp", unequal), *((name, unequal) for name in ("a1111", "forge", "kohya", "sdnext"))}


# the readers above can tell: each is given a form that its program misreads or refuses
@pytest.mark.parametrize(
    ("name", "made_for"),
    [("invokeai", "diffusers"), ("onetrainer", "kohya"), ("sdkit", "diffusers"), ("sdkit", "onetrainer"), ("a1111", None),
     ("sdcpp", "F16")],
)
def test_another_programs_form_would_not_do(tmp_path: Path, name: str, made_for: str | None) -> None:
    dest = tmp_path / ("out.pt" if made_for is None else "out.safetensors")
    (tmp_path / "in.pt").write_bytes(source_of(SOURCES["sd1"]))
    if made_for is None:
        dest.write_bytes(torch_file(a1111_dict(made(3, 768))))  # today's torch.save adds records that A1111 refuses
    else:
        options = Options(dtype="F16") if made_for == "F16" else Options(target=target(made_for))
        convert(tmp_path / "in.pt", dest, options)
    with pytest.raises((AssertionError, KeyError)):
        READERS[name](dest, 768)


# ---- without --for: what torch and safetensors make of it ----


@pytest.mark.parametrize("base", SOURCES)
def test_torch_and_safetensors_load_all_that_we_write(tmp_path: Path, base: str) -> None:
    vectors = SOURCES[base]
    (tmp_path / "in.pt").write_bytes(source_of(vectors))
    for suffix in (".safetensors", ".pt", ".bin"):
        path = tmp_path / f"out{suffix}"
        convert(tmp_path / "in.pt", path)
        found = load_file(path) if suffix == ".safetensors" else torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        tensors = found.get("string_to_param", found)
        named = {key: tensor for key, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}
        assert agree(named if len(vectors) > 1 else {"": next(iter(named.values()))}, vectors)
        assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in named.values())


# ---- diffusers: the word of the prompt ----


def test_diffusers_prompt_calls_all_the_vectors(tmp_path: Path) -> None:
    (tmp_path / "in.pt").write_bytes(source_of(SOURCES["sd1"]))
    convert(tmp_path / "in.pt", tmp_path / "out.safetensors", Options(target=target("diffusers"), name="<wispy-hat>"))
    pipe = pipeline()(768)
    pipe.load_textual_inversion(str(tmp_path / "out.safetensors"))
    tokens = pipe.tokenizer.tokenize(pipe.maybe_convert_prompt("a <wispy-hat> b", pipe.tokenizer))
    assert tokens == ["a</w>", "<wispy-hat>", "<wispy-hat>_1", "<wispy-hat>_2", "b</w>"]


def test_diffusers_takes_the_default_file_names(tmp_path: Path) -> None:
    (tmp_path / "in.pt").write_bytes(source_of(SOURCES["sd1"]))
    for name in ("learned_embeds.safetensors", "learned_embeds.bin"):
        folder = tmp_path / name.rpartition(".")[2]
        folder.mkdir()
        convert(tmp_path / "in.pt", folder / name, Options(target=target("diffusers"), name="bad-hands-5"))
        pipe = pipeline()(768)
        pipe.load_textual_inversion(str(folder))
        assert torch.equal(learned(pipe.tokenizer, pipe.text_encoder, "bad-hands-5"), made(3, 768))
