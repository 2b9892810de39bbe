from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from embconv.registry.render_errors import DeviceFull, UnsoundCheckpoint
from embconv.registry.validation import calibrate as module
from embconv.registry.validation.calibrate import calibrate, ordinary, quick, vectors_of
from embconv.registry.validation.controls import controls_of
from embconv.registry.validation.text import Ask, encode
from embconv.registry.validation.trials import Bench
from embconv.registry.verdicts import Calibration, Protocol, measure, protocol_for

FEW = 12


def protocol(base: str = "sd1", **changes: Any) -> Protocol:
    return protocol_for(base, 64, **{"steps": 3, **changes})


@pytest.fixture(scope="module")
def made(model: Callable[[str], Any]) -> tuple[Calibration, list[tuple[int, int]]]:
    heard: list[tuple[int, int]] = []
    return calibrate(model("sd1"), protocol(), words=FEW, heard=lambda drawn, asked: heard.append((drawn, asked))), heard


def test_every_number_has_its_percentiles_on_both_sides(made: tuple[Calibration, Any]) -> None:
    numbers = [f"{side}.{number}" for side in ("positive", "negative") for number in ("encoder", "reach", "probe", "latents", "pixels")]
    assert set(made[0].percentiles) == {*numbers, "positive.leaning"}
    for found in made[0].percentiles.values():
        assert [*found] == ["p0", "p1", "p5", "p50", "p95", "p99", "p100"]
        assert sorted(found.values()) == [*found.values()]
    assert all(made[0].percentiles[name]["p0"] > 0 for name in numbers)


def test_it_says_for_what_it_holds(made: tuple[Calibration, Any]) -> None:
    told = (made[0].fingerprint, made[0].protocol, made[0].words)
    assert told == ("0" * 64, measure(protocol()), FEW)
    assert made[0].protocol == measure(protocol(sheets=("strength",), name="other"))
    assert msgspec.json.decode(msgspec.json.encode(made[0]), type=Calibration) == made[0]


def test_nothing_in_other_rows_and_batches_makes_no_noise_on_a_cpu(made: tuple[Calibration, Any]) -> None:
    assert set(made[0].noise) == {f"{side}.{number}" for side in ("positive", "negative") for number in ("encoder", "probe", "latents", "pixels")}
    assert set(made[0].noise.values()) == {0.0}


def test_it_tells_how_far_the_pictures_are(made: tuple[Calibration, Any]) -> None:
    assert made[1][0][0] == 0
    assert made[1][-1][0] == made[1][-1][1] > 0
    assert made[1] == sorted(made[1])


def test_the_same_words_measure_the_same(made: tuple[Calibration, Any], pipeline: Callable[[str], Any], model: Callable[[str], Any]) -> None:
    again = calibrate(replace(model("sd1")), protocol(), words=FEW)
    assert replace_made(again) == replace_made(made[0])


def replace_made(calibration: Calibration) -> Calibration:
    return msgspec.structs.replace(calibration, made="")


@pytest.mark.parametrize("base", ["sd1", "sdxl"])
def test_a_word_of_the_vocabulary_is_as_if_it_were_typed(base: str, model: Callable[[str], Any]) -> None:
    typed, injected = encode(model(base), [Ask("a photo of cat"), Ask("a photo of {T}", vectors_of(model(base), "cat</w>"))])
    assert torch.equal(typed.embeds, injected.embeds)


def test_words_are_whole_words_and_always_the_same(model: Callable[[str], Any]) -> None:
    words = ordinary(model("sdxl"), 1000)
    assert "landscape</w>" in words
    assert all(word.endswith("</w>") and word[:-4].isalpha() and len(word) > 6 for word in words)
    assert ordinary(model("sdxl"), 5) == words[:5]


def test_nothing_is_the_mean_of_the_vocabulary(model: Callable[[str], Any]) -> None:
    nothing = controls_of(model("sd1"), protocol()).nothing((("clip_l", 3),))
    table = model("sd1").encoders[0].module.state_dict()
    weight = next(value for name, value in table.items() if name.endswith("token_embedding.weight"))
    assert nothing["clip_l"].shape == (3, 768)
    assert np.allclose(nothing["clip_l"], weight.mean(0).numpy(), atol=1e-7)


def test_where_nobody_calibrated_a_few_words_are_measured_once(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(replace(model("sd1")), protocol())
    first = quick(bench, ("positive",))
    assert first.words == module.QUICK
    assert {name.partition(".")[0] for name in first.percentiles} == {"positive"}
    both = quick(bench, ("positive", "negative"))
    monkeypatch.setattr(module, "measured", None)
    assert quick(bench, ("positive",)) == first
    assert quick(bench, ("positive", "negative")) == both
    assert first.percentiles.items() < both.percentiles.items()


def test_a_profile_that_draws_nothing_is_calibrated_without_pictures(model: Callable[[str], Any]) -> None:
    found = calibrate(model("sd1"), protocol(name="probe"), words=FEW)
    assert {name.partition(".")[2] for name in found.percentiles} == {"encoder", "reach", "probe"}


def test_a_checkpoint_that_draws_nothing_is_not_calibrated(model: Callable[[str], Any]) -> None:
    vae = deepcopy(model("sd1").vae)
    torch.nn.init.constant_(vae.decoder.conv_out.weight, float("nan"))
    with pytest.raises(UnsoundCheckpoint, match="not finite"):
        calibrate(replace(model("sd1"), vae=vae), protocol(), words=4)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The device has no room for the words of more than so many trials."""
    real = module.read

    def read(bench: Any, trials: Any) -> None:
        if len(trials) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        real(bench, trials)

    monkeypatch.setattr(module, "read", read)


def test_memory_that_runs_out_halves_the_words_that_are_measured_together(
    made: tuple[Calibration, Any], model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 4)
    assert replace_made(calibrate(replace(model("sd1")), protocol(), words=FEW)) == replace_made(made[0])


def test_memory_for_no_word_is_an_error_with_the_size(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0)
    with pytest.raises(DeviceFull, match="64 x 64"):
        calibrate(replace(model("sd1")), protocol(), words=FEW)
