"""Latents to pixels, and pixels to bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .engine import Room, in_float32, room_for, rows_for, spread
from .parts import Decoded

if TYPE_CHECKING:
    from .parts import Floats, Model

ROWS_TO_PICTURE = 4      # the VAE's largest activations are those of the pixels, not of the latents
QUALITY, METHOD = 90, 4  # of WebP: what is looked at closely is kept well


def decode(model: Model, latents: Sequence[torch.Tensor]) -> list[Decoded]:
    """The pictures of latents, which may differ in size. One that is not finite is decoded again in float32."""
    made: dict[int, Decoded] = {}
    for shape in {tuple(each.shape): None for each in latents}:
        places = [place for place, each in enumerate(latents) if tuple(each.shape) == shape]
        made |= dict(zip(places, of_one_size(model, torch.stack([latents[place] for place in places])), strict=True))
    return [made[place] for place in range(len(latents))]


def of_one_size(model: Model, latents: torch.Tensor) -> list[Decoded]:
    """The pictures of latents of one shape."""
    height, width = (int(side) * model.factor for side in latents.shape[-2:])
    room = room_for(model.vae, model.device, width, height, max(1, rows_for(model, width, height) // ROWS_TO_PICTURE))
    pixels = images(model, latents, room)
    broken = [place for place, each in enumerate(pixels) if not np.isfinite(each).all()]
    retried = bool(broken) and model.vae.dtype != torch.float32
    if retried:
        with in_float32(model.vae, model.device, width, height):
            pixels[broken] = images(model, latents[broken], room)
    return [picture(each, retried=retried and place in broken) for place, each in enumerate(pixels)]


@torch.inference_mode()
def images(model: Model, latents: torch.Tensor, room: Room) -> Floats:
    """Pixels (n, height, width, 3), not yet looked at."""
    config, dtype = model.vae.config, model.vae.dtype
    scaled = latents.to(model.device) / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)

    def run(rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = model.vae.decode(rows.to(dtype), return_dict=False)[0]
        return out.float().mul(0.5).add(0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu()  # clamp leaves NaN as it is

    found: Floats = spread(room, run, scaled).numpy()
    return found


def picture(pixels: Floats, *, retried: bool) -> Decoded:
    """Pixels with what is to be said of them."""
    finite = bool(np.isfinite(pixels).all())
    return Decoded(np.ascontiguousarray(pixels) if finite else np.zeros_like(pixels), finite, retried)


def to_uint8(pixels: Floats) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """0 to 1 as 0 to 255, as diffusers rounds."""
    return (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)


def webp(pixels: Floats) -> bytes:
    """The WebP of a picture: the same pixels give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(to_uint8(pixels)).save(buffer, "WEBP", quality=QUALITY, method=METHOD)
    return buffer.getvalue()
