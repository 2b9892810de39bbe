"""OneTrainer."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl", "sd3", "flux1", "chroma", "pixart", "hidream", "hunyuan_video", "sana")
SUFFIXES = {".safetensors": rules.SAFETENSORS, ".pt": rules.TORCH}
RENAMES = plans.PER_ENCODER_T5.renames


def reads(form: Form) -> str:
    """Under emp_params (with p) for SD 1.x and 2.x, else under its own name of each encoder."""
    one = form.vectors.keys() in rules.CLIPS
    return rules.first_of(
        "reads only emp_params" if one and "emp_params" not in form.keys else "",
        rules.opened(form, SUFFIXES),
        rules.plain_pickle(form),
        rules.fits(form, BASES),
        "" if one else _own_keys(form),
        rules.one_embedding(form),
        rules.rank(form, (2,)),
        _input_vectors(form) if one else "",
    )


def _own_keys(form: Form) -> str:
    for encoder in form.vectors:
        key = RENAMES.get(encoder, encoder)
        if key not in form.keys:
            return f"needs the vectors of {encoder} under the key {key}"
    return ""


def _input_vectors(form: Form) -> str:
    # BaseStableDiffusionSetup asks for emp_params_out, and for emp_params only where that is not there
    if "emp_params_out" in form.keys:
        return "loads, but with wrong vectors: it takes emp_params_out for the input, and needs emp_params alone"
    return ""


TARGET = Target(
    name="onetrainer",
    title="OneTrainer",
    version="23df3832",
    source="modules/modelSetup/BaseStableDiffusionSetup.py and its kin for each base",
    trigger="The placeholder set beside the embedding, at first <embedding>.",
    prompt="<embedding>",
    where="any path, given as the embedding's base",
    bases=BASES,
    writes=(plans.EMP_PARAMS, plans.EMP_PARAMS_PT, plans.PER_ENCODER_T5, plans.PER_ENCODER_T5_PT),
    reads=reads,
)
