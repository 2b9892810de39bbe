"""What the commands of `embconv checkpoints` do, apart from what they print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from embconv.converters.names import safe_stem
from embconv.registry.render_errors import CheckpointExists

from .registries import local
from .validate_with import recognised

if TYPE_CHECKING:
    from sqlite_utils import Database

    from embconv.registry.store import Store
    from embconv.registry.validation.parts import Model
    from embconv.registry.validation.selftest import Report
    from embconv.registry.verdicts import Calibration, Checkpoint

Heard = Callable[[int, int], None]
PREDICTS = {"base": "noise", "v": "v"}
NAME_LENGTH = 100
SLOW = 1 << 26  # bytes that are hashed at once; a bar for less would only flicker


def must_be_name(name: str | None) -> None:
    """A name that no path and no BASE=NAME can be mistaken for."""
    if name is None:
        return
    if not name.isprintable() or not 0 < len(name) <= NAME_LENGTH or set(name) & set(' =/\\\\"') or name.startswith("-"):
        raise click.UsageError(f"--name {name!r}: give up to {NAME_LENGTH} characters without spaces, slashes, quotes and =.")


@contextlib.contextmanager
def registry(home: str | None, *, create: bool = False) -> Iterator[Store]:
    """The registry's database."""
    found = local(home, create)
    with contextlib.closing(found):
        yield found.store  # type: ignore[attr-defined]  # `local` makes one of this machine


@contextlib.contextmanager
def bar(what: str, least: int = 0) -> Iterator[Heard]:
    """A bar on a terminal's stderr, told `done` of `total`; none where there is less than `least` to do."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, visible=False)
        yield lambda done, total: shown.update(task, completed=done, total=total, visible=total >= least)


# ---- the registry's list ----


def remembered(store: Store, found: Checkpoint, *, force: bool) -> Checkpoint:
    """The checkpoint as the registry has it now; CheckpointExists where another has its name."""
    from embconv.registry.store.checkpoints import checkpoints, put_checkpoint
    from embconv.registry.times import now
    from embconv.registry.validations import changing

    def put(db: Database) -> Checkpoint:
        old = next((each for each in checkpoints(db) if each.name == found.name), None)
        if old and not force and old.fingerprint != found.fingerprint:
            raise CheckpointExists(old.name, old.path)
        made = replace(found, added=old.added if old else now())
        put_checkpoint(db, made)
        return made

    return changing(store, put)


def described(found: Sequence[Checkpoint]) -> Iterator[dict[str, Any]]:
    """Each with whether it is its base's default, and whether it is still there."""
    bases: set[str] = set()
    for each in found:
        state = "there" if os.path.exists(each.path) else "missing"
        yield msgspec.to_builtins(each) | {"default": each.base not in bases, "state": state}
        bases.add(each.base)


def row(each: dict[str, Any]) -> tuple[str, ...]:
    """One as a line of the table."""
    default = "default" if each["default"] else ""
    return each["name"], each["base"], f"{each['size']} px", PREDICTS[each["variant"]], default, each["state"], each["path"]


def said(found: Checkpoint) -> str:
    """What it is, in a few words."""
    kind = "a folder of diffusers" if found.kind == "folder" else "one file"
    return f"{found.base}, {found.size} px, predicts {PREDICTS[found.variant]}, {kind}"


# ---- with the libraries that render ----


def tried(
    which: str, *, variant: str | None, config: str | None, device: str | None, out: str | None, force: bool, home: str | None
) -> tuple[Checkpoint, Report, list[str]]:
    """A checkpoint by its name or path, what its test found, and the pictures that were written."""
    found = named(which, home) if not (variant or config) else fresh(which, variant, config)
    paths = places(found, out, overwrite=force) if out else []
    model = loaded(found, device)
    from embconv.registry.validation.selftest import selftest

    with bar("drawing") as heard:
        report = selftest(model, heard=heard)
    write(report, paths, overwrite=force)
    return found, report, paths


def named(which: str, home: str | None) -> Checkpoint:
    """A checkpoint of the registry, if there is one, or at a path."""
    from embconv.registry.home import database
    from embconv.registry.settings import settings
    from embconv.registry.store.checkpoints import checkpoints

    if not os.path.exists(database(settings(home=home).home)):
        return recognised(which, ())
    with registry(home) as store:
        return recognised(which, checkpoints(store.read))


def fresh(path: str, variant: str | None, config: str | None) -> Checkpoint:
    """What lies at a path, with what a person knows of it."""
    from embconv.registry.validation.checkpoints import recognise

    return recognise(path, variant=variant, config=config)


def loaded(found: Checkpoint, device: str | None) -> Model:
    """It in memory. MissingExtra, NoDevice, BadCheckpoint, DeviceFull."""
    from embconv.registry.validation import extra

    extra.need()
    from embconv.registry.validation.engine import deterministic, device_of, dtype_for
    from embconv.registry.validation.loading import load

    deterministic()
    where = device_of(device)
    return load(found, device=where, dtype=dtype_for(where))


def places(found: Checkpoint, folder: str, *, overwrite: bool) -> list[str]:
    """Where the pictures go; TargetExists before anything is drawn."""
    from embconv.converters.errors import TargetExists
    from embconv.registry.verdicts import SEEDS

    paths = [os.path.join(folder, f"{safe_stem(found.name)}-seed-{seed}.webp") for seed in SEEDS]
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise TargetExists(path)
    return paths


def write(report: Report, paths: Sequence[str], *, overwrite: bool) -> None:
    """The pictures as files, all or none."""
    from embconv.converters.staging import make_folder
    from embconv.registry.export import Placing

    for folder in {os.path.dirname(path) for path in paths}:
        make_folder(folder)
    with Placing() as placing:
        for path, picture in zip(paths, report.pictures, strict=False):
            placing.put_bytes(picture.webp, path, overwrite)
        lost = placing.publish()
    if lost:
        raise next(iter(lost.values()))


def calibrated(name: str, *, profile: str, words: int, device: str | None, home: str | None) -> Calibration:
    """What ordinary words measure with a checkpoint, kept by the registry. UnsoundCheckpoint where it draws nothing by itself."""
    from embconv.registry.store.checkpoints import checkpoint_of, put_calibration
    from embconv.registry.verdicts import protocol_for

    with registry(home) as store:
        found = checkpoint_of(store.read, name)
        model = loaded(found, device)
        from embconv.registry.validation.calibrate import calibrate
        from embconv.registry.validation.selftest import must_be_sound

        must_be_sound(model)
        with bar("calibrating") as heard:
            made = calibrate(model, protocol_for(found.base, found.size, name=profile), words=words, heard=heard)
        store.write(lambda db: put_calibration(db, made))
    return made
