"""The text header of what we write: every fact no tensor can carry, and the way back from it.

A1111's fields stand as JSON under their own names, as ai-toolkit writes them (toolkit/embedding.py); ModelSpec fields as
kohya writes them (library/sai_model_spec.py); ours begin with `embconv.`. `restore(header(e))` gives `e` back.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from .encoders import BASES, BY_WIDTH, ENCODERS
from .model import Embedding, Hint, Names, SourceFile, Tensor, Training
from .names import LAYOUT_KEYS, in_unicode

OURS = "embconv."
ADDED = "embconv.added"  # names of the keys which we wrote and the source did not have
FOREIGN = "embconv.metadata"  # the source's own texts under keys that mean something else here
SAID = "embconv.said"  # what the source said in A1111's fields, where the dictionary written says more
SOURCES_KEPT = 16
_ENCODER = msgspec.json.Encoder(order="deterministic")
Kind = TypeVar("Kind", SourceFile, Hint)
KINDS: dict[str, tuple[type, ...]] = {
    "name": (str, type(None)),
    "step": (int, type(None)),
    "sd_checkpoint": (str, type(None)),
    "sd_checkpoint_name": (str, type(None)),
}


def header(embedding: Embedding, *, trigger: str, base: str | None, digest: str, source: SourceFile | None) -> dict[str, str]:
    """Everything about the embedding as text, deterministic. What the source's own header said is kept as it stood."""
    added = {**_modelspec(embedding, trigger, base), "format": "pt"}
    fields = _a1111_fields(embedding)
    foreign = {key: text for key, text in embedding.metadata.items() if key in fields or _would_be_ours(key, text)}
    kept = {key: text for key, text in embedding.metadata.items() if key not in foreign}
    own = {**_own(embedding, digest, source), ADDED: as_json(sorted(added.keys() - kept.keys()))}
    if foreign:
        own[FOREIGN] = as_json(foreign)
    return {**added, **fields, **kept, **own}


def _would_be_ours(key: str, text: str) -> bool:
    """Would `restore` take this foreign text for a field of ours?"""
    return key.startswith(OURS) or (key in KINDS and _loaded(text, KINDS[key]) is not UNSET)


def _modelspec(embedding: Embedding, trigger: str, base: str | None) -> dict[str, str]:
    """The ModelSpec fields that are known; unknown ones are left out."""
    architecture = BASES[base].architecture if base else ""
    role, licence = role_of(embedding), next((hint.licence for hint in embedding.hints if hint.licence), None)
    fields = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/textual-inversion" if architecture else None,
        "modelspec.implementation": "diffusers",
        "modelspec.title": trigger,
        "modelspec.trigger_phrase": trigger,
        "modelspec.is_negative_embedding": {"negative": "true", "positive": "false"}.get(role),
        "modelspec.license": licence,
    }
    return {key: value for key, value in fields.items() if value}


def role_of(embedding: Embedding) -> str:
    """positive, negative or unknown: what the first claim that says anything says."""
    return next((hint.role for hint in embedding.hints if hint.role), "unknown")


def _a1111_fields(embedding: Embedding) -> dict[str, str]:
    told: dict[str, Any] = {} if embedding.names.inner_name is None else {"name": embedding.names.inner_name}
    training = embedding.training
    if training:
        told |= {"step": training.step, "sd_checkpoint": training.sd_checkpoint, "sd_checkpoint_name": training.sd_checkpoint_name}
    return {key: as_json(value) for key, value in told.items() if value is not UNSET}


def as_json(value: object) -> str:
    """A plain value as JSON text, the same for equal values."""
    return _ENCODER.encode(value).decode()


def _own(embedding: Embedding, digest: str, source: SourceFile | None) -> dict[str, str]:
    latest = (replace(source, name=in_unicode(source.name)),) if source else ()
    sources = (*embedding.sources, *latest)[-SOURCES_KEPT:]
    names = {key: value for key in ("key", "archive_root", "sidecar") if (value := getattr(embedding.names, key))}
    only = embedding.vectors if len(embedding.vectors) == 1 else {}
    labels = {default: key for key, t in only.items() if (default := default_encoder(t.shape[1])) != key}
    claims = [hint for place, hint in enumerate(embedding.hints) if hint.source != "modelspec" and hint not in embedding.hints[:place]]
    fields: dict[str, Any] = {"names": names, "encoders": labels, "sources": sources, "claims": claims[-SOURCES_KEPT:]}
    told = {f"{OURS}{key}": as_json(value) for key, value in fields.items() if value}
    return {**told, f"{OURS}digest": digest}


