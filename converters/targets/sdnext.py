"""SD.Next."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl", "sd3", "flux1")  # sd3 and flux1 by reading alone: encoders are told by their width
SUFFIXES = {".safetensors": rules.SAFETENSORS, ".pt": rules.TORCH}


def reads(form: Form) -> str:
    """From safetensors every tensor, by its width; from `.pt` only string_to_param."""
    return rules.first_of(
        rules.opened(form, SUFFIXES),
        rules.plain_pickle(form),
        _arranged(form),
        rules.one_embedding(form),
        rules.one_file(form),
        _one_of_each_width(form),
        rules.fits(form, BASES),
        rules.rank(form, (1, 2)),
        rules.not_flat(form),
        rules.equal_counts(form, "the first tensor"),
    )


def _arranged(form: Form) -> str:
    if form.container == "safetensors":
        return rules.arranged(form, (*rules.ONE_TENSOR, "pti", "emb_emb2"))
    if form.layout == "a1111" and form.inner_placeholder == "*":
        return ""
    return "reads from a .pt file only the a1111 dict, with the placeholder *, and anything else from .safetensors"


def _one_of_each_width(form: Form) -> str:
    if form.layout != "a1111" and len(form.keys) > len(form.vectors):
        return f"needs one tensor for each encoder, such as emb_params alone, and this file has {len(form.keys)}"
    return ""


TARGET = Target(
    name="sdnext",
    title="SD.Next",
    version="431bcc36",
    source="modules/textual_inversion/textual_inversion.py: open_embeddings",
    trigger="The file's stem; more vectors are NAME_1, NAME_2, ...",
    prompt="NAME",
    where="models/embeddings/",
    bases=BASES,
    writes=(plans.EMB_PARAMS, plans.A1111_PT, plans.PER_ENCODER),
    reads=reads,
)
