"""Whole pictures: ours, many at once, against one run of diffusers' pipeline for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler

from embconv.registry.validation.decode import decode
from embconv.registry.validation.loop import denoise
from embconv.registry.validation.parts import Conditioning, Model, Order
from embconv.registry.validation.text import Ask, encode, level

from .conftest import vectors
from .diffused import changeable, embedding

TOKEN = "<ti>"
EXACT = 1e-5  # of a pixel from 0 to 1
KINDS = {"euler": (EulerDiscreteScheduler, {"timestep_spacing": "linspace"}), "unipc": (UniPCMultistepScheduler, {"timestep_spacing": "linspace"}),
         "ddim": (DDIMScheduler, {"timestep_spacing": "leading", "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False})}
SAMPLERS = {"sd1": "euler", "sd2v": "ddim", "sdxl": "unipc"}
every_base = pytest.mark.parametrize("base", SAMPLERS)


def rendered(model: Model, sides: dict[int, tuple[Conditioning, Conditioning]], sampler: str) -> dict[int, Any]:
    """Our pictures, all of them in one go: seed -> pixels."""
    orders = [Order(seed, positive, negative, seed, sampler, 4, 7.0, 64, 64) for seed, (positive, negative) in sides.items()]
    drawn = list(denoise(model, orders))
    return dict(zip([each.key for each in drawn], [each.pixels for each in decode(model, [each.latents for each in drawn])], strict=True))


def ready(pipe: Any, base: str) -> Any:
    """A pipeline with the sampler of its base, and in silence."""
    kind, options = KINDS[SAMPLERS[base]]
    pipe = changeable(pipe, base)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe: Any, seed: int, **prompts: Any) -> Any:
    """diffusers' picture."""
    return pipe(**prompts, height=64, width=64, num_inference_steps=4, guidance_scale=7.0, output_type="np",
                generator=torch.Generator().manual_seed(seed)).images[0]  # fmt: skip


PROMPTS = {"positive": ("a photo of {T}, best quality", "worst quality"), "negative": ("a photo of cat", "{T}, worst quality")}


@every_base
@pytest.mark.parametrize("role", PROMPTS)
def test_pictures_are_those_of_diffusers(base: str, role: str, pipeline: Any, model: Any) -> None:
    given = {seed: vectors(base, 1 + seed, seed=seed, scale=0.05) for seed in range(4)}
    asks = [[Ask(prompt, each) for prompt in PROMPTS[role]] for each in given.values()]
    told = encode(model(base), [ask for pair in asks for ask in pair])
    ours = rendered(model(base), dict(enumerate(zip(told[::2], told[1::2], strict=True))), SAMPLERS[base])
    pipe = ready(pipeline(base), base)
    for seed, each in given.items():
        positive, negative = (prompt.replace("{T}", TOKEN) for prompt in PROMPTS[role])
        with embedding(pipe, base, TOKEN, each):
            theirs = drawn(pipe, seed, prompt=positive, negative_prompt=negative)
        assert np.abs(ours[seed] - theirs).max() <= EXACT
    assert np.abs(ours[0] - ours[1]).max() > 100 * EXACT


@every_base
def test_pictures_of_long_emphasised_prompts_are_what_diffusers_draws_from_our_words(base: str, pipeline: Any, model: Any) -> None:
    asks = [Ask("cat " * 80 + "({T}:1.3)", vectors(base, 3)), Ask("")]
    positive, negative = level(model(base), encode(model(base), asks, emphasis="no_norm" if base == "sdxl" else "a1111"))
    ours = rendered(model(base), {7: (positive, negative)}, SAMPLERS[base])
    told = {"prompt_embeds": positive.embeds[None], "negative_prompt_embeds": negative.embeds[None]}
    if base == "sdxl":
        told |= {"pooled_prompt_embeds": positive.pooled[None], "negative_pooled_prompt_embeds": negative.pooled[None]}
    assert np.abs(ours[7] - drawn(ready(pipeline(base), base), 7, **told)).max() <= EXACT


@every_base
def test_an_embedding_changes_the_picture_on_both_sides(base: str, model: Any) -> None:
    given = vectors(base, 3, seed=1, scale=0.05)
    plain, loud = encode(model(base), [Ask("a photo of {T}"), Ask("a photo of {T}", given)])
    nothing, bad = encode(model(base), [Ask("{T}"), Ask("{T}", given)])
    ours = [rendered(model(base), {1: sides}, SAMPLERS[base])[1] for sides in ((plain, nothing), (loud, nothing), (plain, bad))]
    assert min(np.abs(ours[0] - ours[1]).max(), np.abs(ours[0] - ours[2]).max()) > 100 * EXACT
