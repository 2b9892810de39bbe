"""`embconv repair`: a misread file made right, the difference shown first."""

from __future__ import annotations

from typing import Any

import click

from embconv.converters.check import ERROR, check
from embconv.converters.convert import Options, failure
from embconv.converters.display import printable
from embconv.converters.errors import EmbconvError
from embconv.converters.model import Finding
from embconv.converters.numbers import WRITABLE
from embconv.converters.read import load
from embconv.converters.repair import Change, repair

from .app import FILE, TargetName, app, must_name, one_way, print_json, reports
from .say import outcome_lines, say_error, say_notes


@app.command(name="repair", short_help="Mend a file that programs misread.")
@click.argument("source", type=FILE, metavar="FILE")
@click.argument("dest", type=FILE, metavar="OUT")
@click.option("--for", "target", type=TargetName(), help="The program that will load it.")
@click.option("--drop-bad-rows", is_flag=True, help="Leave out vectors that hold NaN or infinity.")
@click.option("--dtype", type=click.Choice(["keep", *WRITABLE]), default="keep", help="The kind of number to write.")
@click.option("--name", metavar="TRIGGER", help="A new trigger.")
@click.option("--pick", metavar="NAME", help="Take this one of a file that holds several.")
@click.option("--force", is_flag=True, help="Overwrite.")
@click.option("--dry-run", is_flag=True, help="Show the difference, and write nothing.")
@reports
def command(source: str, dest: str, drop_bad_rows: bool, as_document: bool, as_lines: bool, **given: Any) -> None:
    """Mend FILE into OUT: vectors under another encoder's key, emp_params, one or three axes, NaN rows, inner and lost names.

    Every change is shown before anything is written. Where nothing is wrong nothing is written.
    """
    one_way(as_document, as_lines)
    must_name(given["name"])
    given["dtype"] = None if given["dtype"] == "keep" else given["dtype"]
    quiet = as_document or as_lines
    try:
        result = repair(source, dest, Options(**given), drop_bad_rows=drop_bad_rows, shown=(lambda change: None) if quiet else show)
        left = errors_left(source, given["pick"]) if result.outcome is None else []
    except EmbconvError as exc:
        if quiet:
            print_json([{"path": source, "error": failure(source, exc).error}], lines=as_lines)
        else:
            say_error(exc)
        raise SystemExit(1) from exc
    if left:
        say_left(source, left, as_document=as_document, as_lines=as_lines)
        raise SystemExit(1)
    if quiet:
        print_json([result], lines=as_lines)
    elif result.outcome is None:
        click.echo("Nothing to repair, so nothing was written.")
    else:
        say_notes(result.outcome, given["target"])
        click.echo("\n".join(outcome_lines(result.outcome)))


def errors_left(source: str, pick: str | None) -> list[Finding]:
    """What is wrong with a file in which repair found nothing to change."""
    return [finding for finding in check(load(source, pick=pick)) if finding.severity == ERROR]


def say_left(source: str, left: list[Finding], *, as_document: bool, as_lines: bool) -> None:
    """The errors that repair cannot mend, in words or JSON."""
    if as_document or as_lines:
        print_json([{"path": source, "changes": [], "outcome": None, "findings": left}], lines=as_lines)
        return
    for finding in left:
        click.echo(f"Error: {printable(finding.where)}: {printable(finding.says, 600)}", err=True)
    click.echo("  repair cannot mend this, so nothing was written.", err=True)


def show(change: Change) -> None:
    """One change in words."""
    click.echo(f"{change.where}: {printable(change.was)} -> {printable(change.becomes)}")
