"""Words that vectors are near to, in the tiny pipelines' own vocabularies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from embconv.registry.validation.words import among_words, nearest, untrained_copy

from .conftest import vectors

Models = Callable[[str], Any]


def words(model: Any, text: str) -> dict[str, Any]:
    """The vectors of words, out of the encoders themselves."""
    found = {}
    for encoder in model.encoders:
        ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        found[encoder.key] = encoder.module.get_input_embeddings().weight[ids].detach().numpy()
    return found


def blended(one: dict[str, Any], other: dict[str, Any], share: float) -> dict[str, Any]:
    return {key: one[key] * (1 - share) + other[key] * share for key in one}


def test_cosines_are_those_of_torch(model: Models) -> None:
    made, given = model("sdxl"), vectors("sdxl", 3)
    found = nearest(made, given, top=5)
    for encoder in made.encoders:
        table = encoder.module.get_input_embeddings().weight
        marks = [encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id]
        for row, near in zip(given[encoder.key], found[encoder.key], strict=True):
            cosines = torch.cosine_similarity(torch.tensor(row)[None], table)
            cosines[marks] = -2.0
            assert [cosine for _, cosine in near] == pytest.approx(cosines.topk(5).values.tolist(), abs=1e-4)


def test_each_encoder_has_a_vocabulary_of_its_own(model: Models) -> None:
    made = model("sdxl")
    found = nearest(made, {"clip_l": words(made, "cat")["clip_l"], "clip_g": words(made, "sun")["clip_g"]}, top=1)
    assert found == {"clip_l": [[("cat", 1.0)]], "clip_g": [[("sun", 1.0)]]}


def test_zeros_are_near_to_nothing(model: Models) -> None:
    assert nearest(model("sd1"), {"clip_l": np.zeros((1, 768), np.float32)}) == {"clip_l": [[]]}


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_length_does_not_change_what_a_vector_is_near_to(model: Models, scale: float) -> None:
    made, given = model("sdxl"), vectors("sdxl", 3)
    scaled = {key: rows * np.float32(scale) for key, rows in given.items()}
    for key, plain in nearest(made, given).items():
        for one, other in zip(plain, nearest(made, scaled)[key], strict=True):
            assert [word for word, _ in other] == [word for word, _ in one]
            assert [cosine for _, cosine in other] == pytest.approx([cosine for _, cosine in one], abs=1.1e-4)  # the last of four digits
    assert among_words(made, scaled) == {key: [100.0 if scale > 1 else 0.0] * 3 for key in given}
    assert untrained_copy(made, {key: rows * np.float32(scale) for key, rows in words(made, "cat").items()}) is None


def test_lengths_are_told_as_percentiles_of_words(model: Models) -> None:
    made = model("sd1")
    table = made.encoders[0].module.get_input_embeddings().weight.detach().norm(dim=1)
    long, short = float(table.max()) * 2, float(table.min()) / 2
    unit = np.eye(2, 768, dtype=np.float32)
    assert among_words(made, {"clip_l": unit * np.array([[long], [short]], np.float32)}) == {"clip_l": [100.0, 0.0]}
    assert 40 < among_words(made, {"clip_l": unit[:1] * float(table.median())})["clip_l"][0] < 60


@pytest.mark.parametrize("text", ["cat", "red cat", "a photo of the sun"])
@pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])
def test_a_copy_of_words_is_told(model: Models, base: str, text: str) -> None:
    assert untrained_copy(model(base), words(model(base), text)) == text


def test_what_somebody_trained_a_little_is_no_copy(model: Models) -> None:
    made = model("sdxl")
    cat, dog = words(made, "cat"), words(made, "dog")
    assert untrained_copy(made, blended(cat, dog, 0.1)) is None
    assert untrained_copy(made, {"clip_l": cat["clip_l"], "clip_g": vectors("sdxl")["clip_g"]}) is None
    assert untrained_copy(made, {key: rows * 1.5 for key, rows in cat.items()}) is None
    assert untrained_copy(made, {key: np.concatenate([rows, vectors("sdxl")[key]]) for key, rows in cat.items()}) is None
