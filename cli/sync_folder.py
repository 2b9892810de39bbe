"""`embconv sync folder`: keep the registry like a folder, once or for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from embconv.converters.display import printable, quoted

from .app import as_json, one_way, progress, reports
from .registries import ending

if TYPE_CHECKING:
    from embconv.registry.civitai.run import Progress, SyncReport
    from embconv.registry.folder import News
    from embconv.registry.local import Local

PAUSE = 500          # milliseconds in which nothing more happens before a pass begins
TICK = 1_500         # milliseconds between looks at whether the folder is still there
AGAIN = 2            # ticks after a change at which what was half-written is looked at again


@click.command(name="folder", short_help="Mirror a folder of embeddings.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False), metavar="DIR")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C: take what changes as it changes.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")
@click.option("-q", "--quiet", is_flag=True, help="Print the digests of what is new and nothing else.")
@reports
def folder(folder: str, watch: bool, dry_run: bool, home: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Mirror a folder, and those below it, with what stands beside each file: all of it once, then only what changed.

    Sidecars of Civitai Helper, A1111, StabilityMatrix and ComfyUI-Lora-Manager become claims, pictures become previews.
    What vanishes from the folder stays in the registry, with a line that says so; what was removed here does not come back by it.

    On a network folder --watch sees changes with WATCHFILES_FORCE_POLLING=1.
    """
    one_way(as_document, as_lines, quiet)
    if watch and (dry_run or as_document):
        raise click.UsageError("--watch goes with neither --dry-run nor --json; --nl prints as it goes.")
    if not home and os.environ.get("EMBCONV_REGISTRY"):
        click.echo("Note: a folder is mirrored into a registry on this machine, not into EMBCONV_REGISTRY.", err=True)
    style = "json" if as_document else "nl" if as_lines else "quiet" if quiet else "text"
    with ending(json=as_document or as_lines), contextlib.closing(opened(home, create=not dry_run)) as here:
        code = keep_watching(here, folder, style) if watch else once(here, folder, style, dry_run=dry_run)
    raise SystemExit(code)


def opened(home: str | None, *, create: bool) -> Local:
    """The registry on this machine, swept."""
    from embconv.registry.ingest import sweep
    from embconv.registry.local import Local
    from embconv.registry.settings import settings

    here = Local(settings(home=home), create=create)
    if create:
        sweep(here.store, here.blobs)
    return here


def once(here: Local, folder: str, style: str, *, dry_run: bool) -> int:
    """One pass; the exit code."""
    try:
        report, heard = a_pass(here, folder, style, dry_run=dry_run, bar=True)
    except KeyboardInterrupt:
        click.echo("Stopped. What was taken in is safe in the registry; run the same command again to go on.", err=True)
        raise SystemExit(130) from None
    show(report, heard, style)
    return 1 if report.failed or report.stopped else 0


def a_pass(here: Local, folder: str, style: str, *, dry_run: bool = False, bar: bool = False) -> tuple[SyncReport, list[News]]:
    """Look at the folder once, with a bar on a terminal; each file that is news is printed as it is safe, unless by JSON document."""
    from embconv.registry.folder import sync_folder

    heard: list[News] = []

    def done(news: News) -> None:
        heard.append(news)
        if style == "nl":
            click.echo(as_json(news))
        elif style != "json":
            say(news, quiet=style == "quiet")

    tell, stop = following(bar)
    try:
        return sync_folder(here.store, here.blobs, folder, dry_run=dry_run, done=done, heard=tell), heard
    finally:
        stop()


def following(bar: bool) -> tuple[Callable[[Progress], None], Callable[[], None]]:
    """A bar that appears once it is known how much there is to do: how to tell it and how to end it."""
    bars: list[tuple[Callable[[], None], Callable[[], None]]] = []
    shown = 0

    def tell(now: Progress) -> None:
        nonlocal shown
        if bar and not bars and now.phase == "fetching":
            bars.append(progress(now.total, "Mirroring"))
        while bars and shown < now.done:
            bars[0][0]()
            shown += 1

    def stop() -> None:
        for _, end in bars:
            end()

    return tell, stop


