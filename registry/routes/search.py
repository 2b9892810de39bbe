"""Searching: the parameters of a URL in, a page of embeddings with counts and the way to the next page out."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import ASGIApp
from msgspec import Struct

from embconv.converters import ENCODERS, LAYOUTS
from embconv.converters.encoders import BASES

from ..downloads import FRESH, Reply
from ..errors import BadParameter
from ..model import NSFW, ROLES, VERDICTS, Entry, Facet
from ..query import ALIASES, FIELDS, LEAST, MOST, NONE, SORTS, UNRATED, USUAL, query_of
from ..search import page
from .call import base_url, pairs_of, reading, service_of
from .operation import Answer, Call, Operation, Parameter, serves
from .said import TEXT


class Found(Struct, frozen=True, kw_only=True):
    """A part of what was found. `total` counts all of it; `next` leads to the part after this one; `facets` are by field."""

    items: tuple[Entry, ...]
    total: int
    next: str | None
    facets: dict[str, Facet] = {}


def filtering(name: str, says: str, schema: dict[str, Any] | None = None) -> Parameter:
    """A filter, which may be given several times."""
    each = schema or {**TEXT, "minLength": 1, "maxLength": 200, "pattern": r"\S"}
    return Parameter(name=name, says=says, schema={"type": "array", "maxItems": 50, "items": each}, repeats=True)


def words(*known: str) -> dict[str, Any]:
    """One of a few words."""
    return {"type": "string", "enum": [*known]}


PARAMETERS = (
    Parameter(name="q", says='Words that must all be there, the last as the beginning of one; "words in quotes" stand together.',
              schema={**TEXT, "maxLength": 1000}, example="bad hand"),
    filtering("base", "The model family; any of several.", words(*BASES, NONE)),
    filtering("encoder", "With vectors for this text encoder; any of several.", words(*ENCODERS)),
    filtering("role", "Which prompt it is for.", words(*ROLES)),
    filtering("verdict", "What a test render showed.", words(*VERDICTS, NONE)),
    filtering("layout", "In a file of this layout.", words(*(one.name for one in LAYOUTS))),
    filtering("creator", "By this creator; any of several."),
    filtering("tag", "With this tag; all of several."),
    filtering("licence", "Permitting this, or of this name; all of several."),
    filtering("license", "As licence."),
    filtering("nsfw", "The level; any of several.", words(*NSFW, UNRATED)),
    filtering("origin", "Where it comes from: a source, `any` or `none`."),
    Parameter(name="vectors", says="Of so many vectors: `8`, `2..8`, `8..`, `..4`.", example="2..8",
              schema={**TEXT, "pattern": r"^([0-9]{1,6}(\.\.[0-9]{0,6})?|\.\.[0-9]{1,6})$"}),
    Parameter(name="added_after", says="Added after a day or a moment.", example="2026-11-26", schema={**TEXT, "format": "date"}),
    Parameter(name="sort", says="relevance (where there are words), added, name, downloads or vectors; a leading `-` turns it round.",
              schema=words(*SORTS, *(f"-{sort}" for sort in SORTS))),
    Parameter(name="limit", says="How many.", schema={"type": "integer", "minimum": LEAST, "maximum": MOST, "default": USUAL}),
    Parameter(name="cursor", says="From the `next` of an earlier page of the same search.", schema={**TEXT, "maxLength": 4000}),
    filtering("facet", "Count the values of this field over all that was found.", words(*FIELDS, *ALIASES)),
)  # fmt: skip

SEARCH = Operation(
    id="searchEmbeddings", method="GET", path="/v1/embeddings", tag="embeddings", parameters=PARAMETERS,
    summary="Find embeddings",
    says="Without words all of them, the newest first. Each value of a facet has the URL of the same search with it added or taken away.",
    answers=(Answer(says="A page.", type=Found, headers=("link",)),), errors=(BadParameter,),
)  # fmt: skip


@serves(SEARCH)
async def search_embeddings(request: Call) -> ASGIApp:
    """Find embeddings."""
    pairs, service = pairs_of(request), service_of(request)
    query = query_of(pairs)
    found = await reading(request, page, service.store, service.columns, query, f"{base_url(request)}{SEARCH.path}", pairs)
    link = ((b"link", f'<{found.next}>; rel="next"'.encode("ascii")),) if found.next else ()
    return Reply(msgspec.json.encode(found), headers=(FRESH, *link))


ROUTES = (search_embeddings,)
