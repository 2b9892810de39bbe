"""Tiny Stable Diffusion pipelines with random weights: a few megabytes, made in a second, and a UNet that does listen to its words.

They draw nothing that means anything. Their text encoders have the real widths, so that every embedding fits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

# Words that are one token each; the others are spelled letter by letter.
WORDS = (
    "a photo of the painting in style cat dog house tree red blue green old new man woman face hands portrait landscape mountain "
    "river sea sky sun moon star city street car boat table chair lamp cup book flower garden forest snow rain fire stone glass "
    "gold silver paper light dark best quality worst"
)  # fmt: skip
BASES = ("sd1", "sd2", "sd2v", "sdxl")
LOUD = 12.0


def letters() -> list[str]:
    """The 256 characters that stand for bytes, in the order of CLIP's vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + place) for place, _ in enumerate(hidden)]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token -> id and the merges that make WORDS."""
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS.split():
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts[:2] = ["".join(parts[:2])]
    tokens = letters()
    tokens += [f"{letter}</w>" for letter in tokens]
    tokens += [a + b for a, b in merges if a + b not in tokens]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: place for place, token in enumerate(dict.fromkeys(tokens))}, list(merges)


def tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's tokenizer with a small vocabulary."""
    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def text_encoder(words: CLIPTokenizer, width: int, *, projection: int | None = None, eos: int | None = None) -> Any:
    """A text encoder of a real width with two layers; its last LayerNorm is not that of a fresh model, whose mean is 0 everywhere."""
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=width // 64,
        hidden_act="quick_gelu" if width == 768 else "gelu", projection_dim=projection or width,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id if eos is None else eos, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    made = CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)
    for name, weight in made.named_parameters():
        if "final_layer_norm" in name:
            torch.nn.init.normal_(weight, mean=1.0 if name.endswith("weight") else 0.2, std=0.3)
    return made.eval()


def unet(cross: int, *, sdxl: bool = False) -> UNet2DConditionModel:
    """Two blocks; the cross-attention in the second is made loud, or so small a model would hardly hear the words."""
    more: dict[str, Any] = {
        "transformer_layers_per_block": (1, 2), "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 1280 + 6 * 8, "use_linear_projection": True,
    } if sdxl else {}  # fmt: skip
    made = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=cross, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **more,
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "attn2.to_out" in name:
                weight.mul_(LOUD)
    return made.eval()


def vae() -> AutoencoderKL:
    """Four blocks, so that a latent stands for 8 pixels."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=4, sample_size=64,
    ).eval()  # fmt: skip


def scheduler(base: str) -> Any:
    """The published configurations: SD2's 768-v is the one that predicts v."""
    kind = DDIMScheduler if base == "sd2v" else EulerDiscreteScheduler
    return kind(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        prediction_type="v_prediction" if base == "sd2v" else "epsilon", **({"clip_sample": False} if base == "sd2v" else {}),
    )  # fmt: skip


def pipeline(base: str, *, seed: int = 0) -> Any:
    """A whole pipeline of `base`, one of BASES; the same seed makes the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MAKERS[base](base)


def small(base: str) -> StableDiffusionPipeline:
    """SD 1.x and 2.x: one text encoder."""
    width = 768 if base == "sd1" else 1024
    words = tokenizer("<|endoftext|>" if base == "sd1" else "!")
    return StableDiffusionPipeline(
        vae=vae(), text_encoder=text_encoder(words, width), tokenizer=words, unet=unet(width), scheduler=scheduler(base),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def large(base: str) -> StableDiffusionXLPipeline:
    """SDXL: two text encoders."""
    first, second = tokenizer(), tokenizer("!")
    return StableDiffusionXLPipeline(
        vae=vae(), text_encoder=text_encoder(first, 768), tokenizer=first, text_encoder_2=text_encoder(second, 1280, projection=1280),
        tokenizer_2=second, unet=unet(2048, sdxl=True), scheduler=scheduler(base), add_watermarker=False,
    )  # fmt: skip


MAKERS: dict[str, Callable[[str], Any]] = {"sd1": small, "sd2": small, "sd2v": small, "sdxl": large}


def write(folder: str | Path, base: str, *, seed: int = 0) -> Path:
    """Save one as diffusers does; its folder."""
    pipeline(base, seed=seed).save_pretrained(folder, safe_serialization=True)
    return Path(folder)
