"""Embeddings on trial: what has to be read and drawn for each, and what came out so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embconv.converters import Finding

from .controls import LEANINGS, Controls, Counts, Prompt, Wanted, controls_of, counts_of, leaning_to, placed, prompts_of

if TYPE_CHECKING:
    from ..verdicts import Protocol
    from .measure import Shot
    from .parts import Conditioning, Floats, Model, Subject
    from .sheets import Planned
    from .text import Ask

Heard = Callable[[int, int], None]  # pictures that are drawn, and that are asked for so far


@dataclass
class Tally:
    """How far the pictures are."""

    heard: Heard = lambda drawn, asked: None
    drawn: int = 0
    asked: int = 0

    def add(self, drawn: int, asked: int) -> None:
        self.drawn, self.asked = self.drawn + drawn, self.asked + asked
        self.heard(self.drawn, self.asked)


@dataclass(frozen=True)
class Bench:
    """A checkpoint, a protocol and how the work is done."""

    model: Model
    protocol: Protocol
    rows: int | None = None
    compiled: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def controls(self) -> Controls:
        return controls_of(self.model, self.protocol)


@dataclass(eq=False)
class Trial:
    """An embedding on the bench: `sides` on which it stands, `seeds` of its pictures, `planned` cells of sheets.

    What came out: `known` of the vectors themselves, `numbers` and attention `maps` of each side, the word that it is a `copy` of.
    """

    number: int
    subject: Subject
    sides: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    leans: bool = False
    planned: Sequence[Planned] = ()
    known: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    copy: str = ""
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: dict[Prompt, Conditioning] = field(default_factory=dict)
    shots: dict[Wanted, Shot] = field(default_factory=dict)
    maps: dict[str, Floats] = field(default_factory=dict)

    @property
    def nothing(self) -> Counts:
        """As much of nothing as there is of it."""
        return counts_of(self.subject.vectors)


# what is asked


def prompts(bench: Bench, trial: Trial) -> list[Prompt]:
    """All that the encoders have to read for a trial."""
    told = bench.protocol
    pairs = [prompts_of(told, side, held) for side in trial.sides for held in (None, trial.nothing, trial.number)]
    pairs += [prompts_of(told, side, trial.number, weight) for side in trial.sides for weight in curve_of(told)]
    pairs += [leaning_to(told, kind) for kind in LEANINGS if trial.leans]
    pairs += [of_planned(trial, plan) for plan in trial.planned]
    return list(dict.fromkeys(prompt for pair in pairs for prompt in pair))


def curve_of(protocol: Protocol) -> list[float]:
    """The weights whose strength is measured beside 1; none where nothing is drawn, for that profile shall be quick."""
    return [weight for weight in protocol.weights if weight != 1.0 and protocol.seeds]


def of_planned(trial: Trial, plan: Planned) -> tuple[Prompt, Prompt]:
    """The prompts of a sheet's cell."""
    return of_ask(trial, plan.positive), of_ask(trial, plan.negative)


def of_ask(trial: Trial, ask: Ask) -> Prompt:
    """One of them."""
    return placed(ask.template, None if ask.vectors is None else trial.number, ask.weight)


def wanted(bench: Bench, trial: Trial, side: str, kind: str, seed: int) -> Wanted:
    """A picture on one side: baseline, null, test, or one of LEANINGS."""
    held = {"baseline": None, "null": trial.nothing, "test": trial.number}
    pair = leaning_to(bench.protocol, kind) if kind in LEANINGS else prompts_of(bench.protocol, side, held[kind])
    return Wanted(*pair, bench.protocol.sampler, seed)


def pictures(bench: Bench, trial: Trial) -> list[Wanted]:
    """Every picture that a trial needs."""
    kinds = [(side, kind) for side in trial.sides for kind in ("baseline", "null", "test")]
    kinds += [("positive", kind) for kind in LEANINGS if trial.leans]
    made = [wanted(bench, trial, side, kind, seed) for side, kind in kinds for seed in trial.seeds]
    made += [of_cell(trial, plan) for plan in trial.planned]
    return list(dict.fromkeys(made))


def of_cell(trial: Trial, plan: Planned) -> Wanted:
    """The picture of a sheet's cell."""
    return Wanted(*of_planned(trial, plan), plan.cell.sampler, plan.cell.seed)
