"""What the files beside an embedding tell of it, as the claims of one line of origin: titles, makers, tags, texts, Civitai's ids.

Formats: see converters.sidecars, which reads of them only what a converted file has to carry.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.display import printable, quoted
from embconv.converters.limits import SIDECAR_BYTES
from embconv.converters.sidecars import NEGATIVE, SIDECARS, hashes_in
from embconv.converters.source import Source

from .civitai import wire
from .civitai.provenance import LONGEST, MATURE, TAGS, TITLE, WORD, claims, description
from .claims import TAG, level_in
from .model import NSFW
from .store.changes import CLAIMS
from .store.lines import text

Claims = dict[str, Any]
NOTES = 4_000        # characters of what somebody noted
DEPTH = 32           # real: 6
BULKY = ("description", "notes", "negative_text", "tags", "triggers", "licence", "hashes")
SKELETON = "skeleton_file"
NO_BASE = ("", "unknown", "other")


class Bad(EmbconvError):
    """A sidecar that tells nothing, and why."""


class Told(Struct, frozen=True, kw_only=True):
    """What the sidecars of one file say together, which of them say anything, what is wrong with the others, the level of its preview."""

    claims: Claims = {}
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shown: str | None = None


def told(paths: Iterable[str], stem: str) -> Told:
    """What these sidecars of a file called `stem` say; the one that knows most of a thing is asked first."""
    found: list[tuple[str, Claims]] = []
    notes: list[str] = []
    for path in sorted(paths, key=rank):
        try:
            one = READERS[ending(path)](content(path), stem)
        except Bad as exc:
            notes.append(exc.says)
        except (ValueError, TypeError, OverflowError, RecursionError):
            notes.append(f"{quoted(os.path.basename(path))} makes no sense and was passed over.")
        else:
            found += [(os.path.basename(path), one)] if one else []
    shown = next((one["preview_nsfw"] for _, one in found if "preview_nsfw" in one), None)
    merged = small(together([one for _, one in found]))
    names = tuple(name for name, _ in found)
    return Told(claims={**merged, "told_by": list(names)} if merged else {}, names=names, notes=tuple(notes),
                shown=shown or level_in(merged.get("nsfw")))  # fmt: skip


def ending(path: str) -> str:
    """Which kind of sidecar it is, by its name; empty for none."""
    name = os.path.basename(path).lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), "")


def rank(path: str) -> int:
    """Civitai's own words first, those that people type in last."""
    return ORDER.index(ending(path))


def content(path: str) -> Claims:
    """The object in a sidecar, without what no text may hold. Bad where there is none."""
    name = os.path.basename(path)
    try:
        with Source(path, name) as source:
            data = json.loads(source.read(0, source.size).decode("utf-8-sig")) if source.size <= SIDECAR_BYTES else None
            why = "holds no object" if source.size <= SIDECAR_BYTES else f"has more than {SIDECAR_BYTES:,} bytes"
    except EmbconvError as exc:
        raise Bad(exc.says) from exc
    except (ValueError, RecursionError) as exc:
        raise Bad(f"{quoted(name)} is no JSON and was passed over: {printable(str(exc), 100)}.") from exc
    if not isinstance(data, dict):
        raise Bad(f"{quoted(name)} {why} and was passed over.")
    return {key: value for key, value in plain(data).items() if value is not None}


def plain(value: Any, depth: int = 0) -> Any:
    """The same without NULs, halves of characters, numbers that are none, and what is nested without end."""
    if isinstance(value, str):
        return "".join(c for c in value if c in "\n\t" or not (c < " " or "\ud800" <= c <= "\udfff"))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and depth == DEPTH:
        return None
    if isinstance(value, dict):
        return {plain(key): plain(each, depth + 1) for key, each in value.items()}
    return [plain(each, depth + 1) for each in value] if isinstance(value, list) else value


def civitai(data: Claims, stem: str) -> Claims:
    """The body of Civitai's model-version API, as Civitai Helper writes it; or the skeleton that it makes where Civitai knows nothing."""
    about, skeleton = table(data.get("model")), data.get(SKELETON) is True
    model = wire.read({"creator": data.get("creator"), **about, "id": number(data.get("modelId"))}, wire.Model)
    version = wire.version({"stats": about.get("stats"), **data, "id": number(data.get("id"))})
    files = sorted(version.files, key=lambda file: not file.file.primary)
    file = files[0] if files else wire.HeardFile(id=0, file=wire.File(), body={})
    found = claims(model, version.version, file)
    found = {key: value for key, value in found.items() if key not in ("file", "file_id", "scan", "pair", "base")}
    if found.get("nsfw") == NSFW[0] and (skeleton or not number(data.get("id"))):
        del found["nsfw"]  # nobody has looked at it
    return {**found, **ids(data.get("modelId"), data.get("id")), **base(data.get("baseModel"))}


def a1111(data: Claims, stem: str) -> Claims:
    """A1111's user metadata, and what Civitai's extensions add to it. A word for the negative prompt alone makes it a negative one."""
    active, negative = line(data.get("activation text")), line(data.get("negative text"))
    alone = not active and stem.lower() in negative.lower()
    weight = data.get("preferred weight")
    return kept({
        **base(data.get("sd version")),
        "trigger": active or (stem if alone else ""),
        "negative_text": negative,
        "role": "negative" if alone else None,
        "weight": weight if isinstance(weight, int | float) and not isinstance(weight, bool) and weight else None,
        "description": description(said(data, "description")),
        "notes": said(data, "notes")[:NOTES],
        "hashes": hashes_in({"sha256": data.get("sha256")}),
        **ids(data.get("modelId"), data.get("modelVersionId")),
    })  # fmt: skip


