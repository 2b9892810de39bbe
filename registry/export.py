"""Embeddings out of the registry into a program's folder: in the form it loads, under a name it takes, proven by reading back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from embconv.converters import EmbconvError, Embedding, Hint, SourceFile, digest
from embconv.converters.api import hashes
from embconv.converters.convert import Failure, Options, holds, must_fit, plan_of, renamed
from embconv.converters.display import quoted
from embconv.converters.errors import CannotWrite, TargetExists, WriteError
from embconv.converters.names import safe_stem, trigger_of
from embconv.converters.provenance import role_of
from embconv.converters.read import IMAGES, Input, Reading, examine
from embconv.converters.source import Source
from embconv.converters.staging import Staging, make_folder, sweep
from embconv.converters.targets import plan_for
from embconv.converters.write import CONTAINERS, Written, encode

from .blobs import Blobs
from .errors import Gone, StorageFailed, UnknownFile, UnknownReference
from .export_names import USUAL, placed
from .folder_layouts import FolderLayout
from .model import Entry, FileEntry
from .pictures import to_png
from .sidecar_files import PREVIEW, WRITERS, Beside, sidecar
from .store import Store, previews_of, resolve
from .store.validations import shown_render

CHUNK = 256  # files that reach the disk together
SHOWN_AS_PREVIEW = ("png", "webp")  # the programs show no avif or jxl
Read = Callable[[FileEntry], Input]
Shown = Callable[[Entry], bytes | None]  # the first picture that is kept of it


class Wanted(Struct, frozen=True, kw_only=True):
    """How to export: for which program, under which names, with which files beside each."""

    layout: FolderLayout
    pattern: str = USUAL
    sidecars: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False


class Exported(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one embedding. `status`: written, already_there, would_write, refused (the embedding) or failed (the disk)."""

    digest: str
    name: str
    status: str
    path: str | None = None
    size: int | None = None
    form: str | None = None
    prompt: str | None = None
    sidecars: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()       # kinds of sidecars that there is nothing for
    notes: tuple[str, ...] = ()
    error: Failure | None = None


class Placing(Staging):
    """Files that become real together: embeddings, which are proven, and what stands beside them."""

    def put_bytes(self, data: bytes, path: str, overwrite: bool) -> None:
        """Write what is to become `path`; TargetExists as `put`."""
        if path in self._waiting or path in self._unnamed or (not overwrite and os.path.lexists(path)):
            raise TargetExists(path)
        temporary = self.temporary(os.path.dirname(path))
        try:
            with open(temporary, "xb") as file:
                file.write(data)
        except OSError as exc:
            raise CannotWrite(path, exc.strerror or str(exc)) from exc
        self._waiting[path] = (temporary, overwrite)


def export(
    entries: Sequence[Entry], read: Read, folder: str, wanted: Wanted, *, done: Callable[[Exported], None], shown: Shown = lambda _: None
) -> list[Exported]:
    """Write embeddings below `folder`; `done` hears of each once it is safe. No bad one stops the others. `shown` gives their previews.

    What an export that was killed had begun there is removed.

    Raises BadParameter for a pattern that means nothing; nothing is written then.
    """
    names = placed(entries, wanted.pattern, wanted.layout)
    if not wanted.dry_run:
        for home in {os.path.join(folder, *parts[:-1]) for parts in names.values()}:
            sweep(home)
    found: list[Exported] = []
    left = iter(entries)
    while chunk := list(islice(left, CHUNK)):
        with Placing() as placing:
            results = [export_one(entry, read, folder, names[entry.digest], wanted, placing, shown) for entry in chunk]
            lost = {} if wanted.dry_run else placing.publish()
        for result in results:
            found.append(settled(result, lost))
            done(found[-1])
    return found


def settled(result: Exported, lost: dict[str | None, EmbconvError]) -> Exported:
    """A result after the disk has spoken: its file, or a file beside it, may have been lost."""
    if result.path in lost and result.status == "written":
        error = lost[result.path]
        return replace(result, status="failed", path=None, sidecars=(), error=Failure(error.code, error.says, error.hint))
    gone = [path for path in result.sidecars if path in lost]
    notes = (*result.notes, *(lost[path].says for path in gone))
    return replace(result, sidecars=tuple(path for path in result.sidecars if path not in gone), notes=notes) if gone else result


