"""The options of `embconv validate`: how it is rendered, and what they make of a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embconv.registry.errors import nearest
from embconv.registry.verdicts import EMPHASES, PROFILES, SAMPLERS, SHEETS

from .validate_with import How

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    Param = click.ParamType[Any]  # generic in newer click only
else:
    Param = click.ParamType

SLOT = "{T}"
SIDE = 8        # pixels of a latent
MOST_SEEDS = 16


class Named(Param):
    """One of several words; the error for another tells the nearest."""

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.name, self.words = name, tuple(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word."""
        found = str(value).strip().lower()
        if found not in self.words:
            self.fail(f"there is no {self.name} {value!r}. {nearest(found, self.words)}", param, ctx)
        return found


class Several(Named):
    """Words with commas between them, each once; `all` is all of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of words."""
        if isinstance(value, tuple):
            return value
        given = [text for text in str(value).split(",") if text.strip()]
        if [text.strip().lower() for text in given] == ["all"]:
            return self.words
        return tuple(dict.fromkeys(super(Several, self).convert(text, param, ctx) for text in given))


class Numbers(Param):
    """Whole numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of numbers."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(dict.fromkeys(int(text) for text in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} are no whole numbers with commas between them, such as 1,2.", param, ctx)
        if len(found) > MOST_SEEDS or not all(0 <= number < 2**32 for number in found):
            self.fail(f"{value!r}: up to {MOST_SEEDS} seeds from 0 to {2**32 - 1} can be given.", param, ctx)
        return found


class Pixels(click.IntRange):
    """Pixels of a side: a latent stands for 8 of them, and UNets halve latents three times."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        found = super().convert(value, param, ctx)
        if found % SIDE:
            self.fail(f"{found} is no multiple of {SIDE}; the nearest is {round(found / SIDE) * SIDE}.", param, ctx)
        return found


def rendering(command: F) -> F:
    """The options that say how it is rendered."""
    words = ", ".join
    for option in reversed(
        (
            click.option("--profile", type=Named("profile", PROFILES), default="standard", show_default=True, metavar="NAME",
                         help=f"{words(PROFILES)}: two seeds at 20 steps; 12 steps and SDXL smaller; no pictures."),
            click.option("--sheet", "sheets", type=Several("sheet", SHEETS), default=(), metavar="NAMES",
                         help=f"More pictures, for -o: {words(SHEETS)}, with commas between them, or all."),
            click.option("--prompt", "prompts", multiple=True, metavar="TEXT",
                         help="A prompt of your own for the sheet prompts, with {T} for the embedding. May be given several times."),
            click.option("--seeds", type=Numbers(), metavar="N,N", help="The seeds that are rendered. [1,2]"),
            click.option("--steps", type=click.IntRange(1, 150), metavar="N", help="Steps of the sampler."),
            click.option("--size", type=Pixels(SIDE, 4096), metavar="N", help="Width and height in pixels. [those of the checkpoint]"),
            click.option("--sampler", type=Named("sampler", SAMPLERS), metavar="NAME", help=f"{words(SAMPLERS)}. [euler]"),
            click.option("--cfg", type=click.FloatRange(1, 30), metavar="N", help="The guidance scale. [7]"),
            click.option("--emphasis", type=Named("emphasis", EMPHASES), metavar="NAME",
                         help=f"What (name:1.2) means: {words(EMPHASES)}. [a1111, no_norm for SDXL]"),
            click.option("--clip-skip", type=click.IntRange(1, 12), metavar="N",
                         help="As in A1111: 1 is the last layer, 2 the one before."),
            click.option("--device", metavar="NAME", help="cuda, mps or cpu, also cuda:1. [the first that there is]"),
            click.option("--compile", "compiled", is_flag=True, help="Compile the UNet first: minutes, then faster. For many embeddings."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def how(given: dict[str, Any]) -> How:
    """What the options of `rendering` say; it takes them out of `given`. BadParameter for prompts that cannot be rendered."""
    from embconv.registry.validations import Wanted, checked

    names = ("profile", "sheets", "prompts", "seeds", "steps", "size", "sampler", "cfg", "emphasis", "clip_skip", "device", "compiled")
    told = {name: given.pop(name) for name in names}
    prompts = tuple(text if SLOT in text else f"{text}, {SLOT}" for text in told["prompts"])
    wanted = checked(Wanted(profile=told["profile"], sheets=told["sheets"], prompts=prompts))
    changes = {name: told[name] for name in ("seeds", "steps", "sampler", "cfg", "emphasis") if told[name] is not None}
    if told["clip_skip"] is not None:
        changes["clip_skip"] = told["clip_skip"] - 1
    return How(wanted=wanted, size=told["size"], changes=changes, device=told["device"], compiled=told["compiled"])
