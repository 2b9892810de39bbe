"""How the fake Civitai says what it has: one JSON shape for each endpoint, its keys in the contract's order."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from fakes.civitai_catalogue import File, Image, Model, Version, api_name, gate_ends, gated, primary

COMMERCIAL_USE = {
    "list": list,
    "string": lambda uses: uses[-1] if uses else "None",
    "literal": lambda uses: "{" + ",".join(uses) + "}",
    "null": lambda uses: None,
}
ECOSYSTEMS = {"SD 1.4": "sd1", "SD 1.5": "sd1", "SD 2.0": "sd2", "SD 2.0 768": "sd2", "SD 2.1": "sd2", "SD 2.1 768": "sd2", "SDXL 0.9": "sdxl",
              "SDXL 1.0": "sdxl", "Pony": "sdxl", "Illustrious": "sdxl", "NoobAI": "sdxl", "Flux.1 S": "flux1", "Flux.1 D": "flux1",
              "Chroma": "chroma", "SD 3": "sd3", "SD 3.5": "sd3"}  # fmt: skip
LINK_KEYS = ("type", "format", "size", "fp", "quantType")


class Place(Struct, frozen=True):
    """Where links lead: the API's origin, and that of the pictures."""

    api: str
    pictures: str


def told(facts: dict[str, Any], *optional: str) -> dict[str, Any]:
    """These facts, without those optional ones that are null: JSON drops what is undefined."""
    return {key: value for key, value in facts.items() if value is not None or key not in optional}


def download_url(file: File, version: Version, origin: str) -> str:
    """Bare for the primary file; else with what tells it apart: contract 1.7."""
    base = f"{origin}/api/download/models/{version.id}"
    if file == primary(version):
        return base
    facts = {"type": file.type} | file.metadata
    keys = [key for key in LINK_KEYS if facts.get(key) and not (key == "format" and file.type == "Training Data")]
    return f"{base}?{'&'.join(f'{key}={quote(str(facts[key]))}' for key in keys)}"


def _scans(file: File) -> dict[str, Any]:
    return {
        "pickleScanResult": file.pickle_scan,
        "pickleScanMessage": file.pickle_message,
        "virusScanResult": file.virus_scan,
        "virusScanMessage": None,
        "scannedAt": file.scanned_at,
    }


def list_file(file: File, version: Version, model: Model, place: Place) -> dict[str, Any]:
    first = {"id": file.id, "sizeKB": file.size / 1024, "name": api_name(file, version, model), "overrideName": file.override_name, "type": file.type}
    last = {"metadata": file.metadata, "hashes": file.hashes, "downloadUrl": download_url(file, version, place.api)}
    return first | _scans(file) | last | ({"primary": True} if file == primary(version) else {})


def picture_url(image: Image, place: Place) -> str:
    return f"{place.pictures}/images/{image.id:012x}/original=true/{image.name}"


def list_image(image: Image, place: Place) -> dict[str, Any]:
    first = {"id": image.id, "url": picture_url(image, place), "nsfwLevel": image.nsfw_level, "width": image.width, "height": image.height}
    last = {"minor": False, "poi": False, "hasMeta": image.meta is not None, "hasPositivePrompt": image.meta is not None}
    return first | {"hash": image.hash, "type": image.type} | last | {"onSite": False, "remixOfId": None}


def shown_files(version: Version, model: Model) -> list[File]:
    """Public ones which stand; an archived model shows none."""
    if model.mode == "Archived":
        return []
    return [file for file in version.files if file.visibility == "Public" and not file.replaced]


def _version_stats(version: Version, *keys: str) -> dict[str, int | None]:
    counts = {"downloadCount": version.downloads, "thumbsUpCount": version.thumbs_up, "thumbsDownCount": 0}
    return {key: None if version.hidden_stats else counts[key] for key in keys or counts}


