"""A pipeline of diffusers in a folder: which files of it count, and what it is."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from ..render_errors import BadCheckpoint, PickleCheckpoint
from .headers import CONVERT_FOLDER, command_line, header_of, json_of
from .kinds import OTHER_MODEL, of_sizes
from .predictions import TYPES

INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
# Pipelines whose UNet and text encoders are those of the base model.
PIPELINES = {
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "LatentConsistencyModelPipeline", "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
}  # fmt: skip
ENCODERS = {
    "sd1": {"clip_l": "text_encoder"},
    "sd2": {"clip_h": "text_encoder"},
    "sdxl": {"clip_l": "text_encoder", "clip_g": "text_encoder_2"},
}
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# A file of weights: diffusion_pytorch_model.fp16.safetensors, model-00001-of-00002.safetensors, ...
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<before>\w+))?(?:-(?P<shard>\d+)-of-(?P<all>\d+))?(?:\.(?P<after>\w+))?\.safetensors"
)
PREFERRED = ("", "fp16", "bf16")  # of the variants that are there; others after these
PICKLED = (".bin", ".pt", ".pth", ".ckpt")


class Pipeline(NamedTuple):
    """What a folder says of itself."""

    base: str
    variant: str
    size: int


def pipeline_of(folder: str) -> Pipeline:
    """The base, variant and size of a pipeline; BadCheckpoint or PickleCheckpoint where it cannot be used. Its weights must be there."""
    found = configured(folder)
    for component in components(found.base):
        for path in weights_of(folder, component):
            header_of(path)
    return found


def configured(folder: str) -> Pipeline:
    """As `pipeline_of`, by the configurations alone."""
    kind = str(json_of(index_of(folder)).get("_class_name", ""))
    if kind not in PIPELINES:
        raise BadCheckpoint(folder, f"holds a pipeline of another kind ({kind or 'without a name'})", OTHER_MODEL)
    unet, vae = (json_of(os.path.join(folder, component, "config.json")) for component in ("unet", "vae"))
    base = of_config(folder, unet)
    for component in ENCODERS[base].values():
        json_of(os.path.join(folder, component, "config.json"))
    scheduler = json_of(os.path.join(folder, SCHEDULER))
    predicts = scheduler.get("prediction_type", "epsilon")
    variant = next((variant for variant, name in TYPES.items() if name == predicts), None)
    if variant is None:
        raise BadCheckpoint(folder, f"has a model that predicts {predicts!r}, neither noise nor v", OTHER_MODEL)
    return Pipeline(base, variant, size_of(folder, unet, vae))


def index_of(folder: str) -> str:
    """The path of a folder's index; without one BadCheckpoint says what the folder is."""
    path = os.path.join(folder, INDEX)
    if os.path.isfile(path):
        return path
    names = names_in(folder)
    if not names:
        raise BadCheckpoint(folder, "is an empty folder")
    if "config.json" in names:
        kind = json_of(os.path.join(folder, "config.json")).get("_class_name") or "a model"
        raise BadCheckpoint(folder, f"is one part of a pipeline ({kind})", f"Give the folder above it, the one with {INDEX}.")
    files = [name for name in names if name.endswith(".safetensors")]
    if files:
        one = os.path.join(folder, files[0])
        raise BadCheckpoint(folder, f"is no pipeline: it has no {INDEX}", f"Give one of the files in it, such as {one}")
    raise BadCheckpoint(folder, f"is no pipeline of diffusers: it has no {INDEX}")


def names_in(folder: str) -> list[str]:
    """What lies in a folder, sorted."""
    try:
        return sorted(os.listdir(folder))
    except OSError as exc:
        raise BadCheckpoint(folder, f"cannot be read: {exc.strerror or exc}") from exc


def of_config(folder: str, unet: dict[str, Any]) -> str:
    """The base by the configuration of its UNet."""
    width, channels = unet.get("cross_attention_dim"), unet.get("in_channels")
    added = unet.get("addition_embed_type")
    if unet.get("class_embed_type") or added not in (None, "text_time"):
        raise BadCheckpoint(folder, "has a UNet that is told more than words and sizes", OTHER_MODEL)
    if not isinstance(width, int) or not isinstance(channels, int):
        raise BadCheckpoint(folder, f"has a UNet whose cross_attention_dim is {width!r} and in_channels {channels!r}", OTHER_MODEL)
    return of_sizes(folder, width, channels, classes=added == "text_time")


def size_of(folder: str, unet: dict[str, Any], vae: dict[str, Any]) -> int:
    """The pixels of the pictures that it was trained with."""
    latents, blocks = unet.get("sample_size"), vae.get("block_out_channels")
    if not isinstance(latents, int) or not isinstance(blocks, list) or not 1 <= latents <= 1024 or not 1 <= len(blocks) <= 6:
        raise BadCheckpoint(folder, f"has no size: sample_size is {latents!r}, block_out_channels of the VAE {blocks!r}")
    return int(latents) << (len(blocks) - 1)


def components(base: str) -> tuple[str, ...]:
    """The parts of a pipeline that have weights."""
    return ("unet", "vae", *ENCODERS[base].values())


def weights_of(folder: str, component: str) -> tuple[str, ...]:
    """The files of weights of a part, all shards of one variant."""
    inside = os.path.join(folder, component)
    names = names_in(inside)
    variants: dict[str, list[re.Match[str]]] = {}
    for found in filter(None, map(WEIGHTS.fullmatch, names)):
        variants.setdefault(found["before"] or found["after"] or "", []).append(found)
    if not variants:
        if any(name.endswith(PICKLED) for name in names):
            raise PickleCheckpoint(inside, CONVERT_FOLDER + command_line(folder, f"{folder.rstrip('/')}-safetensors"))
        raise BadCheckpoint(inside, "has no weights in it (.safetensors)")
    chosen = variants[min(variants, key=lambda name: (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name))]
    whole = [found for found in chosen if not found["shard"]]
    if whole:
        return (os.path.join(inside, whole[0].string),)
    if len(chosen) != int(chosen[0]["all"]):
        raise BadCheckpoint(inside, f"has {len(chosen)} of the {int(chosen[0]['all'])} files of its weights")
    return tuple(os.path.join(inside, found.string) for found in chosen)


def settings_of(folder: str, base: str) -> tuple[str, ...]:
    """The configurations and vocabularies of a folder that change what is drawn, as far as they are there."""
    wanted = [SCHEDULER, *(f"{component}/config.json" for component in components(base))]
    wanted += [f"{TOKENIZERS[component]}/{name}" for component in ENCODERS[base].values() for name in TOKENIZER_FILES]
    paths = [os.path.join(folder, *name.split("/")) for name in wanted]
    return tuple(path for path in paths if os.path.isfile(path))
