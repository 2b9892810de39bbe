"""The probe: what the UNet predicts with an embedding, against nothing in its place, at a few noise levels of one shared picture.

It is what training acts on, so it tells a dead embedding from a living one without drawing anything: one row of the UNet a noise level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch

from .attention import Watch, watched
from .engine import call_unet, failures, room_for, rows_for, spread
from .loop import Context, context_of, denoise
from .loop import predict as predict_plain
from .parts import Conditioning, Model, Order
from .prompts import without
from .samplers import scheduler_for
from .text import Ask, encode

if TYPE_CHECKING:
    from ..verdicts import Protocol
    from .engine import Room
    from .parts import Floats

    Triple = tuple[Conditioning, Conditioning, Conditioning]

AT_A_TIME = 256   # rows whose words are in memory together
SCENE_STEPS = 10  # of the picture whose noise levels are looked at
SCENE_SEED = 1


@dataclass(frozen=True)
class Probe:
    """`effect` is the mean over `timesteps` of |e(test) - e(null)| / |e(null) - e(other)|, e being what the UNet predicts and | | the
    Euclidean length of all its numbers: a share without unit, 0 of what changes nothing.

    `attention`: the share of the UNet's attention that the embedding gets, by the share that nothing gets in its place. `heat`: where in
    the picture, (height, width) of latents, as multiples of its mean. `sound`: what it is compared with is finite.
    """

    effect: float
    timesteps: dict[int, float]
    sound: bool = True
    attention: float | None = None
    heat: Floats | None = None


@dataclass(frozen=True)
class Seen:
    """One row: the prediction, and with `watch` its heat."""

    predicted: torch.Tensor
    heat: torch.Tensor | None = None


def probe(
    model: Model, triples: Sequence[Triple], protocol: Protocol, *, rows: int | None = None, attention: bool = False
) -> list[Probe]:
    """A Probe for each (test, null, other): the prompt with the embedding, with nothing in its place, and the prompt of the other side.

    What several share is asked once. A row's numbers are its own, however many are asked together.
    """
    if not triples:
        return []
    different = {id(each): each for triple in triples for each in triple}
    asked = [(time, key) for time in protocol.timesteps for key in different]
    noisy = levels(model, protocol)
    found: dict[tuple[int, int], Seen] = {}
    for some in blocks(asked, different):
        seen = look(model, [(noisy[time], time, different[key]) for time, key in some], protocol, rows, attention=attention)
        found.update(zip(some, seen, strict=True))
    return [of_triple(triple, protocol.timesteps, found) for triple in triples]


def blocks(asked: Iterable[tuple[int, int]], different: dict[int, Conditioning]) -> list[list[tuple[int, int]]]:
    """What can be asked together: as many tokens each, and not too many."""
    by_length: dict[int, list[tuple[int, int]]] = {}
    for time, key in asked:
        by_length.setdefault(int(different[key].embeds.shape[0]), []).append((time, key))
    return [same[first : first + AT_A_TIME] for same in by_length.values() for first in range(0, len(same), AT_A_TIME)]


def of_triple(triple: Triple, timesteps: Sequence[int], found: dict[tuple[int, int], Seen]) -> Probe:
    """The numbers of one."""
    test, null, other = (id(each) for each in triple)
    effects: dict[int, float] = {}
    sound = True
    for time in timesteps:
        with_it, nothing, beside = (found[time, key].predicted for key in (test, null, other))
        whole = float((nothing - beside).norm())
        effects[time] = float((with_it - nothing).norm()) / whole if whole else 0.0
        sound = sound and isfinite(whole)
    watched = [(found[time, test].heat, found[time, null].heat) for time in timesteps]
    heats = [(one, two) for one, two in watched if one is not None and two is not None]
    mine, nothings = (torch.stack(each).mean(0) for each in zip(*heats, strict=True)) if heats else (None, None)
    share = float(mine.mean()) if mine is not None else 0.0
    usual = float(nothings.mean()) if nothings is not None else 0.0
    return Probe(
        effect=float(np.mean(list(effects.values()))), timesteps=effects, sound=sound,
        attention=share / usual if usual else None, heat=(mine / share).numpy() if mine is not None and share else None,
    )  # fmt: skip


# rows


@torch.inference_mode()
def look(
    model: Model, asked: Sequence[tuple[torch.Tensor, int, Conditioning]], protocol: Protocol, rows: int | None, *, attention: bool
) -> list[Seen]:
    """What the UNet predicts for latents at a time with words, each a row; always in one shape."""
    room = room_for(model.unet, model.device, protocol.width, protocol.height, rows or rows_for(model, protocol.width, protocol.height))
    words = [each for _, _, each in asked]
    context = context_of(model, words, [(protocol.seen_width, protocol.seen_height)] * len(words), len(words))
    latents = torch.stack([sample for sample, _, _ in asked]).to(model.device)
    times = torch.tensor([time for _, time, _ in asked], dtype=torch.float32, device=model.device)
    with failures(model.device):
        if not attention:
            return [Seen(row) for row in predict_plain(model, latents, times, context, room).cpu()]
        found = predict_watched(model, latents, times, context, slots_of(words).to(model.device), room).cpu()
    size = latents[0].numel()
    shape = latents.shape[1:]
    return [Seen(row[:size].view(shape), row[size:].view(shape[1:])) for row in found]


def predict_watched(
    model: Model, latents: torch.Tensor, times: torch.Tensor, context: Context, slots: torch.Tensor, room: Room
) -> torch.Tensor:
    """The prediction of each row and, behind it, how much of each pixel's attention the slots get."""
    size = (int(latents.shape[-2]), int(latents.shape[-1]))

    def call(
        sample: torch.Tensor, time: torch.Tensor, embeds: torch.Tensor, slots: torch.Tensor, *told: torch.Tensor | None
    ) -> torch.Tensor:
        more = {} if told[0] is None else {"added_cond_kwargs": dict(zip(("text_embeds", "time_ids"), told, strict=True))}
        watch = Watch(slots, size)
        with watched(model.unet, watch):
            predicted = call_unet(model, sample.to(embeds.dtype), time, embeds, **more)
        return torch.cat([predicted.flatten(1), watch.heat().flatten(1)], dim=1)

    return spread(room, call, latents, times, context.embeds, slots, context.pooled, context.ids)


