"""Rows through one text encoder: layers, the end of a prompt, neighbours, memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from embconv.registry.validation import encoders
from embconv.registry.validation.text import Ask, encode, most_skipped

from .conftest import vectors
from .diffused import changeable, learned, theirs

every_base = pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])


def test_clip_skip_of_sdxl_is_that_of_diffusers(pipeline: Any, model: Any) -> None:
    embeds, pooled = theirs(pipeline("sdxl"), "sdxl", "a photo of cat", clip_skip=1)
    ours = encode(model("sdxl"), [Ask("a photo of cat")], clip_skip=1)[0]
    assert torch.equal(ours.embeds, embeds)
    assert ours.pooled is not None
    assert (ours.pooled - pooled).abs().max() <= 1e-6


@pytest.mark.parametrize("base", ["sd1", "sd2"])
def test_clip_skip_is_an_earlier_layer_with_the_last_norm(base: str, pipeline: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # diffusers 0.42 asks for text_model, which transformers 5.6 took out of CLIPTextModel
    module = pipeline(base).text_encoder
    if not hasattr(module, "text_model"):
        monkeypatch.setattr(type(module), "text_model", property(lambda self: self), raising=False)
    embeds, _ = theirs(pipeline(base), base, "a photo of cat", clip_skip=1)
    ours = encode(model(base), [Ask("a photo of cat")], clip_skip=1)[0]
    assert torch.equal(ours.embeds, embeds)
    assert not torch.equal(ours.embeds, encode(model(base), [Ask("a photo of cat")])[0].embeds)


@pytest.mark.parametrize(("base", "most"), [("sd1", 2), ("sd2", 2), ("sdxl", 1)])
def test_layers_that_are_not_there_cannot_be_skipped(base: str, most: int, model: Any) -> None:
    assert most_skipped(model(base)) == most
    encode(model(base), [Ask("a")], clip_skip=most)
    for skip in (-1, most + 1):
        with pytest.raises(ValueError, match=f"0 to {most}"):
            encode(model(base), [Ask("a")], clip_skip=skip)


def by_hand(module: Any, ids: torch.Tensor, given: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """The pooled vector at token `end` with vectors at `first`, from the layers alone."""
    text, length = module.text_model, ids.shape[1]
    words = text.embeddings.token_embedding.weight[ids[0]].clone()
    words[first : first + len(given)] = given
    hidden = (words + text.embeddings.position_embedding.weight[:length]).unsqueeze(0)
    mask = torch.full((length, length), float("-inf")).triu(1)
    for layer in text.encoder.layers:
        normal, attention = layer.layer_norm1(hidden), layer.self_attn
        queries, keys, values = (part(normal).view(1, length, attention.num_heads, -1).transpose(1, 2)
                                 for part in (attention.q_proj, attention.k_proj, attention.v_proj))  # fmt: skip
        scores = queries @ keys.transpose(2, 3) * attention.head_dim**-0.5 + mask
        hidden = hidden + attention.out_proj((scores.softmax(-1) @ values).transpose(1, 2).reshape(1, length, -1))
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return module.text_projection(text.final_layer_norm(hidden)[0, end])


def test_pooled_is_taken_at_the_end_where_diffusers_takes_it_at_the_embedding(pipeline: Any, model: Any) -> None:
    # diffusers#10754: with eos_token_id 2, which the published configurations carry, the highest id is taken for the end
    given = vectors("sdxl", 3, seed=4, scale=0.5)
    pipe = changeable(pipeline("sdxl"), "sdxl")
    pipe.text_encoder_2.config.eos_token_id = pipe.text_encoder_2.text_model.eos_token_id = 2
    wrong = copy.copy(model("sdxl"))
    object.__setattr__(wrong, "encoders", (wrong.encoders[0], encoders.TextEncoder("clip_g", pipe.tokenizer_2, pipe.text_encoder_2)))
    ours = encode(wrong, [Ask("a photo of {T}, best", given)])[0].pooled
    assert ours is not None

    words = pipe.tokenizer_2
    ids = [words.bos_token_id, *words("a photo of", add_special_tokens=False).input_ids, 0, 0, 0,
           *words(", best", add_special_tokens=False).input_ids, words.eos_token_id]  # fmt: skip
    with torch.no_grad():
        right = by_hand(pipe.text_encoder_2, torch.tensor([ids + [0] * (77 - len(ids))]), torch.tensor(given["clip_g"]), 4, len(ids) - 1)
    assert (ours - right).abs().max() <= 1e-5
    _, diffusers = learned(pipe, "sdxl", "<ti>", given, "a photo of <ti>, best")
    assert diffusers is not None
    assert (ours - diffusers).abs().max() > 0.1


@every_base
def test_a_row_depends_on_none_of_its_neighbours(base: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [Ask("a photo of ({T}:1.2)", vectors(base, 1 + seed % 5, seed=seed)) for seed in range(12)]
    asks[7] = Ask("{T}", {key: np.full_like(each, np.nan) for key, each in vectors(base, 2).items()})
    monkeypatch.setattr(encoders, "ROWS", 8)
    together, backwards = encode(model(base), asks), encode(model(base), asks[::-1])[::-1]
    assert [bool(each.embeds.isnan().any()) for each in together] == [place == 7 for place in range(12)]
    for place in (0, 6, 8, 11):
        assert torch.equal(backwards[place].embeds, together[place].embeds)
        assert (encode(model(base), [asks[place]])[0].embeds - together[place].embeds).abs().max() <= 1e-6


def test_rows_of_a_fixed_batch_are_the_same_to_the_bit(model: Any) -> None:
    asks = [Ask("a photo of {T}", vectors("sd1", 1 + seed % 5, seed=seed)) for seed in range(8)]
    together = encode(model("sd1"), asks)
    others = [Ask("cat {T}", vectors("sd1", 2, seed=seed)) for seed in range(20, 27)]
    for place in (0, 3, 7):
        found = encode(model("sd1"), [*others[:place], asks[place], *others[place:]])[place]
        assert torch.equal(found.embeds, together[place].embeds)


def test_nothing_is_left_behind_in_the_encoder(model: Any) -> None:
    for encoder in model("sdxl").encoders:
        before = {name: weight.clone() for name, weight in encoder.module.state_dict().items()}
        words = len(encoder.tokenizer)
        encode(model("sdxl"), [Ask("{T}", vectors("sdxl", 2))])
        assert len(encoder.tokenizer) == words
        assert all(torch.equal(before[name], weight) for name, weight in encoder.module.state_dict().items())
        assert not encoders.inner(encoder).embeddings.token_embedding._forward_hooks


def test_the_hook_goes_when_the_encoder_fails(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = model("sd1").encoders[0]
    embedding = encoders.inner(encoder).embeddings.token_embedding
    monkeypatch.setattr(encoder.module, "forward", lambda **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encode(model("sd1"), [Ask("{T}", vectors("sd1", 2))])
    assert not embedding._forward_hooks


def test_memory_that_runs_out_halves_the_rows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [Ask("a photo of {T}", vectors("sd1", 2, seed=seed)) for seed in range(8)]
    expected, tried = encode(model("sd1"), asks), []
    module = model("sd1").encoders[0].module

    def full(input_ids: torch.Tensor, **more: Any) -> Any:
        tried.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return type(module).forward(module, input_ids, **more)

    monkeypatch.setattr(module, "forward", full)
    for found, before in zip(encode(model("sd1"), asks), expected, strict=True):
        assert (found.embeds - before.embeds).abs().max() <= 1e-6
    assert tried == [8, 4, 2, 2, 2, 2]


def test_an_encoder_is_asked_once_for_what_differs_in_emphasis_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, module = [], model("sd1").encoders[0].module
    monkeypatch.setattr(module, "forward", lambda input_ids, **more: (tried.append(len(input_ids)), type(module).forward(module, input_ids, **more))[1])
    given = vectors("sd1", 2)
    found = encode(model("sd1"), [Ask("{T}", given, weight=weight) for weight in (0.5, 1.0, 1.5)] + [Ask("", given)] * 9)
    assert tried == [2]
    assert not torch.equal(found[0].embeds, found[2].embeds)
