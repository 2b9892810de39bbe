"""The fake Civitai's endpoints besides the list and the downloads: by id, by hash, creators, tags, enums, me, images."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fakes.civitai_bodies import ECOSYSTEMS, Place, gallery_image, mini_body, model_body, single_version, version_body
from fakes.civitai_catalogue import File, Model, Version, best_file, primary
from fakes.civitai_faults import Reply, Seen, error
from fakes.civitai_list import slug, usernames
from fakes.civitai_params import FILE_TYPES, MODEL_TYPES, number, numbers, one_of, parse, prettified, scalar, string_bool, zod_error
from fakes.civitai_world import ALL_LEVELS, World

INT4 = 2147483647


def _number_of(text: str) -> float | None:
    """As JavaScript's Number(); None for NaN."""
    try:
        return float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | Reply:
    """An id of /models/{id}, or what zod says of it."""
    value = _number_of(text)
    if value is None:
        return prettified("Invalid input: expected number, received NaN", "id")
    if value != int(value):
        return prettified("Invalid input: expected int, received number", "id")
    if value <= 0:
        return prettified("Too small: expected number to be >0", "id")
    return int(value) if value <= INT4 else prettified(f"Too big: expected number to be <={INT4}", "id")


def one_model(world: World, seen: Seen, text: str) -> Reply:
    """All levels, and nothing that is null or empty in its versions."""
    model_id = _whole(text)
    if isinstance(model_id, Reply):
        return model_id
    model = world.model(model_id)
    versions = _visible(model) if model else []
    if model is None or not versions or model_id in world.faults.missing_by_id:
        return error(404, f"No model with id {model_id}")
    place = Place(world.faults.canonical_url or world.place(seen).api, world.storage_url)
    return Reply(200, model_body(model, [single_version(version, model, place) for version in versions], world.commercial_use(model)))


def _visible(model: Model) -> list[Version]:
    if model.status != "Published" or model.availability == "Private" or model.poi or not model.nsfw_level:
        return []
    return [version for version in model.versions if version.status == "Published"]


def one_version(world: World, seen: Seen, text: str) -> Reply:
    """POI models and all levels are here; what is not rated yet is not."""
    value = _number_of(text)
    if value is None:
        return prettified("Invalid input: expected number, received NaN", "id")
    if not value:
        return error(400, "Missing modelVersionId")
    if value != int(value) or abs(value) > INT4:
        return error(500, "Failed to fetch model version details")
    pair = world.version(int(value))
    if pair is None or pair[0].status != "Published" or not pair[0].nsfw_level & ALL_LEVELS:
        return error(404, "Model not found")
    return Reply(200, version_body(*pair, world.place(seen))) if pair[0].files else error(404, "Missing model file")


def mini(world: World, seen: Seen, text: str) -> Reply:
    pair = world.version(int(text)) if text.isdecimal() else None
    if pair is None or pair[0].status != "Published":
        return error(404, "Model not found")
    wanted = seen.one("modelFileId")
    named = next((file for file in pair[0].files if str(file.id) == wanted), None)
    chosen = named if wanted else best_file(list(pair[0].files), {})
    return Reply(200, mini_body(*pair, chosen, world.place(seen)))


# by hash


def _holders(world: World, digest: str) -> list[tuple[File, Version, Model]]:
    """Published ones, the oldest first; neither level nor mode nor availability matters."""
    found = ((file, world.version(file.version_id)) for file in world.catalogue.by_hash(digest))
    held = [(file, *pair) for file, pair in found if pair and pair[0].status == "Published" and pair[1].status == "Published"]
    return sorted(held, key=lambda each: (each[1].published_at or "", each[1].id))


def by_hash(world: World, seen: Seen, digest: str) -> Reply:
    """A hash of any kind, whole; a 404 may stick."""
    held = [] if digest.upper() in world.stuck_hashes else _holders(world, digest)
    if not held:
        if world.faults.by_hash_sticky_404:
            world.stuck_hashes.add(digest.upper())
        return error(404, "Model not found")
    return Reply(200, version_body(*held[0][1:], world.place(seen), by_hash=True))


