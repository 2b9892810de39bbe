"""A checkpoint in memory: the weights that its files have, or an error that says what is wrong with them; never the network."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from embconv.registry.render_errors import BadCheckpoint
from embconv.registry.validation.checkpoints import recognise
from embconv.registry.validation.loading import load

from . import single
from .conftest import tiny

BASES = ("sd1", "sd2", "sd2v", "sdxl")
CPU = torch.device("cpu")


def opened(path: Path, dtype: torch.dtype = torch.float32, **given: Any) -> Any:
    return load(recognise(str(path), **given), device=CPU, dtype=dtype)


def modules(pipe: Any) -> list[Any]:
    """The parts of a pipeline, in the order of `parts`."""
    return [pipe.unet, pipe.vae, pipe.text_encoder, *([pipe.text_encoder_2] if hasattr(pipe, "text_encoder_2") else [])]


def parts(model: Any) -> list[Any]:
    return [model.unet, model.vae, *(each.module for each in model.encoders)]


def must_be_equal(ours: list[Any], theirs: list[Any]) -> None:
    """The same names and the same bits."""
    for mine, other in zip(ours, theirs, strict=True):
        have, want = mine.state_dict(), other.state_dict()
        assert have.keys() == want.keys()
        assert [name for name in want if not torch.equal(have[name], want[name])] == []


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an address fails."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def copy(folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A folder that may be changed."""
    return lambda base: Path(shutil.copytree(folder(base), tmp_path / f"copy-{base}"))


# whole ones


@pytest.mark.parametrize("base", BASES)
def test_a_folder_gives_the_weights_that_diffusers_saved(base: str, pipeline: Callable[[str], Any], folder: Callable[[str], Path]) -> None:
    model = opened(folder(base))
    must_be_equal(parts(model), modules(pipeline(base)))
    assert model.scheduler["prediction_type"] == ("v_prediction" if base == "sd2v" else "epsilon")
    assert model.factor == 8
    assert not any(weight.requires_grad for module in parts(model) for weight in module.parameters())
    assert not any(module.training for module in parts(model))


@pytest.mark.parametrize("base", BASES)
def test_one_file_gives_the_same_as_the_folder_and_diffusers_reads_it_so_too(
    base: str, pipeline: Callable[[str], Any], folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    path = single.write(pipeline(base), base, tmp_path / "it.safetensors")
    model = opened(path, config=str(folder(base)))
    must_be_equal(parts(model), modules(pipeline(base)))
    assert model.scheduler == opened(folder(base)).scheduler
    kind = StableDiffusionXLPipeline if base == "sdxl" else StableDiffusionPipeline
    theirs = kind.from_single_file(str(path), config=str(folder(base)), local_files_only=True)
    must_be_equal(parts(model), modules(theirs))


@pytest.mark.parametrize("base", ["sd1", "sdxl"])
def test_a_picture_is_that_of_diffusers(base: str, pipeline: Callable[[str], Any], folder: Callable[[str], Path]) -> None:
    model = opened(folder(base))
    pipe = tiny()["pipeline"](base)
    pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer = model.unet, model.vae, model.encoders[0].module, model.encoders[0].tokenizer
    if base == "sdxl":
        pipe.text_encoder_2, pipe.tokenizer_2 = model.encoders[1].module, model.encoders[1].tokenizer

    def drawn(of: Any) -> Any:
        of.set_progress_bar_config(disable=True)
        dice = torch.Generator().manual_seed(1)
        return of("a photo of a cat", num_inference_steps=2, height=64, width=64, generator=dice, output_type="pt").images

    assert torch.equal(drawn(pipe), drawn(pipeline(base)))


def test_both_ways_in_which_transformers_names_a_text_encoder_are_read(copy: Callable[[str], Path], pipeline: Callable[[str], Any]) -> None:
    path = copy("sd1") / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    flat = {name.removeprefix("text_model."): weight for name, weight in weights.items()}
    for names in (flat, {f"text_model.{name}": weight for name, weight in flat.items()}):
        save_file(names, path)
        must_be_equal(parts(opened(path.parents[1])), modules(pipeline("sd1")))


def test_old_names_of_the_vaes_attention_are_read(copy: Callable[[str], Path], pipeline: Callable[[str], Any]) -> None:
    path = copy("sd1") / "vae" / "diffusion_pytorch_model.safetensors"
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for after, before in new.items():
        weights = {name.replace(f"attentions.0.{after}.", f"attentions.0.{before}."): weight for name, weight in weights.items()}
    assert any("proj_attn" in name for name in weights)
    save_file(weights, path)
    must_be_equal(parts(opened(path.parents[1])), modules(pipeline("sd1")))


def test_shards_and_half_precision_are_read(copy: Callable[[str], Path], pipeline: Callable[[str], Any]) -> None:
    path = copy("sd1") / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: weight.half() for name, weight in load_file(path).items()}
    names = sorted(weights)
    for number, some in enumerate((names[::2], names[1::2]), 1):
        save_file({name: weights[name] for name in some}, path.with_name(f"diffusion_pytorch_model-0000{number}-of-00002.fp16.safetensors"))
    path.unlink()
    have, want = opened(path.parents[1]).unet.state_dict(), pipeline("sd1").unet.state_dict()
    assert all(torch.equal(have[name], want[name].half().float()) for name in want)


def test_the_unet_and_the_vae_are_in_the_precision_asked_for_and_the_words_never(folder: Callable[[str], Path]) -> None:
    model = opened(folder("sdxl"), torch.bfloat16)
    assert {weight.dtype for module in parts(model)[:2] for weight in module.parameters()} == {torch.bfloat16}
    assert {weight.dtype for module in parts(model)[2:] for weight in module.parameters()} == {torch.float32}


def test_what_was_loaded_does_not_hang_on_the_file(copy: Callable[[str], Path], pipeline: Callable[[str], Any]) -> None:
    path = copy("sd1")
    model = opened(path)
    for each in path.glob("*/*.safetensors"):
        each.write_bytes(bytes(each.stat().st_size))
    must_be_equal(parts(model), modules(pipeline("sd1")))


def test_the_marks_of_comfyui_reach_the_scheduler(pipeline: Callable[[str], Any], folder: Callable[[str], Path], tmp_path: Path) -> None:
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    path = single.write(pipeline("sd1"), "sd1", tmp_path / "it.safetensors", more=marks)
    assert opened(path, config=str(folder("sd1")), variant="v").scheduler["rescale_betas_zero_snr"] is True
    assert opened(path, config=str(folder("sd1")), variant="v").scheduler["prediction_type"] == "v_prediction"


def test_queries_keys_and_values_can_be_fused_without_a_change(folder: Callable[[str], Path]) -> None:
    plain, fused = opened(folder("sdxl")).unet, opened(folder("sdxl")).unet
    fused.fuse_qkv_projections()
    dice = torch.Generator().manual_seed(1)
    sample, words = torch.randn(2, 4, 8, 8, generator=dice), torch.randn(2, 77, 2048, generator=dice)
    told = {"text_embeds": torch.randn(2, 1280, generator=dice), "time_ids": torch.full((2, 6), 64.0)}
    with torch.inference_mode():
        one, other = (unet(sample, torch.tensor([500, 20]), words, added_cond_kwargs=told).sample for unet in (plain, fused))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


# broken ones


def without(names: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in names.items() if name != "conv_in.weight"}


