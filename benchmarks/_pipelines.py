"""Pairs for the benchmark of test renders: a pipeline of diffusers and our Model, with the same random weights.

The tiny ones are those of docs/_tiny.py; the large ones are built as the published models are, from the configurations that come with
embconv. Random weights take as long as trained ones.
"""

from __future__ import annotations

import os
import runpy
from typing import Any

import torch
from _measure import ROOT
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from embconv.registry.validation import checkpoints
from embconv.registry.validation.engine import deterministic, dtype_for
from embconv.registry.validation.parts import Model, TextEncoder
from embconv.registry.validation.vocabularies import clip
from embconv.registry.verdicts import Checkpoint

ENCODERS = {"sd1": {"clip_l": 768}, "sdxl": {"clip_l": 768, "clip_g": 1280}}
SIZES = {"sd1": 512, "sdxl": 1024}
CONFIGS = os.path.join(os.path.dirname(os.path.abspath(checkpoints.__file__)), "configs")


def tiny(base: str) -> Any:
    """A pipeline of a few megabytes."""
    with torch.random.fork_rng():
        return runpy.run_path(str(ROOT / "docs" / "_tiny.py"))["pipeline"](base)


def large(base: str, device: torch.device) -> Any:
    """A pipeline as large as the published one, in float32, made where it is used: a GPU draws billions of numbers in a moment."""
    folder = os.path.join(CONFIGS, base)
    torch.manual_seed(0)
    with torch.device(device):
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(os.path.join(folder, "unet"))),
            "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(os.path.join(folder, "vae"))),
            "text_encoder": CLIPTextModel(CLIPTextConfig.from_pretrained(os.path.join(folder, "text_encoder"))),
        }
        if base == "sdxl":
            config = CLIPTextConfig.from_pretrained(os.path.join(folder, "text_encoder_2"))
            parts["text_encoder_2"] = CLIPTextModelWithProjection(config)
    parts = {name: each.eval().requires_grad_(requires_grad=False) for name, each in parts.items()}
    words = {"tokenizer": clip("<|endoftext|>")} | ({"tokenizer_2": clip("!")} if base == "sdxl" else {})
    noise = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    if base == "sdxl":
        return StableDiffusionXLPipeline(**parts, **words, scheduler=noise, add_watermarker=False)
    return StableDiffusionPipeline(**parts, **words, scheduler=noise, safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)  # fmt: skip


def ours(pipe: Any, base: str, device: torch.device, size: int) -> Model:
    """Our Model of it, sharing its modules; the UNet and the VAE get the precision that we would choose."""
    deterministic()
    dtype = dtype_for(device)
    unet, vae = (torch.nn.Module.to(each, device, dtype) for each in (pipe.unet, pipe.vae))
    if device.type == "cuda":
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
        unet.fuse_qkv_projections()
    checkpoint = Checkpoint(name=f"random-{base}", base=base, path="", kind="folder", fingerprint="0" * 64, size=size)
    pairs = [(pipe.tokenizer, pipe.text_encoder)] + ([(pipe.tokenizer_2, pipe.text_encoder_2)] if base == "sdxl" else [])
    encoders = tuple(TextEncoder(key, words, module.to(device)) for key, (words, module) in zip(ENCODERS[base], pairs, strict=True))
    noise = dict(pipe.scheduler.config)
    return Model(checkpoint=checkpoint, encoders=encoders, unet=unet, vae=vae, scheduler=noise, device=device, dtype=dtype)
