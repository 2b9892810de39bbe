"""`embconv validate`: embeddings are rendered, and judged by what changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from embconv.converters import EmbconvError
from embconv.converters.convert import failure
from embconv.converters.display import printable
from embconv.registry.model import ROLES
from embconv.registry.verdicts import RENDERED

from .app import FILE, app, one_way, progress, reports
from .registries import at_registry, ending, opened
from .validate_given import Given, gather, refused
from .validate_options import Named, how, rendering
from .validate_remote import where
from .validate_sheets import Sheets, must_be_free, places
from .validate_with import How, chosen, judged, protocol, tools
from .validate_words import GOOD, Told, say, say_all

if TYPE_CHECKING:
    from embconv.registry.store import Store
    from embconv.registry.validation.parts import Subject
    from embconv.registry.verdicts import Checkpoint, Judged

    from .validate_with import Checkpoints


@app.command(name="validate", short_help="Render embeddings and judge what they do.")
@click.argument("paths", nargs=-1, type=FILE, metavar="REF|FILE|DIR...")
@click.option("--checkpoint", "checkpoints", multiple=True, metavar="[BASE=]PATH|NAME",
              help="The model to render with: a diffusers folder, one .safetensors file, or a name of `embconv checkpoints list`. "
                   "[the first that was added for the embedding's base]")  # fmt: skip
@rendering
@click.option("-o", "--out", type=FILE, metavar="PATH", help="Write a sheet: a .png or .webp file; for several embeddings a folder.")
@click.option("--force", is_flag=True, help="Overwrite a sheet.")
@click.option("--role", type=Named("role", ROLES), metavar="ROLE", help="positive or negative; else it is measured.")
@click.option("--pending", is_flag=True,
              help="Everything in the registry that has no verdict yet, or only `error`, instead of REF or FILE.")  # fmt: skip
@click.option("--base", type=Named("base", RENDERED), metavar="BASE", help="With --pending: only this base.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="With --pending: at most so many.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the states and nothing else.")
@reports
def command(paths: tuple[str, ...], quiet: bool, as_document: bool, as_lines: bool, **given: Any) -> None:
    """Render each embedding with a checkpoint, with and without it from the same noise, and say what it does:
    pass, weak, no_effect, broken, incompatible or error, why, and the numbers.

    A FILE, or the candidates in a DIR, need no registry. A REF is one of the registry, which keeps the verdict and the pictures;
    that of a server (--registry) renders it there, as soon as a worker has time, and the verdict is waited for.
    Exit code 1 if any neither passes nor is weak.
    """
    one_way(as_document, as_lines, quiet)
    style = "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text"
    with ending(json=as_document or as_lines):
        options, server = how(given), where(paths, given)
        if given["pending"]:
            from .validate_pending import pending

            raise SystemExit(pending(paths, options, style, given))
        if not paths:
            raise click.UsageError("Name a file, a folder or an embedding of the registry, or give --pending.")
        if given["base"] or given["limit"]:
            raise click.UsageError("--base and --limit are for --pending.")
        told = asked(server, paths, options, style, given) if server else validated(paths, options, style, given)
    say_all(told, style)
    raise SystemExit(0 if all(each.state in GOOD and not each.error for each in told) else 1)


def validated(paths: Sequence[str], options: How, style: str, given: dict[str, Any]) -> list[Told]:
    """What became of each, in the order in which they were given; in words each is said as soon as it is known."""
    found = gather(paths, given["home"], given["role"])
    with registry(given["home"]) as store:
        checkpoints = chosen(given["checkpoints"], store.read if store else None)
        found = with_checkpoints(found, checkpoints)
        sheets = Sheets(places(found, given["out"], folder=several(paths, found)), given["force"])
        must_be_free(sheets)
        if options.wanted.sheets and not given["out"] and not all(each.entry for each in found):
            raise click.UsageError("Where should the sheet go? Give -o sheet.png.")
        told: list[Told] = []
        for each in told_one_by_one(found, checkpoints, options, sheets, store):
            told.append(each)
            if style == "text":
                say(each, brief=several(paths, found))
    order = {id(each): place for place, each in enumerate(found)}
    return sorted(told, key=lambda each: order[id(each.given)])


def asked(server: str, refs: Sequence[str], options: How, style: str, given: dict[str, Any]) -> list[Told]:
    """What became of each on a server."""
    from .validate_remote import validated

    told: list[Told] = []
    with opened(None, server, given["key_file"], json=style in ("json", "nl")) as found:
        for each in validated(found, refs, options, given):
            told.append(each)
            if style == "text":
                say(each, brief=len(set(refs)) > 1)
    return told


def several(paths: Sequence[str], found: Sequence[Given]) -> bool:
    """Are they many, or a folder in which there could be?"""
    return len(found) != 1 or any(os.path.isdir(path) for path in paths)


@contextlib.contextmanager
def registry(home: str | None) -> Iterator[Store | None]:
    """The registry's database, where there is one."""
    from embconv.registry.home import database
    from embconv.registry.settings import settings
    from embconv.registry.store import Store

    made = settings(home=home)
    if not os.path.exists(database(made.home)):
        yield None
        return
    with Store(made.home, busy_seconds=made.busy_seconds) as store:
        yield store


