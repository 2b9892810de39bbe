"""Files as Civitai's clients read them: by the bytes that are served, under a name that every system takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from msgspec import Struct

from embconv.converters.names import safe_stem

from ..model import FileEntry
from ..prepare import file_name
from .shapes_values import Body, date
from .shapes_words import SCANNED, WEIGHTS
from .wire import words

HASHES = {"AutoV1": "autov1", "AutoV2": "autov2", "AutoV3": "autov3", "SHA256": "sha256", "CRC32": "crc32", "BLAKE3": "blake3"}
PICKLED = ("torch_zip", "torch_legacy", "pickle")
# Container -> its format in Civitai's words, and the endings that a file of it may have, the usual one first.
CONTAINERS = {
    "safetensors": ("SafeTensor", (".safetensors",)),
    **dict.fromkeys(PICKLED, ("PickleTensor", (".pt", ".bin", ".ckpt", ".pth"))),
    "npy": ("Other", (".npy",)),
}
ENDINGS = (".pt", ".bin", ".ckpt", ".pth", ".safetensors", ".npy", ".png", ".webp", ".jpg", ".jpeg", ".avif", ".jxl", ".zip", ".rar", ".7z")
SAFE = "Read without running anything in it."


class File(Struct, frozen=True, kw_only=True):
    """A file of a version: what Civitai said of it, and what it is here. `said` is the sha256 that Civitai claims."""

    id: int
    body: Body
    said: str | None
    entry: FileEntry


class Version(Struct, frozen=True, kw_only=True):
    """A version and its files that are here, at least one."""

    id: int
    model_id: int
    body: Body
    files: tuple[File, ...]


class View(Struct, frozen=True, kw_only=True):
    """How it is shown: under which address, with pictures of which levels (None: all), with one file of each version or all."""

    origin: str
    levels: int | None = None
    primary_only: bool = False


def shown(version: Version, view: View) -> Sequence[File]:
    """Its files, or the primary one alone."""
    return (primary(version),) if view.primary_only else version.files


def primary(version: Version) -> File:
    """The one that is had without saying which: Civitai's choice where that is here, else weights, safetensors, the first."""
    return max(version.files, key=worth)


def worth(file: File) -> tuple[bool, bool, bool]:
    """By which it is chosen."""
    return file.body.get("primary") is True, kind_of(file) in WEIGHTS, file.entry.container == "safetensors"


def file_in(file: File, version: Version, view: View) -> Body:
    """A file, by the bytes that are served."""
    body, entry, first = file.body, file.entry, file.id == primary(version).id
    raw, metadata = raw_name(file), metadata_of(file)
    name = safe_name(file)
    told = {
        **body,
        "id": file.id,
        "sizeKB": entry.size / 1024,
        "name": name,
        "originalName": raw,
        "type": kind_of(file),
        **scans(file),
        "metadata": metadata,
        "hashes": {kind: entry.hashes[ours].upper() for kind, ours in HASHES.items() if ours in entry.hashes},
        "primary": first,
        "downloadUrl": f"{view.origin}/api/download/models/{version.id}{'' if first else selector(file, metadata)}",
    }
    return {**told, "overrideName": name} if isinstance(body.get("overrideName"), str) else told


def kind_of(file: File) -> str:
    """Civitai's type of a file."""
    return words(file.body.get("type")) or "Model"


def replaced(file: File) -> bool:
    """Are the bytes here others than those that Civitai tells of?"""
    return file.said is not None and file.said != file.entry.sha256


def raw_name(file: File) -> str:
    """As Civitai calls it, or whoever sent it."""
    return words(file.body.get("overrideName") or file.body.get("name")) or file.entry.name


def safe_name(file: File) -> str:
    """That name, as every system takes it, with an ending that fits the bytes."""
    stem, ending = os.path.splitext(raw_name(file))
    own = os.path.splitext(file.entry.name)[1]
    allowed = CONTAINERS.get(file.entry.container, ("", (own or ".png",)))[1]
    if ending.lower() not in allowed:
        stem = stem if ending.lower() in ENDINGS else stem + ending
        ending = own if own.lower() in allowed else allowed[0]
    return file_name(safe_stem(stem) + ending)


def metadata_of(file: File) -> Body:
    """Format, size and precision; the format is that of the bytes."""
    said = file.body.get("metadata")
    told = {"fp": None, "size": None, **(said if isinstance(said, dict) else {})}
    right = CONTAINERS.get(file.entry.container, ("Other", ()))[0]
    claimed = told.get("format")
    return {**told, "format": claimed if claimed == right or (claimed == "Other" and right == "PickleTensor") else right}


def scans(file: File) -> Body:
    """What Civitai's scanners said of these bytes; of others what we know: nothing in them was run, and no virus was looked for."""
    body = {} if replaced(file) else file.body
    pickle, virus = body.get("pickleScanResult"), body.get("virusScanResult")
    return {
        "pickleScanResult": pickle if pickle in SCANNED else "Success",
        "pickleScanMessage": body.get("pickleScanMessage") if pickle in SCANNED else SAFE,
        "virusScanResult": virus if virus in SCANNED else "Pending",
        "virusScanMessage": body.get("virusScanMessage"),
        "scannedAt": date(body.get("scannedAt")) or file.entry.added,
    }


def selector(file: File, metadata: Body) -> str:
    """What chooses a file that is not the primary one, as Civitai says it, and the id, which is the one that always does."""
    chosen = {"type": kind_of(file), **{name: metadata.get(name) for name in ("format", "size", "fp", "quantType")}}
    said = {name: value for name, value in chosen.items() if isinstance(value, str) and value}
    return f"?{urlencode({**said, 'fileId': file.id}, quote_via=quote)}"
