"""`embconv verify`: everything in the registry looked at again."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from embconv.converters.bases import counted
from embconv.converters.display import printable

from .app import Param, app, as_json, one_way, progress, reports
from .registries import at_registry, opened

if TYPE_CHECKING:
    from embconv.registry.verify import Report

SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*(%?)")


class Share(Param):
    """`5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number from 0 to 1."""
        if isinstance(value, float):
            return value
        match = SHARE.fullmatch(value.strip())
        share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share; give one such as 5% or 0.05.", param, ctx)
        return share


@app.command(name="verify", short_help="Look at everything in the registry again.")
@click.option("--sample", type=Share(), default="100%", metavar="SHARE", help="The share of the files that are read, such as 5%. [100%]")
@click.option("--repair", is_flag=True, help="Make anew what is derived, remove bytes that nothing names, set rotten bytes aside.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print what the problems are about and nothing else.")
@reports
def command(
    sample: float, repair: bool, home: str | None, registry: str | None, key_file: str | None,
    quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Look at bytes against their hashes, vectors against their digests, rows against bytes, and the database by itself.

    Exit code 1 if anything is wrong and was not put right. A rotten or missing file comes back by adding it again.
    """
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        total = found.search([("limit", "1")]).total if sys.stderr.isatty() else 0  # about as many files as embeddings
        advance, stop = progress(total, "Verifying")
        try:
            report = found.verify(sample=sample, repair=repair, done=lambda checked: advance())
        finally:
            stop()
    if as_lines:
        click.echo("".join(f"{as_json(problem)}\n" for problem in report.problems), nl=False)
    elif as_document:
        counts = {"files": report.files, "checked": report.checked, "embeddings": report.embeddings}
        click.echo(as_json({"good": report.good, **counts, "problems": report.problems}, indent=2))
    else:
        say(report, quiet=quiet)
    raise SystemExit(0 if report.good else 1)


def say(report: Report, *, quiet: bool) -> None:
    """What was found for people."""
    for problem in report.problems:
        done = " (put right)" if problem.repaired else ""
        click.echo(problem.ref if quiet else f"{problem.kind:<9} {printable(problem.ref)}: {printable(problem.says, 600)}{done}")
    if not quiet:
        looked = f"{counted(report.embeddings, 'embedding')}, {report.checked:,} of {counted(report.files, 'file')} read"
        wrong = sum(not problem.repaired for problem in report.problems)
        mended = len(report.problems) - wrong
        ends = [counted(wrong, "problem")] if wrong else [] if mended else ["all is well"]
        ends += [f"{mended:,} put right"] if mended else []
        click.echo(f"{looked}: {', '.join(ends)}")
