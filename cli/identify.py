"""`embconv identify`: which of Civitai's models local files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embconv.converters.display import printable

from .add import gather
from .app import FILE, app, as_json, json_lines, one_way, progress, reports
from .civitai import at_civitai, civitai
from .registries import ending
from .say import error_lines
from .tables import say_table

if TYPE_CHECKING:
    from embconv.registry.civitai.identify import Identified
    from embconv.registry.civitai.local import Local

HEAD = ("name", "version", "creator", "base", "trigger", "licence", "nsfw", "file")
NOTHING = "-"


@app.command(name="identify", short_help="Look files up at Civitai by their hashes.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATHS...")
@click.option("-r", "--recursive", is_flag=True, help="Folders below a folder too.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The registry that remembers what was said. [EMBCONV_HOME]")
@at_civitai
@click.option("--rate", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="N", help="Requests a second; 0 is no limit.")
@click.option("-q", "--quiet", is_flag=True, help="Print the ids (model@version) and nothing else.")
@reports
def command(
    paths: tuple[str, ...], recursive: bool, home: str | None, api: str | None, token_file: str | None, rate: float, quiet: bool,
    as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Look files up at Civitai by their hashes: name, creator, base, trigger, licence and rating.

    Only hashes leave this machine. Files that embconv converted are found by what they were made of. The registry keeps what was
    said, with its time: of the embeddings that it has, and of the others for the day they are added.
    """
    from embconv.registry.civitai.local import look

    one_way(as_document, as_lines, quiet)
    files, _, _, trouble = gather(paths, recursive)
    advance, stop = progress(len(files), "Hashing")
    found: list[Local] = []
    try:
        for each in look(files):
            found.append(each)
            advance()
    finally:
        stop()
    with ending(json=as_document or as_lines):
        results = ask(found, home=home, api=api, token_file=token_file, rate=rate)
    show(results, "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text")
    for addition in trouble:
        click.echo("\n".join(error_lines(addition.error)) if addition.error else "", err=True)
    raise SystemExit(1 if trouble or any(result.error for result in results) else 0)


def ask(files: list[Local], *, home: str | None, api: str | None, token_file: str | None, rate: float) -> list[Identified]:
    """Ask, after saying what is sent."""
    from embconv.registry.civitai.client import Client
    from embconv.registry.civitai.identify import identify
    from embconv.registry.settings import settings
    from embconv.registry.store import Store

    made = settings(home=home)
    site = civitai(api, home=made.home, token_file=token_file)
    number = len({value for file in files for value in file.hashes})
    if not number:
        return []
    click.echo(f"Sending {number:,} {'hash' if number == 1 else 'hashes'} to {site.host}; no file leaves this machine.", err=True)
    with Store(made.home) as store, Client(site, rate=rate) as client:
        return identify(store, client, files)


def show(results: list[Identified], style: str) -> None:
    """What is known of each, and how many are."""
    if style == "nl":
        click.echo(json_lines(results), nl=False)
    elif style == "json":
        click.echo(as_json({"counts": {"known": sum(each.known for each in results), "files": len(results)}, "files": results}, indent=2))
    elif style == "quiet":
        click.echo("\n".join(each.id for each in results if each.known))
    else:
        say_table(HEAD, [row(each) for each in results])
        for each in results:
            if each.error:
                click.echo(f"{printable(each.path)}: {'; '.join(error_lines(each.error))}", err=True)
        known = sum(each.known for each in results)
        click.echo(f"{known:,} known, {len(results) - known:,} not known there")


def row(each: Identified) -> tuple[str, ...]:
    """One file as a row."""
    if not each.known:
        return ("not known there", *[NOTHING] * 6, each.path)
    licence = ", ".join(each.permits) if each.licence is not None else ""
    more = f" (and {each.others} more)" if each.others else ""
    rated = each.nsfw or "not rated"
    name = f"{each.title}{more}{f' [{each.mode.lower()}]' if each.mode else ''}"
    said = (name, each.version, each.creator, each.base, each.trigger, licence or ("nothing" if each.licence is not None else ""), rated)
    return (*(text or NOTHING for text in said), each.path)
