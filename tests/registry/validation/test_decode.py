"""Latents become the pixels that diffusers makes of them, also with a VAE that overflows."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from embconv.registry.render_errors import DeviceFailed, DeviceFull
from embconv.registry.validation.decode import decode, to_uint8, webp


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def own(model: Any, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A model with a VAE that may be changed."""
    vae = torch.nn.Module.to(copy.deepcopy(model.vae), dtype)
    vae.register_to_config(**config)
    return replace(model, vae=vae, dtype=dtype)


def theirs(vae: Any, rows: torch.Tensor) -> Any:
    """Pixels as a pipeline of diffusers makes them."""
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    with torch.no_grad():
        return VaeImageProcessor().postprocess(vae.decode(rows / vae.config.scaling_factor + shift).sample, output_type="np")


@pytest.mark.parametrize("config", [{}, {"scaling_factor": 0.5, "shift_factor": 0.25}])
def test_pixels_are_those_of_diffusers(config: dict[str, Any], model: Any) -> None:
    mine = own(model("sd1"), **config)
    rows = latents(11, 4, 8, 8)
    found = decode(mine, list(rows))
    assert abs(np.stack([each.pixels for each in found]) - theirs(mine.vae, rows)).max() <= 1e-5
    assert all(each.finite and not each.retried and each.pixels.dtype == np.float32 for each in found)


def test_a_picture_hangs_on_no_neighbour(model: Any) -> None:
    rows = list(latents(11, 4, 8, 8))
    together = decode(model("sd1"), rows)
    for place in (0, 4, 10):
        assert np.array_equal(decode(model("sd1"), [rows[place]])[0].pixels, together[place].pixels)


def test_sizes_may_be_mixed_and_keep_their_order(model: Any) -> None:
    rows = [latents(4, 8, 8), latents(4, 8, 16, seed=1), latents(4, 8, 8, seed=2)]
    found = decode(model("sd1"), rows)
    assert [each.pixels.shape for each in found] == [(64, 64, 3), (64, 128, 3), (64, 64, 3)]
    assert np.array_equal(found[2].pixels, decode(model("sd1"), rows[2:])[0].pixels)
    assert decode(model("sd1"), []) == []


def overflowing(vae: Any) -> None:
    """It overflows in float16, where its first convolution ends; the GroupNorms after it make that harmless in float32."""
    with torch.no_grad():
        vae.decoder.conv_in.weight.copy_(vae.decoder.conv_in.weight.float() * (60_000 / float(vae.decoder.conv_in.weight.abs().max())))


# A1111 modules/sd_samplers_common.py: --no-half-vae; the published VAE of SDXL does this too
def test_a_vae_that_overflows_is_rescued_in_float32(model: Any) -> None:
    mine = own(model("sd1"), torch.float16)
    overflowing(mine.vae)
    before = copy.deepcopy(mine.vae.state_dict())
    rows = latents(3, 4, 8, 8)
    found = decode(mine, list(rows))
    assert [(each.finite, each.retried) for each in found] == [(True, True)] * 3
    assert abs(np.stack([each.pixels for each in found]) - theirs(copy.deepcopy(mine.vae).float(), rows)).max() <= 1e-5
    assert all(each.pixels.std() > 0 for each in found)
    assert mine.vae.dtype == torch.float16
    assert all(torch.equal(before[name], each) for name, each in mine.vae.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_latents_that_are_no_numbers_are_a_black_picture_and_no_neighbours_matter(dtype: torch.dtype, model: Any) -> None:
    rows = [latents(4, 8, 8), torch.full((4, 8, 8), float("nan")), latents(4, 8, 8, seed=1)]
    found = decode(own(model("sd1"), dtype), rows)
    assert [each.finite for each in found] == [True, False, True]
    assert [each.retried for each in found] == [False, dtype != torch.float32, False]
    assert not found[1].pixels.any()


def test_memory_that_runs_out_halves_what_is_decoded_at_once(model: Any) -> None:
    mine, answered = own(model("sd1")), []

    def before(module: Any, args: Any) -> None:
        if args[0].shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        answered.append(args[0].shape[0])

    mine.vae.decoder.register_forward_pre_hook(before)
    rows = latents(5, 4, 8, 8)
    found = decode(mine, list(rows))
    assert answered == [2, 2, 2]
    assert abs(np.stack([each.pixels for each in found]) - theirs(model("sd1").vae, rows)).max() <= 1e-5


@pytest.mark.parametrize(("said", "error"), [("CUDA out of memory.", DeviceFull), ("CUDA error: unspecified launch failure", DeviceFailed)])
def test_a_device_that_cannot_decode_is_an_error(said: str, error: type[Exception], model: Any) -> None:
    mine = own(model("sd1"))

    def before(module: Any, args: Any) -> None:
        raise RuntimeError(said)

    mine.vae.decoder.register_forward_pre_hook(before)
    with pytest.raises(error):
        decode(mine, [latents(4, 8, 8)])


def test_numbers_are_rounded_as_diffusers_rounds_them() -> None:
    pixels = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    assert np.array_equal(to_uint8(pixels), np.asarray(VaeImageProcessor.numpy_to_pil(pixels)[0]))
    assert to_uint8(np.float32([-0.1, 0, 1, 1.2])).tolist() == [0, 0, 255, 255]


def test_a_picture_is_kept_as_a_webp_that_looks_like_it() -> None:
    across = np.linspace(0, 1, 96, dtype=np.float32)
    pixels = np.stack([np.tile(across, (64, 1)), np.tile(across[::-1], (64, 1)), np.full((64, 96), 0.5, np.float32)], axis=-1)
    made = webp(pixels)
    assert webp(pixels.copy()) == made
    with Image.open(io.BytesIO(made)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (96, 64))
        assert abs(np.asarray(opened.convert("RGB"), np.float32) / 255 - pixels).mean() < 0.01
