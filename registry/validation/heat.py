"""A picture of where the UNet attends to an embedding: its attention as warm colours on the probe's scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .decode import decode
from .measure import GREY
from .probe import scene

if TYPE_CHECKING:
    from ..verdicts import Protocol
    from .parts import Floats, Model

COLD, WARM, HOT = (0.05, 0.05, 0.25), (0.85, 0.25, 0.3), (1.0, 0.95, 0.6)
SHOWN = 0.45  # as much of the scene shines through


def ground(model: Model, protocol: Protocol) -> Floats:
    """The scene in greys, (height, width), drawn once; black where it cannot be."""
    key = ("ground", protocol.prompt, protocol.width, protocol.height, protocol.seen_width, protocol.seen_height, protocol.clip_skip)
    if key not in model.kept:
        model.kept[key] = decode(model, [scene(model, protocol)])[0].pixels @ GREY
    found: Floats = model.kept[key]
    return found


def painted(heat: Floats, greys: Floats) -> Floats:
    """Pixels (height, width, 3). `heat` is in multiples of its mean: half of it and less is cold, twice and more is hot."""
    from PIL import Image

    height, width = greys.shape
    large = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    share = (np.log2(large.clip(0.5, 2.0)) + 1) / 2
    colours = np.stack([np.interp(share, (0.0, 0.5, 1.0), stops) for stops in zip(COLD, WARM, HOT, strict=True)], axis=2)
    made: Floats = (SHOWN * greys[..., None] + (1 - SHOWN) * colours).clip(0, 1).astype(np.float32)
    return made
