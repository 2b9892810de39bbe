"""`embconv sync`: keep the registry like Civitai, or like a folder."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from embconv.converters.display import printable

from .app import app, as_json, json_lines, one_way, reports
from .civitai import at_civitai, civitai
from .registries import ending
from .sync_folder import folder

if TYPE_CHECKING:
    from embconv.registry.civitai.choose import Options
    from embconv.registry.civitai.run import Control, Progress, SyncReport, Trouble
    from embconv.registry.settings import Settings

LEVELS = ("pg", "pg13", "r", "x", "xxx", "all")
MINUTE = 60.0
SHOWN = 20  # failures that are written out
PHASES = {"listing": "Reading the lists", "filling": "Looking for what they leave out", "fetching": "Fetching", "done": "Done"}


@app.group(name="sync", short_help="Keep the registry like Civitai, or like a folder.")
def group() -> None:
    """Keep the registry like Civitai, or like a folder: everything once, then only what changed. Nothing that is gone there is erased."""


group.add_command(folder)


@group.command(name="civitai", short_help="Mirror the embeddings of Civitai.")
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Only this base, ours (sdxl) or Civitai's ('SD 1.5'); repeatable.")
@click.option("--query", default="", metavar="WORDS", help="Only what Civitai finds for these words.")
@click.option("--creator", default="", metavar="NAME", help="Only what this creator made.")
@click.option("--since", default="", metavar="last|DATE", help="Only what is newer than the last whole run, or a date.")
@click.option("--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Fetch N files at most; 0 is all of them.")
@click.option("--metadata-only", is_flag=True, help="Remember what Civitai says, and fetch no file.")
@click.option("--nsfw", type=click.Choice(LEVELS, case_sensitive=False), default="pg", show_default=True,
              help="The highest rating that is taken; all includes what is not rated.")
@click.option("--rate", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="N", help="Requests a second; 0 is no limit.")
@click.option("--downloads", type=click.IntRange(1, 32), default=2, show_default=True, metavar="N", help="Files at once.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")
@at_civitai
@click.option("-q", "--quiet", is_flag=True, help="Print only the last line.")
@reports
def command(
    bases: tuple[str, ...], query: str, creator: str, since: str, limit: int, metadata_only: bool, nsfw: str, rate: float, downloads: int,
    dry_run: bool, home: str | None, api: str | None, token_file: str | None, quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Mirror the embeddings of Civitai: all of them once, then what is new. The same command goes on where it was interrupted.

    Each file is checked against the hash that Civitai tells, read without running anything in it, and kept with what Civitai says
    of it. What cannot be had is counted with its reason and tried again when that may help. What Civitai deletes stays here.
    """  # fmt: skip
    from embconv.registry.civitai.choose import Options
    from embconv.registry.settings import settings

    one_way(as_document, as_lines, quiet)
    options = Options(base=bases, query=query, creator=creator, since=since, limit=limit, metadata_only=metadata_only, nsfw=nsfw.lower(),
                      rate=rate, downloads=downloads, dry_run=dry_run)  # fmt: skip
    with ending(json=as_document or as_lines):
        report = run(settings(home=home), options, api, token_file)
    finish(report, "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text")


def run(made: Settings, options: Options, api: str | None, token_file: str | None) -> SyncReport:
    """Run it, with a bar, until it ends or Ctrl-C stops it."""
    import msgspec

    from embconv.registry.blobs import Blobs
    from embconv.registry.civitai.run import Control
    from embconv.registry.ingest import sweep
    from embconv.registry.store import Store
    from embconv.registry.syncs import civitai as ready
    from embconv.registry.syncs import recorded

    site = civitai(api, home=made.home, token_file=token_file)
    with Store(made.home) as store:
        blobs, control = Blobs(made.home), Control()
        sweep(store, blobs)
        work = ready(store, blobs, site, options, limit=made.max_upload)
        with recorded(store, "civitai", msgspec.to_builtins(options)) as (_, end), stopping(control):
            tell, stop = bar()
            try:
                report = work(control, tell)
            finally:
                stop()
            end(report)
    return report


class stopping:  # noqa: N801  # it reads as a word: with stopping(control)
    """Ctrl-C lets the run finish the files that it is at; a second one ends it at once."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def __enter__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._stop)

    def _stop(self, *_: object) -> None:
        click.echo("Stopping after the files that are on their way; once more stops at once.", err=True)
        self._control.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *exc: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)


def bar() -> tuple[Callable[[Progress], None], Callable[[], None]]:
    """A bar with the time that is left, on a terminal's stderr: how to tell it and how to end it. Elsewhere a line for each phase."""
    if not sys.stderr.isatty():
        return lines(), lambda: None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Bar(*columns, console=Console(stderr=True), transient=True)
    task = shown.add_task(PHASES["listing"], total=None)
    shown.start()

    def tell(progress: Progress) -> None:
        fetching = progress.phase == "fetching"
        done, total = (progress.done, progress.total) if fetching else (progress.models, None)
        shown.update(task, description=PHASES[progress.phase], completed=done, total=total)

    return tell, shown.stop


def lines() -> Callable[[Progress], None]:
    """A line for each phase, and one a minute while it fetches."""
    phase, said = "", 0.0

    def tell(progress: Progress) -> None:
        nonlocal phase, said
        fetching = progress.phase == "fetching"
        if progress.phase == "done" or (fetching and not progress.total):
            return
        if progress.phase != phase or (fetching and time.monotonic() - said > MINUTE):
            number = f"{progress.done:,} of {progress.total:,}" if progress.phase == phase else f"{progress.total:,}"
            phase, said = progress.phase, time.monotonic()
            click.echo(f"{PHASES[phase]}{f' {number} files' if fetching else ''} ...", err=True)

    return tell


def finish(report: SyncReport, style: str) -> None:
    """What it came to, and the exit code that says so."""
    from embconv.registry.syncs import exit_code

    if style in ("json", "nl"):
        click.echo(json_lines([report]) if style == "nl" else as_json(report, indent=2), nl=style == "json")
    else:
        if style == "text":
            for trouble in report.troubles[:SHOWN]:
                click.echo(words(trouble), err=True)
            if len(report.troubles) > SHOWN:
                click.echo(f"... and {len(report.troubles) - SHOWN:,} more: --json lists them.", err=True)
        if report.stopped:
            click.echo(f"Error: {report.stopped.says}  [{report.stopped.code}]\n  {report.stopped.hint}", err=True)
        click.echo(summary(report))
    raise SystemExit(exit_code(report))


def words(trouble: Trouble) -> str:
    """One failure: what, why, and what to do."""
    return f"Failed {printable(trouble.ref)} {printable(trouble.name)}: {trouble.says}  [{trouble.code}]\n  {trouble.hint}"


def summary(report: SyncReport) -> str:
    """The last line: `12 added, 1 changed, 480 unchanged, 2 gone, 3 skipped (2 early_access, 1 archived), 0 failed`."""
    skipped = sum(report.skipped.values())
    why = f" ({', '.join(f'{number:,} {reason}' for reason, number in report.skipped.items())})" if skipped else ""
    waiting = f", {report.waiting:,} left for the next run" if report.waiting else ""
    would = "would be " if report.dry_run else ""
    return (
        f"{report.added:,} {would}added, {report.changed:,} {would}changed, {report.unchanged:,} unchanged, {report.gone:,} gone,"
        f" {skipped:,} skipped{why}, {report.failed:,} failed{waiting}"
    )
