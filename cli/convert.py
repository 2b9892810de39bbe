"""`embconv convert`: one file, several, or a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from embconv.converters.bases import counted
from embconv.converters.bulk import convert_units, counts
from embconv.converters.convert import Opened, Options, Outcome, converted_by, failure, joined, open_input, put_now
from embconv.converters.display import printable
from embconv.converters.errors import EmbconvError, SeveralEmbeddings
from embconv.converters.folders import Unit, find, meeting, pairs_in, unit
from embconv.converters.numbers import WRITABLE
from embconv.converters.paths import folder_of, stem_of, suffix_of
from embconv.converters.staging import make_folder
from embconv.converters.targets import Target
from embconv.converters.write import CONTAINERS

from .app import BASE, FILE, PROGRAMS, TargetName, app, as_json, must_name, one_way, print_json, progress, reports
from .say import DONE, error_lines, failure_lines, outcome_lines, say_error, say_notes, shown

SUFFIXES = [suffix[1:] for suffix in CONTAINERS]


@app.command(name="convert", short_help="Convert one file, several, or a folder (the default).")
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="SOURCES... [DEST]")
@click.option("--for", "target", type=TargetName(), help=f"The program that will load it: {PROGRAMS}.")
@click.option("--base", type=BASE, metavar="BASE", help="Refuse what does not fit this model family, such as sd1, sd2, sdxl.")
@click.option("--to", type=click.Choice(SUFFIXES), help="The kind of file to write into a folder (default: safetensors).")
@click.option("-o", "--out", type=FILE, help="Write into this folder instead of beside each file.")
@click.option("-r", "--recursive", is_flag=True, help="Folders below a folder too.")
@click.option("--dtype", type=click.Choice(["keep", *WRITABLE]), default="keep", help="The kind of number; narrowing says what it lost.")
@click.option("--name", metavar="TRIGGER", help="A new trigger.")
@click.option("--pick", metavar="NAME", help="Take this one of a file that holds several.")
@click.option("--split", is_flag=True, help="Write each embedding of a file to a file of its own.")
@click.option("--force", is_flag=True, help="Overwrite.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print the paths written and nothing else.")
@reports
def command(
    paths: tuple[str, ...], out: str | None, to: str | None, recursive: bool, quiet: bool, as_document: bool, as_lines: bool, **given: Any
) -> None:
    """Convert SOURCES to DEST.

    DEST is a file, or a folder (made if it ends in /). Several SOURCES, or a folder, need a folder: DEST, -o, or --to
    for beside each file. Nothing is overwritten without --force; what is already there with equal vectors is left alone.
    Where several files want one name, .pt gets it before .bin, .bin before .safetensors, pictures last; one with other
    vectors gets its suffix added: a-bin.safetensors.
    The two files of diffusers' SDXL example, given together, become one.
    """
    one_way(as_document, as_lines, quiet)
    must_name(given["name"])
    given["dtype"] = None if given["dtype"] == "keep" else given["dtype"]
    options = Options(**given)
    style = "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text"
    sources, dest, many = destination(paths, out, to)
    if dest is not None and not many:
        raise SystemExit(to_file(sources, dest, options, style))
    raise SystemExit(to_folder(sources, dest, f".{to or 'safetensors'}", recursive, options, style))


def destination(paths: tuple[str, ...], out: str | None, to: str | None) -> tuple[list[str], str | None, bool]:
    """The sources, where they go (None: beside each), and whether that is a folder."""
    last, several = paths[-1], len(paths) > 1
    last_is_folder = last.endswith(("/", os.sep)) or os.path.isdir(last)
    if out is None and to is not None and several and not (last_is_folder or os.path.lexists(last) or suffix_of(last)):
        raise click.UsageError(f"{last!r} is not there; for a new folder end it in / or use -o.")
    if out is not None or (to is not None and not (several and last_is_folder and not all(map(os.path.isdir, paths)))):
        return list(paths), out, True
    if not several:
        raise click.UsageError(f"Where should {last!r} go? Give a DEST, -o FOLDER, or --to safetensors for beside it.")
    sources, dest = list(paths[:-1]), last
    if not last_is_folder and (len(sources) > 2 or any(os.path.isdir(path) for path in sources)):
        raise click.UsageError(f"{last!r} is no folder; several sources or a folder need one: end it in /.")
    return sources, dest, last_is_folder


def to_file(sources: list[str], dest: str, options: Options, style: str) -> int:
    """One file, or the two halves of one embedding, to one file; with --split to several."""
    try:
        given = halves(sources[0], sources[1], dest) if len(sources) == 2 else open_input(sources[0])
        outcomes = converted_by(put_now, given, dest, options)
    except EmbconvError as exc:
        outcomes = [failure(sources[0], exc)]
    show(outcomes, style, target=options.target)
    return exit_code(outcomes)


def halves(first: str, second: str, dest: str) -> Opened:
    """The two halves of one embedding; any other two files need a folder."""
    try:
        return joined(first, second)
    except SeveralEmbeddings as exc:
        says = f"{first!r} and {second!r} are not two halves of one embedding; to convert each, end {dest!r} in /."
        raise click.UsageError(says) from exc


def to_folder(sources: list[str], out: str | None, suffix: str, recursive: bool, options: Options, style: str) -> int:
    """Files and folders into a folder, or beside each; what happened to each, and counts."""
    try:
        if out is not None and not options.dry_run:
            make_folder(out)
    except EmbconvError as exc:
        say_error(exc)
        return 2
    units, others, outcomes = gather(sources, out, suffix, recursive)
    as_lines = style == "nl"
    advance, stop = progress(0 if as_lines and sys.stdout.isatty() else len(units), "Converting")

    def heard(some: Sequence[Outcome]) -> None:
        if as_lines:
            print_json(some, lines=True)
        for _ in some:
            advance()

    if as_lines:
        print_json(outcomes, lines=True)
    try:
        try:
            outcomes += convert_units(units, options, done=heard)
        finally:
            stop()
    except KeyboardInterrupt:
        click.echo("Stopped. Every file that was written is whole; run the same command again to go on.", err=True)
        return 130
    if not as_lines:
        show(outcomes, style, batch=True, others=others)
    return exit_code(outcomes)


def gather(sources: list[str], out: str | None, suffix: str, recursive: bool) -> tuple[list[Unit], int, list[Outcome]]:
    """The work that the sources mean, how many files in them are of other kinds, and the folders that cannot be read."""
    units: list[Unit] = []
    trouble: list[Outcome] = []
    others = 0
    loose: list[str] = []
    for source in sources:
        if os.path.isdir(source):
            found = find(source, suffix=suffix, recursive=recursive, out=out)
            units += found.units
            others, trouble = others + found.others, trouble + found.trouble
        else:
            loose.append(source)
    pairs = pairs_in(loose)
    seconds = set(pairs.values())
    wanted = {path: os.path.join(out or folder_of(path), stem_of(path) + suffix) for path in loose if path not in seconds}
    return units + [unit(files, target, pairs) for target, files in meeting(wanted)], others, trouble


def exit_code(outcomes: list[Outcome]) -> int:
    """1 if anything was refused or failed."""
    return 1 if any(outcome.error for outcome in outcomes) else 0


def show(outcomes: list[Outcome], style: str, *, batch: bool = False, others: int = 0, target: Target | None = None) -> None:
    """The outcomes in the way that was asked for; errors in words go to stderr."""
    if style == "nl":
        print_json(outcomes, lines=True)
    elif style == "json":
        click.echo(as_json({"counts": counts(outcomes), "files": outcomes} if batch or len(outcomes) != 1 else outcomes[0], indent=2))
    else:
        for outcome in outcomes:
            say(outcome, quiet=style == "quiet", brief=batch, target=target)
        if batch and style != "quiet":
            click.echo(summary(outcomes, others))


def say(outcome: Outcome, *, quiet: bool, brief: bool, target: Target | None = None) -> None:
    """One outcome in words."""
    if outcome.error:
        click.echo("\n".join(failure_lines(outcome) if brief else error_lines(outcome.error)), err=True)
    elif outcome.status == "passed_over":
        return
    elif quiet:
        click.echo(shown(outcome.written or ""))
    elif not brief:
        say_notes(outcome, target)
        click.echo("\n".join(outcome_lines(outcome)))
    else:
        click.echo(f"{DONE[outcome.status]}: {printable(outcome.path)} -> {shown(outcome.written or '')}")
        for note in outcome.notes:
            click.echo(f"  Note: {printable(note, 600)}", err=True)


def summary(outcomes: list[Outcome], others: int) -> str:
    """The last line: counts by outcome."""
    words = {
        "converted": "converted",
        "would_convert": "would be converted",
        "already_there": "already there",
        "passed_over": "without an embedding passed over",
        "refused": "refused",
        "failed": "failed",
    }
    found = counts(outcomes)
    numbers = {status: counted(number, "picture") if status == "passed_over" else f"{number:,}" for status, number in found.items()}
    parts = [f"{number} {words[status]}" for status, number in numbers.items()]
    return ", ".join([*parts, *([f"{counted(others, 'other file')} left alone"] if others else [])]) or "Nothing to convert here."