def export_one(
    entry: Entry, read: Read, folder: str, parts: tuple[str, ...], wanted: Wanted, placing: Placing, shown: Shown
) -> Exported:
    """One embedding with what stands beside it."""
    result = Exported(digest=entry.digest, name=entry.name, status="would_write" if wanted.dry_run else "written")
    options = Options(target=wanted.layout.target)
    try:
        reading, found, source = found_in(entry, read)
        embedding = known(found, entry)
        path = os.path.join(folder, *parts) + suffix_for(embedding, wanted.layout)
        must_fit(embedding, reading, path, options)
        plan = plan_of(embedding, path, options)
        written = encode(embedding, plan, source=source)
        there = os.path.lexists(path) and not wanted.force
        if there and not holds(path, written, plan, named=False):
            raise TargetExists(path)
        if not (there or wanted.dry_run):
            placing.put(written, path, wanted.force)
        result = replace(
            result,
            status="already_there" if there else result.status,
            path=path,
            size=len(written.data),
            form=f"{plan.layout} in {plan.suffix[1:]}",
            prompt=prompt_for(written.trigger, parts, wanted.layout),
            notes=notes_of(entry, parts[-1], (*written.notes, plan.note), wanted),
        )
        picture = picture_of(entry, read, shown) if PREVIEW in (*wanted.layout.sidecars, *wanted.sidecars) else None
        return with_sidecars(result, entry, written, wanted, placing, picture)
    except EmbconvError as exc:
        status = "failed" if isinstance(exc, WriteError) and not isinstance(exc, TargetExists) else "refused"
        return Exported(digest=entry.digest, name=entry.name, status=status, error=Failure(exc.code, exc.says, exc.hint))


def found_in(entry: Entry, read: Read) -> tuple[Reading, Embedding, SourceFile]:
    """The embedding out of the first of its files that has it still."""
    trouble: EmbconvError | None = None
    for file in entry.files:
        try:
            with Source(read(file), file.name) as opened:
                opened.path = opened.name  # what it was called speaks for it, not where its bytes lie now
                reading = examine(opened, sidecars=False)
                for embedding in reading.embeddings:
                    if digest(embedding) == entry.digest:
                        made = SourceFile(name=file.name, container=file.container, layout=file.layout, sha256=file.sha256)
                        return reading, embedding, made
        except EmbconvError as exc:
            trouble = exc
    raise StorageFailed(f"none of the files of {entry.digest} has it any more: embconv verify") from trouble


def known(embedding: Embedding, entry: Entry) -> Embedding:
    """The embedding with what the registry knows better than its file: its trigger, its role, its base and its licence."""
    if trigger_of(embedding.names) != entry.trigger:
        embedding = renamed(embedding, entry.trigger)
    role = entry.role if entry.role not in ("unknown", role_of(embedding)) else None
    licence = entry.licence.says if entry.licence and not any(hint.licence == entry.licence.says for hint in embedding.hints) else None
    if role is None and licence is None:
        return embedding
    better = {"modelspec.is_negative_embedding": role, "modelspec.license": licence}
    metadata = {key: text for key, text in embedding.metadata.items() if not better.get(key)}
    hint = Hint(source="registry", base=entry.base, base_text=entry.base, role=role, licence=licence)
    return replace(embedding, hints=(hint, *embedding.hints), metadata=metadata)


def suffix_for(embedding: Embedding, layout: FolderLayout) -> str:
    """.safetensors where the program reads that, which needs no pickle and keeps the most; else what it reads best."""
    sizes = {key: (tensor.shape[0], tensor.shape[1]) for key, tensor in embedding.vectors.items()}
    if embedding.output_vectors or plan_for(layout.target, sizes, ".safetensors"):
        return ".safetensors"
    best = next((plan for plan in layout.target.writes if plan.suffix in CONTAINERS and plan_for(layout.target, sizes, plan.suffix)), None)
    return best.suffix if best else ".safetensors"


def prompt_for(trigger: str, parts: tuple[str, ...], layout: FolderLayout) -> str:
    """What is typed in a prompt: the file's name, with its folders where the program wants those, or the trigger."""
    word = trigger if layout.name == "diffusers" else parts[-1] if layout.by_stem else "/".join(parts)
    return layout.target.prompt.replace("NAME", word)


