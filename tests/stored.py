"""Small files for the registry's tests, made by the converters' own writers: no torch needed."""

from __future__ import annotations

import random
import struct

from embconv.converters.containers import safetensors as safetensors_file
from embconv.converters.containers import torch_zip
from embconv.converters.model import Tensor


def numbers(seed: int, count: int = 2, width: int = 768, dtype: str = "F32") -> Tensor:
    """Vectors that half precision holds exactly, others for each seed."""
    dice = random.Random(f"{seed} {width}")
    values = [dice.randint(-512, 512) / 8192 for _ in range(count * width)]
    code = {"F32": "f", "F16": "e", "F64": "d"}[dtype]
    return Tensor(dtype, (count, width), struct.pack(f"<{len(values)}{code}", *values))


def a1111(seed: int, name: str = "style", step: int = 100, dtype: str = "F32") -> bytes:
    """An A1111 .pt."""
    tensor = numbers(seed, dtype=dtype)
    return torch_zip.write({"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": name, "step": step,
                            "sd_checkpoint": None, "sd_checkpoint_name": None})  # fmt: skip


def safetensors(seed: int, metadata: dict[str, str] | None = None, dtype: str = "F32") -> bytes:
    """A .safetensors with the same vectors as `a1111` of that seed."""
    return safetensors_file.write({"emb_params": numbers(seed, dtype=dtype)}, metadata or {})


def words(*seeds: int) -> bytes:
    """One file with an embedding for each seed."""
    return torch_zip.write({f"<word-{seed}>": numbers(seed, 1) for seed in seeds})


def sdxl(seed: int) -> bytes:
    """An SDXL embedding."""
    return safetensors_file.write({"clip_l": numbers(seed), "clip_g": numbers(seed, width=1280)}, {})
