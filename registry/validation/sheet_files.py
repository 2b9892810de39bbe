"""A sheet on the disk: the picture, its JSON beside it, and a folder with its cells."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embconv.converters.bases import counted
from embconv.converters.encoders import BASES
from embconv.converters.names import safe_stem
from embconv.converters.paths import suffix_of
from embconv.converters.staging import make_folder

from ..export import Placing
from ..verdicts import Cell, Judged, Picture, Verdict
from .grid import Heading, sheet, sides

if TYPE_CHECKING:
    from .parts import Subject

KINDS = {".png": "PNG", ".webp": "WEBP"}


def write(path: str, judged: Judged, subject: Subject, *, overwrite: bool = False) -> None:
    """All files of a sheet, or none; cells that only an earlier sheet of that name had go. Raises TargetExists, or CannotWrite."""
    picture, document, cells = files_of(path)
    earlier = cells_in(document, cells) if overwrite else set()
    named = list(names(judged.pictures))
    told = {
        "name": subject.name, "digest": judged.digest, "sheet": os.path.basename(picture), "verdict": judged.verdict,
        "cells": [{"file": f"{os.path.basename(cells)}/{name}", **msgspec.to_builtins(one.cell)} for name, one in named],
    }  # fmt: skip
    made = sheet(judged.verdict, judged.pictures, heading(judged.verdict, subject, judged.digest))
    data = {picture: encoded(made, picture, best(judged.pictures)), document: msgspec.json.format(msgspec.json.encode(told), indent=2)}
    data |= {os.path.join(cells, name): with_text(one) for name, one in named}
    for folder in dict.fromkeys(os.path.dirname(each) for each in data):
        make_folder(folder)
    with Placing() as placing:
        for each, content in data.items():
            placing.put_bytes(content, each, overwrite)
        lost = placing.publish()
    if lost:
        raise next(iter(lost.values()))
    for old in earlier - data.keys():
        with contextlib.suppress(OSError):  # what cannot be removed stays; the new sheet is whole
            os.unlink(old)


class Told(Struct):
    """What the JSON of a sheet says of its cells: the names of their files."""

    digest: str
    cells: list[dict[str, Any]]


def cells_in(document: str, cells: str) -> set[str]:
    """The cells of the sheet that is there, as its JSON lists them, if that is one of ours; nothing that `names` would not name."""
    try:
        with open(document, "rb") as file:
            told = msgspec.json.decode(file.read(), type=Told)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    places = (str(each.get("file")).rpartition("/") for each in told.cells)
    return {os.path.join(cells, name) for folder, _, name in places if folder == os.path.basename(cells) and is_cell(name)}


def is_cell(name: str) -> bool:
    """Could `names` have made it?"""
    stem, suffix = os.path.splitext(name)
    return suffix == ".webp" and "-seed-" in stem and safe_stem(stem) == stem


def files_of(path: str) -> tuple[str, str, str]:
    """The picture, the JSON, and the folder of the cells."""
    stem = os.path.splitext(os.path.abspath(path))[0]
    return os.path.abspath(path), f"{stem}.json", f"{stem}-cells"


def names(pictures: tuple[Picture, ...]) -> Iterator[tuple[str, Picture]]:
    """Each picture under a name that says what it shows."""
    taken: set[str] = set()
    own = {id(one): f"{one.cell.kind}-{side}" for side, group in sides(pictures).items() for one in group}
    for one in pictures:
        name = stem = safe_stem(f"{own.get(id(one)) or name_of(one.cell)}-seed-{one.cell.seed}")
        while name in taken:
            name = f"{stem}-{len(taken)}"
        taken.add(name)
        yield f"{name}.webp", one


def name_of(cell: Cell) -> str:
    """Its sheet and its place there."""
    if cell.kind == "strength":
        return f"strength-{cell.label}"
    where = cell.sampler if cell.kind == "samplers" else cell.label.replace(" ", "-")
    return f"{cell.kind}-{where}-{'without' if cell.weight is None else 'with'}"


def heading(verdict: Verdict, subject: Subject, digest: str) -> Heading:
    """What stands over the sheet and under it."""
    from .infotext import EMPHASIS  # both import diffusers
    from .samplers import SAMPLERS

    made, protocol, checkpoint = verdict.made_with, verdict.protocol, verdict.checkpoint
    facts = (
        BASES[subject.base].title if subject.base in BASES else "",
        ", ".join(f"{key}: {counted(len(rows), 'vector')} of {rows.shape[-1]}" for key, rows in subject.vectors.items()),
        f"role {verdict.role}",
        f"suggested weight {verdict.suggested_weight:g}" if verdict.suggested_weight is not None else "",
    )
    drawn = (
        f"{protocol['steps']} steps", SAMPLERS[protocol["sampler"]].title, f"CFG {protocol['cfg']:g}",
        f"{protocol['width']} x {protocol['height']}", f"emphasis {EMPHASIS[protocol['emphasis']]}",
        f"clip skip {protocol['clip_skip'] + 1}" if protocol["clip_skip"] else "",
        f"profile {protocol['name']}, protocol {protocol['id']}, engine {protocol['engine']}",
    )  # fmt: skip
    footer = (
        f"checkpoint {checkpoint['name']} {checkpoint['fingerprint'][:10]}, {digest}",
        ", ".join(filter(None, drawn)),
        ", ".join(f"{name} {says}" for name, says in made.items()),
    )
    return Heading(subject.name, ", ".join(filter(None, facts)), footer)


def best(pictures: tuple[Picture, ...]) -> str:
    """The infotext of the whole: that of the picture with the embedding as it is, as A1111 gives a grid that of its first picture."""
    shown = sorted(pictures, key=lambda one: (one.cell.weight != 1.0, one.cell.weight is None))
    return shown[0].cell.infotext if shown else ""


def encoded(image: Image.Image, path: str, text: str) -> bytes:
    """The sheet in the kind of its name, with its infotext where A1111 puts it."""
    from .infotext import comment

    packed = io.BytesIO()
    if suffix_of(path).lower() == ".png":
        info = PngInfo()
        if text:
            info.add_text("parameters", text)  # Pillow makes it iTXt where Latin-1 is not enough
        image.save(packed, "PNG", pnginfo=info, compress_level=6)
    else:
        image.save(packed, "WEBP", quality=90, method=4, exif=comment(text))
    return packed.getvalue()


def with_text(one: Picture) -> bytes:
    """A cell's WebP with its infotext, unless it has it."""
    from .infotext import in_webp

    return one.webp if not one.cell.infotext or has_text(one.webp) else in_webp(one.webp, one.cell.infotext)


def has_text(webp: bytes) -> bool:
    """Does it carry Exif?"""
    with Image.open(io.BytesIO(webp)) as image:
        return bool(image.info.get("exif"))
