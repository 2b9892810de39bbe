"""Every arrangement of an embedding that is known; to add one, write its module and name it here."""

from . import (
    a1111,
    bare_tensor,
    bundle_emb,
    custom_diffusion,
    diffusers,
    emb_emb2,
    emb_params,
    emp_params,
    ldm,
    list_of_dicts,
    per_encoder,
    pti,
    safelora,
    xti,
)
from .layout import Layout

LAYOUTS: tuple[Layout, ...] = (
    a1111.LAYOUT,
    emb_params.LAYOUT,
    per_encoder.LAYOUT,
    diffusers.LAYOUT,
    ldm.LAYOUT,
    emp_params.LAYOUT,
    pti.LAYOUT,
    safelora.LAYOUT,
    bundle_emb.LAYOUT,
    emb_emb2.LAYOUT,
    bare_tensor.LAYOUT,
    list_of_dicts.LAYOUT,
    custom_diffusion.LAYOUT,
    xti.LAYOUT,
)
BY_NAME: dict[str, Layout] = {layout.name: layout for layout in LAYOUTS}

__all__ = ["BY_NAME", "LAYOUTS", "Layout"]
