"""stable-diffusion.cpp."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2")
SUFFIXES = {".safetensors": rules.SAFETENSORS, ".pt": rules.TORCH, ".ckpt": rules.TORCH}


def reads(form: Form) -> str:
    """Every tensor as wide as the encoder, whatever its key; the last one stays."""
    return rules.first_of(
        rules.opened(form, SUFFIXES),
        rules.plain_pickle(form),
        rules.arranged(form, ("a1111", *rules.ONE_TENSOR, "bundle_emb", "pti")),
        rules.one_file(form),
        _broken_xl(form) if form.vectors.keys() == rules.XL else "",
        "" if _f32(form) else f"needs F32 numbers, and these are {', '.join(form.dtype)}",
        rules.fits(form, BASES),
        rules.rank(form, (1, 2)),
        rules.takes_one(form, "last"),
        "loads, but with wrong vectors: it takes the output vectors, and needs the input vectors alone" if form.output_vectors else "",
    )


def _broken_xl(form: Form) -> str:
    """Its SDXL copies both encoders' vectors to the start of one buffer; what is not F32 stops before that."""
    why = "mixes the numbers of CLIP-L and bigG, and needs an SD 1.x or 2.x embedding"
    return f"loads, but with wrong vectors: it {why}" if _f32(form) else why


def _f32(form: Form) -> bool:
    return set(form.dtype) == {"F32"}


TARGET = Target(
    name="sdcpp",
    title="stable-diffusion.cpp",
    version="0.4.7",
    source="src/conditioning/conditioner.hpp: load_embedding; src/model_io",
    trigger="The file's stem in lower case.",
    prompt="NAME",
    where="the folder given to --embd-dir, no folder below it",
    bases=BASES,
    writes=(plans.EMB_PARAMS_F32, plans.EMB_PARAMS_PT_F32, plans.EMB_PARAMS_CKPT_F32),
    reads=reads,
)
