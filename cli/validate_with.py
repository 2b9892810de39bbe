"""With what `embconv validate` judges: the checkpoint of each embedding, the protocol that the options make, and the judge itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from embconv.registry.errors import nearest
from embconv.registry.render_errors import CannotRender, NoCheckpoint
from embconv.registry.verdicts import RENDERED, Checkpoint, Judged, Protocol, measure

from .validate_given import Given, subject_of

if TYPE_CHECKING:
    from sqlite_utils import Database

    from embconv.registry.validation.parts import Subject
    from embconv.registry.validation.tools import Tools
    from embconv.registry.validations import Wanted

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class How:
    """The options that say how it is rendered. `changes` are fields of Protocol."""

    wanted: Wanted
    size: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    compiled: bool = False


@dataclass(frozen=True)
class Checkpoints:
    """Which checkpoint judges what: those `given` on the command line by their base, those that the registry has, a base's default first.

    `only` is the one that was given alone and without its base: it judges everything, and finds what does not fit it.
    """

    given: dict[str, Checkpoint]
    known: tuple[Checkpoint, ...] = ()
    only: Checkpoint | None = None

    def of(self, base: str | None) -> Checkpoint:
        """The checkpoint for a base. CannotRender, NoCheckpoint."""
        found = self.only or self.given.get(base or "") or next((each for each in self.known if each.base == base), None)
        if found is None and len(self.given) == 1:
            found = next(iter(self.given.values()))
        if found is None:
            raise without(base)
        return found


def without(base: str | None) -> NoCheckpoint | CannotRender:
    """There is none for a base."""
    if base not in RENDERED:
        return CannotRender(base, RENDERED)
    missing = NoCheckpoint(base)
    missing.hint = "Name one: --checkpoint PATH; or once and for all: embconv checkpoints add PATH"
    return missing


def chosen(texts: Sequence[str], db: Database | None) -> Checkpoints:
    """The checkpoints of `--checkpoint [BASE=]PATH|NAME` and of the registry."""
    from embconv.registry.store.checkpoints import checkpoints

    known = tuple(checkpoints(db)) if db else ()
    given: dict[str, Checkpoint] = {}
    for text in texts:
        base, where = parted(text)
        found = recognised(where, known)
        if base not in {"", found.base}:
            raise click.UsageError(f"{where!r} is a checkpoint for {found.base}, not for {base}.")
        if found.base in given:
            raise click.UsageError(f"Two checkpoints are given for {found.base}: {given[found.base].path!r} and {found.path!r}.")
        given[found.base] = found
    alone = len(texts) == 1 and not parted(texts[0])[0]
    return Checkpoints(given, known, next(iter(given.values())) if alone else None)


def parted(text: str) -> tuple[str, str]:
    """`sd1=PATH` as its base and its path; a path may have a = too."""
    before, sign, after = text.partition("=")
    if not sign or os.path.lexists(text) or not before.isalnum():
        return "", text
    if before.lower() not in RENDERED:
        raise click.UsageError(f"{before!r} is no base that can be rendered. {nearest(before, RENDERED)}")
    if not after:
        raise click.UsageError(f"{text!r} names no checkpoint; give a path or a name after the =.")
    return before.lower(), after


def recognised(where: str, known: Sequence[Checkpoint]) -> Checkpoint:
    """A checkpoint by its name or its path. One that the registry knows, and that is as it was, is not read again to be named."""
    from embconv.registry.render_errors import UnknownCheckpoint
    from embconv.registry.validation.checkpoints import recognise, stamp

    named = next((each for each in known if each.name == where), None)
    if named and not os.path.lexists(where):
        return named
    if not os.path.lexists(where) and not (os.sep in where or where.lower().endswith(SUFFIXES)):
        raise UnknownCheckpoint(where, [each.name for each in known])
    same = (each for each in known if os.path.lexists(where) and each.path == os.path.abspath(where))
    return next((each for each in same if each.stamp == stamp(each)), None) or recognise(where)


def protocol(checkpoint: Checkpoint, how: How) -> Protocol:
    """The protocol for a checkpoint. A --size is what is drawn; SDXL is told of the size that it was trained at."""
    from embconv.registry.validations import protocol_of

    side = {} if how.size is None else {"width": how.size, "height": how.size}
    return replace(protocol_of(checkpoint, how.wanted), **side, **how.changes)


def tools(how: How) -> Tools:
    """What loads and judges. MissingExtra, NoDevice."""
    from embconv.registry.validation.tools import Torch

    return Torch(how.device, compiled=how.compiled)


def judged(work: Tools, checkpoint: Checkpoint, given: Sequence[Given], how: How, db: Database | None) -> Iterator[tuple[Subject, Judged]]:
    """The verdicts of one checkpoint, as they come; each embedding once, however often it was given."""
    from embconv.registry.store.checkpoints import calibration_of

    asked = protocol(checkpoint, how)
    calibration = calibration_of(db, checkpoint.fingerprint, measure(asked)) if db else None
    model = work.load(checkpoint)
    subjects = {one.digest: subject_of(one, work) for one in given}
    for one in work.judge(model, list(subjects.values()), asked, calibration):
        yield subjects[one.digest], one