def say(news: News, *, quiet: bool) -> None:
    """What became of one file, in words."""
    path = printable(news.path)
    if news.error:
        hint = f"\n  {news.error.hint}" if news.error.hint else ""
        click.echo(f"{news.outcome.capitalize()} {path}: {news.error.says}  [{news.error.code}]{hint}", err=True)
    elif news.outcome == "note":
        click.echo(f"Note: {path}: {news.says}", err=True)
    elif quiet:
        if news.digests:
            click.echo("\n".join(news.digests))
    elif news.outcome == "moved":
        click.echo(f"moved: {printable(news.was)} -> {path}")
    else:
        triggers = f" -> {', '.join(map(quoted, news.triggers))}" if news.triggers else ""
        click.echo(f"{news.outcome}: {path}{triggers}")


def show(report: SyncReport, heard: list[News], style: str) -> None:
    """What a pass came to."""
    if report.stopped and style not in ("json", "nl"):
        click.echo(f"Error: {report.stopped.says}  [{report.stopped.code}]\n  {report.stopped.hint}", err=True)
    if style == "json":
        click.echo(as_json({"report": report, "files": heard}, indent=2))
    elif style == "nl":
        click.echo(as_json({"report": report}))
    elif style != "quiet":
        click.echo(summary(report))


def summary(report: SyncReport) -> str:
    """The last line: `12 added, 1 changed, 480 unchanged, 2 gone, 3 skipped (not_an_embedding), 0 failed`."""
    skipped, would = sum(report.skipped.values()), "would be " if report.dry_run else ""
    several = len(report.skipped) > 1
    reasons = [f"{number:,} {reason}" if several else reason for reason, number in report.skipped.items()]
    why = f" ({', '.join(reasons)})" if reasons else ""
    return (
        f"{report.added:,} {would}added, {report.changed:,} {would}changed, {report.unchanged:,} unchanged, {report.gone:,} gone,"
        f" {skipped:,} skipped{why}, {report.failed:,} failed"
    )


def keep_watching(here: Local, folder: str, style: str) -> int:
    """Pass after pass, each as something changes, until Ctrl-C; the last counts are said again."""
    last: SyncReport | None = None
    try:
        for changed in occasions(folder, but=here.store.home):
            report, heard = a_pass(here, folder, style)
            if changed or heard or report.stopped:
                last = report
                show(report, heard, style)
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        if last:
            show(last, [], style)
    return 0


def occasions(folder: str, *, but: str) -> Iterator[bool]:
    """When to look: at once and whenever something changes (True), and for a while after that, for a file may have been half-written."""
    from watchfiles import watch

    root, own = os.path.abspath(folder), os.path.join(os.path.abspath(but), "")
    polling: bool | None = None  # as WATCHFILES_FORCE_POLLING says
    while True:
        yield True
        left = AGAIN
        try:
            for changes in watch(root, watch_filter=lambda _, path: not path.startswith(own), step=PAUSE, rust_timeout=TICK,
                                 yield_on_timeout=True, force_polling=polling):  # fmt: skip
                if not os.path.isdir(root):
                    break
                left = AGAIN if changes else left - 1
                if left >= 0:
                    yield bool(changes)
        except (OSError, RuntimeError) as exc:  # it went just now, or the system has no more to watch with
            if os.path.isdir(root):
                click.echo(f"Note: {quoted(folder)} cannot be watched, so it is looked at again and again: {printable(str(exc))}", err=True)
                polling = True
                time.sleep(TICK / 1_000)
        wait_for(root, folder)


def wait_for(root: str, folder: str) -> None:
    """Return once the folder is there: somebody may have unplugged its disk."""
    if not os.path.isdir(root):
        click.echo(f"Note: {quoted(folder)} is not there; waiting for it.", err=True)
    while not os.path.isdir(root):
        time.sleep(TICK / 1_000)
