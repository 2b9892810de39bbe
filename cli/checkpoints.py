"""`embconv checkpoints`: the models that test renders are made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embconv.converters.display import printable
from embconv.registry.verdicts import PROFILES

from .app import FILE, app, as_json, one_way, print_json, reports
from .checkpoints_with import PREDICTS, SLOW, bar, calibrated, described, must_be_name, registry, remembered, row, said, tried
from .registries import ending
from .tables import say_table
from .validate_options import Named

if TYPE_CHECKING:
    from embconv.registry.validation.selftest import Report
    from embconv.registry.verdicts import Checkpoint

F = TypeVar("F", bound=Callable[..., Any])
HEAD = ("name", "base", "size", "predicts", "default", "state", "path")
SURE = ("sound", "not sound")


def at_home(command: F) -> F:
    """The option that says which registry; a checkpoint lies on this machine, so its registry does too."""
    return click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")(command)


def builds(command: F) -> F:
    """What a person knows of a file that it does not say itself."""
    for option in (
        click.option("--config", type=FILE, metavar="DIR",
                     help="The folder of a diffusers pipeline, weights not needed, for a file that is not built as the published models."),
        click.option("--variant", type=Named("variant", PREDICTS), metavar="base|v",
                     help="Does it predict noise (base) or v? Else its file, its name or the .yaml beside it say so."),
    ):  # fmt: skip
        command = option(command)
    return command


@app.group(name="checkpoints", short_help="Add, list, test and calibrate the models to render with.")
def command() -> None:
    """Add, list, test, calibrate and remove checkpoints: the models with which embeddings are rendered and judged.

    A checkpoint is the folder of a diffusers pipeline or one .safetensors file of a whole model, of SD 1.x, SD 2.x or SDXL.
    It stays where it is; the registry remembers its path and its sha256. Of each base, the first that was added is the default.
    """


@command.command(name="add", short_help="Remember a checkpoint.")
@click.argument("path", type=FILE, metavar="PATH")
@click.option("--name", metavar="NAME", help="What it is called here. [its file or folder]")
@builds
@click.option("--force", is_flag=True, help="Replace the checkpoint of that name.")
@at_home
@click.option("-q", "--quiet", is_flag=True, help="Print the name and nothing else.")
@reports
def add(
    path: str, name: str | None, variant: str | None, config: str | None, force: bool, home: str | None, quiet: bool,
    as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Remember the checkpoint at PATH. Its weights are hashed, not loaded; `embconv checkpoints check NAME` tries whether it draws."""
    one_way(as_document, as_lines, quiet)
    must_be_name(name)
    with ending(json=as_document or as_lines):
        from embconv.registry.validation.checkpoints import recognise

        with bar("hashing", SLOW) as heard:
            found = recognise(path, name, variant=variant, config=config, heard=heard)
        with registry(home, create=True) as store:
            found = remembered(store, found, force=force)
    if as_document or as_lines:
        print_json([found], lines=as_lines)
        return
    if not quiet:
        click.echo(f"{printable(found.name)}: {said(found)}, fingerprint {found.fingerprint[:10]}")
        click.echo(f"Try whether it draws: embconv checkpoints check {found.name}", err=True)
    click.echo(found.name)


