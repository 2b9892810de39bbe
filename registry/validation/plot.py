"""The effect curve: how much the picture changes with the weight, a line for each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

from .ink import GREY, INK, LIGHT, LINES, PAPER, font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen

FINE = 3  # drawn so many times larger, for Pillow's lines have no soft edges
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 50, 58
STEPS = (1, 2, 2.5, 5, 10)  # between the lines of a scale


class Curve(NamedTuple):
    """One seed: weight and effect, the weights rising; weight 0 is without the embedding."""

    label: str
    points: tuple[tuple[float, float], ...]


class Frame(NamedTuple):
    """Where numbers lie: the picture's size, the largest weight and the largest effect."""

    width: int
    height: int
    weight: float
    effect: float

    def at(self, weight: float, effect: float) -> tuple[float, float]:
        """The place of a point, in fine pixels."""
        across, down = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return (LEFT + across * weight / self.weight) * FINE, (self.height - BOTTOM - down * effect / self.effect) * FINE


def draw(curves: Sequence[Curve], width: int, height: int, *, mark: float | None = None, floor: float = 0.0) -> Image.Image:
    """The curves; `mark` is the suggested weight, below `floor` a change counts as none."""
    most = max([effect for curve in curves for _, effect in curve.points if math.isfinite(effect)] + [floor, 1e-6])
    step = scale(most)
    frame = Frame(width, height, max(weight for curve in curves for weight, _ in curve.points) or 1.0, step * math.ceil(most / step - 1e-9))
    image = Image.new("RGB", (width * FINE, height * FINE), PAPER)
    pen = ImageDraw.Draw(image)
    axes(pen, frame, step, sorted({weight for curve in curves for weight, _ in curve.points}))
    if floor:
        dashed(pen, frame.at(0, floor), frame.at(frame.weight, floor))
    if mark is not None:
        dashed(pen, frame.at(mark, 0), frame.at(mark, frame.effect))
    for curve, colour in zip(curves, LINES * len(curves), strict=False):
        places = [frame.at(weight, effect) for weight, effect in curve.points if math.isfinite(effect)]
        pen.line(places, fill=colour, width=2 * FINE, joint="curve")
        for x, y in places:
            pen.ellipse((x - 4 * FINE, y - 4 * FINE, x + 4 * FINE, y + 4 * FINE), fill=colour)
    legend(pen, curves, mark)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def scale(most: float) -> float:
    """The distance of the lines of a scale, of which about four fit."""
    rough = most / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step for step in STEPS if step * power >= rough) * power


def axes(pen: Pen, frame: Frame, step: float, weights: Sequence[float]) -> None:
    """The scales: percent of change, and the weights that were drawn."""
    small = font(13 * FINE)
    for count in range(round(frame.effect / step) + 1):
        x, y = frame.at(0, count * step)
        pen.line((x, y, frame.at(frame.weight, 0)[0], y), fill=LIGHT if count else GREY, width=FINE)
        pen.text((x - 8 * FINE, y), f"{count * step * 100:g} %", fill=GREY, font=small, anchor="rm")
    for weight in weights:
        x, y = frame.at(weight, 0)
        pen.line((x, y, x, y + 4 * FINE), fill=GREY, width=FINE)
        pen.text((x, y + 8 * FINE), f"{weight:g}" if weight else "off", fill=GREY, font=small, anchor="mt")
    pen.text(((LEFT + frame.width - RIGHT) / 2 * FINE, (frame.height - 10) * FINE), "weight", fill=INK, font=small, anchor="mb")


def legend(pen: Pen, curves: Sequence[Curve], mark: float | None) -> None:
    """What it is, and which line is which."""
    pen.text((4 * FINE, 4 * FINE), "mean change of a pixel against off", fill=INK, font=font(14 * FINE), anchor="lt")
    small = font(13 * FINE)
    x = LEFT * FINE
    for curve, colour in zip(curves, LINES * len(curves), strict=False):
        pen.line((x, 34 * FINE, x + 16 * FINE, 34 * FINE), fill=colour, width=3 * FINE)
        pen.text((x + 21 * FINE, 34 * FINE), curve.label, fill=INK, font=small, anchor="lm")
        x += 36 * FINE + round(pen.textlength(curve.label, font=small))
    if mark is not None:
        dashed(pen, (x, 34 * FINE), (x + 20 * FINE, 34 * FINE))
        pen.text((x + 25 * FINE, 34 * FINE), f"suggested {mark:g}", fill=INK, font=small, anchor="lm")


def dashed(pen: Pen, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A line of dashes."""
    (x, y), (to_x, to_y) = start, end
    length = math.hypot(to_x - x, to_y - y) or 1.0
    dash = 5 * FINE
    for place in range(0, math.floor(length), 2 * dash):
        from_, to = place / length, min(1.0, (place + dash) / length)
        pen.line((x + (to_x - x) * from_, y + (to_y - y) * from_, x + (to_x - x) * to, y + (to_y - y) * to), fill=GREY, width=FINE)
