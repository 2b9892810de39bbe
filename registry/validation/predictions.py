"""Does a model predict the noise or v? Its weights do not say it; what stands beside them does, more or less surely."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .headers import numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .headers import Header

TYPES = {"base": "epsilon", "v": "v_prediction"}  # variant -> diffusers' word
YAML_BYTES = 1 << 16
# ComfyUI supported_models.py, SD20.model_type: v where these numbers spread by more than 0.09.
TELLING, SPREAD = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09


def variant_of(path: str, header: Header, base: str) -> str:
    """Noise (base) or v, by the first thing that tells it."""
    return next(evidence(path, header, base), "base")


def evidence(path: str, header: Header, base: str) -> Iterator[str]:
    """What the file and its neighbours say, the surest first."""
    if "v_pred" in header.tensors:  # the mark of ComfyUI, kept by A1111 and Forge
        yield "v"
    for key in ("modelspec.predict_key", "modelspec.prediction_type"):
        if said := header.metadata.get(key, "").lower():
            yield "v" if said.startswith("v") else "base"
    architecture = header.metadata.get("modelspec.architecture", "")
    if architecture.startswith("stable-diffusion-v2-"):
        yield "v" if architecture.endswith("-v") else "base"
    if (beside := sidecar(path)) is not None:
        yield "v" if re.search(r"parameterization:\s*[\"']?v\b", beside) else "base"
    if base == "sd2":
        yield from of_sd2(path, header)


def of_sd2(path: str, header: Header) -> Iterator[str]:
    """SD 2.x has both: by the published names (v2-1_768-ema-pruned, 512-base-ema), or by its numbers."""
    sizes = re.findall(r"(?<!\d)(512|768)(?!\d)", os.path.basename(path))
    if len(set(sizes)) == 1:
        yield "v" if sizes[0] == "768" else "base"
    info = header.tensors.get(TELLING)
    if info is not None and len(info.shape) == 1:
        yield "v" if float(numbers_of(path, TELLING).std()) > SPREAD else "base"


def sidecar(path: str) -> str | None:
    """The configuration of A1111 beside a checkpoint: the same name, .yaml."""
    try:
        with open(f"{os.path.splitext(path)[0]}.yaml", encoding="utf-8", errors="replace") as file:
            return file.read(YAML_BYTES)
    except OSError:
        return None