@command.command(name="list", short_help="List all checkpoints.")
@at_home
@click.option("-q", "--quiet", is_flag=True, help="Print the names and nothing else.")
@reports
def listing(home: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """List all checkpoints. The default of a base is the one that judges where no other is named."""
    one_way(as_document, as_lines, quiet)
    with ending(json=as_document or as_lines), registry(home) as store:
        from embconv.registry.store.checkpoints import checkpoints

        found = list(described(checkpoints(store.read)))
    if as_lines:
        print_json(found, lines=True)
    elif as_document:
        click.echo(as_json({"checkpoints": found}, indent=2))
    elif quiet:
        click.echo("".join(f"{each['name']}\n" for each in found), nl=False)
    else:
        say_table(HEAD, [row(each) for each in found])
        if not found:
            click.echo("There is no checkpoint. Add one: embconv checkpoints add PATH", err=True)


@command.command(name="remove", short_help="Forget a checkpoint.")
@click.argument("name", metavar="NAME")
@at_home
@click.option("-q", "--quiet", is_flag=True, help="Print the name and nothing else.")
@reports
def remove(name: str, home: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Forget the checkpoint NAME. Its files stay where they are, and so do the verdicts that were made with it."""
    one_way(as_document, as_lines, quiet)
    with ending(json=as_document or as_lines), registry(home) as store:
        from embconv.registry.store.checkpoints import drop_checkpoint
        from embconv.registry.validations import changing

        changing(store, lambda db: drop_checkpoint(db, name))
    if as_document or as_lines:
        print_json([{"name": name, "status": "removed"}], lines=as_lines)
    else:
        click.echo(name if quiet else f"removed: {name}")


@command.command(name="check", short_help="Try whether a checkpoint draws.")
@click.argument("which", metavar="NAME|PATH")
@builds
@click.option("--device", metavar="DEVICE", help="cuda, cuda:1, mps or cpu. [the first that there is]")
@click.option("-o", "--out", type=FILE, metavar="DIR", help="Write what it draws into this folder.")
@click.option("--force", is_flag=True, help="Overwrite pictures.")
@at_home
@click.option("-q", "--quiet", is_flag=True, help="Print sound or not sound and nothing else.")
@reports
def check(which: str, quiet: bool, as_document: bool, as_lines: bool, **given: Any) -> None:
    """Load a checkpoint, which finds damaged and missing weights, and draw one prompt at two seeds without any embedding: the pictures
    must not be flat, the two not the same, and the UNet must predict what the checkpoint says. Exit code 1 if it is not sound.
    """
    one_way(as_document, as_lines, quiet)
    with ending(json=as_document or as_lines):
        found, report, written = tried(which, **given)
    if as_document or as_lines:
        told = {"checkpoint": found, "sound": report.sound, "because": report.because, "numbers": report.numbers, "pictures": written}
        print_json([told], lines=as_lines)
    elif quiet:
        click.echo(SURE[not report.sound])
    else:
        say_report(found, report, written)
    raise SystemExit(0 if report.sound else 1)


def say_report(found: Checkpoint, report: Report, written: list[str]) -> None:
    """A test in words; the last line is sound or not."""
    click.echo(f"{printable(found.name)}: {said(found)}")
    for name, value in report.numbers.items():
        click.echo(f"  {name}: {value}")
    for path in written:
        click.echo(f"  picture: {printable(path, len(path))}")
    click.echo(SURE[0] if report.sound else f"{SURE[1]}: {report.because}")


@command.command(name="calibrate", short_help="Measure what ordinary words do with a checkpoint.")
@click.argument("name", metavar="NAME")
@click.option("--profile", type=Named("profile", PROFILES), default="standard", show_default=True, metavar="PROFILE",
              help=f"For which way of judging: {', '.join(PROFILES)}.")  # fmt: skip
@click.option("--words", type=click.IntRange(16, 5_000), default=200, show_default=True, metavar="N", help="How many words.")
@click.option("--device", metavar="DEVICE", help="cuda, cuda:1, mps or cpu. [the first that there is]")
@at_home
@click.option("-q", "--quiet", is_flag=True, help="Print the name and nothing else.")
@reports
def calibrate(name: str, quiet: bool, as_document: bool, as_lines: bool, **given: Any) -> None:
    """Measure random words of the vocabulary in an embedding's place, and how much two renders of the same thing differ.

    The registry keeps both, and later verdicts with this checkpoint and profile are judged against them. Without, a few words are measured
    each time that the checkpoint is loaded.
    """
    one_way(as_document, as_lines, quiet)
    with ending(json=as_document or as_lines):
        found = calibrated(name, **given)
    if as_document or as_lines:
        print_json([found], lines=as_lines)
        return
    if not quiet:
        for number, shares in found.percentiles.items():
            click.echo(f"  {number}: " + ", ".join(f"{share} {value:g}" for share, value in shares.items()))
        click.echo(f"{found.words} words")
    click.echo(name)
