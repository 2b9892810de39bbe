"""CLIP's vocabulary, which comes with this package as its merges."""

from __future__ import annotations

import pytest

from embconv.registry.validation.letters import merges, vocabulary
from embconv.registry.validation.vocabularies import clip

# As CLIP's own notebook and the model cards print them.
KNOWN = {"a photo of a cat": [320, 1125, 539, 320, 2368], "": [], "hello world!": [3306, 1002, 256], "A PHOTO": [320, 1125]}


def test_the_vocabulary_is_whole() -> None:
    words = vocabulary()
    assert len(merges()) == 48_894
    assert len(words) == 49_408
    assert (words["!"], words["!</w>"], words["<|startoftext|>"], words["<|endoftext|>"]) == (0, 256, 49_406, 49_407)


@pytest.mark.parametrize("text", KNOWN)
def test_a_text_has_the_ids_that_clip_gives_it(text: str) -> None:
    assert clip("!")(text).input_ids == [49_406, *KNOWN[text], 49_407]


@pytest.mark.parametrize(("pad", "number"), [("<|endoftext|>", 49_407), ("!", 0)])
def test_a_prompt_is_filled_up_with_what_its_encoder_was_trained_with(pad: str, number: int) -> None:
    words = clip(pad)
    assert words.pad_token_id == number
    ids = words("a cat", padding="max_length", max_length=77).input_ids
    assert (len(ids), ids[4:]) == (77, [number] * 73)
