"""The loop: pictures of many embeddings, seeds, samplers and step counts share each call of one UNet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .engine import Room, attempt, call_unet, compile_unet, failures, filled, in_float32, room_for, rows_for, spread
from .parts import Drawn
from .samplers import SAMPLERS, scheduler_for

if TYPE_CHECKING:
    from .parts import Conditioning, Model, Order

    Shape = tuple[int, int, int, bool]  # width, height, tokens, whether the UNet is told more
    Result = tuple[Order, torch.Tensor, bool]  # the latents, and whether they are finite

CHANNELS = 4  # of a latent
ALONE = 2     # rows in which what failed is repeated: a picture's positive and negative


@dataclass(frozen=True)
class Context:
    """The words of some rows as the UNet takes them; with SDXL `pooled` and the `ids` of its sizes too."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    ids: torch.Tensor | None = None


@dataclass
class Crowd:
    """Orders that began together with one sampler and as many steps: they share a scheduler, whose state has a row for each."""

    orders: list[Order]
    scheduler: Any
    generators: list[torch.Generator]
    latents: torch.Tensor
    noisy: bool
    times: torch.Tensor  # of its steps, on the device: a number that is sent there at a step waits for the step before
    step: int = 0

    @property
    def ended(self) -> bool:
        return self.step == self.times.shape[0]


@dataclass(frozen=True)
class Batch:
    """What stays the same until orders come or go. `sources`: row -> order; `positive`, `negative`: order -> row; `cfg`: one an order."""

    context: Context
    sources: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    cfg: torch.Tensor


def denoise(model: Model, orders: Iterable[Order], *, rows: int | None = None, compiled: bool = False) -> Iterator[Drawn]:
    """The latents of orders, as they end. `orders` is read only as far as there is room; each shape has its turn."""
    if compiled:
        compile_unet(model)
    waiting = Waiting(orders)
    while (shape := waiting.shape()) is not None:
        width, height = shape[:2]
        room = room_for(model.unet, model.device, width, height, rows or rows_for(model, width, height))
        yield from of_one_shape(model, waiting, shape, room)


def of_one_shape(model: Model, waiting: Waiting, shape: Shape, room: Room) -> Iterator[Drawn]:
    """All that is there of a shape. What is not finite is repeated in float32, two rows at a time, before anything is said of it."""
    failed: list[Order] = []
    single = model.unet.dtype == torch.float32
    for order, latents, finite in run(model, waiting, shape, room):
        if finite or single:
            yield Drawn(order.key, latents, finite)
        else:
            failed.append(order)
    if not failed:
        return
    again = Waiting(failed)
    small = Room(min(ALONE, room.rows), room.device, room.width, room.height)
    with in_float32(model.unet, room.device, room.width, room.height):
        drawn = [Drawn(order.key, latents, finite, retried=True)
                 for order, latents, finite in run(model, again, shape, small)]  # fmt: skip
    yield from drawn


def run(model: Model, waiting: Waiting, shape: Shape, room: Room) -> Iterator[Result]:
    """Steps of all running orders of a shape; whoever ends makes room for others. At least one runs, however small the room.

    Where memory runs out beside the UNet, which halves by itself, what runs begins anew in half the room.
    """
    crowds: list[Crowd] = []
    batch: Batch | None = None
    while True:
        running = [order for crowd in crowds for order in crowd.orders]
        fresh = waiting.take(shape, room.rows - sum(map(rows_of, running)) if running else max(ALONE, room.rows))
        if not fresh and not running:
            return
        made = attempt(room, step, model, crowds, batch, fresh, room)
        if made is None:
            waiting.back(shape, [*running, *fresh])
            crowds, batch = [], None  # some of them may be a step further than others
        else:
            crowds, batch, ended = made
            yield from ended


def step(
    model: Model, crowds: list[Crowd], batch: Batch | None, fresh: Sequence[Order], room: Room
) -> tuple[list[Crowd], Batch | None, list[Result]]:
    """One step of all, with those that begin at it: what runs on, and what has ended."""
    if fresh or batch is None:
        crowds = [*crowds, *begin(model, fresh)]
        batch = batch_of(model, [order for crowd in crowds for order in crowd.orders], room.rows)
    advance(model, crowds, batch, room)
    ended = [result for crowd in crowds if crowd.ended for result in results(crowd)]
    return ([crowd for crowd in crowds if not crowd.ended], None, ended) if ended else (crowds, batch, ended)


