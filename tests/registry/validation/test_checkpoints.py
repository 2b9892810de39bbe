"""What a path is said to be: by headers and configurations alone, and never by opening a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from embconv.registry.render_errors import BadCheckpoint, PickleCheckpoint
from embconv.registry.validation.checkpoints import default_name, recognise, stamp, unchanged
from embconv.registry.validation.headers import header_of

from . import single
from .conftest import WIDTHS

UNET = "model.diffusion_model."
CONV_IN, HEARS = f"{UNET}input_blocks.0.0.weight", f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
VAE, TEXT = {"first_stage_model.decoder.conv_in.weight": (4, 4)}, {"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (4, 4)}
OPEN = {"cond_stage_model.model.token_embedding.weight": (4, 4)}
TWO = {"conditioner.embedders.0.transformer.text_model.final_layer_norm.bias": (4,), "conditioner.embedders.1.model.ln_final.bias": (4,)}
LABELS = {f"{UNET}label_emb.0.0.weight": (4, 4)}
Shapes = dict[str, tuple[int, ...]]


def unet(width: int, channels: int = 4) -> Shapes:
    return {CONV_IN: (8, channels, 3, 3), HEARS: (8, width)}


def file(path: Path, shapes: Shapes, *, dtype: Any = np.float16, metadata: dict[str, str] | None = None) -> Path:
    """A file with such tensors, all zero."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(shape, dtype) for name, shape in shapes.items()}, path, metadata)
    return path


