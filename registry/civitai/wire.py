"""What Civitai answers, read so that no odd value stops the rest: nulls, absent keys, texts for lists, words nobody knows yet.

Shapes: civitai/civitai src/pages/api/v1 (models, model-versions, by-hash), of every year since 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

Text = str | int | float | bool | None
Number = int | float | None
MOST_IDS = 2**31 - 1  # Civitai's ids are int4


class Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    """Something in an answer; what is not named here stays in its body."""


class Creator(Wire, frozen=True, kw_only=True):
    """Who made a model; deleted users have no name."""

    username: Text = None


class Model(Wire, frozen=True, kw_only=True):
    """A model, in a list or by its id."""

    id: int
    name: Text = None
    description: Text = None
    type: Text = None
    nsfw: bool | None = None
    nsfw_level: Number = None
    mode: Text = None
    creator: Creator | None = None
    tags: Any = None
    stats: Any = None
    allow_no_credit: Any = None
    allow_commercial_use: Any = None
    allow_derivatives: Any = None
    allow_different_license: Any = None


class PaidAccess(Wire, frozen=True, kw_only=True):
    """Of 2026: who pays first has it first, or alone for ever."""

    permanent: bool | None = None
    ends_at: Text = None


class Version(Wire, frozen=True, kw_only=True):
    """A version of a model, in it or by itself."""

    id: int
    model_id: int | None = None
    name: Text = None
    description: Text = None
    base_model: Text = None
    published_at: Text = None
    availability: Text = None
    nsfw_level: Number = None
    trained_words: Any = None
    stats: Any = None
    air: Text = None
    usage_control: Text = None
    early_access_time_frame: Number = None      # days; until 2024
    early_access_ends_at: Text = None           # 2024 to 2026
    early_access_deadline: Text = None          # 2026
    paid_access: PaidAccess | None = None       # 2026


class File(Wire, frozen=True, kw_only=True):
    """A file of a version."""

    id: int | None = None                       # answers of 2023 have none
    name: Text = None
    override_name: Text = None
    type: Text = None
    size_kb: Number = field(default=None, name="sizeKB")
    hashes: Any = None
    primary: bool | None = None
    download_url: Text = None
    pickle_scan_result: Text = None
    virus_scan_result: Text = None


class Image(Wire, frozen=True, kw_only=True):
    """A picture of a version; `meta` is its recipe, which only some answers have."""

    url: str
    nsfw_level: Any = None
    nsfw: Any = None
    type: Text = None
    width: Number = None
    height: Number = None
    meta: Any = None


class Found(Wire, frozen=True, kw_only=True):
    """One answer of by-hash/ids."""

    model_version_id: int
    model_id: int
    hash: str


class Listed(Struct, frozen=True, kw_only=True):
    """A page: its items as they came, and where the next begins."""

    items: tuple[Raw, ...]
    cursor: str | None


class Metadata(Wire, frozen=True, kw_only=True):
    """Where the next page begins: a text, or a number in some years."""

    next_cursor: Text = None
    next_page: Text = None


class _Page(Struct, frozen=True):
    items: list[Raw]
    metadata: Metadata | None = None


class HeardFile(Struct, frozen=True, kw_only=True):
    """A file with its body."""

    id: int
    file: File
    body: dict[str, Any]


class HeardVersion(Struct, frozen=True, kw_only=True):
    """A version with its body, without its files, which stand beside it."""

    version: Version
    body: dict[str, Any]
    files: tuple[HeardFile, ...]


class HeardModel(Struct, frozen=True, kw_only=True):
    """A model with its body, without its versions, which stand beside it, the newest first. `odd`: what of it could not be read."""

    model: Model
    body: dict[str, Any]
    versions: tuple[HeardVersion, ...]
    odd: tuple[str, ...] = ()


W = TypeVar("W", bound=Wire)


def page(data: bytes) -> Listed:
    """A list; msgspec's errors for what is none."""
    found = msgspec.json.decode(data, type=_Page, strict=False)
    cursor = found.metadata.next_cursor if found.metadata else None
    return Listed(items=tuple(found.items), cursor=None if cursor is None or cursor == "" else words(cursor))


def model(data: bytes | Raw) -> HeardModel:
    """One model; msgspec's errors where not even its id can be read. A version that makes no sense is left out and said so."""
    body = msgspec.json.decode(data, type=dict[str, Any])
    listed = body.pop("modelVersions", None)
    versions, odd = [], []
    for each in listed if isinstance(listed, list) else []:
        try:
            versions.append(version(each))
        except msgspec.ValidationError as exc:
            odd.append(str(exc))
    return HeardModel(model=read(body, Model), body=body, versions=tuple(versions), odd=tuple(odd))


def version(body: dict[str, Any]) -> HeardVersion:
    """One version."""
    own = msgspec.convert(body, dict[str, Any])
    listed = own.pop("files", None)
    told = read(own, Version)
    return HeardVersion(version=told, body=own, files=tuple(files(listed, told.id)))


def files(listed: object, version_id: int) -> Iterator[HeardFile]:
    """The files of a version. One without an id gets one that no other has, below zero."""
    for place, each in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(each, dict):
            try:
                file = read(each, File)
            except msgspec.ValidationError:
                continue
            yield HeardFile(id=file.id if file.id is not None else -(version_id << 8 | place & 0xFF), file=file, body=each)


def images(body: dict[str, Any]) -> Iterator[Image]:
    """The pictures of a version, those that make sense."""
    listed = body.get("images")
    for each in listed if isinstance(listed, list) else []:
        try:
            yield read(each, Image)
        except msgspec.ValidationError:
            continue


def read(body: object, kind: type[W]) -> W:
    """A Struct of a plain value. Where one field makes no sense it counts as not said, unless the value means nothing without it."""
    try:
        return msgspec.convert(body, kind, strict=False)
    except msgspec.ValidationError:
        if not isinstance(body, dict):
            raise
        return msgspec.convert({name: value for name, value in body.items() if sound(name, value, kind)}, kind, strict=False)


def sound(name: str, value: object, kind: type[Wire]) -> bool:
    """Can this value be read as that field?"""
    known = next((each for each in msgspec.structs.fields(kind) if each.encode_name == name), None)
    if known is None:
        return False
    try:
        msgspec.convert(value, known.type, strict=False)
    except msgspec.ValidationError:
        return False
    return True


def words(value: object) -> str:
    """A text as a text; what else stands for one in its usual form."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def texts(value: object) -> list[str]:
    """The texts of a list, or the one text that stands for it."""
    found: Iterable[object] = value if isinstance(value, list) else [value]
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]


def count(value: object, name: str) -> int | None:
    """A count in a table of numbers; None where it is hidden."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