def begin(model: Model, orders: Sequence[Order]) -> list[Crowd]:
    """Orders at their first step. A seed's noise is drawn on the CPU, so that it is the same everywhere."""
    groups: dict[tuple[str, int], list[Order]] = {}
    for order in orders:
        groups.setdefault((order.sampler, order.steps), []).append(order)
    crowds = []
    for (sampler, steps), group in groups.items():
        scheduler = scheduler_for(sampler, model.scheduler, steps)
        size = (1, CHANNELS, group[0].height // model.factor, group[0].width // model.factor)
        generators = [torch.Generator().manual_seed(order.seed) for order in group]
        noise = torch.cat([torch.randn(size, generator=generator) for generator in generators])
        latents = noise.to(model.device) * scheduler.init_noise_sigma
        times = scheduler.timesteps.to(model.device, torch.float32)
        crowds.append(Crowd(group, scheduler, generators, latents, SAMPLERS[sampler].noisy, times))
    return crowds


def batch_of(model: Model, orders: Sequence[Order], rows: int) -> Batch:
    """The rows of running orders: negative and positive of each, side by side; without guidance one stands for both."""
    words: list[Conditioning] = []
    sources, positive, negative, seen = [], [], [], []
    for place, order in enumerate(orders):
        sides = [order.positive] if order.negative is None else [order.negative, order.positive]
        negative.append(len(words))
        words += sides
        positive.append(len(words) - 1)
        sources += [place] * len(sides)
        seen += [(order.seen_width or order.width, order.seen_height or order.height)] * len(sides)
    cfg = [1.0 if order.negative is None else order.cfg for order in orders]

    def places(of: list[int]) -> torch.Tensor:
        return torch.tensor(of, device=model.device)

    context = context_of(model, words, seen, -(-len(words) // rows) * rows)
    return Batch(context, places(sources), places(positive), places(negative), torch.tensor(cfg, device=model.device).view(-1, 1, 1, 1))


def context_of(model: Model, words: Sequence[Conditioning], seen: Sequence[tuple[int, int]], rows: int) -> Context:
    """The words of rows, filled up with zeros to so many."""
    dtype = model.unet.dtype
    embeds = filled(torch.stack([each.embeds for each in words]).to(model.device, dtype), rows)
    if words[0].pooled is None:
        return Context(embeds)
    pooled = torch.stack([each.pooled for each in words if each.pooled is not None]).to(model.device, dtype)
    # original size, crop and target size, each with its height first; the target is what is told too, or it would contradict it
    ids = torch.tensor([(high, wide, 0, 0, high, wide) for wide, high in seen], dtype=torch.float32, device=model.device)
    return Context(embeds, filled(pooled, rows), filled(ids, rows))


@torch.inference_mode()
def advance(model: Model, crowds: Sequence[Crowd], batch: Batch, room: Room) -> None:
    """One step of all."""
    samples = [crowd.scheduler.scale_model_input(crowd.latents, crowd.scheduler.timesteps[crowd.step]) for crowd in crowds]
    times = [crowd.times[crowd.step].expand(len(crowd.orders)) for crowd in crowds]
    found = predict(model, torch.cat(samples)[batch.sources], torch.cat(times)[batch.sources], batch.context, room)
    without = found[batch.negative]
    guided = without + batch.cfg * (found[batch.positive] - without)
    shares = torch.split(guided, [len(crowd.orders) for crowd in crowds])
    for crowd, prediction in zip(crowds, shares, strict=True):
        noise = {"generator": crowd.generators} if crowd.noisy else {}
        time = crowd.scheduler.timesteps[crowd.step]
        crowd.latents = crowd.scheduler.step(prediction, time, crowd.latents, **noise, return_dict=False)[0]
        crowd.step += 1


def predict(model: Model, samples: torch.Tensor, times: torch.Tensor, context: Context, room: Room) -> torch.Tensor:
    """What the UNet says of rows, in float32."""
    layout = torch.channels_last if model.device.type == "cuda" else torch.contiguous_format

    def call(sample: torch.Tensor, time: torch.Tensor, embeds: torch.Tensor, *told: torch.Tensor | None) -> torch.Tensor:
        more = {} if told[0] is None else {"added_cond_kwargs": dict(zip(("text_embeds", "time_ids"), told, strict=True))}
        return call_unet(model, sample.to(embeds.dtype, memory_format=layout), time, embeds, **more)

    return spread(room, call, samples, times, context.embeds, context.pooled, context.ids)


@torch.inference_mode()
def forward(
    model: Model, latents: torch.Tensor, timesteps: torch.Tensor, conditionings: Sequence[Conditioning], *,
    seen: tuple[int, int], rows: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """What the UNet predicts, in float32, of any number of rows, each with its time and words. `seen`: width and height told to SDXL."""
    height, width = (int(side) * model.factor for side in latents.shape[-2:])
    room = room_for(model.unet, model.device, width, height, rows or rows_for(model, width, height))
    context = context_of(model, conditionings, [seen] * len(conditionings), len(conditionings))
    with failures(model.device):
        return predict(model, latents.to(model.device), timesteps.to(model.device, torch.float32), context, room)


def results(crowd: Crowd) -> list[Result]:
    """What came out. A number that is no number at any step is none at the end: no sampler takes it out again."""
    latents = crowd.latents.float().cpu()
    finite = latents.isfinite().flatten(1).all(1).tolist()
    return list(zip(crowd.orders, latents, finite, strict=True))


def rows_of(order: Order) -> int:
    """Rows of the UNet that a step of it takes."""
    return 1 if order.negative is None else 2


def shape_of(order: Order) -> Shape:
    """What has to be equal in one call."""
    return order.width, order.height, int(order.positive.embeds.shape[0]), order.positive.pooled is not None


class Waiting:
    """Orders that have not begun, by their shape: only those of one shape can share a call."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._more = iter(orders)
        self._by_shape: dict[Shape, deque[Order]] = {}

    def shape(self) -> Shape | None:
        """The shape of the order that has waited longest."""
        if not self._by_shape and not self._pull():
            return None
        return next(iter(self._by_shape))

    def take(self, shape: Shape, room: int) -> list[Order]:
        """Orders of a shape that fit into so many rows."""
        taken: list[Order] = []
        while True:
            if not self._by_shape.get(shape):
                if not self._pull():
                    break
                continue
            room -= rows_of(self._by_shape[shape][0])
            if room < 0:
                break
            taken.append(self._by_shape[shape].popleft())
        if not self._by_shape.get(shape):
            self._by_shape.pop(shape, None)
        return taken

    def back(self, shape: Shape, orders: Sequence[Order]) -> None:
        """Orders of a shape that are to begin once more, before all others of it."""
        self._by_shape.setdefault(shape, deque()).extendleft(reversed(orders))

    def _pull(self) -> bool:
        order = next(self._more, None)
        if order is None:
            return False
        self._by_shape.setdefault(shape_of(order), deque()).append(order)
        return True
