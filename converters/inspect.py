"""Everything knowable about a file, as one report: what `embconv inspect --json` prints."""

from __future__ import annotations

from math import fsum  # `sum` of floats rounds otherwise before Python 3.12
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from .bases import BaseClaim, base_of_embedding, bases_of
from .check import check
from .forms import form_of
from .hashes import Hashes, digest, hashes
from .model import Embedding, Finding, Hint, Names, SourceFile, Tensor, Training
from .names import trigger_of
from .numbers import norms
from .provenance import role_of
from .read import Input, Reading, examine
from .source import Source
from .targets import loads_in


class Norm(Struct, frozen=True):
    """Lengths of the vectors; None where some number is NaN or infinity."""

    min: float | None
    mean: float | None
    max: float | None


class EncoderReport(Struct, frozen=True, kw_only=True):
    """The vectors for one text encoder; `key` is the file's own word for it where it has one."""

    vectors: int
    width: int
    dtype: str
    norm: Norm
    key: str | UnsetType = UNSET


class EmbeddingReport(Struct, frozen=True, kw_only=True):
    """One embedding of the file."""

    trigger: str
    names: dict[str, str]
    base: str | None
    bases: tuple[BaseClaim, ...]
    encoders: dict[str, EncoderReport]
    output_encoders: dict[str, EncoderReport] | UnsetType = UNSET
    training: Training | None
    digest: str
    role: str
    metadata: dict[str, str]
    claims: tuple[Hint, ...] | UnsetType = UNSET
    sources: tuple[SourceFile, ...] | UnsetType = UNSET


class Report(Struct, frozen=True, kw_only=True):
    """One file. `loads_in` says for each program True, or why not and what would help."""

    path: str
    size: int
    container: str
    layout: str
    written_by: str
    embeddings: tuple[EmbeddingReport, ...]
    hashes: Hashes
    findings: tuple[Finding, ...]
    loads_in: dict[str, bool | str]


def inspect(source: Input) -> Report:
    """The report on one file or on bytes. Raises a FileError where it is no embedding."""
    with Source(source) as file:
        reading = examine(file)
        return report(reading, file.size, hashes(file))


def report(reading: Reading, size: int, found: Hashes) -> Report:
    """The report on a reading."""
    several = len(reading.embeddings) > 1
    first = reading.embeddings[0]
    return Report(
        path=reading.path or reading.name,
        size=size,
        container=reading.outline.container,
        layout=reading.layout.name,
        written_by="embconv" if first.sources else reading.layout.written_by,
        embeddings=tuple(embedding_report(embedding) for embedding in reading.embeddings),
        hashes=found,
        findings=tuple(_placed(finding, embedding, several) for embedding in reading.embeddings for finding in check(embedding)),
        loads_in=loads_in(form_of(reading, first)),
    )


def _placed(finding: Finding, embedding: Embedding, several: bool) -> Finding:
    """A finding with the embedding it is about, where the file holds several."""
    where = f"{trigger_of(embedding.names)}: {finding.where}" if several else finding.where
    return Finding(finding.rule, finding.severity, where, finding.says)


def embedding_report(embedding: Embedding) -> EmbeddingReport:
    """What the report says of one embedding."""
    outputs = {key: encoder_report(tensor, UNSET) for key, tensor in embedding.output_vectors.items()}
    return EmbeddingReport(
        trigger=trigger_of(embedding.names),
        names=said(embedding.names),
        base=base_of_embedding(embedding),
        bases=bases_of(embedding),
        encoders={key: encoder_report(tensor, embedding.keys.get(key, UNSET)) for key, tensor in embedding.vectors.items()},
        output_encoders=outputs or UNSET,
        training=embedding.training,
        digest=digest(embedding),
        role=role_of(embedding),
        metadata=embedding.metadata,
        claims=embedding.hints or UNSET,
        sources=embedding.sources or UNSET,
    )


def said(names: Names) -> dict[str, Any]:
    """The names that are claimed at all."""
    return {where: name for where, name in asdict(names).items() if name is not None}


def encoder_report(tensor: Tensor, key: str | UnsetType) -> EncoderReport:
    """Numbers about the vectors of one encoder."""
    lengths = norms(tensor)
    known = all(length - length == 0 for length in lengths)
    norm = Norm(min(lengths), fsum(lengths) / len(lengths), max(lengths)) if known else Norm(None, None, None)
    return EncoderReport(vectors=tensor.shape[0], width=tensor.shape[1], dtype=tensor.dtype, norm=norm, key=key)
