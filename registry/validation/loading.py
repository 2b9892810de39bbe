"""A checkpoint becomes a Model: its parts made from configurations, filled with weights that were looked at, without asking anybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .extra import offline

offline()  # the libraries below read it as they are imported

import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

from ..render_errors import BadCheckpoint, DeviceFull  # noqa: E402
from .checkpoints import config_folder, unchanged  # noqa: E402
from .engine import use_threads  # noqa: E402
from .folders import ENCODERS, SCHEDULER, weights_of  # noqa: E402
from .headers import header_of, json_of  # noqa: E402
from .kinds import UNET  # noqa: E402
from .ldm import places, plain, text_plain  # noqa: E402
from .parts import Model, TextEncoder  # noqa: E402
from .predictions import TYPES  # noqa: E402
from .vocabularies import tokenizer_of  # noqa: E402
from .weights import OTHER_BUILD, Weights, fill, listed  # noqa: E402

if TYPE_CHECKING:
    from ..verdicts import Checkpoint
    from .ldm import Places

# How many modules are made before anybody looks at the weights; the largest published number is 32.
COUNTS = ("num_hidden_layers", "layers_per_block", "transformer_layers_per_block", "down_block_types", "up_block_types")
MOST = 128


def load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> Model:
    """The model of a checkpoint, on `device`, its UNet and VAE in `dtype`.

    Raises BadCheckpoint where its files are not whole, not finite, or not those that were added any more; DeviceFull.
    """
    unchanged(checkpoint)
    with fitting(checkpoint, device):
        unet = part(checkpoint, "unet", "unet", device, dtype)
        vae = part(checkpoint, "vae", "vae", device, dtype)
        encoders = tuple(encoder(checkpoint, key, name, device) for key, name in ENCODERS[checkpoint.base].items())
        must_fit(checkpoint, unet, encoders)
        if device.type == "cuda":
            unet.to(memory_format=torch.channels_last)
            vae.to(memory_format=torch.channels_last)
            unet.fuse_qkv_projections()
        if device.type == "cpu":
            use_threads(unet)
    return Model(checkpoint=checkpoint, encoders=encoders, unet=unet, vae=vae, scheduler=noise_of(checkpoint), device=device, dtype=dtype,
                 factor=2 ** (len(vae.config.block_out_channels) - 1))  # fmt: skip


def encoder(checkpoint: Checkpoint, key: str, name: str, device: torch.device) -> TextEncoder:
    """A text encoder with its tokenizer, in float32."""
    module = part(checkpoint, key, name, device, torch.float32)
    tokenizer = tokenizer_of(config_folder(checkpoint), name, checkpoint.base)
    rows = module.config.vocab_size
    if len(tokenizer) > rows:
        raise BadCheckpoint(checkpoint.path, f"has a tokenizer of {len(tokenizer):,} words, but its {name} knows {rows:,}")
    return TextEncoder(key, tokenizer, module)


def part(checkpoint: Checkpoint, key: str, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """One part with its weights. `key`: unet, vae, or that of an encoder; `name`: its folder in a pipeline."""
    module = empty(os.path.join(config_folder(checkpoint), name, "config.json"), key)
    paths, find = sources(checkpoint, key, name)
    with Weights(paths) as weights:
        fill(module, weights, find, name.replace("_", " "), device=device, dtype=dtype)
        unused = weights.unused("" if checkpoint.kind == "folder" else UNET) if key == "unet" else []
    if unused:  # fewer layers than the file has would draw, and draw something else
        raise BadCheckpoint(checkpoint.path, f"has a UNet with more in it than its configuration says: {listed(unused, '')}", OTHER_BUILD)
    return module


def empty(path: str, key: str) -> Any:
    """A module as its configuration describes it, on `meta`: it has shapes and no memory."""
    config = json_of(path)
    if large := [name for name in COUNTS if counts(config.get(name)) > MOST]:
        raise BadCheckpoint(path, f"says {config[large[0]]!r} of {large[0]}; no model has as many")
    try:
        with torch.device("meta"):
            if key == "unet":
                return UNet2DConditionModel.from_config(config)
            if key == "vae":
                return AutoencoderKL.from_config(config)
            kind = CLIPTextModelWithProjection if key == "clip_g" else CLIPTextModel
            return kind(CLIPTextConfig.from_dict(config))
    except Exception as exc:  # they raise nearly anything where a configuration makes no sense
        raise BadCheckpoint(path, f"describes no {key} that can be made: {' '.join(str(exc).split())}") from exc


def counts(told: Any) -> int:
    """The most that a configuration says of how many there are."""
    if isinstance(told, list):
        return max([len(told), *map(counts, told)])
    return told if isinstance(told, int) else 0


def sources(checkpoint: Checkpoint, key: str, name: str) -> tuple[tuple[str, ...], Places]:
    """The files in which a part's weights are, and where in them."""
    if checkpoint.kind == "folder":
        return weights_of(checkpoint.path, name), plain if key in {"unet", "vae"} else text_plain
    folder = config_folder(checkpoint)
    layers = json_of(os.path.join(folder, "unet", "config.json")).get("layers_per_block", 2)
    blocks = json_of(os.path.join(folder, "vae", "config.json"))["block_out_channels"]
    if not isinstance(layers, int):
        raise BadCheckpoint(folder, f"has layers_per_block {layers!r}; a single file has the same number in each block")
    return (checkpoint.path,), places(key, checkpoint.base, layers, len(blocks))


def must_fit(checkpoint: Checkpoint, unet: Any, encoders: tuple[TextEncoder, ...]) -> None:
    """BadCheckpoint where the parts are not of one model."""
    heard, said = unet.config.cross_attention_dim, sum(each.module.config.hidden_size for each in encoders)
    if heard != said:
        raise BadCheckpoint(checkpoint.path, f"has a UNet that hears {heard} numbers of text, and text encoders that say {said}")


def noise_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The configuration of its scheduler, with what the checkpoint predicts."""
    config = json_of(os.path.join(config_folder(checkpoint), *SCHEDULER.split("/")))
    config["prediction_type"] = TYPES[checkpoint.variant]
    if checkpoint.kind == "single_file" and "ztsnr" in header_of(checkpoint.path).tensors:  # the mark of ComfyUI: noise alone at its end
        config["rescale_betas_zero_snr"] = True
    return config


@contextmanager
def fitting(checkpoint: Checkpoint, device: torch.device) -> Iterator[None]:
    """Memory that does not hold the weights is DeviceFull."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as exc:
        raise DeviceFull(str(device), checkpoint.size, checkpoint.size) from exc