def raw(path: Path, header: object, body: bytes = b"", length: int | None = None) -> Path:
    """A .safetensors file of any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return path


# what it is


@pytest.mark.parametrize(("base", "variant"), [("sd1", "base"), ("sd2", "base"), ("sd2v", "v"), ("sdxl", "base")])
def test_a_folder_of_diffusers_is_known_by_its_configurations(base: str, variant: str, folder: Callable[[str], Path]) -> None:
    found = recognise(str(folder(base)))
    assert (found.base, found.variant, found.kind, found.size) == (base.removesuffix("v"), variant, "folder", 64)
    assert found.name == folder(base).name
    assert found.path == str(folder(base))


@pytest.mark.parametrize(
    ("shapes", "base", "size"),
    [(unet(768) | TEXT | VAE, "sd1", 512), (unet(1024) | OPEN | VAE, "sd2", 512), (unet(2048) | LABELS | TWO | VAE, "sdxl", 1024),
     (unet(1024) | {"conditioner.embedders.0.model.ln_final.bias": (4,)} | VAE, "sd2", 512)],
    ids=["sd1", "sd2", "sdxl", "sd2 as sgm saves it"],
)  # fmt: skip
def test_one_file_is_known_by_its_names_and_widths(shapes: Shapes, base: str, size: int, tmp_path: Path) -> None:
    path = file(tmp_path / "some model.safetensors", shapes)
    found = recognise(str(path))
    assert (found.base, found.variant, found.kind, found.size, found.name) == (base, "base", "single_file", size, "some-model")
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


SD2 = unet(1024) | OPEN | VAE
SDXL = unet(2048) | LABELS | TWO | VAE


@pytest.mark.parametrize(
    ("name", "shapes", "metadata", "variant"),
    [
        ("v2-1_768-ema-pruned", SD2, {}, "v"),
        ("768-v-ema", SD2, {}, "v"),
        ("512-base-ema", SD2, {}, "base"),
        ("v2-1_512-ema-pruned", SD2, {}, "base"),
        ("mine", SD2, {}, "base"),
        ("photo7680", SD2, {}, "base"),
        ("mine", SD2, {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v"),
        ("768-but-not-v", SD2, {"modelspec.architecture": "stable-diffusion-v2-512"}, "base"),
        ("512-but-v", SD2, {"modelspec.predict_key": "v"}, "v"),
        ("xl", SDXL, {"modelspec.prediction_type": "v"}, "v"),
        ("xl", SDXL, {"modelspec.prediction_type": "epsilon"}, "base"),
        ("xl", SDXL | {"v_pred": (0,), "ztsnr": (0,)}, {}, "v"),
        ("xl-768", SDXL, {}, "base"),
    ],
)  # fmt: skip
def test_what_it_predicts_is_told_by_marks_then_by_the_published_names(
    name: str, shapes: Shapes, metadata: dict[str, str], variant: str, tmp_path: Path
) -> None:
    found = recognise(str(file(tmp_path / f"{name}.safetensors", shapes, metadata=metadata)))
    assert found.variant == variant
    assert found.size == {("sd2", "v"): 768, ("sd2", "base"): 512}.get((found.base, variant), 1024)


@pytest.mark.parametrize(("line", "variant"), [('parameterization: "v"', "v"), ("parameterization: v", "v"), ("parameterization: eps", "base"), ("", "base")])
def test_a1111s_yaml_beside_it_tells_what_it_predicts(line: str, variant: str, tmp_path: Path) -> None:
    path = file(tmp_path / "mine-768.safetensors", SD2)
    path.with_suffix(".yaml").write_text(f"model:\n  params:\n    {line}\n", "utf-8")
    assert recognise(str(path)).variant == variant


def test_comfyuis_sign_of_v_is_the_last_to_be_asked(tmp_path: Path) -> None:
    telling = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
    for spread, variant in ((0.2, "v"), (0.05, "base")):
        numbers = {telling: (np.random.default_rng(0).standard_normal(320) * spread).astype(np.float32)}
        path = tmp_path / f"{variant}.safetensors"
        save_file({name: np.zeros(shape, np.float32) for name, shape in SD2.items()} | numbers, path)
        assert recognise(str(path)).variant == variant


def test_a_persons_word_on_what_it_predicts_holds_and_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = str(file(tmp_path / "mine.safetensors", SD2))
    told, given = recognise(path), recognise(path, variant="v")
    assert (given.variant, given.size) == ("v", 768)
    assert given.fingerprint != told.fingerprint
    assert recognise(path, variant="base") == told


# what it is not


REFUSED: dict[str, tuple[Shapes, str]] = {
    "LoRA": ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (4, 4)}, "is a LoRA"),
    "LoRA of PEFT": ({"unet.down_blocks.0.attentions.0.to_k.lora_A.weight": (4, 4)}, "is a LoRA"),
    "LyCORIS": ({"lora_unet_x.hada_w1_a": (4, 4)}, "is a LoRA"),
    "VAE": ({"decoder.conv_in.weight": (4, 4, 3, 3), "quant_conv.weight": (4, 4, 1, 1)}, "is a VAE alone"),
    "VAE with its prefix": ({"first_stage_model.decoder.conv_in.weight": (4, 4, 3, 3)}, "is a VAE alone"),
    "UNet of LDM": ({"input_blocks.0.0.weight": (8, 4, 3, 3)}, "is a UNet alone"),
    "UNet of diffusers": ({"down_blocks.0.resnets.0.conv1.weight": (8, 4, 3, 3), "conv_in.weight": (8, 4, 3, 3)}, "is a UNet alone"),
    "text encoder": ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "is a text encoder alone"),
    "embedding": ({"emb_params": (2, 768)}, "is an embedding, not a checkpoint"),
    "embedding for SDXL": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "is an embedding, not a checkpoint"),
    "refiner": (unet(1280) | LABELS | {"conditioner.embedders.0.model.ln_final.bias": (4,)} | VAE, "SDXL's refiner"),
    "inpainting": (unet(768, 9) | TEXT | VAE, "is an inpainting model"),
    "InstructPix2Pix": (unet(768, 8) | TEXT | VAE, "edits or moves pictures"),
    "depth": (unet(1024, 5) | OPEN | VAE, "is a depth-to-image model"),
    "unCLIP": (unet(1024) | LABELS | OPEN | VAE, "is an unCLIP model"),
    "ControlNet": ({"control_model.input_blocks.0.0.weight": (8, 4, 3, 3)}, "is a ControlNet"),
    "AnimateDiff": ({"down_blocks.0.motion_modules.0.norm.bias": (4,)}, "is a model of moving pictures"),
    "SD3": ({f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (4, 4)}, "is Stable Diffusion 3"),
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, "is Flux"),
    "AuraFlow": ({"double_layers.0.attn.w1q.weight": (4, 4)}, "is AuraFlow"),
    "another transformer": ({"transformer_blocks.0.attn.to_q.weight": (4, 4)}, "is a transformer, not a UNet"),
    "Playground 2.5": (unet(2048) | LABELS | TWO | VAE | {"edm_mean": (4,)}, "is Playground v2.5"),
    "CosXL": (unet(2048) | LABELS | TWO | VAE | {"edm_vpred.sigma_max": (1,)}, "is CosXL"),
    "quantised": (unet(768) | TEXT | VAE | {f"{UNET}out.2.weight_scale": (1,)}, "were quantised"),
    "no VAE": (unet(768) | TEXT, "has no VAE in it"),
    "no text encoder": (unet(768) | VAE, "has no text encoder in it"),
    "one text encoder of two": (unet(2048) | LABELS | VAE | {"conditioner.embedders.1.model.ln_final.bias": (4,)}, "has only one of SDXL's two"),
    "a width that nobody has": (unet(512) | TEXT | VAE, "hears 512 numbers of text"),
    "something else": ({"net.0.weight": (4, 4)}, "holds no Stable Diffusion model"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_checkpoint_is_refused_by_what_it_is(kind: str, tmp_path: Path) -> None:
    shapes, says = REFUSED[kind]
    with pytest.raises(BadCheckpoint, match=says) as caught:
        recognise(str(file(tmp_path / "it.safetensors", shapes)))
    assert caught.value.hint


def test_weights_in_eight_bits_are_refused(tmp_path: Path) -> None:
    shapes = unet(768) | TEXT | VAE
    tensors = {name: torch.zeros(shape, dtype=torch.float8_e4m3fn) for name, shape in shapes.items()}
    from safetensors.torch import save_file as save

    save(tensors, tmp_path / "fp8.safetensors")
    with pytest.raises(BadCheckpoint, match="in 8 bits"):
        recognise(str(tmp_path / "fp8.safetensors"))


PIPELINES = {"StableDiffusion3Pipeline": "another kind", "FluxPipeline": "another kind", "StableDiffusionInpaintPipeline": "another kind", "": "without a name"}


@pytest.mark.parametrize("kind", PIPELINES)
def test_other_pipelines_are_refused_by_their_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}), "utf-8")
    with pytest.raises(BadCheckpoint, match=PIPELINES[kind]):
        recognise(str(tmp_path))


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("unet", {"in_channels": 9}, "is an inpainting model"),
        ("unet", {"cross_attention_dim": 1280}, "refiner"),
        ("unet", {"cross_attention_dim": [768, 768]}, r"cross_attention_dim is \[768, 768\]"),
        ("unet", {"class_embed_type": "projection"}, "told more than words"),
        ("unet", {"sample_size": "large"}, "has no size"),
        ("unet", {"sample_size": 10**9}, "has no size"),
        ("vae", {"block_out_channels": None}, "has no size"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'"),
    ],
)
def test_a_folder_of_a_model_that_cannot_be_rendered_is_refused(
    part: str, change: dict[str, Any], says: str, folder: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder("sd1"), tmp_path / "copy", copy_function=os.link))
    path = copy / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    config = json.loads(path.read_text("utf-8")) | change
    path.unlink()
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(BadCheckpoint, match=says):
        recognise(str(copy))


# what cannot be read


def test_a_path_where_nothing_is_an_empty_folder_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.safetensors").touch()
    for name, says in (("gone", "is not there"), ("empty", "is an empty folder"), ("empty.safetensors", "is empty")):
        with pytest.raises(BadCheckpoint, match=says):
            recognise(str(tmp_path / name))


def test_a_folder_of_files_is_told_to_name_one(tmp_path: Path) -> None:
    file(tmp_path / "one.safetensors", {"weights": (1,)})
    with pytest.raises(BadCheckpoint, match=r"it has no model_index\.json") as caught:
        recognise(str(tmp_path))
    assert "one.safetensors" in caught.value.hint


def test_a_part_of_a_pipeline_is_told_to_name_the_whole(folder: Callable[[str], Path]) -> None:
    with pytest.raises(BadCheckpoint, match=r"one part of a pipeline \(UNet2DConditionModel\)"):
        recognise(str(folder("sd1") / "unet"))


@pytest.mark.parametrize("name", ["notes.txt", "picture.png", "noise.safetensors"])
def test_other_files_are_no_checkpoints(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG or anything else, long enough to be looked at")
    with pytest.raises(BadCheckpoint, match=r"is no \.safetensors file"):
        recognise(str(tmp_path / name))


HEADERS = {
    "cut": (lambda whole: whole[:-8], "speaks of .* bytes of numbers, the file has"),
    "longer than it says": (lambda whole: whole + b"more", "speaks of .* bytes of numbers, the file has"),
    "cut in its header": (lambda whole: whole[:60], "header should have"),
    "no JSON": (lambda whole: whole[:9] + b"{" + whole[10:], "is not JSON"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_damaged_file_is_a_bad_checkpoint(kind: str, tmp_path: Path) -> None:
    damage, says = HEADERS[kind]
    path = file(tmp_path / "it.safetensors", unet(768) | TEXT | VAE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadCheckpoint, match=says):
        recognise(str(path))


def test_a_header_that_is_a_bomb_is_not_read(tmp_path: Path) -> None:
    long = raw(tmp_path / "long.safetensors", b"{" + b" " * (5 << 20) + b"}")
    nested = raw(tmp_path / "nested.safetensors", b"[" * 100_000, length=100_000)
    lying = raw(tmp_path / "lying.safetensors", {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, bytes(4))
    for path in (long, nested, lying):
        with pytest.raises(BadCheckpoint):
            recognise(str(path))


@pytest.mark.skipif(sys.platform == "win32", reason="its files with holes need a flag")
def test_a_header_of_gigabytes_is_read_without_them(tmp_path: Path) -> None:
    size = 40 << 30
    path = raw(tmp_path / "large.safetensors", {"weights": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    os.truncate(path, path.stat().st_size + size)
    began = time.monotonic()
    assert header_of(str(path)).tensors["weights"].shape == (size // 4,)
    assert time.monotonic() - began < 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_told_so(tmp_path: Path) -> None:
    path = file(tmp_path / "it.safetensors", unet(768))
    path.chmod(0)
    with pytest.raises(BadCheckpoint, match="Permission denied"):
        recognise(str(path))


@pytest.mark.parametrize("name", ["shards", "weights", "configuration"])
def test_a_folder_that_lacks_something_says_what(name: str, folder: Callable[[str], Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder("sd1"), tmp_path / "copy", copy_function=os.link))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    if name == "shards":
        weights.rename(copy / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    elif name == "weights":
        weights.unlink()
    else:
        (copy / "text_encoder" / "config.json").unlink()
    says = {"shards": "has 1 of the 2 files", "weights": "has no weights in it", "configuration": "cannot be read: No such file"}
    with pytest.raises(BadCheckpoint, match=says[name]):
        recognise(str(copy))


# pickles


@pytest.mark.parametrize("zipped", [True, False], ids=["a zip", "as torch saved it before 1.6"])
def test_a_pickle_is_refused_with_a_command_that_converts_it(
    zipped: bool, pipeline: Callable[[str], Any], folder: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "it's mine.ckpt"
    torch.save({"state_dict": single.tensors(pipeline("sd1"), "sd1"), "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(PickleCheckpoint) as caught:
        recognise(str(path))
    run_hint(caught.value.hint)
    assert recognise(str(path.with_suffix(".safetensors")), config=str(folder("sd1"))).base == "sd1"


def test_a_folder_of_pickles_is_refused_with_a_command_that_converts_it(pipeline: Callable[[str], Any], tmp_path: Path) -> None:
    pipeline("sd1").save_pretrained(tmp_path / "old", safe_serialization=False)
    if not list(tmp_path.glob("old/*/*.bin")):
        pytest.skip("this diffusers writes no pickles any more")
    for part in tmp_path.glob("old/*/*.safetensors"):  # transformers 5 writes them whatever it is told
        from safetensors.torch import load_file

        torch.save(load_file(part), part.parent / "pytorch_model.bin")
        part.unlink()
    with pytest.raises(PickleCheckpoint) as caught:
        recognise(str(tmp_path / "old"))
    run_hint(caught.value.hint)
    assert recognise(str(tmp_path / "old-safetensors")).base == "sd1"


def run_hint(hint: str) -> None:
    """The command of a hint as a shell has it."""
    command = hint.partition(": ")[2].replace("python ", f'"{sys.executable}" ', 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_ckpt_that_is_no_pickle_inside_is_read(tmp_path: Path) -> None:
    path = file(tmp_path / "renamed.safetensors", unet(768) | TEXT | VAE).rename(tmp_path / "renamed.ckpt")
    assert recognise(str(path)).base == "sd1"


# its identity


def test_the_fingerprint_of_a_folder_is_that_of_what_is_drawn_with(folder: Callable[[str], Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder("sd1"), tmp_path / "elsewhere"))
    (copy / "README.md").write_text("words", "utf-8")
    assert recognise(str(copy)).fingerprint == recognise(str(folder("sd1"))).fingerprint
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text("utf-8").replace("0.012", "0.013"), "utf-8")
    assert recognise(str(copy)).fingerprint != recognise(str(folder("sd1"))).fingerprint


def test_half_precision_is_taken_where_nothing_else_is(folder: Callable[[str], Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder("sd1"), tmp_path / "copy"))
    for path in list(copy.glob("*/*.safetensors")):
        shutil.copy(path, path.with_suffix(".fp16.safetensors"))
    assert recognise(str(copy)).fingerprint == recognise(str(folder("sd1"))).fingerprint
    for path in copy.glob("*/*model.safetensors"):
        path.unlink()
    assert recognise(str(copy)).base == "sd1"


def test_a_file_that_was_only_touched_is_the_same_and_one_that_was_written_is_not(tmp_path: Path) -> None:
    path = file(tmp_path / "it.safetensors", unet(768) | TEXT | VAE)
    found = recognise(str(path))
    os.utime(path, (1, 1))
    assert stamp(found) != found.stamp
    unchanged(found)
    file(path, unet(768) | TEXT | VAE | {f"{UNET}out.2.bias": (4,)})
    with pytest.raises(BadCheckpoint, match="has changed since it was added"):
        unchanged(found)
    path.unlink()
    with pytest.raises(BadCheckpoint, match="is not there any more"):
        unchanged(found)


def test_the_bytes_that_are_hashed_are_told(tmp_path: Path) -> None:
    path = file(tmp_path / "it.safetensors", unet(768) | TEXT | VAE)
    heard: list[tuple[int, int]] = []
    recognise(str(path), heard=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize(("path", "name"), [("a/My Model (v2).safetensors", "My-Model-v2"), ("b/model", "model"), ("c/模型.safetensors", "模型"), ("d/==", "checkpoint")])
def test_the_name_is_that_of_the_file_as_a_shell_takes_it(path: str, name: str) -> None:
    assert default_name(path) == name


def test_configurations_of_another_model_are_refused(pipeline: Callable[[str], Any], folder: Callable[[str], Path], tmp_path: Path) -> None:
    path = file(tmp_path / "it.safetensors", unet(768) | TEXT | VAE)
    with pytest.raises(BadCheckpoint, match="is sd1, but the configurations in --config are of sd2"):
        recognise(str(path), config=str(folder("sd2")))
    with pytest.raises(BadCheckpoint, match="with its own configurations"):
        recognise(str(folder("sd1")), config=str(folder("sd1")))
    assert WIDTHS["sd1"] == {"clip_l": 768}
