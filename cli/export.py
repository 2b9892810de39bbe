"""`embconv export`: out of the registry into a program's folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from embconv.converters.bases import counted
from embconv.converters.convert import Failure
from embconv.converters.display import printable
from embconv.converters.errors import EmbconvError

from .app import app, as_json, one_way, print_json, progress, reports
from .registries import COULD_NOT_RUN, at_registry, opened, refs_of
from .say import shown

if TYPE_CHECKING:
    from embconv.registry.export import Exported, Wanted
    from embconv.registry.model import Entry
    from embconv.registry.registry import Registry

LAYOUTS = ("a1111", "forge", "comfyui", "invokeai", "sdnext", "stabilitymatrix", "diffusers")
SIDECARS = ("json", "civitai-info", "cm-info", "metadata", "preview")
DONE = {"written": "written", "already_there": "already there", "would_write": "would be written", "refused": "refused", "failed": "failed"}


@app.command(name="export", short_help="Write embeddings of the registry into a program's folder.")
@click.argument("paths", nargs=-1, required=True, metavar="REFS... DIR")
@click.option("--all", "everything", is_flag=True, help="All that is in the registry: embconv export --all DIR.")
@click.option("--layout", required=True, type=click.Choice(LAYOUTS, case_sensitive=False), help="The program whose folder DIR is.")
@click.option("--name", "pattern", default="{trigger}", metavar="PATTERN",
              help="How each is called: text, / and {base} {trigger} {name} {digest} {role} {creator}. [{trigger}]")  # fmt: skip
@click.option("--sidecars", default="", metavar="KINDS", help=f"What to write beside each, with commas: {', '.join(SIDECARS)}.")
@click.option("--force", is_flag=True, help="Overwrite.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the paths written and nothing else.")
@reports
def command(
    paths: tuple[str, ...], everything: bool, layout: str, pattern: str, sidecars: str, force: bool, dry_run: bool, home: str | None,
    registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Write each of REFS below DIR in the form that a program loads, under a name that it takes, proven by reading it back.

    A REF is a digest, a hash, a name or a trigger; - reads them from stdin, one a line. Where several want one name, the
    one that was added first gets it and the others get 8 digits of their digest. Nothing is overwritten without --force;
    what is there with equal vectors in this form is left alone.
    """
    one_way(as_document, as_lines, quiet)
    *given, folder = paths
    if everything == bool(given):
        raise click.UsageError("Give --all, or the REFS before DIR." if everything else "Which ones? Give REFS before DIR, or --all.")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise click.UsageError(f"{folder!r} is no folder.")
    style = "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text"
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        wanted = wanted_of(layout, pattern, sidecars, force=force, dry_run=dry_run)
        entries, lost = (all_of(found), []) if everything else meant(found, refs_of(given))
        outcomes = [*lost, *work(found, entries, folder, wanted)]
    show(outcomes, style, dry_run=dry_run)
    raise SystemExit(1 if any(outcome.error for outcome in outcomes) else 0)


def wanted_of(layout: str, pattern: str, sidecars: str, *, force: bool, dry_run: bool) -> Wanted:
    """The options as `export` takes them; usage errors for what means nothing."""
    from embconv.registry.export import Wanted
    from embconv.registry.export_names import parts_of
    from embconv.registry.folder_layouts import folder_layout

    kinds = tuple(dict.fromkeys(kind.strip().lower() for kind in sidecars.split(",") if kind.strip()))
    for kind in kinds:
        if kind not in SIDECARS:
            raise click.UsageError(f"There is no sidecar {kind!r}. Known: {', '.join(SIDECARS)}.")
    parts_of(pattern)
    return Wanted(layout=folder_layout(layout), pattern=pattern, sidecars=kinds, force=force, dry_run=dry_run)


def all_of(registry: Registry) -> list[Entry]:
    """Everything, the oldest first."""
    from embconv.registry.model import Entry
    from embconv.registry.registry import every

    return [msgspec.json.decode(item, type=Entry) for item in every(registry, [("sort", "-added")])]


