"""From numbers to a verdict: which state, because of what, and what else there is to say. Pure numbers, no pictures."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from msgspec import Struct

from embconv.converters import Finding
from embconv.converters.display import quoted

from ..verdicts import Calibration
from .remarks import remarks

SIDES = ("positive", "negative")  # where the embedding stands: in the prompt or in the negative prompt
STATES = ("pass", "weak", "no_effect", "broken")  # the worse, the later

FLAT_CONTRAST = 2 / 255  # a picture with less is flat
FLAT_COLOUR = 0.98       # or with a larger share of its pixels in one colour
NOISY = 3.0              # times the noise of renders: as much is still nothing
LEANING = 0.2            # uncalibrated: as far do ordinary words lean by chance
STRONG = 2.0             # times the 99th percentile of words: more than anybody wants at once
WHERE = {"positive": "in the prompt", "negative": "in the negative prompt"}


class Bar(NamedTuple):
    """From where on a change counts: `nothing` and `weak` where nothing is calibrated, else `nothing_of` and `weak_of` of what the median
    word does.
    """

    number: str
    what: str
    nothing: float
    weak: float
    nothing_of: float
    weak_of: float


# Cheap to dear. Calibrated, "weak" is also what 99 of 100 ordinary words surpass, if that is less.
BARS = (
    # in float32 a copy of nothing differs in the last bits; the UNet listens to small changes, so little is called weak here
    Bar("encoder", "the text encoder's output", nothing=1e-6, weak=1e-4, nothing_of=1e-5, weak_of=0.01),
    # what training acts on; 4 noise levels, since a style is small at the noisiest
    Bar("probe", "what the UNet predicts", nothing=1e-3, weak=0.01, nothing_of=0.05, weak_of=0.25),
    Bar("latents", "the latents", nothing=0.01, weak=0.05, nothing_of=0.05, weak_of=0.25),
    # renders of one thing in bfloat16 differ by up to 0.001 between shapes of batches
    Bar("pixels", "the pictures", nothing=0.002, weak=0.01, nothing_of=0.05, weak_of=0.25),
)


class Case(Struct, frozen=True, kw_only=True):
    """What is known of an embedding. `role` as declared, `hinted` as its name suggests; `sides`: side -> numbers of measure.NUMBERS."""

    sides: dict[str, dict[str, Any]]
    vectors: int = 1
    role: str = "unknown"
    hinted: str = "unknown"


class Decision(Struct, frozen=True, kw_only=True):
    """The part of a verdict that follows from numbers."""

    state: str
    because: str
    role: str = "unknown"
    suggested_weight: float | None = None
    findings: tuple[Finding, ...] = ()


class Limits(NamedTuple):
    """The bars of one number with a checkpoint; `median`: what ordinary words do, None where nobody has measured it."""

    nothing: float
    weak: float
    median: float | None


class Effect(NamedTuple):
    """How one number stands to its bars."""

    state: str
    bar: Bar
    value: float
    limits: Limits


class Role(NamedTuple):
    """The role that is told, and how."""

    role: str
    judged: str
    says: str


def decide(case: Case, calibration: Calibration | None) -> Decision:
    """The verdict of everything that was measured so far. The worst layer decides; of layers that are as bad, the dearest speaks."""
    told = role_of(case, calibration)
    side = side_of(case, told.judged, calibration)
    state, because = state_of(case.sides[side], side, calibration)
    findings = [Finding("role", "note", "role", told.says)] if told.says else []
    findings += [each for place, numbers in case.sides.items() for each in remarks(numbers, place, calibration)]
    findings += other_side(case, side)
    weight = suggested(case.sides[side], side, calibration, case.vectors) if state in {"pass", "weak"} else None
    return Decision(state=state, because=because, role=told.role, suggested_weight=weight, findings=tuple(findings))


def settled(case: Case, calibration: Calibration | None) -> bool:
    """Can nothing that comes later make it better? Then nothing later has to be measured."""
    return all(state_of(numbers, side, calibration)[0] in {"no_effect", "broken"} for side, numbers in case.sides.items())


def state_of(numbers: dict[str, Any], side: str, calibration: Calibration | None) -> tuple[str, str]:
    """The state on one side and the sentence that says why."""
    if why := fault(numbers):
        return "broken", why
    worst = max(effects(numbers, side, calibration), key=lambda effect: STATES.index(effect.state), default=None)
    return (worst.state, sentence(worst, side)) if worst else ("error", "Nothing could be measured.")


# what is broken


def fault(numbers: dict[str, Any]) -> str:
    """Why these numbers are those of something broken, if they are."""
    if numbers.get("encoder") == float("inf"):
        return "The text encoder's output with it is not finite: the vectors are too large."
    if not numbers.get("finite", True):
        return "The picture with it is not finite, in float32 either; the one without it is."
    if flat(numbers) and not flat(numbers, "_baseline"):
        return f"Every picture with it is flat ({numbers['one_colour']:.0%} of it one colour); the one without it is not."
    return ""


def flat(numbers: dict[str, Any], ending: str = "") -> bool:
    """Is there nothing to be seen, at any seed?"""
    return bool(numbers.get(f"contrast{ending}", 1.0) < FLAT_CONTRAST or numbers.get(f"one_colour{ending}", 0.0) > FLAT_COLOUR)


def other_side(case: Case, side: str) -> list[Finding]:
    """What is broken where the embedding need not stand, and is not where it stands."""
    if fault(case.sides[side]):
        return []
    return [Finding("other_side", "note", other, f"{WHERE[other].capitalize()}: {fault(numbers)}")
            for other, numbers in case.sides.items() if other != side and fault(numbers)]  # fmt: skip


# how much changes


def limits(bar: Bar, side: str, calibration: Calibration | None) -> Limits:
    """The bars, calibrated where that was done."""
    name = f"{side}.{bar.number}"
    words = calibration.percentiles.get(name, {}) if calibration else {}
    noise = NOISY * calibration.noise.get(name, 0.0) if calibration else 0.0
    if not words.get("p50"):
        return Limits(max(bar.nothing, noise), max(bar.weak, noise), None)
    nothing = max(noise, bar.nothing_of * words["p50"])
    return Limits(nothing, max(nothing, min(words["p1"], bar.weak_of * words["p50"])), words["p50"])


def effects(numbers: dict[str, Any], side: str, calibration: Calibration | None) -> list[Effect]:
    """How every number that was measured stands; the dearest first."""
    made = []
    for bar in reversed(BARS):
        value = numbers.get(bar.number)
        if value is not None:
            most = limits(bar, side, calibration)
            # not >, so that a number that is none is no effect
            made.append(Effect("no_effect" if not value > most.nothing else "weak" if value < most.weak else "pass", bar, value, most))
    return made


def sentence(effect: Effect, side: str) -> str:
    """What a person reads."""
    value, (nothing, weak, median) = f"{effect.value:.2g}", effect.limits
    words = f"ordinary words do by {median:.2g}" if median else ""
    first = f"{WHERE[side].capitalize()} it changes {effect.bar.what} by {value}"
    if effect.state == "pass":
        return f"{first}; {words or f'below {weak:.2g} it would be weak'}."
    if effect.state == "weak":
        return f"{first}, which is little: {words or f'below {weak:.2g} it is weak'}."
    return f"{first}, which is nothing: {words or f'up to {nothing:.2g} counts as nothing'}."


# role


def role_of(case: Case, calibration: Calibration | None) -> Role:
    """The declared role; else the one that the pictures tell, with a name as a second witness. `judged` is the side to look at."""
    if case.role in SIDES:
        return Role(case.role, case.role, "")
    leaning = case.sides.get("positive", {}).get("leaning")
    hint = f" Its name suggests {case.hinted}." if case.hinted in SIDES else ""
    if leaning is None:
        return Role("unknown", case.hinted, f"Unknown: it was not rendered on both sides.{hint}")
    chance = (calibration.percentiles.get("positive.leaning", {}).get("p95") if calibration else None) or LEANING
    shown = f"leaning {leaning:.2g}, ordinary words up to {chance:.2g}"
    if abs(leaning) < chance:
        return Role("unknown", case.hinted, f"Unknown: with it a picture leans neither to bad ones nor to good ones ({shown}).{hint}")
    role = "negative" if leaning > 0 else "positive"
    if case.hinted not in {role, "unknown"}:
        return Role("unknown", case.hinted, f"Unknown: its pictures suggest {role} ({shown}), its name {case.hinted}.")
    sure = "Likely" if case.hinted == role else "Possibly"
    return Role(role, role, f"{sure} {role}: with it a picture leans to {'bad' if role == 'negative' else 'good'} ones ({shown}).{hint}")


def side_of(case: Case, judged: str, calibration: Calibration | None) -> str:
    """The side that decides: that of its role; where nobody knows, the better one, unless it breaks the prompt."""
    if judged in case.sides:
        return judged
    if fault(case.sides.get("positive", {})):
        return "positive"
    return min(case.sides, key=lambda side: (*STATES, "error").index(state_of(case.sides[side], side, calibration)[0]))


# weight


def suggested(numbers: dict[str, Any], side: str, calibration: Calibration | None, vectors: int = 1) -> float | None:
    """1 where it is about as strong as words are, as many of them as it has vectors; else the weight at which it comes nearest to that."""
    words = calibration.percentiles.get(f"{side}.probe") if calibration else None
    curve = {float(weight): value for weight, value in numbers.get("curve", {}).items()}
    if not words or 1.0 not in curve:
        return None
    enough, most = words["p5"], STRONG * words["p99"] * math.sqrt(vectors)  # what is unrelated adds up so
    if curve[1.0] > most:
        return max((weight for weight, value in curve.items() if weight < 1.0 and value <= most), default=min(curve))
    if curve[1.0] < enough:
        return min((weight for weight, value in curve.items() if weight > 1.0 and value >= enough), default=max(curve))
    return 1.0


def copy_of(word: str, role: str = "unknown") -> Decision:
    """The verdict on vectors that are the vocabulary's own."""
    because = f"It is an untrained copy of {quoted(word)}: its vectors are those of the vocabulary."
    return Decision(state="no_effect", because=because, role=role)
