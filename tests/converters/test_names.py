"""Which of its names an embedding answers to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters import Names
from embconv.converters.names import in_unicode, safe_stem, trigger_claims, trigger_of

ALL = {"header": "header", "key": "<key>", "file_stem": "stem", "sidecar": "word", "inner_name": "inner", "archive_root": "root"}


@pytest.mark.parametrize(
    ("names", "trigger"),
    [
        (ALL, "header"),
        ({**ALL, "header": None}, "<key>"),
        ({**ALL, "header": None, "key": "*"}, "stem"),
        ({**ALL, "header": None, "key": "emb_params", "file_stem": "learned_embeds"}, "word"),
        ({"inner_name": "inner", "archive_root": "root", "file_stem": "embedding"}, "inner"),
        ({"archive_root": "root", "file_stem": "embedding", "inner_name": "*"}, "root"),
        ({"archive_root": "archive", "file_stem": "embedding"}, "embedding"),
        ({"archive_root": "archive", "file_stem": "v2"}, "v2"),
        ({"key": "<s0><s1>", "file_stem": "embeddings", "sidecar": "TOK"}, "TOK"),
        ({"key": "<s0><s1>", "file_stem": "embeddings"}, "<s0><s1>"),
        ({"key": "<s0><s1>", "file_stem": "moji"}, "moji"),
        ({"key": "step-3", "archive_root": "myPuppet768"}, "myPuppet768"),
        ({"key": "clip_g", "file_stem": "EasyNegative"}, "EasyNegative"),
        ({"key": "emp_params", "file_stem": "EasyNegative"}, "EasyNegative"),
        ({"key": "text_encoders_0", "file_stem": "EasyNegative"}, "EasyNegative"),
        ({"key": "sks", "file_stem": "EasyNegative"}, "sks"),
        ({"key": "<Le Petit Prince-moon >"}, "<Le Petit Prince-moon >"),
        ({"header": "  ", "file_stem": " style "}, "style"),
        ({}, "embedding"),
        ({"key": "*"}, "embedding"),
    ],
    ids=str,
)
def test_the_trigger_is_the_best_name_there_is(names: dict[str, str], trigger: str) -> None:
    assert trigger_of(Names(**names)) == trigger


def test_all_names_are_shown_the_best_first_with_where_they_stand() -> None:
    places = ["header", "key", "file_stem", "sidecar", "inner_name", "archive_root", "file_stem"]
    assert [where for _, where in trigger_claims(Names(**ALL))] == places


@pytest.mark.parametrize(
    "stem",
    ["learned_embeds", "learned_embeds-steps-500", "learned_embeds_2", "embeddings", "embeddings_gs-6099", "embedding", "emb",
    "v1.5", "000500",
     "textual_inversion", "pytorch_model", "delta", "0b6f5a9e-4a9e-4f1c-a6a1-0d5c9c1b2a3d"],
)  # fmt: skip
def test_a_stem_that_programs_give_every_embedding_says_nothing(stem: str) -> None:
    assert trigger_of(Names(file_stem=stem, inner_name="bad-hands-5")) == "bad-hands-5"
    assert trigger_of(Names(file_stem=stem)) == stem


@pytest.mark.parametrize("stem", ["EasyNegative", "modelshoot", "embeddings of light", "archived", "v1pencil", "data-style"])
def test_a_stem_of_its_own_is_a_name(stem: str) -> None:
    assert trigger_of(Names(file_stem=stem, inner_name="other")) == stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("<cat-toy>", "cat-toy"), ("a/b\\c", "abc"), ("../../etc/passwd", "etcpasswd"), ("..", "embedding"), ("", "embedding"),
        ("NUL", "NUL_"),
        ("com1", "com1_"), ("con.fig", "con_.fig"), ("condor", "condor"), (" x. ", "x"), ("a\0b\n", "ab"),
        ("gasai yuno", "gasai yuno"), ("<>", "embedding"), ("猫", "猫"),
        ("a:b|c?d*e\"f", "abcdef"),
    ],
)  # fmt: skip
def test_a_name_becomes_a_stem_that_every_system_takes(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


@given(st.text())
def test_no_name_leaves_its_folder_or_is_too_long(name: str) -> None:
    stem = safe_stem(name)
    assert 0 < len(stem.encode()) <= 200
    assert not set(stem) & set('<>:"/\\|?*\0')
    assert stem not in (".", "..")


def test_a_long_name_is_cut_between_characters() -> None:
    assert safe_stem("猫" * 100) == "猫" * 66


@pytest.mark.parametrize(("text", "made"), [("cat", "cat"), ("café 猫", "café 猫"), ("caf\udce9", "caf?")])
def test_what_is_no_unicode_becomes_some(text: str, made: str) -> None:
    assert in_unicode(text) == made