def stability_matrix(data: Claims, stem: str) -> Claims:
    """StabilityMatrix's connected-model info; its Source 0 is Civitai."""
    triggers, nsfw = wire.texts(data.get("TrainedWords")), data.get("Nsfw")
    stats = table(data.get("Stats"))
    rated = nsfw is False and data.get("Source") == 0 and bool(number(data.get("VersionId")))
    return kept({
        **ids(data.get("ModelId"), data.get("VersionId")),
        **base(data.get("BaseModel")),
        "title": line(data.get("ModelName"), TITLE),
        "version": line(data.get("VersionName"), TITLE),
        "creator": line(data.get("AuthorUsername"), TITLE),
        "trigger": line(next(iter(triggers), "")),
        "triggers": [line(word) for word in triggers[1:]],
        **tagged(data.get("Tags")),
        "nsfw": MATURE if nsfw is True else NSFW[0] if rated else None,
        "downloads": wire.count(stats, "downloadCount") or wire.count(stats, "DownloadCount"),
        "description": description(said(data, "ModelDescription"), said(data, "VersionDescription")),
        "hashes": hashes_in(data.get("Hashes")),
    })  # fmt: skip


def lora_manager(data: Claims, stem: str) -> Claims:
    """ComfyUI-Lora-Manager's metadata, in which Civitai's body stands, too."""
    inner = civitai(data["civitai"], stem) if isinstance(data.get("civitai"), dict) and data["civitai"] else {}
    own = kept({
        **base(data.get("base_model")),
        "title": line(data.get("model_name"), TITLE),
        "trigger": line(next(iter(wire.texts(data.get("trainedWords"))), "")),
        **tagged(data.get("tags")),
        "notes": said(data, "notes")[:NOTES],
        "description": description(said(data, "modelDescription")),
        "hashes": hashes_in({"sha256": data.get("sha256"), "autov3": data.get("autov3")}),
        "preview_nsfw": level_in(data.get("preview_nsfw_level")),
    })  # fmt: skip
    return together([inner, own])


READERS: dict[str, Callable[[Claims, str], Claims]] = {
    ".civitai.info": civitai,
    ".civitai.json": civitai,
    ".cm-info.json": stability_matrix,
    ".metadata.json": lora_manager,
    ".json": a1111,
}
ORDER = (".civitai.info", ".civitai.json", ".metadata.json", ".cm-info.json", ".json", "")
ENDINGS = tuple(READERS)
assert {*ENDINGS} == {suffix for suffix, _ in SIDECARS}


def together(words: list[Claims]) -> Claims:
    """One set of claims: of each thing the first word, tags and hashes of all."""
    found: Claims = {}
    for each in words:
        found |= {key: value for key, value in each.items() if key not in found}
    tags = list(dict.fromkeys(tag for each in words for tag in each.get("tags", ())))[:TAGS]
    hashes = {kind: value for each in reversed(words) for kind, value in each.get("hashes", {}).items()}
    return {**found, **({"tags": tags} if tags else {}), **({"hashes": hashes} if hashes else {})}


def small(claimed: Claims) -> Claims:
    """The same without the largest, where it is more than a line of origin holds."""
    found = {key: value for key, value in claimed.items() if key != "preview_nsfw"}
    if len(text(found)) > CLAIMS // 2 and "description" in found:
        found["description"] = description(found["description"][: LONGEST // 4])
    for key in BULKY:
        if len(text(found)) > CLAIMS - 4 * WORD:
            found.pop(key, None)
    return found


def kept(claimed: Claims) -> Claims:
    """The claims that say anything."""
    return {key: value for key, value in claimed.items() if value not in (None, "", [], {})}


def said(data: Claims, name: str) -> str:
    """A text under a name, or nothing."""
    value = data.get(name)
    return value if isinstance(value, str) else ""


def table(value: object) -> Claims:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def line(value: object, longest: int = WORD) -> str:
    """A text in one line, not endless."""
    return " ".join(value.split())[:longest] if isinstance(value, str) else ""


def number(value: object) -> int:
    """One of Civitai's ids; 0 for what is none."""
    try:
        found = msgspec.convert(value, int, strict=False)
    except msgspec.ValidationError:
        return 0
    return found if 0 < found <= wire.MOST_IDS else 0


def ids(model: object, version: object) -> Claims:
    """Which model and version at Civitai this is, as `model@version`."""
    first, second = number(model), number(version)
    return {"civitai": f"{first}@{second}" if second else str(first)} if first else {}


def base(value: object) -> Claims:
    """The base, as it is called there."""
    found = line(value, TITLE)
    return {"base": found} if found.lower() not in NO_BASE else {}


def tagged(value: object) -> Claims:
    """Tags, words or Civitai's objects with a name, and the role that one of them tells."""
    names = [each.get("name") if isinstance(each, dict) else each for each in value] if isinstance(value, list) else []
    tags = list(dict.fromkeys(tag for name in names if (tag := line(name, TAG))))[:TAGS]
    return {"tags": tags, **({"role": "negative"} if any(tag.lower() in NEGATIVE for tag in tags) else {})}
