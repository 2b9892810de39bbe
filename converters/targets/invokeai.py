"""InvokeAI."""

from __future__ import annotations

import re

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl")
NOT_IN_A_NAME = r"[^a-zA-Z0-9., _-]+"


def reads(form: Form) -> str:
    """What its probing takes for an embedding, then what its loader makes of it."""
    return rules.first_of(
        "needs a name of the letters a to z, digits, space and . , _ -" if re.search(NOT_IN_A_NAME, form.stem) else "",
        rules.opened(form, rules.USUAL),
        rules.plain_pickle(form),
        rules.arranged(form, ("a1111", *rules.ONE_TENSOR)),
        rules.one_file(form),
        rules.fits(form, BASES),
        rules.xl_keys(form),
        _probed(form),
        rules.rank(form, (1, 2)),
        rules.takes_one(form, "first"),
    )


def _probed(form: Form) -> str:
    """The width is sought in string_to_param, emb_params, clip_g; else it is the FIRST length of the first tensor."""
    if form.layout == "a1111":
        return "" if form.has_token_map else "needs string_to_token beside string_to_param, or emb_params"
    if "emb_params" in form.keys or len(form.vectors) > 1 or form.ndim == 1:
        return ""
    return "takes the number of vectors for their width under any key but emb_params, so needs that"


TARGET = Target(
    name="invokeai",
    title="InvokeAI",
    version="6.14.2",
    source="invokeai/backend/model_manager/configs/textual_inversion.py; invokeai/backend/textual_inversion.py: from_checkpoint",
    trigger="The model's name in its Model Manager, at first the file's stem, in angle brackets.",
    prompt="<NAME>",
    where="added in the Model Manager",
    bases=BASES,
    writes=(plans.EMB_PARAMS, plans.EMB_PARAMS_PT, plans.EMB_PARAMS_BIN, plans.PER_ENCODER, plans.PER_ENCODER_PT),
    reads=reads,
    stem=NOT_IN_A_NAME,
)
