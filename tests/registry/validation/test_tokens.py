"""Prompts as rows of 77 tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from embconv.registry.validation.text import Ask, encode

from .conftest import vectors


def z(model: Any, template: str, given: Any = None, **more: Any) -> torch.Tensor:
    return encode(model, [Ask(template, given)], **more)[0].embeds


def test_seventy_five_tokens_fit_and_one_more_begins_a_chunk(model: Any) -> None:
    full, over = z(model("sd1"), "cat " * 75), z(model("sd1"), "cat " * 76)
    assert full.shape == (77, 768)
    assert torch.equal(over[:77], full)
    assert torch.equal(over[77:], z(model("sd1"), "cat"))


def test_an_embedding_is_never_split(model: Any) -> None:
    given = vectors("sd1", 5, seed=3)
    found = encode(model("sd1"), [Ask("cat " * 72 + "{T} dog", given)])[0]
    assert found.slots["clip_l"] == tuple(range(78, 83))
    assert torch.equal(found.embeds[:77], z(model("sd1"), "cat " * 72))
    assert (found.embeds[77:] - z(model("sd1"), "{T} dog", given)).abs().max() <= 1e-6
    assert encode(model("sd1"), [Ask("cat " * 70 + "{T}", given)])[0].slots["clip_l"] == tuple(range(71, 76))


def test_break_begins_a_chunk_in_a1111_alone(model: Any) -> None:
    found = z(model("sd1"), "cat BREAK dog")
    assert torch.equal(found, torch.cat([z(model("sd1"), "cat"), z(model("sd1"), "dog")]))
    assert z(model("sd1"), "cat BREAK dog", emphasis="comfyui").shape == (77, 768)


@pytest.mark.parametrize(("base", "key", "pad"), [("sd1", "clip_l", "<|endoftext|>"), ("sd2", "clip_h", "!"), ("sdxl", "clip_g", "!")])
def test_each_encoder_is_padded_as_its_tokenizer_says(base: str, key: str, pad: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    encoder = next(each for each in model(base).encoders if each.key == key)
    monkeypatch.setattr(encoder.module, "forward", lambda input_ids, **more: (seen.append(input_ids), type(encoder.module).forward(encoder.module, input_ids, **more))[1])
    encode(model(base), [Ask("cat")])
    words = encoder.tokenizer
    padding = words.convert_tokens_to_ids(pad)
    assert seen[0][0].tolist() == [words.bos_token_id, *words("cat", add_special_tokens=False).input_ids, words.eos_token_id, *[padding] * 74]


def test_as_many_vectors_as_a_chunk_holds_fit(model: Any) -> None:
    found = encode(model("sd1"), [Ask("a {T}", vectors("sd1", 75))])[0]
    assert found.slots["clip_l"] == tuple(range(78, 153))
