"""What is true of an embedding where several say different things: a person, the sites it came from, the files themselves.

The rule: what a person set stays. Else the newest origin of a site that says anything, else a sidecar, else the file's own
header. Tags and creators are collected from the newest word of each source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from embconv.converters.encoders import BASES, base_of, fits

from .model import NSFW, PERMISSIONS, Licence, Origin

RANK = {"sidecar": 1, "header": 2}  # every other source is a site, 0
TAG, TAGS = 100, 200  # characters of a tag, and how many are kept of one source
COMMERCIAL = {"image": "sell_images", "rentcivit": "rent_on_civitai", "rent": "rent", "sell": "sell_models"}
FLAGS = {"allowNoCredit": "no_credit", "allowDerivatives": "derivatives", "allowDifferentLicense": "other_licence"}


class Told(Struct, frozen=True, kw_only=True):
    """What the origins of one embedding come to."""

    base: str | None
    role: str
    nsfw: str | None
    licence: Licence | None
    downloads: int
    creators: tuple[str, ...]
    tags: tuple[str, ...]
    titles: tuple[str, ...]
    descriptions: tuple[str, ...]
    sources: tuple[str, ...]


NOTHING = Told(
    base=None, role="unknown", nsfw=None, licence=None, downloads=0, creators=(), tags=(), titles=(), descriptions=(), sources=()
)


def told(origins: Sequence[Origin], encoders: set[str]) -> Told:
    """The claims of `origins`, the oldest first, by the rule; a base only where it fits these encoders."""
    if not origins:
        return NOTHING
    newest_first = list(reversed(origins))
    best = sorted(newest_first, key=lambda origin: RANK.get(origin.source, 0))  # stable, so the newest stay first
    newest = list({origin.source: origin for origin in reversed(best) if origin.claims}.values())[::-1]
    return Told(
        base=first(best, lambda claims: fitting(claims.get("base"), encoders)),
        role=first(best, lambda claims: role_in(claims.get("role"))) or "unknown",
        nsfw=first(best, lambda claims: level_in(claims.get("nsfw"))),
        licence=licence_of(best),
        downloads=first(best, lambda claims: count_in(claims.get("downloads"))) or 0,
        creators=collected(newest, ("creator", "creators")),
        tags=tuple(filter(None, (tag_of(tag) for tag in collected(newest, ("tags",)))))[:TAGS],
        titles=collected(newest, ("title",)),
        descriptions=collected(newest, ("description",)),
        sources=tuple(dict.fromkeys(origin.source for origin in origins)),
    )


def first(origins: Iterable[Origin], read: Callable[[dict[str, Any]], Any]) -> Any:
    """The first claim that says anything."""
    return next((found for origin in origins if (found := read(origin.claims)) is not None), None)


def collected(origins: Iterable[Origin], keys: tuple[str, ...]) -> tuple[str, ...]:
    """All texts under these keys, alone or in lists, each once."""
    return tuple(dict.fromkeys(text for origin in origins for key in keys for text in texts(origin.claims.get(key))))


def texts(value: object) -> Iterator[str]:
    """The texts in a claim."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if isinstance(text, str) and text.strip():
            yield text.strip()


def fitting(claim: object, encoders: set[str]) -> str | None:
    """The base that is claimed, where it is known and the vectors fit it."""
    base = base_of(claim) if isinstance(claim, str) else None
    return base if base in BASES and fits(base, encoders) else None


def role_in(claim: object) -> str | None:
    """A role, where it is one."""
    return claim if isinstance(claim, str) and claim in ("positive", "negative") else None


def level_in(claim: object) -> str | None:
    """A level by its name, or Civitai's bit mask, of which the highest bit counts."""
    if isinstance(claim, int) and not isinstance(claim, bool):
        return highest(claim) if 0 < claim < 1 << len(NSFW) else None
    return claim.lower() if isinstance(claim, str) and claim.lower() in NSFW else None


def highest(bits: int) -> str:
    """The highest level of Civitai's bit mask; what is blocked there counts as the highest of all."""
    return NSFW[min(bits.bit_length(), len(NSFW)) - 1]


def count_in(claim: object) -> int | None:
    """A count, where it is one."""
    return claim if isinstance(claim, int) and not isinstance(claim, bool) and 0 <= claim < 1 << 62 else None


def tag_of(text: str) -> str:
    """A tag as it is kept: lower case, one space between words; empty where nothing is left."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).lower().split())[:TAG].strip()


def licence_of(origins: Iterable[Origin]) -> Licence | None:
    """The first licence that is claimed, with who claims it."""
    for origin in origins:
        claim = origin.claims.get("licence", origin.claims.get("license"))
        said = json.dumps(claim) if isinstance(claim, dict) and claim else claim
        if isinstance(said, str) and said.strip():
            return licence(said, origin.source)
    return None


def licence(says: str, source: str) -> Licence:
    """A licence as words: Civitai's permission flags one by one, a named licence as its name in lower case."""
    flags = flags_in(says)
    if flags is None:
        return Licence(says=says.strip(), permits=(" ".join(says.lower().split()),), source=source)
    permitted = {word for flag, word in FLAGS.items() if flags.get(flag) is True}
    permitted |= commercial(flags.get("allowCommercialUse"))
    return Licence(says=says.strip(), permits=tuple(word for word in PERMISSIONS if word in permitted), source=source)


def flags_in(says: str) -> dict[str, Any] | None:
    """Civitai's flags, where that is what it says."""
    if not says.lstrip().startswith("{"):
        return None
    try:
        flags = json.loads(says)
    except (ValueError, RecursionError):
        return None
    known = {*FLAGS, "allowCommercialUse"}
    return flags if isinstance(flags, dict) and known & flags.keys() else None


def commercial(value: object) -> set[str]:
    """What it permits, as our words; no more than is said."""
    return {COMMERCIAL[word] for word in commercial_words(value) if word in COMMERCIAL}


def commercial_words(value: object) -> list[str]:
    """`["Image", "RentCivit"]`, `"{Image,RentCivit}"` or, of 2023, one word alone, as a list in lower case."""
    words = value if isinstance(value, list) else value.strip("{}").split(",") if isinstance(value, str) else []
    return [word.strip(' "').lower() for word in words if isinstance(word, str)]