def list_version(version: Version, model: Model, place: Place, allowed: int) -> dict[str, Any]:
    """As in the list; pictures above the level are left out."""
    images = [] if model.mode == "TakenDown" else [image for image in version.images if image.nsfw_level & allowed][:20]
    facts = {
        "id": version.id,
        "index": version.index,
        "name": version.name,
        "baseModel": version.base_model,
        "baseModelType": version.base_model_type,
        "publishedAt": version.published_at,
        "flags": 0,
        "availability": version.availability,
        "nsfwLevel": version.nsfw_level,
        "description": version.description,
        "trainedWords": version.trained_words,
        "vaeId": version.vae_id,
        "earlyAccessTimeFrame": version.early_access_time_frame,
        "earlyAccessDeadline": gate_ends(version) if gated(version) else None,
        "paidAccess": version.paid_access,
        "stats": _version_stats(version),
        "supportsGeneration": version.covered,
        "files": [list_file(file, version, model, place) for file in shown_files(version, model)],
        "images": [list_image(image, place) for image in images],
        "downloadUrl": None if model.mode == "Archived" else f"{place.api}/api/download/models/{version.id}",
    }
    return told(facts, "earlyAccessTimeFrame", "earlyAccessDeadline", "downloadUrl")


def single_version(version: Version, model: Model, place: Place) -> dict[str, Any]:
    """As in /models/{id}: every key is gone that is null or an empty list."""
    facts: dict[str, Any] = {}
    for key, value in list_version(version, model, place, 63).items():
        if key == "publishedAt":
            facts |= {"createdAt": version.created_at, key: value, "status": version.status}
        elif key == "supportsGeneration":
            facts["covered"] = value
        else:
            facts[key] = value
    for file in facts["files"]:
        file["metadata"] = told(file["metadata"], *file["metadata"])
    for image in facts["images"]:
        del image["id"]
    return {key: value for key, value in facts.items() if value not in (None, [], ())}


def model_body(model: Model, versions: list[dict[str, Any]], commercial_use: str) -> dict[str, Any]:
    """What the list and /models/{id} share."""
    hidden = model.hidden_stats
    facts = {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "allowNoCredit": model.allow_no_credit,
        "allowCommercialUse": COMMERCIAL_USE[commercial_use](model.allow_commercial_use),
        "allowDerivatives": model.allow_derivatives,
        "allowDifferentLicense": model.allow_different_license,
        "type": model.type,
        "minor": model.minor,
        "sfwOnly": model.sfw_only,
        "poi": model.poi,
        "nsfw": model.nsfw,
        "nsfwLevel": model.nsfw_level,
        "availability": model.availability,
        "userId": model.user_id,
        "mode": model.mode,
        "baseModels": sorted({version["baseModel"] for version in versions}),
        "cosmetic": None,
        "supportsGeneration": model.supports_generation,
        "stats": {
            "downloadCount": None if hidden else model.downloads,
            "thumbsUpCount": model.thumbs_up,
            "thumbsDownCount": model.thumbs_down,
            "commentCount": model.comments,
            "tippedAmountCount": None if hidden else 0,
        },
        "creator": model.creator,
        "tags": model.tags,
        "modelVersions": versions,
    }
    return told(facts, "mode", "creator")


def air(version: Version, model: Model) -> str:
    kind = "embedding" if model.type == "TextualInversion" else model.type.lower()
    ecosystem = ECOSYSTEMS.get(version.base_model, version.base_model.lower())
    return f"urn:air:{ecosystem}:{kind}:civitai:{model.id}@{version.id}"


def naive(moment: str | None) -> str | None:
    """As Postgres writes it into JSON: no zone, no trailing zeros."""
    return moment and moment.removesuffix("Z").rstrip("0").removesuffix(".")


def _version_file(file: File, version: Version, model: Model, place: Place, *, by_hash: bool) -> dict[str, Any]:
    """/model-versions/{id} does not know overrideName and gives a naive scannedAt; by-hash does both well."""
    named = file if by_hash else replace(file, override_name=None)
    first = {"id": file.id, "sizeKB": file.size / 1024, "name": api_name(named, version, model)}
    first |= {"overrideName": file.override_name} if by_hash else {}
    scans = _scans(file) | {"scannedAt": file.scanned_at if by_hash else naive(file.scanned_at)}
    last = {"metadata": {key: file.metadata[key] for key in ("format", "size", "fp") if key in file.metadata}, "hashes": file.hashes}
    chosen = {"primary": file == primary(version), "downloadUrl": download_url(file, version, place.api)}
    return first | {"type": file.type} | scans | last | chosen


def _version_image(image: Image, place: Place) -> dict[str, Any]:
    facts = list_image(image, place)
    about = {"hash": image.hash, "size": len(image.content()), "width": image.width, "height": image.height}
    keys = ("url", "nsfwLevel", "width", "height", "hash", "type")
    middle = {"metadata": about, "minor": False, "poi": False, "meta": image.meta, "availability": "Public"}
    return {key: facts[key] for key in keys} | middle | {key: facts[key] for key in ("hasMeta", "hasPositivePrompt", "onSite", "remixOfId")}


