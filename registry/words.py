"""Words as the search index knows them: how a text is indexed, and how a query is asked of it.

FTS5's tokenizer makes words of letters and digits and folds case and accents. What it leaves to us: writings without
spaces are indexed character by character, so that any part of them is found as a phrase, and a word that is several in one
(EasyNegative, badhandv4) is indexed as its parts too.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

# Han, kana, bopomofo and Hangul: words are not parted by spaces, or by some only.
UNSPACED = (
    "\u3005-\u3007\u3041-\u3096\u3099-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
ALONE = re.compile(f"([{UNSPACED}])")
UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")  # a NUL ends a text in C, half a character cannot be stored
WORD = re.compile(r"[^\W_]+")
# Borders within a word: easy|Negative, HTML|Parser, badhand|v4, style|2.
BORDER = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[vV]\d+(?![^\W_]))|(?<=[A-Za-z][A-UW-Za-uw-z])(?=\d)"
)


class Spoken(Struct, frozen=True):
    """A query as FTS5 is asked it: all of `terms`, and `begins`, a term that is a prefix. Neither: nothing can be found by it.

    `line` is all of it as one line, as a name would stand there.
    """

    terms: tuple[str, ...]
    begins: str
    line: str


def indexed(text: str) -> str:
    """A text as it is indexed: as it stands, then the parts of those of its words that are several in one."""
    if not text:
        return ""  # most fields of most embeddings
    plain = normal(text)
    parts = [part for word in WORD.findall(plain) for part in parts_of(word)]
    return f"{plain} {' '.join(parts)}" if parts else plain


def normal(text: str) -> str:
    """One form of each character, and unspaced writings with spaces."""
    if text.isascii():
        return text.replace("\0", " ")
    return ALONE.sub(r" \1 ", unicodedata.normalize("NFKC", UNSPEAKABLE.sub(" ", text)))


def parts_of(word: str) -> list[str]:
    """The parts of a word that is several in one; nothing for a plain one."""
    parts = BORDER.split(word)
    return parts if len(parts) > 1 else []


def spoken(query: str) -> Spoken | None:
    """What a query asks: words joined by AND, the last a prefix, quoted phrases as they stand; None where it asks nothing.

    Nothing in it but the quotes is an operator, and one that is left open closes at the end. What is neither letter nor
    digit parts words; what holds nothing else is passed over, and where that is all, nothing is found.
    """
    pieces = query.split('"')
    asked = [(text, place % 2 == 1) for place, piece in enumerate(pieces) for text in ([piece] if place % 2 else piece.split())]
    asked = [(text, quoted) for text, quoted in asked if text.strip()]
    if not asked:
        return None
    sayable = [(words, quoted) for text, quoted in asked if said(words := normal(text).strip())]
    typing = bool(sayable) and not sayable[-1][1] and not ALONE.match(sayable[-1][0][-1])
    terms = dict.fromkeys(term(words, quoted=quoted) for words, quoted in (sayable[:-1] if typing else sayable))
    begins = term(sayable[-1][0], quoted=False, begins="*") if typing else ""
    return Spoken(tuple(terms), begins, " ".join(UNSPEAKABLE.sub(" ", query.replace('"', " ")).split()))


def said(text: str) -> bool:
    """Is there anything in it that the index takes for part of a word?"""
    return any(unicodedata.category(character)[0] in "LN" or unicodedata.category(character) == "Co" for character in text)


def term(words: str, *, quoted: bool, begins: str = "") -> str:
    """One phrase, for a word of several in one with its parts as another way to say it."""
    found = WORD.findall(words)
    parts = [] if quoted else [part for word in found for part in parts_of(word) or [word]]
    return f'("{words}"{begins} OR "{" ".join(parts)}")' if len(parts) > len(found) else f'"{words}"{begins}'
