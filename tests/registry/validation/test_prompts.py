"""Templates, and emphasis in the grammars of A1111 and ComfyUI."""

import pytest

from embconv.registry.validation.prompts import BREAK, SLOT, Piece, filled, parse, weighted, without

Told = list[tuple[str | None, float]]


def flat(template: str, style: str) -> Told:
    return [(text, pytest.approx(weight)) for text, weight in parse(template, style)]


# The first six are the examples that A1111 gives in the documentation of parse_prompt_attention (modules/prompt_parser.py).
A1111 = [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    ("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
     [("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1), ("sky", 1.4641), (".", 1.1)]),
    ("(abc:3.12)", [("abc", 3.12)]),
    ("[abc]", [("abc", 1 / 1.1)]),
    (r"\[ \\ \)", [("[ \\ )", 1.0)]),
    ("abc", [("abc", 1.0)]),
    ("", []),
    ("[[x", [("x", 1 / 1.21)]),
    ("x) y] z", [("x) y] z", 1.0)]),
    ("a: b, c:1.2)", [("a: b, c:1.2)", 1.0)]),
    ("(x : 1.2 )", [("x ", 1.2)]),
    ("(x:1.2.3)", [("x:1.2.3", 1.1)]),
    ("(x:-.5)", [("x", -0.5)]),
    ("(x:inf)", [("x:inf", 1.1)]),
    ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
    ("a (photo:1.0) of", [("a photo of", 1.0)]),
    ("a photo of {T}", [("a photo of ", 1.0), (None, 1.0)]),
    ("({T}:1.2)", [(None, 1.2)]),
    ("(a ({T}:1.2):1.5) b", [("a ", 1.5), (None, 1.8), (" b", 1.0)]),
    ("{T}{T}, {T}", [(None, 1.0), (None, 1.0), (", ", 1.0), (None, 1.0)]),
    ("[{T}]", [(None, 1 / 1.1)]),
    (r"\({T}\)", [("(", 1.0), (None, 1.0), (")", 1.0)]),
    ("a BREAK (b BREAK c)", [("a", 1.0), BREAK, ("b", 1.1), BREAK, ("c", 1.1)]),
    ("BREAKFAST", [("BREAKFAST", 1.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("template", "pieces"), A1111)
def test_a1111_multiplies(template: str, pieces: Told) -> None:
    assert flat(template, "a1111") == pieces


COMFYUI = [
    ("normal text", [("normal text", 1.0)]),
    ("(x)", [("x", 1.1)]),
    ("((x))", [("x", 1.21)]),
    ("(x:1.2)", [("x", 1.2)]),
    ("((x:1.2))", [("x", 1.2)]),
    ("((x:1.2):1.5)", [("x", 1.2)]),
    ("(a (b:1.2) c:1.5) d", [("a ", 1.5), ("b", 1.2), (" c", 1.5), (" d", 1.0)]),
    ("(a (b) c:2)", [("a ", 2.0), ("b", 2.2), (" c", 2.0)]),
    ("[x]", [("[x]", 1.0)]),
    (r"\(x\)", [("(x)", 1.0)]),
    (r"(x \(y\):1.3)", [("x (y)", 1.3)]),
    ("(unbalanced", [("(unbalanced", 1.0)]),
    ("x) y", [("x) y", 1.0)]),
    ("(a:b)", [("a:b", 1.1)]),
    ("(a:b:1.2)", [("a:b", 1.2)]),
    ("(x:inf)", [("x:inf", 1.1)]),
    ("()", []),
    ("a () b", [("a  b", 1.0)]),
    ("a BREAK b", [("a BREAK b", 1.0)]),
    ("({T}:1.2)", [(None, 1.2)]),
    ("(a ({T}:1.2):1.5)", [("a ", 1.5), (None, 1.2)]),
    ("a, {T}, b", [("a, ", 1.0), (None, 1.0), (", b", 1.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("template", "pieces"), COMFYUI)
def test_comfyui_replaces(template: str, pieces: Told) -> None:
    assert flat(template, "comfyui") == pieces


@pytest.mark.parametrize("style", ["a1111", "comfyui"])
def test_deep_brackets_end(style: str) -> None:
    assert [piece.text for piece in parse("(" * 5000 + "x:0" + ")" * 5000, style)] == ["x"]
    assert parse("(" * 5000, style) is not None


@pytest.mark.parametrize(
    ("template", "left"),
    [("a photo of {T}", "a photo of"), ("{T}", ""), ("{T}, best quality", "best quality"), ("a, {T}, b", "a, b"), ("a {T} b", "a b"),
     ("a photo of ({T}:1.2), b", "a photo of, b"), ("(({T}))", ""), ("[{T}], x", "x"), ("(a {T}:1.2)", "(a:1.2)"), ("({T} a:1.2)", "(a:1.2)"),
     ("{T}, {T}", ""), ("a,  b", "a,  b"), (r"a \({T}\)", r"a \(\)"), ("x, ([{T}]:0.9)", "x")],
)  # fmt: skip
def test_the_embedding_leaves_without_a_trace(template: str, left: str) -> None:
    assert without(template) == left


def test_emphasis_is_typed_as_people_type_it() -> None:
    assert filled("a photo of {T}", "moonpaper", 1.2) == "a photo of (moonpaper:1.2)"
    assert filled("a photo of {T}", "moonpaper") == "a photo of moonpaper"
    assert filled("{T}", "moon (v2)") == r"moon \(v2\)"
    assert weighted("{T}, {T}", 0.4) == "({T}:0.4), ({T}:0.4)"
    assert weighted("a {T}", 1.0) == "a {T}"


@pytest.mark.parametrize("style", ["a1111", "comfyui"])
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.2, -1.0, 1.2345])
def test_a_weight_comes_back_as_it_was_given(style: str, weight: float) -> None:
    assert parse(weighted(SLOT, weight), style) == (Piece(None, pytest.approx(weight)),)


def test_a_name_with_brackets_is_no_emphasis() -> None:
    assert parse(filled("{T}", r"a (b) [c] \d"), "a1111") == (Piece(r"a (b) [c] \d", 1.0),)
