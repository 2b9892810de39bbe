"""What a test render is asked for and what it says, as values: the registry knows these without the libraries that render."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from embconv.converters import Finding

ENGINE = 2  # of registry/validation: one more whenever the same question gets another answer
RENDERED = ("sd1", "sd2", "sdxl")  # the bases that can be rendered
EMPHASES = ("a1111", "no_norm", "comfyui")
SAMPLERS = ("euler_a", "euler", "dpmpp_2m_karras", "dpmpp_2m_sde", "unipc", "ddim")
SHEETS = ("strength", "samplers", "prompts")
PROFILES = ("standard", "quick", "probe")
SEEDS = (1, 2)


class Protocol(Struct, frozen=True, kw_only=True):
    """How an embedding is judged: everything that changes a number or a picture.

    `{T}` in a prompt stands for the embedding. `prompt` is rendered with a positive one, `subject` beside a negative one. `timesteps` are
    those of the probe. `seen_width` and `seen_height` are what SDXL is told of the picture's size. Without `seeds` nothing is rendered.
    `sheets` and `prompts` (a person's own) only add pictures: see `measure`.
    """

    name: str
    base: str
    width: int
    height: int
    seen_width: int
    seen_height: int
    steps: int = 20
    cfg: float = 7.0
    sampler: str = "euler"
    seeds: tuple[int, ...] = SEEDS
    prompt: str = "a photo of {T}"
    negative_prompt: str = ""
    subject: str = "a photo of a woman"
    negative_template: str = "{T}"
    timesteps: tuple[int, ...] = (800, 600, 400, 200)
    weights: tuple[float, ...] = (0.4, 0.8, 1.0, 1.2, 1.5)
    emphasis: str = "a1111"
    clip_skip: int = 0
    sheets: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()


def protocol_for(base: str, size: int, *, name: str = "standard", **changes: Any) -> Protocol:
    """A profile for a checkpoint that draws `size` pixels: standard; quick, with 12 steps and SDXL at 3/4 of the size; probe, unseen."""
    quick = name == "quick"
    pixels = size * 3 // 4 // 8 * 8 if quick and base == "sdxl" else size
    emphasis = "no_norm" if base == "sdxl" else "a1111"
    made = Protocol(
        name=name, base=base, width=pixels, height=pixels, seen_width=size, seen_height=size, steps=12 if quick else 20,
        seeds=() if name == "probe" else SEEDS, emphasis=emphasis,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def protocol_id(protocol: Protocol) -> str:
    """16 hex that name a protocol: the same for the same fields."""
    return hashlib.sha256(msgspec.json.encode(protocol, order="sorted")).hexdigest()[:16]


def measure(protocol: Protocol) -> str:
    """16 hex that name what is measured: the protocol without what only adds pictures. Calibrations go by it."""
    return protocol_id(msgspec.structs.replace(protocol, name="", sheets=(), prompts=()))


def verdict_key(digest: str, fingerprint: str, protocol: Protocol) -> str:
    """The identity of a result: the same question to the same engine is answered once. `digest` with or without emb:."""
    parts = (digest.removeprefix("emb:"), fingerprint, protocol_id(protocol), str(ENGINE))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A model on this machine. `kind`: folder (of diffusers) or single_file; `size`: pixels that it was trained at.

    `fingerprint` is the sha256 of a single file; of a folder, that of the names and sha256 of its weights and configurations.
    `variant`: base, or v where it predicts v. `config`: a folder of configurations for a single file that is not built as the
    published models are. `stamp` changes with the sizes and times of its files: then the fingerprint is looked at again.
    """

    name: str
    base: str
    path: str
    kind: str
    fingerprint: str
    size: int
    variant: str = "base"
    config: str = ""
    stamp: str = ""
    added: str = ""


class Calibration(Struct, frozen=True, kw_only=True):
    """What ordinary words and repeated baselines measure with a checkpoint and a protocol (`measure`): number -> percentile -> value.

    `noise`: the most that a number changed between renders of the same thing.
    """

    fingerprint: str
    protocol: str
    words: int
    percentiles: dict[str, dict[str, float]] = {}
    noise: dict[str, float] = {}
    made: str = ""


class Cell(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one picture shows.

    `kind`: baseline (without the embedding), null (its place held by nothing), test, attention (a map), or the sheet it belongs to.
    `weight` is None where the embedding is not in it. `infotext` is A1111's line of parameters.
    """

    kind: str
    prompt: str
    negative_prompt: str = ""
    seed: int
    sampler: str
    steps: int
    cfg: float
    width: int
    height: int
    weight: float | None = None
    label: str = ""
    infotext: str = ""


class Picture(Struct, frozen=True, kw_only=True):
    """A cell and its WebP."""

    cell: Cell
    webp: bytes


class Verdict(Struct, frozen=True, kw_only=True):
    """What a test render showed. `state` is one of model.VERDICTS, `because` a sentence, `numbers` everything that was measured.

    `role` is the measured one where it can be told. `checkpoint` and `protocol` say what it holds for; `made_with`: versions, device.
    """

    state: str
    because: str
    numbers: dict[str, Any]
    role: str = "unknown"
    suggested_weight: float | None = None
    checkpoint: dict[str, Any]
    protocol: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    made_with: dict[str, str] = {}


class Judged(Struct, frozen=True, kw_only=True):
    """A verdict on one embedding with its pictures; `retry` where trying again may give another."""

    digest: str
    verdict: Verdict
    pictures: tuple[Picture, ...] = ()
    retry: bool = False


class Render(Struct, frozen=True, kw_only=True):
    """A picture that is kept: `id` is the sha256 of its WebP."""

    id: str
    size: int
    cell: Cell


class KeptVerdict(Struct, frozen=True, kw_only=True):
    """A verdict on record, with its pictures."""

    id: int
    key: str
    digest: str
    made: str
    verdict: Verdict
    renders: tuple[Render, ...] = ()


def shown_of(verdicts: Iterable[KeptVerdict]) -> Render | None:
    """A picture that shows what an embedding does: drawn with it, of the first verdict by which it does anything good."""
    working = (each for each in verdicts if each.verdict.state in ("pass", "weak"))
    return next((render for each in working for render in each.renders if render.cell.kind == "test"), None)


def summary_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a verdict says of its checkpoint."""
    return {"name": checkpoint.name, "base": checkpoint.base, "variant": checkpoint.variant, "fingerprint": checkpoint.fingerprint}


def protocol_summary(protocol: Protocol) -> dict[str, Any]:
    """What a verdict says of its protocol: all of it, its id and the engine."""
    return {"id": protocol_id(protocol), "engine": ENGINE, **msgspec.to_builtins(protocol)}
