"""Detectors are disjoint: what one layout claims, no other does."""

from functools import cache

import pytest
from msgspec.structs import replace

from embconv.converters import LAYOUTS, Outline
from embconv.converters.containers import open_contents
from embconv.converters.layouts import BY_NAME, Layout
from embconv.converters.source import Source
from examples import EXAMPLES, OTHERS, Example, Other

every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


@cache
def _outline(example: Example | Other) -> Outline:
    with Source(example.data) as source:
        return open_contents(source).outline


@every_layout
@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_a_layout_claims_its_own_examples_and_no_other(layout: Layout, example: Example) -> None:
    assert layout.detect(_outline(example)) is (layout.name == example.layout)


@pytest.mark.parametrize("first", EXAMPLES, ids=repr)
def test_even_two_layouts_in_one_dictionary_have_at_most_one_claim(first: Example) -> None:
    mine = _outline(first)
    for second in EXAMPLES:
        other = _outline(second)
        if isinstance(mine.root, dict) and isinstance(other.root, dict):
            both = replace(mine, root={**mine.root, **other.root}, metadata={**mine.metadata, **other.metadata})
            assert len([layout.name for layout in LAYOUTS if layout.detect(both)]) <= 1, second


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.container == "safetensors"], ids=repr)
def test_a_flag_of_safelora_on_every_tensor_gives_no_second_claim(example: Example) -> None:
    outline = _outline(example)
    flagged = replace(outline, metadata={**outline.metadata, **dict.fromkeys(outline.root, "<embed>")})
    assert len([layout.name for layout in LAYOUTS if layout.detect(flagged)]) <= 1


ELSEWHERE = ("zero-bytes", "lfs-pointer", "web-page", "error-answer", "preview", "card-reduced-to-a-palette", "photograph", "gguf")


@pytest.mark.parametrize("other", [other for other in OTHERS if other.id not in ELSEWHERE], ids=repr)
def test_no_layout_claims_what_is_no_embedding(other: Other) -> None:
    claims = [layout.name for layout in LAYOUTS if layout.detect(_outline(other))]
    assert claims == (["xti"] if other.id == "xti" else [])


@every_layout
def test_a_layout_says_what_it_is_who_writes_it_and_which_keys_it_has(layout: Layout) -> None:
    assert BY_NAME[layout.name] is layout
    assert layout.title
    assert layout.written_by
    assert layout.keys


@every_layout
@pytest.mark.parametrize("root", [None, 0, "x", b"", [], (), {}, {1: 2}, {"state_dict": None}, [None], {"string_to_param": None}], ids=str)
def test_nothing_is_claimed_where_nothing_is(layout: Layout, root: object) -> None:
    assert not layout.detect(Outline(container="torch_zip", root=root))
