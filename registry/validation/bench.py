"""The bench: trials go through the encoders, the UNet's predictions and the pictures, many at a time, and numbers come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from ..render_errors import UnsoundCheckpoint
from .controls import LEANINGS, Wanted, prompts_of
from .decide import flat
from .decode import decode
from .encoders import width_of
from .engine import in_float32, rows_for
from .heat import ground, painted
from .loop import denoise
from .measure import Shot, appearance, compare, leaning, of_encoder
from .parts import Decoded
from .probe import probe
from .trials import Bench, Trial, curve_of, pictures, prompts, wanted

if TYPE_CHECKING:
    from .parts import Conditioning, Drawn
    from .probe import Probe

    Triple = tuple[Conditioning, Conditioning, Conditioning]

AT_A_TIME = 8  # pictures that are decoded together, at most


# encoders


def read(bench: Bench, trials: Sequence[Trial]) -> None:
    """What the encoders say of everything that is asked, and the numbers of that layer."""
    asked = {trial: prompts(bench, trial) for trial in trials}
    given = {trial.number: trial.subject.vectors for trial in trials}
    found = bench.controls.read(dict.fromkeys(prompt for several in asked.values() for prompt in several), given)
    widths = {encoder.key: width_of(encoder) for encoder in bench.model.encoders}
    for trial, several in asked.items():
        trial.read = {prompt: found[prompt] for prompt in several}
        for side in trial.sides:
            test, null, _ = triple(bench, trial, side)
            trial.numbers[side] = of_encoder(test, null, widths)
            if not isfinite(trial.numbers[side]["encoder"]) and not bool(null.embeds.isfinite().all()):
                raise UnsoundCheckpoint(bench.model.checkpoint.name, "its text encoder says NaN or infinity")


def triple(bench: Bench, trial: Trial, side: str, weight: float = 1.0) -> Triple:
    """What the probe compares: the prompt with the embedding, with nothing in its place, and the other prompt."""
    pairs = [prompts_of(bench.protocol, side, trial.number, weight), prompts_of(bench.protocol, side, trial.nothing)]
    own = 1 if side == "negative" else 0
    test, null, other = bench.controls.level(trial.read[pairs[0][own]], trial.read[pairs[1][own]], trial.read[pairs[0][1 - own]])
    return test, null, other


# probe


def predict(bench: Bench, trials: Sequence[Trial], *, attention: bool = True) -> None:
    """The numbers of the probe, and how much of the UNet's attention the embedding gets."""
    places = [(trial, side) for trial in trials for side in trial.sides]
    results = probed(bench, [triple(bench, *place) for place in places], attention=attention)
    for (trial, side), found in zip(places, results, strict=True):
        if not found.sound:
            raise UnsoundCheckpoint(bench.model.checkpoint.name, "what its UNet predicts is not finite, in float32 either")
        trial.numbers[side] |= of_probe(found)
        if found.heat is not None and trial.seeds:
            trial.maps[side] = painted(found.heat, ground(bench.model, bench.protocol))