def slots_of(words: Sequence[Conditioning]) -> torch.Tensor:
    """(rows, tokens): 1 where an injected vector stands, of whichever encoder."""
    marks = torch.zeros(len(words), words[0].embeds.shape[0])
    for row, each in enumerate(words):
        for places in each.slots.values():
            marks[row, list(places)] = 1.0
    return marks


# the picture


def levels(model: Model, protocol: Protocol) -> dict[int, torch.Tensor]:
    """Timestep -> the scene with as much noise, (4, height, width): the same noise for all."""
    picture = scene(model, protocol)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(SCENE_SEED))
    kept = scheduler_for("ddim", model.scheduler, SCENE_STEPS).alphas_cumprod
    return {time: kept[time].sqrt() * picture + (1 - kept[time]).sqrt() * noise for time in protocol.timesteps}


def scene(model: Model, protocol: Protocol) -> torch.Tensor:
    """Latents (4, height, width) of a picture of the checkpoint's own, without any embedding; drawn once, and grey where it cannot be."""
    template = without(protocol.prompt)
    key = ("scene", template, protocol.width, protocol.height, protocol.seen_width, protocol.seen_height, protocol.clip_skip)
    if key not in model.kept:
        words = encode(model, [Ask(template)], clip_skip=protocol.clip_skip)[0]
        order = Order("scene", words, None, SCENE_SEED, "euler", SCENE_STEPS, 1.0, protocol.width, protocol.height, protocol.seen_width,
                      protocol.seen_height)  # fmt: skip
        (drawn,) = denoise(model, [order])
        model.kept[key] = drawn.latents if drawn.finite else torch.zeros_like(drawn.latents)
    found: torch.Tensor = model.kept[key]
    return found
