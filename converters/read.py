"""A file, a folder or bytes in; embeddings out, with every name and claim about them."""

from __future__ import annotations

import os

from msgspec import Struct
from msgspec.structs import replace

from .containers import open_contents
from .errors import NotAnEmbedding, SeveralEmbeddings, UnreadableFile
from .identify import identify
from .layouts import Layout
from .limits import EMBEDDINGS
from .model import Contents, Embedding, Hint, Outline
from .names import in_unicode, trigger_of
from .paths import stem_of, suffix_of
from .provenance import restore
from .sidecars import header_hint, hints_beside
from .source import Source

Input = str | os.PathLike[str] | bytes


class Reading(Struct, frozen=True, kw_only=True):
    """All that one file gave: its outline, its layout and the embeddings in it."""

    name: str
    path: str | None
    outline: Outline
    layout: Layout
    embeddings: tuple[Embedding, ...]


def read(source: Input) -> list[Embedding]:
    """Every embedding in `source`. Raises a FileError that says what the file is when it is not one."""
    if not isinstance(source, bytes) and os.path.isdir(source):
        return [embedding for part in folder_parts(os.fspath(source)) for embedding in read(part)]
    with Source(source) as opened:
        return list(examine(opened).embeddings)


def load(source: Input, *, pick: str | None = None) -> Embedding:
    """The one embedding in `source`, or the one called `pick`; SeveralEmbeddings names them where there are more."""
    name = "<bytes>" if isinstance(source, bytes) else os.path.basename(os.fspath(source))
    return choose(read(source), name, pick)


def choose(embeddings: list[Embedding] | tuple[Embedding, ...], name: str, pick: str | None) -> Embedding:
    """The only embedding, or the one called `pick` by its trigger, its key or its name inside."""
    if pick is not None:
        wanted = [e for e in embeddings if pick in (trigger_of(e.names), e.names.key, e.names.inner_name)]
        if len(wanted) == 1:
            return wanted[0]
        raise SeveralEmbeddings(name, [called(e) for e in embeddings])
    if len(embeddings) != 1:
        raise SeveralEmbeddings(name, [called(e) for e in embeddings])
    return embeddings[0]


def called(embedding: Embedding) -> str:
    """What tells an embedding from the others of its file: its key, else its trigger."""
    return embedding.names.key or trigger_of(embedding.names)


def examine(source: Source, *, sidecars: bool = True) -> Reading:
    """Everything about an open source: container, layout, embeddings with names, claims and training."""
    contents = open_contents(source)
    layout = identify(contents.outline, source.name)
    found = layout.normalise(contents)
    if not 0 < len(found) <= EMBEDDINGS:
        raise UnreadableFile(source.name, f"it holds {len(found)} embeddings")
    hints = hints_beside(source.path) if source.path and sidecars else ()
    embeddings = tuple(complete(embedding, contents, source, hints, len(found) > 1) for embedding in found)
    return Reading(name=source.name, path=source.path, outline=contents.outline, layout=layout, embeddings=embeddings)


def nbytes(reading: Reading) -> int:
    """How many bytes its vectors take."""
    return sum(len(t.data) for e in reading.embeddings for vectors in (e.vectors, e.output_vectors) for t in vectors.values())


def complete(embedding: Embedding, contents: Contents, source: Source, beside: tuple[Hint, ...], several: bool) -> Embedding:
    """An embedding with what lies outside its layout: the file's name, the header's and the sidecars' claims."""
    own = restore(embedding)
    told = header_hint(embedding.metadata)
    named_by_image = embedding.names.inner_name if contents.outline.container in IMAGES else None
    names = replace(
        own.names,
        file_stem=in_unicode(stem_of(source.path)) if source.path and not several else None,
        header=named_by_image or (told.trigger if told else None),
        sidecar=own.names.sidecar if several else next((hint.trigger for hint in beside if hint.trigger), own.names.sidecar),
    )
    return replace(own, names=names, hints=(*((told,) if told else ()), *own.hints, *(hint for hint in beside if hint not in own.hints)))


IMAGES = ("png", "webp", "avif", "jxl")


def folder_parts(folder: str) -> list[str]:
    """The embedding files of a folder that is one thing: a OneTrainer backup, or a concept of the library."""
    for inner in ("embeddings", "embedding"):
        home = os.path.join(folder, inner)
        if os.path.isfile(os.path.join(folder, "meta.json")) and os.path.isdir(home) and (parts := _parts(home, "")):
            return parts
    if os.path.isfile(os.path.join(folder, "token_identifier.txt")) and (parts := _parts(folder, "learned_embeds")):
        return parts
    name = os.path.basename(folder.rstrip("/")) or folder
    raise NotAnEmbedding(name, "a folder", "Convert the files in it: embconv FOLDER --to safetensors")


def _parts(folder: str, beginning: str) -> list[str]:
    """The files in `folder` that may be embeddings and are called so."""
    names = (name for name in sorted(os.listdir(folder)) if name.startswith(beginning))
    return [os.path.join(folder, name) for name in names if suffix_of(name).lower() in (".safetensors", ".pt", ".bin")]