def with_checkpoints(found: Sequence[Given], checkpoints: Checkpoints) -> list[Given]:
    """The same, refused where there is no checkpoint for one; NoCheckpoint where there is none for any."""
    made, missing = [], None
    for each in found:
        try:
            if each.error is None:
                checkpoints.of(each.base)
            made.append(each)
        except EmbconvError as exc:
            missing = exc if exc.code == "no_checkpoint" else missing
            made.append(refused(each.path, exc))
    if missing and all(each.error for each in made):
        raise missing
    return made


def told_one_by_one(found: Sequence[Given], checkpoints: Checkpoints, options: How, sheets: Sheets, store: Store | None) -> Iterator[Told]:
    """The refused first, then each verdict, one checkpoint after the other."""
    yield from (Told(each) for each in found if each.error)
    good = [each for each in found if not each.error]
    if not good:
        return
    work = tools(options)
    advance, stop = progress(len(good), "Validating")
    try:
        for checkpoint, mine in by_checkpoint(good, checkpoints):
            for subject, verdict in judged(work, checkpoint, mine, options, store.read if store else None):
                for each in (each for each in mine if each.digest == verdict.digest):
                    advance()
                    yield finished(each, subject, verdict, sheets, partial(keep, store, checkpoint, options))
    finally:
        stop()


def by_checkpoint(found: Sequence[Given], checkpoints: Checkpoints) -> list[tuple[Checkpoint, list[Given]]]:
    """Each checkpoint with those that it judges."""
    made: dict[str, tuple[Checkpoint, list[Given]]] = {}
    for each in found:
        checkpoint = checkpoints.of(each.base)
        made.setdefault(checkpoint.fingerprint, (checkpoint, []))[1].append(each)
    return list(made.values())


def finished(given: Given, subject: Subject, verdict: Judged, sheets: Sheets, kept: partial[None]) -> Told:
    """A verdict after it was kept and its sheet was written, as far as that could be done."""
    try:
        if given.entry and given.role == given.entry.role:  # for another role it is no answer to what everybody asks
            kept(verdict)
        path = sheets.paths.get(given.digest, "")
        if path and not verdict.pictures:
            return Told(given, verdict, note=f"{printable(given.path)}: nothing was rendered, so there is no sheet.")
        if path:
            from embconv.registry.validation.sheet_files import write

            write(path, verdict, subject, overwrite=sheets.overwrite)
            return Told(given, verdict, sheet=path)
    except EmbconvError as exc:
        return Told(given, verdict, error=failure(given.path, exc).error)
    return Told(given, verdict)


def keep(store: Store | None, checkpoint: Checkpoint, options: How, verdict: Judged) -> None:
    """Keep the verdict on an embedding of the registry."""
    from embconv.registry.blobs import Blobs
    from embconv.registry.store.validations import Asked
    from embconv.registry.validations import keep as kept
    from embconv.registry.verdicts import summary_of

    if store and not verdict.retry:
        kept(store, Blobs(store.home), Asked(verdict.digest, summary_of(checkpoint), protocol(checkpoint, options)), verdict)
