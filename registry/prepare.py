"""Everything a file's bytes tell, found without the store; what refuses a file refuses it here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable

from msgspec.structs import asdict, replace

from embconv.converters import EmbconvError, Embedding, Tensor
from embconv.converters.bases import base_of_embedding
from embconv.converters.check import check
from embconv.converters.hashes import Hashes, digest, hashes, sha256_of
from embconv.converters.limits import HASHED_SOURCE
from embconv.converters.names import in_unicode, trigger_of
from embconv.converters.numbers import as_float32, norms
from embconv.converters.read import Input, Reading, examine
from embconv.converters.source import Source

from .checksums import checksums
from .model import EncoderEntry, Prepared, PreparedEmbedding, Refusal
from .times import now

LONGEST = 255  # bytes of a file name
UNNAMED = "embedding"
SAYS = 2_000  # characters of a reason that are written down


def prepare(source: Input, *, name: str | None = None) -> Prepared:
    """Read a path or bytes. `name` is what somebody calls the file; where none is given, the files beside a path speak for it.

    Raises the converters' errors for what is no embedding.
    """
    path = None if isinstance(source, bytes) else os.fspath(source)
    with Source(source, file_name(name if name is not None else path or "")) as opened:
        return prepare_opened(opened, beside=path if name is None else None)


def prepare_opened(source: Source, *, beside: str | None) -> Prepared:
    """`prepare` of an open source, called by its name; `beside` is the path whose sidecars speak for it, if there are any."""
    return prepared(source, examined(source, beside=beside))


def examined(source: Source, *, beside: str | None, told: bool = True) -> Reading:
    """What is in an open source, called by its name; `beside` is the path whose sidecars speak for it, if there are any (`told`)."""
    source.path = beside or (source.name if source.name != UNNAMED else None)  # its stem is a name, and its folder has the sidecars
    return examine(source, sidecars=told and beside is not None)


def prepared(
    source: Source, reading: Reading, *, computed: Hashes | None = None, sums: Callable[[list[bytes]], list[str]] = checksums
) -> Prepared:
    """What is kept of an open source. Its hashes are `computed` here where they are not yet: only of what is an embedding.

    `sums` gives A1111's checksums for the values of each encoder.
    """
    found = computed or hashes(source)
    return Prepared(
        name=source.name,
        size=source.size,
        sha256=found.sha256,
        container=reading.outline.container,
        layout=reading.layout.name,
        hashes={kind: value for kind, value in asdict(found).items() if value is not None},
        embeddings=tuple(prepared_embedding(embedding, sums) for embedding in reading.embeddings),
    )


def file_name(name: str) -> str:
    """A file name as somebody may have sent it: without folders, control and direction characters; never empty, never endless."""
    last = re.split(r"[/\\]", name)[-1]
    if last.isascii() and last.isprintable() and 0 < len(last.strip()) <= LONGEST and last.strip() not in (".", ".."):
        return last.strip()  # nearly every name
    kept = "".join(c for c in in_unicode(last) if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")).strip()
    kept = "" if kept in (".", "..") else kept
    stem, suffix = os.path.splitext(kept)
    while len((stem + suffix).encode()) > LONGEST:
        stem, suffix = (stem[:-1], suffix) if stem else (suffix[:-1], "")
    return (stem + suffix) or UNNAMED


def prepared_embedding(embedding: Embedding, sums: Callable[[list[bytes]], list[str]]) -> PreparedEmbedding:
    """What is kept of one embedding."""
    tensors = {**embedding.vectors, **embedding.output_vectors}
    return PreparedEmbedding(
        digest=digest(embedding).removeprefix("emb:"),
        names=embedding.names,
        trigger=trigger_of(embedding.names),
        base=base_of_embedding(replace(embedding, hints=()) if embedding.hints else embedding),
        encoders=entries(embedding.vectors),
        output_encoders=entries(embedding.output_vectors),
        vectors=max((tensor.shape[0] for tensor in tensors.values()), default=0),
        findings=tuple(check(embedding, lengths=lengths)),
        hints=embedding.hints,
        sources=embedding.sources,
        checksums=tuple(dict.fromkeys(sums([as_float32(tensor) for tensor in embedding.vectors.values()]))),
    )


def lengths(tensor: Tensor) -> list[float]:
    """The Euclidean length of each vector, as converters' `norms`; numpy is here anyway and takes a tenth of the time."""
    import numpy as np

    if tensor.dtype != "F32":
        return list(norms(tensor))
    values = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape).astype(np.float64)
    found: list[float] = np.sqrt(np.einsum("ij,ij->i", values, values)).tolist()
    return found


def entries(vectors: dict[str, Tensor]) -> dict[str, EncoderEntry]:
    """Encoder -> how many vectors, how wide, of which kind."""
    return {key: EncoderEntry(vectors=t.shape[0], width=t.shape[1], dtype=t.dtype) for key, t in vectors.items()}


def refusal_of(source: Source, exc: EmbconvError, by: str = "") -> Refusal:
    """A refusal, for the operator to read. What is too large to be an embedding is not hashed for it."""
    sha256 = sha256_of(source) if source.size <= HASHED_SOURCE else ""
    return Refusal(at=now(), sha256=sha256, name=source.name, size=source.size, code=exc.code, says=exc.says[:SAYS], source=by)
