"""What is judged: an embedding's vectors as numbers, the role that its names suggest, and what has to be drawn to judge it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from embconv.converters import Finding
from embconv.converters.bases import base_of_embedding
from embconv.converters.names import trigger_of
from embconv.converters.numbers import as_float32

from .decide import SIDES
from .parts import Subject
from .sheets import plan
from .trials import Trial

if TYPE_CHECKING:
    from embconv.converters import Embedding

    from ..verdicts import Protocol

HALF = 65504  # the largest number of float16

# What people put into the names of embeddings for the negative prompt.
NEGATIVE = re.compile(
    r"negativ|deepneg|(?<![a-z])(?:neg|bad|worst|ugly|deformed)(?![a-z])|bad[ _-]?(?:hand|prompt|artist|image|pic|dream|quality|anatomy)",
    re.IGNORECASE,
)


def subject(
    embedding: Embedding, digest: str, *, role: str = "unknown", base: str | None = None, name: str = "", hints: Sequence[str] = (),
    shorthash: str = "", trigger: str = "",
) -> Subject:  # fmt: skip
    """An embedding as it is judged; its base as its widths tell and its trigger as the file does, unless somebody knows better."""
    vectors = {key: np.frombuffer(as_float32(tensor), "<f4").reshape(tensor.shape).astype(np.float32)
               for key, tensor in embedding.vectors.items()}  # fmt: skip
    trigger = trigger or trigger_of(embedding.names)
    return Subject(
        digest=digest, name=name or embedding.names.file_stem or trigger, trigger=trigger, vectors=vectors,
        base=base or base_of_embedding(embedding), role=role, hints=tuple(hints), shorthash=shorthash,
    )  # fmt: skip


def hinted(subject: Subject) -> str:
    """The role that its names suggest; nobody names an embedding after being a positive one."""
    return "negative" if any(NEGATIVE.search(text) for text in (subject.name, subject.trigger, *subject.hints)) else "unknown"


def declared(subject: Subject) -> str:
    """The role that somebody declared."""
    return subject.role if subject.role in SIDES else "unknown"


def overflow(subject: Subject) -> Finding | None:
    """Most programs compute in half precision, where what is larger than 65504 is infinite and the picture black."""
    for key, rows in subject.vectors.items():
        most = float(np.abs(rows).max(initial=0.0))
        if most > HALF:
            says = f"Its largest number is {most:.2g}; half precision, in which most programs compute, ends at {HALF}."
            return Finding("overflow", "error", key, says)
    return None


def trial_of(number: int, subject: Subject, protocol: Protocol) -> Trial:
    """Its trial: on the side of its role; where nobody knows that, on both, if anything is drawn."""
    known = declared(subject) if subject.role in SIDES else hinted(subject)
    both = subject.role not in SIDES and bool(protocol.seeds)
    sides = SIDES if both else (known if known in SIDES else "positive",)
    return Trial(number, subject, sides, protocol.seeds, leans=both, planned=plan(protocol, subject, known))
