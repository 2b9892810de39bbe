"""The commands and what they share: one group, `convert` by default, one way to print reports."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click_default_group import DefaultGroup

from embconv.converters.encoders import BASES
from embconv.converters.errors import EmbconvError
from embconv.converters.targets import TARGETS, Target, UnknownTarget, target

from .main import COMMANDS, meant

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    Param = click.ParamType[Any]  # generic in newer click only
else:
    Param = click.ParamType


def _version() -> str:
    from importlib.metadata import version

    return version("embconv")


class Commands(DefaultGroup):  # type: ignore[misc]  # it ships no types
    """The commands, each in the module of its name: `convert` where the first word names none and was not mistyped for one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        """The names of all."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        """One of them; its module registers it when it is imported, and the others are not."""
        import_module(f".{cmd_name if cmd_name in COMMANDS else 'convert'}", __package__)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command of the first word."""
        if near := meant(args[0]):
            raise click.UsageError(f"There is no command and no file {args[0]!r}. Did you mean {near}?", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *given: Any, **named: Any) -> Any:
        """Read the arguments."""
        with ending_well():
            return super().make_context(*given, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with ending_well():
            return super().invoke(ctx)


@contextlib.contextmanager
def ending_well() -> Iterator[None]:
    """Ctrl-C ends without click's own words, and what stops a whole command with its sentence."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        raise SystemExit(130) from None
    except EmbconvError as exc:
        from .say import say_error  # seldom

        say_error(exc)
        raise SystemExit(2) from None


GROUP: type[click.Group] = Commands  # so that `app` is one for the type checker too


@click.group(cls=GROUP, default="convert", default_if_no_args=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="embconv", prog_name="embconv")
def app() -> None:
    """Convert, check, inspect and keep textual-inversion embeddings; nothing in a file is ever executed.

    \b
    embconv in.pt out.safetensors          convert one file (the default command)
    embconv FOLDER --to safetensors -r     convert a folder, beside each file
    embconv inspect FILE                   say everything about a file
    embconv add FOLDER -r                  remember a folder in the registry
    embconv search WORDS                   find something in it
    embconv serve                          give it to other programs over HTTP

    Exit codes: 0 fine, 1 something was refused or failed, 2 could not run, 130 stopped by Ctrl-C.
    """  # noqa: D301  # click's mark for lines that stay as they are is the character itself


def reports(command: F) -> F:
    """The options that choose how a report is printed."""
    command = click.option("--json", "as_document", is_flag=True, help="One JSON document.")(command)
    return click.option("--nl", "as_lines", is_flag=True, help="One JSON document on each line.")(command)


def print_json(reports: Sequence[Any], *, lines: bool) -> None:
    """Several reports as lines, or as one document: an object for one, an array for more."""
    if lines:
        click.echo(json_lines(reports), nl=False)
    else:
        click.echo(as_json(reports[0] if len(reports) == 1 else reports, indent=2))


def json_lines(reports: Sequence[Any]) -> str:
    """One JSON document on each line, as `as_json` makes them; all at once where every character is plain."""
    from msgspec.json import Encoder

    with contextlib.suppress(UnicodeEncodeError):
        plain = Encoder().encode_lines(reports)
        if plain.isascii() and b"\x7f" not in plain:
            return plain.decode()
    return "".join(f"{as_json(report)}\n" for report in reports)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in which every character that is not printable is an escape, also half of one from a name that is no UTF-8."""
    from msgspec.json import encode

    with contextlib.suppress(UnicodeEncodeError):
        plain = encode(value)
        if indent is None and plain.isascii() and b"\x7f" not in plain:
            return plain.decode()
    import json

    from msgspec import to_builtins

    text = json.dumps(to_builtins(value), ensure_ascii=False, indent=indent)
    return text if text.isascii() else "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def one_way(*flags: bool) -> None:
    """Two ways of printing at once are a usage error."""
    if sum(flags) > 1:
        raise click.UsageError("Choose one of --json, --nl and -q.")


def must_name(name: str | None) -> None:
    """A trigger without a character is a usage error."""
    if name is not None and not name.strip():
        raise click.UsageError("--name is empty; give the new trigger, or leave it out.")


class TargetName(Param):
    """A program of the table."""

    name = "program"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """The program, or a usage error with the nearest names."""
        if isinstance(value, Target):
            return value
        try:
            return target(value)
        except UnknownTarget as exc:
            self.fail(f"{exc.says} {exc.hint}", param, ctx)


class Wanted(Param):
    """A base or a program."""

    name = "base|program"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Target:
        """The base's key or the program."""
        if value in BASES or isinstance(value, Target):
            return value  # type: ignore[no-any-return]  # a str here
        try:
            return target(value)
        except UnknownTarget as exc:
            self.fail(f"{exc.says} {exc.hint} Bases: {', '.join(BASES)}.", param, ctx)


BASE = click.Choice(list(BASES), case_sensitive=False)
PROGRAMS = ", ".join(program.name for program in TARGETS)
FILE = click.Path()


def expand(paths: Iterable[str]) -> list[str]:
    """Files as they are; folders as the candidate files in them and below."""
    from embconv.converters.folders import is_candidate, walk

    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found, _, trouble = walk(path, recursive=True)
            files += [found_path for found_path in found if is_candidate(found_path)]
            for outcome in trouble:
                click.echo(f"Note: {outcome.error.says if outcome.error else ''}", err=True)
        else:
            files.append(path)
    return files


def progress(total: int, what: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """A bar on a terminal's stderr: how to advance it and how to end it. Elsewhere nothing."""
    if not sys.stderr.isatty() or total < 2:
        return (lambda: None), (lambda: None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    bar.start()
    return (lambda: bar.advance(task)), bar.stop
