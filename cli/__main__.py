"""`python -m embconv.cli` is `embconv`."""

from .main import cli

cli()
