"""How exported files are called: a pattern, made safe for every system, no two alike, never outside the folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from string import Formatter

from embconv.converters.names import safe_stem

from .errors import BadParameter
from .folder_layouts import FolderLayout
from .model import Entry

USUAL = "{trigger}"
UNKNOWN = "unknown"
DIGITS = 12  # of a digest as a name; 8 more where two would meet
PLACEHOLDERS: dict[str, Callable[[Entry], str]] = {
    "base": lambda entry: entry.base or UNKNOWN,
    "trigger": lambda entry: entry.trigger.strip("<>") or entry.trigger,
    "name": lambda entry: entry.name,
    "digest": lambda entry: entry.digest.removeprefix("emb:")[:DIGITS],
    "role": lambda entry: entry.role,
    "creator": lambda entry: entry.creators[0] if entry.creators else UNKNOWN,
}
Part = list[tuple[str, str]]  # a text, and the placeholder after it or ""


def parts_of(pattern: str) -> list[Part]:
    """A pattern such as `{base}/{trigger}` part by part; BadParameter for a placeholder that means nothing, or a way out of the folder."""
    pieces = re.split(r"[/\\]", pattern.strip())
    if not pattern.strip() or pieces[0] == "" or re.match(r"[A-Za-z]:", pattern):
        raise BadParameter("name", pattern, "a name, or folders and a name, below the folder that is written to")
    if pieces[-1].strip(" .") == "" or ".." in (piece.strip() for piece in pieces):
        raise BadParameter("name", pattern, "it ends in the name of a file, and .. leads out of the folder")
    return [list(parsed(piece, pattern)) for piece in pieces if piece.strip(" .")]


def parsed(piece: str, pattern: str) -> Iterator[tuple[str, str]]:
    """The texts and placeholders of one part."""
    try:
        found = list(Formatter().parse(piece))
    except ValueError as exc:
        raise BadParameter("name", pattern, "a { belongs to each }") from exc
    for text, field, form, conversion in found:
        if field is not None and (field not in PLACEHOLDERS or form or conversion):
            shown = f"{{{field}}}"
            raise BadParameter("placeholder", shown, f"known are {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}", PLACEHOLDERS)
        yield text, field or ""


def stem_of(entry: Entry, parts: list[Part], layout: FolderLayout) -> tuple[str, ...]:
    """The folders and the stem of one embedding's file; what the program cannot have in a name is `_`."""
    made = ("".join(text + (PLACEHOLDERS[field](entry) if field else "") for text, field in part) for part in parts)
    return tuple(layout.part(safe_stem(part)) for part in made)


def placed(entries: Iterable[Entry], pattern: str, layout: FolderLayout) -> dict[str, tuple[str, ...]]:
    """Digest -> the folders and the stem of its file.

    Of those that want one name the one that was added first gets it (the first that the program can hold), and every other
    gets a `-` and eight digits of its digest. Names that differ in case only are one; for a program that goes by the file's
    name, so are those in two folders.
    """
    parts, taken, found = parts_of(pattern), set[str](), dict[str, tuple[str, ...]]()
    for entry in sorted(entries, key=lambda entry: (not layout.can_hold(entry), entry.added, entry.digest)):
        *folders, stem = wanted = stem_of(entry, parts, layout)
        bare = entry.digest.removeprefix("emb:")
        more = iter(range(8, len(bare) + 1))
        while (key := "/".join(wanted[-1:] if layout.by_stem else wanted).casefold()) in taken:
            wanted = (*folders, f"{stem}-{bare[: next(more)]}")
        taken.add(key)
        found[entry.digest] = tuple(wanted)
    return found
