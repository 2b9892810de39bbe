"""What Civitai says of a file as a line of its origin: claims under our words, with its licence, its level and its text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from embconv.converters.sidecars import NEGATIVE, hashes_in

from ..claims import highest
from ..model import NSFW, Offer
from ..store.civitai import ToldFile, ToldModel, ToldVersion, withheld
from ..times import stamp
from .wire import File, HeardFile, HeardModel, HeardVersion, Model, Version, count, texts, words

LONGEST = 20_000              # characters of a description
TITLE, WORD = 300, 1_024
TAGS, WORDS = 100, 20
FLAGS = ("allowNoCredit", "allowCommercialUse", "allowDerivatives", "allowDifferentLicense")
TAGS_ALLOWED = {"p", "br", "b", "i", "u", "s", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "hr", "h1", "h2", "h3", "h4",
                "h5", "h6", "a", "span", "table", "thead", "tbody", "tr", "th", "td", "sup", "sub", "del"}  # fmt: skip
MATURE = "x"                  # what `nsfw: true` means in answers of 2023, which have no levels


def claims(model: Model, version: Version, heard: HeardFile, siblings: tuple[HeardFile, ...] = ()) -> dict[str, Any]:
    """What one file's origin says; `siblings` are all files of its version, for the negative one of a pair."""
    file = heard.file
    base = words(version.base_model).strip()
    said = {
        "title": words(model.name).strip()[:TITLE],
        "version": words(version.name).strip()[:TITLE],
        "creator": words(model.creator.username).strip()[:TITLE] if model.creator else "",
        "base": base[:TITLE],
        "trigger": next(iter(texts(version.trained_words)), "")[:WORD],
        "triggers": [text[:WORD] for text in texts(version.trained_words)[:WORDS]][1:],
        "role": role(model, file, siblings),
        "pair": pair(heard, siblings),
        "licence": licence(model),
        "nsfw": level(model, version),
        "tags": [tag[:TITLE] for tag in texts(model.tags)[:TAGS]],
        "downloads": count(version.stats, "downloadCount"),
        "description": description(words(model.description), words(version.description)),
        "hashes": hashes_in(file.hashes),
        "file": words(file.override_name or file.name)[:WORD],
        "file_id": heard.id if heard.id > 0 else None,
        "file_type": words(file.type)[:TITLE],
        "published": words(version.published_at)[:40],
        "air": words(version.air)[:TITLE],
        "scan": {"pickle": words(file.pickle_scan_result)[:40], "virus": words(file.virus_scan_result)[:40]},
    }
    return {name: value for name, value in said.items() if value not in (None, "", [], {}) and value != {"pickle": "", "virus": ""}}


def role(model: Model, file: File, siblings: tuple[HeardFile, ...]) -> str | None:
    """Negative where the file says so or the model is tagged so; positive beside a negative one."""
    if words(file.type) == "Negative" or any(tag.lower() in NEGATIVE for tag in texts(model.tags)):
        return "negative"
    return "positive" if any(words(each.file.type) == "Negative" for each in siblings) else None


def pair(heard: HeardFile, siblings: tuple[HeardFile, ...]) -> dict[str, Any] | None:
    """The other one of a positive and a negative embedding."""
    if words(heard.file.type) == "Negative":
        other = next((each for each in siblings if words(each.file.type) != "Negative" and weights(each.file)), None)
    else:
        other = next((each for each in siblings if words(each.file.type) == "Negative"), None)
    if other is None or not weights(heard.file):
        return None
    sha256 = hashes_in(other.file.hashes).get("sha256")
    role_ = "negative" if words(other.file.type) == "Negative" else "positive"
    return {"role": role_, "file": words(other.file.override_name or other.file.name)[:WORD], **({"sha256": sha256} if sha256 else {})}


def weights(file: File) -> bool:
    """Can this kind of file hold an embedding?"""
    return words(file.type) in ("", "Model", "Pruned Model", "Negative", "Other", "Archive")


def licence(model: Model) -> dict[str, Any] | None:
    """Its permissions, those that it says anything of."""
    values = (model.allow_no_credit, model.allow_commercial_use, model.allow_derivatives, model.allow_different_license)
    said = {name: value for name, value in zip(FLAGS, values, strict=True) if isinstance(value, (bool, str, list))}
    return said or None


