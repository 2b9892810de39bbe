"""Hugging Face diffusers."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl", "flux1")  # StableDiffusion3Pipeline has no TextualInversionLoaderMixin
SUFFIXES = {**rules.USUAL, ".ckpt": rules.TORCH}


def reads(form: Form) -> str:
    """One key, or the A1111 dict with its name; several encoders by one call for each, `state[key]` with `token=`."""
    return rules.first_of(
        rules.opened(form, SUFFIXES),
        rules.plain_pickle(form),
        rules.arranged(form, ("a1111", *rules.ONE_TENSOR)),
        _named(form) if form.layout == "a1111" else "",
        rules.one_embedding(form),
        rules.one_key(form),
        rules.fits(form, BASES),
        rules.rank(form, (1, 2)),
    )


def _named(form: Form) -> str:
    if form.has_name and form.inner_placeholder == "*":
        return ""
    return "needs a name, and the placeholder *, in an a1111 dict, or one {token: vectors}"


TARGET = Target(
    name="diffusers",
    title="diffusers",
    version="0.42.1",
    source="src/diffusers/loaders/textual_inversion.py: load_textual_inversion",
    trigger="The dictionary key, or an A1111 file's name, unless the call says token=; more vectors are NAME_1, NAME_2, ...",
    prompt="NAME",
    where="any path, given to load_textual_inversion",
    bases=BASES,
    writes=(
        plans.DIFFUSERS,
        plans.DIFFUSERS_BIN,
        plans.A1111_PT,
        plans.PER_ENCODER_TWO_CALLS,
        plans.PER_ENCODER_PT_TWO_CALLS,
        plans.PER_ENCODER_BIN_TWO_CALLS,
    ),
    reads=reads,
)