def version_files(version: Version, model: Model, *, by_hash: bool) -> list[File]:
    """Replaced uploads are shown by id and not by hash."""
    if model.mode == "Archived":
        return []
    return [file for file in version.files if file.visibility == "Public" and not (by_hash and file.replaced)]


def version_body(version: Version, model: Model, place: Place, *, by_hash: bool = False) -> dict[str, Any]:
    """As in /model-versions/{id} and the look-ups by hash."""
    files = [_version_file(file, version, model, place, by_hash=by_hash) for file in version_files(version, model, by_hash=by_hash)]
    facts = {
        "id": version.id,
        "modelId": model.id,
        "name": version.name,
        "nsfwLevel": version.nsfw_level,
        "createdAt": version.created_at,
        "updatedAt": version.updated_at,
        "status": version.status,
        "publishedAt": version.published_at,
        "trainedWords": version.trained_words,
        "trainingStatus": None,
        "trainingDetails": None,
        "baseModel": version.base_model,
        "baseModelType": version.base_model_type,
        "earlyAccessTimeFrame": version.early_access_time_frame,
        "earlyAccessEndsAt": version.early_access_ends_at,
        "earlyAccessConfig": {"timeframe": 7, "buzzTransactionId": None} if version.early_access_ends_at else None,
        "description": version.description,
        "uploadType": "Created",
        "usageControl": version.usage_control,
        "licensingFee": None,
        "paidAccess": version.paid_access,
        "air": air(version, model),
        "stats": _version_stats(version, "downloadCount", "thumbsUpCount"),
        "model": told({"name": model.name, "type": model.type, "nsfw": model.nsfw, "poi": model.poi, "mode": model.mode}, "mode"),
        "files": files,
        "images": [] if model.mode == "TakenDown" else [_version_image(image, place) for image in version.images[:10]],
        "downloadUrl": None if model.mode == "Archived" else f"{place.api}/api/download/models/{version.id}",
    }
    return told(facts, "earlyAccessTimeFrame", "earlyAccessEndsAt", "earlyAccessConfig", "downloadUrl")


def mini_body(version: Version, model: Model, file: File | None, place: Place) -> dict[str, Any]:
    """The only public place for requireAuth."""
    return {
        "air": air(version, model),
        "versionName": version.name,
        "modelName": model.name,
        "userId": model.user_id,
        "baseModel": version.base_model,
        "availability": version.availability,
        "publishedAt": version.published_at,
        "size": file and file.size / 1024,
        "fileType": file and file.type,
        "fileName": file and file.raw_name,
        "hashes": file.hashes if file else {},
        "downloadUrls": [download_url(file, version, place.api)] if file else [],
        "format": file and file.metadata.get("format"),
        "canGenerate": version.covered,
        "isFeatured": False,
        "requireAuth": version.require_auth,
        "checkPermission": version.paid_access is not None or version.availability == "EarlyAccess",
        **({"earlyAccessEndsAt": gate_ends(version)} if gate_ends(version) else {}),
        "additionalResourceCharge": False,
        "minor": model.minor,
        "sfwOnly": model.sfw_only,
        "fees": [],
        "payoutEnabled": False,
    }


IMAGE_LEVELS = {1: "None", 2: "Soft", 4: "Mature", 8: "X", 16: "X", 32: "Blocked"}


def gallery_image(image: Image, version: Version, model: Model, place: Place) -> dict[str, Any]:
    """As in /images, where nsfwLevel is a word."""
    facts = list_image(image, place)
    counts = dict.fromkeys(("cryCount", "laughCount", "likeCount", "dislikeCount", "heartCount", "commentCount"), 0)
    first = {key: facts[key] for key in ("id", "url", "hash", "width", "height")}
    level = {"nsfwLevel": IMAGE_LEVELS.get(image.nsfw_level, "Blocked"), "type": image.type, "nsfw": image.nsfw_level > 2}
    last = {"browsingLevel": image.nsfw_level, "createdAt": version.created_at, "postId": version.id, "stats": counts, "meta": image.meta}
    owner = {"username": model.creator and model.creator.username, "baseModel": version.base_model, "modelVersionIds": [version.id]}
    return first | level | last | owner

