"""Prompts as rows of 77 tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embconv.registry.validation.prompts import BREAK, Piece
from embconv.registry.validation.text import Ask, encode
from embconv.registry.validation.tokens import lay

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


# what stands behind the last comma of a full chunk


def laid(words: list[str], vectors: int, backtrack: int) -> list[list[str]]:
    """The formula: words of one token each, "T" for the embedding, "BREAK"; the words of each chunk, "T0" and so on for its vectors."""
    chunks: list[list[str]] = [[]]
    for word in words:
        some = [f"T{place}" for place in range(vectors)] if word == "T" else [word]
        full = chunks[-1]
        if word == "BREAK" or len(full) + len(some) > 75:
            chunks.append([])
        if word == "BREAK":
            continue
        # a full chunk ends behind a comma among its last `backtrack`; one that was pushed out of a full chunk is first in its own
        commas = [place for place in range(max(0, 75 - backtrack), 75) if len(full) == 75 and full[place] == ","]
        if commas and word != "," and chunks[-1] is not full:
            moved = full[commas[-1] + 1 :]
            del full[commas[-1] + 1 :]
            chunks[-1:] = [moved, []] if len(moved) + len(some) > 75 else [moved]
        chunks[-1] += some
    return chunks if chunks[-1] or len(chunks) == 1 else chunks[:-1]


TOKENS = {"cat": 3, "dog": 4, ",": 5}


class Words:
    """A tokenizer of three words."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, None

    def convert_tokens_to_ids(self, token: str) -> int:
        return TOKENS[token.removesuffix("</w>")]


def ours(words: list[str], vectors: int, backtrack: int) -> list[list[str]]:
    """The same from `lay`."""
    read = lambda text: [TOKENS[word] for word in text.split()]  # noqa: E731
    names = {number: word for word, number in TOKENS.items()}
    pieces = [BREAK if word == "BREAK" else Piece(None if word == "T" else word, 1.0) for word in words]
    found = []
    for chunk in lay(pieces, read, vectors, Words(), backtrack=backtrack):
        assert len(chunk.ids) == len(chunk.weights) == 77
        found.append([f"T{chunk.slots[place]}" if place in chunk.slots else names[number]
                      for place, number in enumerate(chunk.ids) if place in chunk.slots or number in names])  # fmt: skip
    return found


CASES = {
    "no comma": ["cat"] * 90,
    "a comma near the end": ["cat"] * 60 + [","] + ["dog"] * 30,
    "the last that counts": ["cat"] * 55 + [","] + ["dog"] * 20,
    "one too far": ["cat"] * 54 + [","] + ["dog"] * 21,
    "at the very end": ["cat"] * 74 + [","] + ["dog"] * 2,
    "first of the next": ["cat"] * 75 + [","] + ["dog"] * 80,
    "a comma behind a full chunk": ["cat"] * 60 + [","] + ["dog"] * 14 + [",", "cat"],
    "it fits exactly": ["cat"] * 60 + [","] + ["dog"] * 14,
    "the last of several": ["cat", ","] * 80,
    "in each chunk": (["cat"] * 9 + [","]) * 30,
    "the embedding moves whole": ["cat"] * 60 + [",", "T"] + ["dog"] * 20,
    "the embedding begins a chunk": ["cat"] * 60 + [","] + ["dog"] * 12 + ["T"] + ["cat"] * 9,
    "the embedding behind a full chunk": ["cat"] * 60 + [","] + ["dog"] * 14 + ["T", "cat"],
    "a break forgets": ["cat"] * 30 + [",", "BREAK"] + ["dog"] * 80,
    "a break at the end": ["cat", "BREAK"],
    "nothing": [],
}


@pytest.mark.parametrize("vectors", [1, 5, 70])
@pytest.mark.parametrize("backtrack", [0, 20])
@pytest.mark.parametrize("case", CASES)
def test_a_full_chunk_ends_at_its_last_comma_as_in_a1111(case: str, backtrack: int, vectors: int) -> None:
    assert ours(CASES[case], vectors, backtrack) == laid(CASES[case], vectors, backtrack)


@given(words=st.lists(st.sampled_from(["cat", "cat", "cat", "dog", ",", "T", "BREAK"]), max_size=250), vectors=st.integers(1, 75), backtrack=st.integers(0, 74))
def test_any_prompt_is_laid_out_as_the_formula_says(words: list[str], vectors: int, backtrack: int) -> None:
    assert ours(words, vectors, backtrack) == laid(words, vectors, backtrack)


@pytest.mark.parametrize(("emphasis", "first"), [("a1111", 61), ("no_norm", 61), ("comfyui", 75)])
def test_only_a1111_looks_back_for_a_comma(emphasis: str, first: int, model: Any) -> None:
    words = "cat " * 60 + "," + " dog" * 20
    found = z(model("sd1"), words, emphasis=emphasis)
    assert found.shape == (2 * 77, 768)
    expected = ["cat " * 60 + "," + " dog" * (first - 61), "dog " * (81 - first)]
    assert (found - torch.cat([z(model("sd1"), each) for each in expected])).abs().max() <= 1e-6


def test_an_embedding_that_moves_takes_its_vectors_along(model: Any) -> None:
    given_ = vectors("sdxl", 4, seed=3)
    found = encode(model("sdxl"), [Ask("cat " * 60 + ", {T}" + " dog" * 20, given_)], emphasis="no_norm")[0]
    assert found.slots == {key: tuple(range(78, 82)) for key in ("clip_l", "clip_g")}
    assert (found.embeds[77:] - z(model("sdxl"), "{T}" + " dog" * 20, given_)).abs().max() <= 1e-6
