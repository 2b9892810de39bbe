"""Rows for people: a table on a terminal, aligned text in a pipe."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence

import click

from embconv.converters.display import printable

Row = Sequence[str]
CELL = 60  # characters of one cell


def say_table(head: Row, rows: Sequence[Row]) -> None:
    """Rows under a head; nothing where there are none."""
    shown = [[printable(cell, CELL) for cell in row] for row in rows]
    if not shown:
        return
    if sys.stdout.isatty():
        on_terminal(head, shown)
    else:
        click.echo("\n".join(aligned(shown)))


def on_terminal(head: Row, rows: Sequence[Row]) -> None:
    """A table as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold", no_wrap=name == head[-1])
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Columns with two spaces between them; a wide character takes two places, as terminals have it."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)).rstrip()


def width(text: str) -> int:
    """How many places a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
