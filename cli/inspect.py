"""`embconv inspect`: everything knowable about files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from embconv.converters.bases import counted
from embconv.converters.containers.explain import explain, globals_named
from embconv.converters.convert import failure
from embconv.converters.display import printable, quoted
from embconv.converters.errors import EmbconvError
from embconv.converters.inspect import EmbeddingReport, Report, inspect
from embconv.converters.processes import spread
from embconv.converters.source import Source
from embconv.converters.targets import TARGETS

from .app import FILE, app, as_json, expand, one_way, print_json, progress, reports
from .inspect_words import compared, near_lines, vocabularies, with_words
from .registries import ending
from .say import error_lines, say_error

if TYPE_CHECKING:
    from embconv.registry.validation.neighbours import NearWords
    from embconv.registry.validation.token_tables import Vocabularies

MANY = 50  # so many files are looked at before another process has started
TITLES = {program.name: program.title for program in TARGETS}


@app.command(name="inspect", short_help="Say everything about files.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--pickle", "as_pickle", is_flag=True, help="List the opcodes and every global a pickle names. Nothing is run.")
@click.option("--model", "models", multiple=True, metavar="[BASE=]PATH",
              help="Also say which words of this model's vocabulary each vector is near to, and how long it is among them: a diffusers "
                   "folder or one .safetensors file. May be given once for each base.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print the digests and nothing else.")
@reports
def command(paths: tuple[str, ...], as_pickle: bool, models: tuple[str, ...], quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Say what each FILE is: container, layout, names, base with its evidence, vectors, hashes, findings, and which programs load it."""
    one_way(as_document, as_lines, quiet)
    if models and (as_pickle or quiet):
        raise click.UsageError("--model adds to the report; leave --pickle and -q out.")
    if as_pickle:
        raise SystemExit(show_pickles(expand(paths), as_document, as_lines))
    style = "json" if as_document or as_lines else "quiet" if quiet else "text"
    with ending(json=style == "json"):
        known = vocabularies(models)
    files = expand(paths)
    advance, stop = progress(len(files), "Inspecting")
    count = 1 if known else min(os.cpu_count() or 1, max(1, len(files) // MANY))  # a vocabulary has up to 250 MB
    bad, documents = False, []
    try:
        for told in spread(partial(look, style=style, models=known), files, count=count, at_once=MANY):
            advance()
            bad = bad or not told.fine
            documents.append(told.says)
            if style != "json":
                click.echo(told.says, err=not told.fine)
    finally:
        stop()
    if style == "json":
        click.echo("\n".join(documents) if as_lines else document(documents))
    raise SystemExit(1 if bad else 0)


class Told(NamedTuple):
    """What is said of one file, and whether it is an embedding that can be read."""

    says: str
    fine: bool


def look(path: str, style: str, models: Sequence[Vocabularies] = ()) -> Told:
    """Inspect one file and put it into words, or JSON."""
    try:
        report, near = compared(path, models) if models else (inspect(path), [])
    except EmbconvError as exc:
        says = as_json({"path": path, "error": failure(path, exc).error}) if style == "json" else "\n".join(error_lines(exc))
        return Told(says, fine=False)
    if style == "json":
        return Told(as_json(with_words(report, near) if near else report), fine=True)
    return Told("\n".join(digests(report) if style == "quiet" else words(report, near)), fine=True)


def document(documents: list[str]) -> str:
    """One JSON document: an object for one file, an array for several."""
    found = [json.loads(text) for text in documents]
    return as_json(found[0] if len(found) == 1 else found, indent=2)


def digests(report: Report) -> list[str]:
    """The digest of each embedding of a file."""
    return [embedding.digest for embedding in report.embeddings]


def words(report: Report, near: Sequence[NearWords] = ()) -> list[str]:
    """A report for people; `near`: each of its embeddings among the words of a model."""
    lines = [
        f"{printable(report.path)}  ({report.size:,} bytes)",
        f"  layout     {report.layout} in {report.container}, as written by {report.written_by}",
    ]
    for place, embedding in enumerate(report.embeddings):
        lines += embedding_words(embedding, near_lines(near[place]) if near else [])
    lines += [f"  {finding.severity:<10} {finding.where}: {finding.says}" for finding in report.findings]
    loads = [TITLES[name] for name, answer in report.loads_in.items() if answer is True]
    lines.append(f"  loads in   {', '.join(loads) or 'no program known here'}")
    lines += [f"  not in     {TITLES[name]}: {answer}" for name, answer in report.loads_in.items() if answer is not True]
    found = report.hashes
    shown = {"sha256": found.sha256, "autov3": found.autov3, "a1111": found.a1111_shorthash, "crc32": found.crc32}
    return [*lines, *(f"  {kind:<10} {value}" for kind, value in shown.items())]


def embedding_words(embedding: EmbeddingReport, near: Sequence[str] = ()) -> list[str]:
    """One embedding of a file for people; `near`: lines on the words that its vectors are near to."""
    base = embedding.bases[0] if embedding.bases else None
    names = ", ".join(f"{where} {quoted(name)}" for where, name in embedding.names.items())
    lines = [f"  trigger    {quoted(embedding.trigger)}   (of {names})" if names else f"  trigger    {quoted(embedding.trigger)}"]
    if base:
        lines.append(f"  base       {embedding.base or 'not known'}, {base.confidence}: {printable(base.because)}")
    for key, encoder in embedding.encoders.items():
        norm = encoder.norm
        lengths = f"lengths {norm.min:.3g} to {norm.max:.3g}" if norm.min is not None else "not all numbers"
        lines.append(f"  vectors    {key}: {counted(encoder.vectors, 'vector')} of {encoder.width}, {encoder.dtype}, {lengths}")
    lines += near
    training = embedding.training
    if training:
        known = ("step", "sd_checkpoint", "sd_checkpoint_name")
        told = {key: value for key in known if isinstance(value := getattr(training, key), (int, str))}
        lines += [f"  training   {', '.join(f'{key} {printable(str(value))}' for key, value in told.items())}"] if told else []
    if embedding.role != "unknown":
        lines.append(f"  role       {embedding.role}")
    return [*lines, f"  digest     {embedding.digest}"]


def show_pickles(paths: list[str], as_document: bool, as_lines: bool) -> int:
    """The opcodes and globals of each file; 1 if any names a global that is not allowed."""
    bad, found = False, []
    for path in paths:
        try:
            with Source(path) as source:
                named, listing = globals_named(source), explain(source)
        except EmbconvError as exc:
            say_error(exc)
            bad = True
            continue
        bad = bad or any(not item.allowed for item in named)
        found.append({"path": path, "globals": named, "opcodes": listing})
        if not (as_document or as_lines):
            click.echo(printable(path))
            if not listing:
                click.echo("  holds no pickle")
            for item in listing:
                click.echo(f"  {item.position:>8}  {item.opcode:<18} {item.argument}")
            for one in named:
                click.echo(f"  {'allowed' if one.allowed else 'REFUSED'}  {printable(one.name)} at byte {one.position}")
    if as_document or as_lines:
        print_json(found, lines=as_lines)
    return 1 if bad else 0
