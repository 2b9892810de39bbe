"""sdkit, the engine of Easy Diffusion."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl")


def reads(form: Form) -> str:
    """emb_params, the literal key <concept>, string_to_param, or clip_l with clip_g."""
    return rules.first_of(
        rules.opened(form, rules.USUAL),
        rules.plain_pickle(form),
        _known_key(form),
        rules.fits(form, BASES),
        rules.rank(form, (2,)),
        rules.takes_one(form, "first"),
    )


def _known_key(form: Form) -> str:
    if form.layout == "a1111" or {"emb_params", "<concept>"} & set(form.keys):
        return ""
    if len(form.vectors) > 1 and set(form.keys) >= rules.XL:
        return ""
    return "reads only emb_params, the a1111 dict, or clip_l with clip_g"


TARGET = Target(
    name="sdkit",
    title="sdkit (Easy Diffusion)",
    version="2.1.1",
    source="sdkit/models/model_loader/embeddings.py: get_embedding",
    trigger="The file's stem up to its first dot, in lower case, with _ for each space.",
    prompt="NAME",
    where="models/embeddings/",
    bases=BASES,
    writes=(plans.EMB_PARAMS, plans.A1111_PT, plans.A1111_BIN, plans.PER_ENCODER, plans.PER_ENCODER_PT),
    reads=reads,
)
