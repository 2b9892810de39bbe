"""`embconv keys`: who may use a served registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .app import app, as_json, one_way, print_json, reports
from .registries import at_registry, opened
from .tables import say_table

if TYPE_CHECKING:
    from embconv.registry.model import Key

HEAD = ("name", "role", "created", "expires", "state")


@app.group(name="keys", short_help="Make, list and revoke the keys of a served registry.")
def command() -> None:
    """Make, list and revoke keys: what a served registry wants for writing, and where it is private for reading.

    Each has a role: read, write (which may read too) or admin (which may do everything).
    """


@command.command(name="create", short_help="Make a key and show it once.")
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(["read", "write", "admin"]), required=True, help="What it may do.")
@click.option("--expires", metavar="TIME", help="When it ends: a span such as 90d, 12h, or a day such as 2030-12-31.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the key and nothing else.")
@reports
def create(
    name: str, role: str, expires: str | None, home: str | None, registry: str | None, key_file: str | None,
    quiet: bool, as_document: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Make a key called NAME. It is on the last line and is shown only now: the registry keeps a hash of it."""
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, create=True, json=as_document or as_lines) as found:
        key, secret = found.create_key(name, role, expires)
    if as_document or as_lines:
        print_json([{"key": key, "secret": secret}], lines=as_lines)
        return
    if not quiet:
        ends = f"until {key.expires}" if key.expires else "without an end"
        click.echo(f"A key for {key.name} with the role {key.role}, {ends}.", err=True)
        click.echo("It is shown only now. Use it as EMBCONV_KEY, or as Authorization: Bearer KEY.", err=True)
    click.echo(secret)


@command.command(name="list", short_help="List all keys, without their secrets.")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the names of those that may be used and nothing else.")
@reports
def listing(home: str | None, registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """List all keys, revoked and expired ones too, without their secrets."""
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        keys = found.keys()
    if as_lines:
        print_json(list(keys), lines=True)
    elif as_document:
        click.echo(as_json({"keys": keys}, indent=2))
    elif quiet:
        click.echo("".join(f"{key.name}\n" for key in keys if state(key) == "good"), nl=False)
    else:
        say_table(HEAD, [(key.name, key.role, key.created, key.expires or "never", state(key)) for key in keys])
        if not keys:
            click.echo("There is no key. Make one: embconv keys create NAME --role write", err=True)


@command.command(name="revoke", short_help="End a key.")
@click.argument("name", metavar="NAME")
@at_registry
@click.option("-q", "--quiet", is_flag=True, help="Print the name and nothing else.")
@reports
def revoke(name: str, home: str | None, registry: str | None, key_file: str | None, quiet: bool, as_document: bool, as_lines: bool) -> None:
    """End the key called NAME: it opens nothing any more."""
    one_way(as_document, as_lines, quiet)
    with opened(home, registry, key_file, json=as_document or as_lines) as found:
        found.revoke_key(name)
    if as_document or as_lines:
        print_json([{"name": name, "status": "revoked"}], lines=as_lines)
    else:
        click.echo(name if quiet else f"revoked: {name}")


def state(key: Key) -> str:
    """good, expired or revoked."""
    from embconv.registry.times import now

    if key.revoked:
        return "revoked"
    return "expired" if key.expires and key.expires <= now() else "good"
