"""Prompts through the text encoders, against diffusers where that is right."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from embconv.registry.validation.text import Ask, DoesNotFit, encode, level

from .conftest import vectors
from .diffused import changeable, learned, theirs

every_base = pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])


def z(model: Any, template: str, given: Any = None, **more: Any) -> torch.Tensor:
    return encode(model, [Ask(template, given)], **more)[0].embeds


@every_base
def test_sixteen_embeddings_at_once_are_what_diffusers_makes_one_by_one(base: str, pipeline: Any, model: Any) -> None:
    given = [vectors(base, 1 + seed % 5, seed=seed, scale=0.05) for seed in range(16)]
    asks = [Ask("a photo of {T}, best quality", each) for each in given]
    pipe = changeable(pipeline(base), base)
    for ours, each in zip(encode(model(base), asks), given, strict=True):
        embeds, pooled = learned(pipe, base, "<ti>", each, "a photo of <ti>, best quality")
        assert torch.equal(ours.embeds, embeds)
        if pooled is not None:
            assert ours.pooled is not None
            assert (ours.pooled - pooled).abs().max() <= 1e-6


@every_base
@pytest.mark.parametrize("prompt", ["", "a photo of cat", "zyx, (qq) [u]: 7;  ﬁ é\nnew"])
def test_a_prompt_without_an_embedding_is_what_diffusers_makes_of_it(base: str, prompt: str, pipeline: Any, model: Any) -> None:
    embeds, pooled = theirs(pipeline(base), base, prompt)
    ours = encode(model(base), [Ask(prompt.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[").replace("]", r"\]"))])[0]
    assert torch.equal(ours.embeds, embeds)
    assert pooled is None or (ours.pooled - pooled).abs().max() <= 1e-6


def test_a_name_in_capitals_keeps_all_its_vectors(pipeline: Any, model: Any) -> None:
    given = vectors("sd1", 2, seed=1, scale=0.5)
    ours = encode(model("sd1"), [Ask("a photo of {T}", given), Ask("a photo of {T}", {"clip_l": given["clip_l"][:1]})])
    pipe = changeable(pipeline("sd1"), "sd1")
    diffusers, _ = learned(pipe, "sd1", "MyStyle", given, "a photo of MyStyle")
    assert torch.equal(diffusers, ours[1].embeds)
    right, _ = learned(pipe, "sd1", "mystyle", given, "a photo of mystyle")
    assert torch.equal(right, ours[0].embeds)


def test_a_name_inside_other_words_is_no_embedding(pipeline: Any, model: Any) -> None:
    given = vectors("sd1", 2, seed=1, scale=0.5)
    ours = encode(model("sd1"), [Ask("a party artist {T}", given)])[0]
    assert len(ours.slots["clip_l"]) == 2
    pipe = changeable(pipeline("sd1"), "sd1")
    diffusers, _ = learned(pipe, "sd1", "art", given, "a party artist art")
    right, _ = learned(pipe, "sd1", "<ti>", given, "a party artist <ti>")
    assert torch.equal(ours.embeds, right)
    assert not torch.equal(ours.embeds, diffusers)


def test_scale_multiplies_the_vectors_themselves(model: Any) -> None:
    given = vectors("sd1", 2, seed=3)
    scaled = encode(model("sd1"), [Ask("a {T}", given, scale=0.25), Ask("a {T}", given)])
    assert torch.equal(scaled[0].embeds, z(model("sd1"), "a {T}", {"clip_l": given["clip_l"] * np.float32(0.25)}))
    assert not torch.equal(scaled[0].embeds, scaled[1].embeds)


def test_the_first_chunk_is_pooled(model: Any) -> None:
    given = vectors("sdxl", 2, seed=3)
    long, first = encode(model("sdxl"), [Ask("cat " * 75 + "{T}", given), Ask("cat " * 75)])
    assert long.embeds.shape == (154, 2048)
    assert first.pooled is not None
    assert (long.pooled - first.pooled).abs().max() <= 1e-6


@every_base
def test_shorter_prompts_are_levelled_with_empty_ones(base: str, model: Any) -> None:
    long, short, negative = encode(model(base), [Ask("cat " * 160), Ask("cat"), Ask("")])
    levelled = level(model(base), [long, short, negative])
    assert [len(each.embeds) for each in levelled] == [231] * 3
    assert torch.equal(levelled[1].embeds, encode(model(base), [Ask("cat")], chunks=3)[0].embeds)
    assert torch.equal(levelled[2].embeds, negative.embeds.repeat(3, 1))
    assert levelled[1].pooled is short.pooled
    assert level(model(base), [short, negative]) == [short, negative]


def test_levelling_skips_what_the_prompt_skipped(model: Any) -> None:
    short = encode(model("sd1"), [Ask("cat"), Ask("cat " * 80)], clip_skip=1)
    assert torch.equal(level(model("sd1"), short, clip_skip=1)[0].embeds, encode(model("sd1"), [Ask("cat")], clip_skip=1, chunks=2)[0].embeds)


def test_an_embedding_may_stand_alone_and_more_than_once(model: Any) -> None:
    given = vectors("sdxl", 3, seed=3)
    found = encode(model("sdxl"), [Ask("{T}", given), Ask("{T}, cat, {T}", given)])
    assert found[0].slots == {"clip_l": (1, 2, 3), "clip_g": (1, 2, 3)}
    assert found[1].slots["clip_g"] == (1, 2, 3, 7, 8, 9)


def test_an_encoder_without_vectors_hears_the_rest(model: Any) -> None:
    given = vectors("sdxl", 2, seed=3)
    for key, span in (("clip_l", slice(0, 768)), ("clip_g", slice(768, 2048))):
        found = encode(model("sdxl"), [Ask("a photo of {T}, cat", {name: each for name, each in given.items() if name != key})])[0]
        assert found.slots[key] == ()
        assert torch.equal(found.embeds[:, span], z(model("sdxl"), "a photo of , cat")[:, span])


def test_what_an_embedding_is_compared_with_lacks_only_the_embedding(model: Any) -> None:
    assert torch.equal(z(model("sd1"), "a photo of ({T}:1.2), cat"), z(model("sd1"), "a photo of, cat"))
    assert torch.equal(encode(model("sd1"), [Ask("{T}", weight=1.5)])[0].embeds, z(model("sd1"), ""))


@pytest.mark.parametrize("shape", [(76, 768), (2, 1024), (768,)])
def test_vectors_that_do_not_fit_are_refused(shape: tuple[int, ...], model: Any) -> None:
    with pytest.raises(DoesNotFit, match="clip_l"):
        encode(model("sd1"), [Ask("{T}", {"clip_l": np.zeros(shape, np.float32)})])


def test_nothing_asked_is_nothing_answered(model: Any) -> None:
    assert encode(model("sd1"), []) == []
    assert level(model("sd1"), []) == []


def test_numbers_that_may_not_be_written_to_are_taken_without_a_warning(model: Any) -> None:
    given = vectors("sd1", 2)
    given["clip_l"].flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(model("sd1"), [Ask("{T}", given)])