def default_encoder(width: int) -> str:
    """The encoder that a reader takes vectors of this width for when nothing else is said."""
    return BY_WIDTH.get(width, (f"unknown_{width}",))[0]


def restore(embedding: Embedding) -> Embedding:
    """The embedding with its text header turned back into the fields it came from; foreign text stays metadata."""
    text = embedding.metadata
    if not any(key.startswith(OURS) or key in KINDS for key in text) and not embedding.hints and not embedding.sources:
        return embedding  # nothing in it is ours
    ours = {key for key in text if key.startswith(OURS)} | set(_strings(text.get(ADDED)))
    facts = {key: value for key, kinds in KINDS.items() if (value := _loaded(text.get(key), kinds)) is not UNSET}
    kept = {key: value for key, value in text.items() if key not in ours and key not in facts}
    names = _names(embedding.names, _dict(text.get(f"{OURS}names")), facts.pop("name", None))
    foreign = {key: value for key, value in _dict(text.get(FOREIGN)).items() if isinstance(value, str)}
    restored = replace(
        embedding,
        names=names,
        vectors=_labelled(embedding.vectors, _dict(text.get(f"{OURS}encoders"))),
        training=embedding.training or (Training(**facts) if facts else None),
        metadata={**kept, **foreign},
        hints=_listed(text.get(f"{OURS}claims"), Hint),
        sources=_listed(text.get(f"{OURS}sources"), SourceFile),
    )
    return _as_said(restored, _dict(text[SAID])) if SAID in text else restored


def _as_said(embedding: Embedding, said: dict[str, Any]) -> Embedding:
    """The embedding without what an A1111 dictionary had to say for it: only what its source said of these fields."""
    texts = {key: value for key, value in said.items() if isinstance(value, str)}
    facts = {key: value for key, kinds in KINDS.items() if (value := _loaded(texts.get(key), kinds)) is not UNSET}
    inner, tokens = facts.pop("name", None), texts.get("string_to_token")
    metadata = {key: value for key, value in embedding.metadata.items() if key != "string_to_token"}
    return replace(
        embedding,
        names=replace(embedding.names, inner_name=inner),
        training=Training(**facts) if facts else None,
        metadata=metadata if tokens is None else {**metadata, "string_to_token": tokens},
    )


def _labelled(vectors: dict[str, Tensor], labels: dict[str, Any]) -> dict[str, Tensor]:
    """The only vectors under the encoder that the header names, where it has that width."""
    if len(vectors) != 1:
        return vectors
    ((key, tensor),) = vectors.items()
    label = labels.get(key)
    known = isinstance(label, str) and label in ENCODERS and ENCODERS[label].width == tensor.shape[1]
    return {str(label): tensor} if known else vectors


def _names(names: Names, told: dict[str, Any], inner: str | None) -> Names:
    """The claims of the file at hand, and those of its source where it makes none."""
    key = told.get("key") if names.key is None or names.key in LAYOUT_KEYS else None
    return replace(
        names,
        inner_name=names.inner_name or inner,
        key=key if isinstance(key, str) else names.key,
        archive_root=names.archive_root or _string(told.get("archive_root")),
        sidecar=names.sidecar or _string(told.get("sidecar")),
    )


def _loaded(text: str | None, kinds: tuple[type, ...]) -> Any:
    """A JSON text of one of these kinds, else UNSET: then it is somebody's own text and stays metadata."""
    try:
        value = msgspec.json.decode(text) if text is not None else UNSET
    except (ValueError, RecursionError):
        return UNSET
    usual = isinstance(value, kinds) and not isinstance(value, bool) and not (isinstance(value, int) and abs(value) >= 1 << 63)
    return value if usual else UNSET


def _dict(text: str | None) -> dict[str, Any]:
    value = _loaded(text, (dict,))
    return value if isinstance(value, dict) else {}


def _strings(text: str | None) -> list[str]:
    value = _loaded(text, (list,))
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _listed(text: str | None, kind: type[Kind]) -> tuple[Kind, ...]:
    """A list of Structs written as JSON; nothing where it is none."""
    try:
        return tuple(msgspec.json.decode(text, type=list[kind])) if text else ()  # type: ignore[valid-type]  # a type at run time
    except (msgspec.DecodeError, RecursionError):
        return ()
