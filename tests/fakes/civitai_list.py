"""GET /models of the fake Civitai: what is in the list, in which order, and how its cursors lose and repeat rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from fakes.civitai_bodies import list_version, model_body
from fakes.civitai_catalogue import NOW, Model, Version, gated
from fakes.civitai_faults import Reply, Seen, error
from fakes.civitai_params import RULES, parse, zod_error
from fakes.civitai_world import ALL_LEVELS, World

Wanted = dict[str, Any]
Resume = Callable[[Model], bool]

# sort: what is counted, what decides between equals
COUNTS: dict[str, tuple[str, str]] = {
    "Highest Rated": ("thumbs_up", "downloads"),
    "Most Liked": ("thumbs_up", "downloads"),
    "Most Downloaded": ("downloads", "thumbs_up"),
    "Most Discussed": ("comments", "thumbs_up"),
    "Most Collected": ("collected", "thumbs_up"),
    "Most Images": ("image_count", "thumbs_up"),
}
DAYS = {"Year": 365, "Month": 30, "Week": 7, "Day": 1}


class BadCursor(Exception):
    """A cursor of another sort, or the one that the list itself hands out at its tail without dates."""


# order and cursors


def _count_key(model: Model, sort: str) -> tuple[int, int, int]:
    first, second = COUNTS[sort]
    return -getattr(model, first), -getattr(model, second), model.id


def ordered(world: World, sort: str) -> list[Model]:
    """All models in this order, made once for each state of the catalogue."""
    revision = world.catalogue.revision
    if world.orders.get(sort, (-1,))[0] != revision:
        world.orders[sort] = (revision, _order(list(world.catalogue.models.values()), sort))
    return world.orders[sort][1]


def _order(models: list[Model], sort: str) -> list[Model]:
    if sort in COUNTS:
        return sorted(models, key=lambda model: _count_key(model, sort))
    dated = sorted((model for model in models if model.last_version_at), key=lambda model: (model.last_version_at or "", model.id), reverse=sort == "Newest")
    undated = sorted((model for model in models if not model.last_version_at), key=lambda model: model.id, reverse=sort == "Newest")
    return dated + undated


def cursor_of(model: Model, sort: str) -> str:
    """The sort key of the first row of the next page; a row without a date gives `|id`."""
    if sort in COUNTS:
        first, second, identity = _count_key(model, sort)
        return f"{-first}|{-second}|{identity}"
    return f"{(model.last_version_at or '').replace('T', ' ').removesuffix('Z')}|{model.id}"


def resume(cursor: str, sort: str) -> Resume:
    """Which rows come after it: Newest leaves out its own row, Oldest repeats the rows of its moment."""
    expected, parts = 3 if sort in COUNTS else 2, cursor.split("|")
    if len(parts) != expected:
        raise BadCursor(f"Invalid cursor: expected {expected} value(s) for this sort, received {len(parts)}")
    last = _integer(parts[-1])
    if sort in COUNTS:
        start = (-_integer(parts[0]), -_integer(parts[1]), last)
        return lambda model: _count_key(model, sort) >= start
    moment = _moment(parts[0])
    if sort == "Oldest":
        return lambda model: model.last_version_at is None or model.last_version_at >= moment
    return lambda model: model.last_version_at is None or (model.last_version_at, model.id) < (moment, last)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise BadCursor(f'Invalid cursor: unparseable numeric value "{text}"')
    return int(text)


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text.strip()).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except ValueError:
        raise BadCursor(f'Invalid cursor: unparseable numeric value "{text}"') from None


def before(cursor: str, sort: str) -> str:
    """A cursor that differs and loses no row: for pages that are empty by a fault."""
    *parts, identity = cursor.split("|")
    return "|".join([*parts, str(int(identity) + (1 if sort == "Newest" else -1))])


# what is in the list


def slug(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "", name.replace(" ", "_", 1)).lower()


def _listed(world: World, wanted: Wanted) -> Iterator[Callable[[Model], bool]]:
    """One filter for each thing that keeps a model out of every list."""
    faults, levels = world.faults, ALL_LEVELS if wanted.get("nsfw") else 1
    gone = faults.vanished | faults.omitted_from_ids | (set() if "ids" in wanted else faults.omitted)
    yield lambda model: model.id not in gone
    yield lambda model: model.status == "Published" and model.availability != "Private" and not model.poi
    yield lambda model: bool(model.nsfw_level & levels)
    if wanted.get("nsfw"):
        yield lambda model: not model.minor
    if not wanted.get("archived"):
        yield lambda model: model.mode != "Archived"


def _asked(world: World, wanted: Wanted) -> Iterator[Callable[[Model], bool]]:
    """One filter for each parameter that is there."""
    if "types" in wanted:
        yield lambda model: model.type in wanted["types"]
    if "checkpointType" in wanted:
        yield lambda model: model.type == "Checkpoint"
    if "allowCommercialUse" in wanted:
        yield lambda model: bool({*model.allow_commercial_use} & {*wanted["allowCommercialUse"]})
    if "availability" in wanted:
        yield lambda model: model.availability == wanted["availability"]
    if wanted.get("supportsGeneration"):
        yield lambda model: model.supports_generation
    if wanted.get("earlyAccess"):
        yield lambda model: any(gated(version) for version in model.versions)
    if "fileFormats" in wanted:
        yield lambda model: any(file.type == "Model" and file.metadata.get("format") in wanted["fileFormats"] for file in model.files)
    yield from _asked_by_name(world, wanted)


def _asked_by_name(world: World, wanted: Wanted) -> Iterator[Callable[[Model], bool]]:
    if "ids" in wanted and not wanted.get("query"):
        ids = {*wanted["ids"]}
        yield lambda model: model.id in ids
    if "baseModels" in wanted:
        yield lambda model: any(version.base_model in wanted["baseModels"] for version in model.versions)
    if "modelVersionIds" in wanted:
        yield lambda model: any(version.id in wanted["modelVersionIds"] for version in model.versions)
    tag = (wanted.get("tag") or wanted.get("tagname") or "").lower()
    if tag in world.catalogue.blocked_tags:
        yield lambda model: False
    elif tag and any(tag in model.tags for model in world.catalogue.models.values()):
        yield lambda model: tag in model.tags  # an unknown tag filters nothing
    user = wanted.get("username") or wanted.get("user")
    if user:
        yield lambda model: bool(model.creator and model.creator.username and slug(model.creator.username) == slug(user))
    if wanted.get("period", "AllTime") != "AllTime":
        start = datetime.fromisoformat(NOW) - timedelta(days=DAYS[wanted["period"]])
        yield lambda model: bool(model.last_version_at and datetime.fromisoformat(model.last_version_at) >= start)


def matching(world: World, wanted: Wanted) -> Callable[[Model], bool]:
    filters = [*_listed(world, wanted), *_asked(world, wanted)]
    return lambda model: all(keeps(model) for keeps in filters)


def _versions(model: Model, wanted: Wanted) -> Iterator[Version]:
    """Those which the list shows; one without any file is not shown."""
    named = "ids" in wanted or wanted.get("username") or wanted.get("user")
    for version in model.versions:
        public = version.status == "Published" and (version.availability == "Public" or named)
        base = "baseModels" not in wanted or version.base_model in wanted["baseModels"]
        chosen = "modelVersionIds" not in wanted or version.id in wanted["modelVersionIds"]
        if public and base and chosen and version.files:
            yield version


def _item(world: World, seen: Seen, model: Model, wanted: Wanted) -> dict[str, Any] | None:
    """None for a model that is left without versions: its row stays empty."""
    levels = ALL_LEVELS if wanted.get("nsfw") else 1
    place = world.place(seen)
    versions = [list_version(version, model, place, levels) for version in _versions(model, wanted)]
    if wanted.get("primaryFileOnly"):
        for version in versions:
            version["files"] = [file for file in version["files"] if file.get("primary")]
    return model_body(model, versions, world.commercial_use(model)) if versions else None


# one page


def list_models(world: World, seen: Seen) -> Reply:
    """A page, or the first thing that is wrong with the question."""
    wanted, issues = parse(seen.query, RULES)
    refusal = zod_error(issues) if issues else _refusal(world, seen, wanted)
    if refusal:
        return refusal
    try:
        rows, cursor = _search(world, seen, wanted) if wanted.get("query") else _window(world, seen, wanted)
    except BadCursor as bad:
        return Reply(400, {"message": str(bad)})
    items = [item for model in rows if (item := _item(world, seen, model, wanted))]
    return Reply(200, {"items": items, "metadata": _metadata(world, seen, wanted, cursor)})


def _refusal(world: World, seen: Seen, wanted: Wanted) -> Reply | None:
    limit, account = wanted.get("limit", 100), world.account(seen)
    user = wanted.get("username") or wanted.get("user")
    if account is None and seen.query.keys() & {"favorites", "hidden"}:
        return error(401, "Unauthorized")
    if wanted.get("query") and "page" in wanted:
        return error(400, "Cannot use page param with query search. Use cursor-based pagination.")
    if wanted.get("page", 1) * limit > 1000:
        return error(429, "You've requested too many pages, please use cursors instead")
    if wanted.get("availability") == "Private" and not user:
        return Reply(401, {"message": "You are not authorized to perform this action"})
    if user and not any(slug(name) == slug(user) for name in usernames(world)):
        return Reply(404, {"message": "User not found"})
    if world.faults.fires("search_503", seen):
        return error(503, "Model search is temporarily overloaded — please retry.", Retry_After="2", Cache_Control="no-store")
    return None


def usernames(world: World) -> list[str]:
    """All creators, each once, in the order of their first model."""
    models = world.catalogue.models.values()
    return list(dict.fromkeys(model.creator.username for model in models if model.creator and model.creator.username))


def _window(world: World, seen: Seen, wanted: Wanted) -> tuple[list[Model], str | int | None]:
    """`limit` rows from the cursor on, and the cursor of the row after them; `page` moves nothing."""
    sort, limit, faults = wanted.get("sort", "Highest Rated"), int(wanted.get("limit", 100)), world.faults
    cursor = wanted.get("cursor") or None
    cursor = world.number_cursors.get(int(cursor), cursor) if cursor and cursor.isdecimal() else cursor
    if faults.fires("cursor_endless", seen):
        turn = next(world.turns)
        return [], f"2020-01-01 00:00:00.{turn % 1000:03}|{turn}"
    follows = resume(cursor, sort) if cursor else lambda model: True
    keeps = matching(world, wanted)
    rows: Iterable[Model] = (model for model in ordered(world, sort) if follows(model) and keeps(model))
    if limit == 0:
        return list(islice(rows, 1)), None
    if faults.fires("page_short", seen):
        limit = max(limit // 2, 1)
    found = list(islice(rows, limit + 1))
    following = cursor_of(found[limit], sort) if len(found) > limit else None
    return _misled(world, seen, found, limit, sort, cursor, following)


def _misled(
    world: World, seen: Seen, found: list[Model], limit: int, sort: str, cursor: str | None, following: str | None
) -> tuple[list[Model], str | int | None]:
    """The page as the faults of its cursor will have it."""
    faults = world.faults
    if found and faults.fires("page_empty_with_cursor", seen):
        return [], before(cursor or cursor_of(found[0], sort), sort)
    if faults.fires("cursor_stuck", seen):
        return found[:limit], cursor or following
    if following and faults.fires("cursor_number", seen):
        number = int(following.rpartition("|")[2])
        world.number_cursors[number] = following
        return found[:limit], number
    return found[:limit], following


def _search(world: World, seen: Seen, wanted: Wanted) -> tuple[list[Model], str | int | None]:
    """By relevance: an offset as cursor, and all filters but `types` after the top was taken, so that pages may be empty."""
    offset, limit = _integer(wanted.get("cursor") or "0"), int(wanted.get("limit", 100))
    words, types = wanted["query"].lower(), wanted.get("types")
    hits = [model for model in world.catalogue.models.values() if words in model.name.lower() and (not types or model.type in types)]
    keeps = matching(world, wanted)
    following = str(offset + limit) if limit and offset + limit < len(hits) else None
    rows = [model for model in hits[offset : offset + (limit or 1)] if keeps(model)]
    return rows, int(following) if following and world.faults.fires("cursor_number", seen) else following


def _metadata(world: World, seen: Seen, wanted: Wanted, cursor: str | int | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if cursor is not None:
        facts = {"nextCursor": cursor, "nextPage": next_page(world, seen, str(cursor))}
    if "page" in wanted and not wanted.get("cursor"):
        facts |= {"currentPage": int(wanted["page"]), "pageSize": int(wanted.get("limit", 100))}
    return facts


def next_page(world: World, seen: Seen, cursor: str) -> str:
    """The same question with the cursor set; a token in it is copied too."""
    query = {name: values for name, values in seen.query.items() if name != "cursor"} | {"cursor": [cursor]}
    pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, values in query.items() for value in values if value)
    origin = world.faults.other_host if world.faults.fires("next_page_other_host", seen) else world.place(seen).api
    return f"{origin}{seen.path}?{pairs}"
