"""An embedding's model card: YAML and Markdown for the Hub's tools, of which no name, tag or claim breaks out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from embconv.converters.display import printable
from embconv.converters.encoders import BASES

from .model import Entry, Licence, Origin

LIBRARY, TASK = "diffusers", "text-to-image"
KIND, ROLE = "textual-inversion", "-embedding"  # tags: what it is; after "positive" or "negative", which prompt it is for
LONGEST = 1_000  # characters of a text in it
ORIGINS = 20     # of them at most, the newest
ADULT = ("r", "x", "xxx")
WORD = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")  # as the Hub writes licences
# What load_textual_inversion is told besides the name, by the file.
CALLS = {
    "learned_embeds.safetensors": "text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer",
    "learned_embeds_2.safetensors": 'weight_name="{name}", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2',
}


def card_data(entry: Entry) -> dict[str, Any]:
    """What stands at the head of the card; what is not known is left out."""
    found = {
        **(licence_data(entry.licence) if entry.licence else {}),
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "base_model": entry.base,
        "instance_prompt": printable(entry.trigger, LONGEST),
        "tags": tags_of(entry),
    }
    return {name: value for name, value in found.items() if value}


def tags_of(entry: Entry) -> list[str]:
    """Its tags, with what it is, the base, the role, and the Hub's word for what is not for everybody."""
    own = (KIND, entry.base or "", "" if entry.role == "unknown" else f"{entry.role}{ROLE}", *entry.tags)
    adult = "not-for-all-audiences" if entry.nsfw in ADULT else ""
    return list(dict.fromkeys(printable(tag) for tag in (*own, adult) if tag))


def licence_data(licence: Licence) -> dict[str, str]:
    """The licence by its name where it looks like the Hub's words for them, else `other` and what it says."""
    says = licence.says.strip().lower()
    if WORD.fullmatch(says):
        return {"license": says}
    return {"license": "other", "license_name": permitted(licence)}


def permitted(licence: Licence) -> str:
    """A licence in words: what Civitai's flags permit, or what it says."""
    if licence.says.lstrip().startswith("{"):
        return f"permits {', '.join(licence.permits) or 'nothing beyond use'}"
    return printable(licence.says.strip(), LONGEST)


def card_of(entry: Entry, repository: str, parts: tuple[str, ...]) -> str:
    """The whole card; `parts` are the files that load_textual_inversion takes."""
    head = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in card_data(entry).items())
    return f"---\n{head}---\n\n" + "\n".join(body(entry, repository, parts))


def body(entry: Entry, repository: str, parts: tuple[str, ...]) -> Iterator[str]:
    """The card's text, line by line."""
    yield f"# {plain(entry.trigger)}\n"
    yield f"A textual-inversion embedding{for_whom(entry)}: {' and '.join(sizes(entry))}.\n"
    yield f"- Trigger: {plain(entry.trigger)}"
    yield f"- Digest: `{entry.digest}`"
    yield from (f"- Creator: {plain(creator)}" for creator in entry.creators[:ORIGINS])
    if entry.licence:
        yield f"- Licence: {plain(permitted(entry.licence))} (so says {plain(entry.licence.source)})"
    yield "\n## Use\n"
    yield from usage(repository, parts)
    yield "\n## Where it comes from\n"
    yield from (f"- File {plain(file.name)}, {file.size:,} bytes, sha256 `{file.sha256}`" for file in entry.files)
    yield from (f"- {plain(text)}" for text in list(dict.fromkeys(map(origin_text, entry.origins)))[-ORIGINS:])
    yield ""


def for_whom(entry: Entry) -> str:
    """The base and the prompt it is for, where they are known."""
    base = f" for {BASES[entry.base].title}" if entry.base in BASES else ""
    return f"{base}, for the {entry.role} prompt" if entry.role != "unknown" else base


def sizes(entry: Entry) -> Iterator[str]:
    """How many vectors of which encoder."""
    for key, encoder in entry.encoders.items():
        yield f"{encoder.vectors} {'vector' if encoder.vectors == 1 else 'vectors'} of `{key}` ({encoder.width})"


def usage(repository: str, parts: tuple[str, ...]) -> Iterator[str]:
    """How diffusers loads it."""
    if not parts:
        yield "diffusers loads no embedding of this kind; `embedding.safetensors` holds it for other programs."
        return
    yield "```python"
    if len(parts) == 1:
        yield f'pipe.load_textual_inversion("{repository}")'
    else:
        yield from (f'pipe.load_textual_inversion("{repository}", {CALLS[part].format(name=part)})' for part in parts)
    yield "```"


def origin_text(origin: Origin) -> str:
    """One line of provenance."""
    title = origin.claims.get("title")
    said = (origin.source, origin.id, f'"{title}"' if isinstance(title, str) else None, origin.url)
    return ", ".join(printable(text, LONGEST) for text in said if text)


def plain(text: str) -> str:
    """A text that Markdown shows as it is: in one line, every mark escaped."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|~&$])", r"\\\1", printable(text, LONGEST))
