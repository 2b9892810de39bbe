"""Which registry a command works with, and how its errors end it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embconv.converters.convert import Failure
from embconv.converters.errors import EmbconvError

from .app import as_json
from .say import say_error

if TYPE_CHECKING:
    from embconv.registry.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
# Codes of errors for which the command never began to do what it is for; wrong options are usage errors.
COULD_NOT_RUN = frozenset({
    "no_store", "unreachable", "remote_error", "key_needed", "forbidden", "host_not_allowed",
    "civitai_unreachable", "civitai_busy", "civitai_unclear", "region_blocked", "bad_token", "address_refused", "sync_runs",
    "missing_extra", "bad_checkpoint", "pickle_checkpoint", "unsound_checkpoint", "unknown_checkpoint", "no_checkpoint", "no_device",
    "device_full", "device_failed",
})  # fmt: skip
USAGE = frozenset({"unknown_parameter", "bad_parameter"})
KEY_BYTES = 4096
LOOPBACK = re.compile(r"https?://(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)", re.IGNORECASE)


def at_registry(command: F) -> F:
    """The options that say which registry."""
    for option in reversed(
        (
            click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]"),
            click.option("--registry", metavar="URL", help="A registry on a server. [EMBCONV_REGISTRY]"),
            click.option("--key-file", type=click.Path(), metavar="PATH", help="A file with the server's key. [EMBCONV_KEY: the key]"),
        )
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def opened(home: str | None, registry: str | None, key_file: str | None, *, create: bool = False, json: bool = False) -> Iterator[Registry]:
    """The registry that is meant. What stops the work inside ends the command, in words or as JSON."""
    if home and registry:
        raise click.UsageError("Choose one of --home and --registry.")
    url = registry or (None if home else os.environ.get("EMBCONV_REGISTRY"))
    if key_file and not url:
        raise click.UsageError("--key-file is for a --registry.")
    with ending(json=json), contextlib.closing(remote(url, key_file) if url else local(home, create)) as found:
        yield found


def local(home: str | None, create: bool) -> Registry:
    """The one in a folder."""
    from embconv.registry.local import Local
    from embconv.registry.settings import settings

    return Local(settings(home=home), create=create)


def remote(url: str, key_file: str | None) -> Registry:
    """The one on a server, with the key of the file or of the environment."""
    from embconv.registry.remote import Remote

    key = key_in(key_file) if key_file else os.environ.get("EMBCONV_KEY", "").strip() or None
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        where = "The key file" if key_file else "EMBCONV_KEY"
        raise click.UsageError(f"{where} holds no key: one line without spaces is expected.")
    if key and url.lower().startswith("http:") and not LOOPBACK.match(url):
        click.echo("Note: the key goes over http, which anyone on the way can read; use https where you can.", err=True)
    return Remote(url, key)


def key_in(path: str) -> str:
    """The key that a file holds."""
    try:
        with open(path, "rb") as file:
            return file.read(KEY_BYTES).decode("ascii", "replace").strip()
    except OSError as exc:
        raise click.UsageError(f"The key file {path!r} cannot be read: {exc.strerror or exc}.") from exc


@contextlib.contextmanager
def ending(*, json: bool) -> Iterator[None]:
    """An error of ours ends the command: usage errors as click has them, others with their code and what to do."""
    try:
        yield
    except EmbconvError as exc:
        if exc.code in USAGE:
            raise click.UsageError(f"{exc.says} {exc.hint}".strip()) from exc
        if json:
            click.echo(as_json({"error": Failure(exc.code, exc.says, exc.hint)}, indent=2))
        else:
            say_error(exc)
        raise SystemExit(2 if exc.code in COULD_NOT_RUN else 1) from exc


def refs_of(given: list[str]) -> list[str]:
    """References as they are, each once; `-` stands for those on stdin, one a line."""
    found: list[str] = []
    for ref in given:
        found += [line.strip() for line in sys.stdin if line.strip()] if ref == "-" else [ref]
    return list(dict.fromkeys(found))
