"""A checkpoint is tried before it judges: what draws nothing, the same twice, or by another rule than it says is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from embconv.registry.render_errors import DeviceFull, UnsoundCheckpoint
from embconv.registry.validation import selftest as module
from embconv.registry.validation.selftest import NUMBERS, must_be_sound, selftest

from .conftest import WIDTHS


class Trained(torch.nn.Module):
    """A UNet that takes noise away, by smoothing, as far as one can without having learned anything; it says what was asked for."""

    dtype = torch.float32

    def __init__(self, like: Any, model: Any, says: str) -> None:
        super().__init__()
        self.config, self._says = like.config, says
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self._shares = torch.cumprod(1 - betas, 0)

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, *_: Any, **__: Any) -> Any:
        share = self._shares[timestep.long()].view(-1, 1, 1, 1)
        smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sample, (2, 2, 2, 2), mode="reflect"), 5, 1)
        picture = smooth / share.sqrt()
        noise = (sample - smooth) / (1 - share).sqrt()
        said = noise if self._says == "base" else share.sqrt() * noise - (1 - share).sqrt() * picture
        return (said,)


def changed(model: Any, **parts: Any) -> Any:
    return dataclasses.replace(model, **parts)


@pytest.mark.parametrize("base", WIDTHS)
def test_a_checkpoint_that_draws_is_sound_and_shows_what_it_draws(base: str, model: Callable[[str], Any]) -> None:
    report = selftest(model(base))
    assert (report.sound, report.because) == (True, "")
    assert report.numbers.keys() == NUMBERS.keys()
    assert [picture.cell.seed for picture in report.pictures] == [1, 2]
    import io

    pictures = [np.asarray(Image.open(io.BytesIO(picture.webp)).convert("RGB"), float) for picture in report.pictures]
    assert pictures[0].shape == (64, 64, 3)
    assert np.abs(pictures[0] - pictures[1]).mean() / 255 == pytest.approx(report.numbers["seeds_differ"], abs=0.02)


@pytest.mark.parametrize("says", ["base", "v"])
@pytest.mark.parametrize("told", ["base", "v"])
def test_a_unet_that_predicts_something_else_than_it_was_added_for_is_found_out(says: str, told: str, model: Callable[[str], Any]) -> None:
    whole = model("sd1")
    checkpoint = replace(whole.checkpoint, variant=told, size=512)
    predicts = {"base": "epsilon", "v": "v_prediction"}[told]
    trained = changed(whole, unet=Trained(whole.unet, whole, says), checkpoint=checkpoint, scheduler=whole.scheduler | {"prediction_type": predicts})
    report = selftest(trained)
    assert report.numbers[f"predicts_{says}"] > 0.8, report.numbers
    assert ("its UNet predicts" in report.because) is (says != told), report


class Blind(torch.nn.Module):
    """A VAE that shows grey, whatever it is given, or what is no number."""

    dtype = torch.float32

    def __init__(self, like: Any, value: float) -> None:
        super().__init__()
        self.config, self._value = like.config, value

    def decode(self, latents: torch.Tensor, **_: Any) -> Any:
        return (torch.full((len(latents), 3, latents.shape[2] * 8, latents.shape[3] * 8), self._value),)


@pytest.mark.parametrize(("value", "says"), [(0.0, "its pictures are flat"), (float("nan"), "its pictures are not finite, in float32 either")])
def test_a_vae_that_shows_nothing_is_found_out(value: float, says: str, model: Callable[[str], Any]) -> None:
    whole = model("sd1")
    report = selftest(changed(whole, vae=Blind(whole.vae, value)))
    assert (report.sound, report.because) == (False, says)


class Same(torch.nn.Module):
    """A VAE that shows one picture."""

    dtype = torch.float32

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.config = like.config
        self._picture = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)

    def decode(self, latents: torch.Tensor, **_: Any) -> Any:
        return (self._picture.repeat(len(latents), 1, 1, 1),)


def test_two_seeds_with_one_picture_are_found_out(model: Callable[[str], Any]) -> None:
    whole = model("sd1")
    assert "two seeds make the same picture" in selftest(changed(whole, vae=Same(whole.vae))).because


def test_a_text_encoder_that_says_nan_is_found_out(model: Callable[[str], Any]) -> None:
    import copy

    whole = model("sd1")
    first = whole.encoders[0]
    module = copy.deepcopy(first.module)
    dict(module.named_parameters())[next(name for name, _ in module.named_parameters() if name.endswith("final_layer_norm.bias"))].data.fill_(torch.nan)
    report = selftest(changed(whole, encoders=(dataclasses.replace(first, module=module),)))
    assert (report.sound, report.because) == (False, "its text encoder says NaN or infinity")


def test_what_is_not_sound_judges_nothing(model: Callable[[str], Any]) -> None:
    whole = model("sd1")
    must_be_sound(whole)
    with pytest.raises(UnsoundCheckpoint, match="its pictures are flat"):
        must_be_sound(changed(whole, vae=Blind(whole.vae, 0.0)))


def test_what_it_heard_is_told(model: Callable[[str], Any]) -> None:
    heard: list[tuple[int, int]] = []
    selftest(model("sd1"), heard=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 2), (2, 2)]


@pytest.mark.parametrize("part", ["encode", "forward", "denoise"])
def test_memory_that_does_not_hold_the_test_is_told_with_the_size(part: str, model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(module, part, full)
    with pytest.raises(DeviceFull, match="64 x 64"):
        selftest(model("sd1"))
