"""The files that programs want beside an embedding, in the fields that those programs write themselves.

A1111 user metadata (.json: modules/ui_extra_networks_user_metadata.py, and what Civitai Helper adds), Civitai Helper
(.civitai.info: the body of Civitai's model-version API, or a skeleton of it), StabilityMatrix (.cm-info.json:
Models/ConnectedModelInfo.cs), ComfyUI-Lora-Manager (.metadata.json: docs/metadata-json-schema.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from embconv.converters import Hashes
from embconv.converters.encoders import base_of

from .claims import flags_in
from .model import NSFW, Entry, FileEntry, Origin

CIVITAI_ID = re.compile(r"(\d{1,12})(?:@(\d{1,12}))?")
CIVITAI_BASE = {"sd1": "SD 1.5", "sd2": "SD 2.1", "sdxl": "SDXL 1.0", "sd3": "SD 3", "flux1": "Flux.1 D", "pixart": "PixArt a"}
A1111_BASE = {"sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL", "sd3": "SD3"}
KIND = "TextualInversion"
RATED = ("r", "x", "xxx")  # what Civitai's yes-or-no means
FROM_CIVITAI, FROM_ELSEWHERE = 0, 2  # StabilityMatrix's ConnectedModelSource; it writes and reads the number


class Beside(Struct, frozen=True, kw_only=True):
    """An embedding as it was exported: what a sidecar can tell of it. `word` is what calls it in that program."""

    entry: Entry
    path: str                           # absolute
    stem: str
    word: str
    size: int
    hashes: Hashes                      # of the exported file
    preview: str | None = None          # absolute, where there is one

    @property
    def source(self) -> FileEntry:
        """The file that was uploaded: by its hashes the managers know it."""
        return self.entry.files[0]

    @property
    def civitai(self) -> Origin | None:
        """The newest word of Civitai."""
        return next((origin for origin in reversed(self.entry.origins) if origin.source == "civitai"), None)

    @property
    def ids(self) -> tuple[int | None, int | None]:
        """Civitai's ids of the model and its version."""
        match = CIVITAI_ID.fullmatch(self.civitai.id or "") if self.civitai else None
        return (int(match[1]), int(match[2]) if match[2] else None) if match else (None, None)

    def claim(self, name: str) -> str:
        """The newest text that anybody claims under this name, or nothing."""
        said = (origin.claims.get(name) for origin in reversed(self.entry.origins))
        return next((text for text in said if isinstance(text, str) and text.strip()), "")

    @property
    def base(self) -> str:
        """The base in Civitai's words: as somebody said it, where that is the base it is."""
        said = next((text for text in (self.claim("base_text"), self.claim("base")) if text and base_of(text) == self.entry.base), "")
        named = said if said and said != self.entry.base else ""
        return named or CIVITAI_BASE.get(self.entry.base or "", "Other" if self.entry.base else "Unknown")

    @property
    def tags(self) -> list[str]:
        """Its tags; a negative one says so, for that is how these programs know it."""
        tags = [*self.entry.tags]
        return [*tags, "negative"] if self.entry.role == "negative" and "negative" not in tags else tags

    @property
    def seconds(self) -> float:
        """When it was added, since 1970."""
        return datetime.fromisoformat(self.entry.added).timestamp()


def a1111(about: Beside) -> dict[str, Any]:
    """A1111's user metadata, with the hash of the file beside it."""
    model, version = about.ids
    negative = about.entry.role == "negative"
    told = {
        "description": about.claim("description"),
        "sd version": A1111_BASE.get(about.entry.base or "", "Unknown"),
        "activation text": "" if negative else about.word,
        "preferred weight": 0,
        "negative text": about.word if negative else "",
        "notes": about.entry.notes,
        "sha256": about.hashes.sha256,
    }
    return {**told, **({"modelId": model} if model else {}), **({"modelVersionId": version} if version else {})}


