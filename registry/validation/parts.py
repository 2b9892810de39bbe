"""The values of a render: a checkpoint in memory, what a prompt became, what is to be drawn and what came out."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..verdicts import Checkpoint

    Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder, in float32: `key` of converters.ENCODERS, its tokenizer, and transformers' CLIPTextModel(WithProjection)."""

    key: str
    tokenizer: Any
    module: Any


@dataclass(frozen=True)
class Model:
    """A checkpoint in memory. `encoders` in the order of the UNet's context; `scheduler` is diffusers' configuration, with prediction_type.

    `dtype` is that of the UNet and the VAE, the text encoders stay in float32. `factor`: pixels to a latent. `kept`: what was found out
    about it and need not be found out again; a copy with other parts starts without.
    """

    checkpoint: Checkpoint
    encoders: tuple[TextEncoder, ...]
    unet: Any
    vae: Any
    scheduler: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    factor: int = 8
    kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def base(self) -> str:
        return self.checkpoint.base


@dataclass(frozen=True)
class Conditioning:
    """A prompt as the UNet takes it, in float32 on the model's device: `embeds` (tokens, context width), `pooled` (1280,) with SDXL.

    `slots`: encoder -> places of the injected vectors among the tokens.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    slots: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One picture to draw. `key` is the caller's; `negative` None is without guidance."""

    key: Hashable
    positive: Conditioning
    negative: Conditioning | None
    seed: int
    sampler: str
    steps: int
    cfg: float
    width: int
    height: int
    seen_width: int = 0     # what SDXL is told; 0: width
    seen_height: int = 0


@dataclass(frozen=True)
class Drawn:
    """The latents of an order, (4, h, w) float32 on the CPU; `finite` after the retry in float32, `retried` where that was needed."""

    key: Hashable
    latents: torch.Tensor
    finite: bool = True
    retried: bool = False


@dataclass(frozen=True)
class Decoded:
    """Pixels 0 to 1, (height, width, 3) float32; `finite` and `retried` as Drawn's. Pixels that are not finite are black."""

    pixels: Floats
    finite: bool = True
    retried: bool = False


@dataclass(frozen=True)
class Subject:
    """An embedding that is to be judged: encoder -> (n, width) float32. `base` None: nobody knows. `hints`: words that tell its kind.

    `shorthash` is A1111's for a file of it, where there is one: 12 hex of its sha256, which stand under a picture.
    """

    digest: str
    name: str
    trigger: str
    vectors: dict[str, Floats]
    base: str | None = None
    role: str = "unknown"
    hints: tuple[str, ...] = ()
    shorthash: str = ""
