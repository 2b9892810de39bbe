"""Emphasis against plain formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from embconv.registry.validation.text import Ask, encode

from .conftest import vectors

every_base = pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])
SPANS = {"sd1": (768,), "sd2": (1024,), "sdxl": (768, 1280)}
PROMPT = ("a photo of ({T}:1.3), [cat] and ({T} dog:0.5)", "a photo of {T}, cat and {T} dog")


def z(model: Any, template: str, given: Any = None, **more: Any) -> torch.Tensor:
    return encode(model, [Ask(template, given)], **more)[0].embeds


def heavy(model: Any) -> torch.Tensor:
    """The weight of each token of PROMPT in A1111's grammar, counted by hand."""
    length = len(model.encoders[0].tokenizer("and", add_special_tokens=False).input_ids)
    weights = torch.ones(77, 1)
    place = 4  # first, a, photo, of
    for count, weight in ((2, 1.3), (1, 1.0), (1, 1 / 1.1), (length, 1.0), (2, 0.5), (1, 0.5)):
        weights[place : place + count] = weight
        place += count
    return weights


@every_base
def test_a1111_brings_every_encoder_back_to_its_mean(base: str, model: Any) -> None:
    given = vectors(base, 2, seed=3)
    before, weights = z(model(base), PROMPT[1], given), heavy(model(base))
    expected = []
    for part in before.split(SPANS[base], dim=1):
        louder = part.double() * weights
        expected.append(louder * (part.double().mean() / louder.mean()))
    found = z(model(base), PROMPT[0], given, emphasis="a1111")
    assert (found - torch.cat(expected, dim=1)).abs().max() <= 1e-5
    assert not torch.equal(found[0], before[0])  # also where there is no emphasis


@every_base
def test_no_norm_multiplies_only(base: str, model: Any) -> None:
    given = vectors(base, 2, seed=3)
    before, weights = z(model(base), PROMPT[1], given), heavy(model(base))
    assert torch.equal(z(model(base), PROMPT[0], given, emphasis="no_norm"), before * weights)


@every_base
def test_comfyui_goes_away_from_the_empty_prompt(base: str, model: Any) -> None:
    given = vectors(base, 2, seed=3)
    before, nothing = z(model(base), "a {T} cat", given), z(model(base), "")
    found = z(model(base), "(a ({T}:0.7):1.5) cat", given, emphasis="comfyui")
    expected = before.clone()
    for rows, weight in ((slice(1, 2), 1.5), (slice(2, 4), 0.7)):
        expected[rows] = nothing[rows] + weight * (before[rows] - nothing[rows])
    assert (found - expected).abs().max() <= 1e-6
    assert torch.equal(found[4:], before[4:])


@every_base
@pytest.mark.parametrize("emphasis", ["a1111", "no_norm", "comfyui"])
def test_a_weight_of_one_changes_no_bit(base: str, emphasis: str, model: Any) -> None:
    given = vectors(base, 2, seed=3)
    asks = [Ask("a photo of ({T}:1.0), cat", given), Ask("a photo of {T}, cat", given, weight=1.0)]
    for found in encode(model(base), asks, emphasis=emphasis):
        assert torch.equal(found.embeds, z(model(base), "a photo of {T}, cat", given))


def test_the_weight_of_an_ask_is_emphasis_of_the_embedding(model: Any) -> None:
    given = vectors("sd1", 2, seed=3)
    for emphasis in ("a1111", "no_norm", "comfyui"):
        asks = [Ask("a photo of {T}", given, weight=1.2), Ask("a photo of ({T}:1.2)", given)]
        weighted, typed = encode(model("sd1"), asks, emphasis=emphasis)
        assert torch.equal(weighted.embeds, typed.embeds)


def test_each_prompt_has_a_mean_of_its_own(model: Any) -> None:
    asks = [Ask("a photo of ({T}:1.5)", vectors("sd1", 2, seed=seed)) for seed in range(4)]
    for alone, together in zip(asks, encode(model("sd1"), asks), strict=True):
        assert (encode(model("sd1"), [alone])[0].embeds - together.embeds).abs().max() <= 1e-6


@pytest.mark.parametrize("emphasis", ["a1111", "no_norm", "comfyui"])
def test_pooled_is_not_emphasised(emphasis: str, model: Any) -> None:
    given = vectors("sdxl", 2, seed=3)
    plain, loud = (encode(model("sdxl"), [Ask(template, given)], emphasis=emphasis)[0] for template in ("a {T}", "(a {T}:1.5)"))
    assert plain.pooled is not None
    assert torch.equal(plain.pooled, loud.pooled)
    assert not torch.equal(plain.embeds, loud.embeds)


def test_each_chunk_has_a_mean_of_its_own(model: Any) -> None:
    found = z(model("sd1"), "(cat:1.5) " + "cat " * 75)
    assert (found[:77] - z(model("sd1"), "(cat:1.5) " + "cat " * 74)).abs().max() <= 1e-6
    assert torch.equal(found[77:], z(model("sd1"), "cat"))
