"""Where `embconv validate` writes sheets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from embconv.converters.errors import TargetExists
from embconv.converters.names import safe_stem
from embconv.converters.paths import folder_of, suffix_of
from embconv.converters.staging import make_folder

if TYPE_CHECKING:
    from .validate_given import Given

SUFFIXES = (".png", ".webp")


class Sheets(NamedTuple):
    """Where sheets go: path by digest. Without `-o` there are none."""

    paths: dict[str, str]
    overwrite: bool


def places(found: Sequence[Given], out: str | None, *, folder: bool) -> dict[str, str]:
    """Where the sheet of each goes: `out` itself, or files in it that are called like the embeddings."""
    if out is None:
        return {}
    if not folder:
        if suffix_of(out).lower() not in SUFFIXES or os.path.isdir(out):
            raise click.UsageError(f"{out!r}: a sheet is a .png or a .webp file.")
        return {each.digest: out for each in found}
    if suffix_of(out).lower() in SUFFIXES:
        raise click.UsageError(f"{out!r} is one sheet; several embeddings need a folder.")
    made: dict[str, str] = {}
    taken: set[str] = set()
    for each in found:
        if not each.error and each.digest not in made:
            stem = safe_stem(each.trigger)
            stem = stem if stem.casefold() not in taken else f"{stem}-{each.digest.removeprefix('emb:')[:8]}"
            taken.add(stem.casefold())
            made[each.digest] = os.path.join(out, f"{stem}.png")
    return made


def must_be_free(sheets: Sheets) -> None:
    """TargetExists or CannotWrite before anything is rendered."""
    from embconv.registry.validation.sheet_files import files_of

    for path in sheets.paths.values():
        for each in files_of(path):
            if os.path.lexists(each) and not sheets.overwrite:
                raise TargetExists(each)
        make_folder(folder_of(path))
