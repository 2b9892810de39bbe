"""What diffusers makes of prompts and of embeddings, one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from .conftest import WIDTHS


def parts(pipe: Any, base: str) -> dict[str, tuple[Any, Any]]:
    """Encoder -> tokenizer and module of a pipeline."""
    second = [(pipe.tokenizer_2, pipe.text_encoder_2)] if base == "sdxl" else []
    return dict(zip(WIDTHS[base], [(pipe.tokenizer, pipe.text_encoder), *second], strict=True))


def theirs(pipe: Any, base: str, prompt: str, **more: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What diffusers makes of a prompt."""
    with torch.no_grad():
        found = pipe.encode_prompt(prompt=prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False, **more)
    return found[0][0], found[2][0] if base == "sdxl" else None


@contextmanager
def embedding(pipe: Any, base: str, token: str, given: dict[str, Any]) -> Iterator[None]:
    """A pipeline with an embedding loaded, which is unloaded afterwards."""
    for key, (words, module) in parts(pipe, base).items():
        pipe.load_textual_inversion({token: torch.tensor(given[key])}, token=token, tokenizer=words, text_encoder=module)
    yield
    for words, module in parts(pipe, base).values():
        pipe.unload_textual_inversion(tokenizer=words, text_encoder=module)


def learned(pipe: Any, base: str, token: str, given: dict[str, Any], prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What it makes of a prompt with an embedding."""
    with embedding(pipe, base, token, given):
        return theirs(pipe, base, prompt)


def changeable(pipe: Any, base: str) -> Any:
    """A copy of the text half of a pipeline, which may be changed."""
    pipe = copy.copy(pipe)
    for name in ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")[: 4 if base == "sdxl" else 2]:
        setattr(pipe, name, copy.deepcopy(getattr(pipe, name)))
    for _, module in parts(pipe, base).values():  # it takes long to choose rows that are overwritten
        module.resize_token_embeddings = partial(module.resize_token_embeddings, mean_resizing=False)
    return pipe
