"""`embconv show`: everything the registry knows about one embedding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from embconv.converters.bases import counted
from embconv.converters.display import printable, quoted
from embconv.converters.encoders import BASES

from .app import app, as_json, one_way, reports
from .registries import at_registry, opened

if TYPE_CHECKING:
    from embconv.registry.loads import Use
    from embconv.registry.model import Entry, FileEntry, Origin

SHOWN_HASHES = ("sha256", "blake3", "autov3", "a1111_shorthash", "crc32")
CLAIM = 160  # characters of a claim


@app.command(name="show", short_help="Show everything about an embedding of the registry.")
@click.argument("ref", metavar="REF")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the digest and nothing else.")
@reports
def command(ref: str, home: str | None, registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Show all that is known of the embedding REF: its files with their hashes, its names, where it comes from, what was
    found about it, in which programs it loads and what is typed there.

    REF is a digest or 8 or more digits of one, any hash of one of its files, its name or its trigger.
    """
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        from embconv.registry.loads import uses
        from embconv.registry.model import Entry

        document = found.document(ref)
        entry = msgspec.json.decode(document, type=Entry)
        if quiet:
            click.echo(entry.digest)
            return
        programs = uses(entry, found.read)
    if as_document or as_lines:
        report = {**json.loads(document), "uses": msgspec.to_builtins(programs)}
        click.echo(as_json(report, indent=2 if as_document else None))
    else:
        click.echo("\n".join(words(entry, programs)))


def words(entry: Entry, programs: list[Use]) -> list[str]:
    """An embedding for people."""
    base = BASES[entry.base].title if entry.base in BASES else "not known"
    facts: dict[str, Any] = {
        "trigger": quoted(entry.trigger),
        "digest": entry.digest,
        "base": f"{entry.base} ({base})" if entry.base else base,
        "vectors": ", ".join(f"{key}: {counted(one.vectors, 'vector')} of {one.width}, {one.dtype}" for key, one in entry.encoders.items()),
        "outputs": ", ".join(f"{key}: {counted(one.vectors, 'vector')} of {one.width}" for key, one in entry.output_encoders.items()),
        "role": entry.role,
        "tags": ", ".join(entry.tags),
        "nsfw": entry.nsfw,
        "licence": licence(entry),
        "creators": ", ".join(entry.creators),
        "downloads": f"{entry.downloads:,}" if entry.downloads else "",
        "test": entry.verdict,
        "notes": entry.notes,
        "added": entry.added + (f", changed {entry.changed}" if entry.changed != entry.added else ""),
    }
    lines = [printable(entry.name), *(line(name, str(value)) for name, value in facts.items() if value)]
    names = (f"{kind.replace('_', ' ')} {' and '.join(map(quoted, values))}" for kind, values in entry.names.items())
    lines += [line("called", "; ".join(names))] if entry.names else []
    for file in entry.files:
        lines += file_words(file)
    lines += [line("origin", origin_words(origin)) for origin in entry.origins]
    lines += [line(finding.severity, f"{finding.where}: {finding.says}") for finding in entry.findings]
    return [*lines, *use_words(programs)]


def line(name: str, says: str) -> str:
    """A fact."""
    return f"  {name:<10} {printable(says, 2000)}"


def licence(entry: Entry) -> str:
    """What somebody claims may be done, and who."""
    if entry.licence is None:
        return ""
    permits = ", ".join(entry.licence.permits) or "nothing"
    return f"{permits}, as {entry.licence.source} says"


def file_words(file: FileEntry) -> list[str]:
    """A file with its hashes."""
    lines = [line("file", f"{file.name}, {file.size:,} bytes, {file.layout} in {file.container}, added {file.added}")]
    return [*lines, *(f"    {kind:<15} {file.hashes[kind]}" for kind in SHOWN_HASHES if kind in file.hashes)]


def origin_words(origin: Origin) -> str:
    """One line of where it comes from."""
    where = " ".join(filter(None, (origin.source, origin.id, origin.url)))
    said = [f"{name} {text if isinstance(text, str) else as_json(text)}"[:CLAIM] for name, text in origin.claims.items()]
    state = "" if origin.state == "present" else f" ({origin.state})"
    return f"{origin.seen}  {where}{state}" + (f": {'; '.join(said)}" if said else "")


def use_words(programs: list[Use]) -> Iterator[str]:
    """In which programs it loads, and what is typed there."""
    for use in programs:
        if use.loads is True:
            yield line("loads in", f"{use.title}: {use.prompt}")
    for use in programs:
        if use.export:
            yield line("after", f"export --layout {use.export}, in {use.title}: {use.prompt}")
        elif use.loads is not True:
            yield line("not in", f"{use.title}: {use.loads}")
