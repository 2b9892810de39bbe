"""Text from a file made safe to show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.display import LONGEST, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"), ("", ""), ("猫 ünï", "猫 ünï"), ("a\nb\tc", r"a\nb\tc"), ("\x1b[31m", r"\x1b[31m"), ("a\0", r"a\x00"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"), ("\u2066x\u2069", r"\u2066x\u2069"), ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"), ("\u200b", r"\u200b"),
        ("caf\udce9", r"caf\udce9"), ("\U000e0041", r"\U000e0041"),
    ],
)  # fmt: skip
def test_what_would_move_the_cursor_or_the_reading_direction_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert quoted(text) == f'"{shown}"'


def test_nothing_is_endless() -> None:
    assert printable("x" * LONGEST) == "x" * LONGEST
    assert printable("x" * (LONGEST + 1)) == "x" * LONGEST + "..."
    assert printable("abcdef", 3) == "abc..."


@given(st.text(st.characters()), st.integers(1, 50))
def test_any_text_becomes_printable_and_short(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert shown.isprintable()
    assert len(shown) <= 10 * longest + 3
    shown.encode()
