"""`embconv worker`: test renders that others ask for, done beside the server."""

from __future__ import annotations

import os
from functools import partial

import click

from .app import app
from .registries import ending


@app.command(name="worker", short_help="Do the test renders that wait in the registry.")
@click.option("--once", is_flag=True, help="End when nothing waits any more.")
@click.option("--device", metavar="NAME", help="cuda, cuda:1, mps or cpu. [the first of them that there is]")
@click.option("--compile", "compiled", is_flag=True, help="Compile the model: minutes at the start, faster from then on.")
@click.option("--home", type=click.Path(), metavar="DIR", help="The folder of the registry. [EMBCONV_HOME]")
@click.option("--no-restart", "alone", is_flag=True, help="Work in this very process, and end with exit code 75 where the device fails.")
def command(once: bool, device: str | None, compiled: bool, home: str | None, alone: bool) -> None:
    """Do the test renders that wait in the registry, until SIGTERM or Ctrl-C; what was not finished is given back.

    They are asked for over HTTP (POST /v1/embeddings/REF/validations) of `embconv serve`, which may run meanwhile. Several
    workers share the work; give each a GPU of its own (--device cuda:1). Where the device fails, a new process goes on.
    """
    with ending(json=False):
        from embconv.registry.settings import settings

        made = settings(home=home)
        if alone:
            from embconv.registry.validation.tools import Torch
            from embconv.registry.validation.worker import SUPERVISOR, run

            child = os.environ.get(SUPERVISOR) == str(os.getppid())
            raise SystemExit(run(made.home, partial(Torch, device, compiled=compiled), once=once, child=child))
        from embconv.registry.validation.supervise import supervise

        options = [*(("--once",) if once else ()), *(("--device", device) if device else ()), *(("--compile",) if compiled else ())]
        raise SystemExit(supervise(made.home, options))
