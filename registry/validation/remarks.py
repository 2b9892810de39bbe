"""What there is to remark on numbers that do not decide anything."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from embconv.converters import Finding

from ..verdicts import Calibration

Numbers = dict[str, Any]

CLIPPED = 0.25     # of all colour values, beyond the baseline's
CHROMA = 1.5       # times the baseline's
SAME = 0.98        # cosine of two seeds' latents: one picture
DIFFERENT = 0.9    # and two
POOR, RICH = 1.0, 3.0  # bits of greys: next to nothing, a picture
UNSEEN = 0.5       # of the attention that nothing gets
LOUD = 2.0         # times what 99 of 100 words reach
LOUD_ANYWHERE = 4.0
DEAF = 1e-6        # change of an encoder's output that is none
FALLING = 0.95     # of the strength before: less is a fall


def remarks(numbers: Numbers, side: str, calibration: Calibration | None = None) -> Iterator[Finding]:
    """Every remark on one side."""
    for rule in RULES:
        yield from rule(numbers, side, calibration)


def retried(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """The checkpoint overflows in its precision; nothing is wrong with the embedding."""
    if numbers.get("retried"):
        says = f"{numbers['retried']} of its pictures had to be repeated in float32: this checkpoint overflows in its usual precision."
        yield Finding("retried", "note", side, says)


def half(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """Each text encoder hears it."""
    parts = numbers.get("encoder_parts", {})
    if any(change > DEAF for change in parts.values()):
        for key in (key for key, change in parts.items() if change <= DEAF):
            yield Finding("half", "warning", key, f"The vectors of {key} change nothing; only the other encoder hears it.")


def loud(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """The encoder says nothing that words never make it say."""
    words = calibration.percentiles.get(f"{side}.reach", {}).get("p99") if calibration else None
    most = LOUD * words if words else LOUD_ANYWHERE
    if numbers.get("reach", 0.0) > most:
        says = f"The text encoder's answer to it is {numbers['reach']:.2g} times as long as that to nothing; up to {most:.2g} is usual."
        yield Finding("loud", "note", side, says)


def unseen(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """The UNet looks at it."""
    if numbers.get("attention", 1.0) < UNSEEN:
        says = f"The UNet attends to it {numbers['attention']:.2g} times as much as to nothing in its place."
        yield Finding("unattended", "note", side, says)


def falling(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """More emphasis does more."""
    curve = sorted((float(weight), value) for weight, value in numbers.get("curve", {}).items())
    for (_, before), (weight, value) in pairwise(curve):
        if value < FALLING * before:
            says = f"At weight {weight:g} it does less than at a lower one ({value:.2g}, {before:.2g})."
            yield Finding("not_monotone", "note", side, says)
            return


def clipped(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """Colours do not hit the ends."""
    if numbers.get("clipped", 0.0) > CLIPPED:
        yield Finding("clipped", "warning", side, f"{numbers['clipped']:.0%} more of the colour values are 0 or 255 with it than without.")


def chroma(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """Colours are about as strong as before."""
    if numbers.get("chroma", 1.0) > CHROMA:
        yield Finding("chroma", "warning", side, f"Its pictures are {numbers['chroma']:.2g} times as colourful as the one without it.")


def overfit(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """Another seed is another picture."""
    if numbers.get("alike", 0.0) > SAME and numbers.get("alike_baseline", 1.0) < DIFFERENT:
        cosines = f"cosine {numbers['alike']:.3f}; without it {numbers['alike_baseline']:.3f}"
        says = f"Two seeds give one picture with it ({cosines}): overfitted, or a logo."
        yield Finding("overfit", "warning", side, says)


def poor(numbers: Numbers, side: str, calibration: Calibration | None) -> Iterator[Finding]:
    """There is something to be seen."""
    if numbers.get("entropy", RICH) < POOR and numbers.get("entropy_baseline", 0.0) > RICH:
        bits = f"{numbers['entropy']:.2g} bits of greys; {numbers['entropy_baseline']:.2g} without it"
        says = f"There is next to nothing to be seen with it ({bits})."
        yield Finding("nearly_flat", "warning", side, says)


RULES = (retried, half, loud, unseen, falling, clipped, chroma, overfit, poor)
