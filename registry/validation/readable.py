"""An embedding of the registry, out of the first of its files that can be read."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from embconv.converters import EmbconvError, Embedding, digest
from embconv.converters.read import examine
from embconv.converters.source import Source

from ..blobs import Blobs
from ..errors import UnknownFile
from ..model import Entry, FileEntry
from ..store import Store, document, resolve


class Found(NamedTuple):
    """An embedding, what the registry knows of it, and the file it was read from."""

    embedding: Embedding
    entry: Entry
    file: FileEntry


def readable(store: Store, blobs: Blobs, ref: str) -> Found:
    """The embedding that a digest means. UnknownReference, Gone, or why its files cannot be read."""
    entry = msgspec.json.decode(document(store.read, resolve(store.read, ref)), type=Entry)
    trouble: EmbconvError | None = None
    for file in entry.files:
        try:
            with Source(blobs.path(file.sha256), file.name) as opened:
                for each in examine(opened, sidecars=False).embeddings:
                    if digest(each) == entry.digest:
                        return Found(each, entry, file)
        except EmbconvError as exc:
            trouble = exc
    raise trouble or UnknownFile(entry.files[0].sha256 if entry.files else entry.digest)
