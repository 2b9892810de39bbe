"""A pipeline of diffusers written as one file, under the names that the original models have; diffusers reads it back in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from embconv.registry.validation.ldm import Place, places

from .conftest import WIDTHS


def write(pipe: Any, base: str, path: Path, *, metadata: dict[str, str] | None = None, more: dict[str, torch.Tensor] | None = None) -> Path:
    """The file."""
    save_file(tensors(pipe, base) | (more or {}), path, metadata=metadata)
    return path


def tensors(pipe: Any, base: str) -> dict[str, torch.Tensor]:
    """What stands in it."""
    layers, blocks = pipe.unet.config.layers_per_block, len(pipe.vae.config.block_out_channels)
    encoders = dict(zip(WIDTHS[base], (pipe.text_encoder, getattr(pipe, "text_encoder_2", None)), strict=False))
    found: dict[str, torch.Tensor] = {}
    thirds: dict[str, dict[int, torch.Tensor]] = {}
    for key, module in {"unet": pipe.unet, "vae": pipe.vae, **encoders}.items():
        find = places(key, "sd2" if base == "sd2v" else base, layers, blocks)
        for name, weight in module.state_dict().items():
            place = chosen(find(name), module, name)
            if place.third is not None:
                thirds.setdefault(place.name, {})[place.third] = weight
            else:
                found[place.name] = original(place, name, key, weight).contiguous().clone()
    return found | {name: torch.cat([three[0], three[1], three[2]]) for name, three in thirds.items()}


def chosen(found: Iterator[Place], module: Any, name: str) -> Place:
    """The first, but for what makes larger: behind the attention where there is one."""
    options = list(found)
    parts = name.split(".")
    if parts[:1] == ["up_blocks"] and parts[2] == "upsamplers":
        return options[0 if hasattr(module.up_blocks[int(parts[1])], "attentions") else 1]
    return options[0]


def original(place: Place, name: str, key: str, weight: torch.Tensor) -> torch.Tensor:
    """A weight in the shape of the original: in the VAE attention is made of convolutions."""
    if place.turned:
        return weight.T
    return weight[:, :, None, None] if key == "vae" and "attentions" in name and weight.ndim == 2 else weight
