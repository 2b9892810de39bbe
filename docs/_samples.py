"""The sample files of the demo and of these pages: small, made here, the same each time."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from functools import cache
from pathlib import Path

from embconv.converters.containers import image, safetensors, torch_zip
from embconv.converters.model import Tensor

# What a program would run that simply loads the file: os.system("echo You have been had.")
COMMAND = b"echo You have been had."
TRAP = b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(COMMAND)) + COMMAND + b"\x85R."

SPREAD = 13  # times 1/1024: vectors of CLIP-L are then about 0.35 long, as its own words are


def vectors(count: int, width: int, seed: int = 0) -> Tensor:
    """Numbers that half precision and every platform hold exactly, so that no page differs from one machine to the next."""
    dice = random.Random(f"{seed} {count} {width}")  # noqa: S311  # sample data
    values = [sum(dice.randint(-SPREAD, SPREAD) for _ in range(3)) / 1024 for _ in range(count * width)]
    return Tensor("F32", (count, width), struct.pack(f"<{len(values)}f", *values))


def with_nan(tensor: Tensor) -> Tensor:
    """The same with a NaN in the last vector."""
    return Tensor(tensor.dtype, tensor.shape, tensor.data[:-4] + struct.pack("<f", float("nan")))


def a1111(name: str, tensor: Tensor, step: int = 3000) -> dict[str, object]:
    """A1111's dictionary."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": tensor},
        "name": name,
        "step": step,
        "sd_checkpoint": "81761151",
        "sd_checkpoint_name": "v1-5-pruned-emaonly",
    }


def trap() -> bytes:
    """A torch file that looks like any other and would start a program in a tool that simply loads it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in (("archive/data.pkl", TRAP), ("archive/version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


def lora() -> bytes:
    """The beginning of a LoRA, which people keep with their embeddings by mistake."""
    down, up = vectors(4, 768), Tensor("F32", (768, 4), vectors(4, 768).data)
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    return safetensors.write({f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}, {})


def picture() -> bytes:
    """A picture that carries an embedding, as A1111 makes them."""
    return image.write(a1111("harbour", vectors(2, 768, seed=5)), name="harbour", subtitle="2 vectors, step 3,000")


@cache
def files() -> dict[str, bytes]:
    """Name -> bytes of every sample that needs no torch."""
    moonpaper = vectors(4, 768)
    return {
        "moonpaper.pt": torch_zip.write(a1111("moonpaper-v3", moonpaper), "moonpaper-v3"),
        "fox-toy.bin": torch_zip.write({"<fox-toy>": vectors(1, 768, seed=1)}),
        "paper-xl.safetensors": safetensors.write({"clip_l": vectors(2, 768, seed=2), "clip_g": vectors(2, 1280, seed=2)}, {}),
        "old-style.safetensors": safetensors.write({"emb_params": vectors(4, 1024, seed=3)}, {}),
        "epoch9.safetensors": safetensors.write({"clip_g": vectors(2, 768, seed=4)}, {}),
        "harbour.png": picture(),
        "pair/learned_embeds.safetensors": safetensors.write({"<tin-lamp>": vectors(1, 768, seed=6)}, {}),
        "pair/learned_embeds_2.safetensors": safetensors.write({"<tin-lamp>": vectors(1, 1280, seed=6)}, {}),
        "two-words.bin": torch_zip.write({"<blot-ink>": vectors(1, 768, seed=7), "<blot-wash>": vectors(1, 768, seed=8)}),
        "burnt.safetensors": safetensors.write({"emb_params": with_nan(vectors(4, 768, seed=9))}, {}),
        "free-download.pt": trap(),
        "detail.safetensors": lora(),
    }


def write(folder: Path, *names: str) -> None:
    """Write the samples called so, or all, into `folder`."""
    made = files()
    for name in names or made:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[name])
