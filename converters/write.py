"""An embedding in, a file out: encoded, written beside the target, read back, proven equal, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from msgspec import UNSET, Struct
from msgspec.structs import replace

from .bases import base_of_embedding, counted
from .containers import image, open_contents, safetensors, torch_zip
from .display import quoted
from .errors import CannotHold, CannotWrite, EmbconvError, NotEqual, TargetExists
from .hashes import digest
from .identify import identify
from .layouts import BY_NAME, a1111
from .layouts.layout import Tree
from .limits import WHOLE_READ
from .model import Embedding, SourceFile, Tensor
from .names import trigger_of
from .numbers import WRITABLE, converted
from .paths import beside, folder_of
from .provenance import default_encoder, header, role_of
from .source import Source
from .targets import Plan, written_dtype

HANDLES = "/proc/self/fd"  # where Linux shows the open files of a process; by it one without a name gets one
UNNAMED = os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE if hasattr(os, "O_TMPFILE") and os.path.isdir(HANDLES) else 0
CONTAINERS = {".safetensors": "safetensors", ".pt": "torch_zip", ".bin": "torch_zip", ".png": "png"}


class Written(Struct, frozen=True, kw_only=True):
    """A file as it will stand: its bytes, the embedding they hold, and what about them the user should know."""

    data: bytes
    embedding: Embedding
    trigger: str
    digest: str
    notes: tuple[str, ...] = ()


def encode(embedding: Embedding, plan: Plan, *, dtype: str | None = None, source: SourceFile | None = None) -> Written:
    """The bytes of a file after `plan`, equal for equal input. `dtype` narrows or widens; what it lost is a note.

    Raises CannotHold where the layout, the container or `dtype` cannot carry the embedding.
    """
    layout = BY_NAME[plan.layout]
    if layout.write is None:
        says = f"The layout {layout.name} is read, but nobody should write it."
        raise CannotHold(says, "Leave the layout to embconv, or name a program with --for.")
    if embedding.output_vectors and layout.name not in ("per_encoder", "emp_params"):
        says = f"The layout {layout.name} has no place for OneTrainer's output vectors."
        raise CannotHold(says, "Convert to .safetensors or .pt without --for: that keeps them.")
    if dtype and plan.dtype not in ("keep", dtype):
        raise CannotHold(f"{dtype} was asked for, and that program reads {plan.dtype} only.", f"Leave out --dtype {dtype}.")
    made, notes = as_dtype(embedding, lambda given: dtype or written_dtype(plan, given))
    trigger, identity = trigger_of(made.names), digest(made)
    text = header(made, trigger=trigger, base=base_of_embedding(made), digest=identity, source=source)
    tree = {plan.renames.get(key, key): node for key, node in layout.write(made, trigger, text).items()}
    if plan.container != "safetensors" and not layout.carries_text:
        notes = (*notes, *left_out(made, trigger if trigger in tree else None))
    return Written(data=contained(tree, text, plan.container, made, trigger), embedding=made, trigger=trigger, digest=identity, notes=notes)


def contained(tree: Tree, text: dict[str, str], container: str, embedding: Embedding, trigger: str) -> bytes:
    """A tree in the bytes of a container."""
    if container == "safetensors":
        return safetensors.write(tree, text)
    if container == "png":
        return card(a1111.called(tree, embedding, trigger), embedding, trigger)
    return torch_zip.write(tree, archive_root=embedding.names.archive_root or "archive")


def card(tree: Tree, embedding: Embedding, trigger: str) -> bytes:
    """A1111's picture with the embedding in its text and its pixels."""
    tensor = next(iter(embedding.vectors.values()))
    step = embedding.training.step if embedding.training else UNSET
    facts = [counted(tensor.shape[0], "vector"), *([f"step {step:,}"] if isinstance(step, int) else [])]
    return image.write(tree, name=trigger, subtitle=", ".join(facts))


def as_dtype(embedding: Embedding, wanted: Callable[[str], str]) -> tuple[Embedding, tuple[str, ...]]:
    """The embedding in the kind of number that is wanted for each kind given, and a note of the largest error that made."""
    given = {tensor.dtype for tensor in (*embedding.vectors.values(), *embedding.output_vectors.values())}
    if all(wanted(dtype) == dtype for dtype in given):
        return embedding, ()
    worst = 0.0

    def narrowed(key: str, tensor: Tensor) -> Tensor:
        nonlocal worst
        dtype = wanted(tensor.dtype)
        try:
            made, error = converted(tensor, dtype)
        except OverflowError:
            says = f"{dtype} cannot hold the numbers of {key}: some are too large."
            raise CannotHold(says, f"Use one of {', '.join(WRITABLE)}.") from None
        worst = max(worst, error)
        return made

    vectors = {key: narrowed(key, tensor) for key, tensor in embedding.vectors.items()}
    outputs = {key: narrowed(f"{key}_out", tensor) for key, tensor in embedding.output_vectors.items()}
    notes = (f"The numbers were narrowed: the largest error is {worst:.3g}.",) if worst else ()
    return replace(embedding, vectors=vectors, output_vectors=outputs), notes


def left_out(embedding: Embedding, key: str | None) -> tuple[str, ...]:
    """What a container without a text header cannot say; `key` is the trigger where the file has it as a key."""
    told = [f"name {embedding.names.inner_name}"] if embedding.names.inner_name else []
    if embedding.training and embedding.training.step not in (None, UNSET):
        told.append(f"step {embedding.training.step}")
    told += [*claims_left_out(embedding, key), *(name for name in embedding.metadata if name != "format")]
    return (f"This form holds vectors only and leaves out: {', '.join(told)}. A .safetensors file keeps them.",) if told else ()


