"""A sheet as a picture: what was judged, the cells in rows and columns under their labels, the effect curve, what made them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

from embconv.converters.display import printable

from ..verdicts import Cell, Picture, Verdict
from .ink import GREY, INK, PAPER, STATES, font, lettered
from .plot import Curve, draw

if TYPE_CHECKING:
    import numpy as np
    from PIL.ImageDraw import ImageDraw as Pen

MARGIN, GAP, BETWEEN, BESIDE = 36, 6, 34, 60
SMALL, LARGE = 192, 320   # pixels of a cell: smaller ones are enlarged by whole numbers, larger ones made smaller
NARROW, WIDE = 900, 1_800  # of a sheet at least, and of grids beside each other at most, unless one alone is wider
CURVE = 430
TITLES = {"strength": "Strength", "samplers": "Samplers", "prompts": "Prompts"}
SIDES = {"positive": "Test, in the prompt", "negative": "Test, in the negative prompt"}
TESTS = {"baseline": "without", "null": "nothing in its place", "test": "with"}
MAP = "attention"  # where the UNet looks at it, in a picture of its own


class Heading(NamedTuple):
    """What stands over a sheet and under it: the name, a line of facts, and the lines of what made the pictures."""

    name: str
    facts: str
    footer: tuple[str, ...]


class Part(NamedTuple):
    """One grid: `cells` in rows, None where there is no picture; `notes` are lines under its title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Image.Image | None, ...], ...]
    notes: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()


def sheet(verdict: Verdict, pictures: Sequence[Picture], heading: Heading) -> Image.Image:
    """All of it as one picture."""
    drawn = rows([grid(part, mark=verdict.suggested_weight) for part in parts_of(pictures)])
    width = max([NARROW, *(image.width for image in drawn)])
    blocks = [header(verdict, heading, width), *drawn, footer(heading.footer, width)]
    height = 2 * MARGIN + sum(block.height for block in blocks) + BETWEEN * (len(blocks) - 1)
    made = Image.new("RGB", (width + 2 * MARGIN, height), PAPER)
    y = MARGIN
    for block in blocks:
        made.paste(block, (MARGIN, y))
        y += block.height + BETWEEN
    return made


def rows(grids: Sequence[Image.Image]) -> list[Image.Image]:
    """The grids in their order, beside each other where they fit."""
    most = max([WIDE, *(image.width for image in grids)])
    made: list[Image.Image] = []
    for image in grids:
        if made and made[-1].width + BESIDE + image.width <= most:
            made[-1] = beside(made[-1], image, made[-1].width + BESIDE, 0)
        else:
            made.append(image)
    return made


def parts_of(pictures: Sequence[Picture]) -> Iterator[Part]:
    """The verdict's own pictures of each side, then each sheet."""
    tests = [part(SIDES[side], shown, by_seed) for side, shown in sides(pictures).items()]
    lines = max((len(each.notes) for each in tests), default=0)
    yield from (each._replace(notes=each.notes + ("",) * (lines - len(each.notes))) for each in tests)  # they stand beside each other
    for kind, title in TITLES.items():
        chosen = [one for one in pictures if one.cell.kind == kind]
        if chosen:
            yield part(title, chosen, ROWS[kind])


