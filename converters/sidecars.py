"""What the files beside an embedding, and its own ModelSpec header, claim about it. Claims, never facts.

Formats: Civitai Helper (.civitai.info), A1111 user metadata (.json), StabilityMatrix (.cm-info.json),
ComfyUI-Lora-Manager (.metadata.json), DiffusionNexus (.civitai.json), ModelSpec 1.0.1, the sd-concepts-library.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from .encoders import base_of
from .limits import SIDECAR_BYTES
from .model import Hint
from .paths import beside, stem_of, suffix_of

Claims = dict[str, Any]
LONGEST = 1_024  # characters of one claim; a trained word can be a whole prompt
KIND = re.compile(r"[A-Za-z0-9_]{1,32}")  # SHA256, AutoV2, BLAKE3 ...
HEX = re.compile(r"[0-9a-f]{1,128}")
OF_NOTHING = "e3b0c44298fc"  # how SHA-256 of zero bytes begins
NEGATIVE = {"negative", "negative embedding", "negative prompt"}
FLAGS = ("allowNoCredit", "allowCommercialUse", "allowDerivatives", "allowDifferentLicense")


def _civitai(data: Claims, source: str) -> Hint:
    """The body of Civitai's model-version API."""
    files = [file for file in _list(data.get("files")) if isinstance(file, dict)]
    primary = next((file for file in files if file.get("primary")), files[0] if files else {})
    model = data.get("model")
    tagged = _tagged(model.get("tags")) if isinstance(model, dict) else None
    role = "negative" if primary.get("type") == "Negative" else tagged
    words = _list(data.get("trainedWords"))
    return _hint(source, data.get("baseModel"), words, hashes_in(primary.get("hashes")), _licence(data), role)


def _a1111(data: Claims, source: str) -> Hint:
    """A1111's user metadata; `sd version` is its word for the base."""
    return _hint(source, data.get("sd version"), [data.get("activation text")], hashes_in({"sha256": data.get("sha256")}))


def _stability_matrix(data: Claims, source: str) -> Hint:
    hashes, role = hashes_in(data.get("Hashes")), _tagged(data.get("Tags"))
    return _hint(source, data.get("BaseModel"), _list(data.get("TrainedWords")), hashes, role=role)


def _lora_manager(data: Claims, source: str) -> Hint:
    civitai = data.get("civitai")
    inner = _civitai(civitai, source) if isinstance(civitai, dict) else Hint(source=source)
    words = [*_list(data.get("trainedWords")), inner.trigger]
    hashes = {**inner.hashes, **hashes_in({"sha256": data.get("sha256"), "autov3": data.get("autov3")})}
    return _hint(source, data.get("base_model") or inner.base_text, words, hashes, inner.licence, inner.role or _tagged(data.get("tags")))


def _tagged(tags: object) -> str | None:
    """The role that tags tell: words, or Civitai's objects with a name."""
    names = (tag.get("name") if isinstance(tag, dict) else tag for tag in _list(tags))
    return "negative" if any(isinstance(name, str) and name.strip().lower() in NEGATIVE for name in names) else None


# Suffix in place of the embedding's own, and how it is read.
SIDECARS: tuple[tuple[str, Callable[[Claims, str], Hint]], ...] = (
    (".civitai.info", _civitai),
    (".cm-info.json", _stability_matrix),
    (".metadata.json", _lora_manager),
    (".civitai.json", _civitai),
    (".json", _a1111),
)


# How every file that speaks of an embedding ends, those that speak of a whole folder too.
ENDINGS = (*(suffix for suffix, _ in SIDECARS), "token_identifier.txt", "special_params.json")


def hints_beside(path: str) -> tuple[Hint, ...]:
    """The claims of every sidecar of `path`; one that cannot be read is passed over, for it is not the input."""
    stem = os.path.splitext(path)[0]
    found = [read(data, os.path.basename(stem) + suffix) for suffix, read in SIDECARS if (data := _json(stem + suffix)) is not None]
    found += _folder_hints(path)
    return tuple(hint for hint in found if hint != Hint(source=hint.source))


def _folder_hints(path: str) -> list[Hint]:
    """Files that speak of a whole folder: the sd-concepts-library's token, Replicate's parameters."""
    hints = []
    if stem_of(path).startswith("learned_embeds") and (token := _text(beside(path, "token_identifier.txt"))):
        hints.append(_hint("token_identifier.txt", None, [token], {}))
    if suffix_of(path).lower() == ".pti" and (special := _json(beside(path, "special_params.json"))):
        hints.append(_hint("special_params.json", None, [word for word in special if isinstance(special[word], str)], {}))
    return hints


def header_hint(metadata: dict[str, str]) -> Hint | None:
    """What a ModelSpec header claims (kohya library/sai_model_spec.py)."""
    spec = {key.removeprefix("modelspec."): value for key, value in metadata.items() if key.startswith("modelspec.")}
    if not spec:
        return None
    if "modelspec.architecture" in metadata.get("embconv.added", ""):
        spec.pop("architecture")  # derived from the widths by ourselves: no evidence for them
    negative = spec.get("is_negative_embedding", "").lower()
    role = {"true": "negative", "false": "positive"}.get(negative)
    hashes = hashes_in({"sha256": spec.get("hash_sha256")})
    return _hint("modelspec", spec.get("architecture"), [spec.get("trigger_phrase")], hashes, spec.get("license"), role)


def _hint(
    source: str, base: object, words: list[Any], hashes: dict[str, str], licence: object = None, role: str | None = None
) -> Hint:
    text = _said(base)
    text = None if text and text.lower() in ("unknown", "other") else text
    return Hint(
        source=source,
        base=base_of(text) if text else None,
        base_text=text,
        trigger=next(filter(None, map(_said, words)), None),
        role=role,
        licence=_said(licence),
        hashes=hashes,
    )


def _said(value: object) -> str | None:
    """A claim that a header can hold: some text, not endless, and no half characters in it."""
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= LONGEST and not any("\ud800" <= c <= "\udfff" for c in text) else None


def hashes_in(claimed: object) -> dict[str, str]:
    """Hashes that are hex at all; OneTrainer writes them with `0x`, some programs the hash of nothing."""
    found: dict[str, str] = {}
    for kind, value in claimed.items() if isinstance(claimed, dict) else ():
        text = value.lower().removeprefix("0x") if isinstance(value, str) else ""
        if KIND.fullmatch(kind) and HEX.fullmatch(text) and not text.startswith(OF_NOTHING):
            found[kind.lower()] = text
    return found


def _licence(data: Claims) -> str | None:
    """Civitai's permission flags, as they stand in a version or in the model inside it."""
    model = data.get("model")
    flags = {**(model if isinstance(model, dict) else {}), **data}
    told = {name: flags[name] for name in FLAGS if name in flags and _is_flag(flags[name])}
    return json.dumps(told) if told else None


def _is_flag(value: object) -> bool:
    """Civitai says yes or no, a word, or a list of words."""
    return isinstance(value, (bool, str)) or (isinstance(value, list) and all(isinstance(word, str) for word in value))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(path: str) -> Claims | None:
    text = _text(path)
    try:
        data = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _text(path: str) -> str | None:
    if not os.access(path, os.R_OK):  # cheaper than an error, and most files have no sidecar
        return None
    try:
        with open(path, "rb") as file:
            return file.read(SIDECAR_BYTES).decode("utf-8-sig")
    except (OSError, ValueError):
        return None