def meant(registry: Registry, refs: list[str]) -> tuple[list[Entry], list[Exported]]:
    """The embeddings that are meant, each once, and the references that mean none."""
    from embconv.registry.export import Exported
    from embconv.registry.model import Entry

    found: dict[str, Entry] = {}
    lost: list[Exported] = []
    for ref in refs:
        try:
            entry = msgspec.json.decode(registry.document(ref), type=Entry)
        except EmbconvError as exc:
            if exc.code in COULD_NOT_RUN:
                raise
            lost.append(Exported(digest="", name=ref, status="refused", error=Failure(exc.code, exc.says, exc.hint)))
        else:
            found.setdefault(entry.digest, entry)
    return list(found.values()), lost


def work(registry: Registry, entries: list[Entry], folder: str, wanted: Wanted) -> list[Exported]:
    """Export with a bar on a terminal."""
    from embconv.registry.export import export

    advance, stop = progress(len(entries), "Exporting")
    try:
        return export(entries, registry.read, folder, wanted, done=lambda outcome: advance(), shown=registry.preview)
    except KeyboardInterrupt:
        stop()
        click.echo("Stopped. Every file that was written is whole; run the same command again to go on.", err=True)
        raise SystemExit(130) from None
    finally:
        stop()


def show(outcomes: list[Exported], style: str, *, dry_run: bool) -> None:
    """What became of each, in the way that was asked for."""
    if style == "nl":
        print_json(outcomes, lines=True)
    elif style == "json":
        click.echo(as_json({"counts": counts(outcomes), "embeddings": outcomes}, indent=2))
    else:
        for outcome in outcomes:
            say(outcome, quiet=style == "quiet")
        if style != "quiet":
            say_missing(outcomes)
            click.echo(summary(outcomes, dry_run=dry_run))


def say(outcome: Exported, *, quiet: bool) -> None:
    """One of them in words."""
    if outcome.error:
        click.echo(f"{outcome.status.capitalize()} {printable(outcome.name)}: {outcome.error.says}  [{outcome.error.code}]", err=True)
        if outcome.error.hint:
            click.echo(f"  {outcome.error.hint}", err=True)
    elif quiet:
        click.echo("\n".join(map(shown, (outcome.path or "", *outcome.sidecars))))
    else:
        size = f"{outcome.size:,} bytes, {outcome.form}"
        click.echo(f"{DONE[outcome.status]}: {shown(outcome.path or '')}  ({size}), prompt: {printable(outcome.prompt or '')}")
    for note in outcome.notes:
        click.echo(f"  Note: {printable(note, 600)}", err=True)


def say_missing(outcomes: list[Exported]) -> None:
    """What could not be written beside them because there is none."""
    kinds = [kind for outcome in outcomes for kind in outcome.missing]
    for kind in dict.fromkeys(kinds):
        click.echo(f"Note: {counted(kinds.count(kind), 'embedding')} without a {kind} picture in the registry.", err=True)


def counts(outcomes: list[Exported]) -> dict[str, int]:
    """How many came to what."""
    states = [outcome.status for outcome in outcomes]
    return {status: states.count(status) for status in DONE if status in states}


def summary(outcomes: list[Exported], *, dry_run: bool) -> str:
    """The last line: counts, with the bytes where nothing was written yet; of one embedding its path."""
    if len(outcomes) == 1 and outcomes[0].path:
        return shown(outcomes[0].path)
    parts = [f"{number:,} {DONE[status]}" for status, number in counts(outcomes).items()]
    beside = sum(len(outcome.sidecars) for outcome in outcomes)
    parts += [counted(beside, "file") + " beside them"] if beside else []
    total = sum(outcome.size or 0 for outcome in outcomes if outcome.status == "would_write")
    return ", ".join([*parts, *([f"{total:,} bytes"] if dry_run and total else [])]) or "Nothing to export here."