def sides(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """The verdict's own pictures by where the embedding stands: each side has every kind once at a seed, one side after the other."""
    found: list[list[Picture]] = []
    for one in pictures:
        if one.cell.kind in TESTS:
            if not found or any((one.cell.kind, one.cell.seed) == (other.cell.kind, other.cell.seed) for other in found[-1]):
                found.append([])
            found[-1].append(one)
    for one in pictures:
        if one.cell.kind == MAP:
            next((group for group in found if asked(one.cell) in {asked(other.cell) for other in group}), []).append(one)
    return {side_of(group): group for group in found}


def asked(cell: Cell) -> tuple[str, str]:
    """Both prompts."""
    return cell.prompt, cell.negative_prompt


def side_of(pictures: Sequence[Picture]) -> str:
    """The prompt that is another with the embedding."""
    negative = {one.cell.kind: one.cell.negative_prompt for one in pictures}
    return "negative" if negative.get("test", "") != negative.get("baseline", "") else "positive"


def part(title: str, pictures: Sequence[Picture], row_of: Callable[[Cell], str]) -> Part:
    """Pictures by their row and their column, in the order in which they come."""
    first = row_of(pictures[0].cell)
    placed = {(first if one.cell.kind == MAP else row_of(one.cell), column_of(one.cell)): one for one in pictures}
    rows, columns = (tuple(dict.fromkeys(key[side] for key in placed)) for side in (0, 1))
    opened = {key: opened_webp(one.webp) for key, one in placed.items()}
    cells = tuple(tuple(opened.get((row, column)) for column in columns) for row in rows)
    curves = tuple(curves_of(pictures)) if title == TITLES["strength"] else ()
    return Part(title, columns, rows, cells, tuple(notes(pictures)), curves)


def column_of(cell: Cell) -> str:
    """What stands over a cell."""
    return TESTS.get(cell.kind) or cell.label


def by_seed(cell: Cell) -> str:
    """The row of its seed."""
    return f"seed {cell.seed}"


def by_embedding(cell: Cell) -> str:
    """The row without the embedding, or that with it."""
    return "without" if cell.weight is None else "with"


ROWS: dict[str, Callable[[Cell], str]] = {"strength": by_seed, "samplers": by_embedding, "prompts": by_embedding}


def notes(pictures: Sequence[Picture]) -> Iterator[str]:
    """The prompts of the pictures with the embedding, each once, and their negative prompts."""
    shown = [one.cell for one in pictures if one.cell.weight is not None]
    usual = [cell for cell in shown if cell.weight == 1.0] or shown[:1]
    several = len({cell.prompt for cell in usual}) > 1
    yield from dict.fromkeys(f"{cell.label}: {cell.prompt}" if several else cell.prompt for cell in usual)
    yield from dict.fromkeys(f"Negative prompt: {cell.negative_prompt}" for cell in usual if cell.negative_prompt)


def opened_webp(webp: bytes) -> Image.Image:
    """A picture in memory."""
    with Image.open(io.BytesIO(webp)) as image:
        return image.convert("RGB")


def curves_of(pictures: Sequence[Picture]) -> Iterator[Curve]:
    """How far each picture of a seed is from that without the embedding."""
    for seed in dict.fromkeys(one.cell.seed for one in pictures):
        mine = {one.cell.weight: pixels(one.webp) for one in pictures if one.cell.seed == seed}
        off = mine.pop(None, None)
        if off is not None and mine:
            far = {weight: float(abs(mine[weight] - off).mean()) for weight in sorted(weight for weight in mine if weight is not None)}
            yield Curve(f"seed {seed}", ((0.0, 0.0), *far.items()))


def pixels(webp: bytes) -> np.ndarray:
    """Its pixels from 0 to 1."""
    import numpy as np

    return np.asarray(opened_webp(webp), dtype=np.float32) / 255


def fitted(image: Image.Image) -> Image.Image:
    """A cell at the size at which it is shown."""
    longest = max(image.size)
    if longest < SMALL:
        times = -(-SMALL // longest)
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    if longest > LARGE:
        return image.resize(tuple(round(side * LARGE / longest) for side in image.size), Image.Resampling.LANCZOS)  # type: ignore[arg-type]  # two of them
    return image


def grid(part: Part, *, mark: float | None = None) -> Image.Image:
    """A grid under its title; columns have their label centred above, rows theirs at the left."""
    cells = [[fitted(cell) if cell else None for cell in row] for row in part.cells]
    wide, high = (max(cell.size[side] for row in cells for cell in row if cell) for side in (0, 1))
    left = max(length(label, 16) for label in part.rows) + 14
    lines = [line for note in part.notes for line in wrapped(note, 14, max(NARROW, left + len(part.columns) * (wide + GAP))) or [""]]
    labels = [wrapped(label, 16, wide) for label in part.columns]
    top = 34 + 20 * len(lines) + (8 if lines else 0) + 20 * max(map(len, labels)) + 6
    width, height = left + len(part.columns) * (wide + GAP) - GAP, top + len(part.rows) * (high + GAP) - GAP
    room = max(width, *(length(line, 14) for line in lines), 0) if lines else width
    made = Image.new("RGB", (room, height), PAPER)
    pen = ImageDraw.Draw(made)
    write(pen, (0, 0), part.title, 22)
    for place, line in enumerate(lines):
        write(pen, (0, 34 + 20 * place), line, 14, GREY)
    for column, label in enumerate(labels):
        for place, text in enumerate(reversed(label)):
            write(pen, (left + column * (wide + GAP) + wide / 2, top - 8 - 20 * place), text, 16, anchor="ms")
    for row, name in enumerate(part.rows):
        write(pen, (left - 14, top + row * (high + GAP) + high / 2), name, 16, anchor="rm")
        for column, cell in enumerate(cells[row]):
            if cell:
                made.paste(cell, (left + column * (wide + GAP), top + row * (high + GAP)))
    return beside(made, draw(part.curves, CURVE, min(height - top, 400), mark=mark), width + 40, top) if part.curves else made


def beside(image: Image.Image, other: Image.Image, x: int, y: int) -> Image.Image:
    """A picture with another at its right."""
    made = Image.new("RGB", (max(image.width, x + other.width), max(image.height, y + other.height)), PAPER)
    made.paste(image, (0, 0))
    made.paste(other, (x, y))
    return made


def header(verdict: Verdict, heading: Heading, width: int) -> Image.Image:
    """The name, the verdict in its colour, why, and the facts."""
    state = verdict.state.replace("_", " ")
    says = [(line, INK) for line in wrapped(verdict.because, 18, width)] + [(line, GREY) for line in wrapped(heading.facts, 16, width)]
    made = Image.new("RGB", (width, 56 + 26 * len(says)), PAPER)
    pen = ImageDraw.Draw(made)
    badge = length(state, 20) + 24
    pen.rounded_rectangle((0, 2, badge, 38), radius=6, fill=STATES.get(verdict.state, GREY))
    pen.text((12, 20), state, fill=PAPER, font=font(20), anchor="lm")
    write(pen, (badge + 16, 20), cut(heading.name, 30, width - badge - 16), 30, anchor="lm")
    for place, (line, colour) in enumerate(says):
        write(pen, (0, 56 + 26 * place), line, 18 if colour == INK else 16, colour)
    return made


def footer(lines: Sequence[str], width: int) -> Image.Image:
    """What made the pictures, in small letters."""
    shown = [line for text in lines for line in wrapped(text, 14, width)]
    made = Image.new("RGB", (width, 20 * len(shown) or 1), PAPER)
    pen = ImageDraw.Draw(made)
    for place, line in enumerate(shown):
        write(pen, (0, 20 * place), line, 14, GREY)
    return made


def write(pen: Pen, place: tuple[float, float], text: str, size: int, fill: str = INK, anchor: str = "la") -> None:
    """Text in a font that has its letters."""
    letters, shown = lettered(printable(text, 400), size)
    pen.text(place, shown, fill=fill, font=letters, anchor=anchor)


def length(text: str, size: int) -> int:
    """How many pixels it takes."""
    letters, shown = lettered(printable(text, 400), size)
    return -int(-letters.getlength(shown) // 1)


def cut(text: str, size: int, width: int) -> str:
    """As much of a text as fits."""
    while length(text, size) > width and len(text) > 4:
        text = text[:-4] + "..."
    return text


def wrapped(text: str, size: int, width: int) -> list[str]:
    """A text in lines that fit; a word that is longer than a line is broken."""
    lines, line = [], ""
    for word in text.split():
        while line and length(f"{line} {word}", size) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
        while length(line, size) > width:
            fits = next(count for count in range(len(line) - 1, 0, -1) if count == 1 or length(line[:count], size) <= width)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines
