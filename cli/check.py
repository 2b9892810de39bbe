"""`embconv check`: does each file work where it is wanted?"""

from __future__ import annotations

import click
from msgspec import Struct

from embconv.converters.check import check
from embconv.converters.convert import Failure, failure
from embconv.converters.display import printable, quoted
from embconv.converters.errors import EmbconvError, NotAnEmbedding, UnreadableFile
from embconv.converters.folders import PICTURES
from embconv.converters.forms import form_of
from embconv.converters.model import Embedding, Finding
from embconv.converters.paths import suffix_of
from embconv.converters.read import Reading, called, examine
from embconv.converters.source import Source
from embconv.converters.targets import Target, loads_in

from .app import FILE, Wanted, app, expand, one_way, print_json, progress, reports
from .say import without_name


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Does one file work? `state`: works, needs_converting, wrong_base, broken, refused (no embedding, or not safe)."""

    path: str
    state: str
    findings: tuple[Finding, ...] = ()
    error: Failure | None = None


@app.command(name="check", short_help="Say which files work, for a base or a program.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="FILE|DIR...")
@click.option("--for", "wanted", type=Wanted(), help="A base such as sdxl, or the program that will load them.")
@click.option("-q", "--quiet", is_flag=True, help="Print the paths of the files that do not work.")
@reports
def command(paths: tuple[str, ...], wanted: str | Target | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Say of each FILE, or each candidate in DIR and below, whether it works, is for another base, or is broken, and why.

    Exit code 1 if any does not work.
    """
    one_way(as_document, as_lines, quiet)
    verdicts = []
    files = expand(paths)
    advance, stop = progress(len(files), "Checking")
    try:
        for path in files:
            verdict = judge(path, wanted)
            advance()
            if verdict is None:
                continue
            verdicts.append(verdict)
            if quiet and verdict.state != "works":
                click.echo(verdict.path)
            elif not (quiet or as_document or as_lines):
                click.echo("\n".join(words(verdict)))
    finally:
        stop()
    if as_document or as_lines:
        print_json(verdicts, lines=as_lines)
    elif not quiet:
        click.echo(summary(verdicts))
    raise SystemExit(1 if any(verdict.state != "works" for verdict in verdicts) else 0)


def judge(path: str, wanted: str | Target | None) -> Verdict | None:
    """The verdict on one file; None for a picture that is no embedding, for folders are full of them."""
    try:
        with Source(path) as source:
            reading = examine(source)
    except EmbconvError as exc:
        if isinstance(exc, NotAnEmbedding) and suffix_of(path).lower() in PICTURES:
            return None
        return Verdict(path=path, state="broken" if isinstance(exc, UnreadableFile) else "refused", error=failure(path, exc).error)
    several = len(reading.embeddings) > 1
    findings = tuple(placed(finding, one, several) for one in reading.embeddings for finding in findings_of(reading, one, wanted))
    return Verdict(path=path, state=state_of(findings), findings=findings)


def placed(finding: Finding, embedding: Embedding, several: bool) -> Finding:
    """A finding that says which embedding it is about, where the file holds several."""
    return Finding(finding.rule, finding.severity, finding.where, f"{quoted(called(embedding))}: {finding.says}") if several else finding


def findings_of(reading: Reading, embedding: Embedding, wanted: str | Target | None) -> list[Finding]:
    """Everything about one embedding, and whether the program loads the file as it is."""
    if not isinstance(wanted, Target):
        return check(embedding, base=wanted)
    found = check(embedding, target=wanted)
    answer = loads_in(form_of(reading, embedding))[wanted.name]
    if answer is not True and not any(finding.rule == "target" for finding in found):
        found.append(Finding("form", "error", wanted.name, f"{wanted.title} does not load the file as it is: {answer}"))
    return found


def state_of(findings: tuple[Finding, ...]) -> str:
    """One word for what the errors among the findings mean."""
    errors = {finding.rule for finding in findings if finding.severity == "error"}
    if not errors:
        return "works"
    if errors <= {"form"}:
        return "needs_converting"
    return "wrong_base" if errors <= {"base_mismatch", "target", "form"} else "broken"


def words(verdict: Verdict) -> list[str]:
    """A verdict for people."""
    lines = [f"{verdict.state.replace('_', ' '):<17} {printable(verdict.path)}"]
    if verdict.error:
        lines.append(f"    {without_name(verdict.error.says, verdict.path)}  [{verdict.error.code}]")
        lines += [f"    {verdict.error.hint}"] if verdict.error.hint else []
    return lines + [f"    {finding.severity}: {finding.says}" for finding in verdict.findings]


def summary(verdicts: list[Verdict]) -> str:
    """Counts by state."""
    states = [verdict.state for verdict in verdicts]
    order = ("works", "needs_converting", "wrong_base", "broken", "refused")
    return ", ".join(f"{states.count(state):,} {state.replace('_', ' ')}" for state in order if state in states) or "Nothing to check here."
