"""`embconv backup`: the whole registry as one file."""

from __future__ import annotations

import click

from embconv.converters.bases import counted
from embconv.converters.errors import TargetExists

from .app import FILE, app, one_way, print_json, reports
from .registries import at_registry, opened
from .say import shown


@app.command(name="backup", short_help="Write the whole registry to one file.")
@click.argument("path", type=FILE, metavar="FILE")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the path and nothing else.")
@reports
def command(
    path: str, home: str | None, registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool
) -> None:
    """Write a zip of the database and all files to FILE while the registry works on; it is read back before it gets its name.

    Unpacked into a folder it is a registry again: embconv search --home FOLDER. Exit code 1 if files were missing or rotten.
    """
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        try:
            made = found.backup(path)
        except TargetExists as exc:
            exc.hint = "Name another file."
            raise
    if as_document or as_lines:
        print_json([made], lines=as_lines)
    else:
        for sha256 in made.missing:
            click.echo(f"Missing: {sha256}  (embconv verify says more)", err=True)
        if not quiet:
            click.echo(f"{counted(made.files, 'file')}, {made.size:,} bytes, read back equal")
        click.echo(shown(made.path))
    raise SystemExit(1 if made.missing else 0)
