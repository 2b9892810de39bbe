"""Models and versions as Civitai's clients read them: what Civitai said, with everything the strictest of them needs.

Nothing that it said is left out but files that are not here and pictures above a level.
"""

from __future__ import annotations

from msgspec import Struct

from .shapes_files import Version, View, file_in, primary, shown
from .shapes_values import Body, creator, dates_of, images, known, mature, permissions, stats, tags, whole, yes
from .shapes_words import AVAILABLE, BASE_TYPES, FAMILIES, KIND, LEVELS, PG
from .wire import texts, words


class Model(Struct, frozen=True, kw_only=True):
    """A model and its versions that are here, the newest first. `seen`: when it was told of."""

    id: int
    body: Body
    versions: tuple[Version, ...]
    seen: str


def shaped(model: Model, view: View) -> Body:
    """A model, in a list or by its id."""
    body, about = model.body, head(model)
    return {
        **body,
        "id": model.id,
        **about,
        "description": words(body.get("description")),
        **permissions(body),
        "minor": yes(body.get("minor")),
        "sfwOnly": yes(body.get("sfwOnly")),
        "nsfwLevel": level(model),
        "availability": known(body.get("availability"), AVAILABLE),
        "baseModels": list(dict.fromkeys(base_of(version) for version in model.versions)),
        "cosmetic": body["cosmetic"] if isinstance(body.get("cosmetic"), str) else None,
        "supportsGeneration": yes(body.get("supportsGeneration")),
        "stats": stats(body),
        "creator": creator(body),
        "tags": tags(body),
        "modelVersions": [version_in(model, place, version, view) for place, version in enumerate(model.versions)],
    }


def head(model: Model) -> Body:
    """What a version tells of its model too."""
    body = model.body
    told = {"name": words(body.get("name")).strip() or str(model.id), "type": words(body.get("type")) or KIND, "poi": yes(body.get("poi")),
            "nsfw": mature(body, level(model))}  # fmt: skip
    return {**told, "mode": body["mode"]} if isinstance(body.get("mode"), str) else told


def version_in(model: Model, place: int, version: Version, view: View) -> Body:
    """A version in its model."""
    body, dates = version.body, dates_of(version.body, model.seen)
    return {
        **body,
        "id": version.id,
        "modelId": model.id,
        "index": whole(body.get("index"), place),
        "name": words(body.get("name")).strip() or str(version.id),
        **dates,
        "status": words(body.get("status")) or "Published",
        "availability": known(body.get("availability"), AVAILABLE),
        "nsfwLevel": whole(body.get("nsfwLevel"), 0),
        "description": words(body.get("description")),
        "trainedWords": texts(body.get("trainedWords")),
        "baseModel": base_of(version),
        "baseModelType": words(body.get("baseModelType")) or BASE_TYPES[0],
        "air": words(body.get("air")) or air(model, version),
        "usageControl": words(body.get("usageControl")) or "Download",
        "uploadType": words(body.get("uploadType")) or "Created",
        "stats": stats(body),
        "supportsGeneration": yes(body.get("supportsGeneration")),
        "files": [file_in(file, version, view) for file in shown(version, view)],
        "images": [image for image in images(body) if fits(image, view)],
        "downloadUrl": f"{view.origin}/api/download/models/{version.id}",
    }


def version_alone(model: Model, version: Version, view: View) -> Body:
    """A version by its id or a hash, which tells of its model."""
    place = next((place for place, each in enumerate(model.versions) if each.id == version.id), 0)
    # in these answers an id of a picture is the last part of its address
    return {**version_in(model, place, version, view), "model": {**head(model), "description": words(model.body.get("description")),
            "tags": tags(model.body), **permissions(model.body)}, "creator": creator(model.body)}  # fmt: skip


def mini(model: Model, version: Version, view: View) -> Body:
    """A version in short."""
    body, file = version_in(model, 0, version, view), primary(version)
    told = file_in(file, version, view)
    return {
        "air": body["air"], "versionName": body["name"], "modelName": head(model)["name"], "baseModel": body["baseModel"],
        "availability": body["availability"], "publishedAt": body["publishedAt"], "size": told["sizeKB"], "fileType": told["type"],
        "fileName": told["name"], "hashes": told["hashes"], "downloadUrls": [told["downloadUrl"]], "format": told["metadata"]["format"],
        "canGenerate": False, "isFeatured": False, "requireAuth": False, "checkPermission": False, "additionalResourceCharge": False,
        "minor": yes(model.body.get("minor")), "sfwOnly": yes(model.body.get("sfwOnly")), "fees": [], "payoutEnabled": False,
    }  # fmt: skip


def level(model: Model) -> int:
    """All levels of its pictures, as bits; 0 while nobody rated it."""
    bits = whole(model.body.get("nsfwLevel"), 0)
    for version in model.versions if not bits else ():
        bits |= whole(version.body.get("nsfwLevel"), 0)
    if not bits and isinstance(model.body.get("nsfw"), bool) and model.body.get("nsfwLevel") is None:  # of 2023
        return LEVELS["X"] if model.body["nsfw"] else PG
    return bits


def fits(image: Body, view: View) -> bool:
    """May it be seen?"""
    return view.levels is None or bool(image["nsfwLevel"] & view.levels)


def base_of(version: Version) -> str:
    """Its base in Civitai's words."""
    return words(version.body.get("baseModel")).strip() or "Other"


def air(model: Model, version: Version) -> str:
    """How it is called everywhere."""
    base = base_of(version)
    family = FAMILIES.get(base, base.lower().replace(" ", ""))
    kind = {KIND: "embedding"}.get(head(model)["type"], head(model)["type"].lower())
    return f"urn:air:{family}:{kind}:civitai:{model.id}@{version.id}"
