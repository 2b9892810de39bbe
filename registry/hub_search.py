"""The Hub's list of models as a search of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embconv.converters.encoders import BASES

from .columns import Columns
from .errors import BadParameter
from .hub_card import KIND, LIBRARY, ROLE, TASK
from .hub_shapes import OWNER, ModelInfo
from .huggingface import decoded, model_info, repository
from .model import ROLES
from .query import MOST, query_of
from .search import page
from .store import Store

Pairs = Sequence[tuple[str, str]]

# Parameters that choose among models, with what is true of all here; one that asks for anything else finds nothing.
ONLY = {
    "author": (OWNER,),
    "library": (LIBRARY,),
    "pipeline_tag": (TASK,),
    "gated": ("false",),
    "apps": (),
    "inference": (),
    "inference_provider": (),
    "num_parameters": (),
    "trained_dataset": (),
}
ALL = (LIBRARY, KIND, TASK)  # filters that every model here passes
SORTS = {"downloads": "downloads", "likes": "downloads", "trendingScore": "downloads", "createdAt": "added", "lastModified": "added"}


def listed(store: Store, columns: Columns, pairs: Pairs, url: str) -> tuple[list[ModelInfo], str | None]:
    """The page of models that is asked for, and where the next is. BadParameter for a limit or a cursor that is none."""
    asked = list(searched(pairs))
    query = query_of(asked)
    bases = {value for name, value in asked if name == "base"}
    if len(bases) > 1 or not all(value.casefold() in ONLY.get(name, (value.casefold(),)) for name, value in pairs):
        return [], None
    found = page(store, columns, query, url, pairs)
    return [model_info(repository(store, decoded(item))) for item in found.items], found.next


def searched(pairs: Pairs) -> Iterator[tuple[str, str]]:
    """The Hub's parameters as ours. Those that only say how much to tell of each are passed over."""
    for name, value in {**{name: value for name, value in pairs if name != "filter"}, "limit": limit_in(pairs)}.items():
        if name in ("limit", "cursor"):
            yield name, value
        elif name == "search":
            yield "q", value.removeprefix(f"{OWNER}/")
        elif name == "sort" and value in SORTS:
            yield name, f"-{SORTS[value]}" if ("direction", "1") in pairs else SORTS[value]
    yield from (asked for name, value in pairs if name == "filter" for word in value.split(",") for asked in filtered(word.strip()))


def limit_in(pairs: Pairs) -> str:
    """How many; more than a page holds is what a page holds, with a way to the next."""
    text = next((value for name, value in pairs if name == "limit"), str(MOST))
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 1_000 and int(text)):
        raise BadParameter("limit", text, "a whole number from 1")
    return str(min(int(text), MOST))


def filtered(word: str) -> Iterator[tuple[str, str]]:
    """One of the Hub's filters: a licence, a base, a role, or a tag."""
    kind, _, rest = word.partition(":")
    if not word or word in ALL:
        return
    if kind == "license":
        yield "licence", rest
    elif (base := rest.rpartition(":")[2] if kind == "base_model" else word) in BASES:
        yield "base", base
    elif word.removesuffix(ROLE) in ROLES and word.endswith(ROLE):
        yield "role", word.removesuffix(ROLE)
    else:
        yield "tag", word
