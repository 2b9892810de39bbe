"""The options that say which Civitai is asked, and with whose token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from embconv.registry.civitai.site import Site

F = TypeVar("F", bound=Callable[..., Any])


def at_civitai(command: F) -> F:
    """The options that say which Civitai."""
    for option in reversed(
        (
            click.option("--api", metavar="URL", help="Another Civitai, or a mirror: its address without a path. [EMBCONV_CIVITAI_URL]"),
            click.option("--token-file", type=click.Path(), metavar="PATH",
                         help="A file with your token that nobody else can read. [EMBCONV_CIVITAI_TOKEN: the token]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def civitai(api: str | None, *, home: str, token_file: str | None) -> Site:
    """The Civitai that is meant; BadParameter, BadToken or AddressRefused."""
    from embconv.registry.civitai.site import site

    return site(api, home=home, token_file=token_file)
