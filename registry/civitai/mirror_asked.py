"""What a client of Civitai asks of a list, read as Civitai reads it, and refused in its words (zod 4)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..errors import BadParameter, RegistryError, UnknownReference
from .mirror_index import Key
from .shapes_words import MODEL_TYPES, PERIODS, SORTS

Pairs = Sequence[tuple[str, str]]
TRUE = ("true", "1", "yes", "on", "y", "enabled")
FALSE = ("false", "0", "no", "off", "n", "disabled")
MOST = 100               # models of a page
LARGEST = 2**31 - 1      # of Civitai's ids
PAGES = 10**6
NUMBER = 1 << 62         # of a cursor
NAN = "Invalid input: expected number, received NaN"


class Refused(BadParameter):
    """A request that Civitai would refuse; `body` is how it says so."""

    def __init__(self, says: str, body: Any = None) -> None:
        RegistryError.__init__(self, says)
        self.body = {"error": says} if body is None else body


class Missing(UnknownReference):
    """Something that is not here; `body` is how Civitai says so."""

    def __init__(self, says: str, body: Any = None) -> None:
        RegistryError.__init__(self, says)
        self.body = {"error": says} if body is None else body


class Issue(Exception):  # zod calls it so
    """One thing that is wrong with a parameter."""

    def __init__(self, message: str, code: str, *path: int, **facts: Any) -> None:
        super().__init__(message)
        self.path, self.told = path, {"code": code, **facts, "message": message}


class Asked(Struct, frozen=True, kw_only=True):
    """Which models, and how many. Of `versions` no other is shown; None: all of them, as no word in `bases` or `types` is."""

    limit: int = MOST
    page: int | None = None
    cursor: Key | None = None
    query: str = ""
    tag: str = ""
    username: str = ""
    types: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    ids: frozenset[int] | None = None
    versions: frozenset[int] | None = None
    nsfw: bool = False
    sort: str = SORTS[0]
    primary_only: bool = False


def zod(issues: list[dict[str, Any]]) -> Refused:
    """Civitai's 400: the issues stand in a message, as text."""
    says = json.dumps(issues, indent=2, ensure_ascii=False)
    return Refused("; ".join(str(each["message"]) for each in issues), {"error": {"name": "ZodError", "message": says}})


def prettified(message: str, at: str) -> Refused:
    """The 400 of what is asked for by an id."""
    return Refused(f"\u2716 {message}\n  \u2192 at {at}")


def text(values: Sequence[str]) -> str:
    """One text."""
    if len(values) > 1:
        raise Issue("Invalid input: expected string, received array", "invalid_type", expected="string")
    return values[0]


def number(value: str, *path: int) -> float:
    """As JavaScript's Number()."""
    try:
        found = float(value.strip() or 0)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or "_" in value:
        raise Issue(NAN, "invalid_type", *path, expected="number", received="NaN")
    return found


def within(least: int, most: int) -> Callable[[Sequence[str]], int | None]:
    """A number between two; of nothing Civitai makes 0, and this the usual."""

    def read(values: Sequence[str]) -> int | None:
        if values == [""]:
            return None
        found = number(values[0] if len(values) == 1 else "an array")
        if found < least:
            raise Issue(f"Too small: expected number to be >={least}", "too_small", origin="number", minimum=least, inclusive=True)
        if found > most:
            raise Issue(f"Too big: expected number to be <={most}", "too_big", origin="number", maximum=most, inclusive=True)
        return int(found)

    return read


def flag(values: Sequence[str]) -> bool:
    """Zod's stringbool."""
    said = text(values).lower()
    if said not in (*TRUE, *FALSE):
        options = "|".join(f'"{word}"' for word in (*TRUE, *FALSE))
        raise Issue(f"Invalid option: expected one of {options}", "invalid_value", expected="stringbool", values=[*TRUE, *FALSE])
    return said in TRUE


