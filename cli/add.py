"""`embconv add`: files and folders into the registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from embconv.converters.bases import counted
from embconv.converters.display import printable, quoted
from embconv.converters.folders import is_candidate, walk

from .app import FILE, app, as_json, must_name, one_way, print_json, progress, reports
from .registries import at_registry, opened
from .say import error_lines, without_name

if TYPE_CHECKING:
    from embconv.registry.model import Addition

WORDS = {
    "added": "added",
    "known": "already there",
    "passed_over": "without an embedding passed over",
    "refused": "refused",
    "failed": "failed",
}


@app.command(name="add", short_help="Add files and folders to the registry.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATHS...")
@click.option("-r", "--recursive", is_flag=True, help="Folders below a folder too.")
@click.option("--role", type=click.Choice(["positive", "negative", "unknown"]), help="Which prompt they are for.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag for each of them; may be given several times.")
@click.option("--name", help="What the embedding is to be called; for one file.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the digests and nothing else.")
@reports
def command(
    paths: tuple[str, ...], recursive: bool, role: str | None, tags: tuple[str, ...], name: str | None, home: str | None,
    registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Add files, or the candidates in folders, to the registry, each with what the files beside it say.

    The same vectors in another file join the embedding that is there. Pictures without an embedding are passed over, and
    no bad file stops the others. The same command again adds only what is new.
    """
    one_way(as_document, as_lines, quiet)
    must_name(name)
    files, others, folders, trouble = gather(paths, recursive)
    batch = folders or len(paths) > 1
    if name is not None and batch:
        raise click.UsageError("--name is for one file.")
    style = "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text"
    with opened(home, registry, key_file, create=True, json=as_document or as_lines) as found:
        advance, stop = progress(len(files), "Adding")
        safe = 0

        def done(addition: Addition) -> None:
            nonlocal safe
            safe += addition.status in ("added", "known")
            advance()

        try:
            additions = found.add(files, done=done, name=name, role=role, tags=tags)
        except KeyboardInterrupt:
            stop()
            click.echo(f"Stopped. {safe:,} files are safe in the registry; run the same command again to go on.", err=True)
            raise SystemExit(130) from None
        finally:
            stop()
    show([*trouble, *additions], style, batch=batch, others=others)
    raise SystemExit(1 if any(addition.error for addition in (*trouble, *additions)) else 0)


def gather(paths: tuple[str, ...], recursive: bool) -> tuple[list[str], int, bool, list[Addition]]:
    """The files that are meant, how many of other kinds lie beside them, whether there was a folder, and folders nobody may read."""
    from embconv.registry.model import Addition

    files: list[str] = []
    others, folders = 0, False
    trouble: list[Addition] = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        found, special, unread = walk(path, recursive=recursive)
        wanted = [each for each in found if is_candidate(each)]
        files, others, folders = files + wanted, others + special + len(found) - len(wanted), True
        trouble += [Addition(path=outcome.path, status="failed", error=outcome.error) for outcome in unread]
    return list(dict.fromkeys(files)), others, folders, trouble


def show(additions: list[Addition], style: str, *, batch: bool, others: int) -> None:
    """What became of each, in the way that was asked for."""
    if style == "nl":
        print_json(additions, lines=True)
    elif style == "json":
        click.echo(as_json({"counts": counts(additions), "files": additions} if batch else additions[0], indent=2))
    else:
        for addition in additions:
            say(addition, quiet=style == "quiet", batch=batch)
        if batch and style != "quiet":
            click.echo(summary(additions, others))


def say(addition: Addition, *, quiet: bool, batch: bool) -> None:
    """One of them in words; of a single file the digests are the last lines."""
    if addition.error:
        click.echo("\n".join(refusal_lines(addition) if batch else error_lines(addition.error)), err=True)
    elif quiet:
        click.echo("\n".join(addition.digests))
    elif addition.status == "passed_over":
        if not batch:
            click.echo(f"{printable(addition.path)} is a picture without an embedding.", err=True)
    elif batch:
        click.echo(f"{WORDS[addition.status]}: {printable(addition.path)} -> {', '.join(map(quoted, addition.triggers))}")
    else:
        click.echo(f"{WORDS[addition.status]}: {printable(addition.path)}, trigger {', '.join(map(quoted, addition.triggers))}")
        click.echo("\n".join(addition.digests))


def refusal_lines(addition: Addition) -> list[str]:
    """A refusal in words."""
    assert addition.error is not None
    hint = [f"  {addition.error.hint}"] if addition.error.hint else []
    says = without_name(addition.error.says, addition.path)
    return [f"{addition.status.capitalize()} {printable(addition.path)}: {says}  [{addition.error.code}]", *hint]


def counts(additions: list[Addition]) -> dict[str, int]:
    """How many files came to what."""
    states = [addition.status for addition in additions]
    return {status: states.count(status) for status in WORDS if status in states}


def summary(additions: list[Addition], others: int) -> str:
    """The last line of a batch: `431 added, 38 already there, 3 refused`."""
    found = counts(additions)
    numbers = {status: counted(number, "picture") if status == "passed_over" else f"{number:,}" for status, number in found.items()}
    parts = [f"{number} {WORDS[status]}" for status, number in numbers.items()]
    return ", ".join([*parts, *([f"{counted(others, 'other file')} left alone"] if others else [])]) or "Nothing to add here."


