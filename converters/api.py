"""The two calls of the public surface that open or close a file around what the modules do."""

from __future__ import annotations

import os

from .convert import Options, must_load, plan_of
from .hashes import Hashes
from .hashes import hashes as hashes_of
from .model import Embedding
from .read import Input
from .source import Source
from .targets import target as program
from .write import encode, write


def hashes(source: Input) -> Hashes:
    """Every file hash of a path or of bytes."""
    with Source(source) as opened:
        return hashes_of(opened)


def save(
    embedding: Embedding, path: str | os.PathLike[str], *, target: str | None = None, dtype: str | None = None, overwrite: bool = False
) -> str:
    """Write an embedding in the form that `target` loads (default: that most programs load); its digest.

    `path` ends in .safetensors, .pt, .bin or .png. Unlike `convert` it writes what it is given, NaN included.
    Raises CannotHold, TargetExists or CannotWrite.
    """
    options, dest = Options(target=program(target) if target else None, dtype=dtype), os.fspath(path)
    must_load(embedding, dest, options.target)
    return write(encode(embedding, plan_of(embedding, dest, options), dtype=dtype), dest, overwrite=overwrite)
