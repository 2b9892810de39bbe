"""Does a checkpoint draw, by itself? Two seeds of one prompt, and what its UNet makes of noise on a smooth surface.

What this cannot tell: whether the pictures are good, and whether a UNet that takes no noise away at all (random weights) means anything;
what such a one predicts is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from msgspec import Struct

from ..render_errors import UnsoundCheckpoint
from ..verdicts import SEEDS, Cell, Picture, protocol_for
from .decide import flat
from .decode import decode, webp
from .engine import failures, fits
from .loop import CHANNELS, denoise, forward
from .measure import appearance, cosine, difference, looks, rounded
from .parts import Order
from .predictions import TYPES
from .samplers import scheduler_for
from .text import Ask, encode, level

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..verdicts import Protocol
    from .parts import Conditioning, Decoded, Model

    Heard = Callable[[int, int], None]

PROMPT = "a photo of a woman"
STEPS = 12
SAME = 0.002   # mean difference of pixels: two seeds that are nearer are one picture
# At these shares of picture in the noise a UNet that was trained finds most of the noise again, and its two kinds say other things.
SHARES = (0.5, 0.2)
KNOWS = 0.75   # cosine to what was to be predicted: it does take noise away
SURER = 0.15   # by so much has the other kind to fit better
GRID = 4       # of the smooth surface
KEPT = "selftest"
WORDS = {"base": "noise", "v": "v"}

NUMBERS = {
    "finite": "are all latents and pixels numbers, if need be in float32?",
    "retried": "pictures that were numbers only in float32: the checkpoint overflows in the precision of this device",
    "contrast": "standard deviation of pixels (0 to 1); the greater of the two pictures",
    "one_colour": "share of pixels within 3/255 of one colour; the less of the two",
    "entropy": "bits of the histogram of greys; the greater of the two",
    "seeds_differ": "mean difference of pixels between the two seeds",
    "predicts_base": "cosine between what the UNet says of noise on a smooth surface and the noise: near 1 where it predicts noise",
    "predicts_v": "the same with v: near 1 where it predicts v",
}  # fmt: skip


class Report(Struct, frozen=True, kw_only=True):
    """What the test found: `because` is a clause where it is not sound. `numbers` are those of NUMBERS."""

    sound: bool
    because: str
    numbers: dict[str, Any]
    pictures: tuple[Picture, ...] = ()


def selftest(model: Model, *, heard: Heard | None = None) -> Report:
    """Draw two pictures, and look at what the UNet predicts. DeviceFull, DeviceFailed."""
    size = model.checkpoint.size
    with failures(model.device), fits(model.device, size, size):
        return tested(model, heard)


def tested(model: Model, heard: Heard | None) -> Report:
    """The test itself."""
    protocol = protocol_for(model.base, model.checkpoint.size, steps=STEPS)
    words = level(model, encode(model, [Ask(PROMPT), Ask("")], emphasis=protocol.emphasis))
    if not all(bool(each.embeds.isfinite().all()) for each in words):
        return Report(sound=False, because="its text encoder says NaN or infinity", numbers={})
    fits = predictions(model, words[1], protocol)
    shots = drawn(model, words, protocol, heard)
    numbers = measured(shots) | {f"predicts_{variant}": fit for variant, fit in fits.items()}
    because = next(faults(model, numbers), "")
    return Report(sound=not because, because=because, numbers=rounded(numbers), pictures=tuple(pictures(shots, protocol)))


def must_be_sound(model: Model) -> None:
    """UnsoundCheckpoint where it is not. A model is tested once."""
    report = model.kept.get(KEPT) or model.kept.setdefault(KEPT, selftest(model))
    if not report.sound:
        raise UnsoundCheckpoint(model.checkpoint.name, report.because)


def drawn(model: Model, words: list[Conditioning], protocol: Protocol, heard: Heard | None) -> dict[int, Decoded]:
    """Seed -> picture."""
    orders = [
        Order(seed, words[0], words[1], seed, protocol.sampler, protocol.steps, protocol.cfg, protocol.width, protocol.height,
              protocol.seen_width, protocol.seen_height)
        for seed in SEEDS
    ]  # fmt: skip
    found: dict[int, Decoded] = {}
    for each in denoise(model, orders):
        picture = decode(model, [each.latents])[0]
        assert isinstance(each.key, int)
        found[each.key] = replace(picture, finite=picture.finite and each.finite, retried=picture.retried or each.retried)
        if heard:
            heard(len(found), len(SEEDS))
    return dict(sorted(found.items()))


def measured(shots: dict[int, Decoded]) -> dict[str, Any]:
    """The numbers of the pictures."""
    return {
        "finite": all(shot.finite for shot in shots.values()),
        "retried": sum(shot.retried for shot in shots.values()),
        **appearance([looks(shot.pixels) for shot in shots.values()]),
        "seeds_differ": min(difference(a.pixels, b.pixels) for a, b in combinations(shots.values(), 2)),
    }


def predictions(model: Model, nothing: Conditioning, protocol: Protocol) -> dict[str, float]:
    """Variant -> cosine between what the UNet says of noise on a smooth surface and what it would say if it predicted that."""
    shares = scheduler_for("ddim", model.scheduler, STEPS).alphas_cumprod
    times = torch.stack([(shares - share).abs().argmin() for share in SHARES for _ in SEEDS])
    surface, noise = (torch.stack(each * len(SHARES)) for each in zip(*(materials(model, protocol, seed) for seed in SEEDS), strict=True))
    share = shares[times].view(-1, 1, 1, 1)
    noisy = share.sqrt() * surface + (1 - share).sqrt() * noise
    seen = (protocol.seen_width, protocol.seen_height)
    said = forward(model, noisy, times, [nothing] * len(times), seen=seen).float().cpu()
    wanted = {"base": noise, "v": share.sqrt() * noise - (1 - share).sqrt() * surface}
    return {variant: cosine(said.numpy(), each.numpy()) for variant, each in wanted.items()}


def materials(model: Model, protocol: Protocol, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth surface and noise, as latents."""
    dice = torch.Generator("cpu").manual_seed(seed)
    size = (protocol.height // model.factor, protocol.width // model.factor)
    grid = torch.randn((1, CHANNELS, GRID, GRID), generator=dice)
    surface = torch.nn.functional.interpolate(grid, size, mode="bicubic", align_corners=False)[0]
    return surface, torch.randn((CHANNELS, *size), generator=dice)


def faults(model: Model, numbers: dict[str, Any]) -> Iterator[str]:
    """What is wrong, the plainest first."""
    own = model.checkpoint.variant
    other = next(variant for variant in TYPES if variant != own)
    fits, better = numbers[f"predicts_{own}"], numbers[f"predicts_{other}"]
    if not numbers["finite"]:
        yield "its pictures are not finite, in float32 either"
    if better > KNOWS and better - fits > SURER:
        yield f"its UNet predicts {WORDS[other]} (cosine {better:.2f}), not {WORDS[own]} ({fits:.2f}) as it was added"
    if flat(numbers):
        yield "its pictures are flat"
    if numbers["seeds_differ"] < SAME:
        yield f"two seeds make the same picture (they differ by {numbers['seeds_differ']:.4f})"


def pictures(shots: dict[int, Decoded], protocol: Protocol) -> Iterator[Picture]:
    """What was drawn."""
    for seed, shot in shots.items():
        cell = Cell(kind="baseline", prompt=PROMPT, seed=seed, sampler=protocol.sampler, steps=protocol.steps, cfg=protocol.cfg,
                    width=protocol.width, height=protocol.height, label=f"seed {seed}")  # fmt: skip
        yield Picture(cell=cell, webp=webp(shot.pixels))
