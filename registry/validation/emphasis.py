"""Emphasis: what an encoder said is weighted, in the three ways that other programs do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    # what an encoder said (77, width), the weight of each token (77, 1), what it says of the empty prompt
    Emphasise = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def original(hidden: torch.Tensor, weights: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
    """A1111 sd_emphasis.py, EmphasisOriginal, for one prompt: then everything is brought back to the old mean, all 77 rows."""
    louder = hidden * weights
    return louder * (hidden.mean() / louder.mean())


def no_norm(hidden: torch.Tensor, weights: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
    """A1111 sd_emphasis.py, EmphasisOriginalNoNorm."""
    return hidden * weights


def from_nothing(hidden: torch.Tensor, weights: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
    """ComfyUI sd1_clip.py, ClipTokenWeightEncoder: away from the empty prompt, in those rows alone."""
    return (nothing + weights * (hidden - nothing)).where(weights != 1.0, hidden)


EMPHASISE: dict[str, tuple[str, Emphasise]] = {
    "a1111": ("a1111", original),
    "no_norm": ("a1111", no_norm),
    "comfyui": ("comfyui", from_nothing),
}
