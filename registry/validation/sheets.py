"""The cells of each sheet, laid out as A1111's X/Y/Z plot: what is drawn beside a verdict's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..verdicts import SAMPLERS as KEYS
from ..verdicts import SEEDS, Cell, Protocol
from .parts import Subject
from .prompts import filled, without
from .samplers import SAMPLERS
from .text import Ask

# Each is whole without the embedding, so that the row above it is the same picture of the same thing.
SCENES = {
    "portrait": "a portrait of a woman, {T}",
    "landscape": "a landscape with a river and a mountain, {T}",
    "object": "a cup on a table, {T}",
}


class Planned(NamedTuple):
    """A cell and the two prompts that it takes."""

    cell: Cell
    positive: Ask
    negative: Ask


def plan(protocol: Protocol, subject: Subject, role: str) -> list[Planned]:
    """The cells of every sheet of the protocol; a negative embedding stands in the negative prompt, any other in the prompt."""
    return [cell for name in protocol.sheets for cell in PLANS[name](protocol, subject, role)]


def strength(protocol: Protocol, subject: Subject, role: str) -> Iterator[Planned]:
    """Off, then each weight; a row for each seed."""
    for seed in protocol.seeds or SEEDS:
        for weight in (None, *protocol.weights):
            label = "off" if weight is None else str(weight)
            yield planned(protocol, subject, role, kind="strength", label=label, seed=seed, weight=weight)


def samplers(protocol: Protocol, subject: Subject, role: str) -> Iterator[Planned]:
    """Each sampler, without the embedding and with it."""
    for weight in (None, 1.0):
        for key in KEYS:
            yield planned(protocol, subject, role, kind="samplers", label=SAMPLERS[key].title, weight=weight, sampler=key)


def prompts(protocol: Protocol, subject: Subject, role: str) -> Iterator[Planned]:
    """Each scene and each prompt of the person's own, without the embedding and with it."""
    own = {f"own {place}": prompt for place, prompt in enumerate(protocol.prompts, 1)}
    for weight in (None, 1.0):
        for label, prompt in (SCENES | own).items():
            yield planned(protocol, subject, role, kind="prompts", label=label, prompt=prompt, weight=weight)


PLANS: dict[str, Callable[[Protocol, Subject, str], Iterator[Planned]]] = {"strength": strength, "samplers": samplers, "prompts": prompts}


def planned(
    protocol: Protocol, subject: Subject, role: str, *, kind: str, label: str, weight: float | None, prompt: str = "",
    seed: int | None = None, sampler: str = "",
) -> Planned:  # fmt: skip
    """A cell; `weight` None leaves the embedding out."""
    negative = role == "negative"
    if negative:
        texts = (without(prompt) if prompt else protocol.subject, protocol.negative_template)
    else:
        texts = (prompt or protocol.prompt, protocol.negative_prompt)
    asks = tuple(ask(text, subject, weight) if negative is bool(side) else Ask(text) for side, text in enumerate(texts))
    shown = tuple(say(text, subject, weight) if negative is bool(side) else text for side, text in enumerate(texts))
    cell = Cell(
        kind=kind, prompt=shown[0], negative_prompt=shown[1], seed=(protocol.seeds or SEEDS)[0] if seed is None else seed,
        sampler=sampler or protocol.sampler, steps=protocol.steps, cfg=protocol.cfg, width=protocol.width, height=protocol.height,
        weight=weight, label=label,
    )  # fmt: skip
    return Planned(cell, *asks)


def ask(template: str, subject: Subject, weight: float | None) -> Ask:
    """The prompt as the encoder takes it."""
    return Ask(template) if weight is None else Ask(template, subject.vectors, weight=weight)


def say(template: str, subject: Subject, weight: float | None) -> str:
    """The same prompt as a person types it."""
    return without(template) if weight is None else filled(template, subject.trigger, weight)
