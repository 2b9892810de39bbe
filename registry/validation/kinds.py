"""What a file of weights is, by the names and shapes in it: the base of a whole Stable Diffusion model, or what it is instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from embconv.converters import EmbconvError, Outline, identify

from ..render_errors import BadCheckpoint
from .headers import Header

if TYPE_CHECKING:
    from collections.abc import Iterable

UNET = "model.diffusion_model."
VAE = "first_stage_model."
WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}  # of the text that the UNet hears
# SD 2.x also stands under conditioner. where sgm saved it.
TEXT = {"sd1": ("cond_stage_model.",), "sd2": ("cond_stage_model.", "conditioner.embedders.0."),
        "sdxl": ("conditioner.embedders.0.", "conditioner.embedders.1.")}  # fmt: skip
# Channels that a UNet takes beside the four of a picture, and which model that is.
CHANNELS = {9: "an inpainting model", 8: "a model that edits or moves pictures (InstructPix2Pix, Stable Video Diffusion)",
            7: "an upscaler", 5: "a depth-to-image model"}  # fmt: skip
WHOLE = "Give the whole model as one .safetensors file, or the folder of its diffusers pipeline."
WIDER = "Give a file of the same model in fp16, bf16 or fp32."
OTHER_MODEL = "Models of SD 1.x, SD 2.x and SDXL are rendered here."


class Other(NamedTuple):
    """A kind of file that is no checkpoint which can be used: a clause, the pattern of one of its names, what the user can do."""

    what: str
    pattern: str
    hint: str = OTHER_MODEL


# Before a UNet is looked for: what also has its names.
OTHERS = (
    Other("is a LoRA (or one of its kin), not a whole model", r"lora_|\.lora\.|hada_w|lokr_|\.oft_|\.diff_b$", WHOLE),
    Other("is a ControlNet", r"^control_model\.|controlnet_|\.input_hint_block\."),
    Other("is a model of moving pictures", r"motion_modules|\.time_stack\.|\.temporal_"),
    Other("is Stable Diffusion 3", r"(^|\.)joint_blocks\."),
    Other("is Flux, or one of its kin", r"(^|\.)(double_blocks|single_blocks)\."),
    Other("is AuraFlow", r"(^|\.)double_layers\."),
    Other("is Stable Cascade", r"(^|\.)(clip_txt_mapper|down_blocks\.0\.0\.channelwise)"),
    Other("is Playground v2.5, whose noise is that of EDM", r"^edm_(mean|std)$"),
    Other("is CosXL, whose noise is that of EDM", r"^edm_vpred\."),
    Other("holds weights that were quantised",
          r"\.(weight_scale|scale_weight|absmax|quant_map|quant_state\..*|qweight)$|scaled_fp8", WIDER),
)  # fmt: skip
# Where there is no UNet by that name.
PARTS = (
    Other("is a UNet alone, without text encoder and VAE",
          r"^(input_blocks|middle_block|output_blocks)\.|^(down_blocks|up_blocks|mid_block)\.\d*\.?(resnets|attentions)\.", WHOLE),
    Other("is a VAE alone", r"^(first_stage_model\.)?(encoder|decoder)\.(conv_in|conv_out|mid)|quant_conv\.", WHOLE),
    Other("is a text encoder alone",
          r"text_model\.|^(cond_stage_model|conditioner)\.|^(transformer\.)?resblocks\.|token_embedding\.weight", WHOLE),
    Other("is a transformer, not a UNet", r"(^|\.)(transformer_blocks|joint_transformer_blocks|blocks|layers)\.\d+\."),
)  # fmt: skip


def base_of(path: str, header: Header) -> str:
    """sd1, sd2 or sdxl of a whole model in one file; BadCheckpoint says what the file is instead."""
    names = header.tensors
    if not names:
        raise BadCheckpoint(path, "holds no tensor")
    if is_embedding(header):
        raise BadCheckpoint(path, "is an embedding, not a checkpoint")
    refuse(path, names, OTHERS)
    if any(info.dtype.startswith("F8") for info in names.values()):
        raise BadCheckpoint(path, "holds weights in 8 bits (fp8)", WIDER)
    if f"{UNET}input_blocks.0.0.weight" not in names:
        refuse(path, names, PARTS)
        raise BadCheckpoint(path, "holds no Stable Diffusion model that is known here", OTHER_MODEL)
    base = of_unet(path, header)
    if not has(names, *TEXT[base]):
        raise BadCheckpoint(path, f"has no text encoder in it (nothing under {TEXT[base][0]})", WHOLE)
    if base == "sdxl" and not all(has(names, prefix) for prefix in TEXT[base]):
        raise BadCheckpoint(path, "has only one of SDXL's two text encoders", WHOLE)
    if not has(names, VAE):
        raise BadCheckpoint(path, f"has no VAE in it (nothing under {VAE})", WHOLE)
    return base


def of_unet(path: str, header: Header) -> str:
    """The base by the shapes of its UNet."""
    shapes = {name.removeprefix(UNET): info.shape for name, info in header.tensors.items() if name.startswith(UNET)}
    heard = (shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2)
    first = shapes["input_blocks.0.0.weight"]
    return of_sizes(path, next(heard, 0), first[1] if len(first) == 4 else 0, classes="label_emb.0.0.weight" in shapes)


def of_sizes(path: str, width: int, channels: int, *, classes: bool) -> str:
    """The base of a UNet that hears `width` numbers of text and takes `channels`; `classes`: it is told something beside them."""
    if channels in CHANNELS:
        raise BadCheckpoint(path, f"is {CHANNELS[channels]}: its UNet takes {channels} channels, not 4", OTHER_MODEL)
    if width == 1280:
        raise BadCheckpoint(path, "is SDXL's refiner, which goes on with pictures of the base model", "Give SDXL's base model.")
    base = WIDTHS.get(width)
    if base is None or channels != 4:
        raise BadCheckpoint(path, f"has a UNet that hears {width} numbers of text and takes {channels} channels", OTHER_MODEL)
    if classes != (base == "sdxl"):
        what = "is an unCLIP model, which wants a picture" if classes else "is built as SDXL, without what SDXL is told of sizes"
        raise BadCheckpoint(path, what, OTHER_MODEL)
    return base


def refuse(path: str, names: Iterable[str], others: tuple[Other, ...]) -> None:
    """BadCheckpoint where one of `others` has names like these."""
    for other in others:
        search = re.compile(other.pattern).search
        if any(search(name) for name in names):
            raise BadCheckpoint(path, other.what, other.hint)


def has(names: Iterable[str], *prefixes: str) -> bool:
    """Does a name begin so?"""
    return any(name.startswith(prefixes) for name in names)


def is_embedding(header: Header) -> bool:
    """Do the converters know it?"""
    try:
        identify(Outline(container="safetensors", root=header.tensors, metadata=header.metadata))
    except EmbconvError:
        return False
    return True
