"""What a checkpoint does without the embedding, or with nothing in its place: made once for a checkpoint and a way of measuring."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import verdicts
from .encoders import inner
from .engine import precise
from .parts import Conditioning, Model, Order
from .prompts import SLOT, without
from .text import Ask, encode, level

if TYPE_CHECKING:
    from ..verdicts import Protocol
    from .measure import Shot
    from .parts import Floats

Counts = tuple[tuple[str, int], ...]  # encoder -> vectors
Held = int | Counts | None            # what stands at {T}: the embedding of that number, as much of nothing, or it is not there

KEPT_BYTES = 512 << 20  # of pictures without the embedding
KEPT_PROMPTS = 256

# What a picture leans to. A negative embedding is trained on what the first name; both stand where the embedding would.
LEANINGS = {"bad": "worst quality, low quality, blurry, ugly, deformed", "good": "best quality, sharp, detailed, beautiful"}


class Prompt(NamedTuple):
    """A template and what stands in it."""

    template: str
    held: Held = None
    weight: float = 1.0


class Wanted(NamedTuple):
    """A picture: two are the same if this is."""

    positive: Prompt
    negative: Prompt
    sampler: str
    seed: int

    @property
    def shared(self) -> bool:
        """Is it the same for every embedding?"""
        return not any(isinstance(prompt.held, int) for prompt in (self.positive, self.negative))


def prompts_of(protocol: Protocol, side: str, held: Held, weight: float = 1.0) -> tuple[Prompt, Prompt]:
    """The prompt and the negative prompt with the embedding, or what stands for it, on one side."""
    if side == "negative":
        return placed(protocol.subject), placed(protocol.negative_template, held, weight)
    return placed(protocol.prompt, held, weight), placed(protocol.negative_prompt)


def leaning_to(protocol: Protocol, kind: str) -> tuple[Prompt, Prompt]:
    """The prompts with words of LEANINGS in the embedding's place."""
    return placed(protocol.prompt.replace(SLOT, LEANINGS[kind])), placed(protocol.negative_prompt)


def placed(template: str, held: Held = None, weight: float = 1.0) -> Prompt:
    """Without an embedding the place goes too, so that the same words are the same prompt."""
    return Prompt(without(template)) if held is None else Prompt(template, held, weight)


def counts_of(vectors: Mapping[str, Floats]) -> Counts:
    """As much as an embedding takes up."""
    return tuple(sorted((key, len(rows)) for key, rows in vectors.items()))


class Controls:
    """The prompts and pictures of a checkpoint that many embeddings are compared with."""

    def __init__(self, model: Model, protocol: Protocol) -> None:
        self.model, self.protocol = model, protocol
        self._read: OrderedDict[Prompt, Conditioning] = OrderedDict()
        self._shots: OrderedDict[Wanted, Shot] = OrderedDict()
        self._bytes = 0
        self._means = {encoder.key: mean_of(encoder) for encoder in model.encoders}

    def nothing(self, counts: Counts) -> dict[str, Floats]:
        """The mean of the vocabulary, as often as the embedding has vectors."""
        return {key: np.repeat(self._means[key], count, axis=0) for key, count in counts if key in self._means}

    def read(self, prompts: Iterable[Prompt], vectors: Mapping[int, Mapping[str, Floats]]) -> dict[Prompt, Conditioning]:
        """Prompts as the UNet takes them; `vectors` by what an embedding is called in them."""
        found = {prompt: self._read.get(prompt) for prompt in prompts}
        new = [prompt for prompt, known in found.items() if known is None]
        nothing = {prompt.held: self.nothing(prompt.held) for prompt in new if isinstance(prompt.held, tuple)}
        asks = [Ask(prompt.template, self._vectors(prompt.held, vectors, nothing), weight=prompt.weight) for prompt in new]
        made = encode(self.model, asks, emphasis=self.protocol.emphasis, clip_skip=self.protocol.clip_skip)
        for prompt, conditioning in zip(new, made, strict=True):
            found[prompt] = conditioning
            if not isinstance(prompt.held, int):
                self._read[prompt] = conditioning
        while len(self._read) > KEPT_PROMPTS:
            self._read.popitem(last=False)
        return {prompt: conditioning for prompt, conditioning in found.items() if conditioning is not None}

    @staticmethod
    def _vectors(held: Held, vectors: Mapping[int, Any], nothing: Mapping[Counts, Any]) -> Mapping[str, Floats] | None:
        return None if held is None else vectors[held] if isinstance(held, int) else nothing[held]

    def level(self, *several: Conditioning) -> list[Conditioning]:
        """The same with equally many chunks."""
        return level(self.model, several, clip_skip=self.protocol.clip_skip)

    def order(self, want: Wanted, read: Mapping[Prompt, Conditioning]) -> Order:
        """What is to be drawn for it."""
        told = self.protocol
        positive, negative = self.level(read[want.positive], read[want.negative])
        return Order(want, positive, negative, want.seed, want.sampler, told.steps, told.cfg, told.width, told.height, told.seen_width,
                     told.seen_height)  # fmt: skip

    def shot(self, want: Wanted) -> Shot | None:
        """A picture that was drawn before."""
        if want in self._shots:
            self._shots.move_to_end(want)
        return self._shots.get(want)

    def keep(self, want: Wanted, shot: Shot) -> None:
        """Keep a picture; those that nobody has asked for longest go."""
        if want in self._shots:
            return
        self._shots[want] = shot
        self._bytes += shot.pixels.nbytes
        while self._bytes > KEPT_BYTES and len(self._shots) > 1:
            self._bytes -= self._shots.popitem(last=False)[1].pixels.nbytes


def controls_of(model: Model, protocol: Protocol) -> Controls:
    """Those of a checkpoint in memory, for as long as it is there."""
    key = ("controls", verdicts.measure(protocol))
    if key not in model.kept:
        model.kept[key] = Controls(model, protocol)
    kept: Controls = model.kept[key]
    return kept


def mean_of(encoder: Any) -> Floats:
    """The mean of an encoder's vocabulary, (1, width)."""
    table = inner(encoder).embeddings.token_embedding.weight
    mean: Floats = precise(table.detach()).mean(dim=0, keepdim=True).float().cpu().numpy()
    return mean
