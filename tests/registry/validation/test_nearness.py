"""Vectors among words: cosines as torch has them, only words, only those that have a direction, and the file read by its own offsets."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embconv.registry.render_errors import BadCheckpoint
from embconv.registry.validation import token_tables
from embconv.registry.validation.letters import vocabulary
from embconv.registry.validation.nearness import lengths, nearest, percentile_of, readable, spoken
from embconv.registry.validation.token_tables import vocabularies_of

from . import single
from .conftest import WIDTHS, tiny, vectors

Made = Callable[[str], Any]
MARKS = {"<|startoftext|>", "<|endoftext|>"}


def encoders(pipe: Any, base: str) -> dict[str, tuple[Any, torch.Tensor]]:
    """Encoder -> its tokenizer and its token embedding, as transformers has them."""
    parts = [(pipe.tokenizer, pipe.text_encoder), (getattr(pipe, "tokenizer_2", None), getattr(pipe, "text_encoder_2", None))]
    return {key: (words, module.get_input_embeddings().weight.detach())
            for key, (words, module) in zip(WIDTHS[base], parts, strict=False)}  # fmt: skip


# ---- the numbers ----


@pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])
def test_cosines_are_those_of_torch_on_the_pipelines_own_embedding(pipeline: Made, folder: Made, base: str) -> None:
    found = vocabularies_of(str(folder(base)))
    assert found.base == base
    for key, (tokenizer, weight) in encoders(pipeline(base), base).items():
        words, given = found.words[key], vectors(base, 5)[key]
        assert np.array_equal(words.table, weight.numpy())
        names = {row: token for token, row in tokenizer.get_vocab().items()}
        assert list(words.tokens) == [names[row] for row in range(len(weight))]
        for vector, near in zip(given, nearest(given, words.table, words.tokens), strict=True):
            cosines = torch.nn.functional.cosine_similarity(torch.tensor(vector)[None].double(), weight.double())
            order = [row for row in cosines.argsort(descending=True).tolist() if names[row] not in MARKS][:8]
            assert [word for word, _ in near] == [readable(names[row]) for row in order]
            assert [cosine for _, cosine in near] == pytest.approx(cosines[order].tolist(), abs=1e-12)


def test_a_word_that_was_copied_is_the_first_with_cosine_one(folder: Made) -> None:
    words = vocabularies_of(str(folder("sdxl"))).words["clip_g"]
    row = words.tokens.index("cat</w>")
    ((copy, again),) = (near[:2] for near in nearest(3 * words.table[row : row + 1], words.table, words.tokens))
    assert copy == ("cat", pytest.approx(1, abs=1e-12))
    assert again[1] < 0.5


def test_what_is_no_word_is_never_near() -> None:
    table = np.eye(6, dtype=np.float32)
    table[3], table[4, 4] = 0, np.nan
    tokens = ["a</w>", "<|endoftext|>", "", "b</w>", "c</w>"]  # and a row without a token at the end
    found = nearest(np.ones((1, 6), np.float32), table, tokens)
    assert [word for word, _ in found[0]] == ["a"]
    assert nearest(np.ones((1, 6), np.float32), table[:0], []) == [[]]


@pytest.mark.parametrize("number", [0.0, math.nan, math.inf])
def test_a_vector_without_direction_is_near_to_nothing(number: float) -> None:
    table = np.eye(3, dtype=np.float32)
    given = np.array([[number] * 3, [1, 0, 0]], np.float32)
    assert nearest(given, table, ["a</w>", "b</w>", "c</w>"], top=1) == [[], [("a", 1.0)]]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_length_does_not_change_a_cosine(scale: float) -> None:
    dice = np.random.default_rng(0)
    table, tokens = dice.standard_normal((50, 8)).astype(np.float32), [f"w{row}</w>" for row in range(50)]
    given = dice.standard_normal((2, 8)).astype(np.float32)
    plain, scaled = nearest(given, table, tokens), nearest(given * np.float32(scale), table, tokens)
    assert [[word for word, _ in near] for near in scaled] == [[word for word, _ in near] for near in plain]
    assert [[cosine for _, cosine in near] for near in scaled] == [pytest.approx([cosine for _, cosine in near]) for near in plain]


def test_a_table_of_many_blocks_is_searched_to_its_end() -> None:
    dice = np.random.default_rng(0)
    table, tokens = dice.standard_normal((9_000, 4)).astype(np.float16), [f"w{row}</w>" for row in range(9_000)]
    for row in (0, 4_095, 4_096, 8_999):
        (near,) = nearest(table[row : row + 1], table, tokens, top=1)
        assert near == [(f"w{row}", pytest.approx(1))]
    assert lengths(table) == pytest.approx(torch.tensor(table).double().norm(dim=1).numpy())


def test_a_percentile_counts_the_shorter_words_and_half_of_the_equal_ones() -> None:
    assert percentile_of([0.5, 1, 2.5, 9], [1, 2, 3, 3]) == [0, 12.5, 50, 100]
    dice = np.random.default_rng(0)
    known = dice.random(1_000)
    assert percentile_of(known[:20], known) == pytest.approx([100 * ((known < each).sum() + 0.5) / 1_000 for each in known[:20]])
    assert all(math.isnan(each) for each in percentile_of([1.0, math.nan], [])), "nothing to compare with"


@pytest.mark.parametrize(
    ("token", "shown"),
    [("cat</w>", "cat"), ("cat", "cat-"), ("!</w>", "!"), ("ðŁĺĤ</w>", "😂"), ("Ã©", "é-"), ("ðŁ", "\\xf0\\x9f-"), ("Ā", "\\x00-")],
)
def test_a_token_is_shown_as_people_read_it(token: str, shown: str) -> None:
    assert token in vocabulary()
    assert readable(token) == shown


def test_marks_are_no_words() -> None:
    assert [token for token in vocabulary() if not spoken(token)] == ["<|startoftext|>", "<|endoftext|>"]


# ---- the files ----


@pytest.fixture
def small_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny pipelines' vocabulary in the place of CLIP's, which has 49,408 words."""
    monkeypatch.setattr(token_tables, "vocabulary", lambda: tiny()["vocabulary"]()[0])


@pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])
def test_one_file_has_the_words_of_its_folder(pipeline: Made, folder: Made, tmp_path: Path, small_words: None, base: str) -> None:
    path = single.write(pipeline(base), base, tmp_path / "one.safetensors")
    one, many = vocabularies_of(str(path)), vocabularies_of(str(folder(base)))
    assert (one.base, list(one.words)) == (many.base, list(many.words))
    for key, words in many.words.items():
        assert one.words[key].tokens == words.tokens
        assert np.array_equal(one.words[key].table, words.table)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly(pipeline: Made, tmp_path: Path, small_words: None, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in single.tensors(pipeline("sd1"), "sd1").items()}
    save_file(tensors, tmp_path / "half.safetensors")
    (name,) = (name for name in tensors if name.endswith("token_embedding.weight"))
    found = vocabularies_of(str(tmp_path / "half.safetensors")).words["clip_l"].table
    assert np.array_equal(found.astype(np.float32), tensors[name].float().numpy())


def test_a_published_model_in_one_file_has_clips_words(pipeline: Made, tmp_path: Path) -> None:
    tensors = single.tensors(pipeline("sd1"), "sd1")
    (name,) = (name for name in tensors if name.endswith("token_embedding.weight"))
    tensors[name] = torch.randn(49_408, 768, dtype=torch.float16)
    save_file(tensors, tmp_path / "whole.safetensors")
    words = vocabularies_of(str(tmp_path / "whole.safetensors")).words["clip_l"]
    assert len(words.lengths) == 49_406
    assert [near[0][0] for near in nearest(words.table[[2368, 1125]], words.table, words.tokens)] == ["cat", "photo"]


def test_a_vocabulary_that_is_not_of_the_file_is_refused(pipeline: Made, tmp_path: Path) -> None:
    path = single.write(pipeline("sd1"), "sd1", tmp_path / "one.safetensors")
    with pytest.raises(BadCheckpoint, match="rows of words, and a tokenizer with 49,408"):
        vocabularies_of(str(path))


def copied(folder: Made, tmp_path: Path) -> Path:
    """A folder that a test may change."""
    return Path(shutil.copytree(folder("sd1"), tmp_path / "model"))


def test_a_tokenizer_of_before_tokenizer_json_is_read(folder: Made, tmp_path: Path) -> None:
    path = copied(folder, tmp_path)
    before = vocabularies_of(str(path)).words["clip_l"].tokens
    for file in (path / "tokenizer").iterdir():
        file.unlink()
    known = tiny()["vocabulary"]()[0]
    (path / "tokenizer" / "vocab.json").write_text(json.dumps(known), "utf-8")
    assert vocabularies_of(str(path)).words["clip_l"].tokens == before
    weights = path / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    (name,) = (name for name in tensors if name.endswith("token_embedding.weight"))
    save_file(tensors | {name: torch.cat([tensors[name], torch.ones(1, 768)])}, weights)
    (path / "tokenizer" / "added_tokens.json").write_text(json.dumps({"<toy>": len(known)}), "utf-8")
    words = vocabularies_of(str(path)).words["clip_l"]
    assert nearest(np.ones((1, 768), np.float32), words.table, words.tokens)[0][0] == ("<toy>", pytest.approx(1))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model": {"vocab": 3}}', '{"model": {"vocab": {"a": "b"}}}', '{"model": {"vocab": {"a": -1}}}'])
def test_a_tokenizer_that_cannot_be_read_is_a_sentence(folder: Made, tmp_path: Path, text: str) -> None:
    path = copied(folder, tmp_path)
    (path / "tokenizer" / "tokenizer.json").write_text(text, "utf-8")
    with pytest.raises(BadCheckpoint):
        vocabularies_of(str(path))


@pytest.mark.parametrize("change", ["none", "narrow", "whole", "zero", "cut"])
def test_words_that_are_missing_or_of_another_kind_are_a_sentence(folder: Made, tmp_path: Path, change: str) -> None:
    path = copied(folder, tmp_path)
    weights = path / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    (name,) = (name for name in tensors if name.endswith("token_embedding.weight"))
    table = tensors.pop(name)
    other = {"narrow": table[:, :512].contiguous(), "whole": table.to(torch.int8), "zero": torch.zeros_like(table)}.get(change)
    save_file(tensors | ({} if other is None else {name: other}), weights)
    if change == "cut":
        weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(BadCheckpoint):
        vocabularies_of(str(path))


def test_no_library_that_renders_is_needed() -> None:
    code = ("import sys; from embconv.registry.validation import neighbours, token_tables; "
            "print({'torch', 'diffusers', 'transformers', 'safetensors'} & set(sys.modules))")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout == "set()\n"