def level(model: Model, version: Version) -> str | None:
    """The highest level of a version, or of its model while the version is not rated; None where neither is."""
    for bits in (version.nsfw_level, model.nsfw_level):
        if isinstance(bits, (int, float)) and not isinstance(bits, bool) and bits > 0:
            return highest(int(bits)) if int(bits) > 0 else None
    if version.nsfw_level is None and model.nsfw_level is None and model.nsfw is not None:
        return MATURE if model.nsfw else NSFW[0]
    return None


def description(*parts: str) -> str:
    """Texts as HTML in which nothing can run: the tags of plain text, and links that lead to the web."""
    import nh3

    text = "\n".join(part for part in parts if part.strip())
    if not text:
        return ""
    attributes = {"a": {"href", "title"}}
    return nh3.clean(text[:LONGEST], tags=TAGS_ALLOWED, attributes=attributes, url_schemes={"http", "https", "mailto"},
                     link_rel="noopener noreferrer nofollow").strip()  # fmt: skip


def cleaned(body: dict[str, Any]) -> dict[str, Any]:
    """A body whose description cannot do anything."""
    said = body.get("description")
    return {**body, "description": description(said)} if isinstance(said, str) else body


def told(heard: HeardModel, shown: str, *, partly: bool = False) -> ToldModel:
    """A model as the store keeps it: every description sanitised, and of each file what is offered and what its origin says."""
    versions = tuple(
        ToldVersion(
            id=each.version.id,
            body=cleaned(each.body),
            files=tuple(ToldFile(offer=offer(heard.model, each.version, file), body=file.body,
                                 claims=claims(heard.model, each.version, file, each.files)) for file in files_of(heard.model, each)),
        )
        for each in heard.versions
    )  # fmt: skip
    return ToldModel(id=heard.model.id, body=cleaned(heard.body), versions=versions, shown=shown, partly=partly)


def files_of(model: Model, heard: HeardVersion) -> tuple[HeardFile, ...]:
    """The files of a version; one that stands for them where they are withheld, so that it is counted and known why."""
    if heard.files or not (words(model.mode) or gate(heard.version)):
        return heard.files
    return (HeardFile(id=withheld(heard.version.id), file=File(name=heard.version.name), body={}),)


def offer(model: Model, version: Version, heard: HeardFile) -> Offer:
    """What is known of a file before it is fetched."""
    file = heard.file
    size = file.size_kb
    return Offer(
        id=heard.id,
        model_id=model.id,
        version_id=version.id,
        title=words(model.name).strip()[:TITLE],
        version=words(version.name).strip()[:TITLE],
        creator=words(model.creator.username).strip()[:TITLE] if model.creator else "",
        name=words(file.override_name or file.name)[:WORD],
        kind=words(file.type)[:TITLE],
        size=round(size * 1024) if isinstance(size, (int, float)) and 0 < size < 1 << 40 else None,
        sha256=sha if len(sha := hashes_in(file.hashes).get("sha256", "")) == 64 else None,
        base=words(version.base_model).strip()[:TITLE],
        level=level(model, version),
        mode=words(model.mode)[:TITLE],
        gate=gate(version),
        published=words(version.published_at)[:40],
    )


def gate(version: Version) -> str:
    """Until when a version has to be paid for, "never" without an end, "" where it is free; in the words of three years.

    Until 2024 `earlyAccessTimeFrame` days after its date; until 2026 availability EarlyAccess and earlyAccessEndsAt; then paidAccess
    and earlyAccessDeadline, with availability Public.
    """
    paid = version.paid_access
    if paid is not None:
        return "never" if paid.permanent or not words(paid.ends_at) else words(paid.ends_at)
    for said in (version.early_access_deadline, version.early_access_ends_at):
        if words(said):
            return words(said)
    if isinstance(version.early_access_time_frame, (int, float)) and version.early_access_time_frame > 0:
        return days_after(words(version.published_at), version.early_access_time_frame)
    return "never" if words(version.availability) == "EarlyAccess" else ""


def days_after(text: str, days: float) -> str:
    """A moment some days later; "never" where it cannot be told."""
    try:
        return stamp(moment(text) + timedelta(days=days))
    except (ValueError, OverflowError):
        return "never"


def moment(text: str) -> datetime:
    """A time as Civitai writes it; one without a zone is UTC, as /model-versions has them. ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
