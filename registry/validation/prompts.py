"""Prompts with a place for the embedding: what is emphasised how much, in the grammars of A1111 and ComfyUI."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

SLOT = "{T}"  # stands for the embedding in a template
LOUDER = 1.1  # a pair of round brackets, in both grammars


class Piece(NamedTuple):
    """A stretch of a prompt under one weight; `text` is None where the embedding stands."""

    text: str | None
    weight: float


BREAK = Piece("BREAK", -1.0)  # A1111's own mark: what follows begins a new chunk

_A1111 = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)|(?P<open>[(\[])|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|(?P<close>[)\]])|[^\\()\[\]:]+|:"
)
_COMFYUI = re.compile(r"\\[()]|[()]|[^\\()]+|\\")
_EMPTIED = re.compile(r"(?<!\\)(?:\(\s*(?::\s*[+-]?[\d.]+\s*)?\)|\[\s*\])")


def parse(template: str, style: str) -> tuple[Piece, ...]:
    """The pieces of a prompt in a `style` of STYLES; neighbours differ in weight, or one of them is the embedding."""
    return tuple(_with_slots(_joined(STYLES[style](template))))


def _a1111(template: str) -> list[Piece]:
    """(x) is 1.1, [x] its inverse, (x:1.2) as it says; all multiply what is around them, and one left open lasts to the end."""
    pieces: list[Piece] = []
    begun: dict[str, list[int]] = {"(": [], "[": []}
    for found in _A1111.finditer(template):
        kind, text = found.lastgroup, found[0]
        if kind == "escaped":
            pieces.append(Piece(found["escaped"], 1.0))  # A1111 prompt_parser.py, parse_prompt_attention: a lone backslash is dropped
        elif kind == "open":
            begun[text].append(len(pieces))
        elif kind == "weight" and begun["("]:
            _multiply(pieces, begun["("].pop(), float(found["weight"]))
        elif kind == "close" and begun["(" if text == ")" else "["]:
            _multiply(pieces, begun["(" if text == ")" else "["].pop(), LOUDER if text == ")" else 1 / LOUDER)
        else:
            pieces += _with_breaks(text)
    for bracket, places in begun.items():
        for place in places:
            _multiply(pieces, place, LOUDER if bracket == "(" else 1 / LOUDER)
    return pieces


def _multiply(pieces: list[Piece], first: int, weight: float) -> None:
    pieces[first:] = [piece if piece is BREAK else Piece(piece.text, piece.weight * weight) for piece in pieces[first:]]


def _with_breaks(text: str) -> Iterator[Piece]:
    for place, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
        if place:
            yield BREAK
        yield Piece(part, 1.0)


def _comfyui(template: str) -> list[Piece]:
    """(x) multiplies by 1.1, (x:1.2) replaces what is around it; there is no [x], and a bracket without its partner is text."""
    parts = _COMFYUI.findall(template)
    partner = dict(_partners(parts))
    ends = set(partner.values())
    pieces, weights = [], [1.0]
    for place, part in enumerate(parts):
        if place in partner:
            last, told = partner[place] - 1, None
            if last > place:
                parts[last], told = _told(parts[last])
            weights.append(weights[-1] * LOUDER if told is None else told)
        elif place in ends:
            weights.pop()
        else:
            pieces.append(Piece(part[1:] if part in {r"\(", r"\)"} else part, weights[-1]))
    return pieces


def _partners(parts: Iterable[str]) -> Iterator[tuple[int, int]]:
    begun = []
    for place, part in enumerate(parts):
        if part == "(":
            begun.append(place)
        elif part == ")" and begun:
            yield begun.pop(), place


def _told(text: str) -> tuple[str, float | None]:
    """Text and the number after its last colon."""
    before, colon, after = text.rpartition(":")
    try:
        number = float(after)
    except ValueError:
        return text, None
    return (before, number) if colon and math.isfinite(number) else (text, None)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbours of one weight as one: a tokenizer shall see the words as they stand."""
    kept: Piece | None = None
    for piece in pieces:
        if kept is None or piece is BREAK or kept is BREAK or kept.weight != piece.weight:
            if kept is not None:
                yield kept
            kept = piece
        else:
            kept = Piece(f"{kept.text}{piece.text}", kept.weight)
    if kept is not None:
        yield kept


def _with_slots(pieces: Iterable[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        for place, part in enumerate((piece.text or "").split(SLOT)):
            if place:
                yield Piece(None, piece.weight)
            if piece is BREAK:
                yield BREAK
            elif part:
                yield Piece(part, piece.weight)


STYLES: dict[str, Callable[[str], list[Piece]]] = {
    "a1111": _a1111,      # also of its "No norm"
    "comfyui": _comfyui,
}  # fmt: skip


def weighted(template: str, weight: float) -> str:
    """The template with the embedding emphasised; a weight of 1 leaves it as it is."""
    return template if weight == 1.0 else template.replace(SLOT, f"({SLOT}:{weight:g})")


def filled(template: str, name: str, weight: float = 1.0) -> str:
    """The prompt as a person types it: "a photo of (name:1.2)"."""
    return weighted(template, weight).replace(SLOT, re.sub(r"([()\[\]\\])", r"\\\1", name))


def without(template: str) -> str:
    """The prompt without the embedding, nor the brackets, spaces and commas that it leaves behind."""
    if SLOT not in template:
        return template
    text, before = re.sub(rf"\s*{re.escape(SLOT)}", "", template), ""
    while text != before:
        text, before = _EMPTIED.sub("", text), text
    text = re.sub(r"([(\[])\s+", r"\1", re.sub(r"\s+", " ", text))
    return re.sub(r"\s*,(?:\s*,)*", ",", text).strip(" ,")
