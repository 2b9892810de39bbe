"""Tiny random pipelines, made once for each process: folders, diffusers' own objects, and embeddings for them."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in processes that tests start

WIDTHS = {"sd1": {"clip_l": 768}, "sd2": {"clip_h": 1024}, "sd2v": {"clip_h": 1024}, "sdxl": {"clip_l": 768, "clip_g": 1280}}


@cache
def tiny() -> dict[str, Any]:
    """docs/_tiny.py, which makes them."""
    return runpy.run_path(str(Path(__file__).parents[3] / "docs" / "_tiny.py"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Where several processes test at once, threads that wait for each other take ten times as long."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pipeline() -> Callable[[str], Any]:
    """A pipeline of diffusers by its base (sd1, sd2, sd2v, sdxl), the same object each time: leave its weights as they are."""
    return cache(tiny()["pipeline"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same saved as diffusers does, by its base."""
    return cache(lambda base: tiny()["write"](tmp_path_factory.mktemp("tiny") / base, base))


@pytest.fixture(scope="session")
def model(pipeline: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same as our Model in float32 on the CPU, by its base, without going through a file."""
    return cache(lambda base: of_pipeline(pipeline(base), base))


def of_pipeline(pipe: Any, base: str) -> Any:
    """Our Model of a pipeline of diffusers, sharing its modules."""
    import torch

    from embconv.registry.validation.parts import Model, TextEncoder
    from embconv.registry.verdicts import Checkpoint

    checkpoint = Checkpoint(name=f"tiny-{base}", base="sd2" if base == "sd2v" else base, path="", kind="folder", fingerprint="0" * 64, size=64,
                            variant="v" if base == "sd2v" else "base")  # fmt: skip
    parts = [(pipe.tokenizer, pipe.text_encoder)]
    parts += [(pipe.tokenizer_2, pipe.text_encoder_2)] if base == "sdxl" else []
    encoders = tuple(TextEncoder(key, words, module) for key, (words, module) in zip(WIDTHS[base], parts, strict=True))
    return Model(checkpoint=checkpoint, encoders=encoders, unet=pipe.unet, vae=pipe.vae, scheduler=dict(pipe.scheduler.config),
                 device=torch.device("cpu"), dtype=torch.float32)  # fmt: skip


def vectors(base: str, count: int = 1, *, seed: int = 0, scale: float = 0.02) -> dict[str, Any]:
    """Random vectors for the encoders of a base: encoder -> (count, width) float32 of numpy."""
    import numpy as np

    dice = np.random.default_rng(seed)
    return {key: (dice.standard_normal((count, width)) * scale).astype(np.float32) for key, width in WIDTHS[base].items()}
