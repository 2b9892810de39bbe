"""The published models: our configurations of them, and where their weights stand in one file, as diffusers converts them."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from embconv.registry.validation.checkpoints import CONFIGS
from embconv.registry.validation.folders import ENCODERS, configured
from embconv.registry.validation.ldm import places
from embconv.registry.validation.loading import empty

from .single import chosen, original

FULL = ("sd1", "sd2", "sd2-v", "sdxl")
# As published, in the papers' and the model cards' own counting; SD 2.x without the last layer of its text encoder, which it does not use.
PARAMETERS = {
    ("sd1", "unet"): 859_520_964, ("sd2", "unet"): 865_910_724, ("sd2-v", "unet"): 865_910_724, ("sdxl", "unet"): 2_567_463_684,
    ("sd1", "clip_l"): 123_060_480, ("sdxl", "clip_l"): 123_060_480, ("sdxl", "clip_g"): 694_659_840,
    **{(base, "vae"): 83_653_863 for base in FULL},
}  # fmt: skip


def made(base: str, key: str) -> Any:
    name = ENCODERS[base.partition("-")[0]].get(key, key)
    return empty(os.path.join(CONFIGS, base, name, "config.json"), key)


@pytest.mark.parametrize(("base", "key"), PARAMETERS)
def test_a_published_model_has_its_number_of_weights(base: str, key: str) -> None:
    assert sum(weight.numel() for weight in made(base, key).parameters()) == PARAMETERS[base, key]


@pytest.mark.parametrize(("base", "variant", "size"), [("sd1", "base", 512), ("sd2", "base", 512), ("sd2-v", "v", 768), ("sdxl", "base", 1024)])
def test_a_published_model_has_its_size_and_its_prediction(base: str, variant: str, size: int) -> None:
    assert configured(os.path.join(CONFIGS, base)) == (base.partition("-")[0], variant, size)


@pytest.mark.parametrize("base", FULL)
@pytest.mark.parametrize("key", ["unet", "vae"])
def test_every_weight_of_a_published_model_has_its_place_in_one_file(base: str, key: str) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    module = made(base, key)
    find = places(key, base.partition("-")[0], 2, 4)
    wanted = {name: torch.empty_like(weight, device="meta") for name, weight in module.state_dict().items()}
    file = {}
    for name, weight in wanted.items():
        place = chosen(find(name), module, name)
        file[place.name] = original(place, name, key, weight)
    convert = convert_ldm_unet_checkpoint if key == "unet" else convert_ldm_vae_checkpoint
    theirs = convert(file, module.config)
    assert {name: weight.shape for name, weight in theirs.items()} == {name: weight.shape for name, weight in wanted.items()}


@pytest.mark.parametrize(
    ("key", "base", "name", "place"),
    [
        ("unet", "sd1", "down_blocks.0.downsamplers.0.conv.weight", "model.diffusion_model.input_blocks.3.0.op.weight"),
        ("unet", "sd1", "up_blocks.3.attentions.2.proj_out.bias", "model.diffusion_model.output_blocks.11.1.proj_out.bias"),
        ("unet", "sdxl", "add_embedding.linear_2.bias", "model.diffusion_model.label_emb.0.2.bias"),
        ("unet", "sdxl", "mid_block.resnets.1.conv2.weight", "model.diffusion_model.middle_block.2.out_layers.3.weight"),
        ("vae", "sd1", "decoder.up_blocks.0.resnets.0.conv1.weight", "first_stage_model.decoder.up.3.block.0.conv1.weight"),
        ("vae", "sd1", "encoder.mid_block.attentions.0.to_out.0.bias", "first_stage_model.encoder.mid.attn_1.proj_out.bias"),
        ("clip_l", "sd1", "text_model.final_layer_norm.bias", "cond_stage_model.transformer.text_model.final_layer_norm.bias"),
        ("clip_l", "sdxl", "final_layer_norm.bias", "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias"),
        ("clip_h", "sd2", "encoder.layers.22.mlp.fc1.weight", "cond_stage_model.model.transformer.resblocks.22.mlp.c_fc.weight"),
        ("clip_g", "sdxl", "text_model.encoder.layers.31.self_attn.v_proj.bias", "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_bias"),
        ("clip_g", "sdxl", "text_projection.weight", "conditioner.embedders.1.model.text_projection"),
    ],
)  # fmt: skip
def test_a_weight_stands_where_the_original_has_it(key: str, base: str, name: str, place: str) -> None:
    assert next(places(key, base, 2, 4)(name)).name == place
