"""Where the UNet looks: how much of its cross-attention goes to some of the tokens, pixel by pixel.

As DAAM does (Tang et al. 2022, arXiv 2210.04885): the attention of all heads and layers, each layer's map brought to the size of the
latents. The softmax has to be there to be looked at, so this is for a few calls and never for the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Watch:
    """What the layers of one call of the UNet add up to. `tokens` is (rows, tokens), 1 for those that are watched; `size` of latents."""

    def __init__(self, tokens: torch.Tensor, size: tuple[int, int]) -> None:
        self._tokens, self._size = tokens, size
        self._sum = torch.zeros(tokens.shape[0], *size, device=tokens.device)
        self._layers = 0

    def see(self, attention: torch.Tensor, heads: int) -> None:
        """Take in a layer's probabilities, (rows * heads, pixels, tokens)."""
        rows, tokens = self._tokens.shape
        mass = torch.einsum("rhpt,rt->rp", attention.float().view(rows, heads, -1, tokens), self._tokens) / heads
        shape = halved(self._size, mass.shape[1])
        self._sum += torch.nn.functional.interpolate(mass.view(rows, 1, *shape), self._size, mode="nearest")[:, 0]
        self._layers += 1

    def heat(self) -> torch.Tensor:
        """(rows, height, width): the share of a pixel's attention that goes to the watched tokens, mean of all layers and heads."""
        return self._sum / max(1, self._layers)


def halved(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """The shape of a layer with so many pixels: UNets halve latents, and of an odd side the larger half stays."""
    height, width = size
    while height * width > pixels:
        height, width = -(-height // 2), -(-width // 2)
    return height, width


class Watching:
    """diffusers' AttnProcessor with the softmax in the open; it computes the same."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None,
        *_: Any, **__: Any,
    ) -> torch.Tensor:  # fmt: skip
        words = attn.norm_encoder_hidden_states(encoder_hidden_states) if attn.norm_cross else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(words), attn.to_v(words)
        query, key, value = (attn.head_to_batch_dim(each).contiguous() for each in (query, key, value))
        attention = attn.get_attention_scores(query, key, attention_mask)
        self._watch.see(attention, attn.heads)
        found = attn.batch_to_head_dim(torch.bmm(attention, value))
        for layer in attn.to_out:
            found = layer(found)
        return found / attn.rescale_output_factor  # type: ignore[no-any-return]  # diffusers' modules have no types


@contextmanager
def watched(unet: Any, watch: Watch) -> Iterator[None]:
    """Inside, every cross-attention of the UNet tells what it looks at; afterwards the UNet is as it was."""
    before = dict(unet.attn_processors)
    looking = {name: Watching(watch) if ".attn2." in name else processor for name, processor in before.items()}
    try:
        unet.set_attn_processor(looking)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        unet.set_attn_processor(before)