def claims_left_out(embedding: Embedding, key: str | None) -> list[str]:
    """The role, the licence, the triggers and the earlier sources that such a container cannot say; `metadata` tells the rest."""
    names, text, role = embedding.names, embedding.metadata, role_of(embedding)
    header_trigger = None if "modelspec.trigger_phrase" in text else names.header
    triggers = dict.fromkeys(word for word in (header_trigger, names.sidecar) if word and word not in (names.file_stem, key))
    told = [f"trigger {quoted(word)}" for word in triggers]
    if role != "unknown" and "modelspec.is_negative_embedding" not in text:
        told.append(f"role {role}")
    if "modelspec.license" not in text and any(hint.licence for hint in embedding.hints):
        told.append("licence")
    return [*told, *(["the record of earlier sources"] if embedding.sources else [])]


def write(written: Written, path: str, *, overwrite: bool = False) -> str:
    """Put the file at `path`, whole or not at all, after it read back equal; the digest. Never onto a file unless told."""
    with placing(path, overwrite=overwrite) as temporary:
        stage(written, temporary, path, overwrite=overwrite)
    return written.digest


@contextlib.contextmanager
def placing(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """A name beside `path` for a file that becomes it, durably, once the block has ended well; else nothing stays."""
    temporary = temporary_beside(path)
    try:
        yield temporary
        flush(temporary, path)
        publish(temporary, path, overwrite=overwrite)
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc
    finally:
        discard(temporary)
    flush_folder(folder_of(path))


def temporary_beside(path: str) -> str:
    """A name in the same folder that nobody else has: no other thread, process or machine, nor one that was killed."""
    return beside(path, f".embconv-{os.urandom(8).hex()}.tmp")


def stage(written: Written, temporary: str, path: str, *, overwrite: bool = False) -> None:
    """Write and prove under a temporary name what is to become `path`; the caller flushes and publishes it, and always discards it."""
    if not overwrite and os.path.lexists(path):
        raise TargetExists(path)
    try:
        with open(temporary, "xb") as file:
            file.write(written.data)
        prove(written, temporary, path)
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc


def write_unnamed(written: Written, path: str, folder: str) -> int | None:
    """Write what is to become `path` to a file without a name, which vanishes with its handle; None where there are none."""
    handle = unnamed_in(folder) if len(written.data) <= WHOLE_READ else None
    if handle is None:
        return None
    try:
        left = written.data
        while left:  # a disk that has room for a part says so at the rest
            left = left[os.write(handle, left) :]
    except OSError as exc:
        os.close(handle)
        raise CannotWrite(path, exc.strerror or str(exc)) from exc
    except BaseException:
        os.close(handle)
        raise
    return handle


def prove_unnamed(written: Written, handle: int, path: str) -> None:
    """`prove` of a file without a name."""
    try:
        back = os.pread(handle, len(written.data) + 1, 0)
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc
    prove(written, back, path)


def unnamed_in(folder: str) -> int | None:
    """A new file without a name in `folder` (Linux, most of its file systems); None where the system has none."""
    if not UNNAMED:
        return None
    try:
        return os.open(folder, UNNAMED, 0o666)
    except OSError:
        return None  # another file system, or trouble that the way with a name will tell


def prove(written: Written, back: str | bytes, name: str) -> None:
    """Compare the digest of what came back, a file or the bytes of one, with what was given; NotEqual if they differ in any way."""
    try:
        with Source(back, name) as source:
            contents = open_contents(source)
            found = identify(contents.outline, name).normalise(contents)
    except EmbconvError as exc:
        raise NotEqual(name, exc.says) from exc
    if len(found) != 1:
        raise NotEqual(name, f"{len(found)} embeddings came back")
    if found[0].vectors == written.embedding.vectors and found[0].output_vectors == written.embedding.output_vectors:
        return  # the very bytes, types and shapes, so that the digests need not be computed
    if digest(found[0]) != written.digest and digest(by_width(found[0])) != digest(by_width(written.embedding)):
        raise NotEqual(name, "the digests differ")


def by_width(embedding: Embedding) -> Embedding:
    """The embedding as a file without a text header gives it back: one encoder is known by its width alone."""
    if len(embedding.vectors) != 1:
        return embedding
    return replace(embedding, vectors={default_encoder(t.shape[1]): t for t in embedding.vectors.values()})


def flush(temporary: str, path: str) -> None:
    """Bring what is to become `path` to the disk itself."""
    try:
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc


def publish(temporary: str, path: str, *, overwrite: bool = False) -> None:
    """Give a staged file its name in one step."""
    try:
        if overwrite:
            os.replace(temporary, path)
        else:
            _link(temporary, path)
    except FileExistsError:
        raise TargetExists(path) from None
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc


def publish_unnamed(handle: int, path: str) -> None:
    """Give a file without a name its name in one step, never onto another file."""
    try:
        os.link(f"{HANDLES}/{handle}", path, src_dir_fd=handle, follow_symlinks=True)
    except FileExistsError:
        raise TargetExists(path) from None
    except OSError as exc:
        raise CannotWrite(path, exc.strerror or str(exc)) from exc


def _link(temporary: str, path: str) -> None:
    """Rename, but never onto a file that came meanwhile; a hard link cannot replace one. Some file systems have none."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def discard(temporary: str) -> None:
    """Take a temporary file away if it is still there."""
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def flush_folder(folder: str) -> None:
    """Bring a rename to the disk, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
