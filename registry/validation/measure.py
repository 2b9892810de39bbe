"""What is measured of pictures and their latents, and what every number of a verdict means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .decode import webp
from .engine import precise

if TYPE_CHECKING:
    from .parts import Conditioning, Floats

LEVELS = 255          # of a colour
NEAR = 3 / LEVELS     # as far may a pixel be from a picture's one colour
DIGITS = 5            # that a number keeps: beyond them lies what the order of additions does
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

# Every name in Verdict.numbers, where it stands, and what it says. docs/validation.md is made of this.
NUMBERS: dict[str, str] = {
    "vectors": "encoder -> how many vectors there are",
    "norms": "encoder -> least, mean and greatest Euclidean length of the vectors",
    "near_words": "encoder -> for each vector the words nearest to it and their cosines; trained vectors are often below 0.3",
    "vocabulary": "encoder -> for each vector its length as a percentile among those of the vocabulary's words, 0 to 100",
    "positive": "what was measured with the embedding in the prompt",
    "negative": "what was measured with the embedding in the negative prompt",
    "noise": "number -> the most that it changed between two renders of the same thing",
    "words": "number -> what ordinary words measure in the embedding's place: percentiles",
    # of a side
    "encoder": "change of the text encoders' output against the same places held by nothing, as a share of that output",
    "encoder_parts": "encoder -> the same for it alone, where there are vectors for it",
    "reach": "length of the encoder's output where the embedding stands, by that where nothing does: 1 is alike",
    "probe": "change of what the UNet predicts, mean over timesteps, as a share of what the whole prompt changes",
    "timesteps": "timestep -> the same at that noise level alone",
    "attention": "share of the UNet's attention that the embedding gets, by the share that nothing gets in its place: 1 is alike",
    "curve": "weight -> what `probe` is at that emphasis",
    "pixels": "mean difference of pixels (0 to 1) against the same places held by nothing; the greatest of the seeds",
    "latents": "distance of the last latents against the same control, as a share of their length; the greatest of the seeds",
    "pixels_baseline": "as pixels, against the prompt without the embedding",
    "latents_baseline": "as latents, against the prompt without the embedding",
    "finite": "is every latent and every pixel a number, if need be in float32?",
    "retried": "pictures that were numbers only in float32: the fault of the checkpoint's precision, not of the embedding",
    "contrast": "standard deviation of pixels (0 to 1); the greatest of the seeds",
    "one_colour": "share of pixels within 3/255 of one colour; the least of the seeds",
    "entropy": "bits of the histogram of greys; the greatest of the seeds",
    "clipped": "share of colour values that are 0 or 255 beyond that of the baseline; the least of the seeds",
    "chroma": "mean colourfulness by that of the baseline; the least of the seeds",
    "alike": "least cosine between the last latents of two seeds: near 1 the seed makes no difference",
    "leaning": "how much more the change looks like that of words for bad pictures than of words for good ones, -2 to 2",
    # the same of the baseline: what they are compared with
    "contrast_baseline": "contrast of the baseline",
    "one_colour_baseline": "one_colour of the baseline",
    "entropy_baseline": "entropy of the baseline",
    "alike_baseline": "alike of the baseline",
}  # fmt: skip


class Looks(NamedTuple):
    """What can be told of a picture alone."""

    contrast: float
    one_colour: float
    entropy: float
    clipped: float
    chroma: float


@dataclass(frozen=True)
class Shot:
    """A picture and its latents; `finite` after everything that could be done about it."""

    latents: Floats
    pixels: Floats
    finite: bool = True
    retried: bool = False

    @cached_property
    def looks(self) -> Looks:
        return looks(self.pixels)

    @cached_property
    def webp(self) -> bytes:
        return webp(self.pixels)


Seeds = Mapping[int, Shot]  # the same picture at each seed


def difference(test: Floats, control: Floats) -> float:
    """Mean absolute difference."""
    return float(np.abs(test - control).mean(dtype=np.float64))


def distance(test: Floats, control: Floats) -> float:
    """Euclidean distance, as a share of the control's length."""
    return share(float(np.linalg.norm((test - control).astype(np.float64))), float(np.linalg.norm(control.astype(np.float64))))


def cosine(a: Floats, b: Floats) -> float:
    """Between two arrays as vectors; 0 where one of them has no direction."""
    first, second = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0


def looks(pixels: Floats) -> Looks:
    """Of (height, width, 3) pixels between 0 and 1."""
    middle = np.median(pixels, axis=(0, 1))
    near = (np.abs(pixels - middle) <= NEAR).all(axis=2)
    ends = (pixels < 0.5 / LEVELS) | (pixels > 1 - 0.5 / LEVELS)
    return Looks(
        contrast=float(pixels.std(dtype=np.float64)),
        one_colour=float(near.mean()),
        entropy=entropy(pixels @ GREY),
        clipped=float(ends.mean()),
        chroma=float((pixels.max(axis=2) - pixels.min(axis=2)).mean(dtype=np.float64)),
    )


def entropy(greys: Floats) -> float:
    """Bits of their histogram of 256 levels."""
    counts = np.bincount((greys.clip(0, 1) * LEVELS).round().astype(np.int64).ravel(), minlength=LEVELS + 1)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def alike(shots: Seeds) -> float | None:
    """The least cosine between the latents of two seeds; None of a single one."""
    pairs = combinations(shots.values(), 2)
    return min((cosine(a.latents, b.latents) for a, b in pairs), default=None)


def leaning(test: Seeds, baseline: Seeds, bad: Seeds, good: Seeds) -> float:
    """How much more a change is like that of `bad` words than of `good` ones: both share what any change has."""
    seeds = [seed for seed in test if all(each[seed].finite for each in (test, baseline, bad, good))]
    found = [_towards(test[seed], bad[seed], baseline[seed]) - _towards(test[seed], good[seed], baseline[seed]) for seed in seeds]
    return float(np.mean(found)) if found else 0.0


def _towards(test: Shot, other: Shot, baseline: Shot) -> float:
    return cosine(test.latents - baseline.latents, other.latents - baseline.latents)


def compare(test: Seeds, null: Seeds, baseline: Seeds) -> dict[str, Any]:
    """The numbers of the pictures on one side."""
    made: dict[str, Any] = {"finite": all(shot.finite for shot in test.values()), "retried": sum(shot.retried for shot in test.values())}
    if not made["finite"]:
        return made
    for control, ending in ((null, ""), (baseline, "_baseline")):
        made[f"pixels{ending}"] = max(difference(shot.pixels, control[seed].pixels) for seed, shot in test.items())
        made[f"latents{ending}"] = max(distance(shot.latents, control[seed].latents) for seed, shot in test.items())
    own, other = ([each[seed].looks for seed in test] for each in (test, baseline))
    made |= appearance(own) | {f"{name}_baseline": value for name, value in appearance(other).items()}
    made["clipped"] = min(a.clipped - b.clipped for a, b in zip(own, other, strict=True))
    made["chroma"] = min(a.chroma / b.chroma if b.chroma else 1.0 for a, b in zip(own, other, strict=True))
    between = {"alike": alike(test), "alike_baseline": alike({seed: baseline[seed] for seed in test})}
    return made | {name: value for name, value in between.items() if value is not None}


def appearance(seen: Sequence[Looks]) -> dict[str, float]:
    """The best of the seeds: what is bad has to be bad at all of them."""
    return {
        "contrast": max(each.contrast for each in seen),
        "one_colour": min(each.one_colour for each in seen),
        "entropy": max(each.entropy for each in seen),
    }


def of_encoder(test: Conditioning, null: Conditioning, widths: Mapping[str, int]) -> dict[str, Any]:
    """The numbers of the encoder layer; only `encoder`, infinite, where it is broken. `widths` in the order of the context."""
    own, other, sizes = precise(test.embeds), precise(null.embeds), list(widths.values())
    places = sorted({place for slots in test.slots.values() for place in slots})
    pooled = own.new_ones(()) if test.pooled is None else precise(test.pooled)
    away, long = ([part.norm() for part in torch.split(each, sizes, dim=1)] for each in (own - other, other))
    peaks = [each[places].norm(dim=1).max() for each in (own, other)] if places else []
    found = torch.stack([own.isfinite().all() & pooled.isfinite().all(), *away, *long, *peaks]).tolist()  # one wait for the device
    if not found[0]:
        return {"encoder": float("inf")}
    count = len(sizes)
    changes, lengths, reached = found[1:count + 1], found[count + 1:2 * count + 1], found[2 * count + 1:]  # fmt: skip
    parts = {key: share(*pair) for key, *pair in zip(widths, changes, lengths, strict=True) if test.slots.get(key)}
    made = {"encoder": share(math.hypot(*changes), math.hypot(*lengths)), "encoder_parts": parts}
    return made | ({"reach": share(*reached)} if reached else {})


def share(part: float, whole: float) -> float:
    """A part of something; of nothing, whether there is a part."""
    return part / whole if whole else float(part > 0)


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """What a calibration keeps of a number."""
    found = np.asarray(list(values), np.float64)
    return {f"p{each}": rounded(float(np.percentile(found, each))) for each in (0, 1, 5, 50, 95, 99, 100)}


def rounded(value: Any) -> Any:
    """Numbers to DIGITS, in whatever they stand: the same question gets the same answer, and JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return value
