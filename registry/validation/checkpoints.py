"""A path becomes a Checkpoint: what it is, told by headers and configurations alone, and the sha256 that names it."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..render_errors import BadCheckpoint
from ..verdicts import Checkpoint
from .folders import components, configured, pipeline_of, settings_of, weights_of
from .headers import header_of
from .kinds import base_of
from .predictions import variant_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Heard = Callable[[int, int], None]

CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
PIECE = 1 << 22  # bytes that are hashed at a time


def recognise(
    path: str, name: str | None = None, *, variant: str | None = None, config: str | None = None, heard: Heard | None = None
) -> Checkpoint:
    """What lies at `path`, a folder or one file. `variant` and `config` are a person's word; `heard` is told of bytes hashed, and of all.

    Raises BadCheckpoint or PickleCheckpoint.
    """
    where = os.path.abspath(path)
    if not os.path.exists(where):
        raise BadCheckpoint(path, "is not there", "Check the path.")
    folder = os.path.isdir(where)
    if folder and config:
        raise BadCheckpoint(path, "is a folder with its own configurations", "Leave --config out: it is for a single file.")
    kind = "folder" if folder else "single_file"
    given = os.path.abspath(config) if config else ""
    made = Checkpoint(name=name or default_name(where), base="", path=where, kind=kind, fingerprint="", size=0, config=given)
    told = of_folder(made) if folder else of_file(made)
    told = replace(told, variant=variant or told.variant)
    return replace(told, size=told.size if folder else size_of(told), fingerprint=fingerprint(told, heard), stamp=stamp(told))


def of_folder(made: Checkpoint) -> Checkpoint:
    """A pipeline of diffusers."""
    found = pipeline_of(made.path)
    return replace(made, base=found.base, variant=found.variant, size=found.size)


def of_file(made: Checkpoint) -> Checkpoint:
    """A whole model in one file; its size is that of its configuration."""
    header = header_of(made.path)
    base = base_of(made.path, header)
    if not made.config:
        return replace(made, base=base, variant=variant_of(made.path, header, base))
    given = configured(made.config)
    if given.base != base:
        why = f"is {base}, but the configurations in --config are of {given.base}"
        raise BadCheckpoint(made.path, why, "Give those of the same model.")
    return replace(made, base=base, variant=given.variant)


def size_of(checkpoint: Checkpoint) -> int:
    """The pixels that the configurations of a single file speak of."""
    return configured(config_folder(checkpoint)).size


def config_folder(checkpoint: Checkpoint) -> str:
    """Where the configurations of its parts are: with it, given with it, or those of the published models, which come with this package."""
    if checkpoint.kind == "folder":
        return checkpoint.path
    return checkpoint.config or os.path.join(CONFIGS, "sd2-v" if (checkpoint.base, checkpoint.variant) == ("sd2", "v") else checkpoint.base)


def files_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """All files that change what it draws, but for those of this package."""
    settings = settings_of(config_folder(checkpoint), checkpoint.base)
    if checkpoint.kind == "single_file":
        return (checkpoint.path, *(settings if checkpoint.config else ()))
    return (*settings, *(path for component in components(checkpoint.base) for path in weights_of(checkpoint.path, component)))


def fingerprint(checkpoint: Checkpoint, heard: Heard | None = None) -> str:
    """The sha256 of a single file by itself; else that of the names and sha256 of all files, and of a variant which they do not tell."""
    natural = (of_folder if checkpoint.kind == "folder" else of_file)(checkpoint).variant
    root, sums = config_folder(checkpoint), hashed(files_of(checkpoint), heard)
    if len(sums) == 1 and checkpoint.variant == natural:
        return next(iter(sums.values()))
    lines = sorted(f"{name_in(root, path)}\0{found}" for path, found in sums.items())
    lines += [f"variant\0{checkpoint.variant}"] if checkpoint.variant != natural else []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def name_in(root: str, path: str) -> str:
    """A file's name in a folder with /; the single file has none, so that it can be moved."""
    inside = os.path.relpath(path, root).replace(os.sep, "/") if os.path.splitdrive(path)[0] == os.path.splitdrive(root)[0] else ".."
    return "" if inside.startswith("..") else inside


def hashed(paths: tuple[str, ...], heard: Heard | None = None) -> dict[str, str]:
    """The sha256 of files, read piece by piece."""
    total, done, found = sum(facts(path).st_size for path in paths), 0, {}
    for path in paths:
        digest = hashlib.sha256()
        try:
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
                    done += len(piece)
                    if heard:
                        heard(done, total)
        except OSError as exc:
            raise BadCheckpoint(path, f"cannot be read: {exc.strerror or exc}") from exc
        found[path] = digest.hexdigest()
    return found


def facts(path: str) -> os.stat_result:
    """Size and times."""
    try:
        return os.stat(path)
    except OSError as exc:
        raise BadCheckpoint(path, f"cannot be read: {exc.strerror or exc}") from exc


def stamp(checkpoint: Checkpoint) -> str:
    """16 hex that change when one of its files is written."""
    digest = hashlib.sha256()
    for path in files_of(checkpoint):
        found = facts(path)
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def unchanged(checkpoint: Checkpoint) -> None:
    """BadCheckpoint where its files are not those any more that its fingerprint names; they are hashed only if they were touched."""
    if not os.path.exists(checkpoint.path):
        raise BadCheckpoint(checkpoint.path, "is not there any more", f"Forget it: embconv checkpoints remove {checkpoint.name}")
    if checkpoint.stamp != stamp(checkpoint) and fingerprint(checkpoint) != checkpoint.fingerprint:
        raise BadCheckpoint(checkpoint.path, "has changed since it was added", "Add it again: embconv checkpoints add PATH --force")


def default_name(path: str) -> str:
    """What a checkpoint is called when nobody says: its file or folder, without what a shell would want quoted."""
    name = os.path.basename(path)
    plain = re.sub(r"[^\w.+-]+", "-", name.removesuffix(".safetensors")).strip("-.")
    return plain or "checkpoint"