def strengthen(bench: Bench, trials: Sequence[Trial]) -> None:
    """The curve: what the probe measures at other weights, at its middle timestep and then to the scale of all."""
    middle = bench.protocol.timesteps[len(bench.protocol.timesteps) // 2]
    once = Bench(bench.model, msgspec.structs.replace(bench.protocol, timesteps=(middle,)), bench.rows)
    places = [(trial, side, weight) for trial in trials for side in trial.sides for weight in curve_of(bench.protocol)]
    found = probed(once, [triple(bench, *place) for place in places])
    for (trial, side, weight), each in zip(places, found, strict=True):
        numbers = trial.numbers[side]
        if isfinite(each.effect) and numbers.get("probe") and numbers["timesteps"][str(middle)]:
            curve = numbers.setdefault("curve", {"1": numbers["probe"]})
            curve[f"{weight:g}"] = each.effect * numbers["probe"] / numbers["timesteps"][str(middle)]


def probed(bench: Bench, triples: Sequence[Triple], *, attention: bool = False) -> list[Probe]:
    """The probe; what is not finite in a short precision is measured again in float32."""
    model, told = bench.model, bench.protocol
    found = probe(model, triples, told, rows=bench.rows, attention=attention)
    again = [place for place, each in enumerate(found) if not isfinite(each.effect)]
    if again and model.unet.dtype != torch.float32:
        with in_float32(model.unet, model.device, told.width, told.height):
            better = probe(model, [triples[place] for place in again], told, rows=bench.rows, attention=attention)
        for place, each in zip(again, better, strict=True):
            found[place] = each
    return found


def of_probe(found: Probe) -> dict[str, Any]:
    """Its numbers, as far as they are any."""
    if not isfinite(found.effect):
        return {"finite": False}
    attention = {} if found.attention is None else {"attention": found.attention}
    return {"probe": found.effect, "timesteps": {str(time): effect for time, effect in found.timesteps.items()}, **attention}


# pictures


def draw(bench: Bench, trials: Sequence[Trial]) -> Iterator[Trial]:
    """Draw what the trials need, each picture once; a trial comes out when all of its pictures are there."""
    missing: dict[Trial, set[Wanted]] = {trial: set() for trial in trials}
    waiting: dict[Wanted, list[Trial]] = {}
    for trial in trials:
        for want in pictures(bench, trial):
            known = bench.controls.shot(want)
            if known is None:
                missing[trial].add(want)
                waiting.setdefault(want, []).append(trial)
            else:
                trial.shots[want] = known
    yield from (trial for trial in trials if not missing[trial])
    bench.tally.add(0, len(waiting))
    for want, shot in shots(bench, waiting):
        for trial in waiting[want]:
            trial.shots[want] = shot
            missing[trial].remove(want)
            if not missing[trial]:
                yield trial


def shots(bench: Bench, waiting: Mapping[Wanted, Sequence[Trial]]) -> Iterator[tuple[Wanted, Shot]]:
    """The pictures as they are done; those that other embeddings need too are kept."""
    orders = (bench.controls.order(want, trials[0].read) for want, trials in waiting.items())
    undecoded: list[Drawn] = []
    drawing = denoise(bench.model, orders, rows=bench.rows, compiled=bench.compiled)
    most = max(1, min(AT_A_TIME, rows_for(bench.model, bench.protocol.width, bench.protocol.height) // 4))
    for drawn in chain(drawing, [None]):
        undecoded += [] if drawn is None else [drawn]
        if drawn is None or len(undecoded) >= most:
            for done, shot in zip(undecoded, decoded(bench, undecoded), strict=True):
                want = done.key
                assert isinstance(want, Wanted)
                if want.shared:
                    bench.controls.keep(want, shot)
                yield want, shot
            bench.tally.add(len(undecoded), 0)
            undecoded = []


def decoded(bench: Bench, several: Sequence[Drawn]) -> list[Shot]:
    """Latents with their pixels; what is no number any more stays undecoded, and black."""
    pixels = iter(decode(bench.model, [drawn.latents for drawn in several if drawn.finite]))
    black = np.zeros((bench.protocol.height, bench.protocol.width, 3), np.float32)
    made = []
    for drawn in several:
        seen = next(pixels) if drawn.finite else Decoded(black, finite=False)
        made.append(Shot(drawn.latents.numpy(), seen.pixels, drawn.finite and seen.finite, drawn.retried or seen.retried))
    return made


def look(bench: Bench, trial: Trial) -> None:
    """The numbers of the pictures; none, where only a sheet was asked for."""
    for side in trial.sides if trial.seeds else ():
        test, null, baseline = (of_kind(bench, trial, side, kind) for kind in ("test", "null", "baseline"))
        trial.numbers[side] |= compare(test, null, baseline)
        if trial.leans and side == "positive" and trial.numbers[side]["finite"]:
            bad, good = (of_kind(bench, trial, side, kind) for kind in LEANINGS)
            trial.numbers[side]["leaning"] = leaning(test, baseline, bad, good)


def of_kind(bench: Bench, trial: Trial, side: str, kind: str) -> dict[int, Shot]:
    """Seed -> picture."""
    return {seed: trial.shots[wanted(bench, trial, side, kind, seed)] for seed in trial.seeds}


def unsound(bench: Bench, trial: Trial) -> str:
    """What is wrong with the pictures that have nothing to do with the embedding, if anything is."""
    for side in trial.sides:
        for kind in ("baseline", "null"):
            seen = list(of_kind(bench, trial, side, kind).values())
            if not all(shot.finite for shot in seen):
                return "its own picture is not finite, in float32 either"
            if kind == "baseline" and seen and flat(appearance([shot.looks for shot in seen])):
                return "its own pictures are flat"
    return ""
