"""`embconv previews`: pictures from Civitai, when one asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embconv.converters.bases import counted
from embconv.converters.display import printable

from .app import app, as_json, json_lines, one_way, reports
from .civitai import at_civitai, civitai
from .registries import ending, refs_of
from .sync import LEVELS

if TYPE_CHECKING:
    from embconv.registry.civitai.run import Trouble
    from embconv.registry.model import Preview


@app.command(name="previews", short_help="Fetch pictures of embeddings from Civitai.")
@click.argument("refs", nargs=-1, required=True, metavar="REFS...")
@click.option("--nsfw", type=click.Choice(LEVELS, case_sensitive=False), default="pg", show_default=True, help="The highest rating.")
@click.option("--limit", type=click.IntRange(1, 20), default=4, show_default=True, metavar="N", help="Pictures of each embedding.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")
@at_civitai
@click.option("--rate", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="N", help="Requests a second; 0 is no limit.")
@click.option("-q", "--quiet", is_flag=True, help="Print the sha256 of each picture and nothing else.")
@reports
def command(
    refs: tuple[str, ...], nsfw: str, limit: int, home: str | None, api: str | None, token_file: str | None, rate: float, quiet: bool,
    as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Fetch the pictures that Civitai shows of embeddings, up to a rating, with how they were made where it tells.

    They are made anew, so that nothing but what they show is kept. `embconv export --sidecars preview` writes them beside the files.
    """
    one_way(as_document, as_lines, quiet)
    with ending(json=as_document or as_lines):
        found = fetch(refs_of(list(refs)), nsfw=nsfw.lower(), limit=limit, home=home, api=api, token_file=token_file, rate=rate)
    failed = sum(len(troubles) for _, _, troubles in found)
    if as_document or as_lines:
        documents = [{"ref": ref, "previews": previews, "failed": troubles} for ref, previews, troubles in found]
        click.echo(json_lines(documents) if as_lines else as_json(documents, indent=2), nl=as_document)
    else:
        say(found, quiet=quiet)
    raise SystemExit(1 if failed else 0)


def fetch(
    refs: list[str], *, nsfw: str, limit: int, home: str | None, api: str | None, token_file: str | None, rate: float
) -> list[tuple[str, list[Preview], list[Trouble]]]:
    """Fetch for each."""
    from embconv.registry.blobs import Blobs
    from embconv.registry.civitai.client import Client
    from embconv.registry.civitai.previews import fetch_previews
    from embconv.registry.settings import settings
    from embconv.registry.store import Store, resolve

    made = settings(home=home)
    site = civitai(api, home=made.home, token_file=token_file)
    with Store(made.home) as store, Client(site, rate=rate) as client:
        return [(ref, *fetch_previews(store, Blobs(made.home), client, resolve(store.read, ref), nsfw=nsfw, limit=limit)) for ref in refs]


def say(found: list[tuple[str, list[Preview], list[Trouble]]], *, quiet: bool) -> None:
    """What there is of each now."""
    for ref, previews, troubles in found:
        for trouble in troubles:
            click.echo(f"Failed {printable(trouble.ref)}: {trouble.says}  [{trouble.code}]", err=True)
        if quiet:
            click.echo("".join(f"{each.sha256}\n" for each in previews), nl=False)
        else:
            click.echo(f"{printable(ref, len(ref))}: {counted(len(previews), 'picture')}")
            for each in previews:
                click.echo(f"  {each.sha256[:12]}  {each.width}x{each.height}  {each.nsfw or 'not rated'}")