def notes_of(entry: Entry, called: str, notes: tuple[str, ...], wanted: Wanted) -> tuple[str, ...]:
    """What a person should know of the form, and of a name that is not what it wants to be."""
    own = entry.trigger.strip("<>")
    if wanted.pattern == USUAL and called != own and wanted.layout.name != "diffusers":
        why = "is no name for its file there" if wanted.layout.part(safe_stem(own)) == called else "is another embedding's name there"
        notes = (*notes, f"{quoted(own)} {why}, so {wanted.layout.title} calls it {quoted(called)}.")
    return tuple(filter(None, notes))


def with_sidecars(
    result: Exported, entry: Entry, written: Written, wanted: Wanted, placing: Placing, picture: tuple[str, Callable[[], bytes]] | None
) -> Exported:
    """The same with what stands beside it; `picture` is the suffix of its preview and how its bytes are had."""
    assert result.path is not None
    kinds = dict.fromkeys((*wanted.layout.sidecars, *wanted.sidecars))
    if not kinds:
        return result
    stem = os.path.splitext(result.path)[0]
    notes: list[str] = []
    shown = f"{stem}.preview.{picture[0]}" if picture else None
    about = Beside(
        entry=entry,
        path=os.path.abspath(result.path),
        stem=os.path.basename(stem),
        word=os.path.basename(stem),
        size=len(written.data),
        hashes=hashes(result.path if result.status == "already_there" else written.data),
        preview=os.path.abspath(shown) if shown else None,
    )
    made: dict[str, Callable[[], bytes]] = {kind: partial(sidecar, kind, about) for kind in kinds if kind in WRITERS}
    files = {f"{stem}{WRITERS[kind][0]}": make for kind, make in made.items()}
    if picture and shown:
        files[shown] = picture[1]
    beside = list(put_beside(files, wanted, placing, notes))
    missing = (PREVIEW,) if PREVIEW in kinds and picture is None else ()
    return replace(result, sidecars=tuple(beside), missing=missing, notes=(*result.notes, *notes))


def picture_of(entry: Entry, read: Read, shown: Shown) -> tuple[str, Callable[[], bytes]] | None:
    """A picture of it, by its suffix: A1111's card, of a kind that programs show, else the first preview that is kept, as PNG."""
    card = next((file for file in entry.files if file.container in IMAGES and file.container in SHOWN_AS_PREVIEW), None)
    if card:
        return card.container, partial(bytes_of, card, read)
    kept = shown(entry)
    return ("png", partial(to_png, kept, entry.name)) if kept else None


def previews_in(store: Store, blobs: Blobs) -> Shown:
    """The first preview of each, as a registry on this machine keeps it, else what a test render drew; one whose bytes are lost is none."""

    def shown(entry: Entry) -> bytes | None:
        try:
            id_ = resolve(store.read, entry.digest)
            found = next(iter(previews_of(store.read, id_)), None) or shown_render(store.read, id_)
            return blobs.read(found.sha256) if found else None
        except (Gone, UnknownFile, UnknownReference):
            return None

    return shown


def bytes_of(file: FileEntry, read: Read) -> bytes:
    """All bytes of a file."""
    with Source(read(file), file.name) as opened:
        return opened.read(0, opened.size)


def put_beside(files: dict[str, Callable[[], bytes]], wanted: Wanted, placing: Placing, notes: list[str]) -> Iterator[str]:
    """Write each file that is not there yet; one that says something else is left alone, and that is said."""
    for path, make in files.items():
        try:
            data = make()
            if os.path.lexists(path) and not wanted.force:
                if not same(path, data):
                    name = quoted(os.path.basename(path))
                    notes.append(f"{name} is there and says something else; it was left as it is (--force overwrites).")
            elif wanted.dry_run:
                yield path
            else:
                make_folder(os.path.dirname(path))
                placing.put_bytes(data, path, wanted.force)
                yield path
        except EmbconvError as exc:
            notes.append(exc.says)


def same(path: str, data: bytes) -> bool:
    """Does the file hold these bytes?"""
    try:
        with open(path, "rb") as file:
            return file.read(len(data) + 1) == data
    except OSError:
        return False
