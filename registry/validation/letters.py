"""CLIP's vocabulary as text: the merges that come with this package, and the letters that stand for bytes in it."""

from __future__ import annotations

import gzip
import os
from functools import cache

MERGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs", "clip_merges.txt.gz")
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def vocabulary() -> dict[str, int]:
    """Token -> id. CLIP simple_tokenizer.py: the bytes, the bytes at a word's end, what each merge makes, and two marks."""
    letters = byte_letters()
    ends = (f"{letter}{END_OF_WORD}" for letter in letters)
    tokens = [*letters, *ends, *(merge.replace(" ", "") for merge in merges()), START, END]
    return {token: number for number, token in enumerate(tokens)}


@cache
def merges() -> tuple[str, ...]:
    """The pairs that become one token, the most frequent first."""
    with gzip.open(MERGES, "rt", encoding="utf-8") as file:
        return tuple(file.read().split("\n"))


def byte_letters() -> list[str]:
    """The characters that stand for bytes, in the order of CLIP's vocabulary."""
    return list(letter_bytes())


@cache
def letter_bytes() -> dict[str, int]:
    """Character -> the byte it stands for: those that can be seen stand for themselves, others for the rest."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def byte_of(letter: str) -> int | None:
    """The byte that a character of a token stands for."""
    return letter_bytes().get(letter)
