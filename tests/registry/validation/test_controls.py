from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from embconv.registry.validation import controls as module
from embconv.registry.validation.controls import Prompt, Wanted, controls_of, counts_of, leaning_to, placed, prompts_of
from embconv.registry.validation.measure import Shot
from embconv.registry.verdicts import protocol_for

from .conftest import vectors

TOLD = protocol_for("sd1", 64)


def test_the_embedding_stands_on_one_side() -> None:
    assert prompts_of(TOLD, "positive", 7, 1.2) == (Prompt("a photo of {T}", 7, 1.2), Prompt(""))
    assert prompts_of(TOLD, "negative", 7) == (Prompt("a photo of a woman"), Prompt("{T}", 7))


def test_the_same_words_are_the_same_prompt() -> None:
    assert placed("a photo of {T}") == placed("a photo of") == prompts_of(TOLD, "positive", None)[0]
    assert leaning_to(TOLD, "bad")[0].template.startswith("a photo of worst quality")


def test_what_holds_no_embedding_is_shared() -> None:
    counts = counts_of(vectors("sd1", 3))
    assert counts == (("clip_l", 3),)
    shared = [Wanted(*prompts_of(TOLD, side, held), "euler", 1).shared for side in ("positive", "negative") for held in (None, counts, 0)]
    assert shared == [True, True, False] * 2


def test_a_prompt_without_an_embedding_is_read_once(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = controls_of(replace(model("sd1")), TOLD)
    prompts = [Prompt("a cat"), Prompt("a {T}", (("clip_l", 2),)), Prompt("a {T}", 5)]
    first = kept.read(prompts, {5: vectors("sd1", 2)})
    monkeypatch.setattr(module, "encode", lambda model, asks, **_: [pytest.fail("it was read before") for _ in asks])
    assert kept.read(prompts[:2], {}) == {prompt: first[prompt] for prompt in prompts[:2]}
    assert not torch.equal(first[prompts[1]].embeds, first[prompts[2]].embeds)


def test_the_pictures_that_are_kept_have_a_limit(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = controls_of(replace(model("sd1")), TOLD)
    one = Shot(np.zeros((4, 8, 8), np.float32), np.zeros((64, 64, 3), np.float32))
    monkeypatch.setattr(module, "KEPT_BYTES", 3 * one.pixels.nbytes)
    wanted = [Wanted(Prompt(""), Prompt(""), "euler", seed) for seed in range(4)]
    for want in wanted[:3]:
        kept.keep(want, one)
    assert kept.shot(wanted[0]) is one  # it was asked for last
    kept.keep(wanted[3], one)
    assert [kept.shot(want) is None for want in wanted] == [False, True, False, False]


def test_controls_are_those_of_a_model_and_a_measure(model: Callable[[str], Any]) -> None:
    one = model("sd1")
    assert controls_of(one, TOLD) is controls_of(one, protocol_for("sd1", 64, sheets=("strength",)))
    assert controls_of(one, TOLD) is not controls_of(one, protocol_for("sd1", 64, steps=7))
    assert controls_of(one, TOLD) is not controls_of(replace(one), TOLD)