def _asked_hashes(seen: Seen, most: int) -> list[str] | Reply:
    try:
        digests = json.loads(seen.body)
    except ValueError:
        digests = None
    if not isinstance(digests, list):
        issue: dict[str, Any] = {"expected": "array", "code": "invalid_type", "path": [], "message": "Invalid input: expected array, received undefined"}
    elif len(digests) > most:
        issue = {"origin": "array", "code": "too_big", "maximum": most, "inclusive": True, "path": [], "message": "Too many hashes"}
    else:
        bad = [at for at, digest in enumerate(digests) if not isinstance(digest, str) or len(digest) != 64]
        if not bad:
            return [digest.upper() for digest in digests]
        issue = {"code": "custom", "path": [bad[0]], "message": "Invalid hash"}
    return error(400, f"Request must include an array of SHA256 Hashes. {json.dumps([issue], indent=2)}")


def _sha256_holders(world: World, digests: list[str]) -> list[tuple[File, Version, Model]]:
    found = [each for digest in dict.fromkeys(digests) for each in _holders(world, digest) if each[0].hashes.get("SHA256") == digest]
    return sorted(found, key=lambda each: -each[0].id)  # in no order that a client may count on


def by_hash_bulk(world: World, seen: Seen) -> Reply:
    """One answer for each file, null for a version without a primary, and links to a host called undefined."""
    digests = _asked_hashes(seen, 100)
    if isinstance(digests, Reply):
        return digests
    place = Place("https://undefined", world.storage_url)
    held = _sha256_holders(world, digests)
    shown = [(version, model) if _shows_primary(version) else None for _, version, model in held]
    return Reply(200, [version_body(*each, place, by_hash=True) if each else None for each in shown])


def _shows_primary(version: Version) -> bool:
    chosen = primary(version)
    return chosen is not None and chosen.visibility == "Public"


def by_hash_ids(world: World, seen: Seen) -> Reply:
    digests = _asked_hashes(seen, 10_000)
    if isinstance(digests, Reply):
        return digests
    held = _sha256_holders(world, digests)
    return Reply(200, [{"modelVersionId": version.id, "modelId": model.id, "hash": file.hashes["SHA256"]} for file, version, model in held])


# the others


def _paged(seen: Seen, most: int, default: int) -> tuple[dict[str, Any], Reply | None]:
    rules: dict[str, Callable[[list[str]], Any]] = {"limit": number(1, most), "page": number(1), "query": scalar}
    wanted, issues = parse(seen.query, rules)
    return {"limit": default, "page": 1, "query": ""} | wanted, Reply(400, issues) if issues else None


