"""Stable Diffusion WebUI Forge."""

from __future__ import annotations

from . import plans
from .a1111 import data_reads
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl", "sd3", "flux1")  # of sd3 and flux1 only the CLIP-L part, as one tensor


def reads(form: Form) -> str:
    """As A1111, without its check of pickles: `torch.load = load` is commented out."""
    if len(form.vectors) > 1 and form.vectors.keys() != {"clip_l", "clip_g"}:
        return "reads one tensor of clip_l or clip_h, or clip_l with clip_g, and nothing beside them"
    return data_reads(form, BASES)


TARGET = Target(
    name="forge",
    title="Stable Diffusion WebUI Forge",
    version="dfdcbab6",
    source="modules/textual_inversion/textual_inversion.py: load_from_file, create_embedding_from_data",
    trigger="The file's stem, in any case; for an image the name inside it.",
    prompt="NAME",
    where="embeddings/",
    bases=BASES,
    writes=(plans.A1111_PT, plans.EMB_PARAMS, plans.A1111_BIN, plans.A1111_PNG, plans.PER_ENCODER, plans.PER_ENCODER_PT),
    reads=reads,
)
