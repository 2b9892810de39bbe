"""ComfyUI."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

# Beyond these some wrappers give their tokenizer no embedding folder (Qwen2.5-VL, Gemma, older T5).
BASES = ("sd1", "sd2", "sdxl", "sd3", "flux1", "chroma", "pixart", "auraflow", "hidream", "hunyuan_video", "wan")
LAYOUTS = ("a1111", "ldm", *rules.ONE_TENSOR, "bundle_emb", "list_of_dicts")


def reads(form: Form) -> str:
    """What load_embed returns, with its fallback for pickles that weights_only refuses."""
    return rules.first_of(
        "needs a name without white space: the prompt's embedding:NAME ends there" if any(c.isspace() for c in form.stem) else "",
        rules.opened(form, rules.USUAL),
        rules.arranged(form, LAYOUTS),
        rules.plain_numbers(form),
        _fallback(form) if form.layout == "ldm" else "",
        rules.one_file(form),
        _own_keys(form),
        rules.fits(form, BASES),
        "" if form.layout == "list_of_dicts" else rules.rank(form, (1, 2)),
        _several(form),
        rules.input_first(form) if len(form.vectors) == 1 else "",
    )


def _own_keys(form: Form) -> str:
    if len(form.vectors) == 1 or form.layout == "list_of_dicts":
        return ""  # the first tensor is taken; a list's are told by their width
    has = {key.rpartition(".")[2] for key in form.keys} if form.layout == "bundle_emb" else set(form.keys)
    missing = [encoder for encoder in form.vectors if encoder not in has]
    return f"needs the vectors of {missing[0]} under the key {missing[0]}" if missing else ""


def _fallback(form: Form) -> str:
    """safe_load_embed_zip: the last storage of 768 floats or more, as float32, 768 wide where that divides."""
    if form.container != "torch_zip":
        return "needs a torch zip for a ParameterDict, or the a1111 dict"
    if set(form.dtype) != {"F32"}:
        return "loads, but with wrong vectors: it takes a ParameterDict's numbers for F32, and needs them so"
    if any(width != 768 and (n * width % 768 == 0 or width != 1024) for n, width in form.vectors.values()):
        return "loads, but with wrong vectors: it cuts a ParameterDict's numbers into 768, and needs the a1111 dict or emb_params"
    return ""


def _several(form: Form) -> str:
    if form.embeddings > 1 and form.layout in ("bundle_emb", "list_of_dicts"):
        return f"loads, but with wrong vectors: it joins {form.embeddings} embeddings and needs a file with one"
    return rules.takes_one(form, "first")


TARGET = Target(
    name="comfyui",
    title="ComfyUI",
    version="2026-07-29",
    source="comfy/sd1_clip.py: load_embed, safe_load_embed_zip, bundled_embed",
    trigger="The file's stem, which cannot hold white space, after embedding:.",
    prompt="embedding:NAME",
    where="models/embeddings/",
    bases=BASES,
    writes=(plans.EMB_PARAMS, plans.A1111_PT, plans.A1111_BIN, plans.PER_ENCODER, plans.PER_ENCODER_PT, plans.PER_ENCODER_BIN),
    reads=reads,
    stem=r"\s+",
)