def creators(world: World, seen: Seen) -> Reply:
    """Here `page` moves the window."""
    wanted, refusal = _paged(seen, 200, 20)
    if refusal:
        return refusal
    limit, page, place = int(wanted["limit"]), int(wanted["page"]), world.place(seen)
    names = [name for name in usernames(world) if wanted["query"].lower() in name.lower()]
    pages = -(-len(names) // limit)
    facts: dict[str, Any] = {"totalItems": len(names), "currentPage": page, "pageSize": limit, "totalPages": pages}
    base = f"{place.api}{seen.path}?limit={limit}&page="
    facts |= ({"nextPage": f"{base}{page + 1}"} if page < pages else {}) | ({"prevPage": f"{base}{page - 1}"} if page > 1 else {})
    items = [_creator(world, name, place) for name in names[(page - 1) * limit : page * limit]]
    return Reply(200, {"items": items, "metadata": facts})


def _creator(world: World, name: str, place: Place) -> dict[str, Any]:
    count = sum(1 for model in world.catalogue.models.values() if model.creator and model.creator.username == name)
    return {"username": name, "modelCount": count, "link": f"{place.api}/api/v1/models?username={slug(name)}"}


def tags(world: World, seen: Seen) -> Reply:
    """No total and no next page, though `page` moves the window."""
    wanted, refusal = _paged(seen, 200, 20)
    if refusal:
        return refusal
    limit, page, place = int(wanted["limit"]), int(wanted["page"]), world.place(seen)
    names = list(dict.fromkeys(tag for model in world.catalogue.models.values() for tag in model.tags))
    found = [name for name in names if name.startswith(wanted["query"].lower())]
    items = [{"name": name, "link": f"{place.api}/api/v1/models?tag={name}"} for name in found[(page - 1) * limit : page * limit]]
    return Reply(200, {"items": items, "metadata": {"totalItems": 0, "currentPage": page, "pageSize": limit, "totalPages": 1}})


def enums(world: World, seen: Seen) -> Reply:
    bases = [*ECOSYSTEMS, "Other"]
    kinds = ["Standard", "Inpainting", "Refiner", "Pix2Pix"]
    return Reply(200, {"ModelType": MODEL_TYPES, "ModelFileType": FILE_TYPES, "ActiveBaseModel": bases, "BaseModel": bases, "BaseModelType": kinds})


def me(world: World, seen: Seen) -> Reply:
    """The only way to try a token."""
    account = world.account(seen)
    if account is None:
        return error(401, "Unauthorized")
    facts = {"id": account.id, "username": account.username, "tier": "free", "status": account.status}
    return Reply(200, facts | {"isMember": False, "subscriptions": []})


GALLERY: dict[str, Callable[[list[str]], Any]] = {
    "limit": number(0, 200),
    "page": number(1),
    "cursor": number(0),
    "modelId": number(),
    "modelVersionId": number(),
    "imageId": number(),
    "username": scalar,
    "sort": one_of("Most Reactions", "Most Comments", "Most Collected", "Newest", "Oldest", "Random"),
    "browsingLevel": number(),
    "withMeta": string_bool,
    "tags": numbers,
}
GALLERY_LEVELS = {"none": 1, "soft": 3, "mature": 7, "x": 31, "blocked": 32}


def _gallery_levels(seen: Seen, wanted: dict[str, Any]) -> int:
    """`nsfw=true` is R and above only; `nsfw=X` is everything."""
    if "browsingLevel" in wanted:
        return int(wanted["browsingLevel"])
    asked = (seen.one("nsfw") or "none").lower()
    return 60 if asked == "true" else GALLERY_LEVELS.get(asked, 1)


def gallery(world: World, seen: Seen) -> Reply:
    """Example pictures, newest first."""
    wanted, issues = parse(seen.query, GALLERY)
    if issues:
        return zod_error(issues)
    limit, page = int(wanted.get("limit", 100)), int(wanted.get("page", 1))
    if page * limit > 1000:
        return error(429, "You've requested too many pages, please use cursors instead")
    levels, start = _gallery_levels(seen, wanted), int(wanted["cursor"]) if "cursor" in wanted else (page - 1) * limit
    rows = [row for row in _pictures(world, wanted) if row[0].nsfw_level & levels]
    items = [gallery_image(*row, world.place(seen)) for row in rows[start : start + limit]]
    more = start + limit < len(rows)
    link = f"{seen.path}?limit={limit}&cursor={start + limit}"
    return Reply(200, {"items": items, "metadata": {"nextCursor": start + limit, "nextPage": world.place(seen).api + link} if more else {}})


def _pictures(world: World, wanted: dict[str, Any]) -> list[tuple[Any, Version, Model]]:
    listed = (model for model in world.catalogue.models.values() if model.id not in world.faults.vanished and model.status == "Published" and not model.poi)
    rows = [(image, version, model) for model in listed for version in model.versions for image in version.images]
    for name, read in (("modelId", lambda row: row[2].id), ("modelVersionId", lambda row: row[1].id), ("imageId", lambda row: row[0].id)):
        if name in wanted:
            rows = [row for row in rows if read(row) == int(wanted[name])]
    return sorted(rows, key=lambda row: -row[0].id)


def training_data(world: World, seen: Seen, text: str) -> Reply:
    return Reply(307, b"", {"Location": f"/api/download/models/{text}?type=Training%20Data"})
