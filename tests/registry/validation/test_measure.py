from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from embconv.registry.validation.measure import (
    Shot,
    alike,
    compare,
    cosine,
    difference,
    distance,
    entropy,
    leaning,
    looks,
    of_encoder,
    percentiles,
    rounded,
)
from embconv.registry.validation.parts import Conditioning

DICE = np.random.default_rng(0)


def picture(value: float | tuple[float, float, float] = 0.5, size: int = 8) -> Any:
    return np.full((size, size, 3), value, np.float32)


def noise(seed: int, size: int = 8) -> Any:
    return np.random.default_rng(seed).random((size, size, 3), np.float32)


def shot(seed: int, **changes: Any) -> Shot:
    latents = np.random.default_rng(seed).standard_normal((4, 4, 4)).astype(np.float32)
    return Shot(**{"latents": latents, "pixels": noise(seed), **changes})


def test_the_difference_of_pictures_is_the_mean_of_their_pixels() -> None:
    half = picture(0.0)
    half[:4] = 1.0
    assert difference(half, picture(0.0)) == pytest.approx(0.5)
    assert difference(half, half) == 0.0


def test_the_distance_of_latents_is_a_share_of_the_control() -> None:
    control = np.array([3.0, 4.0], np.float32)
    assert distance(control * 1.1, control) == pytest.approx(0.1, rel=1e-5)
    assert distance(np.zeros(2, np.float32), np.zeros(2, np.float32)) == 0.0
    assert distance(control, np.zeros(2, np.float32)) == 1.0


@pytest.mark.parametrize(("a", "b", "expected"), [([1, 0], [2, 0], 1.0), ([1, 0], [0, 3], 0.0), ([1, 1], [-2, -2], -1.0), ([0, 0], [1, 0], 0.0)])
def test_cosines_are_those_of_school(a: list[float], b: list[float], expected: float) -> None:
    assert cosine(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected)


def test_one_colour_is_seen_as_such() -> None:
    flat = looks(picture((0.2, 0.4, 0.6)))
    assert (flat.one_colour, flat.entropy) == (1.0, 0.0)
    assert flat.chroma == pytest.approx(0.4)
    speckled = picture(0.5, 20)
    speckled[0, 0] = 1.0
    assert looks(speckled).one_colour == pytest.approx(399 / 400)
    assert looks(noise(1)).one_colour < 0.2


def test_ends_of_the_scale_count_as_clipped() -> None:
    pixels = picture(0.5)
    pixels[0], pixels[1] = 0.0, 1.0
    assert looks(pixels).clipped == pytest.approx(2 / 8)


def test_entropy_counts_bits() -> None:
    assert entropy(np.repeat([0.0, 0.25, 0.5, 0.75], 4).astype(np.float32)) == pytest.approx(2.0)
    assert entropy(np.zeros(16, np.float32)) == 0.0


def test_the_greatest_change_of_the_seeds_counts_and_the_least_flaw() -> None:
    control = {1: Shot(np.ones((4, 2, 2), np.float32), picture(0.5)), 2: Shot(np.ones((4, 2, 2), np.float32), picture(0.5))}
    test = {1: Shot(np.ones((4, 2, 2), np.float32) * 1.1, picture(0.6)), 2: Shot(np.ones((4, 2, 2), np.float32) * 1.3, noise(3))}
    found = compare(test, control, control)
    assert found["latents"] == pytest.approx(0.3, rel=1e-5)
    assert found["pixels"] == pytest.approx(difference(noise(3), picture(0.5)))
    assert found["one_colour"] == looks(noise(3)).one_colour < looks(picture(0.6)).one_colour
    assert found["contrast"] == looks(noise(3)).contrast
    assert found["one_colour_baseline"] == 1.0
    assert (found["finite"], found["retried"]) == (True, 0)


def test_pictures_are_compared_with_both_controls() -> None:
    found = compare({1: shot(1)}, {1: shot(1)}, {1: shot(2)})
    assert (found["pixels"], found["latents"]) == (0.0, 0.0)
    assert found["pixels_baseline"] > 0.1 < found["latents_baseline"]


def test_what_is_not_finite_is_not_compared() -> None:
    assert compare({1: shot(1, finite=False), 2: shot(2, retried=True)}, {}, {}) == {"finite": False, "retried": 1}


def test_seeds_that_give_one_picture_are_alike() -> None:
    assert alike({1: shot(1), 2: shot(1)}) == pytest.approx(1.0)
    assert abs(alike({1: shot(1), 2: shot(2)}) or 1.0) < 0.5
    assert alike({1: shot(1)}) is None


def test_a_picture_leans_to_where_its_change_goes() -> None:
    baseline, bad, good = ({1: shot(seed)} for seed in (1, 2, 3))
    towards = {1: Shot(baseline[1].latents * 0.5 + bad[1].latents * 0.5, noise(4))}
    assert leaning(towards, baseline, bad, good) > 0.3
    assert leaning(towards, baseline, good, bad) == -leaning(towards, baseline, bad, good)
    assert leaning({1: shot(9, finite=False)}, baseline, bad, good) == 0.0


def test_each_encoder_has_its_own_change() -> None:
    import torch

    null = torch.ones(77, 5)
    test = null.clone()
    test[3, :2] = 2.0
    slots = {"clip_l": (3,), "clip_g": (3,)}
    found = of_encoder(Conditioning(test, slots=slots), Conditioning(null, slots=slots), {"clip_l": 2, "clip_g": 3})
    assert found["encoder"] == pytest.approx(math.sqrt(2 / (77 * 5)))
    assert found["encoder_parts"] == {"clip_l": pytest.approx(math.sqrt(2 / (77 * 2))), "clip_g": 0.0}
    assert found["reach"] == pytest.approx(math.sqrt((4 + 4 + 3) / 5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_encoder_that_breaks_is_infinitely_far(bad: float) -> None:
    import torch

    fine, broken = torch.ones(77, 4), torch.ones(77, 4)
    broken[5, 0] = bad
    assert of_encoder(Conditioning(broken), Conditioning(fine), {"clip_l": 4}) == {"encoder": math.inf}
    pooled = Conditioning(fine, pooled=torch.tensor([bad]))
    assert of_encoder(pooled, Conditioning(fine), {"clip_l": 4}) == {"encoder": math.inf}


def test_percentiles_are_those_of_numpy() -> None:
    values = DICE.random(500)
    found = percentiles(values)
    assert found["p5"] == pytest.approx(np.percentile(values, 5), rel=1e-4)
    assert found["p50"] == pytest.approx(np.median(values), rel=1e-4)
    assert (found["p0"], found["p100"]) == (pytest.approx(values.min(), rel=1e-4), pytest.approx(values.max(), rel=1e-4))


def test_numbers_are_rounded_wherever_they_stand_and_json_can_hold_them() -> None:
    given = {"a": 0.123456789, "b": [(np.float32(1 / 3), "word")], 3: float("nan"), "d": True, "e": 7, "f": {"g": float("inf")}}
    expected = {"a": 0.12346, "b": [[0.33333, "word"]], "3": None, "d": True, "e": 7, "f": {"g": None}}
    assert rounded(given) == expected
    assert json.loads(json.dumps(rounded(given), allow_nan=False)) == expected