def reshaped(names: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return names | {"conv_in.weight": torch.zeros(8, 4, 1, 1)}


def poisoned(names: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return names | {"conv_in.bias": torch.full((8,), float("nan"))}


def longer(names: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return names | {"down_blocks.7.resnets.0.conv1.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "says"),
    [(without, "has no whole unet: conv_in.weight is missing"), (reshaped, "conv_in.weight is 8 x 4 x 1 x 1, not 8 x 4 x 3 x 3"),
     (poisoned, "has NaN or infinity in its unet .*: conv_in.bias"), (longer, "with more in it than its configuration says")],
)  # fmt: skip
def test_weights_that_are_not_whole_are_a_bad_checkpoint(change: Callable[..., Any], says: str, copy: Callable[[str], Path]) -> None:
    path = copy("sd1") / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(BadCheckpoint, match=says):
        opened(path.parents[1])


def test_numbers_that_half_precision_cannot_hold_are_told_with_it(copy: Callable[[str], Path]) -> None:
    path = copy("sd1") / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | {"conv_in.bias": torch.full((8,), 1e6)}, path)
    opened(path.parents[1], torch.bfloat16)
    with pytest.raises(BadCheckpoint, match=r"\(as float16\): conv_in.bias"):
        opened(path.parents[1], torch.float16)


def test_a_file_that_was_cut_after_it_was_added_is_a_bad_checkpoint(copy: Callable[[str], Path]) -> None:
    found = recognise(str(copy("sd1")))
    path = Path(found.path) / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadCheckpoint, match="bytes of numbers, the file has"):
        load(found, device=CPU, dtype=torch.float32)


def test_one_file_of_another_build_asks_for_its_configurations(pipeline: Callable[[str], Any], tmp_path: Path) -> None:
    path = single.write(pipeline("sd1"), "sd1", tmp_path / "it.safetensors")
    with pytest.raises(BadCheckpoint, match="8 x 4 x 3 x 3, not 320 x 4 x 3 x 3") as caught:
        opened(path)
    assert "--config" in caught.value.hint


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("unet", {"block_out_channels": "wide"}, "describes no unet that can be made"),
        ("unet", {"down_block_types": ["NoSuchBlock"]}, "describes no unet that can be made"),
        ("unet", {"attention_head_dim": 0}, "describes no unet that can be made"),
        ("text_encoder", {"hidden_size": 770}, "describes no clip_l that can be made"),
        ("vae", {"norm_num_groups": 3}, "describes no vae that can be made"),
        ("text_encoder", {"num_hidden_layers": 10**9}, "says 1000000000 of num_hidden_layers"),
        ("unet", {"layers_per_block": [1, 10**9]}, "says .* of layers_per_block"),
    ],
)
def test_a_configuration_without_sense_is_a_bad_checkpoint(part: str, change: dict[str, Any], says: str, copy: Callable[[str], Path]) -> None:
    path = copy("sd1") / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(BadCheckpoint, match=says):
        opened(path.parents[1])


@pytest.mark.parametrize("name", ["cut", "gone", "long"])
def test_a_tokenizer_that_does_not_fit_is_a_bad_checkpoint(name: str, copy: Callable[[str], Path]) -> None:
    path = copy("sd1") / "tokenizer"
    file = path / "tokenizer.json"
    if name == "cut":
        file.write_text(file.read_text("utf-8")[:1000], "utf-8")
    elif name == "gone":
        shutil.rmtree(path)  # CLIP's own has more words than this text encoder
    else:
        words = json.loads(file.read_text("utf-8"))
        words["model"]["vocab"] |= {f"extra{number}": 5_000 + number for number in range(9)}
        file.write_text(json.dumps(words), "utf-8")
    says = {"cut": "holds no tokenizer that can be read", "gone": "has a tokenizer of 49,408 words", "long": "has a tokenizer of"}
    with pytest.raises(BadCheckpoint, match=says[name]):
        opened(path.parent)


def test_parts_of_two_models_are_a_bad_checkpoint(copy: Callable[[str], Path], folder: Callable[[str], Path]) -> None:
    path = copy("sd1")
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(path / part)
        shutil.copytree(folder("sd2") / part, path / part)
    with pytest.raises(BadCheckpoint, match="hears 768 numbers of text, and text encoders that say 1024"):
        opened(path)
