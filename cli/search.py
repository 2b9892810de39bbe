"""`embconv search`: what is in the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from embconv.converters.display import printable

from .app import app, as_json, one_way, reports
from .registries import at_registry, opened
from .tables import say_table

if TYPE_CHECKING:
    from embconv.registry.model import Entry
    from embconv.registry.registry import Registry, Results

DIGITS = 12  # of a digest in a table: enough to be meant, and it can be pasted as a reference
HEAD = ("name", "base", "vectors", "role", "tags", "added", "digest")
# option -> what it filters by; each may be given several times
FILTERS = {
    "base": "A model family: sd1, sd2, sdxl, ..., or none.",
    "encoder": "A text encoder it has vectors for: clip_l, clip_g, ...",
    "role": "positive, negative or unknown.",
    "verdict": "What a test render showed: pass, weak, ..., or none.",
    "layout": "How a file of it is arranged: a1111, emb_params, ...",
    "creator": "Who made it.",
    "tag": "A tag; of several it must have all.",
    "licence": "What may be done: sell_images, derivatives, ..., or a licence's name; of several all.",
    "nsfw": "pg, pg13, r, x, xxx or unrated.",
    "origin": "Where it came from: any, none, or a source such as civitai.",
}
ONCE = {
    "vectors": ("RANGE", "How many vectors: 8, 2..8, 8.., ..4."),
    "added_after": ("TIME", "Added later than a day or a moment: 2026-11-26."),
    "sort": ("FIELD", "relevance, added, name, downloads or vectors; a - before it turns it round."),
    "limit": ("N", "How many of them, 1 to 200. [50]"),
    "cursor": ("TEXT", "Go on where the page before ended; it says how."),
}


def filters(command: Any) -> Any:
    """An option for every parameter of a search."""
    for name, (metavar, says) in reversed(ONCE.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=says)(command)
    for name, says in reversed(FILTERS.items()):
        also = ("--license",) if name == "licence" else ()
        command = click.option(f"--{name}", *also, name, multiple=True, metavar=name.upper(), help=says)(command)
    return command


@app.command(name="search", short_help="Search the registry.")
@click.argument("words", nargs=-1, metavar="[WORDS]...")
@filters
@click.option("--facet", multiple=True, metavar="FIELD", help="Count the values of a field, such as base or tag, among all that is found.")
@click.option("--all", "everything", is_flag=True, help="All of them, not just a page.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the digests and nothing else.")
@reports
def command(
    words: tuple[str, ...], facet: tuple[str, ...], everything: bool, home: str | None, registry: str | None, key_file: str | None,
    quiet: bool, as_document: bool, as_lines: bool, **given: Any,
) -> None:  # fmt: skip
    """Find embeddings by words of their names, triggers, creators, tags, titles and notes, and by what they are.

    All WORDS must be there, the last may be the beginning of one, and '"two words"', in quotes inside quotes, stand together.
    Without WORDS everything is found, the newest first.
    """
    one_way(as_document, as_lines, quiet)
    if everything and (given["limit"] or given["cursor"]):
        raise click.UsageError("--all is everything; leave out --limit and --cursor.")
    pairs = [*asked(words, given), *(("facet", field) for field in facet)]
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        results = whole(found, pairs) if everything else found.search(pairs)
        if as_lines:
            click.echo("".join(f"{as_json(msgspec.json.decode(item))}\n" for item in results.items), nl=False)
        elif as_document:
            click.echo(as_json(document(results), indent=2))
        else:
            say(results, quiet=quiet)
            if not quiet:
                say_rest(found, results, pairs)


def asked(words: tuple[str, ...], given: dict[str, Any]) -> list[tuple[str, str]]:
    """Words and options as the pairs of a URL."""
    pairs = [("q", " ".join(words))] if words else []
    pairs += [(name, value) for name in FILTERS for value in given[name]]
    return [*pairs, *((name, given[name]) for name in ONCE if given[name] is not None)]


def whole(registry: Registry, pairs: list[tuple[str, str]]) -> Results:
    """All pages as one."""
    from embconv.registry.registry import Results, every

    first = registry.search([*pairs, ("limit", "1")])
    return Results(items=tuple(every(registry, pairs)), total=first.total, facets=first.facets)


def document(results: Results) -> dict[str, Any]:
    """A page as JSON, the same wherever it comes from: `cursor` leads on."""
    facets = {
        field: {"results": [{"value": one.value, "count": one.count, "selected": one.selected} for one in facet.results],
                "truncated": facet.truncated}
        for field, facet in results.facets.items()
    }  # fmt: skip
    items = [msgspec.json.decode(item) for item in results.items]
    return {"items": items, "total": results.total, "cursor": results.cursor, "facets": facets}


def say(results: Results, *, quiet: bool) -> None:
    """What was found for people, or the digests."""
    entries = entries_of(results.items)
    if quiet:
        click.echo("".join(f"{entry.digest}\n" for entry in entries), nl=False)
        return
    say_table(HEAD, [row(entry) for entry in entries])
    for field, facet in results.facets.items():
        click.echo(f"{field}:")
        more = [("", "...", "")] if facet.truncated else []
        say_table(("", field, "count"), [*(("*" if one.selected else "", one.value, f"{one.count:,}") for one in facet.results), *more])


def entries_of(items: Iterable[msgspec.Raw]) -> list[Entry]:
    """Documents as Structs."""
    from embconv.registry.model import Entry

    return [msgspec.json.decode(item, type=Entry) for item in items]


def row(entry: Entry) -> tuple[str, ...]:
    """One embedding in one line."""
    shown = entry.name if entry.name == entry.trigger.strip("<>") else f"{entry.name} ({entry.trigger})"
    role = "" if entry.role == "unknown" else entry.role
    digest = entry.digest.removeprefix("emb:")[:DIGITS]
    return shown, entry.base or "?", str(entry.vectors), role, ", ".join(entry.tags[:4]), entry.added[:10], f"emb:{digest}"


def say_rest(registry: Registry, results: Results, pairs: list[tuple[str, str]]) -> None:
    """How many there are, how to go on, and where nothing was found what would find something; on stderr."""
    if results.total == 0:
        click.echo("Nothing here fits.", err=True)
        names = dict.fromkeys(name for name, _ in pairs if name not in ("facet", "limit", "cursor", "sort"))
        for name in names if len(names) > 1 else ():
            rest = [pair for pair in pairs if pair[0] not in (name, "facet", "limit", "cursor")]
            total = registry.search([*rest, ("limit", "1")]).total
            if total:
                click.echo(f"  {total:,} without {'the words' if name == 'q' else option(name)}", err=True)
        return
    shown = len(results.items)
    click.echo(f"{shown:,} of {results.total:,} shown" if shown < results.total else f"{results.total:,} found", err=True)
    if results.cursor:
        more = f"--cursor {printable(results.cursor, 5000)}"
        click.echo(f"  The next: the same command with {more}" if sys.stderr.isatty() else f"  The next: {more}", err=True)


def option(name: str) -> str:
    """A parameter as its option."""
    return f"--{name.replace('_', '-')}"
