"""`embconv serve`: the registry over HTTP."""

from __future__ import annotations

from typing import Any

import click

from .app import app
from .registries import ending


@app.command(name="serve", short_help="Serve the registry over HTTP.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")
@click.option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere, and needs a key. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 takes a free one. [8765]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that answer. [1]")
@click.option("--private", is_flag=True, default=None, help="Reading needs a key too.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME",
              help="A name beside localhost by which it may be called; may be given several times.")  # fmt: skip
@click.option("--max-upload", metavar="SIZE", help="The largest file that is taken. [64MiB]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is written to stderr. [info]")
def command(allowed_hosts: tuple[str, ...], max_upload: str | None, **given: Any) -> None:
    """Serve the registry until Ctrl-C; the first lines say where it answers and where its data lies.

    On 127.0.0.1 whoever uses this machine may read and write. Elsewhere writing needs a key: embconv keys create. Each
    option can be a variable too: EMBCONV_PORT, EMBCONV_ALLOWED_HOSTS, EMBCONV_MAX_UPLOAD ...
    """
    with ending(json=False):
        from embconv.registry.settings import settings, size_of

        size = size_of("max-upload", max_upload) if max_upload else None
        chosen = settings(allowed_hosts=allowed_hosts or None, max_upload=size, **given)
        from embconv.registry.serve import run

        raise SystemExit(run(chosen))