def word(known: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """One of a few."""

    def read(values: Sequence[str]) -> str:
        if len(values) != 1 or values[0] not in known:
            options = "|".join(f'"{each}"' for each in known)
            raise Issue(f"Invalid option: expected one of {options}", "invalid_value", values=[*known])
        return values[0]

    return read


def separated(values: Sequence[str]) -> tuple[str, ...]:
    """Several, repeated or with commas; Civitai takes one or the other, and gives everything where it does not understand."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def types(values: Sequence[str]) -> tuple[str, ...]:
    """Kinds of models."""
    return tuple(word(MODEL_TYPES)([each]) for each in separated(values))


def numbers(values: Sequence[str]) -> frozenset[int]:
    """Ids; what is too large for one is nobody's."""
    parts = [part for value in values for part in value.split(",")]
    found = [number(part, place) for place, part in enumerate(parts)]
    return frozenset(int(each) for each in found if 0 < each <= LARGEST)


# Parameter -> its field, and how it is read. Civitai passes over all others, and so does this.
READERS: dict[str, tuple[str, Callable[[Sequence[str]], Any]]] = {
    "limit": ("limit", within(0, MOST)),
    "page": ("page", within(1, PAGES)),
    "query": ("query", text),
    "tag": ("tag", text),
    "tagname": ("tag", text),
    "username": ("username", text),
    "user": ("username", text),
    "types": ("types", types),
    "baseModels": ("bases", separated),
    "ids": ("ids", numbers),
    "modelVersionIds": ("versions", numbers),
    "nsfw": ("nsfw", flag),
    "sort": ("sort", word(SORTS)),
    "period": ("", word(PERIODS)),
    "primaryFileOnly": ("primary_only", flag),
}


def asked(pairs: Pairs) -> Asked:
    """What a query asks. Refused for what Civitai would refuse."""
    found = read(pairs, READERS)
    given = grouped(pairs)
    made = Asked(**{name: value for name, value in found.items() if name})
    cursor = given.get("cursor", [""])[0]
    return replace(made, cursor=place(cursor, made.sort)) if cursor else made


def grouped(pairs: Pairs) -> dict[str, list[str]]:
    """Parameter -> its values. PHP's `types[]` is no name of Civitai's."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def read(pairs: Pairs, readers: dict[str, tuple[str, Callable[[Sequence[str]], Any]]]) -> dict[str, Any]:
    """Field -> value; all that is wrong is told at once."""
    found, issues = {}, []
    for name, values in grouped(pairs).items():
        if name in readers:
            known, reader = readers[name]
            try:
                if (value := reader(values)) is not None:
                    found[known] = value
            except Issue as exc:
                issues.append({**{key: value for key, value in exc.told.items() if key != "message"}, "path": [name, *exc.path],
                               "message": exc.told["message"]})  # fmt: skip
    if issues:
        raise zod(issues)
    return found


def place(cursor: str, sort: str) -> Key:
    """Where a page begins: the key of the last model of the one before it."""
    parts, wanted = cursor.split("|"), 2 if sort in ("Newest", "Oldest") else 3
    if len(parts) != wanted:
        says = f"Invalid cursor: expected {wanted} value(s) for this sort, received {len(parts)}"
        raise Refused(says, {"message": says, "error": says})
    bad = next((part for part in parts if not part.isascii() or not part.removeprefix("-").isdigit() or len(part) > 20), None)
    if bad is not None:
        says = f'Invalid cursor: unparseable numeric value "{bad[:40]}"'
        raise Refused(says, {"message": says, "error": says})
    return tuple(max(-NUMBER, min(NUMBER, int(part))) for part in parts)


def cursor_of(key: Key) -> str:
    """The other way round."""
    return "|".join(str(part) for part in key)


def id_in(value: str, at: str) -> int:
    """An id of a path. Refused where it is none."""
    if not value.isascii() or not value.removeprefix("-").isdigit():
        raise prettified(NAN, at)
    if value.startswith("-") or not int(value[:20]):
        raise prettified("Too small: expected number to be >0", at)
    if int(value[:20]) > LARGEST:
        raise prettified(f"Too big: expected number to be <={LARGEST}", at)
    return int(value)


