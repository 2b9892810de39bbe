"""Where a weight of diffusers' or transformers' modules stands in a file: under which name of the original models, and in which shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .kinds import TEXT, UNET, VAE


class Place(NamedTuple):
    """A tensor of a file; `third`: which of the three matrices that stand in it one below the other; `turned`: rows for columns."""

    name: str
    third: int | None = None
    turned: bool = False


Places = Callable[[str], Iterator[Place]]  # the name of a weight -> where it may stand, the likeliest first

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "conv_shortcut": "skip_connection"}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # diffusers before 0.15
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": Place("token_embedding.weight"),
    "embeddings.position_embedding.weight": Place("positional_embedding"),
    "final_layer_norm.weight": Place("ln_final.weight"),
    "final_layer_norm.bias": Place("ln_final.bias"),
    "text_projection.weight": Place("text_projection", turned=True),
}
THIRDS = "qkv"
BLOCK = re.compile(
    r"(?P<side>down|mid|up)_blocks?(?:\.(?P<block>\d+))?"
    r"\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<place>\d+)\.(?P<rest>.+)"
)
VAE_BLOCK = re.compile(rf"(?P<half>encoder|decoder)\.{BLOCK.pattern}")
LAYER = re.compile(r"encoder\.layers\.(?P<number>\d+)\.(?P<rest>.+)")


# ---- in a folder ----


def plain(name: str) -> Iterator[Place]:
    """A part of a pipeline, as diffusers saved it, now or long ago."""
    yield Place(name)
    before, _, last = name.rpartition(".")
    for new, old in OLD_ATTENTION.items():
        if before.endswith(f".{new}"):
            yield Place(f"{before.removesuffix(new)}{old}.{last}")


def text_plain(name: str) -> Iterator[Place]:
    """A text encoder: transformers writes text_model. before its names, or, since 5.6, does not."""
    inner = name.removeprefix("text_model.")
    yield from (Place(name), Place(f"text_model.{inner}"), Place(inner))


# ---- in one file ----


def places(key: str, base: str, layers: int, blocks: int) -> Places:
    """Of a part (unet, vae, or an encoder) of a whole model, whose UNet has `layers` in a block and whose VAE has `blocks`."""
    if key == "unet":
        return lambda name: (Place(UNET + found) for found in unet(name, layers))
    if key == "vae":
        return lambda name: iter((Place(VAE + vae(name, blocks)),))
    prefixes = TEXT[base] if base == "sd2" else TEXT[base][-1:] if key == "clip_g" else TEXT[base][:1]
    find = clip if key == "clip_l" else open_clip
    return lambda name: (place for prefix in prefixes for place in find(name.removeprefix("text_model."), prefix))


def unet(name: str, layers: int) -> Iterator[str]:
    """LDM openaimodel.py numbers the blocks through; each is a list of its layers, and what changes the size is the last of them."""
    stem, _, end = name.rpartition(".")
    if stem in ENDS:
        yield f"{ENDS[stem]}.{end}"
        return
    found = BLOCK.fullmatch(name)
    if not found:
        return
    side, block, kind, place = found["side"], int(found["block"] or 0), found["kind"], int(found["place"])
    rest = renamed(found["rest"], RESNET) if kind == "resnets" else found["rest"]
    column = 0 if kind == "resnets" else 1
    number = block * (layers + 1) + place
    if side == "mid":
        yield f"middle_block.{column + 2 * place}.{rest}"
    elif kind == "downsamplers":
        yield f"input_blocks.{(block + 1) * (layers + 1)}.0.{rest.replace('conv', 'op', 1)}"
    elif kind == "upsamplers":  # behind the attention where there is one
        yield from (f"output_blocks.{number + layers}.{after}.{rest}" for after in (2, 1))
    else:
        yield f"input_blocks.{number + 1}.{column}.{rest}" if side == "down" else f"output_blocks.{number}.{column}.{rest}"


def vae(name: str, blocks: int) -> str:
    """LDM model.py: the decoder numbers its blocks from the picture inwards."""
    found = VAE_BLOCK.fullmatch(name)
    if not found:
        return name.replace("conv_norm_out", "norm_out")
    half, side, block, kind, place = found["half"], found["side"], int(found["block"] or 0), found["kind"], int(found["place"])
    if side == "mid":
        inner = f"block_{place + 1}" if kind == "resnets" else f"attn_{place + 1}"
        return f"{half}.mid.{inner}.{renamed(found['rest'], VAE_RESNET if kind == 'resnets' else VAE_ATTENTION)}"
    number = block if side == "down" else blocks - 1 - block
    inner = f"block.{place}" if kind == "resnets" else f"{side}sample"
    return f"{half}.{side}.{number}.{inner}.{renamed(found['rest'], VAE_RESNET)}"


def renamed(rest: str, table: dict[str, str]) -> str:
    """The end of a name whose stem a table has."""
    stem, _, end = rest.rpartition(".")
    return f"{table.get(stem, stem)}.{end}"


def clip(name: str, prefix: str) -> Iterator[Place]:
    """OpenAI's CLIP as transformers has it; files of before 2022-12 have no text_model. in their names."""
    yield Place(f"{prefix}transformer.text_model.{name}")
    yield Place(f"{prefix}transformer.{name}")


def open_clip(name: str, prefix: str) -> Iterator[Place]:
    """open_clip's names: queries, keys and values stand in one matrix."""
    if name in OPEN_CLIP_ENDS:
        place = OPEN_CLIP_ENDS[name]
        yield place._replace(name=f"{prefix}model.{place.name}")
    elif layer := LAYER.fullmatch(name):
        start = f"{prefix}model.transformer.resblocks.{layer['number']}"
        stem, _, end = layer["rest"].rpartition(".")
        if inner := re.fullmatch(r"self_attn\.([qkv])_proj", stem):
            yield Place(f"{start}.attn.in_proj_{end}", third=THIRDS.index(inner[1]))
        else:
            yield Place(f"{start}.{OPEN_CLIP.get(stem, stem)}.{end}")
