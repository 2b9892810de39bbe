"""The letters and colours of a sheet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

PAPER, INK, GREY, LIGHT = "#ffffff", "#16181c", "#5f6670", "#e3e6ea"
LINES = ("#1f6fb4", "#d9691e", "#2f8f4e", "#8a4fb0", "#b8860b", "#5f6670")  # also told apart by those who see few colours
STATES = {
    "pass": "#2a7d46", "weak": "#a66a00", "no_effect": "#5f6670", "broken": "#b3261e", "incompatible": "#b3261e", "error": "#7a3e9d",
}  # fmt: skip
# Pillow's own font has the letters of ASCII; these are looked for where a name has others.
WIDER = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "msgothic.ttc", "arial.ttf", "Arial Unicode.ttf", "Hiragino Sans GB.ttc")
MISSING = "\U0010ffff"  # a character that no font has


@cache
def font(size: int) -> FreeTypeFont:
    """Pillow's own font, which is there on every system."""
    return ImageFont.load_default(size)  # type: ignore[return-value]  # it is one wherever Pillow has FreeType, as its wheels do


@cache
def lettered(text: str, size: int) -> tuple[FreeTypeFont, str]:
    """A font that has all of the text; where no font here does, Pillow's own and the text with escapes."""
    usual = font(size)
    for one in (usual, *wider(size)):
        if covers(one, text):
            return one, text
    return usual, text.encode("ascii", "backslashreplace").decode()


@cache
def wider(size: int) -> tuple[FreeTypeFont, ...]:
    """Fonts of this system."""
    return tuple(found(size))


def found(size: int) -> Iterator[FreeTypeFont]:
    """Those of WIDER that are here."""
    for name in WIDER:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue


def covers(one: FreeTypeFont, text: str) -> bool:
    """Does it draw every character as something else than what stands for a missing one?"""
    return not any(ord(char) > 126 and bytes(one.getmask(char)) == bytes(one.getmask(MISSING)) for char in set(text))
