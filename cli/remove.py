"""`embconv remove`: embeddings out of the registry; a tombstone stays."""

from __future__ import annotations

from typing import Any

import click

from embconv.converters.convert import Failure
from embconv.converters.display import printable
from embconv.converters.errors import EmbconvError

from .app import app, one_way, print_json, reports
from .registries import COULD_NOT_RUN, at_registry, opened, refs_of
from .say import say_error


@app.command(name="remove", short_help="Remove embeddings from the registry.")
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option("--why", default="", metavar="TEXT", help="The reason, for those who ask for it later.")
@click.option("--block", is_flag=True, help="For good: adding it again is refused.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the digests and nothing else.")
@reports
def command(
    refs: tuple[str, ...], why: str, block: bool, home: str | None, registry: str | None, key_file: str | None,
    quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Remove each REF with the files that hold nothing else; - reads them from stdin, one a line.

    It is not found any more, and asking for it tells when and why it went. Adding it again brings it back, unless --block
    was given.
    """
    one_way(as_document, as_lines, quiet)
    told: list[Any] = []
    as_data, done = as_document or as_lines, "blocked" if block else "removed"
    with opened(home, registry, key_file, json=as_data) as found:
        for ref in refs_of(list(refs)):
            try:
                digest = found.remove(ref, why=why, block=block)
            except EmbconvError as exc:
                if exc.code in COULD_NOT_RUN:
                    raise
                told.append({"ref": ref, "error": Failure(exc.code, exc.says, exc.hint)})
                if not as_data:
                    say_error(exc)
            else:
                told.append({"ref": ref, "status": done, "digest": digest})
                if not as_data:
                    click.echo(digest if quiet else f"{done}: {printable(ref)}\n{digest}")
    if as_data:
        print_json(told, lines=as_lines)
    elif len(told) > 1 and not quiet:
        click.echo(summary(told, done))
    raise SystemExit(1 if any("error" in each for each in told) else 0)


def summary(told: list[Any], done: str) -> str:
    """The last line of several: counts."""
    refused = sum("error" in each for each in told)
    parts = [(len(told) - refused, done), (refused, "refused")]
    return ", ".join(f"{number:,} {word}" for number, word in parts if number)
