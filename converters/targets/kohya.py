"""kohya's sd-scripts."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl")
SUFFIXES = {**rules.USUAL, ".ckpt": rules.TORCH}


def reads(form: Form) -> str:
    """The first tensor of any dictionary; for SDXL clip_l and clip_g."""
    return rules.first_of(
        rules.opened(form, SUFFIXES),
        rules.plain_pickle(form),
        rules.arranged(form, ("a1111", *rules.ONE_TENSOR, "bundle_emb")),
        rules.one_file(form),
        rules.xl_keys(form),
        rules.fits(form, BASES),
        rules.rank(form, (1, 2)),
        rules.not_flat(form),
        rules.takes_one(form, "first"),
        rules.equal_counts(form),
        rules.input_first(form) if len(form.vectors) == 1 else "",
    )


TARGET = Target(
    name="kohya",
    title="kohya sd-scripts",
    version="48d368fa",
    source="gen_img.py: --textual_inversion_embeddings; train_textual_inversion.py: load_weights",
    trigger="The file's stem; more vectors are NAME1, NAME2, ... without an underscore.",
    prompt="NAME",
    where="any path, given to --textual_inversion_embeddings",
    bases=BASES,
    writes=(plans.EMB_PARAMS, plans.A1111_PT, plans.EMB_PARAMS_PT, plans.EMB_PARAMS_BIN, plans.PER_ENCODER, plans.PER_ENCODER_PT),
    reads=reads,
)