def civitai_info(about: Beside) -> dict[str, Any]:
    """Civitai Helper's info, which is Civitai's answer about the version; where Civitai never said a word a skeleton of it."""
    model, version = about.ids
    source, entry = about.source, about.entry
    flags = (flags_in(entry.licence.says) if entry.licence else None) or {}
    kinds = {"AutoV1": "autov1", "AutoV2": "autov2", "AutoV3": "autov3", "SHA256": "sha256", "CRC32": "crc32", "BLAKE3": "blake3"}
    hashes = {kind: source.hashes[name].upper() for kind, name in kinds.items() if name in source.hashes}
    pickled = source.container in ("torch_zip", "torch_legacy", "pickle")
    told = {
        "id": version or "",
        "modelId": model or "",
        "name": about.claim("title") or entry.name,
        "trainedWords": [entry.trigger],
        "baseModel": about.base,
        "description": about.claim("description"),
        "model": {"name": about.claim("title") or entry.name, "type": KIND, "nsfw": entry.nsfw in RATED, "poi": False,
                  "tags": about.tags, **flags},
        "files": [{"name": source.name, "sizeKB": source.size / 1024, "type": "Negative" if entry.role == "negative" else "Model",
                   "metadata": {"fp": None, "size": None, "format": "PickleTensor" if pickled else "SafeTensor"},
                   "hashes": hashes, "primary": True}],
        "images": [],
        "tags": about.tags,
        "downloadUrl": about.civitai.url or "" if about.civitai else "",
    }  # fmt: skip
    return told if about.civitai else {**told, "skeleton_file": True}


def stability_matrix(about: Beside) -> dict[str, Any]:
    """StabilityMatrix's connected-model info."""
    model, version = about.ids
    entry, source = about.entry, about.source
    return {
        "ModelId": model,
        "ModelName": about.claim("title") or entry.name,
        "ModelDescription": about.claim("description"),
        "Nsfw": entry.nsfw in RATED,
        "Tags": about.tags,
        "ModelType": KIND,
        "VersionId": version,
        "VersionName": entry.name,
        "VersionDescription": entry.notes or None,
        "AuthorUsername": entry.creators[0] if entry.creators else None,
        "BaseModel": about.base,
        "RemoteFileName": source.name,
        "FileMetadata": {"fp": None, "size": None, "format": None},
        "ImportedAt": entry.added,
        "Hashes": {
            "SHA256": source.sha256.upper(),
            "CRC32": source.hashes.get("crc32"),
            "BLAKE3": source.hashes.get("blake3", "").upper() or None,
        },
        "TrainedWords": [entry.trigger],
        "Stats": None,
        "UserTitle": None,
        "ThumbnailImageUrl": None,
        "Source": FROM_CIVITAI if about.civitai else FROM_ELSEWHERE,
    }


def lora_manager(about: Beside) -> dict[str, Any]:
    """ComfyUI-Lora-Manager's metadata, with the hash of the file beside it."""
    entry, (model, version) = about.entry, about.ids
    known = {"id": version, "modelId": model, "name": entry.name, "baseModel": about.base} if about.civitai else {}
    return {
        "file_name": about.stem,
        "model_name": about.claim("title") or entry.name,
        "file_path": about.path.replace("\\", "/"),
        "size": about.size,
        "modified": about.seconds,
        "sha256": about.hashes.sha256,
        "base_model": about.base,
        "preview_url": about.preview.replace("\\", "/") if about.preview else "",
        "preview_nsfw_level": 1 << NSFW.index(entry.nsfw) if entry.nsfw else 0,
        "notes": entry.notes,
        "from_civitai": about.civitai is not None,
        "civitai": {**known, "trainedWords": [entry.trigger]},
        "tags": about.tags,
        "modelDescription": about.claim("description"),
        "civitai_deleted": bool(about.civitai and about.civitai.state == "gone"),
        "favorite": False,
        "exclude": False,
        "db_checked": False,
        "skip_metadata_refresh": False,
        "metadata_source": "civitai_api" if about.civitai else None,
        "last_checked_at": 0,
        "hash_status": "completed",
        "model_type": "embedding",
    }


# What --sidecars calls it, how its name ends in place of the embedding's own suffix, and how it is made.
WRITERS: dict[str, tuple[str, Callable[[Beside], dict[str, Any]]]] = {
    "json": (".json", a1111),
    "civitai-info": (".civitai.info", civitai_info),
    "cm-info": (".cm-info.json", stability_matrix),
    "metadata": (".metadata.json", lora_manager),
}
PREVIEW = "preview"
KINDS = (*WRITERS, PREVIEW)


def sidecar(kind: str, about: Beside) -> bytes:
    """A sidecar's bytes, the same for equal facts."""
    return (json.dumps(WRITERS[kind][1](about), indent=4, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
